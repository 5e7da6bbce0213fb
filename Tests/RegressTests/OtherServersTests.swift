// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Our rexec and rsh with the servers that are out there, each with habits of its own.
@Suite("Our own rexec and rsh, with other servers", .needsBuild, .needsRoot)
struct OtherServersTests {
    private let hosts = ["127.0.0.1", "::1", "localhost"]
    private let both = "echo out; echo err >&2"
    /// stdin to stdout and to stderr: a socket has no /dev/stderr that tee could open.
    private let twice = "perl -e 'while (sysread STDIN, $_, 65536) { syswrite STDOUT, $_; syswrite STDERR, $_ }'"

    /// A server of a maker's for the time of a closure.
    private func with(_ maker: OtherServer.Maker, _ body: (OtherServer, Gateway) throws -> Void) throws {
        try Gateway.with(Gateway.Setup(""), start: false) { gate throws in
            try body(try OtherServer(maker, gate), gate)
        }
    }

    /// More than every buffer on the way, so that a client that only writes, or only reads, hangs.
    private func large(_ gate: Gateway) throws -> (path: String, text: String) {
        let text = String(repeating: "neither here nor there\n", count: 400_000)
        let path = gate.directory + "/large"
        try Files.write(text, to: path, mode: 0o600)
        return (path, text)
    }

    // MARK: - rsh

    @Test(.needsServer(.netkit)) func rshRunsACommandOfNetkits() throws {
        try rshRunsACommand(.netkit)
    }

    @Test(.needsServer(.redone)) func rshRunsACommandOfRedones() throws {
        try rshRunsACommand(.redone)
    }

    private func rshRunsACommand(_ maker: OtherServer.Maker) throws {
        try with(maker) { server, _ in
            for host in hosts {
                let result = try server.run(Host.own("rsh"), ["-l", "alice", host, both])
                #expect(result.outcome == .status(0), "\(result)")
                #expect(result.outText == "out\n")
                #expect(result.errText == "err\n")
            }
        }
    }

    @Test(.needsServer(.netkit)) func rshCarriesLargeDataBothWaysAtOnceWithNetkits() throws {
        try rshCarriesLargeData(.netkit)
    }

    @Test(.needsServer(.redone)) func rshCarriesLargeDataBothWaysAtOnceWithRedones() throws {
        try rshCarriesLargeData(.redone)
    }

    private func rshCarriesLargeData(_ maker: OtherServer.Maker) throws {
        try with(maker) { server, gate in
            let (path, text) = try large(gate)
            let words = ["localhost", "-l", "alice", "\(twice); echo end"]
            let result = try server.run(Host.own("rsh"), words, stdin: path)
            #expect(result.outcome == .status(0))
            #expect(result.outText == text + "end\n")
            #expect(result.errText == text)
        }
    }

    @Test(.needsServer(.netkit)) func rshShowsNetkitsRefusal() throws {
        try with(.netkit) { server, _ in
            let result = try server.run(Host.own("rsh"), ["-n", "-l", "bob", "localhost", "id"])
            #expect(result.outcome == .status(1), "\(result)")
            #expect(result.errText == "Permission denied.\n")
            #expect(result.outText == "")
        }
    }

    /// It says yes first and asks PAM afterwards: its refusal is output like any other.
    @Test(.needsServer(.redone)) func rshShowsRedonesRefusalAsTheOutputThatItIs() throws {
        try with(.redone) { server, _ in
            let result = try server.run(Host.own("rsh"), ["-n", "-l", "bob", "localhost", "id"])
            #expect(result.outText + result.errText == "Authentication failure\n", "\(result)")
        }
    }

    @Test(.needsServer(.netkit)) func rshForwardsSignalsToNetkits() throws {
        try with(.netkit) { server, gate in
            // A shell that gets a signal just before it starts a long sleep looks at it when that has ended.
            let loop = "while :; do sleep 0.05; done"
            let command = "for s in 1 2 3 15; do trap \"echo $s; exit\" $s; done; echo started; \(loop)"
            for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
                let client = try server.client(Host.own("rsh"), ["-l", "alice", "localhost", command])
                #expect(gate.wait { client.outSoFar == "started\n" })
                client.send(signal)
                let result = client.finish()
                #expect(result.outcome == .status(0), "\(result)")
                #expect(result.outText == "started\n\(signal)\n")
            }
        }
    }

    /// Each takes two reserved ports of the client's, and servers that hang up first leave theirs in TIME_WAIT.
    @Test(.needsServer(.netkit)) func rshFindsPortsAgainAndAgain() throws {
        try with(.netkit) { server, _ in
            for number in 0..<25 {
                let result = try server.run(Host.own("rsh"), ["-n", "-l", "alice", "localhost", "echo \(number)"])
                #expect(result.outText == "\(number)\n", "\(result)")
            }
        }
    }

    // MARK: - rexec

    private let login = ["-l", "alice", "-p", Gateway.password]

    @Test(.needsServer(.netkit, "in.rexecd")) func rexecRunsACommandOfNetkits() throws {
        try with(.netkit) { server, _ in
            for host in hosts {
                let result = try server.run(Host.own("rexec"), login + [host, both])
                #expect(result.outcome == .status(0), "\(result)")
                #expect(result.outText == "out\n")
                #expect(result.errText == "err\n")
            }
            let result = try server.run(Host.own("rexec"), ["localhost", "-a"] + login + [both])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\nerr\n")
            #expect(result.errText == "")
        }
    }

    @Test(.needsServer(.netkit, "in.rexecd")) func rexecCarriesLargeDataBothWaysAtOnceWithNetkits() throws {
        try with(.netkit) { server, gate in
            let (path, text) = try large(gate)
            let result = try server.run(Host.own("rexec"), login + ["localhost", twice], stdin: path)
            #expect(result.outcome == .status(0))
            #expect(result.outText == text)
            #expect(result.errText == text)
        }
    }

    /// Debian's hangs up on a wrong password without a word, which must not look like success.
    @Test(.needsServer(.netkit, "in.rexecd")) func rexecSaysThatNetkitsHungUp() throws {
        try with(.netkit) { server, _ in
            let result = try server.run(Host.own("rexec"), ["-l", "alice", "-p", "wrong", "localhost", "id"])
            #expect(result.outcome == .status(1), "\(result)")
            #expect(result.errText == "rexec: the server closed the connection without an answer\n")
            #expect(result.outText == "")
        }
    }

    @Test(.needsServer(.netkit, "in.rexecd")) func rexecTakesLoginAndPasswordFromNetrc() throws {
        try with(.netkit) { server, gate in
            let netrc = gate.directory + "/.netrc"
            let text = "machine elsewhere login x password y\ndefault login alice password \(Gateway.password)\n"
            try Files.write(text, to: netrc, mode: 0o600)
            let result = try server.run(Host.own("rexec"), ["localhost", "id -un"], environment: ["NETRC": netrc])
            #expect(result.outText == "alice\n", "\(result)")
        }
    }
}
