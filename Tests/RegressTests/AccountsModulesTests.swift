// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// PAM with Debian's own modules, and how many passwords are checked at once.
@Suite("PAM modules and password checks", .needsBuild, .needsRoot)
struct AccountsModulesTests {
    private static let base =
        "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"

    private func gateway(_ options: String = "", _ body: (Gateway) throws -> Void) throws {
        var setup = Gateway.Setup("permit all: any from 127.0.0.0/8 by any as { alice, bob, expired, stale } run shell")
        setup.rexec = "authenticate pam \"portcullis-rexec\"\n    \(options)"
        setup.rsh = "trust rule\n    account pam \"portcullis-rsh\""
        try Gateway.with(setup, body)
    }

    private func write(_ gate: Gateway, _ lines: String) throws {
        for service in ["portcullis-rexec", "portcullis-rsh"] {
            try gate.writeEtc("pam.d/" + service, lines + Self.base)
        }
    }

    /// What refuses an account, with PAM's own words on the trail.
    private static let refusals: [(lines: String, file: String, text: String, words: String)] = [
        ("account required pam_nologin.so\n", "nologin", "maintenance\n", "pam account: Authentication failure"),
        ("account required pam_access.so\n", "security/access.conf", "-:alice:ALL\n", "pam account: Permission denied"),
        (
            "account required pam_time.so\n", "security/time.conf", "*;*;alice;!Al0000-2400\n",
            "pam account: Permission denied"
        ),
        ("account required pam_deny.so\n", "nothing", "", "pam account: Authentication failure"),
        ("session required pam_deny.so\n", "nothing", "", "pam session: Cannot make/remove an entry"),
    ]

    @Test func whatModulesRefuseIsOnTheTrailWithTheirWords() throws {
        try gateway { gate throws in
            for row in Self.refusals {
                try write(gate, row.lines)
                try gate.writeEtc(row.file, row.text)
                for service in Service.allCases {
                    let count = gate.refusals
                    let answer =
                        service == .rexec
                        ? try Conversation.rexec(gate, as: "alice", "id").answer()
                        : try Conversation.rsh(gate, as: "alice", "id").answer()
                    #expect(answer.status == 1, "\(row.lines) \(service.name)")
                    #expect(gate.wait { gate.refusals > count })
                    let record = try gate.record("USER_LOGIN") { $0["res"] == "failed" }
                    #expect(record["reason"] == "account-refused")
                    #expect(record.value("errors")?.hasPrefix(row.words) == true, "\(record)")
                }
                gate.removeEtc(row.file)
            }
            #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" })
        }
    }

    @Test func aLockedPasswordIsNobodys() throws {
        try gateway { gate throws in
            let shadow = Files.text(gate.etc + "/shadow").replacingOccurrences(of: "alice:$", with: "alice:!$")
            try gate.writeEtc("shadow", shadow, mode: 0o600)
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().status == 1)
            #expect(try gate.lastReason() == "bad-credentials")
        }
    }

    @Test func theLimitsOfPAMAreTheCommands() throws {
        try gateway { gate throws in
            try write(gate, "session required pam_limits.so\n")
            try gate.writeEtc("security/limits.conf", "alice hard nofile 77\n")
            #expect(try Conversation.rexec(gate, as: "alice", gate.line("ulimit -Hn")).answer().output == "77\n")
            #expect(try Conversation.rexec(gate, as: "bob", gate.line("ulimit -Hn")).answer().output != "77\n")
        }
    }

    /// A check that writes down when it begins and when it is over.
    private func countingModule(_ gate: Gateway) throws -> String {
        let script = "#!/bin/sh\necho begin >> '\(gate.directory)/checks'\nsleep 0.3\n"
        try gate.writeEtc("counting", script + "echo end >> '\(gate.directory)/checks'\n", mode: 0o755)
        return "auth required pam_exec.so quiet /etc/counting\n"
    }

    /// docs/trust.md, "How many passwords are checked at once".
    private static let places = min(max(ProcessInfo.processInfo.activeProcessorCount, 2), 16)

    @Test func noMoreThanTheSetNumberOfPasswordsIsCheckedAtOnce() throws {
        try gateway { gate throws in
            try write(gate, countingModule(gate))
            let clients = try (0..<(3 * Self.places)).map { _ in try Conversation.rexec(gate, as: "alice", "id") }
            for client in clients { #expect(client.answer().isAccepted) }
            var now = 0
            var most = 0
            let marks = Files.text(gate.directory + "/checks").split(separator: "\n")
            for mark in marks {
                now += mark == "begin" ? 1 : -1
                most = max(most, now)
            }
            #expect(marks.count == 6 * Self.places)
            #expect(most <= Self.places)
        }
    }

    @Test func aRequestThatThePolicyDeniesCostsNoCheck() throws {
        try gateway { gate throws in
            try write(gate, countingModule(gate))
            for user in ["games", "nobody", "nosuchuser", "root"] {
                #expect(try Conversation.rexec(gate, as: user, "id").answer().status == 1)
            }
            #expect(Files.text(gate.directory + "/checks").isEmpty)
        }
    }

    /// Every place is held by a check that hangs; one of the sessions dies, and the place is another's.
    @Test func aPlaceComesBackWhenItsHolderIsKilled() throws {
        try gateway("authentication-timeout 30s") { gate throws in
            try write(gate, "auth required pam_exec.so quiet /bin/sleep 619\n")
            let held = try (0..<Self.places).map { _ in try Conversation.rexec(gate, as: "bob", "id") }
            let holders = { gate.members.filter { $0.arguments.hasPrefix("portcullisd: session bob") } }
            let sleepers = { gate.members.filter { $0.arguments == "/bin/sleep 619" } }
            #expect(gate.wait { sleepers().count == Self.places })
            try write(gate, "")
            let next = try Conversation.rexec(gate, as: "alice", "/usr/bin/id -un")
            let victim = try #require(holders().first)
            kill(victim.pid, SIGKILL)
            #expect(next.answer().output == "alice\n")
            for holder in holders() { kill(holder.pid, SIGKILL) }
            for client in held { #expect(client.answer().status == 1) }
            #expect(gate.wait { sleepers().isEmpty }, "a module's child outlives its session")
        }
    }
}
