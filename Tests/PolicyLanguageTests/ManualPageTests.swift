// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// portcullis.policy(5), and docs/policy-language.md, against the grammar and the parser.
@Suite struct ManualPageTests {
    private let page: String
    private let grammar: GrammarFile

    init() throws {
        page = try GrammarFile.text(ofPackageFile: "packaging/man/portcullis.policy.5")
        grammar = try GrammarFile()
    }

    /// The literal blocks of a section.
    private func blocks(_ section: String) -> [String] {
        let sections = page.split(separator: "\n.Sh ").filter { $0.hasPrefix(section + "\n") }
        return sections.flatMap { $0.split(separator: "\n.Bd ").dropFirst() }.map { block in
            block.split(separator: "\n").dropFirst().prefix { $0 != ".Ed" }.joined(separator: "\n")
        }
    }

    private func words(_ text: String) -> Set<String> {
        Set(text.split { !($0.isLetter || $0 == "-") }.map { String($0) })
    }

    @Test func everyWordOfTheGrammarStandsInThePage() {
        let missing = grammar.words.filter { $0.allSatisfy { $0.isLetter || $0 == "-" } }.subtracting(words(page))
        #expect(missing.isEmpty)
        for name in SandboxDefinition.builtInNames { #expect(words(page).contains(name)) }
    }

    @Test func everyWordOfTheGrammarStandsInTheLanguagesDocument() throws {
        let document = try GrammarFile.text(ofPackageFile: "docs/policy-language.md")
        let missing = grammar.words.filter { $0.allSatisfy { $0.isLetter || $0 == "-" } }.subtracting(words(document))
        #expect(missing.isEmpty)
    }

    @Test func theDefaultsAreTheParsers() throws {
        let text = try #require(blocks("DEFAULTS").first)
        #expect(try #require(load(text).policy).settings == Settings())
        // Each setting is written out, so that none is equal because it is missing.
        let settings = ["common", "rsh-item", "audit-item"]
        let items = settings.reduce(into: Set(["delay"])) { $0.formUnion(grammar.firstTexts(.rule($1)).texts) }
        #expect(items.subtracting(words(text)) == ["enable"])
    }

    @Test func theSandboxThatIsWrittenOutIsStrict() throws {
        let text = try #require(blocks("SANDBOXES").first)
        let written = try #require(load(text).policy?.sandboxes.first)
        let strict = try #require(SandboxDefinition.builtIn("strict")?.sandbox(named: written.name))
        #expect(written == strict)
        // All but these are written out: `strict` has nothing of them.
        let missing = grammar.firstTexts(.rule("sandbox-item")).texts.subtracting(words(text))
        #expect(missing == ["path", "environment", "require"])
    }

    @Test func theExamplesAreGood() throws {
        for text in blocks("EXAMPLES") {
            let loaded = load(text)
            #expect(loaded.diagnostics.isEmpty, "\(loaded.diagnostics.map(\.text).joined())")
        }
        let tests = try #require(blocks("POLICY TESTS").first)
        #expect(GrammarRecogniser(grammar: grammar).accepts(tests, as: "tests"))
    }

    @Test func theLimitsAreTheParsers() {
        #expect(page.contains("includes \(PolicyText.includeDepth) deep"))
        let megabytes = (SourceFile.sizeLimit >> 20, PolicyText.totalLimit >> 20)
        #expect(page.contains("Files of \(megabytes.0) MiB, \(megabytes.1) MiB in 4,096 files"))
        #expect(PolicyText.fileLimit == 4_096)
        #expect(page.contains("1 to \(ServiceSettings.commandLengthLimit)."))
    }
}
