// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Audit
import Core
public import Linux

/// Why a trail cannot be opened.
public enum TrailFileError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A system call failed.
    case system(SystemError)
    /// Another process writes it.
    case locked
    /// It is not a file of this process's user with one name.
    case notOurs

    /// What is wrong, and what to do.
    public var description: String {
        switch self {
        case .system(let error): "\(error)"
        case .locked: "another auditor writes it: is another gateway running on this state directory?"
        case .notOurs: "it is not a regular file of the auditor's own user with one name: move it away"
        }
    }
}

/// The trail's file: opened, checked and locked; appended to and nothing else.
public final class TrailFile {
    /// Its name in the directory.
    public static let name = TrailSegment.liveName
    /// The name of the next segment's file, until it takes the place of the one that is closed.
    static let nextName = TrailNeighbour.nextSegmentName

    /// The most bytes from the end that are held against the last checkpoint.
    static let checkpointWindow: Int64 = 8 << 20

    /// What was found when it was opened.
    public struct Opening: Sendable {
        /// The last record, and whether the next one begins a segment.
        public var position: ChainPosition
        /// The first record of this segment; nil where there is none yet.
        public var first: UInt64?
        /// Whether the next line is the first of a segment that follows another one.
        public var startsSegment: Bool
        /// What there is to say.
        public var notes: [Entry.Note]
        /// The sessions that the trail leaves open; nil where it was open before.
        var found: OpenSessionsFile.Found?
    }

    /// The most bytes that are appended without a synchronisation: they are kept until then.
    static let unsynchronisedLimit = 4 << 20

    /// What a file has to hold that could not be written, or not be synchronised.
    public struct Promise: Sendable {
        fileprivate var device: UInt64
        fileprivate var inode: UInt64
        /// The bytes of whole lines.
        fileprivate var size: Int64
        /// The last of them, which may not be on disk.
        fileprivate var unsynchronised: [UInt8]
    }

    private let directory: Descriptor
    private let writer: Descriptor
    private let identity: (device: UInt64, inode: UInt64)
    /// The bytes of whole lines: where the next one goes.
    private(set) var size: Int64
    /// The last of them, which may not be on disk: Linux tells of a lost write once, and then takes it for written.
    private var unsynchronised: [UInt8] = []
    /// Whether a synchronisation of them failed, so that another one would say nothing of them.
    private var isInDoubt = false

    private init(directory: Descriptor, writer: Descriptor, status: FileStatus) {
        self.directory = directory
        self.writer = writer
        identity = (status.device, status.inode)
        size = status.size
    }

    /// What it has to hold.
    var promise: Promise {
        Promise(device: identity.device, inode: identity.inode, size: size, unsynchronised: unsynchronised)
    }

    /// Whether all of it is on disk.
    var isSynchronised: Bool { unsynchronised.isEmpty }

    /// Whether so much is not synchronised that it has to be before more comes.
    var isFarAhead: Bool { unsynchronised.count > Self.unsynchronisedLimit }

    /// What is known of a trail before it is opened.
    public struct Known: Sendable {
        /// The last record as this process wrote it, where it had the trail open before.
        public var written: ChainPosition?
        /// Whether nothing was written to the segment yet that this process began.
        public var startsSegment = false
        /// What the file has to hold that this process had open before.
        public var promise: Promise?
        /// The last record that a checkpoint covers.
        public var covered: ChainPosition?

        /// Nothing is known.
        public init() {}
    }

    /// Opens the trail in a directory, makes it where there is none, and checks its end.
    ///
    /// A torn last line is set aside in a file of its own; a segment with a broken chain is moved aside as a whole, and
    /// a new one is started; one that ends before what a checkpoint covers is closed, and the next record has the number
    /// that it would have had. Nothing is ever deleted.
    ///
    /// - Parameters:
    ///   - directory: The directory, open for reading; only this process's user writes there.
    ///   - known: What is known of it.
    ///   - digest: SHA-256.
    ///   - say: told, before it is read, how many bytes of the trail have to be, where they are so many that it takes a while.
    public static func open(
        in directory: Descriptor, knowing known: Known = Known(), digest: @escaping Digest,
        say: (Int64) -> Void = { _ in }
    ) throws(TrailFileError) -> (TrailFile, Opening) {
        let result: Result<(TrailFile, Opening), TrailFileError>
        do throws(SystemError) {
            result = try openTrail(in: directory, known, digest: digest, say: say)
        } catch {
            throw .system(error)
        }
        return try result.get()
    }

