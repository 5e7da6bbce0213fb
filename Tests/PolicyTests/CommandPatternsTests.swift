// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing

@testable import Policy

/// The patterns that a command matches, in the tree and filed under one argument, against each pattern in turn.
@Suite struct CommandPatternsTests {
    /// Patterns with their numbers, and what finds them.
    private struct Subject {
        private var numbers: [CommandPattern: Int] = [:]
        private let patterns: CommandPatterns

        init(_ given: [CommandPattern]) {
            var building = CommandPatterns.Building()
            for pattern in given {
                let before = building.count
                let number = building.insert(pattern)
                // A new one, or one that is known: of the same pattern, or of one that differs in `<path />` alone, of
                // which there are two spellings.
                #expect(number < building.count && building.count <= before + 1, "\(pattern)")
                #expect(number == numbers[pattern] ?? number, "\(pattern)")
                numbers[pattern] = number
            }
            patterns = building.finish()
        }

        /// Holds what is found against each pattern: all that match, and none of them twice.
        func compare(_ program: ByteText, _ arguments: [ByteText], _ comment: String = "") {
            var found = FewNumbers()
            patterns.match(program, ["x"] + arguments, &found)
            let expected = numbers.filter { $0.key.matches(program: program, arguments: arguments[...]) }
            let foundNumbers = (0..<found.count).map { Int(found[$0]) }.sorted()
            #expect(foundNumbers == Set(expected.values).sorted(), "\(comment) \(program) \(arguments)")
        }
    }

    private static let tool: ByteText = "/usr/bin/tool"

    private static func same(_ count: Int) -> [CommandPattern.Argument] {
        (0..<count).map { .literal(ByteText("argument\($0)")) }
    }

    private static func words(_ arguments: [CommandPattern.Argument]) -> [ByteText] {
        arguments.map { argument in
            if case .literal(let literal) = argument { literal } else { "5" }
        }
    }

    @Test(arguments: 0..<400 as Range<UInt64>) func eachPatternThatMatchesIsFoundOnce(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let given = (0..<(1 + random.below(random.pick([6, 30, 300])))).map { _ in
            RandomPolicy.pattern(random.pick([0, 60, 100]), &random)
        }
        let subject = Subject(given)
        for _ in 0..<100 {
            let pattern = random.pick(given)
            var words = RandomPolicy.words(meeting: pattern, &random)
            if random.chance(30), !words.isEmpty { words[random.below(words.count)] = random.pick(RandomPolicy.words) }
            if random.chance(20) { words.append(random.pick(RandomPolicy.words)) }
            if random.chance(15) { _ = words.popLast() }
            subject.compare(random.chance(90) ? pattern.program : "/usr/bin/none", words, "seed \(seed)")
        }
    }

    /// Alike but for one argument, wherever it stands, with a typed token that wanders through the others.
    @Test(arguments: [0, 1, 15, 30, 31]) func patternsThatDifferInOneArgument(_ place: Int) {
        let given = (0..<600).map { number in
            var arguments = Self.same(32)
            arguments[number % 32] = number % 2 == 0 ? .word : .integer
            arguments[place] = .literal(ByteText("item\(number / 2)"))
            return CommandPattern(program: Self.tool, arguments: arguments, takesMore: number % 3 == 0)
        }
        let subject = Subject(given + given)
        for number in stride(from: 0, to: 600, by: 37) {
            let words = Self.words(given[number].arguments)
            subject.compare(Self.tool, words)
            subject.compare(Self.tool, words + ["more"])
            subject.compare(Self.tool, words.dropLast())
            subject.compare(Self.tool, Array(words[..<place]))
            for changed in [0, number % 32, place] {
                var others = words
                others[changed].bytes.append(UInt8(ascii: "!"))
                subject.compare(Self.tool, others)
            }
        }
    }

    /// A literal that one, four or five patterns have at a place; five are not filed there.
    @Test(arguments: 1..<8) func patternsThatShareALiteral(_ sharing: Int) {
        let given = (0..<(sharing * 20)).map { number in
            var arguments = Self.same(9)
            arguments[number % sharing] = .word
            arguments[8] = .literal(ByteText("item\(number / sharing)"))
            return CommandPattern(program: Self.tool, arguments: arguments)
        }
        let subject = Subject(given)
        for pattern in given { subject.compare(Self.tool, Self.words(pattern.arguments)) }
        subject.compare(Self.tool, Self.words(Self.same(9)))
    }

