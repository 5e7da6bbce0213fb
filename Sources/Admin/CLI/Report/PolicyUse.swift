// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Policy
import PolicyLanguage

/// What a trail says of a policy: which rules were used, and which refusals missed a permit by little.
struct PolicyUse {
    /// A permit that refused requests missed by one clause.
    struct Miss {
        var rule: RuleReference
        /// What the requests lacked: `from 10.20.0.0/16`.
        var condition: String
        var count: Int
        /// The last of them.
        var example: RecordedRequest
    }

    private struct MissKey: Hashable {
        var rule: String
        var condition: String
    }

    /// A refused request, as far as the policy looks at it.
    private struct Asked: Hashable {
        var service: Service
        var source: IPAddress
        var remoteUser: UserName?
        var target: UserName
        var pool: String?
        var command: ByteText
        var time: LocalTime?
    }

    private enum Answer {
        case permitted
        case missed(RuleReference, String)
        case nothing
    }

    /// The most different requests that the policy is asked about; each one that differs costs a look at every rule.
    private static let askedLimit = 2_000
    /// The most rules and conditions that are told apart.
    private static let missLimit = 1_000

    let policy: Policy
    let revision: Revision
    /// The policy's file, as it was named.
    let path: String
    private let looksUp: Bool
    private let asksTime: Bool

    /// How often each rule decided, by its name.
    private(set) var used: [String: Int] = [:]
    /// Rules that decided and that the policy does not have, and how often.
    private(set) var unknownRules = Tally<String>(limit: 4_096)
    private var misses: [MissKey: Miss] = [:]
    /// How many refused requests the policy was asked about.
    private(set) var examined = 0
    /// How many of them this policy would permit.
    private(set) var permittedNow = 0
    /// How many it was not asked about, because there were too many different ones or the record does not hold them whole.
    private(set) var notExamined = 0
    private var answers: [Asked: Answer] = [:]
    private var accounts: [UserName: Account?] = [:]
    private var requests = TrailRequests()

    init(policy: Policy, revision: Revision, path: String, looksUp: Bool) {
        self.policy = policy
        self.revision = revision
        self.path = path
        self.looksUp = looksUp
        asksTime = policy.rules.contains { $0.hours != nil }
        for rule in policy.rules { used[rule.name] = 0 }
    }

    /// Counts the rule of a session.
    mutating func add(_ session: TrailSession) {
        guard let rule = session.rule else { return }
        if let count = used[rule.name] {
            used[rule.name] = count.addingReportingOverflow(session.count).partialValue
        } else {
            unknownRules.add(rule.name, Tally<String>.Count(requests: session.count))
        }
    }

    /// Looks whether a record is a refusal that the policy had decided, and what it would have taken.
    mutating func add(_ event: TrailEvent) throws {
        // A long command comes joined; what a refusal is told by stands in one line.
        guard case .record(.login(let login)) = event.entry, login.refusal != nil else { return }
        for found in requests.take(event.line, event.entry) {
            switch found {
            case .elsewhere: continue
            case .incomplete(_, let count): notExamined += count
            case .request(let request): try examine(request)
            }
        }
    }

    /// The rules that decided nothing.
    var unused: [Rule] { policy.rules.filter { used[$0.name] == 0 } }

    /// What was missed most often.
    func most(_ number: Int) -> [Miss] {
        let sorted = misses.values.sorted {
            ($0.count, $1.rule.name, $1.condition) > ($1.count, $0.rule.name, $0.condition)
        }
        return Array(sorted.prefix(number))
    }

    private mutating func examine(_ request: RecordedRequest) throws {
        guard case .refused(_, _, let command?) = request.outcome, command.isWhole else {
            notExamined += request.count
            return
        }
        let seconds = Int64(clamping: request.milliseconds / 1_000)
        guard let time = Clock.localTime(seconds: seconds) else { return notExamined += request.count }
        let asked = Asked(
            service: request.service, source: request.source, remoteUser: request.remoteUser, target: request.target,
            pool: request.pool, command: command.text, time: asksTime ? time : nil)
        let answer: Answer
        if let known = answers[asked] {
            answer = known
        } else {
            guard answers.count < Self.askedLimit else { return notExamined += request.count }
            answer = try ask(request, command.text, time)
            answers[asked] = answer
        }
        examined += request.count
        switch answer {
        case .nothing: return
        case .permitted: permittedNow += request.count
        case .missed(let rule, let condition):
            let key = MissKey(rule: rule.name, condition: condition)
            guard misses[key] != nil || misses.count < Self.missLimit else { return }
            var miss = misses[key] ?? Miss(rule: rule, condition: condition, count: 0, example: request)
            miss.count += request.count
            miss.example = request
            misses[key] = miss
        }
    }

    private mutating func ask(_ request: RecordedRequest, _ command: ByteText, _ time: LocalTime) throws -> Answer {
        guard var account = try account(request.target) else { return .nothing }
        account.pool = request.pool
        var beforeShell: RequestedCommand?
        let line = CommandLine(command.bytes)
        let wanted = requested(line)
        if case .needsShell(let need) = line,
            case .words(let words) = CommandLine(Array(command.bytes.prefix(need.offset)))
        {
            beforeShell = requested(.words(words))
        }
        let asked = Request(
            service: request.service, source: request.source, sourcePort: request.port,
            remoteUser: request.remoteUser, target: account, command: wanted, time: time)
        let explanation = policy.explain(asked, beforeShell: beforeShell)
        if case .permit = explanation.decision { return .permitted }
        guard explanation.overruled == nil, let miss = explanation.nearMisses.first(where: { $0.forbiddenBy == nil })
        else { return .nothing }
        return .missed(miss.rule, miss.wouldMatchWithoutShell ? "without what needs a shell" : miss.condition)
    }

    private func requested(_ line: CommandLine) -> RequestedCommand {
        switch line {
        case .needsShell(let need): return .needsShell(firstWord: need.firstWord)
        case .words(let words):
            if looksUp { return HostLookup.command(words, policy.settings) }
            return .words(words, program: words.first.flatMap { RequestText.program($0) })
        }
    }

    private mutating func account(_ name: UserName) throws -> Account? {
        if let known = accounts[name] { return known }
        let found = looksUp ? try HostLookup.account(name) : RequestText.account(name, groups: [])
        if accounts.count >= Self.askedLimit { accounts = [:] }
        accounts[name] = .some(found)
        return found
    }
}