    private static func openTrail(
        in directory: Descriptor, _ known: Known, digest: @escaping Digest, say: (Int64) -> Void
    ) throws(SystemError) -> Result<(TrailFile, Opening), TrailFileError> {
        var opening = Opening(position: .start, startsSegment: false, notes: [])
        // Twice: a broken or short segment is moved away, and then there is none.
        while true {
            let writer = try File.open(
                name, below: directory, [.writing, .appending, .creating, .noFollow, .nonBlocking], mode: 0o600)
            guard try File.lock(writer) else { return .failure(.locked) }
            let found = try File.status(writer)
            guard found.kind == .regular, found.links == 1, found.uid == Process.userID else {
                return .failure(.notOurs)
            }
            if found.mode != 0o600 { try File.setMode(writer, 0o600) }
            if let promise = known.promise, promise.device == found.device, promise.inode == found.inode {
                _ = try TrailFile(directory: directory, writer: writer, status: found).fulfil(promise)
            }
            let status = try File.status(writer)
            // ORDER: nobody else writes the trail any more, and nothing of it was moved yet.
            if opening.found == nil, known.written == nil {
                opening.found = try OpenSessionsFile.find(in: directory, digest: digest, say: say)
            }
            let reader = try File.open(name, below: directory, [.reading, .noFollow, .nonBlocking])
            let file = TrailFile(directory: directory, writer: writer, status: status)

            let tail = try read(reader, from: max(0, status.size - Int64(TailCheck.window)), to: status.size)
            let check = TailCheck(tail: tail, isWhole: tail.count == Int(status.size), digest: digest)
            let window = try read(reader, from: max(0, status.size - checkpointWindow), to: status.size)
            opening.first = try firstSequence(reader)
            switch check {
            case .empty:
                if !opening.startsSegment { try file.begin(known, &opening, digest: digest) }
                try File.synchronize(directory)
            case .whole(let position), .torn(let position, _):
                if case .torn(_, let bytes) = check {
                    try file.setAside(reader, bytes: bytes, after: position, &opening)
                }
                if let written = known.written, written != position {
                    try file.moveAside(
                        "it ends with record \(position.sequence), but \(written.sequence) was written last",
                        continuing: written, &opening)
                    continue
                }
                opening.position = position
                if known.written == nil, let covered = known.covered {
                    guard try file.holds(covered, window, &opening) else { continue }
                }
            case .broken(let fault, let last):
                var position = known.written ?? last ?? .start
                if known.written == nil, last == nil, let closed = try file.closedEnd(&opening, digest: digest) {
                    position = closed.position
                }
                if known.written == nil, let covered = known.covered, covered.sequence > position.sequence {
                    position = covered
                }
                try file.moveAside("near its end: \(fault)", continuing: position, &opening)
                continue
            }
            return .success((file, opening))
        }
    }

    /// Finds the place where an empty segment goes on.
    private func begin(_ known: Known, _ opening: inout Opening, digest: @escaping Digest) throws(SystemError) {
        if let written = known.written {
            guard written != .start else { return }
            opening.position = written
            opening.startsSegment = true
            guard !known.startsSegment else { return }
            opening.notes.append(
                Entry.Note(
                    subject: .brokenChain,
                    detail: "the trail was removed or emptied while it was written; a new segment is started"))
            return
        }
        if let (closed, window) = try closedEnd(&opening, digest: digest) {
            opening.position = closed
            // No record of this segment says yet what the one before it was.
            if let covered = known.covered { Self.noteDifference(from: covered, in: window, &opening) }
        }
        if let covered = known.covered, covered.sequence > opening.position.sequence {
            noteShort(covered, &opening)
        }
        opening.startsSegment = opening.position != .start
    }

