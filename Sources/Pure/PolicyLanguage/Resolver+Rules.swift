// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// A set that a rule names, which may be defined further on.
struct SetReference: Sendable {
    var rule: Int32
    var clause: ClauseWord
    var name: String
    var span: Span
}

/// What of a rule is looked at again when everything has been read.
struct RuleNote: Sendable {
    /// Where its name stands.
    var name: Span
    /// The sandbox that it names.
    var sandbox: Located<String>?
}

/// Rules: what is written in them at once, what they name at the end.
extension Resolver {
    mutating func take(_ syntax: borrowing RuleSyntax) {
        let index = Int32(clamping: policy.rules.count)
        let name = syntax.name
        if let earlier = self.name(rule: index, name.value) { twice(name, "rule", notes[Int(earlier)].name) }
        let place = FilePlace(file: sink.name(of: name.span), line: Int(syntax.line))
        // Filled in where it stands: to copy it when it is full would cost more.
        policy.rules.append(
            Rule(name: name.value, place: place, effect: syntax.effect, services: syntax.services))
        let number = policy.rules.count - 1
        if syntax.sources.isThere { policy.rules[number].sources = sources(syntax, index) }
        if syntax.remoteUsers.isThere { policy.rules[number].remoteUsers = remoteUsers(syntax, index) }
        if syntax.targets.isThere { policy.rules[number].targets = targets(syntax, index) }
        if syntax.commands.isThere { policy.rules[number].commands = commands(syntax, index) }
        if syntax.hours.isThere { policy.rules[number].hours = hours(syntax, index) }
        policy.rules[number].selfTrust = syntax.effect == .permit && syntax.selfTrust
        notes.append(RuleNote(name: name.span, sandbox: syntax.sandbox))
    }

    private mutating func sources(_ syntax: borrowing RuleSyntax, _ rule: Int32) -> Sources {
        var out = Sources()
        for item in syntax.sources.items {
            switch item.value {
            case .any: out.isAny = true
            case .block(let block):
                out.literal.append(block)
                if syntax.effect == .permit { blockPlaces.append(item.span) }
            case .set(let name):
                references.append(SetReference(rule: rule, clause: .from, name: name, span: item.span))
            }
        }
        return out
    }

    private mutating func remoteUsers(_ syntax: borrowing RuleSyntax, _ rule: Int32) -> RemoteUsers {
        var out = RemoteUsers()
        for item in syntax.remoteUsers.items {
            switch item.value {
            case .any: out.isAny = true
            case .name(let name): out.literal.append(name)
            case .group, .same, .pool: break
            case .set(let name):
                references.append(SetReference(rule: rule, clause: .by, name: name, span: item.span))
            }
        }
        return out
    }

    private mutating func targets(_ syntax: borrowing RuleSyntax, _ rule: Int32) -> Targets {
        var out = Targets()
        for item in syntax.targets.items {
            switch item.value {
            case .any:
                out.isAny = true
                if syntax.effect == .permit, syntax.services.contains(.rsh) { openTargets.append(item.span) }
            case .same: out.isSame = true
            case .pool(let name):
                out.pools.append(name)
                poolReferences.append(Located(value: name, span: item.span))
            case .name(let name): out.literal.names.append(name)
            case .group(let group):
                out.literal.groups.append(group)
                if syntax.effect == .forbid { warnOfGroup(group, item.span) }
            case .set(let name):
                references.append(SetReference(rule: rule, clause: .as, name: name, span: item.span))
            }
        }
        return out
    }

    private mutating func commands(_ syntax: borrowing RuleSyntax, _ rule: Int32) -> Commands {
        var out = Commands()
        for item in syntax.commands.items {
            switch item.value {
            case .any: out.isAny = true
            case .shell: out.isShell = true
            case .pattern(let pattern): out.literal.append(pattern)
            case .set(let name):
                references.append(SetReference(rule: rule, clause: .run, name: name, span: item.span))
            }
        }
        return out
    }

    private mutating func hours(_ syntax: borrowing RuleSyntax, _ rule: Int32) -> Hours {
        var out = Hours([])
        for item in syntax.hours.items {
            switch item.value {
            case .range(let range): out.literal.append(range)
            case .set(let name):
                references.append(SetReference(rule: rule, clause: .during, name: name, span: item.span))
            }
        }
        return out
    }

