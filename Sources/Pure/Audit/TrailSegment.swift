// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The files that a trail is made of, by their names in STATE/audit.
///
/// `trail.log` is the one that grows. A closed one has the number of its first record behind it, in twelve digits at
/// least, so that a listing by name is in order: `trail.log.000000000001`. What has another name is no part of the
/// trail: `trail.log.torn-…` and `trail.log.broken-…` were set aside.
public struct TrailSegment: Sendable, Hashable {
    /// The name of the segment that grows.
    public static let liveName = "trail.log"
    /// The digits of a closed one's number at least.
    public static let digits = 12

    /// The number of a closed segment's first record, as its name says; nil for the one that grows.
    public let first: UInt64?

    /// The segment that grows.
    public static let live = TrailSegment(first: nil)

    private init(first: UInt64?) {
        self.first = first
    }

    /// A closed segment.
    ///
    /// - Parameter first: the number of its first record, from 1.
    public init(closedFrom first: UInt64) {
        self.first = first
    }

    /// The segment of a file's name; nil for a file that is none.
    public init?(name: some Collection<UInt8>) {
        let live = Self.liveName.utf8
        guard name.starts(with: live) else { return nil }
        let rest = name.dropFirst(live.count)
        guard let dot = rest.first else {
            self = .live
            return
        }
        let number = rest.dropFirst()
        guard dot == UInt8(ascii: "."), number.count >= Self.digits,
            // No more zeros than the name needs: each number has one name.
            number.count == Self.digits || number.first != UInt8(ascii: "0"),
            let first: UInt64 = FieldText.number(Array(number.drop { $0 == UInt8(ascii: "0") })), first > 0
        else { return nil }
        self.init(first: first)
    }

    /// The file's name.
    public var name: String {
        guard let first else { return Self.liveName }
        let text = String(first)
        return Self.liveName + "." + String(repeating: "0", count: max(0, Self.digits - text.utf8.count)) + text
    }

    /// The segments among the names of a directory, the oldest first and the one that grows last.
    ///
    /// - Parameter names: the directory's names, in any order.
    public static func segments(among names: some Sequence<ByteText>) -> [TrailSegment] {
        names.compactMap { TrailSegment(name: $0.bytes) }.sorted { ($0.first ?? .max) < ($1.first ?? .max) }
    }
}

/// What a file in a trail's directory is, by its name.
public enum TrailNeighbour: Sendable, Hashable {
    /// A segment.
    case segment
    /// Checkpoints or keys, or a file that the auditor is about to give such a name.
    case own
    /// What the auditor found torn or broken, and moved out of the way.
    case setAside
    /// Nothing that the auditor makes.
    case stranger

    /// What a torn end is called with the name of its file before it, and the time behind it.
    public static let torn = ".torn-"
    /// What a broken segment is called in the same way.
    public static let broken = ".broken-"
    /// The private key that signs the next checkpoint.
    public static let secretName = "checkpoints.key"
    /// The name of the next segment's file, until it takes the place of the one that is closed.
    public static let nextSegmentName = TrailSegment.liveName + ".next"
    /// The sessions that stood open at a place of the trail.
    public static let openSessionsName = "trail.sessions"

    /// Looks at a name.
    public init(name: some Collection<UInt8>) {
        let own = [
            CheckpointFile.name, CheckpointFile.keyName, CheckpointFile.keyName + ".new", Self.secretName,
            Self.secretName + ".next", Self.nextSegmentName, CheckpointFile.name + ".torn",
            TrailSegment.liveName + ".torn", Self.openSessionsName, Self.openSessionsName + ".new",
        ]
        let aside = [
            TrailSegment.liveName + Self.torn, TrailSegment.liveName + Self.broken, CheckpointFile.name + Self.torn,
        ]
        if TrailSegment(name: name) != nil {
            self = .segment
        } else if own.contains(where: { name.elementsEqual($0.utf8) }) {
            self = .own
        } else if aside.contains(where: { name.starts(with: $0.utf8) }) {
            self = .setAside
        } else {
            self = .stranger
        }
    }
}
