// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The command patterns of a policy, each with a number, so that a command is held against all of them at once.
///
/// In a tree of tokens, a command of many words may be on hundreds of ways at once, where patterns have typed tokens in
/// different places. Most such patterns have one argument that tells them apart: those are filed under it, and the tree
/// keeps the others.
struct CommandPatterns: Sendable {
    /// What is made ready while the policy's patterns come in.
    struct Building {
        /// Fewer arguments than these make few ways.
        static let longPattern = 8

        private var programs = ByteTable()
        private var tree = PatternTree()
        private var long = LongPatterns()

        /// The number of patterns, each of which is counted once.
        private(set) var count = 0

        /// The number of a pattern, which is a new one if it was not seen.
        mutating func insert(_ pattern: CommandPattern) -> Int {
            let program = programs.insert(pattern.program.bytes.span)
            tree.makeRoot(of: program)
            // INVARIANT: a policy's text is at most 128 MiB, so that what is in it can be counted.
            let next = UInt32(count)
            let number =
                pattern.arguments.count < Self.longPattern
                ? tree.insert(pattern, of: program, as: next) : long.insert(pattern, of: program, as: next)
            if number == next { count += 1 }
            return Int(number)
        }

        /// All that came in.
        mutating func finish() -> CommandPatterns {
            let filed = long.file(programs: programs.count, leftover: &tree)
            return CommandPatterns(programs: programs, tree: tree, filed: filed)
        }
    }

    private let programs: ByteTable
    private let tree: PatternTree
    private let filed: FiledPatterns

    /// Adds the patterns that match a program, its path normalised, with the arguments of a command: all words but the
    /// first.
    func match(_ program: ByteText, _ command: [ByteText], _ found: inout FewNumbers) {
        guard let program = programs.number(program.bytes.span) else { return }
        var words = CommandWords(command)
        filed.match(program, &words, &found)
        tree.match(program, &words, &found)
    }
}
