// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// One entry of the trail, before the auditor stamps it with time, sequence and chain.
///
/// A record says what happened in typed parts; only `Audit` turns it into text, so that nothing a client sends can
/// forge a field or a line. Who may send which record is the auditor's to check (docs/ARCHITECTURE.md, Channels).
public enum Record: Sendable, Hashable {
    /// SERVICE_START: the gateway, or one of its helpers, is up.
    case serviceStart(unit: String)
    /// SERVICE_STOP: the gateway stopped, or a helper died.
    case serviceStop(unit: String, reason: String, isFailure: Bool)
    /// USYS_CONFIG: a policy is in force.
    case policyLoaded(revision: Revision, file: ByteText, rules: Int)
    /// USYS_CONFIG, failed: a policy was rejected; the errors are diagnostics, cut to `Record.errorsLimit` bytes.
    case policyRejected(file: ByteText, errors: ByteText)
    /// USER_AUTH: credentials were checked.
    case authentication(Authentication)
    /// USER_LOGIN: the decision on a request.
    case login(Login)
    /// USER_CMD: a command is about to start.
    case command(Command)
    /// USER_END: a session ended.
    case end(End)
    /// USER_ERR: something in a session that a reader should know and that ended nothing.
    case notice(Notice)
    /// ANOM_ABEND where it ended a process, USER_ERR otherwise: the sandbox refused something.
    case denial(Denial)

    /// The most bytes of diagnostics in a record.
    public static let errorsLimit = 2_048

    /// Where a request came from.
    public struct Origin: Sendable, Hashable {
        /// The protocol.
        public var service: Service
        /// The peer's address; nil where it could not be had.
        public var address: IPAddress?
        /// The peer's port.
        public var port: UInt16

        /// An origin.
        public init(service: Service, address: IPAddress?, port: UInt16) {
            self.service = service
            self.address = address
            self.port = port
        }
    }

    /// A check of credentials.
    public struct Authentication: Sendable, Hashable {
        /// Where the request came from.
        public var origin: Origin
        /// The account's name, as it was asked for.
        public var account: ByteText
        /// What vouched for it: a PAM service, `credentials-file`, `rhosts`, `trust-file`, `rule` or `guest-pool`.
        public var grantors: String
        /// Why it failed; nil where it succeeded.
        public var failure: Reason?
        /// What the check found, for people: which file and line decided, or why a trust file was rejected.
        public var detail: ByteText?
        /// The guest pool that the account is of; nil for who is no guest.
        public var pool: String?

        /// A check.
        public init(
            origin: Origin, account: ByteText, grantors: String, failure: Reason?, detail: ByteText?,
            pool: String? = nil
        ) {
            self.origin = origin
            self.account = account
            self.grantors = grantors
            self.failure = failure
            self.detail = detail
            self.pool = pool
        }
    }

    /// A decision.
    public struct Login: Sendable, Hashable {
        /// Where the request came from.
        public var origin: Origin
        /// The account's name, as it was asked for; nil where the handshake did not get that far. Of a guest the account
        /// that was decided on.
        public var account: ByteText?
        /// The guest pool that the account is of; nil for who is no guest.
        public var pool: String?
        /// The remote user that an RSH client claimed.
        public var remoteUser: ByteText?
        /// Why it was refused; nil where it was permitted.
        public var refusal: Reason?
        /// The permit or forbid that decided.
        public var rule: RuleReference?
        /// The policy in force; nil for refusals that no policy decided.
        public var revision: Revision?
        /// What was found, for people.
        public var detail: ByteText?
        /// What a refused request asked for; nil where the handshake did not get that far, or several asked for
        /// different things, and in a permit, which a record of the command follows.
        public var command: RefusedCommand?
        /// How many refusals of the same source and reason this record stands for; 1 unless they were too many.
        public var count: Int

        /// The most refusals of one record: more than come in its second, and few enough that no trail's add up to more
        /// than a number holds.
        public static let countLimit = 1_000_000_000

        /// A decision.
        public init(
            origin: Origin, account: ByteText?, remoteUser: ByteText?, refusal: Reason?, rule: RuleReference?,
            revision: Revision?, detail: ByteText? = nil, command: RefusedCommand? = nil, count: Int = 1,
            pool: String? = nil
        ) {
            self.origin = origin
            self.account = account
            self.pool = pool
            self.remoteUser = remoteUser
            self.refusal = refusal
            self.rule = rule
            self.revision = revision
            self.detail = detail
            self.command = command
            self.count = count
        }
    }

    /// The command of a refused request, or as much of its beginning as a record has room for.
    ///
    /// Refusals can be many and cost their sender little, so each is one record of one line, however long its command.
    public struct RefusedCommand: Sendable, Hashable {
        /// The most bytes that are kept: no line has room for more.
        public static let limit = TrailFormat.lineLimit

        /// The bytes as they were sent; the first of them where the command is longer.
        public let text: ByteText
        /// How many bytes the whole command has.
        public let length: Int