    /// Each number of arguments has its own last place: more than a program's patterns are filed at.
    @Test func patternsOfManyLengths() {
        let given = (0..<400).map { number in
            CommandPattern(
                program: number % 50 == 0 ? "/usr/bin/other" : Self.tool,
                arguments: Self.same(number % 40) + [.literal(ByteText("item\(number)"))], takesMore: number % 7 == 0)
        }
        let subject = Subject(given)
        for pattern in given {
            let words = Self.words(pattern.arguments)
            subject.compare(pattern.program, words)
            subject.compare(pattern.program, words + ["more"])
            subject.compare(Self.tool, words.dropLast())
        }
    }

    /// Words of every length, empty ones and ones that a table keeps elsewhere, which differ in one byte.
    @Test(arguments: [0, 1, 7, 8, 9, 22, 23, 24, 25, 64, 65, 300]) func literalsOfEveryLength(_ count: Int) {
        let text = Array(repeating: UInt8(ascii: "a"), count: count)
        let given = (0...count).map { place in
            var literal = text
            if place < count { literal[place] = UInt8(ascii: "b") }
            let arguments: [CommandPattern.Argument] = [.literal(ByteText(text)), .word] + Self.same(6)
            return CommandPattern(program: Self.tool, arguments: arguments + [.literal(ByteText(literal))])
        }
        let subject = Subject(given)
        for pattern in given {
            var words = Self.words(pattern.arguments)
            subject.compare(Self.tool, words)
            words[0].bytes.append(UInt8(ascii: "a"))
            subject.compare(Self.tool, words)
            words = Self.words(pattern.arguments)
            words[8].bytes.append(0)
            subject.compare(Self.tool, words)
        }
    }

    /// `<path />` has two spellings, which the tree takes for one pattern: neither's rules may be lost there.
    @Test func patternsThatDifferInASpellingAlone() {
        let given = ["/", "", "home", "/home"].flatMap { directory in
            [false, true].map { takesMore in
                let arguments = Array(repeating: CommandPattern.Argument.word, count: 9)
                return CommandPattern(
                    program: Self.tool, arguments: [.path(ByteText(directory))] + arguments, takesMore: takesMore)
            }
        }
        let subject = Subject(given)
        for path: ByteText in ["/", "/home", "home", "", "/x"] {
            let words = [path] + Array(repeating: ByteText("5"), count: 9)
            subject.compare(Self.tool, words)
            subject.compare(Self.tool, words + ["more"])
        }
    }

    // MARK: Parts

    @Test func bytesAreTakenEightAtATime() {
        let bytes = (0..<40).map { UInt8($0 * 5 + 3) }
        for count in 0...40 {
            let span = bytes.span.extracting(first: count)
            let word = { (places: Range<Int>) in
                places.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) }
            }
            // Outside of the macro, which cannot take a span.
            for place in 0..<max(0, count - 7) {
                let eight = span.eight(at: place)
                #expect(eight == word(place..<(place + 8)))
            }
            for place in 0..<max(0, count - 3) {
                let four = span.four(at: place)
                #expect(four == word(place..<(place + 4)))
            }
            let start = count / 8 * 8
            let rest = span.rest(from: start)
            #expect(rest == word(start..<count), "\(count)")
            let isSame = { (other: [UInt8]) in Array(bytes[..<count]).span.isSame(other.span) }
            #expect(isSame(Array(bytes[..<count])))
            #expect(!isSame(Array(bytes[..<count]) + [0]))
            for place in 0..<count {
                var other = Array(bytes[..<count])
                other[place] ^= 0x80
                #expect(!isSame(other), "\(count) \(place)")
            }
        }
    }

    @Test func aRowIsNumberedOnce() {
        var rows = NumberRows()
        let given = (0..<3_000).map { number in
            Array(repeating: UInt32(number % 7), count: number % 11) + [UInt32(number / 2)]
        }
        var seen: [[UInt32]: Int] = [:]
        for row in given + given {
            let number = rows.insert(row)
            #expect(number == seen[row] ?? seen.count)
            seen[row] = number
        }
        for (row, number) in seen {
            for place in row.indices { #expect(rows.number(number, place) == row[place]) }
        }
        #expect(rows.count == seen.count)
        #expect(rows.insert([]) == seen.count)
        #expect(rows.insert([]) == seen.count)
    }
}
