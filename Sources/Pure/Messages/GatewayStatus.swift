// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What `portcullis status` shows of the running gateway.
public struct GatewayStatus: Sendable, Hashable {
    /// A helper process.
    public struct Helper: Sendable, Hashable {
        /// `front`, `engine` or `auditor`.
        public var name: String
        /// Its process id, or 0 while it is being restarted.
        public var pid: Int32

        /// A helper.
        public init(name: String, pid: Int32) {
            self.name = name
            self.pid = pid
        }
    }

    /// What of a sandbox's denials reaches the trail.
    public enum Denials: UInt8, Sendable, Hashable {
        /// That a command was ended, and no more: the kernel's records cannot be read.
        case unheard = 1
        /// What the kernel tells unasked: calls that ended a process, and what Landlock refused.
        case heard = 2
        /// Calls that failed, too.
        case heardWithCalls = 3
    }

    /// The listeners that are served.
    public var listeners: [FrontSettings.Listener]
    /// Whether securetcpip keeps rsh off although its block says `enable`.
    public var rshIsSecuredOff: Bool
    /// The policy in force.
    public var revision: Revision
    /// The policy's file.
    public var policyFile: ByteText
    /// Its rules.
    public var rules: Int
    /// When it was loaded: seconds since 1970.
    public var loaded: Int64
    /// Sessions that run.
    public var running: Int
    /// Requests since start that were handed over.
    public var requests: UInt64
    /// Requests since start that a session refused.
    public var refused: UInt64
    /// Sessions since start that died.
    public var lost: UInt64
    /// The trail's last record.
    public var sequence: UInt64
    /// The last record that a checkpoint of this gateway's covers; 0 where none was made yet.
    public var covered: UInt64
    /// When that checkpoint was made: seconds since 1970; 0 where none was.
    public var checkpoint: Int64
    /// Whether the trail can be written.
    public var isDurable: Bool
    /// What of denials it hears from the kernel.
    public var denials: Denials
    /// The helpers.
    public var helpers: [Helper]

    /// A status.
    public init(
        listeners: [FrontSettings.Listener], rshIsSecuredOff: Bool, revision: Revision, policyFile: ByteText,
        rules: Int, loaded: Int64, running: Int, requests: UInt64, refused: UInt64, lost: UInt64, sequence: UInt64,
        covered: UInt64 = 0, checkpoint: Int64 = 0, isDurable: Bool, denials: Denials = .unheard, helpers: [Helper]
    ) {
        self.listeners = listeners
        self.rshIsSecuredOff = rshIsSecuredOff
        self.revision = revision
        self.policyFile = policyFile
        self.rules = rules
        self.loaded = loaded
        self.running = running
        self.requests = requests
        self.refused = refused
        self.lost = lost
        self.sequence = sequence
        self.covered = covered
        self.checkpoint = checkpoint
        self.isDurable = isDurable
        self.denials = denials
        self.helpers = helpers
    }
}

/// What `portcullis sessions` shows of one session.
public struct SessionStatus: Sendable, Hashable {
    /// The session.
    public var session: SessionID
    /// Its process id.
    public var pid: Int32
    /// The protocol, once the session has said it.
    public var service: Service?
    /// The peer.
    public var source: IPAddress?
    /// The account.
    public var target: ByteText
    /// The permit, once the command runs.
    public var rule: String
    /// The beginning of the command, once it runs.
    public var command: ByteText
    /// When the session was made: seconds since 1970.
    public var started: Int64

    /// A session.
    public init(
        session: SessionID, pid: Int32, service: Service?, source: IPAddress?, target: ByteText, rule: String,
        command: ByteText, started: Int64
    ) {
        self.session = session
        self.pid = pid
        self.service = service
        self.source = source
        self.target = target
        self.rule = rule
        self.command = command
        self.started = started
    }
}

extension GatewayStatus.Denials: FrameField {}

extension GatewayStatus: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(
            listeners: try reader.fields(limit: FrameFormat.descriptorLimit), rshIsSecuredOff: try reader.flag(),
            revision: try reader.field(), policyFile: try reader.bytes(limit: FieldLimit.path),
            rules: try reader.count(0...Int(Int32.max)), loaded: try reader.integer(),
            running: try reader.count(0...Int(Int32.max)), requests: try reader.integer(),
            refused: try reader.integer(), lost: try reader.integer(), sequence: try reader.integer(),
            covered: try reader.integer(), checkpoint: try reader.integer(), isDurable: try reader.flag(),
            denials: try reader.field(),
            helpers: try reader.list(limit: 16) { (reader) throws(FrameError) in
                Helper(name: try reader.text(limit: FieldLimit.name), pid: try reader.integer())
            })
    }

    func write(to writer: inout FrameWriter) {
        writer.fields(listeners)
        writer.flag(rshIsSecuredOff)
        writer.field(revision)
        writer.bytes(policyFile)
        writer.integer(Int64(rules))
        writer.integer(loaded)
        writer.integer(Int64(running))
        writer.integer(requests)
        writer.integer(refused)
        writer.integer(lost)
        writer.integer(sequence)
        writer.integer(covered)
        writer.integer(checkpoint)
        writer.flag(isDurable)
        writer.field(denials)
        writer.list(helpers) {
            $0.text($1.name)
            $0.integer($1.pid)
        }
    }
}

extension SessionStatus: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(
            session: try reader.field(), pid: try reader.integer(), service: try reader.optionalField(),
            source: try reader.optionalField(), target: try reader.bytes(limit: FieldLimit.claim),
            rule: try reader.text(limit: RuleReference.nameLimit), command: try reader.bytes(limit: 64),
            started: try reader.integer())
    }

    func write(to writer: inout FrameWriter) {
        writer.field(session)
        writer.integer(pid)
        writer.field(service)
        writer.field(source)
        writer.bytes(target)
        writer.text(rule)
        writer.bytes(command)
        writer.integer(started)
    }
}
