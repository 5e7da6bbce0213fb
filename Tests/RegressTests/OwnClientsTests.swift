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

    @Test(arguments: [SIGHUP, SIGINT, SIGQUIT, SIGTERM]) func signalsAreForwarded(signal: Int32) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let words = [
                "-P", "\(gate.endpoint(.rexec).port)", "-n", "-l", Gateway.target, "-p", Gateway.password,
                "\(gate.address)", gate.line("echo started; exec sleep 60"),
            ]
            let client = try Child(Host.own("rexec"), words)
            #expect(gate.wait { client.outSoFar == "started\n" })
            client.send(signal)
            #expect(client.wait(within: 15_000) != .stillRunning)
            #expect(try gate.record("USER_END")["signal"] == "\(signal)")
        }
    }

    /// stdin to stdout and to stderr: a socket has no /dev/stderr that tee could open.
    private let twice =
        "perl -e 'while (sysread STDIN, $_, 65536) { syswrite STDOUT, $_; syswrite STDERR, $_ }'"

    /// More than every buffer on the way: a client that only wrote, or only read, would hang.
    @Test(arguments: [false, true]) func largeDataGoesBothWaysAtOnce(together: Bool) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let text = String(repeating: "neither here nor there\n", count: 400_000)
            let file = gate.directory + "/large"
            try Files.write(text, to: file, mode: 0o600)
            let words = ["-n", "-l", Gateway.target, "-p", Gateway.password] + (together ? ["-a"] : [])
            let command = together ? "cat; echo end" : twice + "; echo end"
            let result = try rexec(gate, words + ["\(gate.address)", gate.line(command)], stdin: file)
            #expect(result.outcome == .status(0))
            #expect(result.outText == text + "end\n")
            #expect(result.errText == (together ? "" : text))
        }
    }

    /// The number of a closed stream would be the next socket's, and that socket the command's stdin.
    @Test func aClosedStreamIsAnEmptyOne() throws {
        try Gateway.with(Rules.words) { gate throws in
            let port = "\(gate.endpoint(.rexec).port)"
            let words = ["-P", port, "-n", "-l", Gateway.target, "-p", Gateway.password, "\(gate.address)", "/bin/cat"]
            let closing = ["-c", "exec \"$0\" \"$@\" <&- 2>&-", Host.own("rexec")]
            let result = try Child.run("/bin/sh", closing + words)
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.out == [])
        }
    }

    @Test func theSixthVersionOfTheInternetIsCalledWhereItIsAskedFor() throws {
        var setup = Gateway.Setup(Rules.shell().replacingOccurrences(of: "127.0.0.0/8", with: "::1"))
        setup.address = IPAddress("::1")
        try Gateway.with(setup) { gate throws in
            let login = ["-6", "-n", "-l", Gateway.target, "-p", Gateway.password]
            let result = try rexec(gate, login + ["::1", gate.line("echo out; echo err >&2")])
            #expect(result.outText == "out\n", "\(result)")
            #expect(result.errText == "err\n")
            let other = try rexec(gate, ["-4", "-n", "-l", "x", "-p", "x", "::1", "id"])
            #expect(other.outcome == .status(1))
        }
    }

    @Test(arguments: ["rexec", "rsh"]) func aStrangersRefusalReachesNoTerminalRaw(client: String) throws {
        let listener = try Socket.listen(on: try #require(IPAddress("127.0.0.1")))
        let words = ["-P", "\(try listener.local.port)"]
        let login = client == "rexec" ? ["-a", "-n", "-l", "x", "-p", "x"] : ["-n", "-l", "x"]
        let child = try Child(Host.own(client), words + login + ["127.0.0.1", "id"])
        let server = try #require(try listener.accept(within: 20_000))
        // Before the names, so that rsh need not be called back first.
        server.send("\u{1}\u{1B}]0;title\u{7}\u{1B}[2Jno%n\n")
        let result = child.finish()
        #expect(result.outcome == .status(1))
        #expect(result.errText.hasPrefix("\\x1b]0;title\\x07\\x1b[2Jno%n\n"), "\(result)")
        #expect(result.outText == "")
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
            let file = gate.directory + "/stdin"
            try Files.write("for nobody\n", to: file, mode: 0o600)
            let unread = try Child.run(Host.own("rsh"), ["\(gate.address)", "-nl", "alice", "cat"], stdin: file)
            #expect(unread.outcome == .status(0), "\(unread)")
            #expect(unread.outText == "")
            let refused = try Child.run(Host.own("rsh"), ["-n", "\(gate.address)", "-l", "bob", "id"])
            #expect(refused.outcome == .status(1))
            #expect(refused.errText.contains("Permission denied."))
        }
    }
}