    /// The last record of the last segment that was closed, with the segment's last bytes, it included; nil where there is none to be read.
    private func closedEnd(
        _ opening: inout Opening, digest: @escaping Digest
    ) throws(SystemError) -> (position: ChainPosition, window: [UInt8])? {
        let segments = TrailSegment.segments(among: try Directory.names(directory))
        guard let last = segments.last(where: { $0.first != nil }) else { return nil }
        let closed = try File.open(last.name, below: directory, [.reading, .noFollow, .nonBlocking])
        let size = try File.status(closed).size
        let window = try Self.read(closed, from: max(0, size - Self.checkpointWindow), to: size)
        let tail = Array(window.suffix(TailCheck.window))
        switch TailCheck(tail: tail, isWhole: tail.count == Int(size), digest: digest) {
        case .empty:
            return nil
        case .whole(let position), .torn(let position, _):
            return (position, window)
        case .broken(let fault, let position):
            opening.notes.append(
                Entry.Note(subject: .brokenChain, detail: ByteText("\(last.name), near its end: \(fault)")))
            return position.map { ($0, window) }
        }
    }

    /// Holds what a checkpoint covers against the trail; false where the segment was closed because it is too short.
    private func holds(
        _ covered: ChainPosition, _ window: [UInt8], _ opening: inout Opening
    ) throws(SystemError) -> Bool {
        guard covered.sequence <= opening.position.sequence else {
            let closed = TrailSegment(closedFrom: opening.first ?? 1).name
            if try Directory.names(directory).contains(ByteText(closed)) {
                // A name that is taken is not taken away: what is short stands beside the trail then.
                try moveAside("it is too short", continuing: covered, &opening)
            } else {
                try File.rename(Self.name, to: closed, below: directory)
                try File.synchronize(directory)
            }
            noteShort(covered, &opening)
            opening.startsSegment = true
            return false
        }
        Self.noteDifference(from: covered, in: window, &opening)
        return true
    }

    /// Holds the last record that a checkpoint covers against the one that a segment has in its place. What lies before the
    /// window is for `verify`.
    private static func noteDifference(
        from covered: ChainPosition, in window: [UInt8], _ opening: inout Opening
    ) {
        for line in window.split(separator: UInt8(ascii: "\n")).reversed() {
            guard let place = ChainPosition(saidBy: line), place.sequence >= covered.sequence else { break }
            guard place.sequence == covered.sequence, place.head != covered.head else { continue }
            opening.notes.append(
                Entry.Note(
                    subject: .brokenCheckpoints,
                    detail: ByteText("record \(place.sequence) is not the one that the last checkpoint covers")))
        }
    }

    private func noteShort(_ covered: ChainPosition, _ opening: inout Opening) {
        opening.notes.append(
            Entry.Note(
                subject: .shortTrail,
                detail: ByteText(
                    "it ends with record \(opening.position.sequence), but the last checkpoint covers "
                        + "\(covered.sequence): the records between are missing")))
        opening.position = covered
    }

    private static func firstSequence(_ reader: Descriptor) throws(SystemError) -> UInt64? {
        let beginning = try read(reader, from: 0, to: Int64(TrailFormat.lineLimit))
        guard let newline = beginning.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        return ChainPosition(saidBy: beginning[..<newline])?.sequence
    }

    /// Closes the segment and begins another one, which takes its name. On a throw all is as it was.
    func closed(as segment: TrailSegment) throws(SystemError) -> TrailFile {
        guard try !Directory.names(directory).contains(ByteText(segment.name)) else {
            throw SystemError(17 /* EEXIST */, segment.name)
        }
        // What a crash left there has no record yet.
        try File.remove(Self.nextName, below: directory)
        let next = try File.open(
            Self.nextName, below: directory, [.writing, .appending, .creating, .exclusive, .noFollow], mode: 0o600)
        guard try File.lock(next) else { throw SystemError(11 /* EAGAIN */, "flock") }
        // ORDER: what is closed is on disk; then the names change; and the first record comes when they are on disk.
        try File.synchronize(writer)
        try File.rename(Self.name, to: segment.name, below: directory)
        do throws(SystemError) {
            try File.rename(Self.nextName, to: Self.name, below: directory)
            try File.synchronize(directory)
        } catch {
            try? File.rename(segment.name, to: Self.name, below: directory)
            throw error
        }
        return TrailFile(directory: directory, writer: next, status: try File.status(next))
    }

