// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import TestSupport

/// Makes sentences of the grammar at random, and damages them.
struct GrammarSentences {
    let grammar: GrammarFile
    let recogniser: GrammarRecogniser
    var random: SeededGenerator

    init(_ grammar: GrammarFile, seed: UInt64) {
        self.grammar = grammar
        recogniser = GrammarRecogniser(grammar: grammar)
        random = SeededGenerator(seed: seed)
    }

    /// Values that the parser takes, where most of what the grammar says would break one of the rules of its head.
    private static let steered: [String: [String]] = [
        "CALL": ["@system-service", "@keyring", "@chown", "read", "umask", "allow", "deny", "openat", "socket"],
        "PROGRAM": ["/usr/bin/id", "/bin/sh", "/opt/a/b.c", "'/opt/a b/c'", "/usr/bin/\\x"],
        "BLOCK": ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "2001:db8::/32", "::/0", "198.51.100.64/26"],
        "DURATION": ["500ms", "10s", "60s", "5m", "2h", "1d", "366d"],
        "SIZE": ["1", "512K", "64M", "2G"], "SEGMENT-SIZE": ["65536", "64K", "32M", "1024G"],
        "TIMES": ["08:00-18:00", "22:00-04:00", "00:00-24:00"],
        "MOMENT": ["2026-11-20T23:30", "2024-2-29T0:00:59", "1583-01-01T00:00"],
    ]

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    // MARK: Tokens

    /// The tokens of a sentence; a newline is one.
    mutating func tokens(_ expression: GrammarExpression) -> [String] {
        switch expression {
        case .text(let text): return [text]
        case .characters: return []
        case .rule("NEWLINE"): return ["\n"]
        case .rule(let name) where GrammarFile.isLexical(name): return [word(name)]
        case .rule(let name): return grammar.rules[name].map { tokens($0) } ?? []
        case .string(let name): return [Self.quoted(word(name))]
        case .number(let range):
            return [
                String(
                    [range.lowerBound, range.upperBound, Int.random(in: range, using: &random)]
                        .randomElement(using: &random) ?? range.lowerBound)
            ]
        case .sequence(let parts): return parts.flatMap { tokens($0) }
        case .choice(let parts): return parts.randomElement(using: &random).map { tokens($0) } ?? []
        case .repeated(let part, let least, let most):
            return (0..<times(least, most)).flatMap { _ in tokens(part) }
        case .without(let part, _): return tokens(part)
        case .interleaved(let parts): return parts.shuffled(using: &random).flatMap { tokens($0) }
        }
    }

    private mutating func times(_ least: Int, _ most: Int?) -> Int {
        if let most, chance(2) { return most }
        var count = least
        while count < most ?? .max, count < least + 4, chance(50) { count += 1 }
        return count
    }

    /// `"…"` with its escapes.
    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    // MARK: Characters

    private mutating func word(_ name: String) -> String {
        text(.rule(name))
    }

    /// A text of an expression of characters.
    private mutating func text(_ expression: GrammarExpression) -> String {
        switch expression {
        case .text(let text): return text
        case .characters(let ranges, let isNegated): return String(scalar(ranges, isNegated))
        case .rule(let name):
            if let values = Self.steered[name], chance(90) { return values.randomElement(using: &random) ?? "" }
            return grammar.rules[name].map { text($0) } ?? ""
        case .string, .number: return ""
        case .sequence(let parts), .interleaved(let parts): return parts.map { text($0) }.joined()
        case .choice(let parts): return parts.randomElement(using: &random).map { text($0) } ?? ""
        case .repeated(let part, let least, let most):
            return (0..<times(least, most)).map { _ in text(part) }.joined()
        case .without(let part, let other):
            var made = text(part)
            while recogniser.isWhole(made, other) { made = text(part) }
            return made
        }
    }

    private mutating func scalar(_ ranges: [ClosedRange<UInt32>], _ isNegated: Bool) -> Unicode.Scalar {
        guard isNegated else {
            let value = ranges.randomElement(using: &random).map { UInt32.random(in: $0, using: &random) }
            return value.flatMap { Unicode.Scalar($0) } ?? "x"
        }
        let candidates = Array("azAZ09_./:%@+*~=$[]-<>{}()|&;?!#`'\"\\,é€ ".unicodeScalars)
        while true {
            guard let one = candidates.randomElement(using: &random) else { continue }
            if !ranges.contains(where: { $0.contains(one.value) }) { return one }
        }
    }

    // MARK: Layout and damage

    /// A text of tokens, with blanks, comments and continued lines between them.
    mutating func layout(_ tokens: [String]) -> String {
        var out = ""
        for token in tokens {
            if token == "\n" {
                if chance(10) { out += " # a { comment } \"" }
                out += "\n"
            } else {
                out += token
                out += chance(90) ? " " : [" \\\n", "\t", " \r", " \\\r\n "].randomElement(using: &random) ?? " "
            }
        }
        return out
    }

    /// A token deleted, doubled, exchanged with the next, replaced by another, damaged itself, or another put in, at one
    /// place or two.
    mutating func damaged(_ tokens: [String], with pool: [String]) -> [String] {
        var tokens = tokens
        repeat {
            guard !tokens.isEmpty else { break }
            let place = Int.random(in: tokens.indices, using: &random)
            // Marks are what most is left standing by, so that the parser has its own to take.
            let other = (chance(50) ? [",", "\n", "{", "}"] : pool).randomElement(using: &random) ?? "x"
            switch Int.random(in: 0..<7, using: &random) {
            case 0: tokens.remove(at: place)
            case 1: tokens.insert(tokens[place], at: place)
            case 2: tokens.swapAt(place, (place + 1) % tokens.count)
            case 3: tokens[place] = other
            case 4, 5: tokens[place] = damaged(tokens[place])
            default: tokens.insert(other, at: place)
            }
        } while chance(20)
        return tokens
    }

    /// A character of a token deleted, doubled or replaced.
    private mutating func damaged(_ token: String) -> String {
        var characters = Array(token.unicodeScalars)
        guard let place = characters.indices.randomElement(using: &random), token != "\n" else { return token }
        switch Int.random(in: 0..<3, using: &random) {
        case 0: characters.remove(at: place)
        case 1: characters.insert(characters[place], at: place)
        default:
            characters[place] =
                Array("aZ09_./:%@+*~=$[]-<>{}|;\"\\, ".unicodeScalars).randomElement(using: &random) ?? "x"
        }
        return String(String.UnicodeScalarView(characters))
    }
}
