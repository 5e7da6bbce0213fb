// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import Testing

@testable import PolicyLanguage

/// A pattern is split as the command is that it permits: what a policy says in so many bytes is what runs.
@Suite struct ShellCharacterTests {
    /// Where a byte stands: never at a word's start, where `<` and `*` mean something to a pattern.
    private static let places: [(before: [UInt8], after: [UInt8])] = [
        ("/x a", "b"), ("/x a", ""), ("/x a '", "'"), ("/x a 'b", ""), ("/x a \"", "\""), ("/x a \"b\\", "c\""),
        ("/x a\\", "b"), ("/x\\", "y z"), ("/x", "y z"),
    ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

    /// The lexer lets no newline into a string, so a pattern never holds one.
    @Test func everyByteIsTreatedAlikeInCommandsAndPatterns() {
        for (before, after) in Self.places {
            for byte in UInt8.min...UInt8.max where byte != UInt8(ascii: "\n") {
                let bytes = before + [byte] + after
                var splitter = PatternSplitter(bytes)
                switch (CommandLine(bytes), splitter.pattern()) {
                case (.words(let words), .success(let pattern)):
                    let meant =
                        [pattern.program]
                        + pattern.arguments.map { argument in
                            if case .literal(let literal) = argument { literal } else { "not a literal" }
                        }
                    #expect(words == meant && !pattern.takesMore, "\(bytes)")
                case (.needsShell, .failure):
                    break
                case (let command, let pattern):
                    Issue.record("\(bytes): \(command) as a command, \(pattern) as a pattern")
                }
            }
        }
    }
}
