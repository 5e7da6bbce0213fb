// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Messages

/// `portcullis status`: how the running gateway does.
struct StatusVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what the gateway serves and how it does.",
        discussion: """
            EXAMPLE
              portcullis status --json
            """)

    @OptionGroup var runtime: RuntimeOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            guard case .status(let status)? = try ControlClient(runtime.directory).ask(.status).first else {
                throw ControlClient.surprise
            }
            var output = Output()
            if format.isJSON {
                try output.line(Self.json(status).text)
            } else {
                for line in Self.lines(status, output) { try output.line(line) }
            }
            try output.flush()
        }
    }

    static func lines(_ status: GatewayStatus, _ output: Output) -> [String] {
        let services = Service.allCases.map { service in
            let places = status.listeners.filter { $0.service == service }.map(\.endpoint.description)
            guard places.isEmpty else { return "\(service.name) on \(places.joined(separator: ", "))" }
            return service == .rsh && status.rshIsSecuredOff ? "rsh off (securetcpip)" : "\(service.name) off"
        }
        let policy =
            status.revision == .none
            ? output.coloured("none is valid: every request is refused", .bad)
            : "\(Shown.short(status.revision)), \(Shown.count(status.rules, "rule")), loaded "
                + "\(Shown.localTime(seconds: status.loaded)), \(status.policyFile.printable)"
        let lost = status.lost == 0 ? "none lost" : output.coloured("\(Shown.number(status.lost)) lost", .bad)
        let trail = status.isDurable ? "durable" : output.coloured("CANNOT BE WRITTEN", .bad)
        let helpers = status.helpers.map { helper in
            helper.pid == 0 ? output.coloured("\(helper.name) down", .bad) : "\(helper.name) \(helper.pid)"
        }
        return [
            "serving   " + services.joined(separator: "; "),
            "policy    " + policy,
            "sessions  \(Shown.number(status.running)) running, \(Shown.number(status.requests)) since start; "
                + "refused \(Shown.number(status.refused)); \(lost)",
            "trail     seq \(Shown.number(status.sequence)), \(checkpoint(status))\(trail)",
            "denials   " + denials(status),
            "helpers   " + helpers.joined(separator: " · "),
        ]
    }

    /// What the trail has of what a sandbox denies (docs/audit.md, "Denials").
    private static func denials(_ status: GatewayStatus) -> String {
        switch status.denials {
        case .unheard: "the kernel's records cannot be read: that a command was ended, and no more"
        case .heard: "as the kernel tells of them, but for calls that only failed (kernel off)"
        case .heardWithCalls: "as the kernel tells of them"
        }
    }

    /// How long ago the last checkpoint was made, on this host's clock, which may have been set meanwhile.
    private static func checkpoint(_ status: GatewayStatus) -> String {
        guard status.checkpoint > 0 else { return "" }
        let age = max(0, Clock.wallMilliseconds() / 1_000 - status.checkpoint)
        return "last checkpoint \(age < 60 ? "\(age) s" : Shown.duration(milliseconds: UInt64(age) &* 1_000)) ago, "
    }

    private static func word(_ denials: GatewayStatus.Denials) -> String {
        switch denials {
        case .unheard: "unheard"
        case .heard: "heard"
        case .heardWithCalls: "heard-with-calls"
        }
    }

    static func json(_ status: GatewayStatus) -> JSON {
        .object([
            (
                "listeners",
                .array(
                    status.listeners.map {
                        .object([
                            ("service", .string($0.service.name)),
                            ("address", .string($0.endpoint.address.description)),
                            ("port", .integer($0.endpoint.port)),
                        ])
                    })
            ),
            ("rshOffBySecuretcpip", .bool(status.rshIsSecuredOff)),
            ("revision", status.revision == .none ? .null : .string(status.revision.description)),
            ("policy", .bytes(status.policyFile)), ("rules", .integer(status.rules)),
            ("loaded", .string(Shown.universalTime(milliseconds: UInt64(max(0, status.loaded)) &* 1_000))),
            ("running", .integer(status.running)), ("requests", .integer(status.requests)),
            ("refused", .integer(status.refused)), ("lost", .integer(status.lost)),
            ("seq", .integer(status.sequence)), ("durable", .bool(status.isDurable)),
            ("covered", status.checkpoint == 0 ? .null : .integer(status.covered)),
            (
                "checkpoint",
                status.checkpoint == 0
                    ? .null
                    : .string(Shown.universalTime(milliseconds: UInt64(max(0, status.checkpoint)) &* 1_000))
            ),
            ("denials", .string(word(status.denials))),
            (
                "helpers",
                .object(status.helpers.map { ($0.name, $0.pid == 0 ? JSON.null : .integer($0.pid)) })
            ),
        ])
    }
}

