// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Sets: what each holds, with those that it names.
extension Resolver {
    mutating func resolveSets() {
        for index in networks.order(sink) {
            var out: [AddressBlock] = []
            for item in networks[index].items {
                switch item.value {
                case .block(let block): out.append(block)
                case .set(let name): out += networks.resolved(name) ?? []
                case .any: break
                }
            }
            guard count(out.count, networks[index].name) else { return }
            networks.resolve(index, out)
        }
        for index in users.order(sink) {
            var out = AccountSet()
            for item in users[index].items {
                switch item.value {
                case .name(let name): out.names.append(name)
                case .group(let group): out.groups.append(group)
                case .set(let name):
                    out.names += users.resolved(name)?.names ?? []
                    out.groups += users.resolved(name)?.groups ?? []
                case .any, .same, .pool: break
                }
            }
            guard count(out.names.count + out.groups.count, users[index].name) else { return }
            users.resolve(index, out)
        }
        for index in commands.order(sink) {
            var out: [CommandPattern] = []
            for item in commands[index].items {
                switch item.value {
                case .pattern(let pattern): out.append(pattern)
                case .set(let name): out += commands.resolved(name) ?? []
                case .any, .shell: break
                }
            }
            guard count(out.count, commands[index].name) else { return }
            commands.resolve(index, out)
        }
        for index in hours.order(sink) {
            var out: [WeeklyRange] = []
            for item in hours[index].items {
                switch item.value {
                case .range(let range): out.append(range)
                case .set(let name): out += hours.resolved(name) ?? []
                }
            }
            guard count(out.count, hours[index].name) else { return }
            hours.resolve(index, out)
        }
    }

    private mutating func count(_ items: Int, _ name: Located<String>) -> Bool {
        resolvedCount += items
        guard resolvedCount <= Self.resolvedLimit else {
            sink.error(name.span, "the sets hold too much: at most 4,000,000 items with the sets that they name")
            return false
        }
        return true
    }

    /// Sets that nothing uses; a set that only an unused set names is itself unused.
    func warnOfUnusedSets() {
        networks.warnOfUnused(sink)
        users.warnOfUnused(sink)
        commands.warnOfUnused(sink)
        hours.warnOfUnused(sink)
    }
}

/// An item that may be the name of another set.
protocol SetItem: Sendable {
    /// The set that it names.
    var set: String? { get }
}

extension NetworkItem: SetItem {
    var set: String? { if case .set(let name) = self { name } else { nil } }
}

extension UserItem: SetItem {
    var set: String? { if case .set(let name) = self { name } else { nil } }
}

extension CommandItem: SetItem {
    var set: String? { if case .set(let name) = self { name } else { nil } }
}

extension HoursItem: SetItem {
    var set: String? { if case .set(let name) = self { name } else { nil } }
}

/// The sets of one kind.
struct SetTable<Item: SetItem, Items: Sendable & Hashable>: Sendable {
    /// A set, and what has become of it.
    struct Entry: Sendable {
        let syntax: SetSyntax<Item>
        /// What it holds; nil where that could not be worked out, which is reported.
        var resolved: NamedSet<Items>?
        /// Whether a rule names it.
        var isUsed = false
    }

    /// How far a set's order has been worked out.
    private enum State { case waiting, open, done }

    let kind: String
    private var entries: [Entry] = []
    private var indexes: [String: Int] = [:]

    init(kind: String) {
        self.kind = kind
    }

    /// Takes a set in; gives the place of an earlier one of its name.
    mutating func add(_ set: SetSyntax<Item>) -> Span? {
        if let first = indexes[set.name.value] { return entries[first].syntax.name.span }
        indexes[set.name.value] = entries.count
        entries.append(Entry(syntax: set))
        return nil
    }

    /// A set as it is written.
    subscript(index: Int) -> SetSyntax<Item> { entries[index].syntax }

    /// Whether there is a set of a name.
    func contains(_ name: String) -> Bool { indexes[name] != nil }

    /// The name that is most like another.
    func nearest(to name: String) -> String? {
        Suggestion.nearest(to: name, among: entries.lazy.map(\.syntax.name.value))
    }

    /// Notes that a rule uses a set; nil where there is none, an inner nil where what it holds is not known.
    mutating func use(_ name: String) -> NamedSet<Items>?? {
        guard let index = indexes[name] else { return nil }
        entries[index].isUsed = true
        return .some(entries[index].resolved)
    }

    /// Says what a set holds.
    mutating func resolve(_ index: Int, _ items: Items) {
        entries[index].resolved = NamedSet(name: entries[index].syntax.name.value, items: items)
    }

    /// What a set holds; nil where there is none, or it could not be worked out.
    func resolved(_ name: String) -> Items? {
        indexes[name].flatMap { entries[$0].resolved?.items }
    }

    /// The sets in an order in which each comes after those that it names; without those that name themselves.
    func order(_ sink: DiagnosticSink) -> [Int] {
        var states = Array(repeating: State.waiting, count: entries.count)
        var out: [Int] = []
        for start in entries.indices where states[start] == .waiting {
            // A stack of our own: a chain of sets is as long as its file.
            var stack: [(set: Int, item: Int)] = [(start, 0)]
            states[start] = .open
            while let top = stack.last {
                let items = entries[top.set].syntax.items
                guard top.item < items.count else {
                    states[top.set] = .done
                    out.append(top.set)
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].item += 1
                let item = items[top.item]
                guard let name = item.value.set else { continue }
                guard let next = indexes[name] else {
                    sink.error(
                        item.span, "there is no set '\(name)' of \(kind)",
                        hint: nearest(to: name).map { "did you mean @\($0)?" })
                    continue
                }
                switch states[next] {
                case .done: break
                case .open: sink.error(item.span, "set '\(name)' holds itself")
                case .waiting:
                    states[next] = .open
                    stack.append((next, 0))
                }
            }
        }
        return out
    }

    /// Which sets rules use, themselves or through other sets.
    private var reached: [Bool] {
        var reached = entries.map(\.isUsed)
        var waiting = entries.indices.filter { reached[$0] }
        while let index = waiting.popLast() {
            for item in entries[index].syntax.items {
                guard let name = item.value.set, let next = indexes[name], !reached[next] else { continue }
                reached[next] = true
                waiting.append(next)
            }
        }
        return reached
    }

    /// The items of the sets that rules use.
    var reachedItems: some Sequence<Located<Item>> {
        zip(entries, reached).lazy.filter(\.1).flatMap(\.0.syntax.items)
    }

    /// Warns of each set that no rule uses.
    func warnOfUnused(_ sink: DiagnosticSink) {
        for (entry, isReached) in zip(entries, reached) where !isReached {
            sink.warning(entry.syntax.name.span, "no rule uses set '\(entry.syntax.name.value)'")
        }
    }
}
