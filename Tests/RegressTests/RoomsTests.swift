// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What a session has of its own: devices, names, a network without anything in it, and process numbers.
@Suite("A session's own rooms", .needsBuild, .needsRoot)
struct RoomsTests {
    /// A shell in a sandbox that reads what `standard` does and these besides.
    private static func shell(
        _ items: String = "", reading paths: String = "", from base: String = "standard"
    ) -> String {
        """
        sandbox rooms extends \(base) {
            read /usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc /proc /sys /dev/null /dev/urandom \(paths)
            \(items)
        }
        permit shell: any from 127.0.0.0/8 by any as { alice root } run shell sandbox rooms
        """
    }

    private static func run(_ rules: String, _ command: String) throws -> String {
        var output = ""
        try Gateway.with(rules) { gate throws in
            let answer = try Conversation.rexec(gate, as: "alice", command, separately: true).answer()
            #expect(answer.isAccepted, "\(answer)")
            #expect(answer.errorOutput == "", "\(answer)")
            output = answer.output
        }
        return output
    }

    // MARK: Devices

    @Test func devHasWhatProgramsExpectAndNothingElse() throws {
        let expected: Set = [
            "fd", "full", "null", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
        ]
        let names = try Self.run(Self.shell(reading: "/dev"), "ls /dev").split(separator: "\n").map(String.init)
        #expect(Set(names).subtracting(["log"]) == expected)
        // The control: the host's has more.
        let all = try FileManager.default.contentsOfDirectory(atPath: "/dev")
        #expect(!Set(all).isSubset(of: expected))
    }

    @Test func devicesWorkAsTheHostsDo() throws {
        let command = """
            echo gone > /dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 100 /dev/urandom | wc -c
            (echo y > /dev/full) 2>/dev/null || echo full; echo out > /dev/stdout | cat; diff <(echo a) <(echo a) && echo same
            """
        let rules = Self.shell("write /dev/null /dev/full", reading: "/dev")
        try Gateway.with(rules) { gate throws in
            let line = "/bin/bash -c '\(command)'"
            let answer = try Conversation.rexec(gate, as: "alice", line, separately: true).answer()
            let lines = answer.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
            #expect(lines == ["00 00 00 00", "100", "full", "out", "same"], "\(answer)")
        }
    }

    /// Shared memory is a directory of the session's own, for a sandbox that writes it.
    @Test func sharedMemoryIsTheSessionsOwn() throws {
        let mark = "/dev/shm/portcullis-mark-\(Int.random(in: 0...Int.max))"
        try Files.write("outside", to: mark, mode: 0o644)
        defer { Files.remove(mark) }
        let rules = Self.shell("write /dev/null /dev/shm")
        let output = try Self.run(rules, "ls -A /dev/shm; echo mine > \(mark).in && cat \(mark).in")
        #expect(output == "mine\n")
        #expect(!Files.exists(mark + ".in"))
    }

    /// So are terminals: programs that need one can have it, and none of the host's is in sight.
    @Test func terminalsAreTheSessionsOwn() throws {
        let rules = Self.shell("write /dev/null /dev/ptmx /dev/pts")
        let script = "open(F,\"+<\",\"/dev/ptmx\") or die \"no master: $!\"; print \"made\\n\"; system \"ls /dev/pts\""
        let lines = try Self.run(rules, "perl -e '\(script)'; stat -c %d /dev/pts").split(separator: "\n")
        #expect(lines.dropLast() == ["made", "0", "ptmx"])
        let host = try Child.run("/usr/bin/stat", ["-c", "%d", "/dev/pts"]).outText
        #expect(lines.last.map { "\($0)\n" } != host, "the terminals are the host's")
    }

    /// A sandbox that names a device which a private /dev has not is about the host's.
    @Test func aNamedDeviceIsTheHosts() throws {
        let others = try FileManager.default.contentsOfDirectory(atPath: "/dev").filter {
            ![
                "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "log", "ptmx",
                "pts", "shm",
            ].contains($0) && $0.allSatisfy { $0.isLetter || $0.isNumber }
        }
        let name = try #require(others.sorted().first)
        #expect(try Self.run(Self.shell(reading: "/dev/\(name)"), "test -e /dev/\(name) && echo there") == "there\n")
        #expect(try Self.run(Self.shell(), "test -e /dev/\(name) || echo missing") == "missing\n")
    }

    // MARK: Mounts

    @Test func noMountHasSetuidProgramsAndOnlyTmpIsWritable() throws {
        let output = try Self.run(Self.shell(), "cat /proc/self/mountinfo")
        let mounts = output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(mounts.count > 5)
        // A host's /tmp that is a mount lies below the session's own.
        let own = mounts.lastIndex { $0[4] == "/tmp" }
        for (index, mount) in mounts.enumerated() {
            let options = mount[5].split(separator: ",")
            #expect(options.contains("nosuid"), "\(mount)")
            #expect(options.contains("ro") == (index != own), "\(mount)")
        }
    }

