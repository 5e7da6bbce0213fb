// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The rules of two policies, paired by their names.
struct RulePairs {
    /// A rule that is not the same in both.
    struct Pair {
        var kind: PolicyDifference.Kind
        var old: Int?
        var new: Int?
    }

    /// Rules that differ, those that were removed first.
    private(set) var differing: [Pair] = []
    /// For each rule the place of its twin in the other policy, where it is the same there; else nil.
    private(set) var twinsOfOld: [Int?]
    private(set) var twinsOfNew: [Int?]
    /// The new rules; where a set holds what it held, they name the old one, so that nothing compares it again.
    private(set) var newRules: [Rule]

    init(_ old: Policy, _ new: Policy) {
        var oldSets = NamedSets()
        for rule in old.rules { oldSets.add(rule) }
        newRules = new.rules.map { oldSets.shared($0) }
        let sandboxes = Self.unchangedSandboxes(old, new)

        twinsOfOld = Array(repeating: nil, count: old.rules.count)
        twinsOfNew = Array(repeating: nil, count: new.rules.count)
        var places: [String: Int] = [:]
        places.reserveCapacity(old.rules.count)
        for (place, rule) in old.rules.enumerated() { places[rule.name] = place }
        var kept: [(old: Int, new: Int)] = []
        for (place, rule) in newRules.enumerated() {
            guard let before = places.removeValue(forKey: rule.name) else {
                differing.append(Pair(kind: .added, old: nil, new: place))
                continue
            }
            if Self.isSame(old.rules[before], rule, sandboxes) {
                twinsOfOld[before] = place
                twinsOfNew[place] = before
                // Where a forbid stands makes no difference.
                if rule.effect == .permit { kept.append((before, place)) }
            } else {
                differing.append(Pair(kind: .changed, old: before, new: place))
            }
        }
        let staying = Self.longestRising(kept.map(\.old))
        for (index, pair) in kept.enumerated() where !staying.contains(index) {
            differing.append(Pair(kind: .moved, old: pair.old, new: pair.new))
        }
        differing.sort { ($0.new ?? 0) < ($1.new ?? 0) }
        differing = places.values.sorted().map { Pair(kind: .removed, old: $0, new: nil) } + differing
    }

    private static func isSame(_ one: Rule, _ other: Rule, _ sandboxes: [Int?]) -> Bool {
        var moved = other
        moved.place = one.place
        if one.effect == .permit, one.sandbox < sandboxes.count, sandboxes[one.sandbox] == other.sandbox {
            moved.sandbox = one.sandbox
        } else if one.effect == .permit {
            return false
        }
        return one == moved
    }

    /// For each old sandbox the new one of its name, where it allows the same.
    private static func unchangedSandboxes(_ old: Policy, _ new: Policy) -> [Int?] {
        let named = Dictionary(
            new.sandboxes.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        return old.sandboxes.map { sandbox in
            named[sandbox.name].flatMap { new.sandboxes[$0] == sandbox ? $0 : nil }
        }
    }

    /// The places of a longest rising part of some numbers: the others have moved.
    private static func longestRising(_ numbers: [Int]) -> Set<Int> {
        // For each length the place of the least number that such a part can end in.
        var ends: [Int] = []
        var previous: [Int?] = []
        for (place, number) in numbers.enumerated() {
            var low = 0
            var high = ends.count
            while low < high {
                let middle = (low + high) / 2
                if numbers[ends[middle]] < number { low = middle + 1 } else { high = middle }
            }
            previous.append(low > 0 ? ends[low - 1] : nil)
            if low < ends.count { ends[low] = place } else { ends.append(place) }
        }
        var out = Set<Int>()
        var next = ends.last
        while let place = next {
            out.insert(place)
            next = previous[place]
        }
        return out
    }
}

/// The sets that the rules of a policy name, by kind and name.
private struct NamedSets {
    private var sources = SetsOfKind<[AddressBlock]>()
    private var users = SetsOfKind<AccountSet>()
    private var commands = SetsOfKind<[CommandPattern]>()
    private var hours = SetsOfKind<[WeeklyRange]>()

    mutating func add(_ rule: Rule) {
        sources.add(rule.sources?.sets)
        users.add(rule.remoteUsers?.sets)
        users.add(rule.targets?.sets)
        commands.add(rule.commands?.sets)
        hours.add(rule.hours?.sets)
    }

    /// A rule with these sets in place of its own, where they hold the same.
    mutating func shared(_ rule: Rule) -> Rule {
        var rule = rule
        sources.share(&rule.sources, \.sets)
        users.share(&rule.remoteUsers, \.sets)
        users.share(&rule.targets, \.sets)
        commands.share(&rule.commands, \.sets)
        hours.share(&rule.hours, \.sets)
        return rule
    }
}

/// Sets of one kind.
private struct SetsOfKind<Items: Sendable & Hashable> {
    private var named: [String: NamedSet<Items>] = [:]
    /// What was found for each set that was asked for.
    private var answers: [ObjectIdentifier: NamedSet<Items>] = [:]

    mutating func add(_ sets: [NamedSet<Items>]?) {
        for set in sets ?? [] { named[set.name] = set }
    }

    mutating func share<Part>(_ clause: inout Part?, _ path: WritableKeyPath<Part, [NamedSet<Items>]>) {
        guard var changed = clause, !changed[keyPath: path].isEmpty else { return }
        changed[keyPath: path] = changed[keyPath: path].map { shared($0) }
        clause = changed
    }

    private mutating func shared(_ set: NamedSet<Items>) -> NamedSet<Items> {
        if let answer = answers[ObjectIdentifier(set)] { return answer }
        let answer = named[set.name].flatMap { $0 == set ? $0 : nil } ?? set
        answers[ObjectIdentifier(set)] = answer
        return answer
    }
}
