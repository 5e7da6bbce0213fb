// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// AIX's securetcpip list on Linux terms: what of it is open, and what the policy gives back.
struct SecureTCPIPReport {
    /// How a tool or file stands.
    enum State: String {
        /// Nothing of it can be used.
        case closed
        /// It can be used, and the policy gives it back.
        case givenBack = "given back"
        /// It can be used, and nothing gives it back.
        case open
    }

    /// A command or daemon.
    struct Tool {
        var tool: RemoteTool
        var programs: [RemoteProgram]
        var starters: [Activation.Entry]
        var sockets: [WaitingDaemons.Entry]
        var state: State
        /// What to do, one a thing that is open.
        var mends: [String]
    }

    /// A file by which somebody is trusted, or a password sent.
    struct File {
        var path: String
        /// Whose it is; empty for a file of the host's.
        var accounts: [String]
        var state: State
    }

    let policy: HostPolicy
    let tools: [Tool]
    let files: [File]
    /// What could not be looked at.
    let notChecked: [String]

    init(host: LocalHost, policy: HostPolicy, ownDirectory: String? = WaitingDaemons.ownDirectory) {
        self.policy = policy
        let packages = DebianPackages(host)
        let activation = Activation(host)
        let waiting = WaitingDaemons(host, settings: policy.settings, ownDirectory: ownDirectory)
        tools = RemoteTool.all.map { tool in
            Self.judge(
                tool, policy.settings, RemoteProgram.find(tool, on: host, packages: packages),
                activation.entries(of: tool), waiting.entries(of: tool))
        }
        let found = LoginFiles(host)
        files = found.files.map { file in
            let allowed = file.exception.map { policy.settings.secureTCPIP.allows($0) } ?? false
            let isOff = !policy.settings.secureTCPIP.isOn
            return File(path: file.path, accounts: file.accounts, state: allowed || isOff ? .givenBack : .open)
        }
        notChecked =
            [waiting.problem.map { "sockets: \($0)" }, packages.problem.map { "packages: \($0)" }]
            .compactMap(\.self) + waiting.entries.filter(\.isUnknown).map(\.description)
            + found.notChecked
    }

    /// Whether nothing is open besides what the policy gives back, and everything could be looked at.
    var isClosed: Bool {
        notChecked.isEmpty && tools.allSatisfy { $0.state != .open } && files.allSatisfy { $0.state != .open }
    }

    // MARK: Judging

    private static func judge(
        _ tool: RemoteTool, _ settings: Settings, _ programs: [RemoteProgram], _ starters: [Activation.Entry],
        _ sockets: [WaitingDaemons.Entry]
    ) -> Tool {
        let usable = programs.filter { !$0.isDisabled && $0.provider != .openSSH }
        let strangers = sockets.filter(\.isStranger)
        let foreign = starters.filter { !$0.isGateway }
        var mends: [String] = []
        if settings.secureTCPIP.isOn {
            // What is given back is given back through the gateway: another daemon asks no policy.
            for socket in strangers {
                mends.append(
                    socket.owner == .otherPolicy
                        ? "portcullis reload, or name the gateway's policy: \(socket.description)"
                        : "end what listens on \(socket.description)")
            }
            for starter in foreign { mends.append("disable \(ByteText(starter.place).printable)") }
            if !isGivenBack(tool, settings) {
                mends += usable.map { mend(program: $0, tool) }
            }
        }
        let isUsed = !usable.isEmpty || !sockets.isEmpty || !starters.isEmpty
        return Tool(
            tool: tool, programs: programs, starters: starters, sockets: sockets,
            state: !mends.isEmpty ? .open : isUsed ? .givenBack : .closed, mends: mends)
    }

    private static func isGivenBack(_ tool: RemoteTool, _ settings: Settings) -> Bool {
        switch tool.givenBackBy {
        case .always: true
        case .statement(let exception): settings.secureTCPIP.allows(exception)
        case .never: false
        }
    }

    private static func mend(program: RemoteProgram, _ tool: RemoteTool) -> String {
        var text = "chmod 0000 \(ByteText(program.target).printable)"
        if case .package(let name?) = program.provider { text += ", or remove the package \(name)" }
        if case .statement(let exception) = tool.givenBackBy {
            text += ", or give it back: securetcpip on except \(exception.name)"
        }
        return text
    }
}
