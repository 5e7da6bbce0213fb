// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis explain`: what the policy says of a request, and why.
struct ExplainVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say what the policy makes of a request, by which rule, and what would change it.",
        discussion: """
            The account and the program are looked up on this host, unless an absolute path says it; \
            --groups stands for the account's groups, and for an account that is not here. Passwords, trust files and \
            PAM are not asked: this is the policy's word alone. With a guest pool, `--service rexec --as guest` is a guest, \
            who is given the first account that is permitted, as if all were free.

            EXAMPLE
              portcullis explain --service rsh --from 10.1.2.3 --by alice --as alice -- 'uptime'

            EXIT STATUS
              0 permit, 3 deny.
            """)

    /// The exit status of a deny.
    static let denied: Int32 = 3

    @Option(help: "rexec or rsh.") var service: String
    @Option(help: "The source: ADDR, ADDR:PORT or [ADDR]:PORT.") var from: String
    @Option(help: "The remote user that an RSH client claims.") var by: String?
    @Option(name: .customLong("as"), help: "The target account.") var target: String
    @Option(help: "A guest of this pool; --as is `guest`, or the account that is given.") var pool: String?
    @Option(help: "The account's groups, G,G…, whatever this host says of them.") var groups: String?
    @Option(help: "The gateway's local time, as 2026-11-20T23:30; now without it.") var at: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions
    @Argument(parsing: .postTerminator, help: "The command, as a client would send it.") var command: [String] = []

    func validate() throws {
        try AskedPart.validate(service: service, from: from, by: by, as: target, at: at)
        guard service != Service.rsh.name || by != nil else {
            throw ValidationError("An RSH client always claims a remote user: --by says which.")
        }
        guard pool == nil || service == Service.rexec.name else { throw ValidationError("A guest comes by REXEC.") }
        guard !command.isEmpty else { throw ValidationError("The command comes after '--'.") }
    }

    func run() throws {
        try reporting {
            let local = try LocalPolicy(policy.file)
            guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
            let question = try Question(self, policy)
            let answer = question.ask(policy)
            var output = Output()
            if format.isJSON {
                try output.line(answer.json(policy, local.revision).text)
            } else {
                for line in answer.lines(question, policy, local.revision, output) { try output.line(line) }
            }
            try output.flush()
            guard answer.isPermit else { throw ExitCode(Self.denied) }
        }
    }
}

/// The request that is explained.
private struct Question {
    let service: Service
    let source: Endpoint
    let remoteUser: UserName?
    let target: UserName
    let asked: AskedCommand
    /// The request; nil where this host knows no such account.
    let request: Request?

    init(_ verb: ExplainVerb, _ policy: Policy) throws {
        // The verb has validated all of these.
        guard let service = Service(name: verb.service), let source = RequestText.endpoint(verb.from),
            let target = UserName(verb.target), let now = Clock.localTime()
        else { throw Failure(description: "the request cannot be read", status: 64) }
        self.service = service
        self.source = source
        self.target = target
        remoteUser = verb.by.flatMap { UserName($0) }
        asked = AskedCommand(verb.command, policy.settings)
        let request = Request(
            service: service, source: source.address, sourcePort: source.port, remoteUser: remoteUser,
            target: RequestText.account(target, groups: []), command: asked.command,
            time: verb.at.flatMap { RequestText.time($0) } ?? now)
        let guests = try GuestLookup.accounts(
            target, service: service, pool: verb.pool, groups: verb.groups, policy.settings)
        if let guests {
            self.request = policy.guestRequest(request, among: guests)
        } else {
            self.request = try HostLookup.account(target, groups: verb.groups).map { account in
                var request = request
                request.target = account
                return request
            }
        }
    }

    /// The account as it is shown: a guest's with the pool that it is of.
    var account: String {
        guard let account = request?.target else { return target.description }
        return account.name.description + (account.pool.map { ", a guest of pool \($0)" } ?? "")
    }

    func ask(_ policy: Policy) -> Answer {
        guard let request else {
            return Answer(explanation: nil)
        }
        return Answer(explanation: policy.explain(request, beforeShell: asked.beforeShell))
    }
}

/// The policy's word on a request; nothing where the host knows no such account.
private struct Answer {
    let explanation: Explanation?

    var isPermit: Bool {
        if case .permit = explanation?.decision { true } else { false }
    }

    // MARK: For programs

    func json(_ policy: Policy, _ revision: Revision) -> JSON {
        var reason: String?
        var rule: RuleReference?
        var sandbox: String?
        switch explanation?.decision {
        case .permit(let terms):
            rule = terms.rule
            sandbox = policy.sandboxes.indices.contains(terms.sandbox) ? policy.sandboxes[terms.sandbox].name : nil
        case .deny(let denial):
            reason = denial.reason.name
            rule = denial.rule
        case nil:
            reason = Reason.unknownUser.name
        }
        let misses = (explanation?.nearMisses ?? []).map { miss in
            JSON.object([
                ("rule", .string(miss.rule.name)), ("clause", .string(miss.clause.rawValue)),
                ("wanted", .string(miss.wanted + (miss.difference.map { " (\($0))" } ?? ""))),
            ])
        }
        return .object([
            ("decision", .string(isPermit ? "permit" : "deny")), ("reason", .optional(reason)),
            ("rule", .optional(rule?.name)), ("at", .optional(rule?.place.description)),
            ("sandbox", .optional(sandbox)), ("revision", .string(revision.description)),
            ("nearMisses", .array(misses)),
        ])
    }

