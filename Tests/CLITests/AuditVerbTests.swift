// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Testing
import TrailCrypto

@testable import CLI

/// `portcullis audit` on trails of our own.
@Suite struct AuditVerbTests {
    private let state: TemporaryDirectory

    private static let alice = Sender(pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
    private static let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
    private static let other = Record.Origin(service: .rexec, address: IPAddress("2001:db8::7"), port: 40_000)
    private static let rule = RuleReference(name: "uptime", place: FilePlace(file: "portcullis.policy", line: 49))

    /// 2026-11-20 22:13:01.237 UTC, and each record a minute later.
    private static let moment: UInt64 = 1_795_212_781_237

    private static var entries: [(Entry, SessionID?)] {
        let first = SessionID(bytes: Array(repeating: 0xA1, count: 16))
        let second = SessionID(bytes: Array(repeating: 0xB2, count: 16))
        return [
            (.record(.serviceStart(unit: "portcullisd")), nil),
            (
                .record(
                    .login(
                        Record.Login(
                            origin: origin, account: "alice", remoteUser: "bob", refusal: nil, rule: rule,
                            revision: Revision.none))), first
            ),
            (
                .record(
                    .command(
                        Record.Command(
                            origin: origin, account: "alice", commandLine: ByteText(Self.command),
                            program: "/usr/bin/uptime", argumentCount: 2, sandbox: "strict"))), first
            ),
            (
                .record(
                    .end(
                        Record.End(
                            origin: origin, account: "alice", outcome: .status(0), bytesIn: 0, bytesOut: 1_061,
                            bytesErr: 0, milliseconds: 12, limit: nil, leftovers: 1))), first
            ),
            (
                .record(
                    .login(
                        Record.Login(
                            origin: other, account: nil, remoteUser: nil, refusal: .forbidden, rule: rule,
                            revision: Revision.none, detail: "\u{1B}[2J", count: 3))), second
            ),
        ]
    }

    /// Longer than a line, and with bytes that no terminal should get.
    private static let command = "/usr/bin/uptime \u{1B}]0;x\u{7}\n" + String(repeating: "é", count: 6_000)

    init() throws {
        state = try TemporaryDirectory()
        try write(Self.entries)
    }

    private func write(_ entries: [(Entry, SessionID?)]) throws {
        var chain = Chain(after: .start, digest: sha256)
        var text: [UInt8] = []
        for (index, (entry, session)) in entries.enumerated() {
            chain.append(
                entry,
                Stamp(
                    milliseconds: Self.moment + UInt64(index) * 60_000, session: session, sender: Self.alice),
                to: &text)
        }
        try state.write(text, to: "audit/trail.log")
    }

    private func show(_ arguments: String...) throws -> [String] {
        let run = try CommandRun(["audit", "show", "--state-directory", state.path] + arguments).result()
        #expect(run.status == 0, "\(run.error)")
        return run.output.split(separator: "\n").map(String.init)
    }

    @Test func peopleSeeOneLineARecord() throws {
        let lines = try show()
        #expect(lines.count == 6)
        #expect(lines[0].hasPrefix("TIME"))
        #expect(lines[1].hasPrefix("2026-11-20 22:13:01  -         -         -      -                up"))
        #expect(
            lines[2]
                == "2026-11-20 22:14:01  a1a1a1a1  alice     rsh    10.1.2.3         permitted    by bob, uptime, portcullis.policy:49"
        )
        #expect(lines[3].contains("started      /usr/bin/uptime \\x1b]0;x\\x07\\x0a\\xc3\\xa9"))
        #expect(lines[4].contains("exit 0       12 ms; bytes in 0, out 1,061, err 0; 1 process left over"))
        #expect(
            lines[5].hasSuffix(
                "rexec  2001:db8::7      refused      forbidden (uptime, portcullis.policy:49), 3 times: \\x1b[2J"))
        #expect(lines.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 } })
    }

    /// What a refused client asked for is shown as what ran is, and never raw; what was cut says how long it was.
    @Test func aRefusalShowsItsCommand() throws {
        let commands = ["id -u", "id; \u{1B}[2J\u{FF}" + String(repeating: " -u", count: 4_000)]
        try write(
            commands.map { command in
                let login = Record.Login(
                    origin: Self.other, account: "bob", remoteUser: nil, refusal: .needsShell, rule: nil,
                    revision: Revision.none, command: Record.RefusedCommand(ByteText(command)))
                return (.record(.login(login)), nil)
            })
        let lines = try show()
        #expect(lines[1].hasSuffix("rexec  2001:db8::7      refused      needs-shell; command id -u"))
        #expect(lines[2].contains("needs-shell; command id; \\x1b[2J\\xc3\\xbf -u -u"))
        #expect(lines.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 } })
        let objects = try show("--json").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(objects[0]["cmd"] as? String == "id -u")
        #expect(objects[0]["cmdlen"] == nil)
        #expect((objects[1]["cmd"] as? String)?.hasPrefix("id; \u{1B}[2J") == true)
        #expect(objects[1]["cmdlen"] as? Int == commands[1].utf8.count)
        #expect(objects[1]["cut"] as? String == "cmd")
    }

    @Test func jsonHasEveryFieldInFull() throws {
        let lines = try show("--json")
        #expect(lines.count == 5)
        let objects = try lines.map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(objects[2]["cmd"] as? String == Self.command)
        #expect(objects[2]["argc"] as? Int == 2)
        #expect(objects[2]["time"] as? String == "2026-11-20T22:15:01.237Z")
        #expect(objects[2]["session"] as? String == String(repeating: "a1", count: 16))
        #expect(objects[2]["auid"] as? Int == 1_001)
        #expect(objects[0]["addr"] is NSNull)
        #expect(objects[4]["acct"] is NSNull)
        #expect(objects[4]["reason"] as? String == "forbidden")
        #expect(lines.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
    }

    @Test(
        arguments: [
            (["--session", "A1a1"], 3), (["--session", String(repeating: "b2", count: 16)], 1),
            (["--user", "alice"], 3),
            (["--user", "bob"], 1), (["--user", "ALICE"], 0), (["--from", "10.1.2.3"], 3),
            (["--from", "10.1.0.0/16"], 3),
            (["--from", "::/0"], 1), (["--from", "0.0.0.0/0"], 3), (["--denied"], 1),
            (["--denied", "--user", "alice"], 0),
            (["--since", "2026-11-20T22:16"], 2), (["--since", "2026-11-20"], 5), (["--since", "2026-11-21"], 0),
            (["--since", "2026-11-20 22:16:02"], 1), (["--since", "50000d"], 5),
            (["--since", "2026-11-20T22:16:01.237Z"], 2),
            (["--until", "2026-11-20T22:16"], 3), (["--until", "2026-11-20 22:14:01.238"], 2),
            (["--since", "2026-11-20T22:14", "--until", "2026-11-20T22:15"], 1), (["--until", "2026-11-20"], 0),
        ] as [([String], Int)])
    func filtersNarrowTheRecords(_ arguments: [String], _ count: Int) throws {
        let run = try CommandRun(["audit", "show", "--json", "--state-directory", state.path] + arguments).result()
        #expect(run.status == 0, "\(run.error)")
        #expect(run.output.split(separator: "\n").count == count)
    }

    @Test(
        arguments: [
            ["--session", "xyz"], ["--session", ""], ["--from", "10.1.2.3/8"], ["--from", "host.example"],
            ["--since", "yester"], ["--since", "2026-13"], ["--until", "2026-02-30"], ["--what"],
        ])
    func wrongFiltersAreUsageErrors(_ arguments: [String]) throws {
        let run = try CommandRun(["audit", "show", "--state-directory", state.path] + arguments).result()
        #expect(run.status == 64)
        #expect(run.output.isEmpty)
    }

    @Test func aWholeTrailVerifies() throws {
        let run = try portcullis("audit", "verify", "--state-directory", state.path)
        #expect(run.status == 0)
        #expect(
            run.output
                == "checked 8 records in 1 segment: whole\nno checkpoint covers a record yet: the oldest is of 2026-11-20 22:13:01\n"
        )
        let json = try #require(
            try portcullis("audit", "verify", "--json", state.path + "/audit/trail.log").json as? [String: Any])
        #expect(json["whole"] as? Bool == true)
        #expect(json["records"] as? Int == 8)
        #expect(json["line"] is NSNull)
    }

    @Test func theFirstBadLineIsNamed() throws {
        let text = state.read("audit/trail.log")
        try state.write(Array(text.replacing("argc=2", with: "argc=3").utf8), to: "audit/trail.log")
        let run = try portcullis("audit", "verify", "--state-directory", state.path)
        #expect(run.status == 1)
        #expect(
            run.output
                == """
                \(state.path)/audit/trail.log:3: not whole: the chain does not fit: this record, or the one before it, was \
                changed
                the 2 records before it are whole

                """)
        let json = try #require(
            try portcullis("audit", "verify", "--json", "--state-directory", state.path).json as? [String: Any])
        #expect(json["line"] as? Int == 3)
        #expect(json["whole"] as? Bool == false)
    }

    @Test func removedAndTornRecordsAreNamed() throws {
        let lines = state.read("audit/trail.log").split(separator: "\n")
        try state.write(Array((lines.prefix(1) + lines.dropFirst(2)).joined(separator: "\n").utf8) + [10], to: "cut")
        let cut = try portcullis("audit", "verify", state.path + "/cut")
        #expect(cut.status == 1)
        #expect(cut.output.hasPrefix("\(state.path)/cut:2: not whole: record 3 where 2 belongs\n"))
        try state.write(Array(state.read("audit/trail.log").utf8.dropLast(5)), to: "torn")
        let torn = try portcullis("audit", "verify", state.path + "/torn")
        #expect(torn.status == 1)
        #expect(torn.output.contains("torn:8: not whole: the last record is torn"))
    }

    @Test func whatWasSetAsideIsNamed() throws {
        try state.write([], to: "audit/trail.log.torn-1795212781")
        let run = try portcullis("audit", "verify", "--state-directory", state.path)
        #expect(run.status == 0)
        #expect(run.output.hasSuffix("set aside earlier: \(state.path)/audit/trail.log.torn-1795212781\n"))
    }

    @Test func aMissingTrailIsAnErrorThatSaysWhere() throws {
        for verb in ["show", "verify"] {
            let run = try portcullis("audit", verb, "--state-directory", "/nonexistent")
            #expect(run.status == 1)
            #expect(run.error.contains("/nonexistent/audit/trail.log"))
        }
    }

    @Test func linesThatAreNoRecordsAreNamedAndPassedOver() throws {
        try state.write(Array("hello \u{1B}[2J\n".utf8) + Array(state.read("audit/trail.log").utf8), to: "mixed")
        let run = try portcullis("audit", "show", "--json", state.path + "/mixed")
        #expect(run.output.split(separator: "\n").count == 5)
        #expect(run.error == "portcullis: \(state.path)/mixed:1: not a record: hello \\\\x1b[2J\n")
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_795_212_781_237, "2026-11-20T22:13:01.237Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] as [(UInt64, String)])
    func timesAreUniversal(_ milliseconds: UInt64, _ text: String) {
        #expect(Shown.universalTime(milliseconds: milliseconds) == text)
    }
}
