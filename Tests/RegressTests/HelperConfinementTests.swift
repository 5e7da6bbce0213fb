// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What each of our own processes has left, as the kernel tells it to somebody outside (docs/sandboxes.md, Our own
/// helpers). What their filters refuse is tried from within by HelperFilterTests.
@Suite("Our own processes, seen from outside", .needsBuild)
struct HelperConfinementTests {
    /// The fields of /proc/PID/status, blanks as one.
    private static func status(_ member: Gateway.Member) -> [String: String] {
        var fields: [String: String] = [:]
        for line in Files.text("/proc/\(member.pid)/status").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            fields[String(parts[0])] = parts[1].split { $0 == "\t" || $0 == " " }.joined(separator: " ")
        }
        return fields
    }

    private static let none = "0000000000000000"

    /// What the descriptors of a process lead to, but for 0, 1 and 2.
    private static func open(_ member: Gateway.Member) throws -> [String] {
        let directory = "/proc/\(member.pid)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: directory).compactMap { name in
            guard let number = Int(name), number > 2 else { return nil }
            // One that was closed meanwhile leads nowhere.
            return try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + name)
        }
    }

    /// Those of a process's sockets that listen, by the kernel's tables of TCP.
    private static func listening(_ member: Gateway.Member) throws -> [String] {
        let open = Set(try open(member))
        return ["tcp", "tcp6"].flatMap { table in
            Files.text("/proc/\(member.pid)/net/" + table).split(separator: "\n").dropFirst().compactMap { line in
                let fields = line.split(separator: " ")
                // State 0A is TCP_LISTEN; the tenth field is the inode.
                guard fields.count > 9, fields[3] == "0A" else { return nil }
                return open.contains("socket:[\(fields[9])]") ? String(fields[1]) : nil
            }
        }
    }

    private static let namespaces = ["mnt", "pid", "ipc", "uts", "net"]

    private static func namespace(_ name: String, of pid: some Any) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/" + name)
    }

    @Test(arguments: ["front", "engine", "auditor"])
    func aHelperHasLeftWhatTheDocumentSays(name: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            let helper = try #require(gate.helper(name))
            let status = Self.status(helper)
            if Host.isRoot {
                let ids = try #require(status["Uid"]?.split(separator: " "))
                #expect(Set(ids).count == 1 && ids[0] != "0", "\(ids)")
                #expect(Set(status["Gid"]?.split(separator: " ") ?? []).count == 1)
                #expect(status["Groups"] == "")
                #expect(status["CapBnd"] == Self.none)
            }
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] { #expect(status[set] == Self.none, "\(set)") }
            #expect(status["NoNewPrivs"] == "1")
            #expect(status["Seccomp"] == "2")
            #expect((status["Threads"] == "1") == (name != "front"), "\(status["Threads"] ?? "")")
            let core = Files.text("/proc/\(helper.pid)/limits").split(separator: "\n").first {
                $0.hasPrefix("Max core file size")
            }
            #expect(core?.split(separator: " ").dropFirst(4).prefix(2) == ["0", "0"], "\(core ?? "")")
            // Channels, waits and signals; no file but the auditor's own.
            for target in try Self.open(helper) {
                let isPlain = ["socket:", "pipe:", "anon_inode:"].contains(where: target.hasPrefix)
                let isTrail = name == "auditor" && (target + "/").hasPrefix(gate.state + "/audit/")
                #expect(isPlain || isTrail, "\(name) has \(target) open")
            }
            client.primary.reset()
        }
    }

    /// Monitor and session are root's, unfiltered; what a session's init keeps is the right to signal the command.
    @Test(.needsRoot) func whatIsRootsHasLeftWhatTheDocumentSays() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            let find = { (title: String) in
                try #require(gate.members.first { $0.arguments.hasPrefix(title) }, "\(title)")
            }
            for title in ["portcullisd: monitor", "portcullisd: session"] {
                let status = Self.status(try find(title))
                #expect(status["Uid"] == "0 0 0 0")
                #expect(status["CapEff"] != Self.none)
                #expect(status["NoNewPrivs"] == "0")
                #expect(status["Seccomp"] == "0")
            }
            let monitor = try find("portcullisd: monitor")
            let session = try find("portcullisd: session")
            #expect(try Self.listening(session) == [])
            for name in Self.namespaces {
                #expect(Self.namespace(name, of: session.pid) == Self.namespace(name, of: monitor.pid), "\(name)")
            }
            #expect(gate.wait { (try? find("portcullisd: init")) != nil })
            let initial = try find("portcullisd: init")
            let status = Self.status(initial)
            // CAP_KILL is number 5.
            for set in ["CapPrm", "CapEff", "CapBnd"] { #expect(status[set] == "0000000000000020", "\(set)") }
            for set in ["CapInh", "CapAmb"] { #expect(status[set] == Self.none, "\(set)") }
            #expect(status["NoNewPrivs"] == "1")
            // Its session's channel and its signals.
            #expect(try Self.open(initial).allSatisfy { $0.hasPrefix("socket:") || $0.hasPrefix("anon_inode:") })
            #expect(try Self.open(initial).count == 2)
            for name in Self.namespaces {
                let own = try #require(Self.namespace(name, of: initial.pid))
                #expect(own != Self.namespace(name, of: monitor.pid), "\(name)")
            }
            client.primary.reset()
        }
    }

    /// The init still forwards signals to another account's processes, and ends the session.
    @Test(.needsRoot) func theInitStillSignalsTheCommand() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60", separately: true)
            #expect(client.primary.receive(count: 1) == [0])
            client.secondary?.send([15])
            #expect(client.answer().primaryEnd == .endOfFile)
            #expect(try gate.record("USER_END")["signal"] == "15")
        }
    }
}
