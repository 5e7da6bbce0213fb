// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// SHA-256, passed in by the process zones: cryptography is never home-made, and Pure imports none.
public typealias Digest = @Sendable ([UInt8]) -> [UInt8]

/// The chain of a line: SHA-256 over the previous line's chain, a newline, and the line up to and without ` chain=`.
public struct ChainHead: Sendable, Hashable, CustomStringConvertible {
    /// The number of hexadecimal digits.
    public static let size = 64

    // In place, because a trail of millions of lines has two a line.
    private let first: UInt64
    private let second: UInt64
    private let third: UInt64
    private let fourth: UInt64

    /// Before the first line: sixty-four zeros.
    public static let zero = ChainHead(0, 0, 0, 0)

    private init(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) {
        self.first = first
        self.second = second
        self.third = third
        self.fourth = fourth
    }

    /// Takes sixty-four lower-case digits; nil for anything else.
    public init?(digits: some Collection<UInt8>) {
        guard digits.count == Self.size else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        for digit in digits {
            let nibble: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
            default: return nil
            }
            words.0 = words.0 << 4 | words.1 >> 60
            words.1 = words.1 << 4 | words.2 >> 60
            words.2 = words.2 << 4 | words.3 >> 60
            words.3 = words.3 << 4 | UInt64(nibble)
        }
        self.init(words.0, words.1, words.2, words.3)
    }

    /// Takes the thirty-two bytes of a digest; nil for another number.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count * 2 == Self.size else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        for byte in bytes {
            words.0 = words.0 << 8 | words.1 >> 56
            words.1 = words.1 << 8 | words.2 >> 56
            words.2 = words.2 << 8 | words.3 >> 56
            words.3 = words.3 << 8 | UInt64(byte)
        }
        self.init(words.0, words.1, words.2, words.3)
    }

    /// The thirty-two bytes.
    public var bytes: [UInt8] {
        [first, second, third, fourth].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
        }
    }

    /// The lower-case digits, in ASCII, as they stand in the line and as the next line's chain covers them.
    func append(to text: inout [UInt8]) {
        Self.append(first, to: &text)
        Self.append(second, to: &text)
        Self.append(third, to: &text)
        Self.append(fourth, to: &text)
    }

    private static func append(_ word: UInt64, to text: inout [UInt8]) {
        var rest = word
        for _ in 0..<16 {
            let nibble = UInt8(truncatingIfNeeded: rest >> 60)
            text.append(nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") - 10 + nibble)
            rest <<= 4
        }
    }

    /// The digits as text.
    public var description: String {
        var digits: [UInt8] = []
        append(to: &digits)
        return String(decoding: digits, as: UTF8.self)
    }
}

/// A place in the trail: the number and the chain of its last line.
public struct ChainPosition: Sendable, Hashable {
    /// The last line's `seq`; 0 before the first.
    public var sequence: UInt64
    /// The last line's chain.
    public var head: ChainHead

    /// A place.
    public init(sequence: UInt64, head: ChainHead) {
        self.sequence = sequence
        self.head = head
    }

    /// The place of a line, as it says itself: without its newline, and not checked.
    public init?(saidBy line: ArraySlice<UInt8>) {
        guard let end = LineEnd(line) else { return nil }
        self.init(sequence: end.sequence, head: end.head)
    }

    /// Before the first line of a trail.
    public static let start = ChainPosition(sequence: 0, head: .zero)
}

/// The growing end of a trail: gives entries their numbers and links their lines.
///
/// A value: the writer keeps a copy of the chain as it is on disk, and goes back to it when a write fails.
public struct Chain: Sendable {
    /// The last line.
    public private(set) var position: ChainPosition

    /// Whether the next line is the first of a segment that follows another one, and carries `prev=`.
    public private(set) var startsSegment: Bool

    /// Says that the segment is closed: what comes next is the first line of another one.
    public mutating func startSegment() {
        // A segment that follows nothing has no past.
        startsSegment = position != .start
    }

    private let digest: Digest
    private var scratch: [UInt8] = []

    /// A chain that goes on from a place.
    public init(after position: ChainPosition, startsSegment: Bool = false, digest: @escaping Digest) {
        self.position = position
        self.startsSegment = startsSegment
        self.digest = digest
    }

    /// Appends an entry's lines, each ended by a newline, and returns how many there are.
    @discardableResult
    public mutating func append(_ entry: Entry, _ stamp: Stamp, to text: inout [UInt8]) -> Int {
        let writer = LineWriter(entry: entry, stamp: stamp)
        for part in 0..<writer.parts {
            // A trail of 2^64 lines will not be seen.
            let sequence = position.sequence &+ 1
            let start = text.count
            writer.append(part: part, sequence: sequence, to: &text)
            if startsSegment {
                text.append(contentsOf: " prev=".utf8)
                position.head.append(to: &text)
                startsSegment = false
            }
            let head = position.head.next(over: text[start...], digest, scratch: &scratch)
            text.append(contentsOf: " chain=".utf8)
            head.append(to: &text)
            text.append(UInt8(ascii: "\n"))
            position = ChainPosition(sequence: sequence, head: head)
        }
        return writer.parts
    }
}

extension ChainHead {
    /// The chain of the line that follows, whose text goes up to and without ` chain=`.
    func next(over text: ArraySlice<UInt8>, _ digest: Digest, scratch: inout [UInt8]) -> ChainHead {
        scratch.removeAll(keepingCapacity: true)
        append(to: &scratch)
        scratch.append(UInt8(ascii: "\n"))
        scratch.append(contentsOf: text)
        guard let head = ChainHead(bytes: digest(scratch)) else { preconditionFailure("a digest of 32 bytes") }
        return head
    }
}
