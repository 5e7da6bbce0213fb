// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What makes one request's session of a process: all that differs from request to request and is no descriptor.
public struct SessionAssignment: Sendable, Hashable {
    /// The session's name in the trail, made for this request.
    public var session: SessionID
    /// The session's number at the engine.
    public var number: UInt64
    /// The policy in force; a spare whose tables are of another one ends.
    public var revision: Revision
    /// Whether the client's secondary is among the descriptors.
    public var hasSecondary: Bool
    /// Whether the empty network is among them.
    public var hasNetwork: Bool

    /// An assignment.
    public init(session: SessionID, number: UInt64, revision: Revision, hasSecondary: Bool, hasNetwork: Bool) {
        self.session = session
        self.number = number
        self.revision = revision
        self.hasSecondary = hasSecondary
        self.hasNetwork = hasNetwork
    }

    /// The descriptors that belong to every request: the session's ends to the engine, the auditor and front, and the
    /// client's primary.
    public static let leastDescriptors = 4

    /// How many descriptors belong to it: those of every request, the secondary and the empty network.
    public var descriptorCount: Int { Self.leastDescriptors + (hasSecondary ? 1 : 0) + (hasNetwork ? 1 : 0) }

    /// The most descriptors that one can have.
    public static let descriptorLimit = leastDescriptors + 2
}

/// What the monitor sends to a spare session.
public enum SpareOrder: Frame, Hashable {
    /// Serve this request, and no other: the first frame on the channel, and the only one of its kind. With it come as many
    /// descriptors as the assignment says: to the engine, to the auditor, to front, the primary, the secondary, the network.
    case serve(SessionAssignment)

    /// The most bytes of such a frame.
    public static let limit = 128

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        guard frame.count <= Self.limit else { throw .length }
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .serve(
                SessionAssignment(
                    session: try reader.field(), number: try reader.integer(), revision: try reader.field(),
                    hasSecondary: try reader.flag(), hasNetwork: try reader.flag()))
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .serve(let assignment):
            writer = FrameWriter(kind: 1)
            writer.field(assignment.session)
            writer.integer(assignment.number)
            writer.field(assignment.revision)
            writer.flag(assignment.hasSecondary)
            writer.flag(assignment.hasNetwork)
        }
        return writer.bytes
    }
}
