// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux

/// `portcullis securetcpip`: what of AIX's list is open here.
struct SecureTCPIPVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "securetcpip",
        abstract: "What of AIX's securetcpip list is open on this host.",
        subcommands: [SecureTCPIPStatus.self])
}

/// `portcullis securetcpip status`: rsh, rlogin, rexec, rcp and tftp, their daemons, and the files they trust.
struct SecureTCPIPStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what is installed, enabled, listening or of mode 0000, and what the policy gives back.",
        discussion: """
            AIX's command gives rcp, rlogin, rlogind, rsh, rshd, tftp and tftpd the mode 0000 and has no program read \
            .netrc. Portcullis's statement of that name changes no file; this verb shows what of the list the host still \
            has, and how to close it. Nothing is changed. Sockets are those of this network namespace.

            EXAMPLE
              portcullis securetcpip status

            EXIT STATUS
              0 nothing is open besides what the policy gives back, 1 something is, or could not be looked at.
            """)

    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            let report = SecureTCPIPReport(host: try LocalHost.own(), policy: HostPolicy(policy.file))
            var output = Output()
            if format.isJSON {
                try output.line(report.json.text)
            } else {
                for line in report.lines(output) { try output.line(line) }
            }
            try output.flush()
            guard report.isClosed else { throw ExitCode(1) }
        }
    }
}

// MARK: - What is shown

extension SecureTCPIPReport {
    /// The statement as a policy writes it.
    private var statement: String {
        let setting = policy.settings.secureTCPIP
        let names = SecureTCPIP.Exception.allCases.filter(setting.exceptions.contains).map(\.name)
        return "securetcpip " + (setting.isOn ? "on" : "off")
            + (names.isEmpty ? "" : " except " + names.joined(separator: ", "))
    }

    /// The report for people.
    func lines(_ output: Output) -> [String] {
        var lines = ["policy    \(statement) (\(ByteText(policy.path).printable))"]
        if let problem = policy.problem {
            lines.append(output.coloured("          judged by the default, securetcpip on: \(problem)", .doubtful))
        }
        for tool in tools { lines += Self.lines(tool, output) }
        for file in files {
            let owner = file.accounts.isEmpty ? "" : " (\(file.accounts.joined(separator: ", ")))"
            lines.append("file      " + Self.shown(file.state, output) + file.path + owner)
        }
        lines += notChecked.map { "          " + output.coloured("not checked", .bad) + " " + $0 }
        let open = tools.filter { $0.state == .open }.count + files.filter { $0.state == .open }.count
        lines.append(
            isClosed
                ? output.coloured("nothing is open besides what the policy gives back", .good)
                : output.coloured(
                    "\(Shown.number(open)) open" + (notChecked.isEmpty ? "" : ", not everything could be looked at"),
                    .bad))
        return lines
    }

    private static func lines(_ tool: Tool, _ output: Output) -> [String] {
        var facts = tool.programs.map(\.description)
        facts += tool.starters.map { "enabled by \(ByteText($0.place).printable)" }
        facts += tool.sockets.map { "listening on \($0.description)" }
        if facts.isEmpty { facts = ["not installed"] }
        return [Shown.column(tool.tool.name, 10) + shown(tool.state, output) + facts.joined(separator: "; ")]
            + tool.mends.map { "          " + output.coloured("mend: \($0)", .doubtful) }
    }

    private static func shown(_ state: State, _ output: Output) -> String {
        let tone: Output.Tone =
            switch state {
            case .closed: .good
            case .givenBack: .doubtful
            case .open: .bad
            }
        return output.coloured(Shown.column(state.rawValue, 12), tone)
    }

    /// The report for programs.
    var json: JSON {
        let setting = policy.settings.secureTCPIP
        let exceptions = SecureTCPIP.Exception.allCases.filter(setting.exceptions.contains)
        return .object([
            ("policy", .string(policy.path)), ("policyProblem", .optional(policy.problem)),
            ("securetcpip", .string(setting.isOn ? "on" : "off")),
            ("except", .array(exceptions.map { .string($0.name) })), ("closed", .bool(isClosed)),
            ("tools", .array(tools.map(Self.json))),
            (
                "files",
                .array(
                    files.map { file in
                        .object([
                            ("path", .string(file.path)), ("state", .string(file.state.rawValue)),
                            ("accounts", .array(file.accounts.map { .string($0) })),
                        ])
                    })
            ),
            ("notChecked", .array(notChecked.map { .string($0) })),
        ])
    }

    private static func json(_ tool: Tool) -> JSON {
        .object([
            ("name", .string(tool.tool.name)), ("kind", .string(tool.tool.isDaemon ? "daemon" : "client")),
            ("state", .string(tool.state.rawValue)), ("programs", .array(tool.programs.map(json))),
            ("enabledBy", .array(tool.starters.map { .string($0.place) })),
            ("listening", .array(tool.sockets.map(json))), ("mend", .array(tool.mends.map { .string($0) })),
        ])
    }

    private static func json(_ program: RemoteProgram) -> JSON {
        let provider: JSON =
            switch program.provider {
            case .openSSH: .string("openssh")
            case .portcullis: .string("portcullis")
            case .package(let name): .optional(name)
            }
        return .object([
            ("path", .string(program.path)), ("target", .string(program.target)),
            ("mode", .string(String(program.mode, radix: 8))), ("provider", provider),
            ("disabled", .bool(program.isDisabled)),
        ])
    }

    private static func json(_ entry: WaitingDaemons.Entry) -> JSON {
        .object([
            ("address", .string(entry.socket.endpoint.address.description)),
            ("port", .integer(entry.socket.endpoint.port)),
            ("transport", .string(entry.socket.transport.rawValue)), ("gateway", .bool(entry.isGateway)),
            (
                "holders",
                .array(
                    entry.holders.map { holder in
                        .object([
                            ("pid", .integer(holder.pid)), ("uid", .integer(holder.uid)), ("name", .bytes(holder.name)),
                            ("program", holder.program.map { .bytes($0) } ?? .null),
                        ])
                    })
            ),
        ])
    }
}
