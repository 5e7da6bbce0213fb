// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What front sends to the monitor.
public enum FrontAsk: Frame, Hashable {
    /// Front is confined and waits for its listeners.
    case ready
    /// Connect to a port of the peer of the primary, a duplicate of which comes with the frame.
    case connectBack(connection: UInt64, service: Service, port: UInt16)
    /// A request is complete: with the frame come the session's end of its channel, the primary and the secondary if there is one.
    case handover(connection: UInt64, service: Service, hasSecondary: Bool)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .ready
        case 2:
            self = .connectBack(
                connection: try reader.integer(),
                service: try reader.field(),
                port: try reader.integer())
        case 3:
            self = .handover(
                connection: try reader.integer(),
                service: try reader.field(),
                hasSecondary: try reader.flag())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .ready:
            writer = FrameWriter(kind: 1)
        case .connectBack(let connection, let service, let port):
            writer = FrameWriter(kind: 2)
            writer.integer(connection)
            writer.field(service)
            writer.integer(port)
        case .handover(let connection, let service, let hasSecondary):
            writer = FrameWriter(kind: 3)
            writer.integer(connection)
            writer.field(service)
            writer.flag(hasSecondary)
        }
        return writer.bytes
    }
}

/// What the monitor sends to front.
public enum FrontOrder: Frame, Hashable {
    /// The settings; the listeners come with the frame, in the order of `FrontSettings.listeners`, and replace those before.
    case configure(settings: FrontSettings)
    /// The connect-back succeeded; the secondary comes with the frame.
    case connectedBack(connection: UInt64)
    /// The connect-back was not permitted or did not succeed.
    case connectBackFailed(connection: UInt64, reason: Reason)
    /// No session could be made for a request that was handed over.
    case rejected(connection: UInt64, reason: Reason)
    /// Accept no more.
    case drain
    /// Another auditor has taken over: front's end of a fresh channel comes with the frame.
    case auditor

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .configure(settings: try reader.field())
        case 2:
            self = .connectedBack(connection: try reader.integer())
        case 3:
            self = .connectBackFailed(connection: try reader.integer(), reason: try reader.field())
        case 4:
            self = .rejected(connection: try reader.integer(), reason: try reader.field())
        case 5:
            self = .drain
        case 6:
            self = .auditor
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .configure(let settings):
            writer = FrameWriter(kind: 1)
            writer.field(settings)
        case .connectedBack(let connection):
            writer = FrameWriter(kind: 2)
            writer.integer(connection)
        case .connectBackFailed(let connection, let reason):
            writer = FrameWriter(kind: 3)
            writer.integer(connection)
            writer.field(reason)
        case .rejected(let connection, let reason):
            writer = FrameWriter(kind: 4)
            writer.integer(connection)
            writer.field(reason)
        case .drain:
            writer = FrameWriter(kind: 5)
        case .auditor:
            writer = FrameWriter(kind: 6)
        }
        return writer.bytes
    }
}

/// What front sends to a session on the request's own channel.
public enum RequestFrame: Frame, Hashable {
    /// The request, complete and unverified; where it has a password, that follows in a message of its own, with the NUL
    /// that ends it on the wire, so that an empty password is no empty message.
    case request(request: UnverifiedRequest)
    /// Front has closed its copies of the client's sockets.
    case released

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .request(request: try reader.field())
        case 2:
            self = .released
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .request(let request):
            writer = FrameWriter(kind: 1)
            writer.field(request)
        case .released:
            writer = FrameWriter(kind: 2)
        }
        return writer.bytes
    }
}

/// What a session sends to front on the request's own channel.
public enum RequestAnswer: Frame, Hashable {
    /// The command is confined and ready: close your copies of the client's sockets and say so.
    case release
    /// Answer the one refusal.
    case refuse(reason: Reason)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .release
        case 2:
            self = .refuse(reason: try reader.field())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .release:
            writer = FrameWriter(kind: 1)
        case .refuse(let reason):
            writer = FrameWriter(kind: 2)
            writer.field(reason)
        }
        return writer.bytes
    }
}
