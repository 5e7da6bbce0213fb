// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The long patterns of a policy, while its index is made: which of them are filed, and under which argument.
///
/// Which argument tells a program's patterns apart is known when all of them are. The place is taken at which the most
/// of them have a literal that few others have there; then the same again with those that are left, a few times. What is
/// left then goes to the tree. Each pattern is in one place of either, so that none is compared twice.
struct LongPatterns {
    private struct Pattern {
        let number: UInt32
        let program: Int
        /// The number of its arguments.
        let size: Int
        let pattern: CommandPattern
    }

    private var patterns: [Pattern] = []
    /// Of each pattern its program and whether it takes more, and then its arguments as numbers.
    private var rows = NumberRows()
    private var literals = ByteTable()
    /// As the tree has them, so that both take the same patterns for one.
    private var directories = DirectoryTree()
    /// How many patterns have each literal at the place that is looked at; 0 in between.
    private var sharing: [UInt32] = []
    /// Patterns without the argument that they are filed under, as numbers, and where the same stands for commands.
    private var alike = NumberRows()
    private var othersOfAlike: [UInt32] = []
    /// The row that is made up.
    private var row: [UInt32] = []

    // MARK: Coming in

    /// The number of a pattern, which is the new one if it was not seen.
    mutating func insert(_ pattern: CommandPattern, of program: Int, as new: UInt32) -> UInt32 {
        row.removeAll(keepingCapacity: true)
        row.append(UInt32(program) << 1 | (pattern.takesMore ? 1 : 0))
        for argument in pattern.arguments { row.append(code(argument)) }
        let number = rows.insert(row)
        if number == patterns.count {
            patterns.append(
                Pattern(number: new, program: program, size: pattern.arguments.count, pattern: pattern))
        }
        return patterns[number].number
    }

    /// An argument as a number.
    ///
    /// INVARIANT: a policy's text is at most 128 MiB, so that what is named in it is fewer than 2³⁰. The one number above
    /// is that of all directories beneath which nothing lies, and no other's once it is cut.
    private mutating func code(_ argument: CommandPattern.Argument) -> UInt32 {
        switch argument {
        case .literal(let literal): UInt32(literals.insert(literal.bytes.span)) << 2
        case .path(let directory): UInt32(directories.insert(directory)) << 2 | 1
        case .integer: 2
        case .word: 3
        }
    }

    // MARK: Filing

    /// Files the patterns, and puts those that no literal tells apart into the tree.
    mutating func file(programs: Int, leftover tree: inout PatternTree) -> FiledPatterns {
        guard !patterns.isEmpty else { return FiledPatterns() }
        var filed = FiledPatterns(literals: literals)
        sharing = Array(repeating: 0, count: literals.count)
        // Those with the most arguments first, so that those that reach a place are the first ones.
        let order = patterns.indices.sorted { left, right in
            patterns[left].program == patterns[right].program
                ? patterns[left].size > patterns[right].size : patterns[left].program < patterns[right].program
        }
        var next = 0
        for program in 0..<programs {
            filed.startProgram()
            let first = next
            while next < order.count, patterns[order[next]].program == program { next += 1 }
            var left = order[first..<next]
            // One alone waits at the root of its tree.
            for _ in 0..<FiledPatterns.placeLimit where left.count > 1 {
                guard let place = bestPlace(left) else { break }
                left = file(left, at: place, &filed)
            }
            for place in left {
                let number = tree.insert(patterns[place].pattern, of: program, as: patterns[place].number)
                precondition(number == patterns[place].number, "two patterns are one to the tree")
            }
        }
        filed.finish()
        return filed
    }

    /// The place at which the most patterns can be filed: two at least.
    ///
    /// Each argument is looked at three times. The last places come first, as most patterns that are alike differ there.
    private mutating func bestPlace(_ left: ArraySlice<Int>) -> Int? {
        var best: Int?
        var most = 1
        for place in (0..<(left.first.map { patterns[$0].size } ?? 0)).reversed() {
            let reaching = left.prefix { patterns[$0].size > place }
            count(reaching, at: place)
            let filing = reaching.reduce(0) { isFew($1, at: place) ? $0 + 1 : $0 }
            forget(reaching, at: place)
            if filing > most { (best, most) = (place, filing) }
            if most == left.count { break }
        }
        return best
    }

    /// Files those that can be at a place; the others are left, in their order.
    private mutating func file(
        _ left: ArraySlice<Int>, at place: Int, _ filed: inout FiledPatterns
    ) -> ArraySlice<Int> {
        let reaching = left.prefix { patterns[$0].size > place }
        count(reaching, at: place)
        var filing: [(literal: Int, pattern: Int)] = []
        var rest: [Int] = []
        for pattern in left {
            if patterns[pattern].size > place, let literal = literal(pattern, place), isFew(pattern, at: place) {
                filing.append((literal, pattern))
            } else {
                rest.append(pattern)
            }
        }
        forget(reaching, at: place)
        filing.sort { $0.literal < $1.literal }
        filed.startPlace(place)
        for (index, entry) in filing.enumerated() {
            filed.file(
                patterns[entry.pattern].number, under: UInt32(entry.literal),
                others: others(entry.pattern, place, &filed),
                isFirst: index == 0 || filing[index - 1].literal != entry.literal,
                isLast: index + 1 == filing.count || filing[index + 1].literal != entry.literal)
        }
        return rest[...]
    }

    /// Where the arguments of a pattern stand without the one at a place; the same for all that are alike.
    private mutating func others(_ pattern: Int, _ place: Int, _ filed: inout FiledPatterns) -> UInt32 {
        row.removeAll(keepingCapacity: true)
        row.append(patterns[pattern].pattern.takesMore ? 1 : 0)
        for other in 0..<patterns[pattern].size where other != place { row.append(rows.number(pattern, other + 1)) }
        let number = alike.insert(row)
        if number == othersOfAlike.count {
            let its = patterns[pattern].pattern
            othersOfAlike.append(filed.append(its.arguments, but: place, takesMore: its.takesMore))
        }
        return othersOfAlike[number]
    }

    // MARK: Counting

    private mutating func count(_ reaching: ArraySlice<Int>, at place: Int) {
        for pattern in reaching { if let literal = literal(pattern, place) { sharing[literal] += 1 } }
    }

    private mutating func forget(_ reaching: ArraySlice<Int>, at place: Int) {
        for pattern in reaching { if let literal = literal(pattern, place) { sharing[literal] = 0 } }
    }

    private func isFew(_ pattern: Int, at place: Int) -> Bool {
        literal(pattern, place).map { sharing[$0] <= FiledPatterns.shareLimit } ?? false
    }

    /// The number of the literal that a pattern has at a place.
    private func literal(_ pattern: Int, _ place: Int) -> Int? {
        let code = rows.number(pattern, place + 1)
        return code & 3 == 0 ? Int(code >> 2) : nil
    }
}
