// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis who-can`: from where, and by whom, a command may be run as an account.
struct WhoCanVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "who-can",
        abstract: "Say who may run a command as an account: every permit that could let somebody.",
        discussion: """
            The account and the program are looked up on this host, as explain does. A permit all of which is forbidden is \
            left out; where a part is, the forbids stand under it. Of several permits that match one request the first \
            decides. Passwords, trust files and PAM are not asked. With a guest pool, `--as guest` asks about guests.

            EXAMPLE
              portcullis who-can --as backup -- 'dump 0uf - /home'

            EXIT STATUS
              0, also where nobody can.
            """)

    @Option(help: "rexec or rsh; both without it.") var service: String?
    @Option(name: .customLong("as"), help: "The target account.") var target: String
    @Option(help: "A guest of this pool; --as is `guest`, or the account that is given.") var pool: String?
    @Option(help: "The account's groups, G,G…, whatever this host says of them.") var groups: String?
    @Option(help: "The gateway's local time, as 2026-11-20T23:30; any time without it.") var at: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions
    @Argument(parsing: .postTerminator, help: "The command, as a client would send it.") var command: [String] = []

    func validate() throws {
        try AskedPart.validate(service: service, from: nil, by: nil, as: target, at: at)
        guard !command.isEmpty else { throw ValidationError("The command comes after '--'.") }
    }

    func run() throws {
        try reporting {
            let local = try LocalPolicy(policy.file)
            guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
            guard let name = UserName(target) else { throw ExitCode(64) }
            let asked = AskedCommand(command, policy.settings)
            var question = PartialRequest(services: AskedPart.services(service))
            question.command = asked.command
            question.time = at.flatMap { RequestText.time($0) }
            let answer = try policy.permits(for: &question, as: name, pool: pool, groups: groups)
            let isGuest = pool != nil || (name == .guest && !policy.settings.pools.isEmpty)
            let table = PermitTable(policy: policy, answer: answer)
            var output = Output()
            if format.isJSON {
                let json = table.json { permit in
                    [
                        ("from", PermitTable.json(permit.rule.sources?.words)),
                        ("by", PermitTable.json(permit.remoteUsers)), ("shell", .bool(permit.usesShell)),
                    ]
                }
                try output.line(json.text)
            } else {
                try table.write(
                    [
                        PermitTable.Column(heading: "FROM") { PermitTable.list($0.rule.sources?.words ?? ["any"]) },
                        PermitTable.Column(heading: "BY") {
                            PermitTable.list($0.remoteUsers ?? [isGuest ? Self.guest : Self.owner])
                        },
                    ], ifEmpty: "nobody: \(Self.whyNobody(question, name, asked, policy.settings, answer))", to: &output
                )
            }
            try output.flush()
        }
    }

    /// Who a REXEC request is from.
    static let owner = "whoever has the password"
    static let guest = "any guest"

    private static func whyNobody(
        _ question: PartialRequest, _ name: UserName, _ asked: AskedCommand, _ settings: Settings,
        _ answer: PossiblePermits
    ) -> String {
        guard question.target != nil else {
            return "this host has no account \(name); with --groups it would be an ordinary one"
        }
        if let off = AskedPart.reasonOff(question, settings) { return off }
        guard answer.forbidden.isEmpty else { return "what permits this is forbidden" }
        let general = "no permit lets anybody run this as \(name)"
        if let need = asked.shellNeed { return "\(need), and no permit with `run shell` is for \(name)" }
        return asked.programMiss.map { "\($0); \(general)" } ?? general
    }
}

extension Policy {
    /// The permits that could let somebody make a request as an account, or as a guest; of several accounts that a guest
    /// could be given, what is permitted of one.
    ///
    /// - Parameter question: a request without its target, which is filled in where this host has one.
    func permits(
        for question: inout PartialRequest, as name: UserName, pool: String?, groups: String?
    ) throws -> PossiblePermits {
        var answer = PossiblePermits()
        let services = question.services
        for service in services {
            question.services = [service]
            if pool != nil, service == .rsh { continue }
            let guests = try GuestLookup.accounts(name, service: service, pool: pool, groups: groups, settings)
            for account in try guests ?? [HostLookup.account(name, groups: groups)].compactMap(\.self) {
                question.target = account
                if guests == nil, services.count == 2, settings.pools.isEmpty || name != .guest {
                    // One account for both services: one answer.
                    question.services = services
                    return permits(for: question)
                }
                answer.add(permits(for: question))
            }
        }
        question.services = services
        return answer
    }
}

extension PossiblePermits {
    /// Adds what is possible besides; of a permit that is there already, nothing.
    fileprivate mutating func add(_ other: PossiblePermits) {
        let known = Set(permits.map(\.rule.name))
        permits += other.permits.filter { !known.contains($0.rule.name) }
        let open = Set(permits.map(\.rule.name))
        forbidden =
            (forbidden + other.forbidden.filter { new in !forbidden.contains { $0.rule.name == new.rule.name } })
            .filter { !open.contains($0.rule.name) }
    }
}

/// The parts of a request that questions are asked about.
enum AskedPart {
    /// Checks the words of options.
    static func validate(service: String?, from: String?, by: String?, as target: String?, at: String?) throws {
        if let service, Service(name: service) == nil { throw ValidationError("--service is rexec or rsh.") }
        if let from, RequestText.endpoint(from) == nil {
            throw ValidationError("--from '\(ByteText(from).printable)' is no address, nor address and port.")
        }
        if let target, UserName(target) == nil {
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
    }

    /// The services that an option names; both where there is none.
    static func services(_ name: String?) -> [Service] {
        name.map { Service(name: $0).map { [$0] } ?? [] } ?? Service.allCases
    }

    /// Why nothing that is asked about is decided by rules, where that is so.
    static func reasonOff(_ question: PartialRequest, _ settings: Settings) -> String? {
        let reasons = question.services.compactMap { settings.reasonOff($0) }
        if reasons.count == question.services.count { return reasons.joined(separator: ", and ") }
        let isOff = (question.command?.isRemoteCopy ?? false) && !settings.secureTCPIP.allows(.rcp)
        return isOff ? Settings.remoteCopyOff : nil
    }
}
