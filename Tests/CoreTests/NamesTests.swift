// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

@Suite("Names, texts and numbers")
struct NamesTests {
    @Test(arguments: ["a", "root", "A1", "_x", "0day", "a.b-c$d@e", String(repeating: "a", count: 32)])
    func aNameOfTheGrammarIsAName(text: String) {
        #expect(UserName(text)?.description == text)
    }

    @Test(
        arguments: [
            "", "-a", ".a", "$a", "@a", "+", "a b", "a/b", "a\n", "a\0", "é", "a:b", "a+b", "a#",
            String(repeating: "a", count: 33),
        ])
    func anythingElseIsNone(text: String) {
        #expect(UserName(text) == nil)
    }

    /// `String ==` holds for these; names compare as bytes.
    @Test func textsThatLookAlikeAreNotEqual() {
        #expect("\u{E9}" == "e\u{301}")
        #expect(ByteText("\u{E9}") != ByteText("e\u{301}"))
        #expect(ByteText([0xFF]) != ByteText([0xFE]))
    }

    @Test func whatIsPrintedIsSafe() {
        let everything = ByteText(Array(0...255))
        #expect(everything.printable.utf8.allSatisfy { (0x20...0x7E).contains($0) })
        #expect(ByteText("a\\\n").printable == "a\\\\\\x0a")
    }

    @Test func reasonsHaveDistinctNamesThatCanBeReadBack() {
        #expect(Set(Reason.allCases.map(\.name)).count == Reason.allCases.count)
        for reason in Reason.allCases { #expect(Reason(name: reason.name) == reason) }
        #expect(Reason(name: "nothing") == nil)
    }

    @Test func hexadecimalIsReadBack() {
        let bytes = Array(UInt8(0)...255)
        #expect(Hexadecimal.bytes(Hexadecimal.lower(bytes).utf8) == bytes)
        #expect(Hexadecimal.bytes(Hexadecimal.upper(bytes).utf8) == bytes)
        for text in ["0", "0g", "xyz", " 00"] { #expect(Hexadecimal.bytes(text.utf8) == nil) }
    }

    @Test func sessionIdsAndRevisionsHaveOneLength() {
        #expect(SessionID(String(repeating: "0a", count: 16))?.description == String(repeating: "0a", count: 16))
        #expect(SessionID(String(repeating: "0a", count: 15)) == nil)
        #expect(SessionID(bytes: []) == nil)
        #expect(Revision(bytes: Array(repeating: 1, count: 31)) == nil)
        #expect(Revision.none.description == "sha256:" + String(repeating: "0", count: 64))
    }

    @Test(arguments: ["127.0.0.1:512", "[::1]:512", "0.0.0.0:0", "[2001:db8::1]:65535"])
    func anEndpointIsReadBack(text: String) {
        #expect(Endpoint(text)?.description == text)
    }

    @Test(arguments: [
        "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+1", "::1:512", "[127.0.0.1]:1", "[::1]512",
    ])
    func whatIsNoEndpointIsRefused(text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test func momentsOutsideAWeekAreNone() {
        #expect(LocalTime(weekday: 6, minute: 1_439) != nil)
        #expect(LocalTime(weekday: 7, minute: 0) == nil)
        #expect(LocalTime(weekday: 0, minute: 1_440) == nil)
        #expect(LocalTime(weekday: -1, minute: 0) == nil)
    }
}
