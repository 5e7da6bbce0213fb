// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What is wrong with a trail, and where first.
public struct TrailFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// What can be wrong.
    public enum Problem: Sendable, Hashable {
        /// The line is none that this program writes.
        case notARecord
        /// The line is longer than any that this program writes.
        case tooLong
        /// The number is not the one that follows: records are missing, or in another order.
        case sequence(expected: UInt64, found: UInt64)
        /// The chain does not fit the line and the one before: one of them was changed.
        case chain
        /// A segment's first line names another past than the segment before has.
        case past
        /// The last line has no end: a crash tore it.
        case torn
        /// The record is not the one that a checkpoint covers: it, or one from `since` on, was written anew. The number
        /// is that of the checkpoint; nil for one that was kept elsewhere.
        case checkpoint(number: Int?, since: UInt64)
        /// The trail ends before the last record that a checkpoint covers.
        case short(covered: UInt64)
        /// The trail begins behind the last checkpoint: between them records are missing that none covers.
        case uncovered(from: UInt64, to: UInt64)
    }

    /// The line, from 1.
    public var line: Int
    /// What is wrong with it.
    public var problem: Problem

    /// A fault.
    public init(line: Int, problem: Problem) {
        self.line = line
        self.problem = problem
    }

    /// For people, without the line's number.
    public var description: String {
        switch problem {
        case .notARecord: "not a record"
        case .tooLong: "longer than any record"
        case .sequence(let expected, let found): "record \(found) where \(expected) belongs"
        case .chain: "the chain does not fit: this record, or the one before it, was changed"
        case .past: "the segment does not continue the one before it"
        case .torn: "the last record is torn"
        case .checkpoint(let number, let since):
            "not what checkpoint \(number.map { "\($0)" } ?? "FILE") covers: a record from \(since) to this one was changed"
        case .uncovered(let first, let last):
            "the trail begins behind its last checkpoint: records \(first) to \(last) are neither here nor covered"
        case .short(let covered): "the trail ends here, but a checkpoint covers \(covered) records"
        }
    }
}

/// A place that a trail has to pass: the last record that a checkpoint covers.
public struct CheckpointMark: Sendable, Hashable {
    /// The place.
    public var position: ChainPosition
    /// The checkpoint's number; nil for one that was kept elsewhere.
    public var number: Int?

    /// A mark.
    public init(position: ChainPosition, number: Int?) {
        self.position = position
        self.number = number
    }
}

/// Checks the chain of one segment after the other, in whatever pieces they are read, with memory for one line.
public struct TrailVerifier: Sendable {
    /// The last good line.
    public private(set) var position: ChainPosition
    /// The number of good lines of this segment so far.
    public private(set) var lines = 0
    /// The number of good lines of all segments so far.
    public private(set) var records = 0
    /// The number of the first record that is there; nil before it.
    public private(set) var first: UInt64?

    /// The places that checkpoints cover, in their order; set before the first line.
    public var marks: [CheckpointMark] = []
    /// How many of the marks were passed, or lie before the first record that is there.
    public private(set) var marksPassed = 0

    /// When the first record that no mark covers was written, in milliseconds since 1970; nil while there is none.
    public private(set) var uncoveredSince: UInt64?

    /// Whether the first line must continue `position`; otherwise a first line with `prev=` may name any past.
    private var continues: Bool
    private let digest: Digest
    private var partial: [UInt8] = []
    private var scratch: [UInt8] = []

    /// A verifier of a segment; after another one's last position, or of the first segment there is.
    public init(after position: ChainPosition? = nil, digest: @escaping Digest) {
        self.position = position ?? .start
        continues = position != nil
        self.digest = digest
    }

    /// Says that the segment ends here and another one follows.
    public mutating func startSegment() throws(TrailFault) {
        try finish()
        // After a segment without a line there is still nothing to go on from.
        continues = continues || lines > 0
        lines = 0
    }

    /// Says that the trail ends here.
    public func finishTrail() throws(TrailFault) {
        try finish()
        guard let last = marks.last else { return }
        if marksPassed < marks.count { throw fault(.short(covered: last.position.sequence)) }
        // A segment is covered when it is closed, so that one whose former ones were taken away begins behind a checkpoint.
        if let first = first, last.position.sequence < first - 1 {
            throw fault(.uncovered(from: last.position.sequence + 1, to: first - 1))
        }
    }

