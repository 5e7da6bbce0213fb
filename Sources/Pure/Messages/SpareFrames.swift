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
    /// Whether the empty mount namespace is among them.
    public var hasMounts: Bool
    /// Whether the devices that most sessions have are among them.
    public var hasDevices: Bool

    /// An assignment.
    public init(
        session: SessionID, number: UInt64, revision: Revision, hasSecondary: Bool, hasNetwork: Bool,
        hasMounts: Bool = false, hasDevices: Bool = false
    ) {
        self.session = session
        self.number = number
        self.revision = revision
        self.hasSecondary = hasSecondary
        self.hasNetwork = hasNetwork
        self.hasMounts = hasMounts
        self.hasDevices = hasDevices
    }

    /// The descriptors that belong to every request: the session's ends to the engine, the auditor and front, and the
    /// client's primary.
    public static let leastDescriptors = 4

    /// How many descriptors belong to it: those of every request, the secondary, the empty network, the empty mounts
    /// and the devices.
    public var descriptorCount: Int {
        let optional = [hasSecondary, hasNetwork, hasMounts, hasDevices]
        return Self.leastDescriptors + optional.count { $0 }
    }

    /// The most descriptors that one can have.
    public static let descriptorLimit = leastDescriptors + 4
}

/// What the monitor sends to a spare session.
public enum SpareOrder: Frame, Hashable {
    /// Serve this request, and no other: the first frame on the channel, and the only one of its kind. With it come as many
    /// descriptors as the assignment says: to the engine, to the auditor, to front, the primary, the secondary, the network,
    /// the mounts, the devices.
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
                    hasSecondary: try reader.flag(), hasNetwork: try reader.flag(), hasMounts: try reader.flag(),
                    hasDevices: try reader.flag()))
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
            writer.flag(assignment.hasMounts)
            writer.flag(assignment.hasDevices)
        }
        return writer.bytes
    }
}
