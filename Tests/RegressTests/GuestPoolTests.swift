// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Guests: REXEC's login `guest` without a password gets an account of a pool, alone, and leaves nothing.
@Suite("Guest pools", .needsBuild, .needsRoot)
struct GuestPoolTests {
    private static let pool = """
        pool visitors = { guest1, guest2 }
        permit g: rexec from 127.0.0.0/8 as pool visitors run shell sandbox home
        """

    private func setup(_ rules: String = pool, guests: [String] = ["guest1", "guest2"]) -> Gateway.Setup {
        var setup = Gateway.Setup(rules)
        setup.guests = guests
        return setup
    }

    /// A guest who holds an account until its connection ends; which one, or why not.
    private func holder(_ gate: Gateway) throws -> (client: Conversation, account: String?) {
        let client = try Conversation.guest(gate, "id -un; exec cat")
        guard client.primary.receive(count: 1) == [0] else { return (client, nil) }
        return (client, String(decoding: client.primary.receive(count: 7).dropLast(), as: UTF8.self))
    }

    private func processes(of uid: uid_t) throws -> [Substring] {
        try Child.run("/usr/bin/pgrep", ["-U", "\(uid)"]).outText.split(separator: "\n")
    }

    // MARK: What a guest has

    @Test func aGuestGetsAnAccountOfThePoolAndAnEmptyHomeThatIsGoneAfterwards() throws {
        try Gateway.with(setup()) { gate throws in
            let script = """
                id -un; echo $USER $LOGNAME; pwd; echo $HOME; ls -A; stat -c '%a %U' .; echo mine > file && cat file
                """
            let client = [
                "-P", "\(gate.endpoint(.rexec).port)", "-n", "-l", "guest", "-p", "", "\(gate.address)",
                script.trimmingCharacters(in: .newlines),
            ]
            let result = try Child.run(
                Host.own("rexec"), client, environment: ["HOME": gate.directory, "NETRC": ""])
            let name = try #require(result.outText.split(separator: "\n").first.map(String.init), "\(result)")
            #expect(["guest1", "guest2"].contains(name))
            let home = gate.home(name)
            #expect(result.outText == "\(name)\n\(name) \(name)\n\(home)\n\(home)\n700 \(name)\nmine\n", "\(result)")
            #expect(!Files.exists(home + "/file"))
            #expect(Files.text(home + "/before") == "the host's")

            let login = try gate.record("USER_LOGIN")
            #expect(
                [login.value("acct"), login["pool"], login["rule"], login["res"]] == [name, "visitors", "g", "success"])
            let check = try gate.record("USER_AUTH")
            #expect([check["grantors"], check["res"], check.value("acct")] == ["guest-pool", "success", name])
            #expect([check["pool"], check["file"]] == ["visitors", nil])
            for type in ["USER_CMD", "USER_END"] { #expect(try gate.record(type).value("acct") == name) }
            let auid = try gate.record("USER_END")["auid"]
            #expect(auid == "\(gate.uid(ofGuest: name))" || auid == "4294967295")
            #expect(gate.trail.allSatisfy { !$0.text.contains("acct=\"guest\"") })
        }
    }

    /// A home that the sandbox does not write is as empty, and cannot be written.
    @Test(arguments: ["strict", "standard"]) func aHomeThatIsNotWrittenIsEmptyToo(sandbox: String) throws {
        let rules = Self.pool.replacingOccurrences(of: "sandbox home", with: "sandbox \(sandbox)")
        try Gateway.with(setup(rules)) { gate throws in
            let command = "cd && ls -A | wc -l; touch file; chmod 755 .; ls -A | wc -l; stat -c %a ."
            let answer = try Conversation.guest(gate, command).answer()
            // strict does not let the home be listed.
            #expect(answer.output == "0\n0\n700\n", "\(answer)")
        }
    }

    /// What a guest leaves anywhere that it can write, and what it leaves running, no other one finds.
    @Test func nothingOfAGuestReachesTheNext() throws {
        let rules = Self.pool.replacingOccurrences(of: "guest1, guest2", with: "guest1")
        try Gateway.with(setup(rules, guests: ["guest1"])) { gate throws in
            let leave = "echo a > ~/left; echo a > /tmp/left; (setsid sleep 6171 <&- >&- 2>&- &) ; ls ~ /tmp; echo done"
            let first = try Conversation.guest(gate, leave).answer()
            #expect(first.output.hasSuffix("done\n"), "\(first)")
            #expect(first.output.contains("left"))
            let look =
                "ls -A ~ /tmp | grep -c left; grep -l . /proc/[0-9]*/comm | wc -l; cat /proc/[0-9]*/comm | grep -c sleep"
            let second = try Conversation.answerWhenFree(gate, look)
            let counts = second.output.split(separator: "\n")
            #expect(counts.first == "0", "\(second)")
            #expect(counts.last == "0", "\(second)")
            #expect(gate.wait { (try? processes(of: gate.uid(ofGuest: "guest1")))?.isEmpty == true })
            #expect(!Files.exists(gate.home("guest1") + "/left"))
        }
    }

