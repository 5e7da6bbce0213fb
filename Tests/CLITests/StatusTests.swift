// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import Messages
import Testing

@testable import CLI

/// What the verbs for the running gateway ask, and how they show the answers.
@Suite struct StatusTests {
    private let runtime: TemporaryDirectory
    private let listener: Descriptor

    init() throws {
        runtime = try TemporaryDirectory()
        listener = try LocalSocket.listen(runtime.path + "/control")
    }

    /// Runs a verb, and answers it as a gateway would; several connections in their order.
    private func run(
        _ arguments: [String], answering all: [(ask: ControlAsk, answers: [ControlAnswer])]
    ) throws -> CommandRun.Result {
        let run = try CommandRun(arguments + ["--runtime-directory", runtime.path])
        for (ask, answers) in all {
            var entries = [Poll.Entry(listener)]
            try Poll.wait(&entries, milliseconds: 30_000)
            let channel = Channel(try #require(try Socket.accept(listener)))
            try channel.descriptor.setBlocking(true)
            guard case .message(let message) = try channel.receive(limit: FrameFormat.limit) else {
                Issue.record("no ask")
                continue
            }
            #expect(try ControlAsk(frame: message.bytes) == ask)
            for answer in answers { try channel.send(answer.encoded()) }
        }
        return try run.result()
    }

    private static var status: GatewayStatus {
        GatewayStatus(
            listeners: [
                FrontSettings.Listener(
                    service: .rexec, endpoint: Endpoint(address: IPAddress(v4: 0xC000_020A), port: 512)),
                FrontSettings.Listener(service: .rexec, endpoint: Endpoint(address: IPAddress(v6: 1), port: 512)),
            ],
            rshIsSecuredOff: true, revision: Revision(bytes: Array(0xE0...0xFF)) ?? .none,
            policyFile: "/etc/portcullis/portcullis.policy", rules: 23, loaded: 1_795_212_781, running: 3,
            requests: 41_207, refused: 118, lost: 0, sequence: 164_903, isDurable: true,
            denials: .heardWithCalls,
            helpers: [
                GatewayStatus.Helper(name: "front", pid: 1_204), GatewayStatus.Helper(name: "engine", pid: 0),
                GatewayStatus.Helper(name: "auditor", pid: 1_206),
            ])
    }

    private static func session(_ byte: UInt8) throws -> SessionStatus {
        SessionStatus(
            session: try #require(SessionID(bytes: Array(repeating: byte, count: 16))), pid: 99, service: .rsh,
            source: IPAddress("10.1.2.3"), target: "alice", rule: "uptime", command: "uptime \u{1B}",
            started: 1_795_212_781)
    }

    @Test func statusTellsWhatIsServedAndHow() throws {
        let run = try run(["status"], answering: [(.status, [.status(status: Self.status)])])
        #expect(run.status == 0, "\(run.error)")
        #expect(
            run.output
                == """
                serving   rexec on 192.0.2.10:512, [::1]:512; rsh off (securetcpip)
                policy    sha256:e0e1…ff, 23 rules, loaded 2026-11-20 22:13:01, /etc/portcullis/portcullis.policy
                sessions  3 running, 41,207 since start; refused 118; none lost
                trail     seq 164,903, durable
                denials   as the kernel tells of them
                helpers   front 1204 · engine down · auditor 1206

                """)
    }

    /// How long ago a checkpoint was made is of this moment; an age that a clock that was set back makes is none.
    @Test(arguments: [(-12, "12 s"), (-125, "2 min 5 s"), (3_600, "0 s")] as [(Int64, String)])
    func statusSaysHowOldTheLastCheckpointIs(_ age: Int64, _ text: String) throws {
        var status = Self.status
        status.covered = 164_896
        status.checkpoint = Clock.wallMilliseconds() / 1_000 + age
        let run = try run(["status"], answering: [(.status, [.status(status: status)])])
        let lines = run.output.split(separator: "\n")
        // Up to a few seconds may pass meanwhile.
        let line = try #require(lines.first { $0.hasPrefix("trail") })
        #expect(line.hasPrefix("trail     seq 164,903, last checkpoint "))
        #expect(line.hasSuffix(" ago, durable"))
        if age > 0 { #expect(line.contains(text)) }
        let json = try #require(
            try self.run(["status", "--json"], answering: [(.status, [.status(status: status)])]).json
                as? [String: Any])
        #expect(json["covered"] as? Int == 164_896)
        #expect((json["checkpoint"] as? String)?.hasSuffix("Z") == true)
    }