    /// uid 0 may write /proc/sys without any capability: a sandbox that writes /proc does not.
    @Test func theHostsSettingsStayWhateverASandboxWrites() throws {
        let rules = Self.shell("write /dev/null /proc", reading: "/proc")
        var setup = Gateway.Setup(rules)
        setup.rsh = "trust rule\n    account none"
        try Gateway.with(setup) { gate throws in
            let before = Files.text("/proc/sys/kernel/pid_max")
            let command = "cat /proc/sys/kernel/pid_max > /proc/sys/kernel/pid_max; echo status $?"
            let answer = try Conversation.rsh(gate, by: "root", as: "root", command).answer()
            #expect(answer.output.contains("Read-only file system"), "\(answer)")
            #expect(!answer.output.contains("status 0"), "\(answer)")
            #expect(Files.text("/proc/sys/kernel/pid_max") == before)
        }
    }

    // MARK: The view

    /// A place of the host's that every account reaches, with files and a socket that answers.
    private static func withPlace(_ body: (String) throws -> Void) throws {
        let place = "/run/portcullis-view-\(UUID().uuidString)"
        for name in ["", "/in", "/out"] { Files.makeDirectory(place + name, mode: 0o755) }
        defer { try? FileManager.default.removeItem(atPath: place) }
        try FileManager.default.createSymbolicLink(atPath: place + "/way", withDestinationPath: "in")
        var listeners: [Child] = []
        defer { for listener in listeners { listener.send(SIGTERM) } }
        for name in ["in", "out"] {
            try Files.write(name + "\n", to: "\(place)/\(name)/file", mode: 0o644)
            let script =
                "use IO::Socket::UNIX; my $l = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 4) or die; "
                + "chmod 0777, $ARGV[0]; $| = 1; print \"ready\n\"; while (my $c = $l->accept) { print $c \"heard\n\" }"
            let listener = try Child("/usr/bin/perl", ["-e", script, "\(place)/\(name)/socket"])
            listeners.append(listener)
            for _ in 0..<600 where !listener.outSoFar.hasSuffix("\n") { _ = listener.wait(within: 100) }
            #expect(listener.outSoFar == "ready\n", "\(listener.errSoFar)")
        }
        try body(place)
    }

    private static func connecting(_ path: String) -> String {
        "/usr/bin/perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => \"\(path)\"); "
            + "print $s ? <$s> : \"$!\\n\"'"
    }

    @Test func aSocketOutsideTheListedPathsIsNotThere() throws {
        try Self.withPlace { place throws in
            let rules = Self.shell("network on", reading: place + "/in/socket")
            #expect(try Self.run(rules, Self.connecting(place + "/in/socket")) == "heard\n")
            #expect(try Self.run(rules, Self.connecting(place + "/out/socket")) == "No such file or directory\n")
            // The control: nothing but the view holds it.
            let listed = Self.shell("network on", reading: place + "/out")
            #expect(try Self.run(listed, Self.connecting(place + "/out/socket")) == "heard\n")
        }
    }

