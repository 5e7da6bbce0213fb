// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// Which trail is read: the gateway's own with all its segments, or files that were named.
struct TrailPlaces: ParsableArguments {
    @OptionGroup var state: StateOptions

    @Argument(
        help:
            "Trails to read instead of the gateway's own with all its segments, the oldest first; or their directory.",
        completion: .file())
    var files: [String] = []

    /// The trail, with nothing of it opened yet; a directory that is named is that of a trail.
    var source: TrailSource {
        if let only = files.first, files.count == 1, (try? File.status(only))?.kind == .directory {
            return TrailSource(directory: only)
        }
        return files.isEmpty ? TrailSource(directory: state.directory + "/audit") : TrailSource(files: files)
    }
}

/// The segments of a trail, the oldest first, opened one after the other.
///
/// A rotation while they are read loses nothing and gives nothing twice: the live segment is opened before its directory is
/// listed, and is known again by its inode when it has got another name.
struct TrailSource {
    /// A segment, open.
    struct Segment {
        /// Where it was found; after a rotation it has another name.
        let path: String
        /// The file.
        let file: Descriptor
        /// Which file it is.
        let identity: FileIdentity
        /// Whether it is the one that is being written, so that more may come.
        let isLive: Bool
    }

    private enum Place {
        case directory(String)
        case files(ArraySlice<String>)
    }

    private var place: Place
    /// The number of the last rotated segment that was given.
    private var lastNumber: UInt64?
    /// The last segment that was given, held open so that its inode stays its own.
    private var last: Segment?

    /// The gateway's own trail.
    init(directory: String) {
        place = .directory(directory)
    }

    /// Files that were named.
    init(files: [String]) {
        place = .files(files[...])
    }

    /// Says that each named file can be read, before anything is said of the first; nothing of the gateway's own, whose
    /// segments are found on the way.
    func check() throws {
        guard case .files(let paths) = place else { return }
        for path in paths { _ = try Self.open(path, isLive: false) }
    }

    /// The segment after the last; nil where there is none yet.
    mutating func next() throws -> Segment? {
        switch place {
        case .files(let paths):
            guard let path = paths.first else { return nil }
            place = .files(paths.dropFirst())
            return try Self.open(path, isLive: false)
        case .directory(let directory):
            return try next(in: directory)
        }
    }

    /// Whether there is nothing of a gateway's own trail yet.
    var isEmpty: Bool {
        guard case .directory(let directory) = place else { return false }
        let live = directory + "/" + TrailSegment.liveName
        return (try? File.linkStatus(live)) == nil && Self.rotated(in: directory, after: nil).isEmpty
    }

    private mutating func next(in directory: String) throws -> Segment? {
        let path = directory + "/" + TrailSegment.liveName
        while true {
            // ORDER: opened before the directory is listed, so that whatever was rotated until then is in the list.
            let live = try Self.openIfThere(path, isLive: true)
            guard let name = Self.rotated(in: directory, after: lastNumber).first else {
                guard let live else {
                    if last == nil { _ = try Self.open(path, isLive: true) }
                    return nil
                }
                guard live.identity != last?.identity else { return nil }
                last = live
                return live
            }
            lastNumber = name.number
            // One that was removed meanwhile, or was read while it was the live one.
            guard let segment = try Self.openIfThere(directory + "/" + name.text, isLive: false),
                segment.identity != last?.identity
            else { continue }
            last = segment
            return segment
        }
    }

    /// Opens a segment; nil where there is none of this name.
    private static func openIfThere(_ path: String, isLive: Bool) throws -> Segment? {
        do throws(SystemError) {
            return try opened(path, isLive: isLive)
        } catch {
            if error.isNotFound { return nil }
            throw unreadable(path, error)
        }
    }

    private static func open(_ path: String, isLive: Bool) throws -> Segment {
        do throws(SystemError) {
            return try opened(path, isLive: isLive)
        } catch {
            throw unreadable(path, error)
        }
    }

