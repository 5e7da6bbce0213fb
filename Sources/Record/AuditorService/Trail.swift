// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux

/// The trail as the auditor keeps it: open and growing, or waiting for its disk to come back.
final class Trail {
    /// Milliseconds between attempts while the trail cannot be written.
    static let retryInterval: Int64 = 250
    /// Milliseconds after which unsynchronised lines are synchronised, with `durability batch`.
    static let batchInterval: Int64 = 500
    /// Milliseconds between looks at whether the file is still the one that was written.
    static let inspectionInterval: Int64 = 1_000
    /// The most entries that wait for the disk.
    static let waitingLimit = 65_536
    /// The most of them that are no ends: the rest is room for the ends of running commands.
    static let waitingLimitOfOthers = 16_384
    /// The most bytes of a refused command that wait: while nothing can be written, refusals are all that comes.
    static let waitingCommandLimit = 512
    /// The most waiting entries that are written at once.
    private static let writingLimit = 512

    /// An entry that is to be written.
    struct Item {
        var entry: Entry
        var stamp: Stamp

        /// Whether it is written later where it cannot be now. A permit and a start are not: they did not happen.
        var isKept: Bool {
            switch entry {
            case .record(.login(let login)): login.refusal != nil
            case .record(.command): false
            default: true
            }
        }

        /// The item as it waits: without most of a refused command.
        var waiting: Item {
            guard case .record(.login(var login)) = entry else { return self }
            login.command = login.command?.cut(to: Trail.waitingCommandLimit)
            return Item(entry: .record(.login(login)), stamp: stamp)
        }

        var isEnd: Bool {
            if case .record(.end) = entry { true } else { false }
        }
    }

    /// What became of a batch.
    enum Outcome: Sendable, Hashable {
        /// Its records are where the settings want them.
        case durable
        /// They could not be written, and the settings say to go on.
        case goingOn
        /// They could not be written.
        case failed
    }

    /// How it is kept.
    var settings = AuditSettings()
    /// The last record.
    var sequence: UInt64 { chain.position.sequence }
    /// Why it cannot be written; nil where it can.
    private(set) var failure: String?
    /// The sessions that the trail leaves open.
    private(set) var sessions = OpenSessions()
    /// What was found at opening, for people.
    private(set) var notices: [String] = []
    /// How many entries could not be written so far, kept or not.
    var missing: Int { waiting.count + lost }
    /// Whether it was ever open.
    private(set) var hasOpened = false

    /// The last record.
    var position: ChainPosition { chain.position }
    /// Whether all that was written is on disk, and more can be.
    var isSettled: Bool { hasOpened && file != nil && failure == nil && unsynchronisedSince == nil }

    private let directory: Descriptor
    /// The checkpoints of the trail.
    let checkpoints: CheckpointBook
    private let digest: Digest
    /// Whose process the trail's own notes speak of.
    private let gateway: Sender
    private var file: TrailFile?
    /// What the file has to hold, while it could not be opened again to make it so.
    private var promise: TrailFile.Promise?
    private var chain: Chain
    private var waiting: [Item] = []
    private var waitingOthers = 0
    private var lost = 0
    private var retryAt: Int64 = 0
    private var unsynchronisedSince: Int64?
    private var inspectedAt: Int64 = 0
    /// The first record of the segment; nil where it has none yet.
    private var segmentFirst: UInt64?
    /// When a segment that is too long is looked at again.
    private var rotateAt: Int64 = 0
    /// The bytes that were written, or read, since the open sessions were written down.
    private var sinceKept: Int64 = 0
    /// The bytes that they took then.
    private var keptSize: Int64 = 0
    /// Whether what was written down may lie in a segment that is closed, and can be taken away.
    private var isKeptInClosed = false
    /// The bytes of the trail after which its open sessions are written down anew: so much a start reads of it. Tests make it
    /// less.
    var keepingInterval: Int64 = 4 << 20
    /// Told how many bytes of the trail are about to be read, where they are so many that it takes a while.
    var sayReading: (Int64) -> Void = { _ in }
    /// Why the last attempt to close a segment failed, until it is told.
    private(set) var rotationFailure: String?

