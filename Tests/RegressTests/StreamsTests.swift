// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The client's socket is the command's stdin and stdout; stderr is apart where it was asked for; signals reach the
/// command; and nothing of a command outlives its session.
@Suite("Streams, signals and the end", .needsBuild)
struct StreamsTests {
    // MARK: - stdin

    @Test func bytesThatArriveWithTheHandshakeAreStdin() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat", trailing: "first\n")
            client.primary.send("second\n")
            client.primary.shutdownWrites()
            #expect(client.answer().output == "first\nsecond\n")
        }
    }

    /// NIO with autoRead off still drains a socket whose client half-closed, and so would eat stdin.
    @Test func aHalfCloseWithTheHandshakeEatsNothing() throws {
        try Gateway.with(Rules.words) { gate throws in
            let text = String(repeating: "a line\n", count: 5_000)
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat", trailing: text)
            client.primary.shutdownWrites()
            let answer = client.answer()
            #expect(answer.output == text)
            #expect(answer.primaryEnd == .endOfFile)
        }
    }

    @Test func aHalfCloseIsTheEndOfStdinAndNothingElse() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "cat; sleep 0.3; echo after", trailing: "x\n")
            client.primary.shutdownWrites()
            #expect(client.answer().output == "x\nafter\n")
        }
    }

    @Test func everyByteOfALargeStreamArrivesInBothDirections() throws {
        try Gateway.with(Rules.words) { gate throws in
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat")
            #expect(client.primary.receive(count: 1) == [0])
            var back: [UInt8] = []
            var sent = 0
            while sent < bytes.count {
                sent += client.primary.send(Array(bytes[sent..<min(sent + 65_536, bytes.count)]))
                back += client.primary.receive(count: sent - back.count)
            }
            client.primary.shutdownWrites()
            back += client.answer().primary
            #expect(back == bytes)
            let end = try gate.record("USER_END")
            #expect(end["in"] == "3000000")
            #expect(end["out"] == "3000000")
        }
    }

    /// A command that can write the home must not be able to plant code for the next one (docs/traps.md).
    @Test(.needsRoot, .needs("bash")) func bashReadsNoStartupFile() throws {
        let rules = "permit shell: rexec from 127.0.0.0/8 as alice run any sandbox standard"
        try Gateway.with(rules) { gate throws in
            try Files.write("echo planted\n", to: gate.home("alice") + "/.bashrc", mode: 0o644)
            let answer = try Conversation.rexec(gate, as: "alice", "/usr/bin/bash -c 'echo ran'").answer()
            #expect(answer.output == "ran\n")
        }
    }

    // MARK: - stderr

    @Test func stderrIsApartWhereItWasAskedForAndTogetherWhereNot() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let command = "echo out; echo err >&2"
            let apart = try Conversation.rexec(gate, as: Gateway.target, command, separately: true).answer()
            #expect(apart.output == "out\n")
            #expect(apart.errorOutput == "err\n")
            let together = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            #expect(together.output == "out\nerr\n")
        }
    }

    @Test func muchStderrArrivesWhole() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let command = "head -c 2000000 /dev/zero >&2; echo done"
            let answer = try Conversation.rexec(gate, as: Gateway.target, command, separately: true).answer()
            #expect(answer.output == "done\n")
            #expect(answer.secondary.count == 2_000_000)
            #expect(try gate.record("USER_END")["err"] == "2000000")
        }
    }

    @Test func aClientThatClosesTheSecondaryCancelsNothing() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(
                gate, as: Gateway.target, "sleep 0.3; echo err >&2; sleep 0.1; echo out", separately: true)
            client.secondary?.close()
            let primary = client.primary.receive(count: 5)
            #expect(primary == Array("\0out\n".utf8))
        }
    }

    @Test func aServiceWithoutStderrChannelRefusesWhoAsksForOne() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    stderr-channel off"
        try Gateway.with(setup) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            let listener = try Socket.listen(on: socket.local.address)
            socket.send("\(try listener.local.port)\0\(Gateway.target)\0\(Gateway.password)\0id\0")
            #expect(socket.receive(count: 100) == Array("\u{1}Login incorrect.\n".utf8))
            #expect(try gate.lastReason() == "protocol")
        }
    }

    /// A command of the session's own uid opens its stderr to read, by /proc/self/fd, and takes what the session was just told
    /// of: a read that waits then would stop `timeout`, `output`, signals and orders. So none does, on any pipe that the command
    /// holds an end of.
    @Test func noReadOfStderrCanWait() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60", separately: true)
            #expect(client.primary.receive(count: 1) == [0])
            let members = gate.members
            let command = try #require(members.first { $0.arguments.contains("bin/sleep") })
            let stderr = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(command.pid)/fd/2")
            #expect(stderr.hasPrefix("pipe:"))
            let session = try #require(members.first { $0.arguments.hasPrefix("portcullisd: session") })
            let directory = "/proc/\(session.pid)/fd"
            var readers = 0
            for name in try FileManager.default.contentsOfDirectory(atPath: directory)
            where (try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + name)) == stderr {
                let flags = Files.text("/proc/\(session.pid)/fdinfo/\(name)").split(separator: "\n")
                    .first { $0.hasPrefix("flags:") }?.split(separator: "\t").last.flatMap { Int($0, radix: 8) }
                readers += 1
                #expect(try #require(flags) & 0o4000 != 0, "the session's end waits")
            }
            #expect(readers == 1)
        }
    }

    // MARK: - Signals

    @Test(arguments: [UInt8(1), 2, 3, 15, 9])
    func aSignalByteReachesTheCommand(signal: UInt8) throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60", separately: true)
            #expect(client.primary.receive(count: 1) == [0])
            client.secondary?.send([signal])
            #expect(client.answer().primaryEnd == .endOfFile)
            let end = try gate.record("USER_END")
            #expect(end["signal"] == "\(signal)")
            #expect(end["status"] == nil)
        }
    }

    @Test func otherSignalBytesAreIgnored() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 1.5", separately: true)
            #expect(client.primary.receive(count: 1) == [0])
            client.secondary?.send([0, 4, 6, 11, 17, 19, 64, 128, 255])
            _ = client.answer()
            #expect(try gate.record("USER_END")["status"] == "0")
        }
    }

    /// A byte that arrives before the command runs is not lost, and a byte after its end reaches nobody.
    @Test func aSignalByteThatArrivesWithTheHandshakeIsNotLost() throws {
        try Gateway.with(Rules.words) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            let listener = try Socket.listen(on: socket.local.address)
            socket.send("\(try listener.local.port)\0")
            let secondary = try #require(try listener.accept())
            secondary.send([15])
            socket.send("\(Gateway.target)\0\(Gateway.password)\0/bin/sleep 60\0")
            let deadline = Moment.now + 20_000
            while Moment.now < deadline, socket.receive()?.isEmpty == false {}
            #expect(try gate.record("USER_END")["signal"] == "15")
        }
    }

    // MARK: - The end

    @Test(arguments: [0, 1, 42, 255])
    func theStatusIsInTheTrail(status: Int) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "exit \(status)").answer().primary == [0])
            #expect(try gate.record("USER_END")["status"] == "\(status)")
        }
    }

    /// Peers keep a session open for as long as anything holds its descriptors, and kill nothing.
    @Test func nothingOfACommandOutlivesIt() throws {
        try Gateway.with(Rules.shell("unconfined")) { gate throws in
            let seconds = "\(Int.random(in: 100_000...999_999))"
            let command = "setsid sleep \(seconds) & (trap '' TERM HUP; sleep \(seconds)) & echo started"
            let answer = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            #expect(answer.output == "started\n")
            #expect(answer.primaryEnd == .endOfFile)
            #expect(gate.wait { processes(with: "sleep \(seconds)").isEmpty }, "a process was left over")
        }
    }

    @Test func aClientThatGoesAwayEndsItsCommand() throws {
        try Gateway.with(Rules.words) { gate throws in
            let seconds = "\(Int.random(in: 100_000...999_999))"
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep \(seconds)")
            #expect(client.primary.receive(count: 1) == [0])
            #expect(gate.wait { !processes(with: "sleep \(seconds)").isEmpty })
            client.primary.reset()
            #expect(gate.wait { processes(with: "sleep \(seconds)").isEmpty }, "the command runs on")
            #expect(try gate.record("USER_END")["signal"] != nil)
        }
    }

    /// The command shares the socket with us: with SO_LINGER set by it root's close would block, and O_NONBLOCK would break reads.
    @Test func aCommandThatChangesTheSocketHoldsNobodyUp() throws {
        try Gateway.with(Rules.words) { gate throws in
            let script =
                "use Socket; use Fcntl; setsockopt(STDOUT, SOL_SOCKET, SO_LINGER, pack(q(ii), 1, 1000)); "
                + "setsockopt(STDOUT, SOL_SOCKET, SO_KEEPALIVE, 0); fcntl(STDOUT, F_SETFL, O_NONBLOCK); "
                + "syswrite(STDOUT, q(x) x 65536) for 1 .. 100"
            let client = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/perl -e '\(script)'")
            #expect(client.primary.receive(count: 1) == [0])
            // The client reads nothing, and the record of the end is there all the same.
            _ = try gate.record("USER_END")
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
            #expect(gate.wait { !gate.members.contains { $0.arguments.contains("session") } }, "a session hangs")
        }
    }

    @Test func aTimeoutOfTheSandboxEndsTheCommand() throws {
        let rules = """
            sandbox brief extends strict {
                timeout 1s
            }
            permit brief: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox brief
            """
        try Gateway.with(rules) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60").answer()
            #expect(answer.primary == [0])
            #expect(answer.primaryEnd == .endOfFile)
            #expect(try gate.record("USER_END")["limit"] == "timeout")
        }
    }

    private func processes(with words: String) -> [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int($0) } ?? []
        return all.compactMap { pid in
            let line = Files.read("/proc/\(pid)/cmdline").map { $0 == 0 ? 0x20 : $0 }
            let text = String(decoding: line, as: UTF8.self)
            return text.contains(words) && !text.contains("trap") ? text : nil
        }
    }

    // MARK: - The environment

    @Test func theEnvironmentIsBuiltAndNotInherited() throws {
        try Gateway.with(Rules.words) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/env").answer()
            var values: [Substring: Substring] = [:]
            for line in answer.output.split(separator: "\n") {
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                values[parts[0]] = parts.last
            }
            #expect(values["USER"] == Substring(Gateway.target))
            #expect(values["LOGNAME"] == Substring(Gateway.target))
            #expect(values["TERM"] == "dumb")
            #expect(values["PATH"] == "/usr/bin:/bin")
            #expect(values["REMOTE_HOST"] == "127.0.0.1")
            #expect(values["REMOTE_USER"] == nil)
            #expect(values["PORTCULLIS_SESSION"]?.count == 32)
            #expect(values["SWIFT_BACKTRACE"] == nil, "something was inherited")
            let known: Set<Substring> = [
                "HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "REMOTE_HOST", "PORTCULLIS_SESSION", "TMPDIR",
            ]
            #expect(Set(values.keys).subtracting(known).isEmpty)
        }
    }

    /// No command ever holds a socket bound to a reserved port, nor anything else of ours: a process that holds such a socket
    /// can connect it elsewhere and be believed there.
    @Test func aCommandHasThreeDescriptorsAndNoOthers() throws {
        try Gateway.with(Rules.words) { gate throws in
            for separately in [false, true] {
                let command = "/bin/ls -l /proc/self/fd"
                let answer = try Conversation.rexec(gate, as: Gateway.target, command, separately: separately).answer()
                let links = answer.output.split(separator: "\n").filter { $0.contains("->") }
                // ls itself has the directory open.
                #expect(links.count == 4, "\(answer.output)")
                #expect(links.filter { $0.contains("socket:") }.count == (separately ? 2 : 3))
                #expect(links.filter { $0.contains("pipe:") }.count == (separately ? 1 : 0))
            }
        }
    }
}
