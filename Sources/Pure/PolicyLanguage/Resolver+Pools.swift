// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Guest pools: their accounts, and the permits that give them away.
extension Resolver {
    mutating func takePool(_ set: SetSyntax<UserItem>) {
        if let first = poolPlaces[set.name.value] { return twice(set.name, "pool", first) }
        poolPlaces[set.name.value] = set.name.span
        var pool = GuestPool(name: set.name.value, accounts: [])
        for item in set.items {
            guard case .name(let name) = item.value else { continue }
            if name == .root {
                sink.error(item.span, "root is nobody's guest")
            } else if name == .guest {
                sink.error(item.span, "'\(name)' is what guests ask for; the accounts of a pool have other names")
            } else if let other = pooledAccounts.updateValue(pool.name, forKey: name) {
                sink.error(
                    item.span,
                    other == pool.name ? "'\(name)' stands twice" : "'\(name)' stands in pool '\(other)' already",
                    hint: "an account stands in one pool")
            }
            pool.accounts.append(name)
        }
        guard pooledAccounts.count <= GuestPool.accountLimit else {
            return sink.error(set.name.span, "the pools hold too much: at most \(GuestPool.accountLimit) accounts")
        }
        settings.pools.append(pool)
    }

    /// Holds the pools that permits name against those that there are.
    mutating func resolvePools() {
        for reference in poolReferences where poolPlaces[reference.value] == nil {
            unknown(reference, "pool", Array(poolPlaces.keys))
        }
    }

    /// A guest is a stranger to this host, so what it runs is confined.
    func checkGuestSandbox(of index: Int) {
        let rule = policy.rules[index]
        guard let targets = rule.targets, !targets.pools.isEmpty,
            policy.sandboxes.indices.contains(rule.sandbox), !policy.sandboxes[rule.sandbox].isConfined
        else { return }
        sink.error(
            notes[index].sandbox?.span ?? notes[index].name, "a guest is not let loose: 'unconfined' confines nothing",
            hint: "sandbox home gives it its empty home to write")
    }

    /// The first pool of which a permit's `any` or `same` reaches an account by rsh; of groups this host alone knows.
    private func poolReached(by rule: Rule, _ targets: Targets, _ open: [UserName: String]) -> String? {
        guard rule.services.contains(.rsh), targets.isAny || targets.isSame, !open.isEmpty else { return nil }
        let reached: Set<String>
        if let users = rule.remoteUsers, !users.isAny, !targets.isAny {
            // As who asks: the names that may ask.
            reached = Set(users.names.lazy.compactMap { open[$0] })
        } else {
            reached = Set(open.values)
        }
        return settings.pools.first { reached.contains($0.name) }?.name
    }

    /// Pools that nobody is given, and rules that do not go with pools.
    func warnOfPools() {
        guard !poolPlaces.isEmpty else { return }
        let used = Set(poolReferences.map(\.value))
        for pool in settings.pools where !used.contains(pool.name) {
            guard let span = poolPlaces[pool.name] else { continue }
            sink.warning(span, "no permit uses pool '\(pool.name)'")
        }
        // A set is looked through once, however many permits name it.
        var named: [String: (pooled: UserName?, hasGuest: Bool)] = [:]
        let look = { (names: [UserName]) in (names.first { pooledAccounts[$0] != nil }, names.contains(.guest)) }
        let open = policy.pooledAccountsOpenToRSH
        for (index, rule) in policy.rules.enumerated() {
            guard let targets = rule.targets else { continue }
            var (pooled, hasGuest) = look(targets.literal.names)
            for set in targets.sets {
                let found = named[set.name] ?? look(set.items.names)
                named[set.name] = found
                pooled = pooled ?? found.0
                hasGuest = hasGuest || found.1
            }
            guard rule.effect == .permit else {
                if rule.services.contains(.rexec), hasGuest {
                    sink.warning(
                        notes[index].name,
                        "'\(rule.name)' names 'guest', and with a pool REXEC's login 'guest' is a guest's: it stops none",
                        hint: "to stop guests, name the accounts of the pool, or leave 'as' out")
                }
                continue
            }
            if let name = pooled, let pool = pooledAccounts[name] {
                sink.warning(
                    notes[index].name,
                    "'\(rule.name)' is for '\(name)', an account of pool '\(pool)': while something "
                        + "runs there, no guest is given that account, and while a guest has it, nobody else is")
            } else if let pool = poolReached(by: rule, targets, open) {
                sink.warning(
                    notes[index].name,
                    "'\(rule.name)' reaches accounts of pool '\(pool)' by rsh: while something "
                        + "runs there, no guest is given that account, and while a guest has it, nobody else is",
                    hint: "a forbid for rsh alone keeps them for guests: forbid NAME: rsh as { ACCOUNT, ... }")
            }
            if rule.services.contains(.rexec), hasGuest {
                sink.warning(
                    notes[index].name,
                    "'\(rule.name)' names 'guest', but with a pool REXEC's login 'guest' is a guest's and no account's")
            }
        }
    }
}