    init(directory: Descriptor, checkpoints: CheckpointBook, gateway: Sender, digest: @escaping Digest) {
        self.directory = directory
        self.checkpoints = checkpoints
        self.gateway = gateway
        self.digest = digest
        chain = Chain(after: .start, digest: digest)
    }

    /// Writes a batch, and what waits before it.
    ///
    /// On `durable` all of it is in the file, and with `durability sync` on disk. Otherwise none of it is; what is kept
    /// is written when the disk is back.
    func commit(_ batch: [Item], wall: UInt64, now: Int64) -> Outcome {
        guard !batch.isEmpty else { return .durable }
        if restore(wall: wall, now: now), write(batch, now: now) { return .durable }
        for item in settings.onFailure == .goOn ? batch : Self.remains(of: batch) { keep(item) }
        return settings.onFailure == .goOn ? .goingOn : .failed
    }

    /// Does what is due: writes what waits, synchronises, looks after the file.
    func tick(wall: UInt64, now: Int64) {
        guard restore(wall: wall, now: now), let file else { return }
        if let since = unsynchronisedSince, now - since >= Self.batchInterval || settings.durability == .sync {
            synchronise(file, now: now)
        }
        if now - inspectedAt >= Self.inspectionInterval {
            inspectedAt = now
            // A trail that somebody else changes is no trail: what was written goes aside, and a new segment begins.
            if (try? file.isUntouched()) != true {
                fail("the file was changed, moved or removed", now: now, reopening: true)
            }
        }
    }

    /// When `tick` has something to do at the latest.
    func due(now: Int64) -> Int64 {
        if failure != nil || file == nil { return retryAt }
        if let since = unsynchronisedSince { return since + Self.batchInterval }
        return now + Self.inspectionInterval
    }

    /// Writes and synchronises what can be, before the process ends.
    func finish(wall: UInt64, now: Int64) {
        retryAt = now
        if restore(wall: wall, now: now), let file, unsynchronisedSince != nil { synchronise(file, now: now) }
    }

    private func synchronise(_ file: TrailFile, now: Int64) {
        do throws(SystemError) {
            try file.synchronize()
            unsynchronisedSince = nil
        } catch {
            // What was answered for may not be on disk. It is still here, and is written again: at once, if it can be.
            fail("\(error)", now: now, reopening: false)
            retryAt = now
        }
    }

    /// Whether the trail can be appended to, after whatever it takes and is due.
    private func restore(wall: UInt64, now: Int64) -> Bool {
        if file != nil, failure == nil { return true }
        guard now >= retryAt else { return false }
        let wasFailing = failure
        do throws(TrailFileError) {
            try reopen(wall: wall)
        } catch {
            fail("\(error)", now: now, reopening: false)
            return false
        }
        if file?.isSynchronised == true { unsynchronisedSince = nil }
        let why = wasFailing.map { "the trail could not be written: \($0)" }
        if let why { put(Entry.Note(subject: .writableAgain, detail: ByteText(why)), first: true, wall: wall) }
        if lost > 0 {
            put(Entry.Note(subject: .lostRecords, detail: ByteText("\(lost) records")), first: false, wall: wall)
        }
        while !waiting.isEmpty {
            let part = Array(waiting.prefix(Self.writingLimit))
            guard write(part, now: now) else {
                // The notes are made anew at the next attempt.
                waiting.removeAll {
                    if case .note(let note) = $0.entry { note.subject == .writableAgain } else { false }
                }
                recount()
                return false
            }
            waiting.removeFirst(part.count)
        }
        recount()
        lost = 0
        failure = nil
        return true
    }

