// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What happened is on the trail, in lines that the standard tools read; and no command runs without its record.
@Suite("The trail", .needsBuild)
struct TrailTests {
    @Test func aRequestLeavesItsRecordsInOrder() throws {
        try Gateway.with(Rules.words) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/bin/echo 'two words'").answer().isAccepted)
            let end = try gate.record("USER_END")
            let session = try #require(end["session"])
            #expect(session.count == 32)
            // A home that cannot be entered has a USER_ERR besides.
            let own = gate.trail.filter { $0["session"] == session && $0.type != "USER_ERR" }
            #expect(own.map(\.type) == ["USER_AUTH", "USER_LOGIN", "USER_CMD", "USER_END"])
            let command = try #require(own.first { $0.type == "USER_CMD" })
            #expect(command.value("cmd") == "/bin/echo 'two words'")
            #expect(command.value("program") == "/usr/bin/echo")
            #expect(command["argc"] == "2")
            #expect(command["sandbox"] == "strict")
            for line in own {
                #expect(line["hostname"] == "?")
                #expect(line["addr"] == "127.0.0.1")
                #expect(line["terminal"] == "rexec")
                #expect(line.value("acct") == Gateway.target)
            }
        }
    }

    @Test func sequenceAndChainRunOn() throws {
        try Gateway.with(Rules.words) { gate throws in
            for _ in 0..<3 { _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer() }
            _ = try Conversation.rexec(gate, as: Gateway.target, password: "wrong", "id").answer()
            gate.stop()
            let numbers = gate.trail.compactMap { $0["seq"].flatMap { Int($0) } }
            #expect(numbers == Array(1...max(1, numbers.count)))
            #expect(gate.trail.allSatisfy { $0["chain"]?.count == 64 })
            #expect(gate.trail.prefix(2).contains { $0.type == "SERVICE_START" })
            #expect(gate.trail.last?.type == "SERVICE_STOP")
        }
    }

    @Test func verifyFindsAChangedLine() throws {
        try Gateway.with(Rules.words) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            gate.stop()
            let whole = try verify(gate)
            #expect(whole.outcome == .status(0), "\(whole)")
            let changed = Files.text(gate.trailPath).replacingOccurrences(of: "addr=127.0.0.1", with: "addr=127.0.0.9")
            try Files.write(changed, to: gate.trailPath, mode: 0o600)
            #expect(try verify(gate).outcome == .status(1), "a changed line passed")
        }
    }

    @Test func verifyFindsAMissingLine() throws {
        try Gateway.with(Rules.words) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            gate.stop()
            var lines = Files.text(gate.trailPath).split(separator: "\n")
            lines.remove(at: lines.count / 2)
            try Files.write(lines.joined(separator: "\n") + "\n", to: gate.trailPath, mode: 0o600)
            #expect(try verify(gate).outcome == .status(1), "a trail with a hole passed")
        }
    }

    private func verify(_ gate: Gateway) throws -> Child.Result {
        try Child.run(Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state])
    }

    @Test func showTellsPeopleWhatHappened() throws {
        try Gateway.with(Rules.words) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, "/bin/echo shown").answer()
            _ = try gate.record("USER_END")
            let shown = try Child.run(Host.own("portcullis"), ["audit", "show", "--state-directory", gate.state])
            #expect(shown.outcome == .status(0), "\(shown)")
            #expect(shown.outText.contains("/bin/echo shown"))
        }
    }

    // MARK: - The standard tools

    @Test(.needs("ausearch")) func ausearchReadsTheTrail() throws {
        try Gateway.with(Rules.words) { gate throws in
            let command = "/bin/echo 'quote \" and blank'"
            _ = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            _ = try Conversation.rexec(gate, as: Gateway.target, password: "wrong", "id").answer()
            gate.stop()
            let ausearch = try #require(Host.program("ausearch"))
            let found = try Child.run(ausearch, ["-if", gate.trailPath, "-m", "USER_CMD", "-i"])
            #expect(found.outcome == .status(0), "\(found)")
            #expect(found.outText.contains("quote"), "\(found)")
            let refused = try Child.run(ausearch, ["-if", gate.trailPath, "-m", "USER_LOGIN", "-sv", "no"])
            #expect(refused.outText.contains("bad-credentials"), "\(refused)")
            let all = try Child.run(ausearch, ["-if", gate.trailPath])
            let lines = all.outText.split(separator: "\n").filter { $0.hasPrefix("type=") }
            #expect(lines.count == gate.trail.count, "ausearch did not read every line")
        }
    }

    @Test(.needs("aureport")) func aureportReadsTheTrail() throws {
        try Gateway.with(Rules.words) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            gate.stop()
            let aureport = try #require(Host.program("aureport"))
            let report = try Child.run(aureport, ["-if", gate.trailPath, "--summary"])
            #expect(report.outcome == .status(0), "\(report)")
            #expect(report.outText.contains("Number of logins: 1"), "\(report)")
        }
    }

    // MARK: - Nothing unrecorded

    /// A full disk, as a tiny file system over STATE/audit: commands end before the records do.
    @Test(.needsRoot) func noRecordNoCommand() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.mounts = "mkdir -p $DIR/state/audit && mount -t tmpfs -o size=64k,mode=777 tmpfs $DIR/state/audit"
        try Gateway.with(setup) { gate throws in
            var ran = 0
            var refused = 0
            for _ in 0..<120 where refused < 3 {
                let answer = try Conversation.rexec(gate, as: "alice", "/bin/echo ran").answer()
                if answer.isAccepted { ran += 1 } else { refused += 1 }
            }
            #expect(ran > 0)
            #expect(refused > 0, "commands ran after the disk was full")
            #expect(gate.daemon?.wait(within: 0) == .stillRunning)
        }
    }

    /// Bytes that a client chose forge no field, no line and no terminal sequence.
    @Test(
        arguments: [
            "/bin/echo x\ntype=USER_CMD msg=audit(1.1:1): pid=1 uid=0", "/bin/echo ' res=success'",
            "/bin/echo \u{1B}[2J\u{7}", "/bin/echo %n%s%x", "/bin/echo ' seq=9 chain=0'", "/bin/echo \"'\" x='",
        ])
    func aCommandForgesNoRecord(command: String) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            _ = try gate.record("USER_END")
            let raw = Files.read(gate.trailPath)
            #expect(raw.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
            #expect(gate.trail.filter { $0.type == "USER_CMD" }.count == 1)
            #expect(gate.trail.allSatisfy { Int($0["seq"] ?? "") != nil })
            #expect(try gate.record("USER_CMD").value("cmd") == gate.line(command))
            #expect(!gate.log.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
        }
    }

    @Test func aPasswordAppearsNowhere() throws {
        try Gateway.with(Rules.words) { gate throws in
            let canary = "canary" + String(Int.random(in: 100_000_000...999_999_999))
            _ = try Conversation.rexec(gate, as: Gateway.target, password: canary, "id").answer()
            _ = try Conversation.rexec(gate, as: "no-such-user", password: canary, "id").answer()
            _ = try gate.record("USER_LOGIN") { $0["reason"] == "unknown-user" }
            #expect(!gate.log.contains(canary))
            #expect(!Files.text(gate.trailPath).contains(canary))
            let hex = Hexadecimal.upper(canary.utf8)
            #expect(!Files.text(gate.trailPath).contains(hex))
            for member in gate.members where member.uid != 0 || Host.isRoot {
                #expect(!memory(of: member.pid, holds: Array(canary.utf8)), "\(member.arguments) remembers it")
            }
        }
    }

    /// What follows the `/` in a z/OS client's `user/password` is a password too.
    @Test(.needsRoot) func aPasswordInAnRSHTargetIsRefusedAndNotLogged() throws {
        try Gateway.with(Rules.words) { gate throws in
            for form in ["alice/hunter2canary", "alice@hunter2canary"] {
                let answer = try Conversation.rsh(gate, as: form, "id").answer()
                #expect(answer.primary == Array("\u{1}Permission denied.\n".utf8))
            }
            #expect(gate.wait { gate.refusals == 2 })
            #expect(!Files.text(gate.trailPath).contains("hunter2canary"))
            #expect(!Files.text(gate.trailPath).contains(Hexadecimal.upper("hunter2canary".utf8)))
            #expect(!gate.log.contains("hunter2canary"))
        }
    }

    /// With `password-field on` a right one and a wrong one leave no more behind than REXEC's do.
    @Test(.needsRoot, arguments: ["/", "@"]) func aPasswordFieldAppearsNowhere(separator: String) throws {
        var setup = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as alice run { any, shell }")
        setup.rsh = "trust rhosts\n    account none\n    password-field on\n    authenticate file \"credentials\""
        try Gateway.with(setup) { gate throws in
            let canary = "canary/@" + String(Int.random(in: 100_000_000...999_999_999))
            let stdin = gate.directory + "/password"
            try Files.write(canary + "\n", to: stdin, mode: 0o600)
            let set = ["credentials", "set", "alice", "--state-directory", gate.state]
            #expect(try Child.run(Host.own("portcullis"), set, stdin: stdin).outcome == .status(0))
            let running = try Conversation.rsh(gate, as: "alice" + separator + canary, "cat")
            _ = try gate.record("USER_CMD")
            let wrong = try Conversation.rsh(gate, as: "alice" + separator + canary + "x", "id").answer()
            #expect(wrong.primary == Array("\u{1}Permission denied.\n".utf8))
            #expect(try gate.lastReason() == "bad-credentials")
            // Another target shows that what is not asked for is not recorded either.
            _ = try Conversation.rsh(gate, as: "no-such-user" + separator + canary, "id").answer()
            _ = try gate.record("USER_LOGIN") { $0["reason"] == "unknown-user" }
            let end = String(canary.dropFirst(8))
            for text in [Files.text(gate.trailPath), gate.log, gate.members.map(\.arguments).joined()] {
                #expect(!text.contains(end))
                #expect(!text.contains(Hexadecimal.upper(end.utf8)))
            }
            let members = gate.members
            #expect(members.contains { $0.arguments.hasSuffix("cat") }, "or nothing ran while this was looked at")
            for member in members {
                #expect(!memory(of: member.pid, holds: Array(end.utf8)), "\(member.arguments) remembers it")
            }
            running.primary.shutdownWrites()
            #expect(running.answer().isAccepted)
        }
    }

    private func memory(of pid: pid_t, holds needle: [UInt8]) -> Bool {
        guard let file = FileHandle(forReadingAtPath: "/proc/\(pid)/mem") else { return false }
        defer { try? file.close() }
        for line in Files.text("/proc/\(pid)/maps").split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard parts.count > 1, parts[1].hasPrefix("rw"), !line.contains("[v") else { continue }
            let ends = parts[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard ends.count == 2, ends[1] - ends[0] < 256 << 20 else { continue }
            guard (try? file.seek(toOffset: ends[0])) != nil,
                let data = try? file.read(upToCount: Int(ends[1] - ends[0]))
            else { continue }
            if data.range(of: Data(needle)) != nil { return true }
        }
        return false
    }
}
