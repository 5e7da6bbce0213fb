// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// When an account of a pool is given back: as soon as the command has ended, whoever reads slowly, whatever a module does,
/// and whatever becomes of the policy; and that nobody who has proved nothing keeps guests out.
@Suite("An account of a pool comes back", .needsBuild, .needsRoot)
struct GuestReleaseTests {
    private static let file = "authenticate file \"credentials\""
    private static let pam = "authenticate pam \"portcullis-rexec\""
    private static let base =
        "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
    private static let pool = """
        pool visitors = { guest1 }
        permit g: rexec from 127.0.0.0/8 as pool visitors run shell sandbox home
        """

    private static let brief = "sandbox brief extends home {\n    timeout 2s\n}\n"

    private func setup(_ rules: String = pool, _ authenticator: String = file) -> Gateway.Setup {
        var setup = Gateway.Setup(rules)
        setup.guests = ["guest1"]
        setup.rexec = authenticator
        return setup
    }

    /// A guest who holds the account until its connection ends.
    private func holder(_ gate: Gateway) throws -> Conversation {
        let client = try Conversation.guest(gate, "exec cat")
        #expect(client.primary.receive(count: 1) == [0])
        return client
    }

    /// The session of the guest that has the account.
    private func session(_ gate: Gateway) throws -> pid_t {
        try #require(gate.members.first { $0.arguments.hasPrefix("portcullisd: session guest1 rexec") }?.pid)
    }

    private func isThere(_ gate: Gateway, _ pid: pid_t) -> Bool { gate.members.contains { $0.pid == pid } }

    /// A reader of little at a time: for megabytes it takes minutes, and is never given up.
    private final class Sip: @unchecked Sendable {
        private let socket: Socket
        private let lock = NSLock()
        private var isOver = false
        private let ended = DispatchSemaphore(value: 0)

        init(of socket: Socket) {
            self.socket = socket
            Thread { [self] in
                while !lock.withLock({ isOver }), socket.receive(atMost: 16_384)?.isEmpty == false {
                    Moment.sleep(500)
                }
                ended.signal()
            }.start()
        }

        func stop() {
            lock.withLock { isOver = true }
            ended.wait()
        }
    }

    // MARK: Slow readers, and modules that hang

    static let releases: [(authenticator: String, lines: String)] = [
        (file, ""), (pam, ""),
        // A module that hangs when its session is closed is ended, and takes nothing with it.
        (pam, "session optional pam_exec.so quiet type=close_session /bin/sleep 617\n"),
    ]

