// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Policy
import PolicyLanguage

/// Decides recorded requests with another policy.
struct Replayer {
    /// What the other policy makes of a request.
    enum Verdict {
        /// The same; `byAnother` where another rule or another reason decides.
        case same(byAnother: Bool)
        /// Something else.
        case differs(Decision)
        /// These permits could match it, if its command, which is not recorded whole, is theirs.
        case open([RuleReference])
        /// This host has no such account.
        case unknownAccount
    }

    let revision: Revision
    private let policy: Policy
    private let index: PolicyIndex
    /// Whether accounts and programs are looked up on this host.
    let looksUp: Bool

    /// Whether any rule asks for the time.
    private let asksTime: Bool
    private var accounts: [UserName: Account?] = [:]
    private var programs: [ByteText: RequestedCommand.Program?] = [:]
    private var possible: [PartialRequest: [RuleReference]] = [:]

    /// The most answers of a kind that are kept.
    private static let cacheLimit = 16_384

    init(policy: Policy, revision: Revision, looksUp: Bool) {
        self.policy = policy
        index = PolicyIndex(policy)
        self.revision = revision
        self.looksUp = looksUp
        asksTime = policy.rules.contains { $0.hours != nil }
    }

    mutating func verdict(_ recorded: RecordedRequest) throws -> Verdict {
        guard let time = Clock.localTime(seconds: Int64(clamping: recorded.milliseconds / 1_000)) else {
            throw Failure(description: "the local time of a record is not known")
        }
        // The very policy that decided it.
        let account = try account(recorded.target)
        if recorded.revision == revision { return account == nil ? .unknownAccount : .same(byAnother: false) }
        var request = Request(
            service: recorded.service, source: recorded.source, sourcePort: recorded.port,
            remoteUser: recorded.remoteUser, target: account ?? RequestText.account(recorded.target, groups: []),
            command: .needsShell(firstWord: nil), time: time)
        guard recorded.pool != nil, !policy.settings.pools.isEmpty else {
            // Without pools there are no guests: nothing permits one.
            request.target.pool = recorded.pool
            return account == nil ? .unknownAccount : verdict(recorded, request)
        }
        // The policy of then chose the account; this one tries its own, as a session does.
        var first: Verdict?
        for pool in poolsInTurn(recorded) {
            for name in accountsInTurn(pool, recorded) {
                // What is no account here, or the system's, is passed over.
                guard var account = try self.account(name), account.canBeGuest else { continue }
                account.pool = pool.name
                request.target = account
                let verdict = verdict(recorded, request)
                if Self.permits(verdict, recorded.outcome) { return verdict }
                first = first ?? verdict
            }
        }
        return first ?? .unknownAccount
    }

    /// The pools in the order in which they are tried: as they are written.
    ///
    /// What was given to a guest was given by its pool, whether or not one before it had an account free then: the pool that
    /// the account is of now, or else the one of that name, comes first.
    private func poolsInTurn(_ recorded: RecordedRequest) -> [GuestPool] {
        let pools = policy.settings.pools
        guard case .permitted = recorded.outcome,
            let own = pools.firstIndex(where: { $0.accounts.contains(recorded.target) })
                ?? pools.firstIndex(where: { $0.name == recorded.pool })
        else { return pools }
        return [pools[own]] + pools[..<own] + pools[(own + 1)...]
    }

    /// The accounts of a pool: the recorded one first, where it is of them. A session begins with any.
    private func accountsInTurn(_ pool: GuestPool, _ recorded: RecordedRequest) -> [UserName] {
        guard pool.accounts.contains(recorded.target) else { return pool.accounts }
        return [recorded.target] + pool.accounts.filter { $0 != recorded.target }
    }

    private static func permits(_ verdict: Verdict, _ outcome: RecordedRequest.Outcome) -> Bool {
        switch (verdict, outcome) {
        case (.same, .permitted), (.differs(.permit), _), (.open, _): true
        case (.same, .refused), (.differs(.deny), _), (.unknownAccount, _): false
        }
    }

    private mutating func verdict(_ recorded: RecordedRequest, _ request: Request) -> Verdict {
        var request = request
        switch recorded.outcome {
        case .permitted(let rule, let start):
            let (command, usedShell) = command(of: start)
            request.command = command
            let decision = index.decide(request)
            guard case .permit(let terms) = decision, sandbox(terms) == start.sandbox,
                usedShell == nil || terms.usesShell == usedShell
            else { return .differs(decision) }
            return .same(byAnother: terms.rule.name != rule.name)
        case .refused(let reason, let rule, let command):
            guard let command, command.isWhole, let asked = self.command(of: command.text, reason) else {
                return refused(request, reason, rule)
            }
            request.command = asked
            let verdict = compared(index.decide(request), reason, rule)
            // It was not there then. That it is found today, or on this policy's search path, is not the policy's doing alone.
            guard reason == .commandNotFound, looksUp, case .same = verdict,
                let found = self.command(of: command.text, nil)
            else {
                return verdict
            }
            request.command = found
            guard case .permit(let terms) = index.decide(request) else { return verdict }
            return .open([terms.rule])
        }
    }

