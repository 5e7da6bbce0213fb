// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The end of a session loses nothing that the command wrote, whatever the client still sends; and its beginning is
/// always a status byte.
@Suite("Endings", .needsBuild)
struct EndingsTests {
    /// Closing with bytes unread, or bytes that come after the end, makes the kernel reset the connection and forget what
    /// the client has not read: `rsh host command < large-file`, where the command stops reading early.
    @Test func outputIsWholeAlthoughMuchStdinWasNeverRead() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(
                gate, as: Gateway.target, "perl -e 'print \"z\" x 300000'")
            let sender = Thread { _ = client.primary.send(Array(repeating: 0x61, count: 4_000_000)) }
            sender.start()
            var output: [UInt8] = []
            while let part = client.primary.receive(atMost: 4_096), !part.isEmpty {
                output += part
                Moment.sleep(1)
            }
            #expect(output.count == 300_001)
        }
    }

    @Test func outputIsWholeAlthoughTheClientReadsLateAndThenSends() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "perl -e 'print \"z\" x 2000000'")
            var output = client.primary.receive(count: 1)
            // Longer than the gateway waits for a client that has acknowledged everything.
            Moment.sleep(2_600)
            client.primary.send("x")
            while let part = client.primary.receive(), !part.isEmpty { output += part }
            #expect(output.count == 2_000_001)
        }
    }

    /// Until execve the command's process has the target's ids and its init hears nothing: the target's other processes can
    /// stop it, and must not keep its session with that.
    @Test func aProcessThatItsAccountStopsBeforeItsExecEndsWithItsTimeout() throws {
        let rules =
            "sandbox short extends strict {\n    timeout 1s\n}\n"
            + "permit all: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox short"
        try Gateway.with(Gateway.Setup(rules)) { gate throws in
            let auditor = try #require(gate.helper("auditor"))
            kill(auditor.pid, SIGSTOP)
            let client = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/true")
            // It is ready, and waits for its start record.
            let starting = { () -> Gateway.Member? in
                let members = gate.members
                let sessions = members.filter { $0.arguments.hasPrefix("portcullisd: session") }
                let inits = members.filter { one in sessions.contains { $0.pid == one.parent } }
                return members.first { one in inits.contains { $0.pid == one.parent } }
            }
            let isThere = gate.wait { starting() != nil }
            let child = starting()
            if let child { kill(child.pid, SIGSTOP) }
            kill(auditor.pid, SIGCONT)
            #expect(isThere && child != nil)
            _ = client.answer(within: 30_000)
            #expect(gate.wait { !gate.members.contains { $0.arguments.hasPrefix("portcullisd: session") } })
            #expect(try gate.record("USER_END")["limit"] == "timeout")
        }
    }

    /// Ctrl-C while stderr scrolls: the signal byte that nobody reads must not cost the rest.
    @Test func stderrIsWholeAlthoughASignalComesAfterTheEnd() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(
                gate, as: Gateway.target, "perl -e 'print STDERR \"x\" x 1000000'", separately: true)
            Moment.sleep(1_000)
            client.secondary?.send([2])
            let answer = client.answer()
            #expect(answer.secondary.count == 1_000_000)
        }
    }

    /// A signal byte that is there before the command is: the client gets its status byte all the same.
    @Test(arguments: [UInt8(1), 2, 9, 15]) func aSignalBeforeTheCommandCostsNoStatusByte(signal: UInt8) throws {
        try Gateway.with(Rules.words) { gate throws in
            for _ in 0..<4 {
                let peer = gate.endpoint(.rexec)
                let primary = try Socket.connect(to: peer)
                let listener = try Socket.listen(on: primary.local.address)
                primary.send("\(try listener.local.port)\0")
                let secondary = try #require(try listener.accept())
                secondary.send([signal])
                primary.send("\(Gateway.target)\0\(Gateway.password)\0/bin/sleep 5\0")
                #expect(primary.receive(count: 1) == [0])
            }
            let end = try gate.record("USER_END")
            #expect(end["signal"] == "\(signal)")
        }
    }

    @Test func aProgramThatCannotBeExecutedIsSaidInTheTrail() throws {
        try Gateway.with(Rules.words) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, "/proc/self/exe --help").answer()
            guard answer.isAccepted else { return }
            #expect(answer.output.contains("/proc/self/exe: "))
            let notice = try gate.record("USER_ERR")
            #expect(notice["op"] == "execve")
        }
    }

    /// Root makes, opens and gives away nothing in a directory that another account owns.
    @Test(.needsRoot) func aStateDirectoryBelowAnotherAccountsIsNotUsed() throws {
        try Gateway.with(Rules.words) { gate throws in
            let theirs = gate.directory + "/theirs"
            Files.makeDirectory(theirs, mode: 0o755, owner: Gateway.uid(Gateway.target))
            let result = try Child.run(
                Host.own("portcullisd"),
                [
                    "--policy", gate.policyPath, "--state-directory", theirs + "/state", "--runtime-directory",
                    gate.runtime,
                ], within: 20_000)
            #expect(result.outcome == .status(1))
            #expect(result.errText.contains("belongs to uid"))
        }
    }
}