    private func put(_ note: Entry.Note, first: Bool, wall: UInt64) {
        let item = Item(
            entry: .note(note), stamp: Stamp(milliseconds: wall, session: nil, sender: gateway))
        if first { waiting.insert(item, at: 0) } else { waiting.append(item) }
    }

    private func recount() {
        waitingOthers = waiting.count { !$0.isEnd }
    }

    private func reopen(wall: UInt64) throws(TrailFileError) {
        if let file {
            do throws(SystemError) {
                try file.repair()
                return
            } catch {
                promise = file.promise
                self.file = nil
            }
        }
        var known = TrailFile.Known()
        known.promise = promise
        var notes: [Entry.Note] = []
        if hasOpened {
            known.written = chain.position
            known.startsSegment = chain.startsSegment
        } else {
            do throws(SystemError) {
                known.covered = try checkpoints.open(&notes)
            } catch {
                throw .system(error)
            }
        }
        let (file, opening) = try TrailFile.open(in: directory, knowing: known, digest: digest, say: sayReading)
        notes = opening.notes + notes
        self.file = file
        promise = nil
        segmentFirst = opening.first
        chain = Chain(after: opening.position, startsSegment: opening.startsSegment, digest: digest)
        if !hasOpened {
            hasOpened = true
            sessions = opening.found?.sessions ?? OpenSessions()
            sinceKept = opening.found?.read ?? 0
            isKeptInClosed = opening.found?.hasReadClosed ?? false
            for fault in opening.found?.faults ?? [] {
                notices.append("sessions without an end were not looked for in \(fault)")
            }
        }
        for note in notes {
            notices.append(note.detail.printable)
            put(note, first: false, wall: wall)
        }
    }

    /// Appends a batch; on failure the file is cut back to what it was.
    private func write(_ batch: [Item], now: Int64) -> Bool {
        var next = chain
        var text: [UInt8] = []
        text.reserveCapacity(batch.count * 512)
        for item in batch { next.append(item.entry, item.stamp, to: &text) }
        if isFull(with: text.count), now >= rotateAt {
            if let failure = rotate(now: now) {
                // The segment grows on: a record more is worth more than a segment's size.
                rotationFailure = failure
                rotateAt = now + Self.inspectionInterval
            } else {
                // The first line of a segment is another one.
                next = chain
                text.removeAll(keepingCapacity: true)
                for item in batch { next.append(item.entry, item.stamp, to: &text) }
            }
        }
        guard let file else { return false }
        do throws(SystemError) {
            try file.append(text, synchronously: settings.durability == .sync)
        } catch {
            fail("\(error)", now: now, reopening: false)
            // What is there of the batch goes at once, so that a reader finds no torn line; else at the next attempt.
            try? file.repair()
            return false
        }
        if segmentFirst == nil { segmentFirst = chain.position.sequence &+ 1 }
        isKeptInClosed = isKeptInClosed || chain.startsSegment
        chain = next
        sessions.take(lines: text[...])
        sinceKept += Int64(text.count)
        if settings.durability == .sync {
            unsynchronisedSince = nil
        } else {
            unsynchronisedSince = unsynchronisedSince ?? now
            if file.isFarAhead { synchronise(file, now: now) }
        }
        return true
    }

    // MARK: Segments

    private func isFull(with more: Int) -> Bool {
        guard let file, segmentFirst != nil, failure == nil else { return false }
        return UInt64(clamping: file.size) &+ UInt64(clamping: more) > settings.segmentSize
    }

    /// Closes the segment, with a checkpoint of all that is in it, and begins another one.
    ///
    /// - Returns: why it could not; nil where it did, or where there is nothing to close.
    func rotate(now: Int64) -> String? {
        guard let file, failure == nil else { return failure ?? "the trail is not open" }
        guard let first = segmentFirst else { return nil }
        do throws(SystemError) {
            if unsynchronisedSince != nil {
                synchronise(file, now: now)
                if let failure { return failure }
            }
            // One that cannot be made now is made later; what it covers stays in the trail.
            checkpoints.make(of: chain.position)
            self.file = try file.closed(as: TrailSegment(closedFrom: first))
        } catch {
            return "\(error)"
        }
        chain.startSegment()
        segmentFirst = nil
        return nil
    }