    @Test func statusInJSON() throws {
        let run = try run(["status", "--json"], answering: [(.status, [.status(status: Self.status)])])
        let json = try #require(try run.json as? [String: Any])
        #expect(json["requests"] as? Int == 41_207)
        #expect(json["durable"] as? Bool == true)
        #expect(json["denials"] as? String == "heard-with-calls")
        #expect((json["helpers"] as? [String: Any])?["front"] as? Int == 1_204)
        #expect((json["helpers"] as? [String: Any])?["engine"] is NSNull)
    }

    @Test func sessionsAreListed() throws {
        let answers: [ControlAnswer] = try [
            .session(session: Self.session(0xA1)), .session(session: Self.session(0xB2)), .end,
        ]
        let text = try run(["sessions"], answering: [(.sessions, answers)])
        let lines = text.output.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines.last?.contains("alice     rsh    10.1.2.3         2026-11-20 22:13:01  uptime") == true)
        #expect(lines.last?.hasSuffix("uptime \\x1b") == true)
        let json = try run(["sessions", "--json"], answering: [(.sessions, answers)])
        #expect((try json.json as? [[String: Any]])?.map { $0["pid"] as? Int } == [99, 99])
        let none = try run(["sessions", "--json"], answering: [(.sessions, [.end])])
        #expect(none.output == "[]\n")
    }

    @Test func terminateTakesAnIdOrTheFirstDigitsOfOne() throws {
        let id = try Self.session(0xA1).session
        let whole = try run(["terminate", id.description], answering: [(.terminate(session: id), [.end])])
        #expect(whole.status == 0, "\(whole.error)")
        let list: [ControlAnswer] = try [
            .session(session: Self.session(0xA1)), .session(session: Self.session(0xB2)), .end,
        ]
        let short = try run(
            ["terminate", "a1a1"], answering: [(.sessions, list), (.terminate(session: id), [.end])])
        #expect(short.status == 0, "\(short.error)")
        let unknown = try run(["terminate", "c3c3"], answering: [(.sessions, list)])
        #expect(unknown.status == 1)
        let gone = try run(
            ["terminate", id.description],
            answering: [(.terminate(session: id), [.failure(text: "no such session")])])
        #expect(gone.status == 1)
        #expect(gone.error.contains("no such session"))
        #expect(try portcullis("terminate", "x").status == 64)
    }

    @Test func aReloadThatFailsTellsWhy() throws {
        #expect(try run(["reload"], answering: [(.reload, [.end])]).status == 0)
        let bad = try run(["reload"], answering: [(.reload, [.failure(text: "p:1:1: error: \u{1B}x")])])
        #expect(bad.status == 1)
        #expect(bad.error == "portcullis: p:1:1: error: \\x1bx\n")
        // Diagnostics stand as `check` prints them, so that editors find their places and carets point.
        let diagnostics = "p:1:1: error: x\npermit\n^~~~~~\n\npolicy not loaded: 1 error"
        let told = try run(["reload"], answering: [(.reload, [.failure(text: diagnostics)])])
        #expect(told.error == "p:1:1: error: x\npermit\n^~~~~~\nportcullis: policy not loaded: 1 error\n")
    }

    @Test func withoutAGatewayTheStatusIsFour() throws {
        for verb in [["status"], ["sessions"], ["reload"], ["terminate", String(repeating: "0", count: 32)]] {
            let run = try CommandRun(verb + ["--runtime-directory", "/nonexistent"]).result()
            #expect(run.status == 4)
            #expect(run.error.contains("/nonexistent/control"))
        }
    }

    @Test func aGatewayOfAnotherVersionIsNotMisread() throws {
        let run = try CommandRun(["status", "--runtime-directory", runtime.path])
        var entries = [Poll.Entry(listener)]
        try Poll.wait(&entries, milliseconds: 30_000)
        let channel = Channel(try #require(try Socket.accept(listener)))
        try channel.send([99, 1])
        #expect(try run.result().status == 1)
    }
}

/// What every verb has.
@Suite struct HelpTests {
    @Test(
        arguments: [
            [], ["check"], ["explain"], ["test"], ["fmt"], ["audit"], ["audit", "show"], ["audit", "verify"],
            ["credentials"], ["credentials", "set"],
            ["credentials", "remove"], ["credentials", "list"], ["status"], ["sessions"], ["terminate"], ["reload"],
        ])
    func helpHasAnExample(_ verb: [String]) throws {
        let run = try CommandRun(verb + ["--help"]).result()
        #expect(run.status == 0)
        #expect(run.output.contains("EXAMPLE"))
        #expect(run.output.contains("portcullis " + verb.joined(separator: " ")))
    }

    @Test func theVersionIsPrinted() throws {
        #expect(try portcullis("--version").output == "portcullis \(Portcullis.version)\n")
    }

    @Test func anUnknownVerbIsAUsageError() throws {
        #expect(try portcullis("bogus").status == 64)
        #expect(try portcullis().output.contains("OVERVIEW"))
    }
}
