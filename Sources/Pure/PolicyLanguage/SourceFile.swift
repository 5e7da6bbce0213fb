// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The text of one policy file, as it was opened.
public struct SourceFile: Sendable {
    /// The most bytes of a file.
    public static let sizeLimit = 64 << 20

    /// The name, as diagnostics and records show it.
    public let name: String

    /// What tells one file from another: a path, or device and inode. Two files of one identity are one file.
    public let identity: String

    /// What the opener calls it: given back to it when the file includes others.
    public let handle: Int

    /// The bytes, of any kind; the parser checks them.
    public let bytes: [UInt8]

    /// A file.
    public init(name: String, identity: String? = nil, handle: Int = 0, bytes: [UInt8]) {
        self.name = name
        self.identity = identity ?? name
        self.handle = handle
        self.bytes = bytes
    }

    /// A file of a text of our own.
    public init(name: String, text: String) {
        self.init(name: name, bytes: Array(text.utf8))
    }
}

/// A file of which any place can be named. Its lines are counted as far as somebody asked: of a large file without
/// faults, nobody does.
final class NumberedFile {
    let source: SourceFile
    /// Where each line starts, as far as they are counted; a file is at most `SourceFile.sizeLimit` bytes long.
    private var lineStarts: [Int32] = [0]
    /// The bytes that have been looked at.
    private var counted = 0

    init(_ source: SourceFile) {
        self.source = source
    }

    /// Counts lines until one starts behind an offset, or the file ends.
    private func count(past offset: Int) {
        let bytes = source.bytes
        while counted < bytes.count, Int(lineStarts.last ?? 0) <= offset {
            if bytes[counted] == UInt8(ascii: "\n") { lineStarts.append(Int32(counted + 1)) }
            counted += 1
        }
    }

    /// The line of an offset, from 1.
    func line(at offset: Int) -> Int {
        count(past: offset)
        var low = 0
        var high = lineStarts.count
        while low < high {
            let middle = low + (high - low) / 2
            // INVARIANT: low <= middle < high <= lineStarts.count.
            if Int(lineStarts[middle]) <= offset { low = middle + 1 } else { high = middle }
        }
        return max(low, 1)
    }

    /// The bytes of a line without its end, and where it starts; of one that `line(at:)` gave.
    func lineBytes(_ line: Int) -> (start: Int, bytes: ArraySlice<UInt8>) {
        guard lineStarts.indices.contains(line - 1) else { return (0, []) }
        let start = Int(lineStarts[line - 1])
        var end = lineStarts.indices.contains(line) ? Int(lineStarts[line]) : source.bytes.count
        for mark in [UInt8(ascii: "\n"), UInt8(ascii: "\r")] where end > start && source.bytes[end - 1] == mark {
            end -= 1
        }
        return (start, source.bytes[start..<end])
    }
}

/// A stretch of a file.
struct Span: Sendable, Hashable {
    /// The file's number, in the order of opening.
    var file: Int32
    /// The first byte.
    var start: Int32
    /// The byte after the last.
    var end: Int32

    init(file: Int, start: Int, end: Int) {
        // INVARIANT: files are at most `SourceFile.sizeLimit` bytes and there are few of them.
        self.file = Int32(clamping: file)
        self.start = Int32(clamping: start)
        self.end = Int32(clamping: end)
    }

    /// From the start of this to the end of another.
    func through(_ other: Span) -> Span {
        var span = self
        span.end = max(end, other.end)
        return span
    }
}
