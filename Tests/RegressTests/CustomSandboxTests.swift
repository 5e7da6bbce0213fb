// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The items of a sandbox that a policy writes, each seen by a command through a real gateway.
@Suite("A sandbox that a policy writes", .needsBuild)
struct CustomSandboxTests {
    private static func rules(_ items: String, from base: String = "standard") -> String {
        """
        sandbox own extends \(base) {
            \(items)
        }
        permit any: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox own
        """
    }

    private static func run(_ items: String, _ command: String, from base: String = "standard") throws -> String {
        var output = ""
        try Gateway.with(rules(items, from: base)) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            #expect(answer.isAccepted, "\(answer)")
            output = answer.output
        }
        return output
    }

    private static func perl(_ script: String) -> String { "/usr/bin/perl -e '\(script)'" }

    @Test func setsUmaskPathAndEnvironment() throws {
        let items = """
            umask 027
                path /usr/bin:/opt/tools
                environment LANG=C.UTF-8 SITE_NAME=here
            """
        let output = try Self.run(items, Self.perl("printf \"%03o $ENV{PATH} $ENV{LANG} $ENV{SITE_NAME}\\n\", umask"))
        #expect(output == "027 /usr/bin:/opt/tools C.UTF-8 here\n")
    }

    #if arch(x86_64)
    /// Each is one call with a number of its own; the errno says who refused it. The control is `unconfined`, as far as
    /// it permits them.
    @Test(arguments: [
        // clone3 is not there, so that programs fall back to clone, whose flags can be looked at.
        ("syscall(435,0,0)", 38, 38),
        // CLONE_NEWUSER, refused everywhere.
        ("syscall(56,0x10000011,0,0,0,0)", 1, 1),
        // ADDR_NO_RANDOMIZE.
        ("syscall(135,0x40000)", 1, 0),
        // TIOCSTI on a socket: ENOTTY where it is asked.
        ("my $c=\"x\"; syscall(16,0,0x5412,$c)", 1, 1),
        // chroot of nothing: ENOENT, or EPERM for who is not root, where it is asked; so `acct`.
        ("syscall(161,0)", 1, 14),
        // A number that nobody knows.
        ("syscall(1000)", 38, 38),
    ])
    func refusesByNumberAndArgument(call: String, confined: Int, unconfined: Int) throws {
        let command = Self.perl("$! = 0; \(call); print $!+0")
        #expect(try Self.run("umask 077", command) == "\(confined)")
        #expect(try Self.run("umask 077", command, from: "unconfined") == "\(unconfined)")
    }

    @Test func endsACommandOnAViolationWhereItSaysSo() throws {
        for (word, expected) in [("errno", "status"), ("kill", "signal")] {
            try Gateway.with(Self.rules("on-violation \(word)")) { gate throws in
                let command = Self.perl("$| = 1; print \"before \"; syscall(101, 0, 0, 0, 0); print \"after $!\"")
                let answer = try Conversation.rexec(gate, as: Gateway.target, command).answer()
                let end = try gate.record("USER_END")
                #expect(answer.output == (word == "kill" ? "before " : "before after Operation not permitted"))
                #expect(end[expected] == (word == "kill" ? "31" : "0"), "\(end.text)")
            }
        }
    }

    /// What `syscalls deny` takes away, and nothing else.
    @Test func deniesWhatItNames() throws {
        let command = Self.perl(
            "print syscall(39) > 0 ? \"pid \" : \"no pid \"; print syscall(95,18) < 0 ? \"no umask\" : \"umask\"")
        #expect(try Self.run("umask 077", command) == "pid umask")
        #expect(try Self.run("syscalls allow @system-service deny umask", command) == "pid no umask")
    }
    #endif

    /// Each word of a path gives what it says: a file can be read, another written, a third executed.
    @Test(.needsRoot) func opensPathsForWhatTheyAreListedFor() throws {
        var setup = Gateway.Setup("")
        setup.rexec = "authenticate file \"credentials\""
        try Gateway.with(setup, start: false) { gate throws in
            let place = gate.directory + "/place"
            for name in ["", "/read", "/write", "/execute", "/none"] { Files.makeDirectory(place + name, mode: 0o777) }
            for name in ["read", "write", "execute", "none"] {
                try Files.write("#!/bin/sh\necho ran\n", to: "\(place)/\(name)/file", mode: 0o777, owner: 4_100)
            }
            try gate.writePolicy(
                rules: """
                    sandbox own extends strict {
                        read /usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc /proc /dev/null \(place)/read
                        write /dev/null \(place)/write
                        execute /usr /bin /sbin /lib /lib32 /lib64 /libx32 \(place)/execute
                    }
                    permit any: rexec from 127.0.0.0/8 as alice run any sandbox own
                    """)
            try gate.start()
            let script = """
                for my $n (qw(read write execute none)) { my $f = "\(place)/$n/file"; my $r = "";
                $r .= open(my $h, "<", $f) ? "r" : "-"; $r .= open($h, ">>", $f) ? "w" : "-";
                my $s = system {$f} ($f); $r .= $s ? "-" : "x"; print "$n $r\\n" }
                """
            let command = Self.perl(script.replacingOccurrences(of: "\n", with: " "))
            let answer = try Conversation.rexec(gate, as: "alice", command).answer()
            let lines = answer.output.split(separator: "\n").filter { $0 != "ran" }
            #expect(lines == ["read r--", "write rw-", "execute r-x", "none ---"], "\(answer)")
        }
    }
}