    /// Why the segment could not be closed, once.
    func takeRotationFailure() -> String? {
        defer { rotationFailure = nil }
        return rotationFailure
    }

    // MARK: Open sessions

    /// Whether the open sessions are to be written down.
    ///
    /// Many are written down less often, so that they never cost more than a part of the trail; but once in each segment, since
    /// those before it may be taken away.
    var isKeepingDue: Bool {
        let isDue = isKeptInClosed || sinceKept >= max(keepingInterval, 4 * keptSize)
        return isDue && isSettled && segmentFirst != nil
    }

    /// Writes the open sessions down, for the next start.
    ///
    /// - Parameter ended: sessions that have ended, and whose process can still speak.
    /// - Returns: why it could not; nil where it did. It is tried again later: without it a start only takes longer.
    func keepSessions(ended: [SessionID]) -> String? {
        guard isKeepingDue, let file, let first = segmentFirst else { return nil }
        sinceKept = 0
        isKeptInClosed = false
        let place = TrailPlace(segment: first, offset: file.size, position: chain.position)
        let text = sessions.kept(at: place, ended: ended, digest: digest)
        keptSize = Int64(text.count)
        do throws(SystemError) {
            try OpenSessionsFile.write(text, in: directory)
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// A session is gone, and has nothing more to say.
    func leave(_ session: SessionID) {
        sessions.leave(session)
    }

    /// Makes a checkpoint of all that is on disk, where there is something new.
    ///
    /// - Returns: whether one was made, or is not needed.
    func makeCheckpoint(now: Int64) -> Bool {
        guard let file, failure == nil, hasOpened else { return false }
        if unsynchronisedSince != nil {
            // Linux tells a file's lost write once: it is not passed over here, or the checkpoint would cover what is gone.
            synchronise(file, now: now)
            guard failure == nil else { return false }
        }
        return checkpoints.make(of: chain.position)
    }

    private func fail(_ reason: String, now: Int64, reopening: Bool) {
        failure = reason
        retryAt = reopening ? now : now + Self.retryInterval
        if reopening { file = nil }
    }

    /// What is written later of a batch whose permits and starts did not happen.
    ///
    /// A session can start and be lost in one batch. As it has no start, it has no end: a refusal stands in its place.
    private static func remains(of batch: [Item]) -> [Item] {
        var started: Set<SessionID> = []
        var refused: Set<SessionID> = []
        for item in batch {
            guard let session = item.stamp.session else { continue }
            switch item.entry {
            case .record(.command): started.insert(session)
            case .record(.login(let login)) where login.refusal != nil: refused.insert(session)
            default: break
            }
        }
        return batch.compactMap { item in
            guard item.isKept else { return nil }
            guard case .record(.end(let end)) = item.entry, let session = item.stamp.session, started.contains(session)
            else { return item }
            return refused.contains(session) ? nil : Item(entry: .record(.login(refusal(of: end))), stamp: item.stamp)
        }
    }

    private static func refusal(of end: Record.End) -> Record.Login {
        var reason = Reason.auditUnavailable
        if case .lost(let cause) = end.outcome { reason = Reason(name: cause) ?? reason }
        return Record.Login(
            origin: end.origin, account: end.account, remoteUser: nil, refusal: reason, rule: nil, revision: nil)
    }

    private func keep(_ item: Item) {
        guard waiting.count < Self.waitingLimit, item.isEnd || waitingOthers < Self.waitingLimitOfOthers else {
            lost += 1
            return
        }
        waiting.append(item.waiting)
        if !item.isEnd { waitingOthers += 1 }
    }
}
