// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Policy
import PolicyLanguage
import Testing

/// docs/policy-grammar.ebnf against the parser, both ways.
@Suite struct GrammarTests {
    private let grammar: GrammarFile
    private let recogniser: GrammarRecogniser

    init() throws {
        grammar = try GrammarFile()
        recogniser = GrammarRecogniser(grammar: grammar)
    }

    /// What the parser says of a text, as a policy or as tests.
    private func errors(_ text: String, as start: String) throws -> [String] {
        let file = SourceFile(name: "t", text: text)
        let diagnostics =
            start == "file"
            ? PolicyText.format(file).diagnostics
            : PolicyTestFile(file, now: try #require(LocalTime(weekday: 0, minute: 0))).diagnostics
        return diagnostics.filter { $0.severity == .error }.map(\.message)
    }

    /// What the parser holds besides the grammar: the list in the grammar's head.
    private static let besides = [
        "stands twice", "given back twice", "is limited twice", "without 'rsh' gives back nothing",
        "time of 0", "is too long: at most 366d", "in whole seconds", "size of 0", "is too large", "64K to 1024G",
        "has host bits set",
        "v4-mapped", "these hours are empty", "is no time such as", "is written as an absolute path",
        "path has no '.', '..' or empty part", "is no system call", "is no group of system calls", "no sandbox allows",
        "cannot be denied", "allows nothing", "is never taken from a sandbox", "has 1 to 256 bytes",
    ]

    /// The first error, where it is one of syntax: what follows another can be its consequence.
    private func syntaxError(_ errors: [String]) -> String? {
        errors.first.flatMap { first in Self.besides.contains { first.contains($0) } ? nil : first }
    }

    // MARK: The grammar itself

    @Test func everyRuleIsDefinedReachedAndWithoutRecursion() {
        var reached: Set<String> = []
        var waiting = ["file", "tests", "TOKEN", "SPACE"]
        while let name = waiting.popLast() {
            guard let body = grammar.rules[name] else {
                Issue.record("no rule \(name)")
                continue
            }
            guard reached.insert(name).inserted else { continue }
            waiting += GrammarFile.names(in: body)
        }
        #expect(Set(grammar.rules.keys).subtracting(reached).isEmpty, "rules that nothing names")
        // The recogniser is exact only without recursion: rules can be taken away, those first that name no other.
        var rest = grammar.rules.mapValues { GrammarFile.names(in: $0) }
        while let leaf = rest.first(where: { $0.value.allSatisfy { rest[$0] == nil } }) { rest[leaf.key] = nil }
        #expect(rest.isEmpty, "rules that name themselves: \(rest.keys.sorted())")
    }

    // MARK: Grammar to parser

    @Test(arguments: ["file", "tests"], 0..<8 as Range<UInt64>)
    func whatTheGrammarMakesTheParserTakes(_ start: String, _ seed: UInt64) throws {
        var sentences = GrammarSentences(grammar, seed: seed)
        var clean = 0
        let count = 100
        for _ in 0..<count {
            let text = sentences.layout(sentences.tokens(.rule(start)))
            let errors = try errors(text, as: start)
            #expect(syntaxError(errors) == nil, "seed \(seed): \(text)")
            let isSentence = recogniser.accepts(text, as: start)
            #expect(isSentence, "seed \(seed): \(text)")
            if errors.isEmpty { clean += 1 }
        }
        // A test of sentences that are all refused for something else would show nothing.
        #expect(clean > count / 3, "only \(clean) of \(count) without an error")
    }

    // MARK: Parser to grammar

    @Test(arguments: ["file", "tests"], 100..<112 as Range<UInt64>)
    func whatTheParserTakesIsOfTheGrammar(_ start: String, _ seed: UInt64) throws {
        var sentences = GrammarSentences(grammar, seed: seed)
        let statement = GrammarExpression.rule(start == "file" ? "statement" : "test")
        let pool =
            Array(grammar.words).sorted() + [
                "=", "x", "b:", "1", "0", "077", "10.0.0.1", "10.0.0.1/8", "::1", "@a", "%g", "~", "/", "/a", "a=b",
                "\"\"",
                "\"/bin/id\"", "\"a b\"", "mon", "08:00-09:00", "10s", "64M", "\n", "\n", "1.2.3.4:5",
            ]
        var (taken, refused) = (0, 0)
        for _ in 0..<250 {
            let tokens = sentences.damaged(sentences.tokens(statement), with: pool)
            let text = tokens.joined(separator: " ")
            let errors = try errors(text, as: start)
            let isSentence = recogniser.accepts(text, as: start)
            if errors.isEmpty {
                taken += 1
                #expect(isSentence, "seed \(seed): the parser takes what the grammar does not: \(text)")
            }
            if isSentence {
                #expect(
                    syntaxError(errors) == nil, "seed \(seed): the grammar takes what the parser does not: \(text)")
            } else {
                refused += 1
            }
        }
        #expect(taken > 5 && refused > 60, "seed \(seed): \(taken) taken, \(refused) refused")
    }

