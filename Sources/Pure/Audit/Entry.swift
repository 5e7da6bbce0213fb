// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What one entry of the trail says: a record that a process sent, or something that only the auditor can know.
public enum Entry: Sendable, Hashable {
    /// A record that came over a channel.
    case record(Record)
    /// USER_LOGIN, failed: a session died before it had recorded anything, so its request is not known.
    case lostRequest(Reason)
    /// USER_ERR: about the trail itself, or about a channel that was closed.
    case note(Note)

    /// What the auditor itself has to say.
    public struct Note: Sendable, Hashable {
        /// What it is about.
        public var subject: Subject
        /// What happened, for people.
        public var detail: ByteText

        /// A note.
        public init(subject: Subject, detail: ByteText) {
            self.subject = subject
            self.detail = detail
        }
    }

    /// What a note is about; the raw value is the word in `op=`.
    public enum Subject: String, Sendable, Hashable, CaseIterable {
        /// The last line was torn by a crash, and was set aside.
        case tornLine = "trail-torn"
        /// The chain was broken: the segment was moved aside, and a new one started.
        case brokenChain = "trail-broken"
        /// The trail is shorter than its last checkpoint: records are missing.
        case shortTrail = "trail-short"
        /// The checkpoints, or the key that signs them, are not those that were left; or the trail is not what the last
        /// one covers.
        case brokenCheckpoints = "checkpoints-broken"
        /// The trail can be written again after it could not.
        case writableAgain = "trail-writable"
        /// Records could not be kept until the trail could be written.
        case lostRecords = "trail-lost"
        /// A process sent what its phase does not permit, and its channel was closed.
        case closedChannel = "channel-closed"
        /// The kernel told of denials faster than they were read: some are missing.
        case lostDenials = "denials-lost"
    }
}

/// What the auditor adds to an entry: when it came, of which session, from whom.
public struct Stamp: Sendable, Hashable {
    /// Milliseconds since 1970.
    public var milliseconds: UInt64
    /// The session; nil for what belongs to none.
    public var session: SessionID?
    /// Whose process it speaks of.
    public var sender: Sender

    /// A stamp.
    public init(milliseconds: UInt64, session: SessionID?, sender: Sender) {
        self.milliseconds = milliseconds
        self.session = session
        self.sender = sender
    }
}

/// The types of records on the trail: names that auditd's tools know.
public enum RecordType: String, Sendable, Hashable, CaseIterable {
    /// The gateway or a helper is up.
    case serviceStart = "SERVICE_START"
    /// The gateway stopped, or a helper died.
    case serviceStop = "SERVICE_STOP"
    /// A policy was loaded or rejected.
    case configuration = "USYS_CONFIG"
    /// Credentials were checked.
    case authentication = "USER_AUTH"
    /// A decision.
    case login = "USER_LOGIN"
    /// A command starts.
    case command = "USER_CMD"
    /// A session ended.
    case end = "USER_END"
    /// Something that a reader should know.
    case error = "USER_ERR"
    /// A sandbox ended a process.
    case abnormalEnd = "ANOM_ABEND"
}

extension Entry {
    /// The type of the entry's lines.
    public var type: RecordType {
        switch self {
        case .record(.serviceStart): .serviceStart
        case .record(.serviceStop): .serviceStop
        case .record(.policyLoaded), .record(.policyRejected): .configuration
        case .record(.authentication): .authentication
        case .record(.login), .lostRequest: .login
        case .record(.command): .command
        case .record(.end): .end
        case .record(.notice), .note: .error
        case .record(.denial(let denial)): denial.signal == nil ? .error : .abnormalEnd
        }
    }
}