    /// The sandbox that a permit gives.
    func sandbox(_ terms: Terms) -> String? {
        policy.sandboxes.indices.contains(terms.sandbox) ? policy.sandboxes[terms.sandbox].name : nil
    }

    private func compared(_ decision: Decision, _ reason: Reason, _ rule: RuleReference?) -> Verdict {
        guard case .deny(let denial) = decision else { return .differs(decision) }
        return .same(byAnother: denial.reason != reason || denial.rule?.name != rule?.name)
    }

    /// A refused request whose command is not known.
    private mutating func refused(_ request: Request, _ reason: Reason, _ rule: RuleReference?) -> Verdict {
        var request = request
        switch reason {
        case .needsShell: request.command = .needsShell(firstWord: nil)
        case .commandNotFound: request.command = .words([ByteText([])], program: nil)
        case .serviceDisabled, .forbidden, .noRule, .unknownUser, .untrusted, .badCredentials, .accountRefused,
            .sandboxUnavailable, .auditUnavailable, .timeout, .unavailable, .sourcePort, .limit, .penalty,
            .protocolError:
            let rules = permits(for: PartialRequest(withoutCommand: request))
            return rules.isEmpty ? .same(byAnother: false) : .open(rules)
        }
        // Of such a command a rule sees no more than this.
        let decision = index.decide(request)
        // It could be rcp.
        if case .permit(let terms) = decision, !policy.settings.secureTCPIP.allows(.rcp) { return .open([terms.rule]) }
        return compared(decision, reason, rule)
    }

    /// The permits that could match a request whose command is not known.
    private mutating func permits(for question: PartialRequest) -> [RuleReference] {
        var question = question
        if !asksTime { question.time = nil }
        if let known = possible[question] { return known }
        let rules = policy.permits(for: question).permits.map(\.rule.reference)
        if possible.count >= Self.cacheLimit { possible = [:] }
        possible[question] = rules
        return rules
    }

    /// The command that was sent, and whether the account's shell ran it; nil where that cannot be told.
    private mutating func command(of start: Record.Command) -> (RequestedCommand, usedShell: Bool?) {
        let words: [ByteText]
        switch CommandLine(start.commandLine.bytes) {
        case .needsShell(let need): return (.needsShell(firstWord: need.firstWord), true)
        case .words(let split): words = split
        }
        guard let first = words.first else { return (.needsShell(firstWord: nil), true) }
        // A shell has three words, its own name first; the program of a command without one is what its first word names.
        let name = first.bytes.split(separator: UInt8(ascii: "/")).last
        let isFirst = name.map { start.program.bytes.split(separator: UInt8(ascii: "/")).last == $0 } ?? false
        guard isFirst, start.argumentCount == words.count else {
            return (.words(words, program: program(first, path: nil)), true)
        }
        // Three words of which the second is `-c` are what a shell is given, too.
        return (.words(words, program: program(first, path: start.program)), words.count == 3 ? nil : false)
    }

    /// The command that was refused; nil where it had a program, and which one this host cannot say.
    private mutating func command(of text: ByteText, _ reason: Reason?) -> RequestedCommand? {
        switch CommandLine(text.bytes) {
        case .needsShell(let need): return .needsShell(firstWord: need.firstWord)
        case .words(let words):
            guard let first = words.first else { return .needsShell(firstWord: nil) }
            // Whatever is there today, nothing was then.
            if reason == .commandNotFound { return .words(words, program: nil) }
            return program(first, path: nil).map { .words(words, program: $0) }
        }
    }

    /// The program that a word names on this host today; where there is none, or none is looked up, what had this path.
    private mutating func program(_ word: ByteText, path: ByteText?) -> RequestedCommand.Program? {
        let then = path.map { RequestedCommand.Program(path: $0, resolvedPath: $0) }
        guard looksUp else { return then ?? RequestText.program(word) }
        if let known = programs[word] { return known ?? then }
        var found: RequestedCommand.Program?
        if case .words(_, let program) = HostLookup.command([word], policy.settings) { found = program }
        if programs.count >= Self.cacheLimit { programs = [:] }
        programs[word] = .some(found)
        return found ?? then
    }

    private mutating func account(_ name: UserName) throws -> Account? {
        if let known = accounts[name] { return known }
        let found = looksUp ? try HostLookup.account(name) : RequestText.account(name, groups: [])
        if accounts.count >= Self.cacheLimit { accounts = [:] }
        accounts[name] = .some(found)
        return found
    }
}