    /// What runs as the account outside of the session's namespace, by whatever way it got there, ends with the session.
    @Test func whatGotOutOfASessionEndsWithIt() throws {
        try Gateway.with(setup()) { gate throws in
            let (client, account) = try holder(gate)
            let uid = gate.uid(ofGuest: try #require(account))
            let outside = try Self.sleeper(as: uid)
            #expect(gate.wait { (try? processes(of: uid))?.contains("\(outside.pid)") == true })
            client.primary.shutdownWrites()
            #expect(client.answer().primaryEnd == .endOfFile)
            #expect(outside.wait(within: 60_000) == .signal(SIGKILL))
        }
    }

    private static func sleeper(as uid: uid_t) throws -> Child {
        try Child(
            "/usr/bin/setpriv", ["--reuid=\(uid)", "--regid=\(uid)", "--clear-groups", "--", "/bin/sleep", "600"])
    }

    /// At a guest's end everything that runs as its account is ended: nobody else may have it until then.
    @Test func anAccountIsAGuestsOrThoseWhoNameIt() throws {
        let rules = """
            pool visitors = { guest1 }
            permit g: rexec from 127.0.0.0/8 as pool visitors run shell sandbox home
            permit named: rsh from 127.0.0.0/8 by any as guest1 run shell sandbox home self-trust
            """
        try Gateway.with(setup(rules, guests: ["guest1"])) { gate throws in
            func named() throws -> Child.Result {
                try Child.run(Host.own("rsh"), ["-n", "-l", "guest1", "\(gate.address)", "id -un"])
            }
            let (client, account) = try holder(gate)
            #expect(account == "guest1")
            #expect(try named().outcome == .status(1))
            let refusal = try gate.record("USER_LOGIN") { $0["res"] == "failed" }
            #expect([refusal["reason"], refusal.value("errors")] == ["limit", "a guest has guest1"])
            client.primary.shutdownWrites()
            #expect(client.answer().primaryEnd == .endOfFile)
            #expect(gate.wait { (try? named().outText) == "guest1\n" })

            let other = try Child(Host.own("rsh"), ["-l", "guest1", "\(gate.address)", "echo in; exec sleep 60"])
            #expect(gate.wait { other.outSoFar == "in\n" })
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            #expect(try gate.lastReason() == "limit")
            // Those who name it have it together.
            #expect(try named().outText == "guest1\n")
            other.send(SIGTERM)
            #expect(other.wait(within: 15_000) != .stillRunning)
        }
    }

    // MARK: One account, one guest

    @Test func eachGuestHasAnAccountAloneAndOneTooManyIsRefused() throws {
        try Gateway.with(setup()) { gate throws in
            let first = try holder(gate)
            let second = try holder(gate)
            #expect(Set([first.account, second.account]) == ["guest1", "guest2"])
            let third = try Conversation.guest(gate, "id").answer()
            #expect(third.primary == Array("\u{1}Login incorrect.\n".utf8), "\(third)")
            let refusal = try gate.record("USER_LOGIN") { $0["res"] == "failed" }
            #expect([refusal["reason"], refusal["pool"], refusal.value("acct")] == ["limit", "visitors", "guest"])
            #expect(refusal.value("errors") == "no account of pool visitors is free")
            // Who would be given none is told nothing else: the policy's word is the reason.
            #expect(try Conversation.guest(gate, password: "x", "id").answer().status == 1)
            #expect(try gate.lastReason() == "bad-credentials")

            first.client.primary.shutdownWrites()
            _ = first.client.answer()
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "\(first.account ?? "")\n")
            second.client.primary.reset()
            let names = try (0..<12).map { _ in try Conversation.answerWhenFree(gate, "id -un").output }
            #expect(Set(names).isSubset(of: ["guest1\n", "guest2\n"]))
            let places = gate.runtime + "/guests"
            #expect(Files.mode(places) == 0o700)
            #expect(Files.mode("\(places)/\(gate.uid(ofGuest: "guest1"))") == 0o600)
        }
    }