    @Test func whatIsNotListedIsNotThereByAnyName() throws {
        try Self.withPlace { place throws in
            let command = """
                for p in \(place)/out \(place)/out/file /var /root /run/portcullis ../../../../..\(place)/out \
                    /proc/self/root\(place)/out /proc/self/cwd/../../../../..\(place)/out; do
                    test -e $p && echo seen $p; done
                ls / 2>&1; cd \(place)/in && pwd && cat file && cat \(place)/way/file && cd .. && test ! -e out && pwd -P
                readlink \(place)/way
                """
            let output = try Self.run(Self.shell(reading: place + "/way"), command)
            #expect(
                output == """
                    ls: cannot open directory '/': Permission denied
                    \(place)/in
                    in
                    in
                    \(place)
                    in

                    """)
        }
    }

    @Test func whatProgramsExpectIsThereByItsLinks() throws {
        let command =
            "/bin/sh -c 'echo sh'; readlink -f /bin/sh; awk 'BEGIN { print \"awk\" }'; cd; pwd; test -w . || echo kept"
        let lines = try Self.run(Self.shell(), command).split(separator: "\n").map(String.init)
        #expect(lines.first == "sh" && lines.contains("awk") && lines.last == "kept", "\(lines)")
        #expect(lines.count == 5 && lines[1].hasPrefix("/usr/") && lines[3].hasSuffix("/alice"), "\(lines)")
    }

    @Test func theTableOfMountsHasTheSessionsAlone() throws {
        let output = try Self.run(Self.shell(), "cut -d ' ' -f 5 /proc/self/mountinfo; pwd")
        let lines = output.split(separator: "\n").map(String.init)
        let home = try #require(lines.last)
        let points = lines.dropLast()
        let roots = ["/dev", "/etc", "/proc", "/sys", "/tmp", "/usr", "/bin", "/sbin", "/lib", home]
        for point in points {
            #expect(point == "/" || roots.contains { point.hasPrefix($0) }, "\(point)")
        }
        #expect(points.contains("/tmp") && points.contains(home), "\(points)")
    }

    // MARK: Names and network

    private static func namespace(_ kind: String, _ rules: String) throws -> String {
        try run(rules, "readlink /proc/self/ns/\(kind)").trimmingCharacters(in: .newlines)
    }

    @Test func aConfinedSessionHasNamesOfItsOwn() throws {
        let host = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/uts")
        #expect(try Self.namespace("uts", Rules.shell("standard")) != host)
        // The control, and the host's name is root's to set there.
        #expect(try Self.namespace("uts", Rules.shell("unconfined")) == host)
    }

    @Test func aSessionWithoutANetworkHasLeftTheHosts() throws {
        let host = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
        #expect(try Self.namespace("net", Self.shell("network off")) != host)
        #expect(try Self.namespace("net", Self.shell("network on")) == host)
        #expect(try Self.namespace("net", Rules.shell("unconfined")) == host)
    }

    /// Who is connected to this host is none of the command's business; who called it is, and still known.
    @Test func theHostsConnectionsAreOutOfSightAndTheClientsOwnStillWorks() throws {
        try Gateway.with(Self.shell()) { gate throws in
            let script = "use Socket; print join(\".\", unpack(\"C4\", (sockaddr_in(getpeername(STDIN)))[1])), \"\\n\""
            let command = "grep -c : /proc/net/tcp; ls /sys/class/net 2>/dev/null | wc -l; perl -e '\(script)'; cat"
            let client = try Conversation.rexec(gate, as: "alice", command)
            client.primary.send("to the end")
            client.primary.shutdownWrites()
            let answer = client.answer()
            let lines = answer.output.split(separator: "\n").map(String.init)
            // The table's headline has no connection in it.
            #expect(lines.first == "0" || lines.first == "1", "\(answer)")
            #expect(lines.contains { $0.hasPrefix("127.") }, "\(answer)")
            #expect(answer.output.hasSuffix("to the end"), "\(answer)")
            let end = try gate.record("USER_END")
            #expect(end["in"] == "10")
            #expect(end["out"] == "\(answer.output.utf8.count)")
        }
    }

    /// The monitor itself, and what it starts, are where they were.
    @Test func theGatewayStaysInTheHostsNetwork() throws {
        try Gateway.with(Rules.words) { gate throws in
            let host = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            for member in gate.members where member.arguments.hasPrefix("portcullis") {
                let link = "/proc/\(member.pid)/ns/net"
                #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == host, "\(member)")
            }
        }
    }

    // MARK: Process numbers

    /// Since Linux 6.14 a process namespace has a highest number of its own.
    static let hasOwnNumbers: Bool = {
        let release = Files.text("/proc/sys/kernel/osrelease").split(whereSeparator: { !$0.isNumber })
        guard release.count >= 2, let major = Int(release[0]), let minor = Int(release[1]) else { return false }
        return (major, minor) >= (6, 14) && Files.exists("/proc/sys/kernel/ns_last_pid")
    }()

    /// Forks as long as it can, prints how often it could and why not any more, and ends; its children stay.
    private static let bomb =
        "$| = 1; my $n = 0; while (defined(my $p = fork)) { if (!$p) { sleep 60; exit } last if ++$n > 200 } "
        + "print \"$n $!\\n\""

    @Test(.enabled(if: hasOwnNumbers, "needs Linux 6.14"), arguments: ["alice", "root"])
    func processesAreBoundedAndCountTheSessionsAlone(account: String) throws {
        var setup = Gateway.Setup(
            """
            sandbox few extends standard {
                limit processes 20
            }
            permit any: rsh from 127.0.0.0/8 by any as { alice root } run any sandbox few
            """)
        setup.rsh = "trust rule\n    account none"
        try Gateway.with(setup) { gate throws in
            // Another session of the same account that has all its processes takes none of this one's.
            let other = try Conversation.rsh(
                gate, by: "root", as: account, "/usr/bin/perl -e '\(Self.bomb); sleep 60'")
            #expect(String(decoding: other.primary.receive(count: 4), as: UTF8.self) == "\019 ", "the other")
            let answer = try Conversation.rsh(gate, by: "root", as: account, "/usr/bin/perl -e '\(Self.bomb)'").answer()
            #expect(answer.output == "19 Resource temporarily unavailable\n", "\(answer)")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == "processes")
            #expect(end["status"] == "0")
            // Where the host's control groups have controllers, they hold it instead.
            let limits = try gate.record("USER_CMD")["limits"]
            #expect(limits == (Host.hasControllers ? "rlimit+cgroup" : "rlimit+namespace"), "\(limits ?? "")")
            other.primary.reset()
        }
    }

    /// A command that leaves something behind, and could have had more, was not stopped by the limit.
    @Test(.enabled(if: hasOwnNumbers, "needs Linux 6.14"))
    func whatIsLeftBelowTheLimitIsNoLimit() throws {
        try Gateway.with(Rules.shell("standard")) { gate throws in
            let answer = try Conversation.rexec(gate, as: "alice", "sleep 60 & sleep 60 & echo x").answer()
            #expect(answer.output == "x\n")
            let end = try gate.record("USER_END")
            #expect(end["limit"] == nil, "\(end.text)")
        }
    }
}
