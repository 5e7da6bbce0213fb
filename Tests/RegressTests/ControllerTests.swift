// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// Where a session's control group has the controllers of memory and pids, they hold its limits.
///
/// Debian's kernel has them, with systemd or without; a host with version 1 of control groups has none here, and
/// `scripts/kernel-drill` runs these under Debian's.
@Suite("Controllers of control groups", .needsBuild, .needsRoot, .needsControllers)
struct ControllerTests {
    /// Limits that a test comes to in a moment, in a sandbox of either kind.
    private static let few = """
        sandbox few extends standard {
            limit processes 20, memory 64M
        }
        sandbox open extends unconfined {
            limit processes 20
        }
        """

    private static func setup(_ rules: String) -> Gateway.Setup {
        var setup = Gateway.Setup(rules)
        setup.rsh = "trust rule\n    account none"
        return setup
    }

    @Test(arguments: [("strict", true), ("standard", true), ("home", true), ("unconfined", false)])
    func theStartRecordSaysWhatHoldsTheLimits(sandbox: String, isLimited: Bool) throws {
        try Gateway.with(Rules.shell(sandbox)) { gate throws in
            let answer = try Conversation.rsh(gate, as: "alice", "echo on; cat /proc/self/cgroup").answer()
            #expect(answer.output.hasPrefix("on\n"), "\(answer)")
            let keepers = try gate.record("USER_CMD")["limits"]?.split(separator: "+").map(String.init) ?? []
            #expect(keepers.first == "rlimit" && keepers.contains("cgroup") == isLimited, "\(keepers)")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == nil && end["status"] == "0", "\(end.text)")
        }
    }

    /// Forks as long as it can, prints how often it could and why not any more, and ends; its children stay, or end first.
    private static func bomb(childrenStay: Bool) -> String {
        let end = childrenStay ? "" : "kill 9, @made; 1 while wait() > 0; "
        return
            "$| = 1; my @made; while (defined(my $p = fork)) { if (!$p) { sleep 60; exit } push @made, $p; last if @made > 200 } "
            + "my $why = \"$!\"; \(end)print scalar(@made), \" $why\\n\""
    }

    /// uid 0 is bound as anybody is; and what the limit refused is on the record, though the command has gone on.
    @Test(arguments: [("alice", "few", true), ("alice", "few", false), ("root", "few", true), ("root", "open", true)])
    func aForkBombIsHeld(account: String, sandbox: String, childrenStay: Bool) throws {
        let rule = "permit any: rsh from 127.0.0.0/8 by any as \(account) run any sandbox \(sandbox)"
        try Gateway.with(Self.setup(Self.few + "\n" + rule)) { gate throws in
            let command = "/usr/bin/perl -e '\(Self.bomb(childrenStay: childrenStay))'"
            let answer = try Conversation.rsh(gate, by: "root", as: account, command).answer()
            #expect(answer.output == "19 Resource temporarily unavailable\n", "\(answer)")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == "processes" && end["status"] == "0", "\(end.text)")
            let keepers = try gate.record("USER_CMD")["limits"]
            #expect(keepers == "rlimit+cgroup", "\(keepers ?? "")")
        }
    }

