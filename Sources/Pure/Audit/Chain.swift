// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// SHA-256, passed in by the process zones: cryptography is never home-made, and Pure imports none.
public typealias Digest = @Sendable ([UInt8]) -> [UInt8]

/// The chain of a line: SHA-256 over the previous line's chain, a newline, and the line up to and without ` chain=`.
public struct ChainHead: Sendable, Hashable, CustomStringConvertible {
    /// The number of hexadecimal digits.
    public static let size = 64

    /// The lower-case digits, in ASCII, as they stand in the line and as the next line's chain covers them.
    let digits: [UInt8]

    /// Before the first line: sixty-four zeros.
    public static let zero = ChainHead(unchecked: Array(repeating: UInt8(ascii: "0"), count: size))

    private init(unchecked digits: [UInt8]) {
        self.digits = digits
    }

    /// Takes sixty-four lower-case digits; nil for anything else.
    public init?(digits: some Collection<UInt8>) {
        guard digits.count == Self.size, digits.allSatisfy(Self.isDigit) else { return nil }
        self.init(unchecked: Array(digits))
    }

    /// Takes the thirty-two bytes of a digest; a digest of another length is a defect of ours and gives zeros' chain.
    init(digest: [UInt8]) {
        precondition(digest.count * 2 == Self.size, "a digest of 32 bytes")
        var digits: [UInt8] = []
        digits.reserveCapacity(Self.size)
        for byte in digest {
            digits.append(Self.digit(byte >> 4))
            digits.append(Self.digit(byte & 15))
        }
        self.init(unchecked: digits)
    }

    /// The digits as text.
    public var description: String { String(decoding: digits, as: UTF8.self) }

    private static func digit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") - 10 + nibble
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): true
        default: false
        }
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
                text.append(contentsOf: position.head.digits)
                startsSegment = false
            }
            let head = position.head.next(over: text[start...], digest, scratch: &scratch)
            text.append(contentsOf: " chain=".utf8)
            text.append(contentsOf: head.digits)
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
        scratch.append(contentsOf: digits)
        scratch.append(UInt8(ascii: "\n"))
        scratch.append(contentsOf: text)
        return ChainHead(digest: digest(scratch))
    }
}
