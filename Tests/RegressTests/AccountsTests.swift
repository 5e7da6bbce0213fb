// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Accounts are the host's: PAM and its account management, expiry, nologin, and names that are not what they seem.
@Suite("Accounts and passwords", .needsBuild, .needsRoot)
struct AccountsTests {
    private func pam(_ rules: String) -> Gateway.Setup {
        var setup = Gateway.Setup(rules)
        setup.rexec = "authenticate pam \"portcullis-rexec\""
        setup.rsh = "trust rule\n    account pam \"portcullis-rsh\""
        return setup
    }

    private let rules =
        "permit all: any from 127.0.0.0/8 by any as { alice, bob, expired, stale } run any sandbox strict"

    @Test func pamChecksThePassword() throws {
        try Gateway.with(pam(rules)) { gate throws in
            #expect(try Conversation.rexec(gate, as: "alice", "/usr/bin/id -un").answer().output == "alice\n")
            #expect(try Conversation.rexec(gate, as: "alice", password: "wrong", "id").answer().status == 1)
            #expect(try gate.lastReason() == "bad-credentials")
            #expect(try Conversation.rsh(gate, as: "alice", "/usr/bin/id -un").answer().output == "alice\n")
        }
    }

    /// z/OS and z/VM clients: the password takes host trust's place, and nothing else's.
    @Test(arguments: ["pam \"portcullis-rexec\"", "file \"credentials\""])
    func aPasswordFieldOfRSHTakesThePlaceOfHostTrust(authenticator: String) throws {
        var setup = Gateway.Setup(
            "permit all: rsh from 127.0.0.0/8 by any as alice run any\nforbid env: any run \"/usr/bin/env\""
        )
        setup.rsh = "trust rhosts\n    account pam \"portcullis-rsh\"\n    password-field on"
        setup.rsh? += "\n    authenticate \(authenticator)"
        try Gateway.with(setup) { gate throws in
            func ask(_ target: String, _ command: String = "/usr/bin/id -un") throws -> String? {
                let answer = try Conversation.rsh(gate, by: "carol", as: target, command).answer()
                return answer.isAccepted ? answer.output : try gate.lastReason()
            }
            for separator in ["/", "@"] {
                #expect(try ask("alice" + separator + Gateway.password) == "alice\n")
                #expect(try ask("alice" + separator + "wrong") == "bad-credentials")
                #expect(try ask("alice" + separator) == "bad-credentials", "an empty password")
                #expect(try ask("alice" + separator + Gateway.password, "env") == "forbidden")
                #expect(try ask("alice" + separator + Gateway.password, "echo $HOME") == "needs-shell")
                #expect(try ask("backup-operator" + separator + Gateway.password) == "no-rule")
            }
            #expect(try gate.record("USER_AUTH") { $0["res"] == "success" }["grantors"]?.hasPrefix("rhosts") == false)
            #expect(try ask("alice") == "untrusted", "without a password trust decides, as ever")
            try gate.writeRhosts(of: "alice", "127.0.0.1 carol\n")
            #expect(try ask("alice") == "alice\n")
            #expect(try ask("alice/wrong") == "bad-credentials", "trust does not mend a wrong password")
        }
    }

    @Test(arguments: ["expired", "stale"])
    func anExpiredAccountOrPasswordIsRefused(account: String) throws {
        try Gateway.with(pam(rules)) { gate throws in
            #expect(try Conversation.rexec(gate, as: account, "id").answer().status == 1)
            #expect(try gate.lastReason() == "account-refused")
            #expect(try Conversation.rsh(gate, as: account, "id").answer().status == 1)
            #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" })
        }
    }

    @Test func nologinRefusesWithoutPAMToo() throws {
        try Gateway.with(Gateway.Setup(rules)) { gate throws in
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().isAccepted)
            try gate.writeEtc("nologin", "maintenance\n")
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().status == 1)
            #expect(try gate.lastReason() == "account-refused")
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().status == 1)
            gate.removeEtc("nologin")
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().isAccepted)
        }
    }

    /// A module that hangs holds one session until the deadline, and nobody else.
    @Test func aHangingPAMModuleIsEndedByTheDeadline() throws {
        var setup = pam(rules)
        setup.rexec = "authenticate pam \"portcullis-rexec\"\n    authentication-timeout 2s"
        try Gateway.with(setup, start: false) { gate throws in
            let text = "auth required pam_exec.so quiet /bin/sleep 617\naccount required pam_permit.so\n"
            try gate.writeEtc("pam.d/portcullis-rexec", text)
            try gate.start()
            let held = try Conversation.rexec(gate, as: "alice", "id")
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().isAccepted, "others wait for it")
            #expect(held.answer().primary == Array("\u{1}Login incorrect.\n".utf8))
            #expect(try gate.lastReason() == "timeout")
            // The module's own child goes with the session that it held.
            let isGone = gate.wait {
                (try? Child.run("/usr/bin/pgrep", ["-fx", "/bin/sleep 617"]))?.outcome == .status(1)
            }
            #expect(isGone, "a module's child outlives its session")
        }
    }

    /// getpwnam(3) of "4100", "Alice" or "alice@domain" can answer with alice on some hosts.
    @Test(arguments: ["4100", "Alice", "ALICE", "alice@example"])
    func aNameThatIsNotTheAccountsOwnIsUnknown(name: String) throws {
        try Gateway.with(Gateway.Setup(rules)) { gate throws in
            #expect(try Conversation.rexec(gate, as: name, "id").answer().status == 1)
            #expect(try gate.lastReason() == "unknown-user")
        }
    }

    @Test func setsAndGroupsNeverMeanRootOrASystemAccount() throws {
        let rules = "permit any: rexec from 127.0.0.0/8 as any run any"
        try Gateway.with(rules) { gate throws in
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().isAccepted)
            #expect(try Conversation.rexec(gate, as: "games", "id").answer().status == 1)
            #expect(try gate.lastReason() == "no-rule")
            #expect(try Conversation.rexec(gate, as: "root", "id").answer().status == 1)
        }
    }

    @Test func theCredentialsFileMustBeRootsAlone() throws {
        try Gateway.with(Gateway.Setup(rules), start: false) { gate throws in
            Files.set(gate.state + "/credentials", mode: 0o644)
            try gate.launch()
            let decided = gate.wait { gate.log.contains("ready:") || gate.daemon?.wait(within: 0) != .stillRunning }
            #expect(decided)
            guard gate.log.contains("ready:") else { return }
            #expect(try Conversation.rexec(gate, as: "alice", "id").answer().status == 1)
        }
    }

    @Test func aPasswordThatTheCommandLineSetIsTaken() throws {
        try Gateway.with(Gateway.Setup(rules)) { gate throws in
            let stdin = gate.directory + "/password"
            try Files.write("another one\n", to: stdin, mode: 0o600)
            let arguments = ["credentials", "set", "bob", "--state-directory", gate.state]
            let set = try Child.run(Host.own("portcullis"), arguments, stdin: stdin)
            #expect(set.outcome == .status(0), "\(set)")
            let answer = try Conversation.rexec(gate, as: "bob", password: "another one", "/usr/bin/id -un").answer()
            #expect(answer.output == "bob\n")
            #expect(try Conversation.rexec(gate, as: "bob", "id").answer().status == 1, "the old one still works")
        }
    }
}