    /// Below the limit nothing is said of it, whatever is left.
    @Test func whatIsLeftBelowTheLimitIsNoLimit() throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let answer = try Conversation.rexec(gate, as: "alice", "sleep 60 & sleep 60 & echo x").answer()
            #expect(answer.output == "x\n")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == nil && end["leftovers"] == "2", "\(end.text)")
        }
    }

    /// Files in the session's `/tmp` are its memory; no limit of a process would hold them. 64 MiB are less than `/tmp` holds.
    @Test func memoryIsOfTheSessionAndTmpIsOfIt() throws {
        let rule = "permit any: rsh from 127.0.0.0/8 by any as alice run any sandbox few"
        try Gateway.with(Self.setup(Self.few + "\n" + rule)) { gate throws in
            let script =
                "open my $f, \">\", \"/tmp/f\"; my $m = \"x\" x (1 << 20); for (1 .. 128) { syswrite $f, $m } print \"held\""
            let answer = try Conversation.rsh(gate, as: "alice", "/usr/bin/perl -e '\(script)'").answer(within: 60_000)
            #expect(answer.output == "", "\(answer)")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == "memory" && end["signal"] == "9", "\(end.text)")
        }
    }

    /// Processes that are each below RLIMIT_AS are not, together.
    @Test func memoryIsOfAllProcessesTogether() throws {
        let rule = "permit any: rsh from 127.0.0.0/8 by any as alice run any sandbox few"
        try Gateway.with(Self.setup(Self.few + "\n" + rule)) { gate throws in
            let script =
                "for (1 .. 4) { fork or last } my $m = \"x\" x (16 << 20); sleep 1; 1 while wait() > 0; print \"held\\n\""
            // Sixteen in all, of which the kernel ends so many that the others fit: which, is its own choice.
            let answer = try Conversation.rsh(gate, as: "alice", "/usr/bin/perl -e '\(script)'").answer(within: 60_000)
            #expect(answer.output.split(separator: "\n").count < 8, "\(answer)")
            // The gateway lives, and so does the next session.
            let next = try Conversation.rsh(gate, as: "alice", "/bin/echo on").answer()
            #expect(next.output == "on\n", "\(next)")
        }
    }

    // MARK: A group that was delegated

    /// A group with controllers, as a service manager delegates it, that goes with the closure; nothing else is in it.
    private static func delegated(_ body: (String) throws -> Void) throws {
        let base = try #require(Host.cgroups)
        for name in ["memory", "pids"] {
            try? "+\(name)".write(toFile: base + "/cgroup.subtree_control", atomically: false, encoding: .utf8)
        }
        let group = base + "/portcullis-service-" + UUID().uuidString
        Files.makeDirectory(group, mode: 0o755)
        // SAFETY: the path is a string of ours, passed for the call alone.
        defer { unsafe rmdir(group) }
        try body(group)
    }

    /// The controllers that a group shares out.
    private static func given(by group: String) -> [String] {
        Files.text(group + "/cgroup.subtree_control").split { $0 == " " || $0 == "\n" }.map(String.init)
    }

    private static func groups(in path: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.filter { Files.exists("\(path)/\($0)/cgroup.procs") }
    }

    /// It goes to a group of its own, because one with processes may give none of its controllers, and comes back at its end.
    @Test func aGatewayThatIsAloneInItsGroupMakesRoomAndTakesItBack() throws {
        try Self.delegated { group throws in
            var setup = Self.setup(Rules.shell("standard"))
            setup.wrapper = ["/bin/sh", "-c", "echo $$ > '\(group)/cgroup.procs' && exec \"$@\"", "sh"]
            try Gateway.with(setup) { gate throws in
                #expect(Set(Self.given(by: group)) == ["memory", "pids"])
                let own = Files.text(group + "/portcullis-gateway/cgroup.procs").split(separator: "\n")
                #expect(own.contains { pid_t($0) == gate.daemon?.pid }, "\(own)")
                let answer = try Conversation.rsh(gate, as: "alice", "echo on").answer()
                #expect(answer.output == "on\n", "\(answer)")
                #expect(try gate.record("USER_CMD")["limits"] == "rlimit+cgroup")
                gate.stop()
                #expect(Self.groups(in: group) == [])
                #expect(Self.given(by: group) == [])
            }
        }
    }

    /// A gateway that somebody has started by hand shares its group: it has sessions in groups that bound nothing, and leaves
    /// the others where they are. Giving `pids` there would make it impossible to start any process in a session's group.
    @Test func aGatewayThatSharesItsGroupGivesNothing() throws {
        try Self.delegated { group throws in
            var setup = Self.setup(Rules.shell("standard"))
            let note = FileManager.default.temporaryDirectory.path + "/portcullis-neighbour-" + UUID().uuidString
            let beside = "echo $$ > '\(group)/cgroup.procs' && { sleep 300 & echo $! > '\(note)'; } && exec \"$@\""
            setup.wrapper = ["/bin/sh", "-c", beside, "sh"]
            defer {
                if let pid = pid_t(Files.text(note).trimmingCharacters(in: .whitespacesAndNewlines)) {
                    kill(pid, SIGKILL)
                }
                Files.remove(note)
                while Files.text(group + "/cgroup.procs") != "" { Moment.sleep(10) }
            }
            try Gateway.with(setup) { gate throws in
                #expect(Self.given(by: group) == [])
                #expect(Files.text(group + "/cgroup.type") == "domain\n")
                let answer = try Conversation.rsh(gate, as: "alice", "echo on").answer()
                #expect(answer.output == "on\n", "\(answer)")
                #expect(try gate.record("USER_CMD")["limits"]?.contains("cgroup") == false)
            }
        }
    }

    /// Another group there may depend on what was given: it keeps it.
    @Test func controllersThatAnotherGroupHasAreNotTakenAway() throws {
        try Self.delegated { group throws in
            var setup = Self.setup(Rules.shell("standard"))
            setup.wrapper = ["/bin/sh", "-c", "echo $$ > '\(group)/cgroup.procs' && exec \"$@\"", "sh"]
            let other = group + "/other"
            // SAFETY: the path is a string of ours, passed for the call alone.
            defer { unsafe rmdir(other) }
            try Gateway.with(setup) { gate throws in
                Files.makeDirectory(other, mode: 0o755)
                try "1000".write(toFile: other + "/pids.max", atomically: false, encoding: .utf8)
                gate.stop()
                #expect(Files.text(other + "/pids.max") == "1000\n")
            }
            // SAFETY: as above.
            unsafe rmdir(group + "/portcullis-gateway")
        }
    }
}
