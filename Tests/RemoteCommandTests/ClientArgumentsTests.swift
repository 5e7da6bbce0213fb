// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy
import PolicyLanguage
import TestSupport
import Testing

@testable import RemoteCommand

@Suite struct ClientArgumentsTests {
    private func take(_ words: [String]) -> ClientArguments {
        ClientArguments(words.map { Array($0.utf8) }, valued: Set("lpP".utf8))
    }

    @Test(arguments: [
        ["-l", "alice", "-n", "host", "ls", "-l"], ["host", "-l", "alice", "-n", "ls", "-l"],
        ["-n", "host", "-lalice", "ls", "-l"], ["-nl", "alice", "host", "ls", "-l"],
        ["-nlalice", "--", "host", "ls", "-l"], ["-l", "bob", "-n", "host", "-l", "alice", "--", "ls", "-l"],
    ])
    func optionsStandBeforeAndAfterTheHostAndNotInTheCommand(words: [String]) {
        let taken = take(words)
        #expect(taken.host == "host")
        #expect(taken.command == ["ls", "-l"])
        #expect(taken.commandLine == "ls -l")
        #expect(taken.values[UInt8(ascii: "l")] == "alice")
        #expect(taken.options.contains("-n"))
    }

    @Test func aValueMayStartWithADashAndIsTakenAsItIs() {
        let taken = take(["-p", "-", "-l", "-froot", "host", "x"])
        #expect(taken.values[UInt8(ascii: "p")] == "-")
        #expect(taken.values[UInt8(ascii: "l")] == "-froot")
        #expect(taken.forParser == ["-p", "-", "-l", "-froot", "--", "host", "x"])
    }

    @Test func everySecretIsKeptFromTheParserAndKnown() {
        let words = ["-p", "first", "host", "-nlbob", "-psecond", "-p", "-", "x", "-p", "third"]
        let taken = ClientArguments(words.map { Array($0.utf8) }, valued: Set("lpP".utf8), secret: Set("p".utf8))
        #expect(taken.secrets == ["first", "second"])
        #expect(taken.values[UInt8(ascii: "p")] == "-")
        #expect(
            taken.forParser
                == ["-p", "*", "-n", "-l", "bob", "-p", "*", "-p", "-", "--", "host", "x", "-p", "third"])
    }

    @Test func theCommandsWordsAreBytes() {
        let taken = ClientArguments([Array("host".utf8), [0xFF, 0x20], [0xC3]], valued: [])
        #expect(taken.commandLine.bytes == [0xFF, 0x20, 0x20, 0xC3])
    }

    @Test(arguments: [[], ["-n"], ["host"], ["-l"], ["--"], ["--help"]] as [[String]])
    func whatIsMissingIsLeftForTheParserToSay(words: [String]) {
        let taken = take(words)
        #expect(taken.command.isEmpty)
        _ = taken.forParser
    }
}

@Suite struct SecureTCPIPStatementTests {
    @Test(arguments: [
        ("", false), ("policy 1\n", false), ("securetcpip on\n", false), ("securetcpip off\n", true),
        ("securetcpip on except netrc\n", true), ("securetcpip on except rsh, netrc\n", true),
        ("securetcpip on except rsh,rcp\n", false), ("# securetcpip off\n", false),
        ("securetcpip on \\\n  except netrc\n", true), ("  securetcpip   off # all\n", true),
        ("permit x: rsh from any by any as any run any\nsecuretcpip off", true),
        ("securetcpip on # except netrc\n", false),
    ])
    func onlyTheStatementDecides(text: String, allows: Bool) {
        #expect(SecureTCPIPStatement.allowsNetrc(text: Array(text.utf8)) == allows)
    }

