// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing

/// policy-language: "The request's string is split into words as sh would split it".
@Suite("Commands are split as sh would, or need a shell")
struct CommandLineTests {
    @Test(
        arguments: [
            ("id", ["id"]), ("  id  -u ", ["id", "-u"]), ("a\tb", ["a", "b"]), ("'a b' c", ["a b", "c"]),
            ("a'b'\"c\"d", ["abcd"]), ("''", [""]), ("a ''", ["a", ""]), ("\"\"x", ["x"]), ("a\\ b", ["a b"]),
            ("\"a\\\"b\"", ["a\"b"]), ("\"a\\\\b\"", ["a\\b"]), ("\"a\\b\"", ["a\\b"]), ("'$x;|&'", ["$x;|&"]),
            ("\"\\$x\"", ["$x"]), ("\"a;b|c\"", ["a;b|c"]), ("\\;", [";"]), ("a=b", ["a=b"]),
            ("'a'=b c", ["a=b", "c"]),
            ("x a=b", ["x", "a=b"]), ("./x", ["./x"]), ("a^b%c@d:e,f+g", ["a^b%c@d:e,f+g"]), ("\"a\\\nb\"", ["ab"]),
            ("'a\nb'", ["a\nb"]), ("1a=b", ["1a=b"]),
        ])
    func aStringIsSplit(string: String, words: [String]) {
        // In this table `a=b` alone is an assignment; the row is kept to show the difference that a quote makes.
        if string == "a=b" {
            #expect(need(string) == .assignment)
        } else {
            #expect(CommandLine(Array(string.utf8)) == .words(words.map { ByteText($0) }))
        }
    }

    @Test(
        arguments: [
            ("a;b", 1), ("a |b", 2), ("a&", 1), ("a <b", 2), ("a>b", 1), ("(a", 0), ("a)", 1), ("$x", 0), ("a *", 2),
            ("a?", 1), ("[a", 0), ("a]", 1), ("{a", 0), ("a}", 1), ("~a", 0), ("a!", 1), ("#a", 0), ("`a", 0),
            ("\"$x\"", 1), ("\"a`\"", 2), ("a\nb", 1), ("a\\\nb", 2), ("a 'b", 2), ("\"a", 0), ("a\\", 1), ("", 0),
            ("  ", 0),
            ("A=b c", 1), ("_a1=b", 3),
        ])
    func aStringNeedsAShell(string: String, offset: Int) {
        guard case .needsShell(let need) = CommandLine(Array(string.utf8)) else {
            Issue.record("\(string.debugDescription) was split")
            return
        }
        #expect(need.offset == offset)
    }

    private func need(_ string: String) -> CommandLine.Cause? {
        guard case .needsShell(let need) = CommandLine(Array(string.utf8)) else { return nil }
        return need.cause
    }

    @Test func theCauseIsNamed() {
        #expect(need("id; id") == .character(UInt8(ascii: ";")))
        #expect(need("a\nb") == .newline)
        #expect(need("'a") == .unclosedQuote)
        #expect(need(" ") == .empty)
        #expect(need("A=b") == .assignment)
    }

    @Test func bytesThatAreNotUTF8Pass() {
        #expect(CommandLine([0x61, 0xFF, 0x20, 0x80]) == .words([ByteText([0x61, 0xFF]), ByteText([0x80])]))
    }

    @Test func wordsThatAreTooManyNeedAShell() {
        let most = Array(repeating: "a", count: CommandLine.wordLimit).joined(separator: " ")
        guard case .words(let words) = CommandLine(Array(most.utf8)) else {
            Issue.record("the limit itself was refused")
            return
        }
        #expect(words.count == CommandLine.wordLimit)
        #expect(need(most + " a") != nil || CommandLine(Array((most + " a").utf8)) != .words(words))
    }

    /// Words in single quotes are themselves, whatever they hold.
    @Test func quotedWordsComeBackAsTheyWere() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            let words = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                (0..<Int.random(in: 0...8, using: &random)).map { _ in UInt8.random(in: 1...255, using: &random) }
            }
            let quoted = words.map { word in
                [UInt8(ascii: "'")] + word.flatMap { $0 == UInt8(ascii: "'") ? Array("'\\''".utf8) : [$0] }
                    + [UInt8(ascii: "'")]
            }
            let string = Array(quoted.joined(separator: [UInt8(ascii: " ")]))
            #expect(CommandLine(string) == .words(words.map { ByteText($0) }), "seed \(seed)")
        }
    }

    @Test func noBytesTrapTheSplitter() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("ab=_1 '\"\\$;\n\t".utf8) + [0, 0x80, 0xFF]
        for _ in 0..<50_000 {
            let count = Int.random(in: 0...12, using: &random)
            let string = (0..<count).compactMap { _ in alphabet.randomElement(using: &random) }
            if case .words(let words) = CommandLine(string) { #expect(!words.isEmpty, "seed \(seed)") }
        }
    }
}
