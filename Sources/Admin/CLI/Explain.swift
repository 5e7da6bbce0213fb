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
            The account and the program are looked up on this host, unless --groups or an absolute path says them. \
            Passwords, trust files and PAM are not asked: this is the policy's word alone.

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
    @Option(help: "The account's groups, G,G…; it is then not looked up.") var groups: String?
    @Option(help: "The gateway's local time, as 2026-11-20T23:30; now without it.") var at: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions
    @Argument(parsing: .postTerminator, help: "The command, as a client would send it.") var command: [String] = []

    func validate() throws {
        guard Service(name: service) != nil else { throw ValidationError("--service is rexec or rsh.") }
        guard RequestText.endpoint(from) != nil else {
            throw ValidationError("--from '\(ByteText(from).printable)' is no address, nor address and port.")
        }
        guard UserName(target) != nil else {
            throw ValidationError("--as '\(ByteText(target).printable)' is no user name.")
        }
        if let by {
            guard UserName(by) != nil else {
                throw ValidationError("--by '\(ByteText(by).printable)' is no user name.")
            }
            guard service != "rexec" else { throw ValidationError("REXEC carries no remote user: leave --by out.") }
        }
        if let at, RequestText.time(at) == nil {
            throw ValidationError("--at '\(ByteText(at).printable)' is no time such as 2026-11-20T23:30.")
        }
        guard !command.isEmpty else { throw ValidationError("The command comes after '--'.") }
    }

    func run() throws {
        try reporting {
            let local = try LocalPolicy(policy.file)
            guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
            let string = ByteText(command.joined(separator: " "))
            let question = try Question(self, string, policy.settings)
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
    let string: ByteText
    let commandLine: CommandLine
    /// nil where this host knows no such account.
    var account: Account?
    let command: RequestedCommand
    /// The words before what needs a shell.
    let beforeShell: RequestedCommand?
    let time: LocalTime

    init(_ verb: ExplainVerb, _ string: ByteText, _ settings: Settings) throws {
        // The verb has validated all of these.
        guard let service = Service(name: verb.service), let source = RequestText.endpoint(verb.from),
            let target = UserName(verb.target), let now = Clock.localTime()
        else { throw Failure(description: "the request cannot be read", status: 64) }
        self.service = service
        self.source = source
        self.target = target
        self.string = string
        remoteUser = verb.by.flatMap { UserName($0) }
        time = verb.at.flatMap { RequestText.time($0) } ?? now
        if let groups = verb.groups {
            let names = groups.split(separator: ",").map { ByteText(String($0)) }
            account = RequestText.account(target, groups: names)
        } else {
            account = try HostLookup.account(target)
        }
        commandLine = CommandLine(string.bytes)
        switch commandLine {
        case .words(let words):
            command = HostLookup.command(words, settings)
            beforeShell = nil
        case .needsShell(let need):
            command = .needsShell(firstWord: need.firstWord)
            if case .words(let words) = CommandLine(Array(string.bytes.prefix(need.offset))) {
                beforeShell = HostLookup.command(words, settings)
            } else {
                beforeShell = nil
            }
        }
    }

    func ask(_ policy: Policy) -> Answer {
        guard let account else {
            return Answer(explanation: nil, request: nil)
        }
        let request = Request(
            service: service, source: source.address, sourcePort: source.port, remoteUser: remoteUser, target: account,
            command: command, time: time)
        return Answer(explanation: policy.explain(request, beforeShell: beforeShell), request: request)
    }
}

/// What this host knows of accounts and programs.
enum HostLookup {
    /// The gateway's own accounts, which packaging makes.
    private static let gatewayAccounts: Set<String> = ["portc-front", "portc-eng", "portc-aud"]

    /// An account as a session would see it; nil where there is none of exactly this name.
    static func account(_ name: UserName) throws -> Account? {
        guard let entry = try Accounts.named(name), entry.name.bytes == name.bytes else { return nil }
        let ids = Accounts.groups(of: name, primary: entry.gid) ?? [entry.gid]
        let groups = try Set(ids).sorted().compactMap { id in try Accounts.groupName(id) }
        return Account(
            name: name, uid: entry.uid, groups: Array(groups.prefix(Account.groupLimit)),
            isSystem: Accounts.isSystem(entry), isGateway: gatewayAccounts.contains(name.description))
    }

    /// Words with the program that the first one names here; an absolute path is taken as it stands.
    static func command(_ words: [ByteText], _ settings: Settings) -> RequestedCommand {
        guard let first = words.first else { return .needsShell(firstWord: nil) }
        if first.bytes.contains(UInt8(ascii: "/")) {
            guard var program = RequestText.program(first) else { return .words(words, program: nil) }
            if let found = try? SecureOpen.program(first, searchPath: "") { program.resolvedPath = found.resolved }
            return .words(words, program: program)
        }
        let path = ByteText(Array(settings.searchPath.map(\.bytes).joined(separator: [UInt8(ascii: ":")])))
        let found = try? SecureOpen.program(first, searchPath: path)
        return .words(
            words, program: found.map { RequestedCommand.Program(path: $0.path, resolvedPath: $0.resolved) })
    }
}

/// The policy's word on a request; nothing where the host knows no such account.
private struct Answer {
    let explanation: Explanation?
    let request: Request?

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
                ("wanted", .string(miss.wanted)),
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
            lines += nearest(question)
            lines.append("  policy \(Shown.short(revision))")
        case nil:
            lines.append("\(output.coloured("deny", .bad))    \(Reason.unknownUser.name)")
            lines.append("  this host has no account \(question.target); with --groups it is not looked up")
        }
        return lines
    }

    /// A line whose place, if any, stands in its own column; `width` is the first part's without colours.
    private func row(_ first: String, _ width: Int, _ rest: String, _ place: FilePlace?) -> String {
        guard let place else { return first + rest }
        let length = width + rest.unicodeScalars.count
        return first + rest + String(repeating: " ", count: max(Self.placeColumn - length, 2)) + place.description
    }

    private static func asked(_ question: Question) -> String {
        "\(question.service.name) from \(question.source.address)"
            + (question.remoteUser.map { " by \($0)" } ?? "") + " as \(question.target)"
    }

    private static func run(_ question: Question, _ terms: Terms) -> String {
        guard !terms.usesShell, case .words(let words, let program?) = question.command else {
            return "\(question.string.printable)        (by the account's shell)"
        }
        let shown = [program.path.printable] + words.dropFirst().map { CommandPattern.quoted($0) }
        return
            "\(ByteText(shown.joined(separator: " ")).printable)        (\(Shown.count(words.count, "word")), no shell)"
    }

    private func why(_ denial: Denial, _ question: Question, _ policy: Policy) -> String? {
        switch denial.reason {
        case .needsShell:
            guard case .needsShell(let need) = question.commandLine else { return nil }
            return "\(Self.cause(need)), and no permit with `run shell` matches"
        case .serviceDisabled:
            guard policy.settings.serves(question.service) else {
                let isSecured =
                    question.service == .rsh && policy.settings.rsh.isEnabled && policy.settings.secureTCPIP.isOn
                return isSecured
                    ? "securetcpip has rsh off; `securetcpip on except rsh` gives it back"
                    : "service \(question.service.name) does not say `enable`"
            }
            return "securetcpip has rcp off; `securetcpip on except rcp` gives it back"
        case .commandNotFound:
            guard case .words(let words, _) = question.command, let first = words.first else { return nil }
            return first.bytes.contains(UInt8(ascii: "/"))
                ? "'\(first.printable)' is no absolute path without '.' and '..'"
                : "'\(first.printable)' is not in the search path, or somebody else could change what is there"
        case .forbidden:
            return explanation?.overruled.map { "without it \($0.name) (\($0.place)) would permit this" }
        default:
            return nil
        }
    }

    private static func cause(_ need: CommandLine.ShellNeed) -> String {
        let column = need.offset + 1
        switch need.cause {
        case .character(let byte): return "the '\(ByteText([byte]).printable)' at column \(column) needs a shell"
        case .newline: return "the newline at column \(column) needs a shell"
        case .unclosedQuote: return "the quote at column \(column) does not end"
        case .empty: return "an empty command means a shell"
        case .assignment: return "the NAME= at column \(column) needs a shell"
        }
    }

    private func nearest(_ question: Question) -> [String] {
        (explanation?.nearMisses ?? []).map { miss in
            let condition: String =
                switch miss.clause {
                case .service: "with service \(miss.wanted)"
                case .from: "from \(miss.wanted)"
                case .by: "by \(miss.wanted)"
                case .as: "as \(miss.wanted)"
                case .run: miss.wouldMatchWithoutShell ? "without it" : "for \(miss.wanted)"
                case .during: "during \(miss.wanted)"
                }
            return row("  nearest:", 10, " \(miss.rule.name) would match \(condition)", miss.rule.place)
        }
    }
}
