// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Long patterns by one literal argument each, which few patterns of their program have there.
///
/// A program has up to `placeLimit` places at which a command's argument is looked up, and each finds at most
/// `shareLimit` patterns, which are then compared with the command in full. So a command is held against 16 of them at
/// most, however many there are.
struct FiledPatterns: Sendable {
    /// The most places of a program.
    static let placeLimit = 4
    /// The most patterns of a program that are filed under one literal at one place.
    static let shareLimit = 4

    private struct Pattern: Sendable {
        let number: UInt32
        /// Where its other arguments stand: patterns that are alike but for their literals share them.
        let others: UInt32
        /// Whether it is the last under its literal.
        let isLast: Bool
    }

    /// Of each program the first of its places, and then where the last one's end. Empty if there are no places.
    private var starts: [Int] = []
    private var places: [Int] = []
    private let literals: ByteTable
    /// The first pattern by a place's number and the literal's.
    private var firsts = EdgeTable()
    /// The first of them is none: 0 is no child.
    private var patterns = [Pattern(number: 0, others: 0, isLast: true)]
    private var others = TokenText()

    /// No patterns yet; their literals are numbered.
    init(literals: ByteTable = ByteTable()) {
        self.literals = literals
    }

    // MARK: Building

    /// The next program, with these places, is the one that patterns are filed for.
    mutating func startProgram() {
        starts.append(places.count)
    }

    /// The next place of the program.
    mutating func startPlace(_ place: Int) {
        places.append(place)
    }

    /// Adds the arguments of a pattern but the one that it is filed under; where they stand.
    mutating func append(_ arguments: [CommandPattern.Argument], but place: Int, takesMore: Bool) -> UInt32 {
        var rest = arguments
        rest.remove(at: place)
        return others.append(rest[...], takesMore: takesMore)
    }

    /// Files a pattern at the place under a literal's number. Those of one literal come one after the other.
    mutating func file(_ number: UInt32, under literal: UInt32, others: UInt32, isFirst: Bool, isLast: Bool) {
        if isFirst { firsts.insert(UInt32(patterns.count), of: UInt32(places.count - 1), literal) }
        patterns.append(Pattern(number: number, others: others, isLast: isLast))
    }

    /// No program is left.
    mutating func finish() {
        starts = places.isEmpty ? [] : starts + [places.count]
    }

    // MARK: Matching

    /// Adds the patterns that match a program with these arguments.
    func match(_ program: Int, _ words: inout CommandWords, _ found: inout FewNumbers) {
        guard !starts.isEmpty else { return }
        for number in starts[program]..<starts[program + 1] {
            let place = places[number]
            guard place < words.count, let literal = words.number(place, literals),
                let first = firsts.child(of: UInt32(number), UInt32(literal))
            else { continue }
            var next = Int(first)
            while true {
                let pattern = patterns[next]
                if others.match(pattern.others, from: 0, but: place, &words) { found.append(pattern.number) }
                if pattern.isLast { break }
                next += 1
            }
        }
    }
}