    @Test func thePoliciesAndTestsOfThisTreeAreSentences() throws {
        #expect(recogniser.accepts(wholeLanguage, as: "file"))
        for name in try Examples.names() {
            let isPolicy = try recogniser.accepts(Examples.text(name + ".policy"), as: "file")
            #expect(isPolicy, "\(name).policy")
            let isTestFile = try recogniser.accepts(Examples.text(name + ".test"), as: "tests")
            #expect(isTestFile, "\(name).test")
        }
    }

    // MARK: Words

    /// The grammar's words, and every word that the parser's own text has in quotes, so that none can be there that the
    /// grammar lacks.
    private func parserWords() throws -> [String] {
        var words = grammar.words.filter { $0.allSatisfy { $0.isLetter || $0 == "-" } }
        for file in ["Parser", "Parser+Blocks", "Parser+Rules", "PolicyTest"] {
            let source = try GrammarFile.text(ofPackageFile: "Sources/Pure/PolicyLanguage/\(file).swift")
            for piece in source.split(separator: "\"") where piece.utf8.count < 40 {
                if piece.allSatisfy({ $0.isLowercase || $0 == "-" }) { words.insert(String(piece)) }
            }
        }
        words.formUnion(SecureTCPIP.Exception.allCases.map(\.name))
        #expect(words.count > 80)
        return words.sorted()
    }

    /// At each place of each statement where a word of the language stands, each other word.
    @Test func aWordThatTheParserTakesInAnothersPlaceIsOfTheGrammar() throws {
        let words = try parserWords()
        let known = Set(words)
        var taken = 0
        for statement in Self.statements {
            let tokens = try #require(recogniser.tokens(of: statement)).map(\.text)
            for place in tokens.indices where known.contains(tokens[place]) {
                for word in words {
                    var other = tokens
                    other[place] = word
                    let text = other.joined(separator: " ")
                    guard try errors(text, as: "file").isEmpty else { continue }
                    taken += 1
                    let isSentence = recogniser.accepts(text, as: "file")
                    #expect(isSentence, "\(text)")
                }
            }
        }
        #expect(taken > 200)
    }

    /// Short statements in which each word of the language that has alternatives stands.
    private static let statements = [
        "securetcpip on except rsh, rcp", "securetcpip off", "service rexec { enable stderr-channel on }",
        "service rexec { authenticate pam \"a\" }", "service rexec { authenticate file \"a\" }",
        "service rexec { handshake-timeout 5s }", "service rsh { trust rhosts names refuse source-port reserved }",
        "service rsh { account none }", "service rsh { password-field on authenticate file \"a\" }",
        "service rsh { password-field off }", "service rsh { account pam \"a\" trust file \"a\" }",
        "audit { kernel auto durability sync on-failure refuse checkpoint 5s }", "refusal { rexec \"a\" delay 1s }",
        "users a = { alice, %wheel }", "hours a = { mon 08:00-09:00 }", "networks a = { 10.0.0.1 }",
        "sandbox a extends strict { network off on-violation errno require landlock 4 }",
        "sandbox a { limit cpu 60s processes 64 memory 64M }", "sandbox a { read /a timeout 5m }",
        "sandbox a { syscalls allow read }", "sandbox a { network tcp-connect 443 }",
        "permit a: rsh from any by any as any run any during @b sandbox c self-trust",
        "permit a: rexec from any as b run shell", "forbid a: any from any", "include \"a\"", "policy 1",
    ]

    /// Each place at which a word must be one of a few: what stands before it, what is said of others, and the
    /// grammar's rules for what may begin there.
    @Test(arguments: [
        ("", "is no statement", ["version", "statement"], []),
        ("service rexec { ", "is no item of", ["common", "authenticate"], []),
        ("service rsh { ", "is no item of", ["common", "rsh-item"], []),
        ("refusal { ", "is no item of", [], ["delay", "rexec", "rsh"]),
        ("audit { ", "is no item of", ["audit-item"], []),
        ("sandbox s { ", "is no item of", ["sandbox-item", "syscalls"], []),
        ("permit a: any ", "is no clause", ["from", "by", "as", "run", "during", "in"], ["self-trust"]),
    ])
    func aWordIsOfTheParserWhereItIsOfTheGrammar(
        _ before: String, _ refusal: String, _ rules: [String], _ words: [String]
    ) throws {
        let expected = rules.reduce(into: Set(words)) { $0.formUnion(grammar.firstTexts(.rule($1)).texts) }
        for word in try parserWords() {
            let isKnown = try !errors(before + word, as: "file").contains { $0.contains("'\(word)' \(refusal)") }
            #expect(isKnown == expected.contains(word), "'\(word)' behind '\(before)'")
        }
    }
}

/// The policies of policy/.
enum Examples {
    static func names() throws -> [String] {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent().resolvingSymlinksInPath()
        let folder = here.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("policy")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        return files.filter { $0.hasSuffix(".policy") }.map { String($0.dropLast(7)) }.sorted()
    }

    static func text(_ file: String) throws -> String {
        try GrammarFile.text(ofPackageFile: "policy/" + file)
    }
}
