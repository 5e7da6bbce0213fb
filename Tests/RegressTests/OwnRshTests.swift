// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What our own rsh does beyond running a command, against our own gateway.
@Suite("Our own rsh", .needsBuild, .needsRoot)
struct OwnRshTests {
    @Test(arguments: [SIGHUP, SIGINT, SIGQUIT, SIGTERM]) func signalsAreForwarded(signal: Int32) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Child(Host.own("rsh"), ["-l", "alice", "\(gate.address)", "echo started; exec sleep 60"])
            #expect(gate.wait { client.outSoFar == "started\n" })
            client.send(signal)
            #expect(client.wait(within: 15_000) != .stillRunning)
            #expect(try gate.record("USER_END")["signal"] == "\(signal)")
        }
    }

    /// More than every buffer on the way, to stdout and stderr at once.
    @Test func largeDataGoesBothWaysAtOnce() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let text = String(repeating: "neither here nor there\n", count: 400_000)
            let file = gate.directory + "/large"
            try Files.write(text, to: file, mode: 0o600)
            let twice =
                "perl -e 'while (sysread STDIN, $_, 65536) { syswrite STDOUT, $_; syswrite STDERR, $_ }'; echo end"
            let result = try Child.run(Host.own("rsh"), ["-l", "alice", "\(gate.address)", twice], stdin: file)
            #expect(result.outcome == .status(0))
            #expect(result.outText == text + "end\n")
            #expect(result.errText == text)
        }
    }
}
