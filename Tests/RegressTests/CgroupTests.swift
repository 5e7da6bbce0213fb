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

    private static func isRunning(_ arguments: String) -> Bool {
        (try? Child.run("/usr/bin/pgrep", ["-fx", arguments]))?.outcome != .status(1)
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

    /// A double fork out of everything that a process can leave, and it ends with the session.
    @Test func whatHasLeftItsParentAndItsTerminalEndsWithTheSession() throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let mark = "\(Int.random(in: 100_000_000...999_999_999))"
            let answer = try Conversation.rexec(
                gate, as: "alice",
                "(setsid sh -c 'trap \"\" HUP TERM; sleep \(mark) & sleep \(mark)' &) ; sleep 0.2; echo on"
            ).answer()
            #expect(answer.output == "on\n", "\(answer)")
            let end = try gate.record("USER_END")
            #expect(Int(end["leftovers"] ?? "") ?? 0 >= 2, "\(end.text)")
            #expect(gate.wait { !Self.isRunning("sleep \(mark)") }, "something of it still runs")
        }
    }

    /// uid 0 in `unconfined` can make groups in its session's: they go too, the deepest first, and nobody waits for them.
    @Test func groupsThatACommandMadeInItsOwnGoWithIt() throws {
        var setup = Gateway.Setup("permit any: rsh from 127.0.0.0/8 by any as root run shell sandbox unconfined")
        setup.rsh = "trust rule\n    account none"
        let base = try #require(Host.cgroups)
        try Gateway.with(setup) { gate throws in
            let line =
                "for g in \(base)/portcullis-sessions-*/[0-9]*; do grep -qx $$ $g/cgroup.procs || continue; "
                + "mkdir -p $g/a/b/c $g/d; sleep 300 & echo $! > $g/a/b/c/cgroup.procs; echo $g; done"
            let answer = try Conversation.rsh(gate, by: "root", as: "root", line).answer()
            let group = answer.output.dropLast()
            #expect(group.hasPrefix(base) && !group.contains("\n"), "\(answer)")
            #expect(gate.wait { !Files.exists(String(group)) }, "the group is still there")
            gate.stop()
            #expect(!gate.log.contains("control group"), "\(gate.log)")
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
