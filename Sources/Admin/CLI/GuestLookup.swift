// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy

/// What this host knows of the accounts of guest pools.
enum GuestLookup {
    /// The accounts that a REXEC request could be given as a guest, in the order in which pools are tried; nil where it
    /// is no guest's.
    ///
    /// - Parameters:
    ///   - name: what is asked for: `guest`, or with a pool an account of it.
    ///   - pool: the one pool that is asked about; every one without it.
    ///   - groups: stand for each account's groups, and for accounts that this host lacks.
    /// - Throws: `Failure` where there is no such pool, or the account is not of it.
    static func accounts(
        _ name: UserName, service: Service, pool: String?, groups: String?, _ settings: Settings
    ) throws -> [Account]? {
        guard service == .rexec, pool != nil || name == .guest, pool != nil || !settings.pools.isEmpty else {
            return nil
        }
        let chosen = settings.pools.filter { pool == nil || $0.name == pool }
        if chosen.isEmpty { throw Failure(description: "the policy has no pool '\(pool ?? "")'", status: 64) }
        var found: [Account] = []
        for pool in chosen {
            let names = name == .guest ? pool.accounts : pool.accounts.filter { $0 == name }
            guard !names.isEmpty else {
                throw Failure(description: "'\(name)' is no account of pool '\(pool.name)'", status: 64)
            }
            for name in names {
                guard var account = try HostLookup.account(name, groups: groups) else { continue }
                account.pool = pool.name
                found.append(account)
            }
        }
        return found
    }

    /// What keeps the accounts of a policy's pools from being given on this host, and which permits reach them here by a
    /// group: a sentence for each.
    static func warnings(_ policy: Policy) throws -> [String] {
        var warnings: [String] = []
        var uids: [UInt32: UserName] = [:]
        for pool in policy.settings.pools {
            for name in pool.accounts {
                let what = "pool '\(pool.name)': '\(name)'"
                guard let entry = try Accounts.named(name), entry.name.bytes == name.bytes,
                    let account = try HostLookup.account(name)
                else {
                    warnings.append("\(what) is no account of this host")
                    continue
                }
                if !account.canBeGuest {
                    warnings.append("\(what) is an account of the system's (uid \(entry.uid)), which no guest is given")
                } else if let other = uids.updateValue(name, forKey: entry.uid) {
                    warnings.append("\(what) has the uid of '\(other)': one of them is given at a time")
                } else if let why = unfitness(of: entry) {
                    warnings.append("\(what) has no home that a guest's can be laid over: \(why)")
                }
            }
        }
        return try warnings + groupWarnings(policy) { name in try HostLookup.account(name) }
    }

    /// The permits that reach an account of a pool by rsh and by a group: a sentence for each. The policy's own warnings are
    /// of `any` and `same`; who is in a group, a host alone knows.
    ///
    /// - Parameter account: an account as a session would see it; nil where there is none.
    static func groupWarnings(_ policy: Policy, account: (UserName) throws -> Account?) rethrows -> [String] {
        let open = policy.pooledAccountsOpenToRSH
        var members: [ByteText: UserName] = [:]
        for name in policy.settings.pools.flatMap(\.accounts) where open[name] != nil {
            // A system account is in no group that a permit names.
            guard let found = try account(name), !found.isSystem else { continue }
            for group in found.groups where members[group] == nil { members[group] = name }
        }
        guard !members.isEmpty else { return [] }
        return policy.rules.compactMap { rule in
            guard rule.effect == .permit, rule.services.contains(.rsh),
                let group = rule.targets?.groups.first(where: { members[$0] != nil }), let name = members[group],
                let pool = open[name]
            else { return nil }
            return "'\(rule.name)' reaches '\(name)' of pool '\(pool)' by rsh, as one of %\(group.printable): while "
                + "something runs there, no guest is given that account, and while a guest has it, nobody else is"
        }
    }

    /// Why a session could not lay an empty home over an account's; nil where it could, as far as this user sees.
    private static func unfitness(of entry: AccountEntry) -> String? {
        do throws(SecureOpen.Refusal) {
            let home = try SecureOpen.home(entry.home, of: entry.uid)
            return home.owner == entry.uid ? nil : "\(entry.home.printable): belongs to uid \(home.owner)"
        } catch {
            return error.description
        }
    }
}

extension Policy {
    /// The request that a gateway would let a guest make where every account is free: the first that is permitted, or
    /// where none is, the first; nil where there are no accounts.
    func guestRequest(_ request: Request, among accounts: [Account]) -> Request? {
        let requests = accounts.lazy.map { account in
            var request = request
            request.target = account
            return request
        }
        return requests.first { if case .permit = decide($0) { true } else { false } } ?? requests.first
    }
}
