// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What a session sends to the monitor.
public enum SessionReport: Frame, Hashable {
    /// The request as far as a table of sessions shows it.
    case asked(service: Service, source: IPAddress?, target: ByteText)
    /// The command runs.
    case launched(rule: String, command: ByteText)
    /// The request was refused and recorded.
    case refused(reason: Reason)
    /// The session's end record is written.
    case ended
    /// The request was refused, and the auditor did not take the record.
    case unrecorded(reason: Reason)
    /// A password is to be checked: asks for one of the gateway's places for it.
    case passwordCheck
    /// The check is over, and the place free for another session.
    case passwordChecked

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .asked(
                service: try reader.field(),
                source: try reader.optionalField(),
                target: try reader.bytes(limit: FieldLimit.claim))
        case 2:
            self = .launched(
                rule: try reader.text(limit: RuleReference.nameLimit),
                command: try reader.bytes(limit: 64))
        case 3:
            self = .refused(reason: try reader.field())
        case 4:
            self = .ended
        case 5:
            self = .unrecorded(reason: try reader.field())
        case 6:
            self = .passwordCheck
        case 7:
            self = .passwordChecked
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .asked(let service, let source, let target):
            writer = FrameWriter(kind: 1)
            writer.field(service)
            writer.field(source)
            writer.bytes(target)
        case .launched(let rule, let command):
            writer = FrameWriter(kind: 2)
            writer.text(rule)
            writer.bytes(command)
        case .refused(let reason):
            writer = FrameWriter(kind: 3)
            writer.field(reason)
        case .ended:
            writer = FrameWriter(kind: 4)
        case .unrecorded(let reason):
            writer = FrameWriter(kind: 5)
            writer.field(reason)
        case .passwordCheck:
            writer = FrameWriter(kind: 6)
        case .passwordChecked:
            writer = FrameWriter(kind: 7)
        }
        return writer.bytes
    }
}

/// What the monitor sends to a session.
public enum SessionOrder: Frame, Hashable {
    /// End the command: HUP, then KILL.
    case terminate
    /// Another auditor has taken over: the session's end of a fresh channel comes with the frame.
    case auditor
    /// The session has a place: it may check its password now.
    case passwordCheck

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        let reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .terminate
        case 2:
            self = .auditor
        case 3:
            self = .passwordCheck
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .terminate:
            writer = FrameWriter(kind: 1)
        case .auditor:
            writer = FrameWriter(kind: 2)
        case .passwordCheck:
            writer = FrameWriter(kind: 3)
        }
        return writer.bytes
    }
}
