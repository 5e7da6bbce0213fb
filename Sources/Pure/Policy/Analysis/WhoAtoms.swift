// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Who asks, and for whom.
struct Asker {
    var remoteUser: UserName?
    var target: Account
}

/// The accounts that rules tell apart besides by name and group.
enum AccountKind: CaseIterable {
    /// root, and whatever is no system account.
    case ordinary
    /// What a permit's wide words leave out.
    case system
    /// uid 0 under another name than root.
    case superuser
    /// What a guest pool gives.
    case guest
}

/// How a remote user and a target stand to each other, as far as `same` asks.
enum Relation {
    /// REXEC has no remote user.
    case absent
    /// They have one name.
    case same
    /// They have two.
    case different

    /// Those of a service.
    static func of(_ service: Service) -> [Relation] {
        switch service {
        case .rexec: [.absent]
        case .rsh: [.same, .different]
        }
    }
}

/// The rules of a search, as far as `by` and `as` go.
struct WhoQuestion {
    let matching: [Rule]
    let avoiding: [Rule]
    /// The avoided rules that may still match, by their places.
    let alive: [Int]
    /// A name that no rule says, and another one.
    let fresh: UserName
    let otherFresh: UserName

    init(matching: [Rule], avoiding: [Rule], alive: AvoidedRules) {
        self.matching = matching
        self.avoiding = avoiding
        self.alive = alive.members
        let rules = matching + self.alive.map { avoiding[$0] }
        var taken: Set<UserName> = [.root]
        for clause in Set(rules.compactMap(\.remoteUsers)) { taken.formUnion(clause.names) }
        for clause in Set(rules.compactMap(\.targets)) { taken.formUnion(clause.names) }
        fresh = UserName.fresh("user", apartFrom: taken)
        taken.insert(fresh)
        otherFresh = UserName.fresh("other", apartFrom: taken)
    }

    /// The names that can be those of a remote user, where only some can: the fewest that a clause says.
    var remoteUsers: [UserName]? {
        matching.compactMap(\.remoteUsers).filter { !$0.isAny }.map { Array($0.names) }.min { $0.count < $1.count }
    }

    /// The names of targets that need to be tried.
    ///
    /// A rule that says a name only adds to what matches there, so that of all that `matching` does not say one will
    /// do; root is another matter, as a permit's `any` leaves it out.
    func targets(_ kind: AccountKind) -> [UserName] {
        let clauses = matching.compactMap(\.targets)
        let closed = clauses.filter { !$0.isAny && !$0.isSame && $0.groups.isEmpty }.map(\.names)
        switch kind {
        case .ordinary:
            return closed.min { $0.count < $1.count } ?? ([fresh] + clauses.flatMap(\.names) + [.root])
        case .system:
            return (closed.min { $0.count < $1.count } ?? ([fresh] + clauses.flatMap(\.names))).filter { $0 != .root }
        case .superuser:
            // A forbid that says root means whoever has uid 0.
            return [fresh] + clauses.flatMap(\.names).filter { $0 != .root }
        case .guest:
            // Those of the pools: `guests` has them.
            return []
        }
    }
}

extension PolicyAnalysis {
    /// The least pairs of a remote user and a target that every rule of `matching` matches.
    mutating func whoAtoms(
        _ question: WhoQuestion, _ service: Service, _ relation: Relation, _ kind: AccountKind
    ) throws(WorkLimitReached) -> [Atom<Asker>] {
        var request = Self.blank
        request.service = service
        switch relation {
        case .absent where kind == .guest:
            var targets: [Atom<Account>] = []
            for pool in scope.pools {
                targets += try targetAtoms(question, request, pool.accounts, kind, isSame: false, pool: pool.name)
            }
            let users = try remoteUserAtoms(question, request, [nil])
            return try product(users, least(targets)) { Asker(remoteUser: $0, target: $1) }
        case .same where kind == .guest, .different where kind == .guest:
            return []
        case .absent:
            let targets = try targetAtoms(question, request, question.targets(kind), kind, isSame: false)
            let users = try remoteUserAtoms(question, request, [nil])
            return try product(users, targets) { Asker(remoteUser: $0, target: $1) }
        case .same:
            var out: [Atom<Asker>] = []
            for name in question.remoteUsers ?? question.targets(kind) {
                let accounts = try targetAtoms(question, request, [name], kind, isSame: true)
                let users = try remoteUserAtoms(question, request, [name])
                out += try product(users, accounts) { Asker(remoteUser: $0, target: $1) }
            }
            return try least(out)
        case .different:
            let targets = try targetAtoms(question, request, question.targets(kind), kind, isSame: false)
            let names = question.remoteUsers ?? [question.otherFresh]
            let users = try remoteUserAtoms(question, request, names)
            return try product(users, targets) { user, target in
                user == target.name ? nil : Asker(remoteUser: user, target: target)
            }
        }
    }