        /// Keeps a command, or the first bytes of it.
        public init(_ command: ByteText) {
            length = command.bytes.count
            text = Self.beginning(of: command, limit: Self.limit)
        }

        /// Takes what was kept of a command; nil where the whole would be shorter than its beginning.
        public init?(beginning text: ByteText, of length: Int) {
            guard text.bytes.count <= length else { return nil }
            self.text = text
            self.length = length
        }

        /// Whether nothing is missing.
        public var isWhole: Bool { text.bytes.count == length }

        /// The same command with less of it.
        public func cut(to limit: Int) -> RefusedCommand {
            RefusedCommand(beginning: Self.beginning(of: text, limit: limit), of: length) ?? self
        }

        private static func beginning(of text: ByteText, limit: Int) -> ByteText {
            text.bytes.count > limit ? ByteText(Array(text.bytes.prefix(limit))) : text
        }
    }

    /// A command's start.
    public struct Command: Sendable, Hashable {
        /// Where the request came from.
        public var origin: Origin
        /// The account that it runs as.
        public var account: ByteText
        /// The command, whole, as it was sent.
        public var commandLine: ByteText
        /// The path that is executed.
        public var program: ByteText
        /// The number of arguments, the program's own name included.
        public var argumentCount: Int
        /// The sandbox.
        public var sandbox: String
        /// What holds its limits, comma-separated words: `rlimit` (the processes' own, and of an account all), `namespace`
        /// (the session's process numbers); nil in records of before it was said.
        public var limits: String?

        /// A command's start.
        public init(
            origin: Origin, account: ByteText, commandLine: ByteText, program: ByteText, argumentCount: Int,
            sandbox: String, limits: String? = nil
        ) {
            self.origin = origin
            self.account = account
            self.commandLine = commandLine
            self.program = program
            self.argumentCount = argumentCount
            self.sandbox = sandbox
            self.limits = limits
        }
    }

    /// How a command ended.
    public enum Outcome: Sendable, Hashable {
        /// With an exit status, 0 to 255.
        case status(UInt8)
        /// By a signal.
        case signal(UInt8)
        /// The session died, so nobody knows.
        case lost(reason: String)
    }

    /// A session's end.
    public struct End: Sendable, Hashable {
        /// Where the request came from.
        public var origin: Origin
        /// The account that the command ran as.
        public var account: ByteText
        /// How the command ended.
        public var outcome: Outcome
        /// Bytes from the client after the handshake, as the kernel tells.
        public var bytesIn: UInt64
        /// Bytes to the client after the status byte, as the kernel tells.
        public var bytesOut: UInt64
        /// Bytes of stderr that the session relayed on the secondary.
        public var bytesErr: UInt64
        /// Milliseconds from the start of the command to its end.
        public var milliseconds: UInt64
        /// The limit that ended the command, if one did: `timeout`, `cpu`, `output` and so on.
        public var limit: String?
        /// How many processes were left over and were ended; nil where they went unseen with their namespace.
        public var leftovers: Int?
        /// Whether stderr was dropped because the client did not read it.
        public var droppedStderr: UInt64
        /// Signal bytes from the client that are not forwarded.
        public var ignoredSignals: UInt64

        /// A session's end.
        public init(
            origin: Origin, account: ByteText, outcome: Outcome, bytesIn: UInt64, bytesOut: UInt64, bytesErr: UInt64,
            milliseconds: UInt64, limit: String?, leftovers: Int?, droppedStderr: UInt64 = 0,
            ignoredSignals: UInt64 = 0
        ) {
            self.origin = origin
            self.account = account
            self.outcome = outcome
            self.bytesIn = bytesIn
            self.bytesOut = bytesOut
            self.bytesErr = bytesErr
            self.milliseconds = milliseconds
            self.limit = limit
            self.leftovers = leftovers
            self.droppedStderr = droppedStderr
            self.ignoredSignals = ignoredSignals
        }
    }

    /// A notice within a session, such as a home that could not be entered.
    public struct Notice: Sendable, Hashable {
        /// Where the request came from.
        public var origin: Origin
        /// The account.
        public var account: ByteText
        /// A word for what it is about: `home`, `limit`, `kernel-audit`.
        public var operation: String
        /// What happened.
        public var detail: ByteText

        /// A notice.
        public init(origin: Origin, account: ByteText, operation: String, detail: ByteText) {
            self.origin = origin
            self.account = account
            self.operation = operation
            self.detail = detail
        }
    }
}

/// Whose process a record speaks of: the four numbers that every line carries.
public struct Sender: Sendable, Hashable {
    /// The process id.
    public var pid: Int32
    /// The user id.
    public var uid: UInt32
    /// The login uid, `UInt32.max` where unset.
    public var auid: UInt32
    /// The kernel's audit session, `UInt32.max` where unset.
    public var ses: UInt32
    /// The program's path.
    public var executable: ByteText

    /// A sender.
    public init(pid: Int32, uid: UInt32, auid: UInt32, ses: UInt32, executable: ByteText) {
        self.pid = pid
        self.uid = uid
        self.auid = auid
        self.ses = ses
        self.executable = executable
    }
}
