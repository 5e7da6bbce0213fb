// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis what-can`: what a remote user at an address may run, and as whom.
struct WhatCanVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "what-can",
        abstract: "Say what a remote user at an address may run: every permit that could let them.",
        discussion: """
            REXEC carries no remote user: whoever is at that address and has the account's password may use its permits, and \
            so they are here too. Without --by, what anybody at that address may run. Accounts and groups are not looked up \
            but with --as. A permit all of which is forbidden is left out; where a part is, the forbids stand under it.

            EXAMPLE
              portcullis what-can --by alice --from 10.1.2.3

            EXIT STATUS
              0, also where it is nothing.
            """)

    @Option(help: "The remote user that an RSH client claims.") var by: String?
    @Option(help: "The source: ADDR, ADDR:PORT or [ADDR]:PORT.") var from: String
    @Option(help: "rexec or rsh; both without it.") var service: String?
    @Option(name: .customLong("as"), help: "Only what may be run as this account.") var target: String?
    @Option(help: "With --as: a guest of this pool; --as is `guest`, or the account that is given.") var pool: String?
    @Option(help: "With --as: the account's groups, G,G…, whatever this host says of them.") var groups: String?
    @Option(help: "The gateway's local time, as 2026-11-20T23:30; any time without it.") var at: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        try AskedPart.validate(service: service, from: from, by: by, as: target, at: at)
        guard groups == nil || target != nil else { throw ValidationError("--groups goes with --as.") }
        guard pool == nil || target != nil else { throw ValidationError("--pool goes with --as.") }
    }

    func run() throws {
        try reporting {
            let local = try LocalPolicy(policy.file)
            guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
            var question = PartialRequest(services: AskedPart.services(service))
            question.source = RequestText.endpoint(from)?.address
            question.remoteUser = by.flatMap { UserName($0) }
            question.time = at.flatMap { RequestText.time($0) }
            var isUnknown = false
            let answer: PossiblePermits
            if let name = target.flatMap({ UserName($0) }) {
                answer = try policy.permits(for: &question, as: name, pool: pool, groups: groups)
                isUnknown = question.target == nil
            } else {
                answer = policy.permits(for: question)
            }
            let table = PermitTable(policy: policy, answer: answer)
            var output = Output()
            if format.isJSON {
                let json = table.json { permit in
                    [
                        ("by", PermitTable.json(by(permit))),
                        ("password", .bool(takes(permit).contains(WhoCanVerb.owner))),
                        ("guest", .bool(takes(permit).contains(WhoCanVerb.guest))),
                        ("as", PermitTable.json(permit.rule.targets?.words)),
                        ("run", PermitTable.json(permit.rule.commands?.words)),
                    ]
                }
                try output.line(json.text)
            } else {
                try table.write(
                    [
                        PermitTable.Column(heading: "BY") { permit in
                            PermitTable.list((by(permit) ?? []) + takes(permit))
                        },
                        PermitTable.Column(heading: "AS") { PermitTable.list($0.rule.targets?.words ?? ["any"]) },
                        PermitTable.Column(heading: "RUN") { PermitTable.list($0.rule.commands?.words ?? ["any"]) },
                    ], ifEmpty: "nothing: \(whyNothing(question, isUnknown, table.answer, policy.settings))",
                    to: &output)
            }
            try output.flush()
        }
    }

    /// Who it is possible for: the remote user that is asked about, else those that the permit has.
    private func by(_ permit: PossiblePermit) -> [String]? {
        permit.services.contains(.rsh) ? by.map { [$0] } ?? permit.remoteUsers : nil
    }

    /// Who may come by REXEC: who has the account's password, or a guest.
    private func takes(_ permit: PossiblePermit) -> [String] {
        guard permit.services.contains(.rexec) else { return [] }
        let targets = permit.rule.targets
        return (targets?.isForGuestsAlone == true ? [] : [WhoCanVerb.owner])
            + (targets?.pools.isEmpty == false ? [WhoCanVerb.guest] : [])
    }

    private func whyNothing(
        _ question: PartialRequest, _ isUnknown: Bool, _ answer: PossiblePermits, _ settings: Settings
    ) -> String {
        if isUnknown, let target {
            return "this host has no account \(target); with --groups it would be an ordinary one"
        }
        if let off = AskedPart.reasonOff(question, settings) { return off }
        guard answer.forbidden.isEmpty else { return "what permits anything is forbidden" }
        let who = by.map { "\($0) at" } ?? "anybody at"
        let address = question.source?.description ?? ""
        return "no permit is for \(who) \(address)" + (target.map { " as \($0)" } ?? "")
    }
}
