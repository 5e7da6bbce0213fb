// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis replay`: recorded requests that a policy would decide differently.
struct ReplayVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Say which recorded requests a policy would decide differently.",
        discussion: """
            Each request on the trail is put together from its records and decided by the policy alone: passwords, trust \
            files and PAM are not asked again. A decision differs where what was permitted is refused, or the other way \
            round, or where the sandbox or the use of a shell changes; another rule with the same outcome is counted only.

            A refusal on the trail holds its command, cut where it is longer than a line. Without the whole command, as in \
            records of older versions and of several requests, a refusal is decided where no command could change it; the \
            others are counted, and shown with --undecided. Groups, programs and links are those of this host today, hours \
            are in its time zone; with --no-lookup accounts have no groups and programs no links.

            EXAMPLES
              portcullis replay /var/lib/portcullis/audit/trail.log --policy new.policy
              portcullis replay trail.log.1 trail.log --policy new.policy --json

            EXIT STATUS
              0 none differs, 1 some do.
            """)

    @Argument(help: "Trails, the older first.", completion: .file()) var trails: [String]
    @OptionGroup var policy: PolicyOptions
    @Flag(help: "Show the refusals that some command would now be permitted for, too.") var undecided = false
    @Flag(name: .customLong("no-lookup"), help: "Look no account and no program up on this host.") var noLookup = false
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            let local = try LocalPolicy(policy.file)
            guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
            var reading = try TrailReading(TrailSource(files: trails))
            var replay = Replay(
                replayer: Replayer(policy: policy, revision: local.revision, looksUp: !noLookup),
                showsOpen: undecided, isJSON: format.isJSON)
            try reading.readLines { line, entry in try replay.take(line, entry) }
            try replay.finish(unreadable: reading.unreadable)
            guard replay.differing == 0 else { throw ExitCode(1) }
        }
    }
}

/// A replay on its way through the trails: what differs is printed as it is found.
private struct Replay {
    private var replayer: Replayer
    private let showsOpen: Bool
    private let isJSON: Bool
    private var requests = TrailRequests()
    private var output = Output()
    private var shown = 0

    private var decided = 0
    private(set) var differing = 0
    private var byAnother = 0
    private var open = 0
    private var unknownAccounts = 0
    private var incomplete: [TrailRequests.Gap: Int] = [:]
    private var elsewhere: [Reason: Int] = [:]

    init(replayer: Replayer, showsOpen: Bool, isJSON: Bool) {
        self.replayer = replayer
        self.showsOpen = showsOpen
        self.isJSON = isJSON
    }

    mutating func take(_ line: TrailLine, _ entry: Entry) throws {
        for found in requests.take(line, entry) { try take(found) }
    }

    private mutating func take(_ found: TrailRequests.Found) throws {
        switch found {
        case .elsewhere(let reason, let count): elsewhere[reason, default: 0] += count
        case .incomplete(let gap, let count): incomplete[gap, default: 0] += count
        case .request(let request):
            switch try replayer.verdict(request) {
            case .same(let isByAnother):
                decided += request.count
                if isByAnother { byAnother += request.count }
            case .differs(let decision):
                decided += request.count
                differing += request.count
                try show(request, decision, [])
            case .open(let rules):
                open += request.count
                if showsOpen { try show(request, nil, rules) }
            case .unknownAccount:
                unknownAccounts += request.count
            }
        }
    }

    /// - Parameter unreadable: how many lines were no records.
    mutating func finish(unreadable: Int) throws {
        for found in requests.finish() { try take(found) }
        if isJSON { try finishJSON(unreadable) } else { try finishText() }
        try output.flush()
    }

    // MARK: For people

    private mutating func show(_ request: RecordedRequest, _ decision: Decision?, _ rules: [RuleReference]) throws {
        shown += 1
        guard !isJSON else {
            let start = shown == 1 ? "{\"differences\":[" : ","
            return try output.line(start + json(request, decision, rules).text)
        }
        let time = Shown.localTime(seconds: Int64(clamping: request.milliseconds / 1_000))
        var asked = "\(request.service.name) from \(request.source)"
        if let user = request.remoteUser { asked += " by \(user)" }
        asked += " as \(request.target)"
        if let pool = request.pool { asked += ", a guest of pool \(ByteText(pool).printable)" }
        switch request.outcome {
        case .permitted(_, let start): asked += ": \(start.commandLine.printable)"
        case .refused(_, _, let command?): asked += ": \(Shown.command(command))"
        case .refused(_, _, nil): asked += ": a command that is not recorded"
        }
        if request.count > 1 { asked += ", \(Shown.number(request.count)) times" }
        try output.line("\(time)  \(asked)")
        try output.line("    \(was(request)) -> \(now(decision, rules))")
    }

    private func was(_ request: RecordedRequest) -> String {
        switch request.outcome {
        case .permitted(let rule, let start):
            return
                "\(output.coloured("permit", .good)) \(Shown.rule(rule)), sandbox \(ByteText(start.sandbox).printable)"
        case .refused(let reason, let rule, _):
            return denial(Denial(reason: reason, rule: rule))
        }
    }