    /// A session that is killed gives its account back, when nothing runs as it.
    @Test func anAccountOfASessionThatDiedComesBack() throws {
        let rules = Self.pool.replacingOccurrences(of: "guest1, guest2", with: "guest1")
        try Gateway.with(setup(rules, guests: ["guest1"])) { gate throws in
            let (client, account) = try holder(gate)
            #expect(account == "guest1")
            let session = try #require(
                gate.members.first { $0.arguments.hasPrefix("portcullisd: session guest1 rexec") })
            kill(session.pid, SIGKILL)
            _ = client.answer()
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
        }
    }

    /// Nobody is given an account as which something runs, whosever it is.
    @Test func anAccountWithAProcessIsNobodys() throws {
        try Gateway.with(setup()) { gate throws in
            let held = try Self.sleeper(as: gate.uid(ofGuest: "guest1"))
            #expect(gate.wait { (try? processes(of: gate.uid(ofGuest: "guest1")))?.isEmpty == false })
            for _ in 0..<6 { #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest2\n") }
            // The last guest's session ends what runs as its account.
            #expect(gate.wait { !gate.members.contains { $0.arguments.hasPrefix("portcullisd: session") } })
            let other = try Self.sleeper(as: gate.uid(ofGuest: "guest2"))
            #expect(gate.wait { (try? processes(of: gate.uid(ofGuest: "guest2")))?.contains("\(other.pid)") == true })
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            let refusal = try gate.record("USER_LOGIN") { $0["reason"] == "limit" }
            #expect(refusal.value("errors")?.contains("guest1: process \(held.pid) runs as it") == true)
            #expect(held.wait(within: 0) == .stillRunning, "what is not a guest's is left alone")
            held.send(SIGKILL)
            other.send(SIGKILL)
            _ = (held.wait(within: 5_000), other.wait(within: 5_000))
        }
    }

    // MARK: Who is a guest

    @Test func onlyTheLoginGuestWithoutAPasswordIsOne() throws {
        var setup = setup(
            """
            pool visitors = { guest1, guest2 }
            permit g: rexec from 127.0.0.0/8 as pool visitors run "/usr/bin/id -un"
            permit r: rsh from 127.0.0.0/8 by any as { alice, guest } run any
            permit any: rexec from 127.0.0.0/8 as alice run any
            """)
        setup.withoutCredentials = ["alice"]
        try Gateway.with(setup) { gate throws in
            func reason(_ conversation: Conversation) throws -> String? {
                let answer = conversation.answer()
                return answer.isAccepted ? answer.output : try gate.lastReason()
            }
            #expect(try reason(Conversation.guest(gate, "/usr/bin/id -un"))?.hasPrefix("guest") == true)
            for password in ["x", Gateway.password] {
                #expect(
                    try reason(Conversation.guest(gate, password: password, "/usr/bin/id -un")) == "bad-credentials")
            }
            let check = try gate.record("USER_AUTH") { $0["res"] == "failed" }
            #expect([check["grantors"], check["reason"]] == ["guest-pool", "bad-credentials"])
            #expect(check["pool"] == "visitors")
            // The policy's word comes first, as for everybody.
            #expect(try reason(Conversation.guest(gate, password: "x", "/usr/bin/id -g")) == "no-rule")
            #expect(try reason(Conversation.guest(gate, "/usr/bin/id -g")) == "no-rule")
            let refusal = try gate.record("USER_LOGIN") { $0["reason"] == "no-rule" }
            #expect(refusal["pool"] == "visitors")
            #expect(refusal.value("acct")?.hasPrefix("guest") == true && refusal.value("acct") != "guest")
            #expect(try reason(Conversation.rexec(gate, as: "guest1", password: "", "/usr/bin/id -un")) == "no-rule")
            #expect(try reason(Conversation.rsh(gate, as: "guest1", "/usr/bin/id -un")) == "no-rule")
            #expect(try reason(Conversation.rsh(gate, as: "guest", "/usr/bin/id -un")) == "unknown-user")
            #expect(
                try reason(Conversation.rexec(gate, as: "alice", password: "", "/usr/bin/id -un")) == "bad-credentials")
        }
    }

    /// Without a pool `guest` is an account like any other, or none.
    @Test func withoutAPoolGuestIsAnAccount() throws {
        var setup = setup("permit g: rexec from 127.0.0.0/8 as guest run any", guests: [])
        try Gateway.with(setup) { gate throws in
            #expect(try Conversation.guest(gate, "/usr/bin/id -un").answer().status == 1)
            #expect(try gate.lastReason() == "unknown-user")
        }
        setup.guests = ["guest"]
        try Gateway.with(setup) { gate throws in
            #expect(try Conversation.guest(gate, "/usr/bin/id -un").answer().status == 1)
            #expect(try gate.lastReason() == "bad-credentials")
            let hash = try #require(Files.text(gate.state + "/credentials").split(separator: ":").dropFirst().first)
            try Files.write("guest:\(hash.prefix { $0 != "\n" })\n", to: gate.state + "/credentials", mode: 0o600)
            let answer = try Conversation.guest(gate, password: Gateway.password, "/usr/bin/id -un").answer()
            #expect(answer.output == "guest\n", "\(answer)")
        }
    }

    @Test func aForbidOfOneAccountLeavesTheOthers() throws {
        try Gateway.with(setup(Self.pool + "\nforbid f: any as guest1")) { gate throws in
            for _ in 0..<6 { #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest2\n") }
        }
        let both = Self.pool + "\nforbid f: any as { guest1, guest2 }"
        try Gateway.with(setup(both)) { gate throws in
            #expect(try Conversation.guest(gate, "id -un").answer().status == 1)
            let refusal = try gate.record("USER_LOGIN")
            #expect([refusal["reason"], refusal["rule"], refusal["pool"]] == ["forbidden", "f", "visitors"])
        }
    }

    @Test func theFirstPoolThatIsPermittedAndFreeServes() throws {
        let rules = """
            pool first = { guest1 }
            pool second = { guest2 }
            permit a: rexec from 127.0.0.0/8 as pool first run "/usr/bin/id -un"
            permit b: rexec from 127.0.0.0/8 as pool second run any
            permit c: rexec from 127.0.0.0/8 as pool first run "/usr/bin/cat"
            """
        try Gateway.with(setup(rules)) { gate throws in
            #expect(try Conversation.guest(gate, "/usr/bin/id -un").answer().output == "guest1\n")
            #expect(try Conversation.guest(gate, "/usr/bin/whoami").answer().output == "guest2\n")
            let held = try Conversation.guest(gate, "/usr/bin/cat")
            #expect(held.primary.receive(count: 1) == [0])
            let login = try gate.record("USER_LOGIN") {
                $0["rule"] == "c" || $0["rule"] == "b" && $0.value("acct") == "guest2"
            }
            #expect(login["res"] == "success")
            #expect(try Conversation.guest(gate, "/usr/bin/id -un").answer().output.hasPrefix("guest"))
            held.primary.reset()
        }
    }

    // MARK: Accounts that cannot be given

    @Test func anAccountOfTheSystemsOrNoneIsNeverGiven() throws {
        let rules = Self.pool.replacingOccurrences(of: "guest1, guest2", with: "games, nosuch, guest1")
        try Gateway.with(setup(rules, guests: ["guest1"])) { gate throws in
            for _ in 0..<6 { #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n") }
        }
        let none = Self.pool.replacingOccurrences(of: "guest1, guest2", with: "games, nosuch")
        try Gateway.with(setup(none, guests: [])) { gate throws in
            #expect(try Conversation.guest(gate, "id -un").answer().status == 1)
            let refusal = try gate.record("USER_LOGIN")
            #expect(refusal["reason"] == "account-refused")
            let why = try #require(refusal.value("errors"))
            #expect(why.contains("games: uid 5 is the system's") && why.contains("nosuch: no such account"), "\(why)")
        }
    }

    /// No guest without a home of its own: what the tmpfs would lie over must be the account's, and nobody else's to move.
    @Test(arguments: ["rm -r", "chmod 777", "chown 0"]) func aHomeThatIsNotTheAccountsOwnRefusesTheGuest(
        change: String
    ) throws {
        let rules = Self.pool.replacingOccurrences(of: "guest1, guest2", with: "guest1")
        try Gateway.with(setup(rules, guests: ["guest1"]), start: false) { gate throws in
            let words = change.split(separator: " ").map(String.init)
            _ = try Child.run("/usr/bin/" + words[0], words.dropFirst() + [gate.home("guest1")])
            try gate.start()
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            let refusal = try gate.record("USER_LOGIN") { $0["res"] == "failed" }
            #expect(refusal["reason"] == "sandbox-unavailable")
            // Its start was recorded, so that its end is: nothing ran between them.
            let end = try gate.record("USER_END")
            #expect(end["reason"] == "lost" && end["cause"] == "sandbox-unavailable" && end["status"] == nil)
        }
    }

    /// No password is checked, and the account is managed as any other.
    @Test(arguments: ["pam \"portcullis-rexec\"", "file \"credentials\""])
    func aGuestsAccountIsManaged(authenticator: String) throws {
        var setup = setup()
        setup.rexec = "authenticate \(authenticator)"
        try Gateway.with(setup) { gate throws in
            #expect(try Conversation.answerWhenFree(gate, "echo $USER").isAccepted)
            let shadow = Files.text(gate.etc + "/shadow")
            let expired = shadow.replacingOccurrences(of: ":!:19000:0:99999:7:::", with: ":!:19000:0:99999:7::19001:")
            try gate.writeEtc("shadow", expired, mode: 0o600)
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            #expect(try gate.lastReason() == "account-refused")
            let refusal = try gate.record("USER_LOGIN") { $0["reason"] == "account-refused" }
            #expect(refusal["pool"] == "visitors")
        }
    }
}
