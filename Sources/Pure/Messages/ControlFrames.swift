// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What an administrator asks of the running gateway.
public enum ControlAsk: Frame, Hashable {
    /// How it does.
    case status
    /// Which sessions run.
    case sessions
    /// End a session.
    case terminate(session: SessionID)
    /// Load the policy again.
    case reload
    /// Close the trail's segment and begin another one.
    case rotate

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .status
        case 2:
            self = .sessions
        case 3:
            self = .terminate(session: try reader.field())
        case 4:
            self = .reload
        case 5:
            self = .rotate
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .status:
            writer = FrameWriter(kind: 1)
        case .sessions:
            writer = FrameWriter(kind: 2)
        case .terminate(let session):
            writer = FrameWriter(kind: 3)
            writer.field(session)
        case .reload:
            writer = FrameWriter(kind: 4)
        case .rotate:
            writer = FrameWriter(kind: 5)
        }
        return writer.bytes
    }
}

/// What the gateway answers.
public enum ControlAnswer: Frame, Hashable {
    /// How it does.
    case status(status: GatewayStatus)
    /// A session; `end` follows the last.
    case session(session: SessionStatus)
    /// It is done, or the list is complete.
    case end
    /// It could not be done, and why.
    case failure(text: String)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .status(status: try reader.field())
        case 2:
            self = .session(session: try reader.field())
        case 3:
            self = .end
        case 4:
            self = .failure(text: try reader.text(limit: FrameFormat.textLimit))
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .status(let status):
            writer = FrameWriter(kind: 1)
            writer.field(status)
        case .session(let session):
            writer = FrameWriter(kind: 2)
            writer.field(session)
        case .end:
            writer = FrameWriter(kind: 3)
        case .failure(let text):
            writer = FrameWriter(kind: 4)
            writer.text(text)
        }
        return writer.bytes
    }
}
