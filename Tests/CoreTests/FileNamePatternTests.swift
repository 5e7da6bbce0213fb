// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

/// What the patterns of includes name.
@Suite struct FileNamePatternTests {
    @Test(arguments: [
        ("*.policy", "site.policy", true), ("*.policy", ".policy", true), ("*.policy", "site.policy~", false),
        ("?.policy", "a.policy", true), ("?.policy", "ab.policy", false), ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false), ("*", "", true), ("", "", true), ("", "a", false), ("**", "abc", true),
        ("*a*", "bcb", false), ("a*", "a", true), ("*ab", "aab", true), ("[a]", "a", false), ("[a]", "[a]", true),
    ])
    func anIncludeNamesWhatItsPatternSays(pattern: String, name: String, matches: Bool) {
        #expect(FileNamePattern.matches(Array(pattern.utf8), Array(name.utf8)) == matches)
    }

    @Test func aPatternOfManyStarsTakesNoTime() {
        let pattern = Array(repeating: UInt8(ascii: "*"), count: 60) + Array("x".utf8)
        #expect(!FileNamePattern.matches(pattern, Array(repeating: UInt8(ascii: "a"), count: 255)))
    }

    /// A tree of names: what each directory holds, files and directories alike.
    private static let tree: [String: [ByteText]] = [
        "/p": [".hidden", "a", "a-b", "b.policy", "z"], "/p/a": ["x.policy", "y.policy"], "/p/a-b": ["x.policy"],
        "/p/z": [], "/": ["p"],
    ]

    private func expand(_ pattern: String, below start: String = "/p") -> [String]? {
        FileNamePattern.expand(pattern.split(separator: "/").map { String($0) }, below: start) {
            Self.tree[$0] ?? []
        } isDirectory: {
            Self.tree[$0] != nil
        }
    }

    @Test(arguments: [
        ("nowhere/x.policy", ["/p/nowhere/x.policy"]), ("*.policy", ["/p/b.policy"]), ("nothing*", []),
        // Whole paths in byte order: '-' before '/'.
        ("*/x.policy", ["/p/a-b/x.policy", "/p/a/x.policy", "/p/z/x.policy"]),
        ("*/*.policy", ["/p/a-b/x.policy", "/p/a/x.policy", "/p/a/y.policy"]),
        ("*", ["/p/a", "/p/a-b", "/p/b.policy", "/p/z"]), (".*", ["/p/.hidden"]), ("b.policy/*", []),
    ])
    func aPatternNamesPathsInByteOrder(_ pattern: String, _ paths: [String]) {
        #expect(expand(pattern) == paths)
    }

    @Test func aNameBelowTheRootHasOneSlash() {
        #expect(expand("x.policy", below: "/") == ["/x.policy"])
        #expect(expand("*/b.policy", below: "/") == ["/p/b.policy"])
    }

    @Test func aPatternOfTooManyNamesGivesNone() {
        let names = (0...FileNamePattern.limit).map { ByteText("f\($0)") }
        #expect(
            FileNamePattern.expand(["*"], below: "/p") { _ in
                names
            } isDirectory: { _ in
                false
            } == nil)
        let fitting = FileNamePattern.expand(["*"], below: "/p") { _ in
            Array(names.dropLast())
        } isDirectory: { _ in
            false
        }
        #expect(fitting?.count == FileNamePattern.limit)
    }
}
