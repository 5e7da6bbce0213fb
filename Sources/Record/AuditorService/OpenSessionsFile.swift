// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux

/// The sessions that stand open, beside the trail (`OpenSessions+Kept.swift`): so that a start need not read the whole trail,
/// however far back a command began that still ran at a crash.
///
/// It is believed where its sum is right and the record that it was written after stands at its place: then it is whole, and of
/// this trail. Otherwise the trail is read from its beginning, which takes longer and finds the same.
///
/// TRUST: that does not keep out who can write with the auditor's account: a forged one can have ends recorded of sessions that
/// never were, or none of some that were. Who can do that can write the trail, too; no line that is there changes by it.
enum OpenSessionsFile {
    static let name = TrailNeighbour.openSessionsName
    /// What it is called until it is whole.
    private static let newName = name + ".new"
    /// The most bytes that it has: what would be longer is not written, and what is longer is not read.
    static let limit = 64 << 20
    /// The bytes of the trail from which on it is said that they are read: so much takes a second and more.
    static let saidSize: Int64 = 256 << 20
    /// The bytes that are read of a segment at once.
    private static let chunk = 1 << 20

    /// What was found of a trail.
    struct Found {
        var sessions = OpenSessions()
        /// How many bytes of the trail were read.
        var read: Int64 = 0
        /// Whether some of them were in closed segments.
        var hasReadClosed = false
        /// Closed segments that could not be read, with why.
        var faults: [String] = []
    }

    /// Finds the open sessions of the trail in a directory.
    ///
    /// - Parameter say: told, before they are read, how many bytes of the trail that is, where they are so many that it takes
    ///   a while.
    /// - Throws: the segment that grows cannot be read.
    static func find(
        in directory: Descriptor, digest: Digest, from saidSize: Int64 = saidSize, say: (Int64) -> Void = { _ in }
    ) throws(SystemError) -> Found {
        let segments = TrailSegment.segments(among: try Directory.names(directory))
        if let (sessions, place) = kept(in: directory, digest: digest),
            let start = segments.firstIndex(where: { holds(place, $0, in: directory) })
        {
            let size = size(of: segments[start...], in: directory) - place.offset
            if size >= saidSize { say(size) }
            return try read(segments[start...], from: place.offset, in: directory, into: sessions)
        }
        let size = size(of: segments[...], in: directory)
        if size >= saidSize { say(size) }
        return try read(segments[...], from: 0, in: directory, into: OpenSessions())
    }

    /// Writes them down; the former text stays until this one is on disk, and where it cannot be.
    static func write(_ text: [UInt8], in directory: Descriptor) throws(SystemError) {
        guard text.count <= limit else { throw SystemError(27 /* EFBIG */, name) }
        do throws(SystemError) {
            let file = try File.open(
                newName, below: directory, [.writing, .creating, .truncating, .noFollow, .nonBlocking], mode: 0o600)
            try file.writeAll(text)
            // ORDER: it is whole on disk before it has the name that is read.
            try File.synchronize(file)
            try File.rename(newName, to: name, below: directory)
        } catch {
            // Half of it would only take room from the trail.
            try? File.remove(newName, below: directory)
            throw error
        }
    }

    private static func kept(in directory: Descriptor, digest: Digest) -> (OpenSessions, TrailPlace)? {
        guard let file = try? open(name, in: directory),
            let status = try? File.status(file), status.kind == .regular, status.uid == Process.userID,
            status.size <= Int64(limit), let text = try? File.read(file, at: 0, limit: Int(status.size))
        else { return nil }
        var place: TrailPlace?
        guard let sessions = OpenSessions(kept: text, place: &place, digest: digest), let place else { return nil }
        return (sessions, place)
    }

    /// Whether a segment has the line of a place there.
    private static func holds(_ place: TrailPlace, _ segment: TrailSegment, in directory: Descriptor) -> Bool {
        guard segment.first ?? place.segment == place.segment,
            let file = try? open(segment.name, in: directory)
        else { return false }
        let start = max(0, place.offset - Int64(TrailFormat.lineLimit))
        let length = Int(place.offset - start)
        guard let bytes = try? File.read(file, at: start, limit: length), bytes.count == length,
            bytes.last == UInt8(ascii: "\n"),
            let line = bytes.dropLast().split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).last
        else { return false }
        return ChainPosition(saidBy: line) == place.position
    }

    private static func open(_ name: String, in directory: Descriptor) throws(SystemError) -> Descriptor {
        try File.open(name, below: directory, [.reading, .noFollow, .nonBlocking])
    }

    /// The bytes of all of them that can be read. Each is opened for that and once more to be read: there can be more of them
    /// than a process may have open at once.
    private static func size(of segments: ArraySlice<TrailSegment>, in directory: Descriptor) -> Int64 {
        segments.reduce(0) { sum, segment in
            let file = try? open(segment.name, in: directory)
            return sum + (file.flatMap { try? File.status($0).size } ?? 0)
        }
    }

    private static func read(
        _ segments: ArraySlice<TrailSegment>, from offset: Int64, in directory: Descriptor, into sessions: OpenSessions
    ) throws(SystemError) -> Found {
        var found = Found(sessions: sessions)
        var offset = offset
        for segment in segments {
            if segment.first != nil { found.hasReadClosed = true }
            do throws(SystemError) {
                try read(segment, from: offset, in: directory, &found)
            } catch {
                // What grows has to be read to be written. One that is closed and cannot be read must not end the service.
                guard segment.first != nil else { throw error }
                found.faults.append("\(segment.name): \(error)")
            }
            offset = 0
        }
        return found
    }

    private static func read(
        _ segment: TrailSegment, from offset: Int64, in directory: Descriptor, _ found: inout Found
    ) throws(SystemError) {
        let file = try open(segment.name, in: directory)
        var place = offset
        var rest: [UInt8] = []
        while true {
            let part = try File.read(file, at: place, limit: chunk)
            if part.isEmpty { return }
            place += Int64(part.count)
            found.read += Int64(part.count)
            rest += part
            let left = found.sessions.take(lines: rest[...])
            // What is longer than a line and has no end is none.
            rest = left.count > TrailFormat.lineLimit ? [] : Array(left)
        }
    }
}
