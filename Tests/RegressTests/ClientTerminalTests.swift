// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// rexec asks at the terminal for what it was not told: on a pseudo-terminal of script(1)'s, with keys from a pipe.
@Suite("rexec at a terminal", .needsBuild, .needs("script"))
struct ClientTerminalTests {
    /// A shell at a terminal of its own, and the keys that a person presses there.
    private struct Person {
        let terminal: Child
        private let keys: FileHandle

        init(_ gate: Gateway, _ commands: String) throws {
            let pipe = gate.directory + "/keys"
            _ = try Child.run("/usr/bin/mkfifo", [pipe])
            keys = try #require(FileHandle(forUpdatingAtPath: pipe))
            let script = try #require(Host.program("script"))
            let environment = ["SHELL": "/bin/sh", "HOME": gate.directory, "NETRC": "", "TERM": "dumb"]
            terminal = try Child(
                script, ["--quiet", "--command", commands, "/dev/null"], stdin: pipe, environment: environment)
        }

        func press(_ text: String) throws { try keys.write(contentsOf: Data(text.utf8)) }
    }

    private func rexec(_ gate: Gateway, _ words: String) -> String {
        "\(Host.own("rexec")) -P \(gate.endpoint(.rexec).port) \(words)"
    }

    /// stty's word for an echo that is on, with the one before it: `-echo` has it too.
    private let echoIsOn = "iexten echo "

    @Test func nameAndPasswordAreAskedForAndThePasswordIsNotShown() throws {
        try Gateway.with(Rules.words) { gate throws in
            let commands = rexec(gate, "\(gate.address) /bin/echo it ran") + "; stty -a"
            let person = try Person(gate, commands)
            #expect(gate.wait { person.terminal.outSoFar.contains("Name (\(gate.address):\(NSUserName())): ") })
            try person.press("\(Gateway.target)\n")
            #expect(gate.wait { person.terminal.outSoFar.contains("Password (\(gate.address):\(Gateway.target)): ") })
            try person.press("\(Gateway.password)\n")
            let result = person.terminal.finish()
            #expect(result.outText.contains("it ran\r\n"), "\(result)")
            #expect(!result.outText.contains(Gateway.password))
            #expect(result.outText.contains(echoIsOn), "\(result)")
        }
    }

    @Test(arguments: ["\u{3}", "\u{1C}"]) func aSignalAtTheQuestionRestoresTheTerminal(key: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let ask = rexec(gate, "-l x \(gate.address) id")
            let person = try Person(gate, "trap : INT QUIT; stty -a; \(ask); echo status $?; stty -a")
            #expect(gate.wait { person.terminal.outSoFar.contains("Password (\(gate.address):x): ") })
            try person.press(key)
            let result = person.terminal.finish()
            let status = key == "\u{3}" ? 130 : 131
            #expect(result.outText.contains("status \(status)\r\n"), "\(result)")
            #expect(result.outText.components(separatedBy: echoIsOn).count == 3, "\(result)")
            #expect(gate.refusals == 0, "the server was called")
        }
    }

    @Test(.needs("setsid")) func withoutATerminalAMissingPasswordIsAnErrorAndNoQuestion() throws {
        let setsid = try #require(Host.program("setsid"))
        let words = ["--wait", Host.own("rexec"), "-n", "-l", "x", "127.0.0.1", "id"]
        let result = try Child.run(setsid, words)
        #expect(result.outcome == .status(1))
        #expect(result.errText == "rexec: no password: try -p - with the password on stdin, or a .netrc\n")
    }
}