    private static func opened(_ path: String, isLive: Bool) throws(SystemError) -> Segment {
        let file = try File.open(path, [.reading, .nonBlocking])
        let status = try File.status(file)
        guard status.kind == .regular else { throw SystemError(22 /* EINVAL */, "not a regular file") }
        return Segment(path: path, file: file, identity: status.identity, isLive: isLive)
    }

    private static func unreadable(_ path: String, _ error: SystemError) -> Failure {
        let hint = error.isNotFound ? " (has a gateway run with this --state-directory?)" : ""
        return Failure(description: "cannot read the trail \(path): \(error.text)\(hint)")
    }

    /// The closed segments after a number, in their order.
    private static func rotated(in directory: String, after last: UInt64?) -> [(number: UInt64, text: String)] {
        let segments = TrailSegment.segments(among: (try? Directory.names(directory)) ?? [])
        return segments.compactMap { segment in segment.first.map { (number: $0, text: segment.name) } }
            .filter { found in last.map { found.number > $0 } ?? true }
    }
}

/// Reads a trail from its beginning, segment by segment, with memory for one piece and one record.
struct TrailReading {
    /// Bytes that are read at once.
    private static let pieceSize = 1 << 20

    private var source: TrailSource
    private let mayMatter: ((ArraySlice<UInt8>) -> Bool)?
    /// How many segments were read.
    private(set) var segments = 0
    /// How many lines were no records, a torn last one included.
    private(set) var unreadable = 0
    /// How many records were read, a command in several lines counting as one.
    private(set) var records = 0
    /// The last line that was read: with it a trail can be held against another copy of it.
    private(set) var lastLine: (sequence: UInt64, head: ChainHead)?

    /// - Parameters:
    ///   - source: what is read.
    ///   - mayMatter: says quickly of a line whether it is of any interest; one that is not is not looked at further.
    init(_ source: TrailSource, mayMatter: ((ArraySlice<UInt8>) -> Bool)? = nil) throws {
        self.source = source
        self.mayMatter = mayMatter
        try source.check()
    }

    /// Reads all that there is, and gives each record; what is no record is named on standard error.
    mutating func read(_ body: (TrailEvent) throws -> Void) throws {
        var joiner = CommandJoiner()
        while let segment = try source.next() {
            segments += 1
            var cutter = LineCutter()
            var offset: Int64 = 0
            var number = 0
            while true {
                let piece = try File.read(segment.file, at: offset, limit: Self.pieceSize)
                if piece.isEmpty { break }
                offset += Int64(piece.count)
                try cutter.take(piece) { bytes in
                    number += 1
                    if let mayMatter, !mayMatter(bytes) { return }
                    guard let line = TrailLine(bytes), let entry = Entry(line: line) else {
                        unreadable += 1
                        complain(
                            "\(segment.path):\(number): not a record: \(ByteText(Array(bytes.prefix(80))).printable)")
                        return
                    }
                    lastLine = (line.sequence, line.head)
                    try joiner.take(line, entry) { event throws in
                        records += 1
                        try body(event)
                    }
                }
            }
            if !cutter.rest.isEmpty {
                unreadable += 1
                complain("\(segment.path):\(number + 1): the last record is torn: \(cutter.rest.count) bytes")
            }
            if segment.isLive { break }
        }
        try joiner.finish { event throws in
            records += 1
            try body(event)
        }
    }
}

/// Joins the lines of a long command to one record.
struct CommandJoiner {
    private var pending: TrailEvent?

    /// Takes a line, and gives the records that it completes.
    mutating func take(_ line: TrailLine, _ entry: Entry, _ body: (TrailEvent) throws -> Void) rethrows {
        let part = CommandPart(line: line)
        if let part, part.number > 1, pending?.add(line, entry) == true {
            guard part.number == part.count, let whole = pending else { return }
            pending = nil
            return try body(whole)
        }
        try finish(body)
        let event = TrailEvent(line: line, entry: entry)
        if let part, part.number < part.count {
            pending = event
        } else {
            try body(event)
        }
    }

    /// Gives what was not completed.
    mutating func finish(_ body: (TrailEvent) throws -> Void) rethrows {
        guard let event = pending else { return }
        pending = nil
        try body(event)
    }
}
