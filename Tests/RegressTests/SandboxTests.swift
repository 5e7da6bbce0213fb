// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// A command in `strict` can write nowhere, reach no network, and gain no privilege.
///
/// The same probe is run in `unconfined`, where much of it works: a probe that would notice nothing proves nothing.
@Suite("Sandboxes hold", .needsBuild)
struct SandboxTests {
    private static let probe: String = {
        let text = Files.text(Host.package + "/Tests/RegressTests/Clients/probe.pl")
        return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n")
    }()

    /// Runs the probe in a sandbox, and returns its lines.
    private func run(_ sandbox: String, separately: Bool = true) throws -> [String] {
        var setup = Gateway.Setup(
            "permit probe: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/perl *\" sandbox \(sandbox)")
        setup.rexec = "authenticate file \"credentials\"\n    command-length 131071"
        var lines: [String] = []
        try Gateway.with(setup) { gate throws in
            let open = gate.directory + "/open"
            Files.makeDirectory(open, mode: 0o777)
            try Files.write("open to all", to: open + "/file", mode: 0o666, owner: Host.isRoot ? 4_100 : nil)
            let home = Host.isRoot ? gate.home("alice") : NSHomeDirectory()
            let script = "'" + Self.probe.replacingOccurrences(of: "'", with: "'\\''") + "'"
            // Where its output can be disconnected, what was written may be lost with it.
            let words = (Gateway.target == "root" ? "no" : "yes") + (sandbox == "unconfined" ? "" : " disconnect")
            let command = "/usr/bin/perl -e \(script) \(open) \(home) \(words)"
            let answer = try Conversation.rexec(gate, as: Gateway.target, command, separately: separately).answer()
            lines = answer.output.split(separator: "\n").map(String.init)
            #expect(lines.contains("done"), "the probe did not get to its end: \(answer)")
            lines += answer.errorOutput.split(separator: "\n").map(String.init).filter { $0.hasPrefix("WORKED") }
            if sandbox == "strict" { #expect(Files.text(open + "/file") == "open to all") }
        }
        return lines
    }

    private func worked(_ lines: [String]) -> [String] { lines.filter { $0.hasPrefix("WORKED") } }

    @Test func strictLetsNothingOfTheProbeWork() throws {
        let lines = try run("strict")
        #expect(worked(lines) == [])
    }

    /// The same with a stderr that is the client's socket.
    @Test func strictHoldsTheInheritedSocketsToo() throws {
        let lines = try run("strict", separately: false)
        #expect(worked(lines) == [])
    }

    /// The control: without ruleset and allow list the probe sees much that works.
    @Test func theProbeWouldNotice() throws {
        let found = Set(worked(try run("unconfined")))
        for thing in [
            "write", "socket inet", "socket unix", "open for writing", "unlink", "rename", "utime",
        ] {
            #expect(found.contains { $0.hasPrefix("WORKED " + thing) }, "the probe does not see: \(thing)")
        }
        // What no command needs is refused even there.
        for thing in ["ptrace", "bpf", "mount", "keyctl", "io_uring_setup", "x32", "init_module"] {
            #expect(!found.contains { $0.hasPrefix("WORKED " + thing) }, "\(thing) works in unconfined")
        }
    }

    @Test(.needsRoot) func strictHasTheTargetsIdsAndNoCapability() throws {
        let lines = Set(try run("strict").map { $0.replacingOccurrences(of: "\t", with: " ") })
        #expect(lines.contains("Uid: 4100 4100 4100 4100"))
        #expect(lines.contains("Gid: 4100 4100 4100 4100"))
        #expect(lines.contains { $0.hasPrefix("Groups: 4199") || $0.hasPrefix("Groups: 4100 4199") })
        #expect(lines.contains("NoNewPrivs: 1"))
        #expect(lines.contains("Seccomp: 2"))
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            #expect(lines.contains("\(set): 0000000000000000"), "\(set)")
        }
    }

    @Test(.needsRoot) func rootHasNoCapabilityEither() throws {
        var setup = Gateway.Setup("permit root: rsh from 127.0.0.0/8 by root as root run any sandbox strict")
        setup.rsh = "trust rule\n    account none"
        try Gateway.with(setup) { gate throws in
            let answer = try Conversation.rsh(gate, by: "root", as: "root", "/bin/cat /proc/self/status").answer()
            #expect(answer.output.contains("Uid:\t0\t0\t0\t0"), "\(answer)")
            #expect(answer.output.contains("CapEff:\t0000000000000000"))
            #expect(answer.output.contains("CapBnd:\t0000000000000000"))
        }
    }

