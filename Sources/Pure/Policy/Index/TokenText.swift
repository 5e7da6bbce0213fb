// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The tokens of patterns one after the other in one array, so that what is compared together lies together.
struct TokenText: Sendable {
    /// What the first byte of a token says; of the last two, a length and the bytes follow.
    private enum Kind: UInt8 {
        case end
        case more
        case integer
        case word
        case literal
        case path
    }

    enum Token {
        case argument(CommandPattern.Argument)
        case end
        case more
    }

    private static let headSize = 5

    private var bytes: [UInt8] = []

    /// Adds tokens and their end; where they stand.
    mutating func append(_ arguments: ArraySlice<CommandPattern.Argument>, takesMore: Bool) -> UInt32 {
        // INVARIANT: a policy's text is at most 128 MiB, so that what is named in it fits.
        let start = UInt32(bytes.count)
        for argument in arguments {
            switch argument {
            case .integer: bytes.append(Kind.integer.rawValue)
            case .word: bytes.append(Kind.word.rawValue)
            case .literal(let literal): append(.literal, literal)
            case .path(let directory): append(.path, directory)
            }
        }
        bytes.append((takesMore ? Kind.more : .end).rawValue)
        return start
    }

    private mutating func append(_ kind: Kind, _ text: ByteText) {
        bytes.append(kind.rawValue)
        for step in UInt32(0)..<4 { bytes.append(UInt8(truncatingIfNeeded: UInt32(text.count) >> (step * 8))) }
        bytes.append(contentsOf: text.bytes)
    }

    /// The token at a place, and the place of the next one.
    subscript(_ place: UInt32) -> (token: Token, next: UInt32) {
        let place = Int(place)
        switch kind(place) {
        case .end: return (.end, UInt32(place))
        case .more: return (.more, UInt32(place))
        case .integer: return (.argument(.integer), UInt32(place + 1))
        case .word: return (.argument(.word), UInt32(place + 1))
        case .literal:
            let text = text(place)
            return (.argument(.literal(ByteText(Array(bytes[text])))), UInt32(text.upperBound))
        case .path:
            let text = text(place)
            return (.argument(.path(ByteText(Array(bytes[text])))), UInt32(text.upperBound))
        }
    }

    /// Whether the tokens from a place on are these.
    func isSame(_ place: UInt32, _ arguments: ArraySlice<CommandPattern.Argument>, takesMore: Bool) -> Bool {
        var place = Int(place)
        for argument in arguments {
            switch (kind(place), argument) {
            case (.integer, .integer), (.word, .word): place += 1
            case (.literal, .literal(let text)), (.path, .path(let text)):
                let its = self.text(place)
                guard isEqual(its, text) else { return false }
                place = its.upperBound
            default: return false
            }
        }
        return kind(place) == (takesMore ? .more : .end)
    }

    /// Whether words from one on, but for one that is left out, are what the tokens from a place on say.
    func match(_ place: UInt32, from first: Int, but leftOut: Int?, _ words: inout CommandWords) -> Bool {
        var place = Int(place)
        var depth = first
        while true {
            if depth == leftOut { depth += 1 }
            let kind = kind(place)
            if kind == .more { return true }
            guard depth < words.count else { return kind == .end }
            switch kind {
            case .end, .more: return false
            case .integer:
                guard words.isInteger(depth) else { return false }
                place += 1
            case .word:
                guard words.isWord(depth) else { return false }
                place += 1
            case .literal:
                let text = text(place)
                guard isEqual(text, words[depth]) else { return false }
                place = text.upperBound
            case .path:
                let text = text(place)
                guard isBeneath(words[depth], text), words.isPlain(depth) else { return false }
                place = text.upperBound
            }
            depth += 1
        }
    }

    private func kind(_ place: Int) -> Kind {
        // INVARIANT: places are of tokens.
        Kind(rawValue: bytes[place]) ?? .end
    }

    /// The bytes of a literal or a directory.
    @inline(__always)
    private func text(_ place: Int) -> Range<Int> {
        let start = place + Self.headSize
        return start..<(start + Int(bytes.span.four(at: place + 1)))
    }

    @inline(__always)
    private func isEqual(_ text: Range<Int>, _ word: ByteText) -> Bool {
        bytes.span.extracting(text).isSame(word.bytes.span)
    }

    private func isStart(_ text: Range<Int>, of word: ByteText) -> Bool {
        guard text.count <= word.bytes.count else { return false }
        return bytes.span.extracting(text).isSame(word.bytes.span.extracting(first: text.count))
    }

    /// As `AbsolutePath.isBeneath`.
    private func isBeneath(_ word: ByteText, _ directory: Range<Int>) -> Bool {
        guard isStart(directory, of: word) else { return false }
        guard directory.count != 1 || bytes[directory.lowerBound] != UInt8(ascii: "/") else { return true }
        return word.bytes.count == directory.count || word.bytes[directory.count] == UInt8(ascii: "/")
    }
}
