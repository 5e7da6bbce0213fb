// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// A guest: who asked for `guest` without a password, and what the policy decided of it.
struct Guest {
    /// The pool.
    var pool: String
    /// The account of it that was decided on; `guest` itself where none is free.
    var name: UserName
    /// The account's place, held until everything of the command's has ended; nil where the guest was refused, and then.
    var place: Descriptor?
    /// Its uid, where it has a place.
    var uid: UInt32 = 0
}

/// Guest pools: REXEC's login `guest` without a password gets an account of a pool, alone.
extension RequestSession {
    /// An account, and the permit for it.
    struct GivenAccount: ~Copyable {
        let entry: AccountEntry
        let permit: Permit
    }

    /// What was found on the way through the pools.
    private struct Search {
        /// The policy's first denial, and of whom.
        var denial: (denial: Denial, guest: Guest)?
        /// The first pool of which an account would be given, were it free.
        var full: String?
        /// Accounts that cannot be given, and why: the first of them, as many as a record has room for.
        private var unfit: [String] = []
        private var unfitCount = 0

        mutating func passOver(_ name: UserName, _ why: String) {
            unfitCount += 1
            if unfit.count < 4 { unfit.append("\(name): \(why)") }
        }

        /// What was passed over, for a record; empty where nothing was.
        var passedOver: String {
            guard !unfit.isEmpty else { return "" }
            let more = unfitCount > unfit.count ? "; and \(unfitCount - unfit.count) more" : ""
            return " (" + unfit.joined(separator: "; ") + more + ")"
        }
    }

    /// Gives the guest the first account that the policy permits and that is free, or refuses.
    ///
    /// The pools are tried as they are written, the accounts of each from a random one on. What the policy would say is
    /// asked of accounts that are taken, too: that none is free is told to who would be given one, and to nobody else.
    ///
    /// TRUST: on return the account is this session's alone until it ends, and no process of it runs.
    ///
    /// - Parameter request: the request with an account.
    func admitGuest(_ password: Secret?, _ request: (Account) -> Request) -> GivenAccount {
        guard Process.isRoot else { refuse(.accountRefused, "only a gateway that runs as root has guests") }
        let places: GuestPlaces
        do {
            places = try GuestPlaces(runtimeDirectory: input.runtimeDirectory)
        } catch {
            refuse(.unavailable, "\(error)")
        }
        var search = Search()
        for pool in settings.pools {
            guard let given = account(of: pool, places, password, request, &search) else { continue }
            tell(.asked(service: .rexec, source: origin.address, target: targetText))
            Process.setTitle(
                "portcullisd: session \(given.entry.name) rexec \(origin.address?.description ?? "?") [priv]")
            // The engine need not wait for another ask.
            Socket.shutdownBoth(parts.engine)
            return given
        }
        if let full = search.full {
            guest = Guest(pool: full, name: .guest)
            refuse(.limit, "no account of pool \(full) is free" + search.passedOver, isDecided: true)
        }
        if let (denial, whom) = search.denial {
            guest = whom
            refuse(denial.reason, rule: denial.rule, isDecided: true)
        }
        refuse(.accountRefused, "the pools have no account that can be given" + search.passedOver)
    }

    /// Keeps guests from an account of a pool that was asked for, and proved to be one's, by its own name: until the
    /// command has ended.
    ///
    /// Sessions by name share it with each other. Where a guest has it, they are refused: at the guest's end, everything that
    /// runs as the account is ended.
    ///
    /// TRUST: on return no guest has the account, nor is given it.
    func keepGuestsOut(of entry: AccountEntry) {
        let isPooled = settings.pools.contains { pool in
            pool.accounts.contains { $0.bytes == entry.name.bytes }
        }
        // A guest of an earlier policy may still have it.
        guard Process.isRoot, isPooled || GuestPlaces.mayBeTaken(entry.uid, runtimeDirectory: input.runtimeDirectory)
        else { return }
        do {
            let places = try GuestPlaces(runtimeDirectory: input.runtimeDirectory)
            accountPlace = try places.take(entry.uid, shared: true)
        } catch {
            refuse(.unavailable, "the place of \(entry.name.printable): \(error)", isDecided: true)
        }
        if accountPlace == nil { refuse(.limit, "a guest has \(entry.name.printable)", isDecided: true) }
    }

    /// Ends what runs as the guest's account: what got out of the session's namespace by way of others goes with it.
    ///
    /// The place is held meanwhile, so that whatever is ended is no other guest's.
    func endGuest() {
        guard let guest, guest.place != nil else { return }
        do {
            guard try AccountProcesses.end(of: guest.uid) else { throw SystemError.timedOut("kill") }
        } catch {
            // Nobody is given the account while one of them runs.
            log.say("session \(input.session): processes of guest \(guest.name) may be left: \(error)")
        }
    }

