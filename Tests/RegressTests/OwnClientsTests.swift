// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The clients that come with the gateway, for hosts where no others are.
@Suite("Our own rexec and rsh", .needsBuild)
struct OwnClientsTests {
    private func rexec(_ gate: Gateway, _ words: [String], stdin: String = "/dev/null") throws -> Child.Result {
        let port = ["-P", "\(gate.endpoint(.rexec).port)"]
        return try Child.run(
            Host.own("rexec"), port + words, stdin: stdin, environment: ["HOME": gate.directory, "NETRC": ""])
    }

    @Test func rexecRunsACommand() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let words = [
                "-n", "-l", Gateway.target, "-p", Gateway.password, "\(gate.address)",
                gate.line("echo out; echo err >&2"),
            ]
            let result = try rexec(gate, words)
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\n")
            #expect(result.errText == "err\n")
        }
    }

    @Test func rexecTakesOptionsAfterTheHostAndThePasswordFromStdin() throws {
        try Gateway.with(Rules.words) { gate throws in
            let file = gate.directory + "/stdin"
            try Files.write("\(Gateway.password)\nfor the command\n", to: file, mode: 0o600)
            let words = ["\(gate.address)", "-l", Gateway.target, "-n", "-a", "-p", "-", "/bin/cat"]
            let result = try rexec(gate, words, stdin: file)
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "for the command\n")
        }
    }

    @Test func aRefusalIsStatusOneAndItsText() throws {
        try Gateway.with(Rules.words) { gate throws in
            let result = try rexec(gate, ["-n", "-l", Gateway.target, "-p", "wrong", "\(gate.address)", "id"])
            #expect(result.outcome == .status(1))
            #expect(result.outText == "")
            #expect(result.errText.contains("Login incorrect."))
        }
    }

    @Test func aUsageErrorIsStatus64() throws {
        #expect(try Child.run(Host.own("rexec"), ["-?"]).outcome == .status(64))
        #expect(try Child.run(Host.own("portcullis"), ["no-such-verb"]).outcome == .status(64))
    }

    @Test func signalsAreForwarded() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let words = [
                "-P", "\(gate.endpoint(.rexec).port)", "-n", "-l", Gateway.target, "-p", Gateway.password,
                "\(gate.address)", gate.line("echo started; exec sleep 60"),
            ]
            let client = try Child(Host.own("rexec"), words)
            #expect(gate.wait { client.outSoFar == "started\n" })
            client.send(SIGINT)
            #expect(client.wait(within: 15_000) != .stillRunning)
            #expect(try gate.record("USER_END")["signal"] == "2")
        }
    }

    @Test func netrcIsReadOnlyWhereItIsTheCallersAlone() throws {
        try Gateway.with(Rules.words) { gate throws in
            let netrc = gate.directory + "/.netrc"
            let text = "machine \(gate.address) login \(Gateway.target) password \(Gateway.password)\n"
            let port = "\(gate.endpoint(.rexec).port)"
            func run() throws -> Child.Result {
                try Child.run(
                    Host.own("rexec"), ["-P", port, "\(gate.address)", "/bin/echo x"],
                    environment: ["HOME": gate.directory])
            }
            try Files.write(text, to: netrc, mode: 0o600)
            let good = try run()
            #expect(good.outText == "x\n", "\(good)")
            Files.set(netrc, mode: 0o644)
            #expect(try run().outText == "", "a .netrc that others can read was used")
        }
    }

    @Test(.needsRoot) func rshRunsACommand() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let words = ["-l", "alice", "\(gate.address)", "echo out; echo err >&2"]
            let result = try Child.run(Host.own("rsh"), words)
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\n")
            #expect(result.errText == "err\n")
            let refused = try Child.run(Host.own("rsh"), ["-n", "\(gate.address)", "-l", "bob", "id"])
            #expect(refused.outcome == .status(1))
            #expect(refused.errText.contains("Permission denied."))
        }
    }
}
