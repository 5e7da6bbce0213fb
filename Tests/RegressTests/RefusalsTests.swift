// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

/// A refused client gets the same bytes after the same delay, whatever the reason; the trail alone tells reasons apart.
@Suite("Refusals are alike to clients and apart in the trail", .needsBuild)
struct RefusalsTests {
    /// One refused request and its answer.
    private struct Refused {
        var reason: String
        var answer: Conversation.Answer
    }

    private func check(_ refused: [Refused], text: String, of gate: Gateway) throws {
        for one in refused {
            #expect(one.answer.primary == [1] + Array((text + "\n").utf8), "\(one.reason): \(one.answer)")
            #expect(one.answer.primaryEnd == .endOfFile, "\(one.reason): the text could be lost to a reset")
            // Not a bound on how long it takes: the delay is 300 ms, and a refusal comes at whole multiples of it.
            let wait = try #require(one.answer.wait)
            #expect(wait >= 295, "\(one.reason) was refused early, after \(wait) ms")
        }
        var recorded: [String] = []
        gate.wait {
            recorded = gate.trail.filter { $0.type == "USER_LOGIN" && $0["res"] == "failed" }.compactMap {
                $0["reason"]
            }
            return recorded.count >= refused.count
        }
        #expect(recorded == refused.map(\.reason))
        #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" }, "something ran")
    }

    @Test func rexecRefusesWithoutSayingWhy() throws {
        var setup = Gateway.Setup(
            """
            permit id: rexec from 127.0.0.0/8 as \(Gateway.target) run "/usr/bin/id"
            forbid evil: rexec run "/usr/bin/env"
            """)
        setup.withoutCredentials = ["bob"]
        try Gateway.with(setup) { gate throws in
            var refused: [Refused] = []
            func ask(_ reason: String, as target: String, _ password: String, _ command: String) throws {
                let answer = try Conversation.rexec(gate, as: target, password: password, command).answer()
                refused.append(Refused(reason: reason, answer: answer))
            }
            try ask("unknown-user", as: "nobody-of-that-name", Gateway.password, "id")
            try ask("bad-credentials", as: Gateway.target, "wrong", "id")
            try ask("bad-credentials", as: Gateway.target, "", "id")
            try ask("no-rule", as: Gateway.target, Gateway.password, "uptime")
            try ask("needs-shell", as: Gateway.target, Gateway.password, "id; uptime")
            try ask("command-not-found", as: Gateway.target, Gateway.password, "no-such-program-anywhere")
            try ask("forbidden", as: Gateway.target, Gateway.password, "env")
            try check(refused, text: "Login incorrect.", of: gate)
        }
    }

    @Test(.needsRoot) func rshRefusesWithoutSayingWhy() throws {
        var setup = Gateway.Setup(
            """
            permit id: rsh from 127.0.0.0/8 by alice as { alice, bob } run "/usr/bin/id"
            forbid no-root: any as root
            """)
        setup.rsh = "trust rhosts\n    account none"
        try Gateway.with(setup, start: false) { gate throws in
            try gate.writeRhosts(of: "alice", "127.0.0.1 alice\n")
            try gate.start()
            var refused: [Refused] = []
            func ask(_ reason: String, by user: String = "alice", as target: String, _ command: String) throws {
                let answer = try Conversation.rsh(gate, by: user, as: target, command).answer()
                refused.append(Refused(reason: reason, answer: answer))
            }
            try ask("unknown-user", as: "nobody-of-that-name", "id")
            try ask("untrusted", as: "bob", "id")
            try ask("no-rule", by: "mallory", as: "alice", "id")
            try ask("no-rule", as: "alice", "uptime")
            try ask("forbidden", as: "root", "id")
            let port = try Socket.connect(to: gate.endpoint(.rsh))
            port.send("\0alice\0alice\0id\0")
            refused.append(Refused(reason: "source-port", answer: try answer(of: port)))
            try check(refused, text: "Permission denied.", of: gate)
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().isAccepted)
        }
    }

    /// A socket's refusal, where no Conversation made it.
    private func answer(of socket: Socket) throws -> Conversation.Answer {
        let start = Moment.now
        var answer = Conversation.Answer()
        while socket.isReadable(within: 10_000) {
            let bytes = socket.receive()
            if answer.wait == nil { answer.wait = Moment.now - start }
            answer.primary += bytes ?? []
            answer.primaryEnd = bytes.map { $0.isEmpty ? .endOfFile : .stillOpen } ?? .reset
            if answer.primaryEnd != .stillOpen { break }
        }
        return answer
    }

    /// rcmd(3) waits for the secondary before it reads: a refusal that came earlier would never be shown.
    @Test(.needsRoot) func aRefusalComesAfterTheConnectBackAndClosesTheSecondaryFirst() throws {
        try Gateway.with("") { gate throws in
            let answer = try Conversation.rsh(gate, as: "alice", "id", separately: true).answer()
            #expect(answer.primary == Array("\u{1}Permission denied.\n".utf8))
            #expect(answer.secondary == [])
            #expect(answer.secondaryEnd == .endOfFile)
        }
    }

    @Test func aRefusalsTextIsNotLostToAResetWhenMuchWasSent() throws {
        try Gateway.with("") { gate throws in
            let flood = String(repeating: "x", count: 60_000)
            let client = try Conversation.rexec(gate, as: Gateway.target, "id", trailing: flood)
            let answer = client.answer()
            #expect(answer.primary == Array("\u{1}Login incorrect.\n".utf8))
            #expect(answer.primaryEnd == .endOfFile)
        }
    }

    @Test func anotherTextAndDelayCanBeSet() throws {
        var setup = Gateway.Setup("")
        setup.refusalDelay = "150ms\n    rexec \"No.\""
        try Gateway.with(setup) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            #expect(answer.primary == Array("\u{1}No.\n".utf8))
        }
    }

    /// The refused and the permitted are told apart in records by the rule, its place and the revision.
    @Test func theTrailSaysWhichRuleDecided() throws {
        let rules =
            "permit id: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/id\"\nforbid no: any run \"/usr/bin/env\""
        try Gateway.with(rules) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
            _ = try Conversation.rexec(gate, as: Gateway.target, "env").answer()
            let permitted = try gate.record("USER_LOGIN") { $0["res"] == "success" }
            #expect(permitted["rule"] == "id")
            #expect(permitted["at"]?.contains("test.policy:") == true)
            let refused = try gate.record("USER_LOGIN") { $0["res"] == "failed" }
            #expect(refused["rule"] == "no")
            #expect(refused["reason"] == "forbidden")
            #expect(refused["revision"]?.hasPrefix("sha256:") ?? false)
            #expect(refused["revision"] == permitted["revision"])
        }
    }
}
