// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// The canonical text, which the revision digests, and what `fmt` prints.
@Suite struct CanonicalTextTests {
    @Test func theCanonicalTextOfTheWholeLanguageIsItsOwn() throws {
        let once = load(wholeLanguage)
        let twice = load(once.canonicalText)
        #expect(twice.canonicalText == once.canonicalText)
        #expect(Self.withoutPlaces(twice.policy) == Self.withoutPlaces(once.policy))
    }

    @Test func fmtOfAFileWithoutCommentsIsTheCanonicalText() throws {
        let canonical = load(wholeLanguage).canonicalText
        #expect(PolicyText.format(SourceFile(name: "t", text: canonical)).text == canonical)
    }

    @Test func commentsAndLayoutChangeNothingOfTheCanonicalText() {
        let plain = "forbid a: any from { 10.0.0.1, 10.0.0.2 }\nforbid b: any"
        let dressed =
            "# why\n\n\tforbid   a: any from {10.0.0.1 # one\n 10.0.0.2\n}   # two\n\n\n\nforbid b: \\\n any # three"
        #expect(load(plain).canonicalText == load(dressed).canonicalText)
    }

    @Test func fmtKeepsEveryCommentAndIsStable() throws {
        let text = """
            # head

            # of the rules
            forbid a:   any from { 10.0.0.1,  # one
              10.0.0.2 } # two
            networks   n = { # three
              10.0.0.1 # four
              # five
              10.0.0.2
              # six
            } # seven
            service rexec { # eight
              enable # nine
              # ten
              sessions 10 # eleven
            }
            # last
            """
        let once = try #require(PolicyText.format(SourceFile(name: "t", text: text)).text)
        for word in [
            "head", "of the rules", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
            "eleven",
            "last",
        ] {
            #expect(once.contains("# \(word)\n"), "\(word) in\n\(once)")
        }
        #expect(PolicyText.format(SourceFile(name: "t", text: once)).text == once)
        #expect(load(once).canonicalText == load(text).canonicalText)
    }

    @Test func aLongRuleIsBrokenBeforeItsClausesAndReadsTheSame() throws {
        let names = (1...40).map { "user\($0)" }.joined(separator: ", ")
        let text =
            "permit a: rexec from { 10.0.0.0/8, 192.0.2.0/24 } as { \(names) } run \"/usr/bin/id\" sandbox strict"
        let once = load(text)
        #expect(once.policy != nil)
        #expect(once.canonicalText.contains(" \\\n    "))
        #expect(load(once.canonicalText).canonicalText == once.canonicalText)
    }

    @Test(arguments: [
        "/usr/bin/id", "/usr/bin/id -u 'a b' <int> <word> <path /home/x> *", "/usr/bin/echo '' 'it'\\''s' '*' '$HOME'",
        "/usr/bin/echo '\u{E9}\u{4E2D}' '\\' '<int>' A=b", "'/opt/my app/run' x",
    ])
    func aPatternReadsBackAsItIsWritten(_ pattern: String) throws {
        let text = "permit a: rexec from any as b run \"\(pattern.replacing("\\", with: "\\\\"))\"\n"
        let loaded = load(text)
        let policy = try #require(loaded.policy, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(policy.rules.first?.commands?.literal.first?.description == pattern)
        #expect(loaded.canonicalText == text)
    }

    @Test(arguments: ["any", "same"])
    func anAccountWhoseNameIsAWordIsQuoted(_ name: String) throws {
        let loaded = load("permit a: rexec from any as \"\(name)\" run any\n")
        #expect(loaded.policy?.rules.first?.targets?.literal.names.map(\.description) == [name])
        #expect(loaded.policy?.rules.first?.targets?.isAny == false)
        #expect(load(loaded.canonicalText).policy == loaded.policy)
    }

    static func withoutPlaces(_ policy: Policy?) -> Policy? {
        guard var policy else { return nil }
        let nowhere = FilePlace(file: "", line: 0)
        for index in policy.rules.indices { policy.rules[index].place = nowhere }
        policy.sandboxPlaces = policy.sandboxPlaces.map { $0.map { _ in nowhere } }
        return policy
    }
}