    // MARK: When everything has been read

    mutating func resolveRules() {
        forgetNames()
        for reference in references { resolve(reference) }
        references = []
        resolvePools()
        // Each of these is the whole of the trust.
        if services[.rsh]?.settings.trust == .rule {
            for span in openTargets {
                sink.error(span, "with 'trust rule' this permit alone is the trust, so it names its targets")
            }
        }
        let hasGuests = !poolReferences.isEmpty
        for index in policy.rules.indices where policy.rules[index].effect == .permit {
            policy.rules[index].sandbox = sandbox(of: notes[index], index)
            if hasGuests { checkGuestSandbox(of: index) }
        }
    }

    private mutating func resolve(_ reference: SetReference) {
        // INVARIANT: a reference is made with the rule's own place.
        let index = Int(reference.rule)
        switch reference.clause {
        case .from:
            guard let known = networks.use(reference.name) else { return unknownSet(reference, networks) }
            if let set = known { policy.rules[index].sources?.sets.append(set) }
        case .by:
            guard let known = users.use(reference.name) else { return unknownSet(reference, users) }
            guard let set = known else { return }
            if let group = set.items.groups.first {
                sink.error(
                    reference.span, "@\(set.name) holds %\(group), and a group says nothing of a remote user")
            }
            policy.rules[index].remoteUsers?.sets.append(set)
        case .as:
            guard let known = users.use(reference.name) else { return unknownSet(reference, users) }
            guard let set = known else { return }
            switch policy.rules[index].effect {
            case .forbid:
                if let group = set.items.groups.first { warnOfGroup(group, reference.span) }
            case .permit:
                if set.items.names.contains(.root) {
                    sink.warning(
                        reference.span, "root in @\(set.name) permits nothing: only the name 'root' in the rule does")
                }
            }
            policy.rules[index].targets?.sets.append(set)
        case .run:
            guard let known = commands.use(reference.name) else { return unknownSet(reference, commands) }
            if let set = known { policy.rules[index].commands?.sets.append(set) }
        case .during:
            guard let known = hours.use(reference.name) else { return unknownSet(reference, hours) }
            if let set = known { policy.rules[index].hours?.sets.append(set) }
        case .sandbox, .selfTrust:
            break
        }
    }

    private func warnOfGroup(_ group: ByteText, _ span: Span) {
        sink.warning(span, "a directory that does not answer hides who is in %\(group), and the forbid misses them")
    }

    private func unknownSet<Item, Items>(_ reference: SetReference, _ table: SetTable<Item, Items>) {
        let name = reference.name
        sink.error(
            reference.span, "there is no set '\(name)' of \(table.kind)",
            hint: table.nearest(to: name).map { "did you mean @\($0)?" } ?? otherKind(of: name))
    }

    /// What a name is a set of that another kind was expected of.
    private func otherKind(of name: String) -> String? {
        let kinds = [
            (networks.kind, networks.contains(name)), (users.kind, users.contains(name)),
            (commands.kind, commands.contains(name)), (hours.kind, hours.contains(name)),
        ]
        return kinds.first { $0.1 }.map { "@\(name) is a set of \($0.0)" }
    }

    /// Networks from which no listener can be called.
    func warnOfFamilies() {
        var families = Set<IPAddress.Family>()
        for service in Service.allCases where settings.serves(service) {
            for listener in settings[service].listeners { families.insert(listener.address.family) }
        }
        guard families.count == 1, let only = families.first else { return }
        func warn(_ block: AddressBlock, _ span: Span) {
            guard block.base.family != only else { return }
            sink.warning(span, "nothing listens on \(only == .v4 ? "IPv6" : "IPv4"), so \(block) never calls")
        }
        var places = blockPlaces.makeIterator()
        for rule in policy.rules where rule.effect == .permit {
            for block in rule.sources?.literal ?? [] {
                guard let span = places.next() else { return }
                warn(block, span)
            }
        }
        for item in networks.reachedItems {
            if case .block(let block) = item.value { warn(block, item.span) }
        }
    }
}
