// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// Each session of root's gateway has a control group (cgroup v2), and everything in it ends with the session.
@Suite("Control groups", .needsBuild, .needsRoot, .needsCgroups)
struct CgroupTests {
    /// Rules that let the tests' own account do much, and a command that stays, found by its arguments.
    private static func staying(_ body: (Gateway, Conversation, Gateway.Member) throws -> Void) throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let mark = "\(Int.random(in: 100_000_000...999_999_999))"
            let client = try Conversation.rexec(gate, as: "alice", "echo on; sleep \(mark)")
            #expect(client.primary.receive(count: 4) == [0, 0x6F, 0x6E, 0x0A])
            var command: Gateway.Member?
            gate.wait {
                command = gate.members.first { $0.arguments == "sleep \(mark)" }
                return command != nil
            }
            try body(gate, client, try #require(command))
        }
    }

    /// The group of a process, as a directory; nil where the process is gone, or in none of a session's.
    private static func group(of pid: pid_t) -> String? {
        let line = Files.text("/proc/\(pid)/cgroup").split(separator: "\n").first { $0.hasPrefix("0::/") }
        guard let line, let base = Host.cgroups, let start = line.range(of: "/portcullis-sessions-") else { return nil }
        return base + line[start.lowerBound...]
    }

    @Test func aCommandAndItsInitAreInAGroupThatGoesWithThem() throws {
        try Self.staying { gate, client, command in
            let group = try #require(Self.group(of: command.pid))
            let shell = try #require(gate.members.first { $0.pid == command.parent })
            let initial = try #require(gate.members.first { $0.pid == shell.parent })
            #expect(initial.arguments.hasPrefix("portcullisd: init"), "\(initial)")
            #expect(Self.group(of: initial.pid) == group)
            let session = try #require(gate.members.first { $0.pid == initial.parent })
            #expect(Self.group(of: session.pid) == nil, "the session is in its command's group")
            // Another session has another one.
            let other = try Conversation.rexec(gate, as: "alice", "cat /proc/self/cgroup").answer()
            #expect(other.output.split(separator: "\n").contains("0::/"), "\(other)")
            let name = try #require(group.split(separator: "/").last)
            #expect(
                gate.wait {
                    (try? FileManager.default.contentsOfDirectory(atPath: Self.parent(group)))?
                        .filter { UInt64($0) != nil } == [String(name)]
                })
            client.primary.reset()
            #expect(gate.wait { !Files.exists(group) }, "the group is still there")
            #expect(Files.exists(Self.parent(group)))
            gate.stop()
            #expect(!Files.exists(Self.parent(group)))
        }
    }

    private static func parent(_ path: String) -> String {
        path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
    }

    /// The monitor ends what the session no longer can.
    @Test func theGroupOfASessionThatWasKilledGoesToo() throws {
        try Self.staying { gate, _, command in
            let group = try #require(Self.group(of: command.pid))
            for member in gate.members where member.arguments.hasPrefix("portcullisd: session") {
                kill(member.pid, SIGKILL)
            }
            #expect(gate.wait { !Files.exists(group) }, "the group is still there")
        }
    }

    /// The next gateway ends what one that was killed left.
    @Test func theGroupsOfAGatewayThatWasKilledGoToo() throws {
        try Self.staying { gate, _, command in
            let place = Self.parent(try #require(Self.group(of: command.pid)))
            gate.daemon?.send(SIGKILL)
            _ = gate.daemon?.wait(within: 5_000)
            #expect(Files.exists(place), "nothing was left that could be found")
            try gate.start()
            #expect(!Files.exists(place))
            #expect(Self.group(of: command.pid) == nil)
        }
    }

    /// Whatever a command starts is in the group, and cannot be seen to be: what it sees is a hierarchy of its own.
    @Test func aCommandNeitherSeesNorChangesItsGroup() throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let answer = try Conversation.rexec(
                gate, as: "alice", "setsid cat /proc/self/cgroup; ls /sys/fs/cgroup && echo seen", separately: true
            ).answer()
            let seen = answer.output.split(separator: "\n")
            #expect(seen.contains("0::/"), "\(answer)")
            #expect(!answer.output.contains("portcullis") && !seen.contains("seen"), "\(answer)")
        }
    }
}
