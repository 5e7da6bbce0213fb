// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// What a session tells the kernel's audit subsystem is as true as what is on the trail.
@Suite("The kernel's trail", .needsBuild, .needs("perl"), .needsKernelRecords, .needsAuditing)
struct KernelTrailTests {
    /// Prints each record that the kernel gives out: its type, and its text (linux/audit.h, AUDIT_NLGRP_READLOG).
    private static let listening = """
        use Socket; socket(my $s, 16, SOCK_RAW, 9) or die "socket: $!"; bind($s, pack("SSLL", 16, 0, 0, 1)) or die "bind: $!";
        $| = 1; print "listening\n";
        while (sysread($s, my $b, 65536)) { my (undef, $type) = unpack("LS", $b); print "$type ", substr($b, 16), "\n" }
        """

    private static let command = "1123"
    private static let authentication = "1100"

    private func listener(_ gate: Gateway) throws -> Child {
        let child = try Child("/usr/bin/perl", ["-e", Self.listening])
        let isListening = gate.wait { child.outSoFar.contains("listening") }
        try #require(isListening)
        return child
    }

    private func records(_ listener: Child, _ type: String, with text: String) -> [Substring] {
        listener.outSoFar.split(separator: "\n").filter { $0.hasPrefix("\(type) ") && $0.contains(text) }
    }

    private func setup() -> Gateway.Setup {
        var setup = Gateway.Setup("permit all: rexec from 127.0.0.0/8 as \(Gateway.target) run any")
        setup.audit = "kernel auto"
        setup.rexec = "authenticate file \"credentials\"\n    authentication-timeout 2s"
        return setup
    }

    /// A client who is permitted could otherwise have any text there as a command that ran.
    @Test func aCommandThatNeverRanIsNoneThere() throws {
        try Gateway.with(setup()) { gate throws in
            let heard = try listener(gate)
            let auditor = try #require(gate.helper("auditor"))
            kill(auditor.pid, SIGSTOP)
            let refused = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/printf never-6611").answer()
            kill(auditor.pid, SIGCONT)
            #expect(!refused.isAccepted, "\(refused)")
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/printf 6612").answer().output == "6612")
            let session = try #require(try gate.record("USER_CMD") { $0["res"] == "success" }["session"])
            #expect(gate.wait { !records(heard, Self.command, with: session).isEmpty })
            // A command with a blank is in hexadecimal there.
            let never = "never-6611".utf8.map { String($0, radix: 16, uppercase: true) }.joined()
            #expect(records(heard, Self.command, with: never).isEmpty)
        }
    }

    /// As with sshd: who proves a password has no login identity yet.
    @Test func aPasswordCheckIsNobodysLogin() throws {
        try Gateway.with(setup()) { gate throws in
            let heard = try listener(gate)
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/true").answer().isAccepted)
            let session = try #require(try gate.record("USER_AUTH")["session"])
            #expect(gate.wait { !records(heard, Self.authentication, with: session).isEmpty })
            let record = try #require(records(heard, Self.authentication, with: session).first)
            #expect(record.contains(" auid=4294967295 ses=4294967295 "), "\(record)")
        }
    }
}