    /// The session goes on for as long as its client takes anything, ten seconds at least: the account is another's before.
    @Test(arguments: releases) func aSlowReaderHoldsItsConnectionAndNoAccount(
        authenticator: String, lines: String
    ) throws {
        let rules = Self.brief + Self.pool.replacingOccurrences(of: "sandbox home", with: "sandbox brief")
        try Gateway.with(setup(rules, authenticator)) { gate throws in
            try gate.writeEtc("pam.d/portcullis-rexec", lines + Self.base)
            let slow = try Conversation.guest(gate, "yes >&2 & exec yes")
            #expect(slow.primary.receive(count: 1) == [0])
            let session = try session(gate)
            let sip = Sip(of: try #require(slow.secondary))
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(isThere(gate, session), "the account came back only when the slow reader was let go")
            sip.stop()
            // What it has not read yet is whole, and its end is recorded.
            let rest = slow.answer(within: 60_000)
            #expect(rest.primaryEnd == .endOfFile)
            #expect(rest.primary.starts(with: Array("y\ny\n".utf8)))
            let end = try gate.record("USER_END") { $0["limit"] == "timeout" }
            #expect(end.value("acct") == "guest1")
            #expect(end["out"] == "\(rest.primary.count)")
            #expect(gate.wait { !isThere(gate, session) })
            #expect(gate.wait { !gate.members.contains { $0.arguments.contains("sleep 617") } }, "a child is left")
        }
    }

    /// Who reads at once waits for no module either.
    @Test func aModuleThatHangsAtTheEndHoldsNoAccountForLong() throws {
        try Gateway.with(setup(Self.pool, Self.pam)) { gate throws in
            let hang = "session optional pam_exec.so quiet type=close_session /bin/sleep 616\n"
            try gate.writeEtc("pam.d/portcullis-rexec", hang + Self.base)
            let answer = try Conversation.guest(gate, "echo all; echo of >&2").answer()
            #expect([answer.output, answer.errorOutput] == ["all\n", "of\n"])
            #expect(try gate.record("USER_END")["status"] == "0")
            try gate.writeEtc("pam.d/portcullis-rexec", Self.base)
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(gate.wait { !gate.members.contains { $0.arguments.contains("sleep 616") } })
            #expect(gate.trail.allSatisfy { $0["reason"] != "lost" })
        }
    }

    /// What it has started and moved out of its sight, as root, is nobody's at the end, and no later guest meets it.
    @Test func whatAModuleThatHangsHasStartedEndsBeforeTheAccountIsAnothers() throws {
        try Gateway.with(setup(Self.pool, Self.pam)) { gate throws in
            let script = """
                #!/bin/sh
                [ "$PAM_TYPE" = close_session ] || exit 0
                (setsid sh -c 'setsid sleep 6151 & sleep 6152; true' &)
                exec sleep 6153

                """
            try gate.writeEtc("leaving", script, mode: 0o755)
            try gate.writeEtc(
                "pam.d/portcullis-rexec", "session optional pam_exec.so quiet /etc/leaving\n" + Self.base)
            #expect(try Conversation.guest(gate, "echo done").answer().output == "done\n")
            // Wherever they are: once nobody's, they are no longer below the gateway.
            let left = { try Child.run("/usr/bin/pgrep", ["-f", "^sleep 615[1-3]"]).outText.split(separator: "\n") }
            gate.wait(within: 4_000) { (try? left().count) == 3 }
            #expect(try left().count == 3, "they have not been started, or ended too soon")
            try gate.writeEtc("pam.d/portcullis-rexec", Self.base)
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(try left().isEmpty)
        }
    }

    /// One that crashes takes neither the session nor the rest of the output with it, and leaves no child.
    @Test func aModuleThatCrashesAtTheEndTakesNothingWithIt() throws {
        try Gateway.with(setup(Self.pool, Self.pam)) { gate throws in
            let hang = "session optional pam_exec.so quiet type=close_session /bin/sleep 613\n"
            try gate.writeEtc("pam.d/portcullis-rexec", hang + Self.base)
            let client = try Conversation.guest(gate, "head -c 3000000 /dev/zero")
            #expect(client.primary.receive(count: 2_000_000).count == 2_000_000)
            let session = try session(gate)
            let rest = client.primary.receive(count: 1_000_001)
            #expect(rest.count == 1_000_001)
            let closing = { gate.members.first { $0.arguments.hasPrefix("portcullisd: closing guest1") } }
            // Where this test was too slow for it, the module has hung for its five seconds, and the rest holds as well.
            gate.wait(within: 6_000) { gate.members.contains { $0.arguments.contains("sleep 613") } }
            if let module = closing() { kill(module.pid, SIGSEGV) }
            try gate.writeEtc("pam.d/portcullis-rexec", Self.base)
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(client.answer().primaryEnd == .endOfFile)
            #expect(try gate.record("USER_END") { $0["out"] == "3000000" }["status"] == "0")
            #expect(gate.wait { !isThere(gate, session) && closing() == nil })
            #expect(gate.wait { !gate.members.contains { $0.arguments.contains("sleep 613") } })
            #expect(gate.trail.allSatisfy { $0["reason"] != "lost" })
        }
    }

    /// Beside the session they close as they do in it: each once, with what they know, and before the account is another's.
    @Test func modulesCloseOnceBeforeTheAccountIsAnothers() throws {
        try Gateway.with(setup(Self.pool, Self.pam)) { gate throws in
            let script =
                "#!/bin/sh\necho \"$PAM_TYPE $PAM_USER $PAM_RHOST $(ls /proc/self/fd | wc -l)\" >> '\(gate.directory)/seen'\n"
            try gate.writeEtc("seeing", script, mode: 0o755)
            try gate.writeEtc(
                "pam.d/portcullis-rexec", Self.base + "session required pam_exec.so quiet /etc/seeing\n")
            for _ in 0..<3 { #expect(try Conversation.answerWhenFree(gate, "id -un").isAccepted) }
            let host = gate.trail.last { $0.type == "USER_LOGIN" }?["addr"] ?? "?"
            let opened = "open_session guest1 \(host)"
            let closed = "close_session guest1 \(host)"
            let seen = { () -> [String] in
                Files.text(gate.directory + "/seen").split(separator: "\n").map { line in
                    line.split(separator: " ").dropLast().joined(separator: " ")
                }
            }
            #expect(gate.wait { seen().count == 6 })
            #expect(seen() == [opened, closed, opened, closed, opened, closed])
        }
    }

    /// A command that ends gives the account back although what it leaves was passed its output.
    @Test func aClientThatGoesAwayGivesTheAccountBack() throws {
        try Gateway.with(setup(Self.pool, Self.pam)) { gate throws in
            for _ in 0..<5 {
                // Wherever its session is: before the decision, in PAM, or with the command running.
                let client = try Conversation.guest(gate, "exec cat")
                Moment.sleep(Int.random(in: 0...60))
                client.primary.reset()
                client.secondary?.reset()
            }
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(gate.wait { !gate.members.contains { $0.arguments.hasPrefix("portcullisd: session") } })
        }
    }

    // MARK: Sessions that ask for the account by its own name

    /// A wrong password, or a check that takes long, keeps no guest out.
    @Test func whoHasProvedNothingKeepsNoGuestOut() throws {
        let rules = Self.pool + "\npermit named: rexec from 127.0.0.0/8 as guest1 run shell sandbox home self-trust"
        try Gateway.with(setup(rules, Self.pam + "\n    authentication-timeout 60s")) { gate throws in
            let hang = "auth required pam_exec.so quiet /bin/sleep 615\n"
            try gate.writeEtc("pam.d/portcullis-rexec", hang + Self.base)
            let unproved = try Conversation.rexec(gate, as: "guest1", password: "wrong", "id")
            #expect(gate.wait { gate.members.contains { $0.arguments.contains("sleep 615") } })
            let answer = try Conversation.guest(gate, "id -un").answer()
            #expect(answer.output == "guest1\n", "\(answer)")
            #expect(gate.members.contains { $0.arguments.contains("sleep 615") }, "the check is over")
            for member in gate.members where member.arguments.contains("sleep 615") { kill(member.pid, SIGKILL) }
            #expect(unproved.answer().status == 1)
            #expect(try gate.lastReason() != "limit")
        }
    }

    /// Who has proved it has the account alone, from before PAM's modules manage it until the command has ended.
    @Test func whoHasProvedItKeepsGuestsOut() throws {
        let named = "\npermit named: rsh from 127.0.0.0/8 by any as guest1 run shell sandbox brief self-trust"
        let rules = Self.brief + Self.pool + named
        var setup = setup(rules)
        setup.rsh = "trust rule\n    account pam \"portcullis-rsh\"\n    authentication-timeout 60s"
        try Gateway.with(setup) { gate throws in
            let hang = "account required pam_exec.so quiet /bin/sleep 614\n"
            try gate.writeEtc("pam.d/portcullis-rsh", hang + Self.base)
            let named = try Conversation.rsh(gate, as: "guest1", "exec cat")
            #expect(gate.wait { gate.members.contains { $0.arguments.contains("sleep 614") } })
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            #expect(try gate.lastReason() == "limit")
            named.primary.reset()
            for member in gate.members where member.arguments.contains("sleep 614") { kill(member.pid, SIGKILL) }
            try gate.writeEtc("pam.d/portcullis-rsh", Self.base)
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            // Whoever reads slowly does not, once the command has ended.
            let slow = try Conversation.rsh(gate, as: "guest1", "yes >&2 & exec yes", separately: true)
            #expect(slow.primary.receive(count: 1) == [0])
            let session = try #require(
                gate.members.first { $0.arguments.hasPrefix("portcullisd: session guest1 rsh") }?.pid)
            let sip = Sip(of: try #require(slow.secondary))
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
            #expect(isThere(gate, session))
            sip.stop()
            slow.primary.reset()
            slow.secondary?.reset()
        }
    }

    // MARK: Other policies, other gateways

    /// A guest stays what it is while the policy changes, and its account is nobody else's until its command has ended.
    @Test func aReloadLeavesGuestsAndTheirAccounts() throws {
        try Gateway.with(setup()) { gate throws in
            func load(_ rules: String) throws {
                try gate.writePolicy(rules: rules)
                let told = try Child.run(
                    Host.own("portcullis"), ["reload", "--runtime-directory", gate.runtime], within: 120_000)
                #expect(told.outcome == .status(0), "\(told)")
            }
            let client = try holder(gate)
            try load(Self.pool.replacingOccurrences(of: "visitors", with: "others"))
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            let refusal = try gate.record("USER_LOGIN") { $0["reason"] == "limit" }
            #expect(refusal["pool"] == "others")
            // Nor is it who asks for it by its own name's, in a policy without a pool.
            try load("permit named: rsh from 127.0.0.0/8 by any as guest1 run shell sandbox home self-trust")
            #expect(try Conversation.guest(gate, "id").answer().status == 1)
            #expect(try gate.lastReason() == "unknown-user")
            #expect(try Conversation.rsh(gate, as: "guest1", "id -un").answer().status == 1)
            let named = try gate.record("USER_LOGIN") { $0.value("errors") == "a guest has guest1" }
            #expect(named["reason"] == "limit")
            client.primary.send("still here\n")
            #expect(client.primary.receive(count: 11) == Array("still here\n".utf8))
            client.primary.shutdownWrites()
            #expect(client.answer().primaryEnd == .endOfFile)
            let end = try gate.record("USER_END")
            #expect([end["status"], end.value("acct")] == ["0", "guest1"])
            try load(Self.pool)
            #expect(try Conversation.answerWhenFree(gate, "id -un").output == "guest1\n")
        }
    }

    /// Each gateway has places of its own; what runs, whoever gave it the account, keeps others out.
    @Test func whatAnotherGatewaysGuestRunsKeepsGuestsOut() throws {
        try Gateway.with(setup()) { one throws in
            var same = setup()
            same.firstGuest = one.uid(ofGuest: "guest1")
            try Gateway.with(same) { other throws in
                let client = try holder(one)
                #expect(try Conversation.guest(other, "id").answer().status == 1)
                let refusal = try other.record("USER_LOGIN") { $0["reason"] == "limit" }
                #expect(refusal.value("errors")?.contains("runs as it") == true, "\(refusal)")
                client.primary.shutdownWrites()
                #expect(client.answer().primaryEnd == .endOfFile)
                #expect(try Conversation.answerWhenFree(other, "id -un").output == "guest1\n")
                #expect(try Conversation.answerWhenFree(one, "id -un").output == "guest1\n")
            }
        }
    }
}