/// `portcullis sessions`: who runs what.
struct SessionsVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sessions",
        abstract: "List the sessions that run.",
        discussion: """
            EXAMPLE
              portcullis sessions
            """)

    @OptionGroup var runtime: RuntimeOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            let sessions = try ControlClient(runtime.directory).sessions()
            var output = Output()
            if format.isJSON {
                try output.line(JSON.array(sessions.map(Self.json)).text)
            } else {
                if !sessions.isEmpty { try output.line(output.coloured(Self.heading, .faint)) }
                for session in sessions { try output.line(Self.row(session)) }
            }
            try output.flush()
        }
    }

    private static let heading =
        "SESSION                           PID      ACCOUNT   VIA    FROM             SINCE                RULE             COMMAND"

    static func row(_ session: SessionStatus) -> String {
        [
            session.session.description, Shown.column(String(session.pid), 7),
            Shown.column(session.target.printable, 8), Shown.column(session.service?.name ?? "-", 5),
            Shown.column(session.source?.description ?? "-", 15),
            Shown.localTime(seconds: session.started),
            Shown.column(session.rule.isEmpty ? "-" : ByteText(session.rule).printable, 15),
            session.command.printable,
        ].joined(separator: "  ")
    }

    static func json(_ session: SessionStatus) -> JSON {
        .object([
            ("session", .string(session.session.description)), ("pid", .integer(session.pid)),
            ("service", .optional(session.service?.name)), ("from", .optional(session.source?.description)),
            ("account", session.target.isEmpty ? .null : .bytes(session.target)),
            ("rule", session.rule.isEmpty ? .null : .string(session.rule)),
            ("command", session.command.isEmpty ? .null : .bytes(session.command)),
            ("started", .string(Shown.universalTime(milliseconds: UInt64(max(0, session.started)) &* 1_000))),
        ])
    }
}

/// `portcullis terminate`: ends a session.
struct TerminateVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "terminate",
        abstract: "End a session: its command gets HUP, then KILL.",
        discussion: """
            EXAMPLE
              portcullis terminate 0f3a99c1
            """)

    @OptionGroup var runtime: RuntimeOptions
    @Argument(help: "The session's id, or first digits of it that no other running session has.") var session: String

    func run() throws {
        try reporting {
            let client = ControlClient(runtime.directory)
            let id = try identify(client)
            _ = try client.ask(.terminate(session: id))
        }
    }

    func validate() throws {
        let digits = session.utf8
        guard (4...32).contains(digits.count), digits.allSatisfy({ Hexadecimal.bytes([$0, $0]) != nil }) else {
            throw ValidationError("'\(ByteText(session).printable)' is no session id: 4 to 32 hexadecimal digits.")
        }
    }

    private func identify(_ client: ControlClient) throws -> SessionID {
        if let id = SessionID(session) { return id }
        let digits = session.lowercased()
        let found = try client.sessions().map(\.session).filter { $0.description.hasPrefix(digits) }
        guard let id = found.first else { throw Failure(description: "no session \(digits)") }
        guard found.count == 1 else {
            throw Failure(description: "\(found.count) sessions start with \(digits): give more digits")
        }
        return id
    }
}

/// `portcullis reload`: loads the policy again.
struct ReloadVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Load the policy again; a bad one changes nothing.",
        discussion: """
            EXAMPLE
              portcullis check && portcullis reload
            """)

    @OptionGroup var runtime: RuntimeOptions

    func run() throws {
        try reporting {
            _ = try ControlClient(runtime.directory).ask(.reload)
        }
    }
}

/// Asks the running gateway.
struct ControlClient {
    /// The name of the socket in the runtime directory.
    static let socketName = "control"
    /// The exit status where no gateway runs.
    static let notRunning: Int32 = 4
    /// How long an answer may take: a reload reads and compiles a policy.
    private static let patience: Int32 = 60_000
    /// The most sessions that are listed.
    private static let sessionLimit = 100_000

    static let surprise = Failure(description: "the gateway answered something else: are both of one version?")

    private let path: String

    init(_ directory: String) {
        path = directory + "/" + Self.socketName
    }

    /// The sessions that run.
    func sessions() throws -> [SessionStatus] {
        try ask(.sessions).map { answer in
            guard case .session(let session) = answer else { throw Self.surprise }
            return session
        }
    }

    /// The answers to an ask, up to and without the `end` that a list or a deed has.
    func ask(_ ask: ControlAsk) throws -> [ControlAnswer] {
        let channel: Channel
        do throws(SystemError) {
            channel = try LocalSocket.connect(path)
            try channel.send(ask.encoded())
        } catch {
            if error.isPermission {
                throw Failure(
                    description: "cannot ask the gateway at \(path): \(error.text): only root, or its own user, may")
            }
            throw Failure(description: "no gateway runs at \(path): \(error.text)", status: Self.notRunning)
        }
        var answers: [ControlAnswer] = []
        while answers.count <= Self.sessionLimit {
            var entries = [Poll.Entry(channel.descriptor)]
            try Poll.wait(&entries, milliseconds: Self.patience)
            guard let entry = entries.first, entry.isReadable || entry.isHangup else {
                throw Failure(description: "the gateway at \(path) does not answer")
            }
            guard case .message(let message) = try channel.receive(limit: FrameFormat.limit, waiting: false) else {
                throw Failure(description: "the gateway at \(path) closed the connection: is this its user, or root?")
            }
            guard let answer = try? ControlAnswer(frame: message.bytes) else { throw Self.surprise }
            switch answer {
            case .end: return answers
            case .failure(let text): throw try Self.failure(text)
            case .status: return [answer]
            case .session: answers.append(answer)
            }
        }
        return answers
    }

    /// Shows what stands above the last line as it is: a policy's diagnostics, with carets below what they point at.
    private static func failure(_ text: String) throws -> Failure {
        var lines = text.split(separator: "\n").map(String.init)
        let last = lines.popLast() ?? ""
        let above = lines.map { ByteText($0).printable + "\n" }.joined()
        if !above.isEmpty { try StandardStreams.error.writeAll(Array(above.utf8)) }
        return Failure(description: last)
    }
}