    /// The first account of a pool that this guest may have, with its place taken; nil where there is none.
    private func account(
        of pool: GuestPool, _ places: GuestPlaces, _ password: Secret?, _ request: (Account) -> Request,
        _ search: inout Search
    ) -> GivenAccount? {
        var taken: [(entry: AccountEntry, name: UserName)] = []
        for name in Self.rotated(pool.accounts) {
            guard let entry = fitAccount(name, &search) else { continue }
            guard let place = take(entry, places) else {
                taken.append((entry, name))
                continue
            }
            let candidate = Guest(pool: pool.name, name: name, place: place, uid: entry.uid)
            switch ask(candidate, entry, password, request, &search) {
            case .permitted(let permit):
                guard isIdle(entry, name, &search) else {
                    search.full = search.full ?? pool.name
                    continue
                }
                guest = candidate
                return GivenAccount(entry: entry, permit: permit)
            case .denied(let denial):
                // A forbid can be about one account; whatever else it is, it is for all of the pool.
                guard denial.reason == .forbidden else { return nil }
            case .unavailable:
                refuse(.unavailable, "no engine answered")
            }
        }
        for (entry, name) in taken where search.full != pool.name {
            switch ask(Guest(pool: pool.name, name: name), entry, password, request, &search) {
            case .permitted: search.full = search.full ?? pool.name
            case .denied(let denial): guard denial.reason == .forbidden else { return nil }
            case .unavailable: refuse(.unavailable, "no engine answered")
            }
        }
        return nil
    }

    /// Asks the engine whether a guest may have an account. What it would permit is refused to who sent a password.
    private func ask(
        _ candidate: Guest, _ entry: AccountEntry, _ password: Secret?, _ request: (Account) -> Request,
        _ search: inout Search
    ) -> EngineLink.Answer {
        // Those of the account that was asked about before.
        knownGroups = nil
        var account = describe(entry, as: candidate.name)
        account.pool = candidate.pool
        switch decide(request(account)) {
        case .permitted(let permit):
            guard let password, password.isEmpty else {
                guest = Guest(pool: candidate.pool, name: .guest)
                let detail = password == nil ? "no password came" : "a guest has no password"
                recordAuthentication("guest-pool", failure: .badCredentials, detail)
                refuse(.badCredentials, detail)
            }
            return .permitted(permit)
        case .denied(let denial):
            if search.denial == nil {
                search.denial = (denial, Guest(pool: candidate.pool, name: candidate.name))
            }
            return .denied(denial)
        case .unavailable:
            return .unavailable
        }
    }

    /// An account of a pool as name service knows it; nil where it is nobody's to be given.
    private func fitAccount(_ name: UserName, _ search: inout Search) -> AccountEntry? {
        let found: AccountEntry?
        do {
            found = try Accounts.named(name)
        } catch {
            refuse(.unavailable, "name service: \(error)")
        }
        guard let entry = found, entry.name.bytes == name.bytes else {
            search.passOver(name, "no such account")
            return nil
        }
        guard entry.uid >= GuestPool.firstUID, !input.gatewayUIDs.contains(entry.uid) else {
            search.passOver(name, "uid \(entry.uid) is the system's")
            return nil
        }
        return entry
    }

    private func take(_ entry: AccountEntry, _ places: GuestPlaces) -> Descriptor? {
        do {
            return try places.take(entry.uid)
        } catch {
            refuse(.unavailable, "the place of guest \(entry.name.printable): \(error)")
        }
    }

    /// Whether no process of an account runs: what a session left behind, or somebody of this host, keeps guests out.
    private func isIdle(_ entry: AccountEntry, _ name: UserName, _ search: inout Search) -> Bool {
        do {
            // A helper has just answered, so that one of theirs is seen where processes are seen at all.
            guard let first = try AccountProcesses.ids(of: entry.uid, besides: input.gatewayUIDs).first else {
                return true
            }
            search.passOver(name, "process \(first) runs as it")
            return false
        } catch {
            refuse(.unavailable, "whether guest \(entry.name.printable) runs anything: \(error)")
        }
    }

    /// The accounts from a random one on, so that a pool of many is soon gone through.
    private static func rotated(_ accounts: [UserName]) -> [UserName] {
        guard !accounts.isEmpty, let bytes = try? Random.bytes(4) else { return accounts }
        let start = Int(bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }) % accounts.count
        return Array(accounts[start...] + accounts[..<start])
    }
}