    // MARK: For people

    private static let placeColumn = 55

    func lines(_ question: Question, _ policy: Policy, _ revision: Revision, _ output: Output) -> [String] {
        var lines: [String] = []
        switch explanation?.decision {
        case .permit(let terms):
            lines.append(
                row(output.coloured("permit", .good), 6, "  \(terms.rule.name)", terms.rule.place))
            lines.append("  " + Self.asked(question))
            lines.append(row("  runs", 6, "  " + Self.run(question, terms), nil))
            let sandbox = policy.sandboxes[terms.sandbox]
            lines.append(row("  in", 4, "    sandbox \(sandbox.name)", policy.sandboxPlaces[terms.sandbox]))
            lines.append("  policy \(Shown.short(revision))")
        case .deny(let denial):
            let word = output.coloured("deny", .bad)
            lines.append(
                row(
                    word, 4, "    \(denial.reason.name)" + (denial.rule.map { "  \($0.name)" } ?? ""),
                    denial.rule?.place))
            lines.append("  " + Self.asked(question))
            if let why = why(denial, question, policy) { lines.append("  " + why) }
            lines += nearest()
            lines.append("  policy \(Shown.short(revision))")
        case nil:
            lines.append("\(output.coloured("deny", .bad))    \(Reason.unknownUser.name)")
            lines.append("  this host has no account \(question.target); with --groups it would be an ordinary one")
        }
        return lines
    }

    /// A line whose place, if any, stands in its own column; `width` is the first part's without colours.
    private func row(_ first: String, _ width: Int, _ rest: String, _ place: FilePlace?) -> String {
        guard let place else { return first + rest }
        let length = width + rest.unicodeScalars.count
        return first + rest + String(repeating: " ", count: max(Self.placeColumn - length, 2)) + Shown.place(place)
    }

    private static func asked(_ question: Question) -> String {
        "\(question.service.name) from \(question.source.address)"
            + (question.remoteUser.map { " by \($0)" } ?? "") + " as \(question.account)"
    }

    private static func run(_ question: Question, _ terms: Terms) -> String {
        guard !terms.usesShell, case .words(let words, let program?) = question.asked.command else {
            return "\(question.asked.string.printable)        (by the account's shell)"
        }
        let shown = [program.path.printable] + words.dropFirst().map { CommandPattern.quoted($0) }
        return
            "\(ByteText(shown.joined(separator: " ")).printable)        (\(Shown.count(words.count, "word")), no shell)"
    }

    private func why(_ denial: Denial, _ question: Question, _ policy: Policy) -> String? {
        switch denial.reason {
        case .needsShell:
            return question.asked.shellNeed.map { "\($0), and no permit with `run shell` matches" }
        case .serviceDisabled:
            let why = policy.settings.reasonOff(question.service) ?? Settings.remoteCopyOff
            return why + (after.map { "; then " + $0 } ?? "")
        case .commandNotFound:
            return question.asked.programMiss
        case .forbidden:
            return "without it " + (after ?? "no permit would match either")
        default:
            return nil
        }
    }

    /// What would be without what decided, where a rule would decide then.
    private var after: String? {
        explanation?.nextForbid.map { "\(Shown.rule($0)) would forbid this too" }
            ?? explanation?.overruled.map { "\(Shown.rule($0)) would permit this" }
    }

    /// The near misses, what differs on a line of its own; none where a forbid is all that stands in the way.
    private func nearest() -> [String] {
        guard let explanation, explanation.overruled == nil else { return [] }
        let groups = explanation.closest.isEmpty ? explanation.nearMisses.map { [$0] } : [explanation.closest]
        var lines: [String] = []
        for misses in groups {
            guard let rule = misses.first?.rule else { continue }
            let conditions = ByteText(misses.map(\.condition).joined(separator: " and ")).printable
            lines.append(row("  nearest:", 10, " \(rule.name) would match \(conditions)", rule.place))
            for difference in misses.compactMap(\.difference) {
                lines.append("           but \(ByteText(difference).printable)")
            }
            if let forbid = misses.first?.forbiddenBy {
                lines.append("           but \(Shown.rule(forbid)) forbids that")
            }
        }
        return lines
    }
}

extension NearMiss {
    /// What would have to be otherwise: `from 10.20.0.0/16`.
    var condition: String {
        switch clause {
        case .service: "with service \(wanted)"
        case .from: "from \(wanted)"
        case .by: "by \(wanted)"
        case .as: "as \(wanted)"
        case .run: wouldMatchWithoutShell ? "without it" : "for \(wanted)"
        case .during: wanted
        }
    }
}
