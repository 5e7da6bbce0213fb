// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Whatever a client sends, every reader of the trail agrees on what happened: `ausearch`, `aureport` and `aulast` of auditd,
/// the harness's own reader, and `portcullis audit`.
@Suite("A hostile client's trail", .needsBuild)
struct HostileTrailTests {
    /// Words for a shell that holds them in quotes: of each the command does nothing.
    private static var commands: [[UInt8]] {
        let texts: [[UInt8]] = [
            Array("quotes '\\'' \" ' ` done".utf8).filter { $0 != UInt8(ascii: "'") },
            Array("two\nlines\r\nand\ttabs".utf8),
            Array("\u{1B}[2J\u{1B}]0;owned\u{7}\u{8}\u{7F}".utf8),
            [0xFF, 0xFE, 0xC0, 0x80, 0xED, 0xA0, 0x80, 0x9B, 0x33],
            Array(
                "x\ntype=USER_LOGIN msg=audit(1795212781.000:1): pid=1 uid=0 auid=0 ses=1 msg=op=login acct=\"root\""
                    .utf8),
            Array(" res=success addr=6.6.6.6 terminal=ssh acct=\"root\" seq=9 chain=0".utf8),
            Array("%n%s%x ; $(id) \u{202E}exe.txt\u{2066} \u{E9}".utf8),
        ]
        let small = texts.map { Array(": '".utf8) + $0 + Array("'".utf8) }
        let start = Array(": '\u{1B}[31m\n".utf8)
        let long = start + Array(repeating: UInt8(ascii: "x"), count: 131_071 - start.count - 1) + Array("'".utf8)
        return small + [long]
    }

    private func audit(_ gate: Gateway, _ arguments: [String]) throws -> Child.Result {
        try Child.run(
            Host.own("portcullis"), ["audit"] + arguments + ["--state-directory", gate.state],
            environment: ["TZ": "UTC", "LC_ALL": "C"], within: 120_000)
    }

    private func objects(_ gate: Gateway, _ arguments: [String]) throws -> [[String: Any]] {
        let run = try audit(gate, arguments)
        #expect(run.outcome == .status(0), "\(run)")
        #expect(run.out.allSatisfy { $0 == 10 || (0x20...0x7E).contains($0) })
        return try run.outText.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    /// The bytes that a field of the export stands for.
    private func bytes(_ object: [String: Any], _ key: String) -> [UInt8]? {
        if let digits = object[key + "Hex"] as? String { return Hexadecimal.bytes(digits.utf8) }
        return (object[key] as? String).map { Array($0.utf8) }
    }

    @Test(.needs("ausearch"), .needs("aureport"), .needs("aulast")) func everyReaderSeesTheSame() throws {
        guard Host.hasShell else { return }
        try Gateway.with(Rules.shell()) { gate throws in
            let name = Array(Gateway.target.utf8)
            let password = Array(Gateway.password.utf8)
            var refused = 0
            for (index, command) in Self.commands.enumerated() {
                let answer = try Conversation(.rexec, of: gate, fields: [name, password, command]).answer()
                #expect(answer.isAccepted, "command \(index)")
                // The same, refused: with a wrong password, and for an account that is none.
                let wrong = try Conversation(.rexec, of: gate, fields: [name, Array("wrong".utf8), command]).answer()
                #expect(!wrong.isAccepted)
                let nobody = try Conversation(.rexec, of: gate, fields: [Array("no-such".utf8), password, command])
                    .answer()
                #expect(!nobody.isAccepted)
                refused += 2
            }
            if gate.isRoot {
                // Names with bytes that no name has; whatever it comes to, it is one refusal on the trail.
                for user in [
                    Array("root' res=success".utf8), Array("\u{1B}[2J".utf8), [0xFF, 0xC0], Array("a\nb".utf8),
                ] {
                    _ = try Conversation(.rsh, of: gate, fields: [user, name, Array("id".utf8)]).answer()
                    _ = try Conversation(.rsh, of: gate, fields: [name, user, Array("id".utf8)]).answer()
                }
            }
            #expect(
                gate.wait {
                    gate.refusals >= refused && gate.trail.filter { $0.type == "USER_END" }.count == Self.commands.count
                })
            gate.stop()
            try agree(gate, permitted: Self.commands, refused: refused)
        }
    }

