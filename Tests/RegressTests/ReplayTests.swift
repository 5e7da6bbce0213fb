// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What a gateway recorded is what another policy is asked about, the refused no less than the permitted.
@Suite("Recorded requests, and another policy", .needsBuild)
struct ReplayTests {
    private static var rules: String {
        """
        permit id: rexec from 127.0.0.0/8 as \(Gateway.target) run "/usr/bin/id"
        permit echo: rexec from 127.0.0.0/8 as \(Gateway.target) run "/usr/bin/echo *"
        forbid evil: rexec run "/usr/bin/env"
        """
    }

    /// Without lookups: the accounts are in the gateway's own /etc.
    private func replay(_ gate: Gateway, rules: String) throws -> Child.Result {
        let text = Files.text(gate.policyPath).replacingOccurrences(of: Self.rules, with: rules)
        let path = gate.directory + "/policy/new.policy"
        try Files.write(text, to: path, mode: 0o600)
        return try Child.run(Host.own("portcullis"), ["replay", "--no-lookup", "--policy", path, gate.trailPath])
    }

    @Test func whatAnotherPolicyWouldDecideIsExact() throws {
        try Gateway.with(Self.rules) { gate throws in
            for command in ["id", "echo 'two words'"] {
                #expect(try Conversation.rexec(gate, as: Gateway.target, command).answer().isAccepted)
            }
            for command in ["true 'and more'", "id; id", "env"] {
                #expect(try Conversation.rexec(gate, as: Gateway.target, command).answer().status == 1)
            }
            gate.stop()
            let same = try replay(gate, rules: Self.rules)
            let asked = "the policy alone decided: passwords, trust files and PAM were not asked\n"
            #expect(same.outText == "5 requests, 0 differ, 0 could not be decided\n" + asked, "\(same)")
            #expect(same.outcome == .status(0))

            let permit = "permit truth: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/true *\""
            let other = try replay(
                gate,
                rules: Self.rules.replacingOccurrences(of: "permit echo", with: permit + "\npermit other")
                    .replacingOccurrences(of: "/usr/bin/echo *", with: "/usr/bin/echo"))
            #expect(other.outcome == .status(1), "\(other)")
            let written = Files.text(gate.directory + "/policy/new.policy").split(
                separator: "\n", omittingEmptySubsequences: false)
            let line = try #require(written.firstIndex { $0.hasPrefix("permit truth") }) + 1
            let place = try #require(try gate.record("USER_LOGIN") { $0["rule"] == "echo" }["at"])
            let shown = other.outText.split(separator: "\n", omittingEmptySubsequences: false).map { line in
                // The time of a request, in front of what was asked.
                line.first?.isNumber == true && line.contains("  rexec ")
                    ? line.dropFirst("YYYY-MM-DD HH:MM:SS".count) : line
            }
            #expect(
                shown.joined(separator: "\n") == """
                      rexec from 127.0.0.1 as \(Gateway.target): echo 'two words'
                        permit echo (\(place)), sandbox strict -> deny no-rule
                      rexec from 127.0.0.1 as \(Gateway.target): true 'and more'
                        deny no-rule -> permit truth (\(gate.directory)/policy/new.policy:\(line)), sandbox strict
                    5 requests, 2 differ, 0 could not be decided
                    \(asked)
                    """)
        }
    }

    /// A refused command stands on the trail as it was sent, in one line, and forges nothing.
    @Test func aRefusedCommandIsRecordedAndForgesNothing() throws {
        let long = "echo " + String(repeating: "'\u{1B}", count: 65_533)
        let commands = [
            "echo '\"' \"'\"", "echo x\ntype=USER_CMD msg=audit(1.1:1): pid=1 uid=0", "echo \u{1B}[2J\u{7}",
            "x' res=success rule=all at=x:1 cmdlen=9 cut=cmd seq=9 chain=0", "%n%s%27", "6964", long,
        ]
        var setup = Gateway.Setup("")
        setup.rexec = "authenticate file \"credentials\"\n    command-length 131071"
        try Gateway.with(setup) { gate throws in
            for command in commands {
                #expect(try Conversation.rexec(gate, as: Gateway.target, command).answer().status == 1)
            }
            #expect(gate.wait { gate.refusals == commands.count })
            gate.stop()
            #expect(Files.read(gate.trailPath).allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
            #expect(gate.trail.allSatisfy { $0.text.utf8.count < 8_192 && $0.type != "USER_CMD" })
            let refused = gate.trail.filter { $0.type == "USER_LOGIN" }
            #expect(refused.dropLast().map { $0.value("cmd") } == commands.dropLast())
            #expect(refused.dropLast().allSatisfy { $0["cmdlen"] == nil && $0["rule"] == nil })
            let last = try #require(refused.last)
            #expect(last["cmdlen"] == "131071")
            #expect(long.hasPrefix(try #require(last.value("cmd"))))
            #expect(last.text.utf8.count > 7_800)
            #expect(!gate.log.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
            let check = try Child.run(Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state])
            #expect(check.outcome == .status(0), "\(check)")
        }
    }
}