    /// Checks the lines that a piece completes; the first bad one is thrown.
    public mutating func take(_ piece: [UInt8]) throws(TrailFault) {
        var rest = piece[...]
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if partial.isEmpty {
                try check(rest[..<newline])
            } else {
                guard partial.count + (newline - rest.startIndex) < TrailFormat.lineLimit else { throw fault(.tooLong) }
                partial.append(contentsOf: rest[..<newline])
                let line = partial
                partial.removeAll(keepingCapacity: true)
                try check(line[...])
            }
            rest = rest[newline...].dropFirst()
        }
        guard partial.count + rest.count < TrailFormat.lineLimit else { throw fault(.tooLong) }
        partial.append(contentsOf: rest)
    }

    /// Says that the segment ends here.
    public func finish() throws(TrailFault) {
        guard partial.isEmpty else { throw fault(.torn) }
    }

    private func fault(_ problem: TrailFault.Problem) -> TrailFault {
        TrailFault(line: lines + 1, problem: problem)
    }

    /// Checks a line without its newline.
    mutating func check(_ line: ArraySlice<UInt8>) throws(TrailFault) {
        guard line.count < TrailFormat.lineLimit else { throw fault(.tooLong) }
        guard line.starts(with: "type=".utf8), let end = LineEnd(line) else { throw fault(.notARecord) }
        if lines == 0, let previous = end.previous {
            if continues {
                guard previous == position.head else { throw fault(.past) }
            } else {
                position = ChainPosition(sequence: end.sequence - 1, head: previous)
            }
        } else if end.previous != nil {
            // Only a first line has a past.
            throw fault(.past)
        } else if lines == 0, continues {
            throw fault(.past)
        }
        let expected = position.sequence &+ 1
        guard end.sequence == expected else { throw fault(.sequence(expected: expected, found: end.sequence)) }
        let head = position.head.next(over: line.prefix(end.coveredCount), digest, scratch: &scratch)
        guard head == end.head else { throw fault(.chain) }
        if first == nil {
            first = end.sequence
            // What was covered before the first record that is there can no longer be seen, but for the past that it names.
            while marksPassed < marks.count, marks[marksPassed].position.sequence < position.sequence {
                marksPassed += 1
            }
            try passMarks()
        }
        position = ChainPosition(sequence: end.sequence, head: head)
        if marksPassed < marks.count, marks[marksPassed].position.sequence == position.sequence { try passMarks() }
        if uncoveredSince == nil, end.sequence > marks.last?.position.sequence ?? 0 {
            uncoveredSince = TrailLine(line)?.stamp.milliseconds
        }
        lines += 1
        records += 1
    }

    /// Holds the marks at this place against it.
    private mutating func passMarks() throws(TrailFault) {
        while marksPassed < marks.count, marks[marksPassed].position.sequence == position.sequence {
            let mark = marks[marksPassed]
            guard mark.position.head == position.head else {
                let before = marks[..<marksPassed].last?.position.sequence ?? 0
                throw fault(.checkpoint(number: mark.number, since: max(before + 1, first ?? 1)))
            }
            marksPassed += 1
        }
    }
}

/// The check of a trail's end before anything is appended to it.
public enum TailCheck: Sendable, Hashable {
    /// There is nothing yet.
    case empty
    /// It ends with a whole record.
    case whole(ChainPosition)
    /// Bytes without a newline follow the last whole record, if there is one; a crash tore them.
    case torn(after: ChainPosition, bytes: Int)
    /// The chain is broken: nothing may be appended. With the last line's place, where one can be read.
    case broken(TrailFault, last: ChainPosition?)

    /// The most bytes that are looked at, from the end.
    public static let window = 131_072

    /// Checks the last bytes of a file.
    ///
    /// - Parameters:
    ///   - tail: The last `window` bytes, or the whole file where it is shorter.
    ///   - isWhole: Whether they are the whole file.
    ///   - digest: SHA-256.
    public init(tail: [UInt8], isWhole: Bool, digest: @escaping Digest) {
        var rest = tail[...]
        let torn = rest.reversed().prefix { $0 != UInt8(ascii: "\n") }.count
        rest = rest.dropLast(torn)
        var verifier = TrailVerifier(digest: digest)
        if !isWhole {
            // The window begins within a line. The first whole one is believed; the others are held against it.
            rest = rest.drop { $0 != UInt8(ascii: "\n") }.dropFirst()
            let first = rest.prefix { $0 != UInt8(ascii: "\n") }
            guard let end = LineEnd(first) else {
                self = .broken(TrailFault(line: 1, problem: .notARecord), last: Self.lastPosition(rest))
                return
            }
            verifier = TrailVerifier(
                goingOn: ChainPosition(sequence: end.sequence, head: end.head), digest: digest)
            rest = rest.dropFirst(first.count + 1)
        }
        do throws(TrailFault) {
            try verifier.take(Array(rest))
        } catch {
            self = .broken(error, last: Self.lastPosition(rest))
            return
        }
        if torn > 0 {
            self = .torn(after: verifier.position, bytes: torn)
        } else {
            self = isWhole && tail.isEmpty ? .empty : .whole(verifier.position)
        }
    }

    private static func lastPosition(_ text: ArraySlice<UInt8>) -> ChainPosition? {
        guard let line = text.split(separator: UInt8(ascii: "\n")).last, let end = LineEnd(line) else { return nil }
        return ChainPosition(sequence: end.sequence, head: end.head)
    }
}

extension TrailVerifier {
    /// A verifier in the middle of a segment.
    init(goingOn position: ChainPosition, digest: @escaping Digest) {
        self.init(digest: digest)
        self.position = position
        lines = 1
    }
}