    /// What the policy's own parser takes means the same to both. A failure prints the text.
    @Test func thePolicysParserAgrees() throws {
        var generator = SeededGenerator(seed: 12)
        let pieces = [
            "securetcpip", "securetcpip", "on", "off", "except", "netrc", "rsh", "rhosts", "rcp", ",", ", ", " ", "\t",
            "\n", "\n", "\r\n", "\\\n", " \\\n ", "#", "# ", "# securetcpip off\n", "policy 1\n",
            "refusal { delay 2s rexec \"securetcpip\" }\n", "refusal {\n delay 2s\n}\n",
            "securetcpip on except ", "securetcpip off", "search-path /usr/bin\n",
        ]
        var taken = (0, 0)
        for _ in 0..<30_000 {
            // Half of them with a head that most of the pieces go on from.
            var text = Bool.random(using: &generator) ? "" : "securetcpip on except netrc"
            for _ in 0..<Int.random(in: 1...9, using: &generator) {
                text += (pieces.randomElement(using: &generator) ?? "") + (Bool.random(using: &generator) ? " " : "")
            }
            guard let policy = PolicyText.load(SourceFile(name: "p", text: text)).policy else { continue }
            let allows = policy.settings.secureTCPIP.allows(.netrc)
            if allows { taken.0 += 1 } else { taken.1 += 1 }
            #expect(SecureTCPIPStatement.allowsNetrc(text: Array(text.utf8)) == allows, "\(text.debugDescription)")
        }
        // It looked at both.
        #expect(taken.0 > 100 && taken.1 > 100, "\(taken)")
    }

    /// The statement may stand in an included file: portcullis.policy(5), include.
    @Test(arguments: [
        ("include \"rules.d/*.policy\"\n", "securetcpip off\n", true),
        ("include \"rules.d/a.policy\" # all\n", "securetcpip on except netrc\n", true),
        ("include \"rules.d/*.policy\"\nsecuretcpip off", "include \"*.policy\"\n", true),
        ("include \"rules.d/*.policy\"\n", "securetcpip on\n", false),
        ("include \"rules.d/b*\"\n", "securetcpip off\n", false),
        ("# include \"rules.d/a.policy\"\n", "securetcpip off\n", false),
        ("include \"../rules.d/a.policy\"\n", "securetcpip off\n", false),
    ])
    func theStatementMayStandInAnIncludedFile(main: String, included: String, allows: Bool) throws {
        let directory = try TestDirectory()
        try File.makeDirectory(directory.path + "/rules.d", mode: 0o700)
        _ = try directory.file("rules.d/a.policy", Array(included.utf8))
        let path = try directory.file("portcullis.policy", Array(main.utf8))
        #expect(SecureTCPIPStatement.allowsNetrc(policy: path) == allows)
    }

    @Test func aHostWithoutAReadablePolicyHasNone() {
        #expect(SecureTCPIPStatement.allowsNetrc(policy: "/nonexistent/policy"))
    }
}

@Suite struct NetrcTests {
    private let text = Array("machine host login alice password canary\n".utf8)

    private func look(_ path: String) throws -> Netrc.Credentials? {
        try Netrc.credentials(host: "host", login: nil, path: path, localDomain: nil)
    }

    @Test(arguments: [UInt32(0o600), 0o400])
    func aFileOfTheCallersAloneIsUsed(mode: UInt32) throws {
        let directory = try TestDirectory()
        let found = try look(try directory.file("netrc", text, mode: mode))
        #expect(found?.login == "alice")
        #expect(found?.password == "canary")
    }

    @Test(arguments: [UInt32(0o640), 0o604, 0o620, 0o644, 0o666])
    func aFileThatOthersHaveRightsOnIsNotUsed(mode: UInt32) throws {
        let directory = try TestDirectory()
        let path = try directory.file("netrc", text, mode: mode)
        #expect(throws: Netrc.Refusal.self) { try look(path) }
    }

    @Test func noFileIsNoError() throws {
        #expect(try look("/nonexistent/netrc") == nil)
    }

    @Test func aDirectoryIsNoFile() throws {
        #expect(throws: Netrc.Refusal.self) { try look("/tmp") }
    }

    @Test(.enabled(if: Process.isRoot, "needs root: it gives a file away"))
    func aFileOfSomebodyElsesIsNotUsed() throws {
        let directory = try TestDirectory()
        let path = try directory.file("netrc", text)
        try File.setOwner(try File.open(path, [.reading]), uid: 65_534, gid: 65_534)
        #expect(throws: Netrc.Refusal.self) { try look(path) }
    }

    @Test func aRefusalRepeatsNothingOfTheFile() throws {
        let directory = try TestDirectory()
        let path = try directory.file("netrc", Array("machine host canary\n".utf8))
        let error = #expect(throws: Netrc.Refusal.self) { try look(path) }
        #expect(error?.reason == "line 1: an unknown word")
    }
}
