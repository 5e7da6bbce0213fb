// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Audit
public import Core

/// What the monitor sends to the auditor.
public enum AuditorOrder: Frame, Hashable {
    /// How the trail is kept.
    case configure(settings: AuditSettings)
    /// The auditor's end of a session's channel comes with the frame; `hasStarted` where another auditor has its start.
    case session(session: SessionID, pid: Int32, hasStarted: Bool)
    /// Every session that runs has been named: record the others that started and never ended as lost.
    case recover
    /// The auditor's end of front's channel comes with the frame.
    case front(pid: Int32)
    /// A record of the monitor's own.
    case record(number: UInt64, record: Record)
    /// A session died: what it left was ended, and this is to be recorded.
    case sessionLost(session: SessionID, reason: Reason)
    /// Write what is left, and end.
    case stop
    /// Close the segment of the trail and begin another one.
    case rotate(number: UInt64)
    /// A socket that is connected to syslog comes with the frame; none where there is no syslog.
    case systemLog

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .configure(settings: try reader.field())
        case 2:
            self = .session(session: try reader.field(), pid: try reader.integer(), hasStarted: try reader.flag())
        case 3:
            self = .recover
        case 4:
            self = .front(pid: try reader.integer())
        case 5:
            self = .record(number: try reader.integer(), record: try reader.field())
        case 6:
            self = .sessionLost(session: try reader.field(), reason: try reader.field())
        case 7:
            self = .stop
        case 8:
            self = .rotate(number: try reader.integer())
        case 9:
            self = .systemLog
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
        case .session(let session, let pid, let hasStarted):
            writer = FrameWriter(kind: 2)
            writer.field(session)
            writer.integer(pid)
            writer.flag(hasStarted)
        case .recover:
            writer = FrameWriter(kind: 3)
        case .front(let pid):
            writer = FrameWriter(kind: 4)
            writer.integer(pid)
        case .record(let number, let record):
            writer = FrameWriter(kind: 5)
            writer.integer(number)
            writer.field(record)
        case .sessionLost(let session, let reason):
            writer = FrameWriter(kind: 6)
            writer.field(session)
            writer.field(reason)
        case .stop:
            writer = FrameWriter(kind: 7)
        case .rotate(let number):
            writer = FrameWriter(kind: 8)
            writer.integer(number)
        case .systemLog:
            writer = FrameWriter(kind: 9)
        }
        return writer.bytes
    }
}

/// What the auditor sends to the monitor.
public enum AuditorReport: Frame, Hashable {
    /// The trail is open: the number of its last record, and what there is to say about it.
    case ready(sequence: UInt64, notices: [String])
    /// A record of the monitor's is on disk.
    case durable(number: UInt64, sequence: UInt64)
    /// A record of the monitor's could not be written.
    case failed(number: UInt64)
    /// The trail's state changed: whether it can be written, the last record, and why not.
    case state(isDurable: Bool, sequence: UInt64, text: String)
    /// The segment was closed; or, with a text, why it could not be.
    case rotated(number: UInt64, failure: String)
    /// A checkpoint is on disk: the last record that it covers.
    case checkpoint(sequence: UInt64)
    /// There is something for syslog, and no socket.
    case needsSystemLog

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .ready(
                sequence: try reader.integer(),
                notices: try reader.list { (reader) throws(FrameError) in try reader.text() })
        case 2:
            self = .durable(number: try reader.integer(), sequence: try reader.integer())
        case 3:
            self = .failed(number: try reader.integer())
        case 4:
            self = .state(
                isDurable: try reader.flag(),
                sequence: try reader.integer(),
                text: try reader.text(limit: FrameFormat.textLimit))
        case 5:
            self = .rotated(number: try reader.integer(), failure: try reader.text(limit: FrameFormat.textLimit))
        case 6:
            self = .checkpoint(sequence: try reader.integer())
        case 7:
            self = .needsSystemLog
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .ready(let sequence, let notices):
            writer = FrameWriter(kind: 1)
            writer.integer(sequence)
            writer.list(notices) { $0.text($1) }
        case .durable(let number, let sequence):
            writer = FrameWriter(kind: 2)
            writer.integer(number)
            writer.integer(sequence)
        case .failed(let number):
            writer = FrameWriter(kind: 3)
            writer.integer(number)
        case .state(let isDurable, let sequence, let text):
            writer = FrameWriter(kind: 4)
            writer.flag(isDurable)
            writer.integer(sequence)
            writer.text(text)
        case .rotated(let number, let failure):
            writer = FrameWriter(kind: 5)
            writer.integer(number)
            writer.text(failure)
        case .checkpoint(let sequence):
            writer = FrameWriter(kind: 6)
            writer.integer(sequence)
        case .needsSystemLog:
            writer = FrameWriter(kind: 7)
        }
        return writer.bytes
    }
}

/// What a session or front sends to the auditor.
public enum RecordFrame: Frame, Hashable {
    /// The login uid and audit session that the kernel gave the session.
    case identity(auid: UInt32, ses: UInt32)
    /// A record.
    case record(number: UInt64, record: Record)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .identity(auid: try reader.integer(), ses: try reader.integer())
        case 2:
            self = .record(number: try reader.integer(), record: try reader.field())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .identity(let auid, let ses):
            writer = FrameWriter(kind: 1)
            writer.integer(auid)
            writer.integer(ses)
        case .record(let number, let record):
            writer = FrameWriter(kind: 2)
            writer.integer(number)
            writer.field(record)
        }
        return writer.bytes
    }
}

/// What the auditor answers to a session.
public enum RecordAnswer: Frame, Hashable {
    /// The record, and all before it, are on disk (or, with `on-failure continue`, as good as can be).
    case durable(number: UInt64)
    /// The record could not be made durable.
    case failed(number: UInt64)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .durable(number: try reader.integer())
        case 2:
            self = .failed(number: try reader.integer())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .durable(let number):
            writer = FrameWriter(kind: 1)
            writer.integer(number)
        case .failed(let number):
            writer = FrameWriter(kind: 2)
            writer.integer(number)
        }
        return writer.bytes
    }
}
