// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What went wrong in other servers and clients of these protocols, by its number.
@Suite("Published vulnerabilities of peers", .needsBuild)
struct PublishedVulnerabilitiesTests {
    private let rexecRefusal = Array("\u{1}Login incorrect.\n".utf8)
    private let rshRefusal = Array("\u{1}Permission denied.\n".utf8)

    /// rlogind passed the user `-froot` to login(1), and telnetd did again 27 years later (CVE-2026-24061).
    @Test(.needsRoot, arguments: ["-froot", "-f root", "-h", "--"])
    func cve19990113AUserThatBeginsWithADash(name: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            #expect(try Conversation.rsh(gate, by: name, as: "alice", "id").answer().primary == rshRefusal)
            #expect(try Conversation.rsh(gate, as: name, "id").answer().primary == rshRefusal)
            #expect(try Conversation.rexec(gate, as: name, "id").answer().primary == rexecRefusal)
            #expect(gate.wait { gate.refusals == 3 })
            #expect(gate.trail.compactMap { $0["reason"] }.allSatisfy { $0 == "protocol" })
        }
    }

    /// rshd took an empty user name, and glibc's iruserok(3) still matches one.
    @Test(.needsRoot) func cve19990180AnEmptyUserName() throws {
        try Gateway.with(Rules.words) { gate throws in
            #expect(try Conversation.rsh(gate, by: "", as: "alice", "id").answer().primary == rshRefusal)
            #expect(try Conversation.rsh(gate, as: "", "id").answer().primary == rshRefusal)
        }
    }

    /// rshd told whether a user exists by its text.
    @Test(.needsRoot) func cve19991266TheTextForAUserThatExistsAndOneThatDoesNot() throws {
        var setup = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as { alice, ghost } run any")
        setup.rsh = "trust rhosts\n    account none"
        try Gateway.with(setup) { gate throws in
            let exists = try Conversation.rsh(gate, as: "alice", "id").answer()
            let missing = try Conversation.rsh(gate, as: "ghost", "id").answer()
            #expect(exists.primary == missing.primary)
            #expect(exists.primary == rshRefusal)
        }
    }

    /// Port 20 is ftp-data: an FTP server can be made to call from it.
    @Test(.needsRoot, arguments: [UInt16(20), 21, 23, 511])
    func cve19990185AConnectionFromThePortOfAnotherService(port: UInt16) throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FB00 | UInt32.random(in: 1...250))
            let socket = try Socket.connect(to: gate.endpoint(.rsh), from: source, port: port)
            socket.send("\0alice\0alice\0id\0")
            #expect(socket.receive(count: 100) == rshRefusal)
            #expect(try gate.lastReason() == "source-port")
        }
    }

    /// A `+` in hosts.equiv believed everybody.
    @Test(.needsRoot, arguments: ["+\n", "+ +\n", "+ alice\n", "127.0.0.1 +\n"])
    func cve19990515APlusInHostsEquiv(text: String) throws {
        var setup = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as alice run any")
        setup.rsh = "trust rhosts\n    account none"
        try Gateway.with(setup, start: false) { gate throws in
            try gate.writeEtc("hosts.equiv", text)
            try gate.start()
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().primary == rshRefusal)
            #expect(try gate.lastReason() == "untrusted")
        }
    }

    /// The service was there although nobody had asked for it.
    @Test func cve19990618AServiceIsOffUntilThePolicySaysEnable() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = nil
        setup.rsh = nil
        try Gateway.with(setup, start: false) { gate throws in
            try gate.launch()
            gate.wait(within: 5_000) { gate.log.contains("ready:") || gate.daemon?.wait(within: 0) != .stillRunning }
            #expect(throws: HarnessError.self) { try Socket.connect(to: gate.endpoint(.rexec)) }
            #expect(throws: HarnessError.self) { try Socket.connect(to: gate.endpoint(.rsh)) }
        }
    }

    /// Long strings crashed the Denicomp daemons, and Windows' rshd (CVE-2007-4005, CVE-2007-4006) ran them.
    @Test(arguments: [1_000, 100_000, 4_000_000])
    func cve20010707ALongString(length: Int) throws {
        try Gateway.with(Rules.words) { gate throws in
            let before = try #require(gate.helper("front")).pid
            let long = [UInt8](repeating: 0x41, count: length)
            for at in 0..<3 {
                var fields = [Array(Gateway.target.utf8), Array(Gateway.password.utf8), Array("id".utf8)]
                fields[at] = long
                let answer = try Conversation(.rexec, of: gate, fields: fields).answer()
                #expect(!answer.isAccepted)
            }
            #expect(try #require(gate.helper("front")).pid == before, "front died")
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
        }
    }

    /// netkit's and inetutils' rshd stayed root where setuid failed (CVE-2006-3083, CVE-2023-40303): RLIMIT_NPROC makes it fail.
    @Test(.needsRoot) func cve202340303AFailedChangeOfIdentityIsNoRunAsRoot() throws {
        let rules = """
            sandbox tight extends strict {
                limit processes 1
            }
            permit all: rexec from 127.0.0.0/8 as alice run any sandbox tight
            """
        try Gateway.with(rules) { gate throws in
            // The account has a process already, so one more is over its limit.
            let busy = try Child(
                "/usr/bin/setpriv", ["--reuid=4100", "--regid=4100", "--clear-groups", "--", "/bin/sleep", "60"])
            Moment.sleep(100)
            for _ in 0..<3 {
                let answer = try Conversation.rexec(gate, as: "alice", "/usr/bin/id -u").answer()
                #expect(answer.output == "" || answer.output == "4100\n" || answer.output.contains("id"), "\(answer)")
                #expect(!answer.output.hasPrefix("0"), "it ran as root")
            }
            busy.send(SIGKILL)
        }
    }

    /// netkit's rcp server built a shell command from a file name (susystem).
    @Test func cve202338336AFileNameIsNoShellCommand() throws {
        let rules = "permit cat: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/cat <path /etc>\""
        try Gateway.with(rules) { gate throws in
            let mark = gate.directory + "/marked"
            for name in [
                "/etc/x;touch \(mark)", "/etc/$(touch \(mark))", "/etc/`touch \(mark)`", "/etc/x|touch \(mark)",
            ] {
                #expect(
                    try Conversation.rexec(gate, as: Gateway.target, "cat \(name)").answer().primary == rexecRefusal)
                #expect(try gate.lastReason() == "needs-shell")
                let quoted = try Conversation.rexec(gate, as: Gateway.target, "cat '\(name)'").answer()
                #expect(!quoted.output.contains("root:"))
            }
            for name in ["/etc/../root/x", "/etc//passwd", "/etc/./passwd", "../etc/passwd", "/etcetera", "-n"] {
                #expect(
                    try Conversation.rexec(gate, as: Gateway.target, "cat \(name)").answer().primary == rexecRefusal)
            }
            #expect(!Files.exists(mark))
        }
    }

    /// Names were looked up in DNS, whose answer its owner chose (CVE-2024-10963, and every ruserok(3) before it).
    @Test(.needsRoot) func cve202410963ANameInATrustFileIsNotLookedUp() throws {
        var setup = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as alice run any")
        setup.rsh = "trust rhosts\n    account none"
        try Gateway.with(setup, start: false) { gate throws in
            try gate.writeEtc("hosts", "127.0.0.1 localhost trusted\n")
            try gate.writeRhosts(of: "alice", "trusted\nlocalhost\n")
            try gate.start()
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().primary == rshRefusal)
        }
    }

    /// Port fields were added up in 16 bits without a look at the digits: 66559 was 1023.
    @Test(.needsRoot) func portNumbersDoNotWrap() throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FA00 | UInt32.random(in: 1...250))
            let listener = try Socket.listen(on: source, port: 1023)
            let socket = try Socket.connectReserved(to: gate.endpoint(.rsh), from: source)
            socket.send("66559\0alice\0alice\0id\0")
            #expect(socket.receive(count: 100) == rshRefusal)
            #expect(try listener.accept(within: 0) == nil)
        }
    }

    /// Printf-style replies and raw log lines: what a client sends comes back nowhere, and reaches no log raw.
    @Test func formatsAndEscapesReachNothingRaw() throws {
        try Gateway.with(Rules.words) { gate throws in
            for text in ["%n%n%n%s", "\u{1B}]0;x\u{7}", "\n1970-01-01 forged", "\u{202E}txt"] {
                for fields in [[text, "x", "id"], ["nobody-here", text, "id"], ["nobody-here", "x", "id " + text]] {
                    let bytes = fields.map { Array($0.utf8) }
                    #expect(try Conversation(.rexec, of: gate, fields: bytes).answer().primary == rexecRefusal)
                }
            }
            #expect(gate.wait { gate.refusals == 12 })
            for text in [Files.read(gate.trailPath), Files.read(gate.logPath)] {
                #expect(text.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
            }
            #expect(!gate.log.contains("1970-01-01 forged") || gate.log.contains("\\x0a1970"))
        }
    }

    /// Two names that look alike are not the same name: Swift's `String ==` holds for different bytes.
    @Test func namesAndCommandsCompareAsBytes() throws {
        let rules = "permit composed: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/echo '\u{E9}'\""
        try Gateway.with(rules) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/echo \u{E9}").answer().isAccepted)
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/echo e\u{301}").answer().status == 1)
        }
    }
}