    private func now(_ decision: Decision?, _ rules: [RuleReference]) -> String {
        switch decision {
        case .permit(let terms):
            let shell = terms.usesShell ? ", by the account's shell" : ""
            let sandbox = replayer.sandbox(terms) ?? "?"
            return "\(output.coloured("permit", .good)) \(Shown.rule(terms.rule)), sandbox \(sandbox)\(shell)"
        case .deny(let found):
            return denial(found)
        case nil:
            let names = rules.prefix(4).map { Shown.rule($0) }.joined(separator: ", ")
            let more = rules.count > 4 ? " and \(rules.count - 4) more" : ""
            return "\(output.coloured("perhaps permit", .doubtful)) \(names)\(more), if the command is theirs"
        }
    }

    private func denial(_ denial: Denial) -> String {
        output.coloured("deny", .bad) + " \(denial.reason.name)" + (denial.rule.map { " \(Shown.rule($0))" } ?? "")
    }

    /// Requests that are on the trail and were not decided, and why.
    private var undecided: [(why: String, count: Int)] {
        var reasons = TrailRequests.Gap.allCases.compactMap { gap in incomplete[gap].map { (gap.rawValue, $0) } }
        if unknownAccounts > 0 {
            reasons.append(("this host has no such account (--no-lookup asks it for none)", unknownAccounts))
        }
        if open > 0 {
            reasons.append(
                ("refused then, and perhaps permitted now: the command, or its program then, is not known", open))
        }
        return reasons
    }

    private mutating func finishText() throws {
        let undecidedCount = undecided.reduce(0) { $0 + $1.count }
        let total = decided + undecidedCount
        let verb = differing == 1 ? "differs" : "differ"
        try output.line(
            "\(Shown.count(total, "request")), \(Shown.number(differing)) \(verb), "
                + "\(Shown.number(undecidedCount)) could not be decided")
        for (why, count) in undecided { try output.line("  \(Shown.number(count)): \(why)") }
        if byAnother > 0 {
            try output.line("  \(Shown.number(byAnother)) decided alike by another rule, or for another reason")
        }
        if !elsewhere.isEmpty {
            let reasons = Reason.allCases.compactMap { reason in
                elsewhere[reason].map { "\(reason.name) \(Shown.number($0))" }
            }
            let count = elsewhere.values.reduce(0, +)
            try output.line(
                "not replayed: \(Shown.number(count)) refused outside the policy (\(reasons.joined(separator: ", ")))")
        }
        try output.line("the policy alone decided: passwords, trust files and PAM were not asked")
    }

    // MARK: For programs

    private mutating func finishJSON(_ unreadable: Int) throws {
        let undecided = undecided.map { (why, count) in
            JSON.object([("why", .string(why)), ("requests", .integer(count))])
        }
        let reasons = Reason.allCases.compactMap { reason in elsewhere[reason].map { (reason.name, JSON.integer($0)) } }
        let summary = JSON.object([
            ("requests", .integer(decided + self.undecided.reduce(0) { $0 + $1.count })),
            ("differ", .integer(differing)),
            ("byAnotherRule", .integer(byAnother)), ("undecided", .array(undecided)),
            ("refusedOutsideThePolicy", .object(reasons)), ("unreadableLines", .integer(unreadable)),
            ("revision", .string(replayer.revision.description)),
        ]).text
        try output.line((shown == 0 ? "{\"differences\":[" : "") + "]," + summary.dropFirst())
    }

    private func json(_ request: RecordedRequest, _ decision: Decision?, _ rules: [RuleReference]) -> JSON {
        var command: JSON = .null
        var recorded: JSON
        switch request.outcome {
        case .permitted(let rule, let start):
            command = .bytes(start.commandLine)
            recorded = Self.decision("permit", nil, rule, start.sandbox)
        case .refused(let reason, let rule, let asked):
            if let asked, asked.isWhole { command = .bytes(asked.text) }
            recorded = Self.decision("deny", reason, rule, nil)
        }
        let now: JSON =
            switch decision {
            case .permit(let terms): Self.decision("permit", nil, terms.rule, replayer.sandbox(terms))
            case .deny(let denial): Self.decision("deny", denial.reason, denial.rule, nil)
            case nil: .null
            }
        return .object([
            ("time", .string(Shown.universalTime(milliseconds: request.milliseconds))),
            ("session", .optional(request.session?.description)), ("service", .string(request.service.name)),
            ("from", .string(request.source.description)), ("by", .optional(request.remoteUser?.description)),
            ("as", .string(request.target.description)), ("pool", .optional(request.pool)), ("command", command),
            ("count", .integer(request.count)),
            ("recorded", recorded), ("now", now),
            (
                "possible",
                .array(rules.map { .object([("rule", .string($0.name)), ("at", .string($0.place.description))]) })
            ),
        ])
    }

    private static func decision(_ word: String, _ reason: Reason?, _ rule: RuleReference?, _ sandbox: String?) -> JSON
    {
        .object([
            ("decision", .string(word)), ("reason", .optional(reason?.name)), ("rule", .optional(rule?.name)),
            ("at", .optional(rule?.place.description)), ("sandbox", .optional(sandbox)),
        ])
    }
}
