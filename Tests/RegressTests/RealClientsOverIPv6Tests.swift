// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The clients that speak IPv6, at the services' ports of ::1, which none but these tests use: one after the other.
@Suite("Real clients over IPv6, unmodified", .serialized, .needsBuild, .needsRoot)
struct RealClientsOverIPv6Tests {
    private func with(_ rules: String, _ body: (Gateway) throws -> Void) throws {
        var setup = Gateway.Setup(rules.replacingOccurrences(of: "127.0.0.0/8", with: "::1"))
        setup.address = IPAddress("::1")
        setup.atServicePorts = true
        try Gateway.with(setup, body)
    }

    @Test(.needs("netkit-rsh"), .needs("rsh-redone-rsh"), arguments: ["netkit-rsh", "rsh-redone-rsh", "rsh"])
    func anRshRunsACommandAndKeepsStderrApart(client: String) throws {
        let program = client == "rsh" ? Host.own("rsh") : try #require(Host.program(client))
        try with(Rules.shell()) { gate throws in
            let result = try Child.run(program, ["-l", "alice", "::1", "echo out; echo err >&2"])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\n")
            // rsh-redone 85 writes zero bytes of the secondary, whichever server it talks to.
            if client != "rsh-redone-rsh" { #expect(result.errText == "err\n") }
            #expect(try gate.record("USER_END")["addr"] == "::1")
        }
    }

    @Test(.needs("rsync"), .needs("netkit-rsh"), arguments: ["netkit-rsh", "rsh"])
    func rsyncCopiesAFile(by client: String) throws {
        let rsh = client == "rsh" ? Host.own("rsh") : try #require(Host.program(client))
        let rules = "permit rsync: rsh from ::1 by root as alice run \"/usr/bin/rsync --server *\" sandbox home"
        try with(rules) { gate throws in
            let file = gate.directory + "/file"
            try Files.write("over IPv6\n", to: file, mode: 0o644)
            let there = "alice@[::1]:\(gate.home("alice"))/copy"
            let result = try Child.run(try #require(Host.program("rsync")), ["-e", rsh, file, there])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(Files.text(gate.home("alice") + "/copy") == "over IPv6\n")
        }
    }

    @Test func ourRexecRunsACommand() throws {
        try with(Rules.shell()) { gate throws in
            let words = ["-n", "-l", "alice", "-p", Gateway.password, "::1", "echo out; echo err >&2"]
            let result = try Child.run(Host.own("rexec"), words)
            #expect(result.outText == "out\n", "\(result)")
            #expect(result.errText == "err\n")
        }
    }
}
