// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing
import Trust

@Suite struct NetrcFileTests {
    private static let text = """
        # my machines
        machine mvs1.example.org login ibmuser password sys1
        machine mvs1.example.org login backup password "two words"
        machine vm1 login maint, password a\\ b account acct
        macdef init
        machine trap login trap password trap
        cd /tmp

        machine other.example.org
            login op
            password #hash"quote
        default login guest password guest

        """

    private func entry(_ host: ByteText, _ login: ByteText? = nil, domain: ByteText? = "example.org") throws
        -> NetrcFile.Entry?
    {
        try NetrcFile(Array(Self.text.utf8)).entry(host: host, login: login, localDomain: domain)
    }

    @Test(
        arguments: [
            ("mvs1.example.org", nil as ByteText?, "ibmuser", "sys1"), ("MVS1.Example.ORG", nil, "ibmuser", "sys1"),
            ("mvs1.example.org", "backup", "backup", "two words"), ("vm1.example.org", nil, "maint", "a b"),
            ("vm1", nil, "maint", "a b"), ("other.example.org", nil, "op", "#hash\"quote"),
            ("elsewhere", nil, "guest", "guest"), ("trap", nil, "guest", "guest"),
        ] as [(ByteText, ByteText?, ByteText, ByteText)])
    func theFirstEntryForTheMachineIsUsed(
        host: ByteText, login: ByteText?, expected: ByteText, password: ByteText
    ) throws {
        let entry = try #require(try entry(host, login))
        #expect(entry.login == expected)
        #expect(entry.password == password)
    }

    /// glibc's ruserpass has both words.
    @Test func passwdIsPassword() throws {
        let file = try NetrcFile(Array("machine a login b passwd c".utf8))
        #expect(file.entry(host: "a", login: nil, localDomain: nil)?.password == "c")
    }

    @Test func aByteOrderMarkIsCalledSo() {
        let error = #expect(throws: NetrcError.self) { try NetrcFile([0xEF, 0xBB, 0xBF] + Array("machine a".utf8)) }
        #expect(error?.description == "line 1: a byte order mark of UTF-8; save the file without one")
    }

    @Test func anEntryForAnotherLoginIsNotUsed() throws {
        #expect(try entry("mvs1.example.org", "root") == nil)
    }

    @Test func aMachineWithoutItsDomainIsFoundOnlyInTheCallersOwn() throws {
        #expect(try entry("vm1.example.com")?.login == "guest")
        #expect(try entry("vm1.example.org", domain: nil)?.login == "guest")
    }

    @Test(arguments: [
        ("machine\n", 1, NetrcError.Problem.missingValue), ("login x\n", 1, .outsideMachine),
        ("machine a\nfrobnicate b\n", 2, .unknownWord), ("machine a password \"x\n", 1, .unclosedQuote),
        ("machine a password x\u{1}y\n", 1, .controlByte), ("machine a login\n", 1, .missingValue),
        ("machine a password x\\", 1, .unclosedQuote), ("default login a\nmachine b\n", 2, .afterDefault),
        ("default login a\ndefault login b\n", 2, .afterDefault),
    ])
    func whatIsNotUnderstoodIsAnErrorWithItsLine(text: String, line: Int, problem: NetrcError.Problem) {
        let error = #expect(throws: NetrcError.self) { try NetrcFile(Array(text.utf8)) }
        #expect(error?.line == line)
        #expect(error?.problem == problem)
    }

    /// glibc's ruserpass copies a word of any length into 100 bytes.
    @Test func aLongWordIsAnErrorAndNoOverflow() {
        let text = "machine a password " + String(repeating: "x", count: NetrcFile.tokenLimit + 1)
        let error = #expect(throws: NetrcError.self) { try NetrcFile(Array(text.utf8)) }
        #expect(error?.problem == .tokenTooLong)
    }

    @Test func noBytesTrapTheParser() {
        let seed: UInt64 = .random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let words = ["machine", "login", "password", "macdef", "default", "\"", "\\", "\n", " ", "#", "x", "\0", ","]
        for _ in 0..<5_000 {
            let text = (0..<Int.random(in: 0...20, using: &random))
                .map { _ in (words.randomElement(using: &random) ?? "") + (Bool.random(using: &random) ? " " : "") }
                .joined()
            _ = try? NetrcFile(Array(text.utf8)).entry(host: "x", login: nil, localDomain: "d")
        }
    }
}
