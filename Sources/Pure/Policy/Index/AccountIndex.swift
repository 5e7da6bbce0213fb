// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the sets of rules whose `by` and `as` match a claimed name and an account.
struct AccountIndex: Sendable {
    /// The names of both clauses, and the groups of `as`.
    private var names = ByteTable()
    private var groups = ByteTable()
    /// The pools of permits' `as`, and the permits of each.
    private var pools = ByteTable()
    private let poolPermits: [RuleSetList]

    /// What each name satisfies, side by side, as a request asks for all of it.
    private let namesRules: [NameRules]
    private let groupsRules: [TargetRules]

    /// `by`: the rules that every name and none satisfies.
    private let anyRemoteUser: RuleSet?

    private let permits: Effects
    private let forbids: Effects

    /// The permits that name `root` themselves, in order.
    let rootPermits: [UInt32]

    /// `as`: the rules of both effects that a name or group satisfies.
    private struct TargetRules: Sendable {
        let forbids: RuleSetList
        let permits: RuleSetList
    }

    private struct NameRules: Sendable {
        /// In `by`.
        let remoteUser: RuleSetList
        let target: TargetRules
    }

    /// `as` in the rules of one effect, for what is no name and no group.
    private struct Effects: Sendable {
        var any: RuleSet?
        var same: RuleSet?
        /// What is satisfied by uid 0: of a permit the literal name, of a forbid the name from wherever it comes.
        var root: RuleSet?
        /// The rules without the clause.
        var absent: RuleSet?
    }

    init(_ rules: NumberedRules, _ sets: inout RuleSets) {
        var names = ByteTable()
        var groups = ByteTable()
        var pools = ByteTable()
        var asPools = ClausePostings()
        var by = ClausePostings()
        var byAny: [UInt32] = []
        var asNames = ClausePostings()
        var asGroups = ClausePostings()
        var any: [UInt32] = []
        var same: [UInt32] = []
        var root: [UInt32] = []
        var absent: [UInt32] = []
        // Names are compared as numbers from here on.
        let rootName = UserName.root
        let rootNumber = names.insert(rootName.bytes.span)
        func takeRemoteUsers(_ users: RemoteUsers?, _ number: UInt32) {
            guard let users, !users.isAny else { return byAny.append(number) }
            for name in users.literal { by.insert(names.insert(name.bytes.span), rule: number) }
            for named in users.sets {
                guard let set = by.insert(named, rule: number) else { continue }
                for name in named.items.names { by.insert(names.insert(name.bytes.span), set: set) }
            }
        }
        func takeTargets(_ targets: Targets?, _ number: UInt32) {
            guard let targets else { return absent.append(number) }
            for pool in targets.pools.isEmpty ? [] : Set(targets.pools) {
                asPools.insert(pools.insert(Array(pool.utf8).span), rule: number)
            }
            if targets.isAny { any.append(number) }
            if targets.isSame { same.append(number) }
            var hasRoot = number < rules.forbidCount && targets.sets.contains { $0.items.names.contains(.root) }
            for name in targets.literal.names {
                let its = names.insert(name.bytes.span)
                asNames.insert(its, rule: number)
                hasRoot = hasRoot || its == rootNumber
            }
            if hasRoot { root.append(number) }
            for group in targets.literal.groups { asGroups.insert(groups.insert(group.bytes.span), rule: number) }
            for named in targets.sets {
                if let set = asNames.insert(named, rule: number) {
                    for name in named.items.names { asNames.insert(names.insert(name.bytes.span), set: set) }
                }
                if let set = asGroups.insert(named, rule: number) {
                    for group in named.items.groups { asGroups.insert(groups.insert(group.bytes.span), set: set) }
                }
            }
        }
        let all = rules.rules.span
        for (number, place) in rules.numbers {
            takeRemoteUsers(all[place].remoteUsers, number)
            takeTargets(all[place].targets, number)
        }
        rootPermits = root.filter { $0 >= rules.forbidCount }
        anyRemoteUser = sets.insert(byAny)
        let remoteUsers = by.lists(names.count, of: [0..<rules.count], &sets)[0]
        let targetNames = asNames.lists(names.count, of: rules.halves, &sets)
        namesRules = remoteUsers.indices.map { name in
            NameRules(
                remoteUser: remoteUsers[name],
                target: TargetRules(forbids: targetNames[0][name], permits: targetNames[1][name]))
        }
        let targetGroups = asGroups.lists(groups.count, of: rules.halves, &sets)
        groupsRules = zip(targetGroups[0], targetGroups[1]).map { TargetRules(forbids: $0, permits: $1) }
        let parts = rules.halves.map { range in
            let chosen = { (all: [UInt32]) in all.filter { range.contains(Int($0)) } }
            return Effects(
                any: sets.insert(chosen(any)), same: sets.insert(chosen(same)), root: sets.insert(chosen(root)),
                absent: sets.insert(chosen(absent)))
        }
        forbids = parts[0]
        permits = parts[1]
        poolPermits = asPools.lists(pools.count, of: [rules.halves[1]], &sets)[0]
        self.names = names
        self.groups = groups
        self.pools = pools
    }

    /// Tells a search the sets of a request's claimed name and of its target.
    func tell(_ request: Request, _ search: inout RuleSearch, _ sets: borrowing RuleSets) {
        let account = request.target
        let claimed = request.claimedUser
        let isSame = claimed == account.name
        let target = names.number(account.name.bytes.span)

        search.add(anyRemoteUser, of: sets)
        if let claimed, let name = isSame ? target : names.number(claimed.bytes.span) {
            search.add(namesRules[name].remoteUser, of: sets)
        }
        search.endClause()
        guard !search.isHopeless else { return }

        // A forbid is read as widely as its words can be.
        search.add(forbids.absent, of: sets)
        search.add(forbids.any, of: sets)
        if isSame { search.add(forbids.same, of: sets) }
        if let target { search.add(namesRules[target].target.forbids, of: sets) }
        if account.uid == 0 { search.add(forbids.root, of: sets) }

        // A permit means uid 0 only by the literal name, and a system account or the gateway's own only by its name.
        // One that came from a pool is permitted by that pool, and by nothing that its name or groups say.
        search.add(permits.absent, of: sets)
        let isPlain = account.uid != 0 && !account.isSystem && !account.isGateway && account.pool == nil
        if let pool = account.pool {
            if account.canBeGuest, let number = pools.number(Array(pool.utf8).span) {
                search.add(poolPermits[number], of: sets)
            }
        } else if account.uid != 0 {
            if let target { search.add(namesRules[target].target.permits, of: sets) }
        } else if account.name == .root {
            search.add(permits.root, of: sets)
        }
        if isPlain {
            search.add(permits.any, of: sets)
            if isSame { search.add(permits.same, of: sets) }
        }
        if groups.count > 0 {
            for group in account.groups {
                guard let number = groups.number(group.bytes.span) else { continue }
                search.add(groupsRules[number].forbids, of: sets)
                if isPlain { search.add(groupsRules[number].permits, of: sets) }
            }
        }
        search.endClause()
    }
}