    private mutating func remoteUserAtoms(
        _ question: WhoQuestion, _ blank: Request, _ names: [UserName?]
    ) throws(WorkLimitReached) -> [Atom<UserName?>] {
        var request = blank
        var atoms: [Atom<UserName?>] = []
        for name in names {
            request.remoteUser = name
            try step(question.matching.count)
            guard question.matching.allSatisfy({ $0.matches(request, .by) }) else { continue }
            atoms.append(Atom(value: name, matched: try matched(question, request, .by)))
        }
        return try least(atoms, differingIn: \.self)
    }

    private mutating func targetAtoms(
        _ question: WhoQuestion, _ blank: Request, _ names: [UserName], _ kind: AccountKind, isSame: Bool,
        pool: String? = nil
    ) throws(WorkLimitReached) -> [Atom<Account>] {
        var request = blank
        var atoms: [Atom<Account>] = []
        for name in names {
            // Where the names differ no rule's `same` matches, as where there is no remote user.
            request.remoteUser = isSame ? name : nil
            let account = Account(
                name: name, uid: name == .root || kind == .superuser ? 0 : 1_000, groups: [], isSystem: kind == .system,
                pool: pool)
            for groups in try leastGroups(question, request, account) {
                request.target = account
                request.target.groups = groups
                try step(question.matching.count)
                guard question.matching.allSatisfy({ $0.matches(request, .as) }) else { continue }
                let matched = try matched(question, request, .as)
                if matched.isEmpty, isSame || blank.service == .rexec {
                    return [Atom(value: request.target, matched: matched)]
                }
                atoms.append(Atom(value: request.target, matched: matched))
            }
        }
        return try least(atoms, differingIn: \.name)
    }

    /// The groups that an account needs so that every rule of `matching` matches it: one of each rule that has to match
    /// by group, in every choice. More groups only add matches.
    private mutating func leastGroups(
        _ question: WhoQuestion, _ blank: Request, _ account: Account
    ) throws(WorkLimitReached) -> [[ByteText]] {
        var request = blank
        request.target = account
        var choices: [[ByteText]] = [[]]
        for rule in question.matching where !rule.matches(request, .as) {
            let groups = Set(rule.targets?.groups ?? []).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
            var next: [[ByteText]] = []
            for choice in choices {
                try step(groups.count)
                if groups.contains(where: choice.contains) { next.append(choice) }
                next += groups.filter { !choice.contains($0) }.map { choice + [$0] }
            }
            choices = next
        }
        return choices
    }

    /// The avoided rules of which a clause matches a request.
    private mutating func matched(
        _ question: WhoQuestion, _ request: Request, _ clause: Clause
    ) throws(WorkLimitReached) -> AvoidedRules {
        var matched = AvoidedRules(noneOf: question.avoiding.count)
        for index in question.alive {
            let rule = question.avoiding[index]
            try step(1 + (clause == .as ? rule.targets?.count ?? 0 : rule.remoteUsers?.count ?? 0))
            if rule.services.contains(request.service), rule.matches(request, clause) { matched.insert(index) }
        }
        return matched
    }
}

extension RemoteUsers {
    /// How many names there are.
    var count: Int { sets.reduce(literal.count) { $0 + $1.items.names.count } }
}

extension Targets {
    /// How many names and groups there are.
    var count: Int {
        sets.reduce(literal.names.count + literal.groups.count) { $0 + $1.items.names.count + $1.items.groups.count }
    }
}

extension UserName {
    /// A name that is none of some others: a stem, with a number where it needs one.
    fileprivate static func fresh(_ stem: String, apartFrom taken: Set<UserName>) -> UserName {
        var number = 1
        var name = UserName(stem)
        while let current = name, taken.contains(current) {
            number += 1
            name = UserName(stem + String(number))
        }
        // INVARIANT: a stem of letters and a number are a name of fewer than 32 bytes.
        return name ?? .root
    }
}