    private static func read(_ reader: Descriptor, from start: Int64, to end: Int64) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        while start + Int64(bytes.count) < end {
            let part = try File.read(
                reader, at: start + Int64(bytes.count), limit: min(1 << 20, Int(end - start) - bytes.count))
            if part.isEmpty { break }
            bytes += part
        }
        return bytes
    }

    /// Copies a torn last line into a file of its own, and cuts it off.
    private func setAside(
        _ reader: Descriptor, bytes: Int, after position: ChainPosition, _ opening: inout Opening
    ) throws(SystemError) {
        let whole = size - Int64(bytes)
        let torn = TornEnd(directory: directory, file: Self.name, bytes: try Self.read(reader, from: whole, to: size))
        let name = try torn.setAside(writer, leaving: whole)
        size = whole
        opening.notes.append(
            Entry.Note(
                subject: .tornLine,
                detail: ByteText("\(bytes) bytes after record \(position.sequence) are set aside in \(name)")))
    }

    /// Moves the segment aside; whoever opens the trail next starts a new one.
    private func moveAside(
        _ fault: String, continuing position: ChainPosition, _ opening: inout Opening
    ) throws(SystemError) {
        let name = try TornEnd.freeName(Self.name + TrailNeighbour.broken, in: directory)
        try File.rename(Self.name, to: name, below: directory)
        try File.synchronize(directory)
        opening.position = position
        opening.startsSegment = true
        opening.notes.append(
            Entry.Note(
                subject: .brokenChain,
                detail: ByteText("\(fault); the segment is set aside in \(name), and a new one is started")))
    }

    /// Appends whole lines.
    ///
    /// - Throws: nothing of them is there then, or `repair` is needed before anything else is appended.
    func append(_ text: [UInt8], synchronously: Bool) throws(SystemError) {
        var rest = text[...]
        while !rest.isEmpty {
            let count = try writer.write(rest)
            // write(2) of a positive count to a file never gives 0; if it did, this would not end.
            guard count > 0 else { throw SystemError(5 /* EIO */, "write") }
            rest = rest.dropFirst(count)
        }
        if synchronously {
            try File.synchronize(writer)
            unsynchronised = []
        } else {
            unsynchronised += text
        }
        size += Int64(text.count)
    }

    /// Waits until what was appended is on disk. After a throw it is written again before that.
    func synchronize() throws(SystemError) {
        guard !isInDoubt else { return try repair() }
        isInDoubt = true
        try File.synchronize(writer)
        isInDoubt = false
        unsynchronised = []
    }

    /// Cuts off what a failed write left, back to the last whole line, and writes again what may not be on disk.
    func repair() throws(SystemError) {
        guard try fulfil(promise) else { throw SystemError(116 /* ESTALE */, Self.name) }
    }

    /// Makes the file what it has to be, on disk.
    ///
    /// - Returns: false where somebody has cut it or taken it away: whoever opens it sees what it is now.
    private func fulfil(_ promise: Promise) throws(SystemError) -> Bool {
        let start = promise.size - Int64(promise.unsynchronised.count)
        let found = try File.status(writer).size
        guard found >= start else { return false }
        if found > promise.size { try File.truncate(writer, to: promise.size) }
        guard !promise.unsynchronised.isEmpty else { return true }
        // In its place, so that nothing of it is missing meanwhile, whatever becomes of this process.
        let place = try File.open(Self.name, below: directory, [.writing, .noFollow, .nonBlocking])
        let status = try File.status(place)
        guard (status.device, status.inode) == identity else { return false }
        try File.overwrite(place, with: promise.unsynchronised, at: start)
        try File.synchronize(place)
        unsynchronised = []
        isInDoubt = false
        size = promise.size
        return true
    }

    /// Whether the file is still the one that the name stands for, and as long as what was written.
    func isUntouched() throws(SystemError) -> Bool {
        let own = try File.status(writer)
        let named = try File.open(Self.name, below: directory, [.reading, .noFollow, .nonBlocking])
        let status = try File.status(named)
        return own.size == size && (status.device, status.inode) == identity
    }
}
