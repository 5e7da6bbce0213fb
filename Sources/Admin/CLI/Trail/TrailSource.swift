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
    /// A segment, open, and how far it was read.
    struct Segment {
        /// Bytes that are read at once.
        private static let pieceSize = 1 << 20

        /// Where it was found; after a rotation it has another name.
        let path: String
        /// Which file it is.
        let identity: FileIdentity
        /// Whether it is the one that is being written, so that more may come.
        let isLive: Bool

        private let file: Descriptor
        private var offset: Int64 = 0

        /// Opens a segment.
        ///
        /// - Parameter isOwn: whether it lies in a trail's directory, where the auditor's account makes names: no link is
        ///   followed there.
        fileprivate init(_ path: String, isLive: Bool, isOwn: Bool) throws(SystemError) {
            file = isOwn ? try File.openRegular(path) : try File.open(path, [.reading, .nonBlocking])
            let status = try File.status(file)
            guard status.kind == .regular else { throw SystemError(22 /* EINVAL */, "not a regular file") }
            self.path = path
            identity = status.identity
            self.isLive = isLive
        }

        /// The next bytes; empty at the end, which a segment that is being written has again and again.
        mutating func next() throws -> [UInt8] {
            let piece = try File.read(file, at: offset, limit: Self.pieceSize)
            offset += Int64(piece.count)
            return piece
        }

        /// Goes on within so many bytes of the end as it is now; false where that is the beginning.
        mutating func skip(toLast window: Int64) throws -> Bool {
            offset = max(0, try File.status(file).size - window)
            return offset > 0
        }
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
        for path in paths { _ = try Self.open(path, isLive: false, isOwn: false) }
    }

    /// The segment after the last; nil where there is none yet.
    mutating func next() throws -> Segment? {
        switch place {
        case .files(let paths):
            guard let path = paths.first else { return nil }
            place = .files(paths.dropFirst())
            return try Self.open(path, isLive: false, isOwn: false)
        case .directory(let directory):
            return try next(in: directory)
        }
    }

    /// Whether there is nothing of a gateway's own trail yet.
    var isEmpty: Bool {
        guard case .directory(let directory) = place else { return false }
        let live = directory + "/" + TrailSegment.liveName
        return (try? File.linkStatus(live)) == nil && (try? Self.rotated(in: directory, after: nil))?.isEmpty ?? true
    }

    private mutating func next(in directory: String) throws -> Segment? {
        let path = directory + "/" + TrailSegment.liveName
        while true {
            // ORDER: opened before the directory is listed, so that whatever was rotated until then is in the list.
            let live = try Self.openIfThere(path, isLive: true)
            guard let name = try Self.rotated(in: directory, after: lastNumber).first else {
                guard let live else {
                    if last == nil { _ = try Self.open(path, isLive: true, isOwn: true) }
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

    /// Opens a segment of a directory; nil where there is none of this name.
    private static func openIfThere(_ path: String, isLive: Bool) throws -> Segment? {
        do throws(SystemError) {
            return try Segment(path, isLive: isLive, isOwn: true)
        } catch {
            if error.isNotFound { return nil }
            throw unreadable(path, error)
        }
    }

    private static func open(_ path: String, isLive: Bool, isOwn: Bool) throws -> Segment {
        do throws(SystemError) {
            return try Segment(path, isLive: isLive, isOwn: isOwn)
        } catch {
            throw unreadable(path, error)
        }
    }

    private static func unreadable(_ path: String, _ error: SystemError) -> Failure {
        let hint = error.isNotFound ? " (has a gateway run with this --state-directory?)" : ""
        return Failure(description: "cannot read the trail \(path): \(error.text)\(hint)")
    }

    /// The closed segments after a number, in their order.
    private static func rotated(
        in directory: String, after last: UInt64?
    ) throws -> [(number: UInt64, text: String)] {
        let names: [ByteText]
        do throws(SystemError) {
            names = try Directory.names(directory)
        } catch {
            // Who asks for the live one is told that there is none.
            if error.isNotFound { return [] }
            throw unreadable(directory, error)
        }
        return TrailSegment.segments(among: names)
            .compactMap { segment in segment.first.map { (number: $0, text: segment.name) } }
            .filter { found in last.map { found.number > $0 } ?? true }
    }
}

/// Reads a trail from its beginning, segment by segment, with memory for one piece and one record.
struct TrailReading {
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
        var whole = 0
        try readLines { line, entry in
            try joiner.take(line, entry) { event throws in
                whole += 1
                try body(event)
            }
        }
        try joiner.finish { event throws in
            whole += 1
            try body(event)
        }
        records = whole
    }

    /// As `read`, a long command's lines one by one.
    mutating func readLines(_ body: (TrailLine, Entry) throws -> Void) throws {
        while var segment = try source.next() {
            segments += 1
            var cutter = LineCutter()
            var number = 0
            while case let piece = try segment.next(), !piece.isEmpty {
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
                    try body(line, entry)
                }
            }
            if !cutter.rest.isEmpty {
                unreadable += 1
                complain("\(segment.path):\(number + 1): the last record is torn: \(cutter.rest.count) bytes")
            }
            if segment.isLive { break }
        }
    }
}

/// Cuts pieces into lines; a line that is longer than any record is given in parts, which no record parses from.
struct LineCutter {
    private var partial: [UInt8] = []

    mutating func take(_ piece: [UInt8], _ body: (ArraySlice<UInt8>) throws -> Void) rethrows {
        var rest = piece[...]
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if partial.isEmpty {
                try body(rest[..<newline])
            } else {
                partial.append(contentsOf: rest[..<newline])
                let line = partial
                partial.removeAll(keepingCapacity: true)
                try body(line[...])
            }
            rest = rest[newline...].dropFirst()
        }
        partial.append(contentsOf: rest)
        if partial.count > TrailFormat.lineLimit {
            let line = partial
            partial.removeAll(keepingCapacity: true)
            try body(line[...])
        }
    }

    /// What follows the last newline.
    var rest: [UInt8] { partial }
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