    private func agree(_ gate: Gateway, permitted: [[UInt8]], refused least: Int) throws {
        let raw = Files.read(gate.trailPath)
        #expect(raw.allSatisfy { $0 == 10 || (0x20...0x7E).contains($0) })
        let lines = raw.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
        let records = try objects(gate, ["export", "--json"])
        // One object a record: the further lines of a long command are in its first.
        let further = gate.trail.filter { $0["part"] != nil && $0["part"]?.hasPrefix("1/") == false }.count
        #expect(records.count == lines.count - further)
        #expect(further > 10, "the long command took one line")
        let started = records.filter { $0["event"] as? String == "command-started" }
        #expect(started.compactMap { bytes($0, "cmd") } == permitted)
        let refusals = records.filter { $0["event"] as? String == "refused" }
        #expect(refusals.count >= least && refusals.allSatisfy { $0["res"] as? String == "failed" })
        #expect(refusals.count == gate.refusals)
        for object in refusals where object["cut"] == nil && object["reason"] as? String == "bad-credentials" {
            #expect(permitted.contains(bytes(object, "cmd") ?? []))
        }
        // Sessions and figures.
        #expect(try objects(gate, ["last", "-n", "0", "--json", "--denied"]).count == refusals.count)
        let sessions = try objects(gate, ["export", "--sessions"])
        #expect(sessions.filter { $0["state"] as? String == "exited" }.count == permitted.count)
        let statistics = try #require(try objects(gate, ["stats", "--json"]).first)
        #expect(statistics["refused"] as? Int == refusals.count)
        #expect(statistics["requests"] as? Int == sessions.count)
        for arguments in [["show"], ["last", "-w"], ["stats"]] {
            let run = try audit(gate, arguments)
            #expect(run.outcome == .status(0))
            #expect(run.out.allSatisfy { $0 == 10 || (0x20...0x7E).contains($0) || $0 >= 0x80 }, "\(arguments)")
            #expect(
                !run.outText.unicodeScalars.contains {
                    (0x80...0x9F).contains($0.value) || (0x2000...0x206F).contains($0.value) && $0 != "…"
                })
        }
        // auditd's tools.
        func run(_ tool: String, _ arguments: [String]) throws -> [Substring] {
            let found = try Child.run(
                try #require(Host.program(tool)), arguments, environment: ["TZ": "UTC", "LC_ALL": "C"])
            return found.outText.split(separator: "\n")
        }
        let all = try run("ausearch", ["-if", gate.trailPath, "--raw"]).filter { $0.hasPrefix("type=") }
        #expect(all.map(String.init) == lines, "ausearch reads other lines than were written")
        let failed = try run("ausearch", ["-if", gate.trailPath, "--raw", "-m", "USER_LOGIN", "-sv", "no"])
        #expect(failed.count == refusals.count)
        let permits = records.filter { $0["event"] as? String == "permitted" }.count
        #expect(
            try run("ausearch", ["-if", gate.trailPath, "--raw", "-m", "USER_LOGIN", "-sv", "yes"]).count == permits)
        #expect(try run("ausearch", ["-if", gate.trailPath, "--raw", "-hn", "6.6.6.6"]).isEmpty)
        let summary = try run("aureport", ["-if", gate.trailPath, "--summary"])
        #expect(summary.contains("Number of failed logins: \(refusals.count)"), "\(summary)")
        #expect(summary.contains("Number of logins: \(permits)"))
        let bad = try run("aulast", ["--bad", "-f", gate.trailPath]).filter { !$0.isEmpty }
        #expect(bad.count == refusals.count, "\(bad)")
        #expect(!bad.contains { $0.contains("6.6.6.6") })
    }

    /// A trail a hundred times as long takes no more memory, and no reader waits for its end to begin.
    @Test(arguments: [
        ["stats"], ["last", "-n", "50"], ["export", "--sessions"], ["show", "--denied"], ["report", "--html", "-"],
    ])
    func memoryDoesNotGrowWithTheTrail(arguments: [String]) throws {
        try Gateway.with(Rules.words) { gate throws in
            for _ in 0..<4 { _ = try Conversation.rexec(gate, as: Gateway.target, "/bin/echo hello").answer() }
            _ = try Conversation.rexec(gate, as: Gateway.target, password: "wrong", "/bin/echo hello").answer()
            gate.stop()
            // Some 60 MiB; the same sessions again and again.
            let once = Files.read(gate.trailPath)
            let much = Array(repeatElement(once, count: max(1, (60 << 20) / once.count)).joined())
            let long = gate.directory + "/long.log"
            try Data(much).write(to: URL(fileURLWithPath: long))
            let command = [Host.own("portcullis"), "audit"] + arguments + [long]
            // RLIMIT_DATA, in KiB: half of what the file takes.
            let run = try Child.run(
                "/bin/sh", ["-c", "ulimit -d 30720 && exec \"$@\" > /dev/null", "sh"] + command, within: 120_000)
            #expect(run.outcome == .status(0), "\(run)")
        }
    }
}