    @Test(.needsRoot) func standardHasATmpOfItsOwnAndCannotWriteTheHome() throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let mark = "portcullis-mark-\(Int.random(in: 0...Int.max))"
            try Files.write("outside", to: "/tmp/" + mark, mode: 0o644)
            defer { Files.remove("/tmp/" + mark) }
            try Files.write("mine", to: gate.home("alice") + "/file", mode: 0o644, owner: 4_100)
            let command = "ls /tmp; echo x > /tmp/x && cat /tmp/x; cat ~/file; echo y > ~/y; touch ~/file"
            let answer = try Conversation.rexec(gate, as: "alice", command, separately: true).answer()
            #expect(answer.output == "x\nmine", "\(answer)")
            #expect(!Files.exists("/tmp/x"))
            #expect(!Files.exists(gate.home("alice") + "/y"))
        }
    }

    @Test(.needsRoot) func homeCanWriteTheHome() throws {
        try Gateway.with(Rules.shell("home")) { gate throws in
            let command = "echo y > ~/y && cat ~/y"
            let answer = try Conversation.rexec(gate, as: "alice", command, separately: true).answer()
            #expect(answer.output == "y\n", "\(answer)")
            #expect(Files.text(gate.home("alice") + "/y") == "y\n")
        }
    }

    @Test func aProgramOutsideWhatCanBeExecutedDoesNotRun() throws {
        let rules = """
            sandbox few extends strict {
                execute /usr/bin /lib /lib64 /usr/lib
            }
            permit any: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox few
            """
        try Gateway.with(rules) { gate throws in
            let command = "/usr/bin/perl -e 'exec(\"/usr/sbin/nologin\"); print \"refused $!\"'"
            let answer = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            #expect(answer.output.hasPrefix("refused"), "\(answer)")
        }
    }

    /// A sandbox that asks for more than the kernel has is a refusal to serve, never a weaker run.
    @Test func aSandboxThatTheKernelCannotApplyIsNotRunWeaker() throws {
        let rules = """
            sandbox future extends strict {
                require landlock 99
            }
            permit any: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox future
            """
        try Gateway.with(Gateway.Setup(rules), start: false) { gate throws in
            try gate.launch()
            #expect(gate.wait { gate.log.contains("ready:") }, "\(gate.log)")
            let answer = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            #expect(!answer.isAccepted)
            #expect(try gate.lastReason() == "sandbox-unavailable")
        }
    }

    @Test func limitsAreApplied() throws {
        let rules = """
            sandbox small extends strict {
                limit cpu 1s, files 32, processes 64
            }
            permit any: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox small
            """
        try Gateway.with(rules) { gate throws in
            let limits = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat /proc/self/limits").answer()
            let rows = limits.output.split(separator: "\n").map { $0.split(separator: " ") }
            #expect(rows.contains { $0.starts(with: ["Max", "open", "files", "32"]) }, "\(limits)")
            let spin = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/perl -e '1 while 1'").answer()
            #expect(spin.primaryEnd == .endOfFile)
            #expect(try gate.record("USER_END") { $0["signal"] != nil }["limit"] == "cpu")
        }
    }

    @Test func whatWritesTooMuchEndsByName() throws {
        let rules = """
            sandbox quiet extends strict {
                limit output 64K
            }
            permit any: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox quiet
            """
        try Gateway.with(rules) { gate throws in
            let answer = try Conversation.rexec(
                gate, as: Gateway.target, "/usr/bin/perl -e 'print \"x\" x 1024 while 1'"
            ).answer()
            #expect(answer.isAccepted && answer.primaryEnd == .endOfFile && answer.output.utf8.count >= 65_536)
            #expect(try gate.record("USER_END") { $0["limit"] != nil }["limit"] == "output")
        }
    }

    /// With its real uid alone the target could kill or trace the session that reads its files.
    @Test(.needsRoot) func theTargetCanSignalAndTraceNoProcessOfOurs() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: "alice", "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            let ours = gate.members.filter { $0.arguments.hasPrefix("portcullis") }
            #expect(ours.count >= 5)
            for member in ours {
                let script = """
                    print "KILLED\n" if kill(0, \(member.pid));
                    print "TRACED\n" if syscall(101, 16, \(member.pid), 0, 0) == 0;
                    print "READ\n" if open(my $f, "<", "/proc/\(member.pid)/mem");
                    """
                let result = try Child.run(
                    "/usr/bin/setpriv",
                    ["--reuid=4100", "--regid=4100", "--clear-groups", "--", "/usr/bin/perl", "-e", script])
                #expect(result.outText == "", "\(member.arguments): \(result)")
            }
            client.primary.reset()
        }
    }
}
