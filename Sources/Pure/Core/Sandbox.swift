// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A named confinement with everything resolved but the target's home: what a permit obliges the session to apply.
public struct Sandbox: Sendable, Hashable {
    /// A path that the sandbox opens.
    public enum Path: Sendable, Hashable {
        /// An absolute path.
        case absolute(ByteText)
        /// The target's home, or what lies below it: the part after `~`, empty or starting with `/`.
        case home(ByteText)
    }

    /// What the command may do with the network.
    public enum Network: Sendable, Hashable {
        /// No socket(2), connect, bind, listen or accept, on inherited descriptors either; socketpair stays.
        case off
        /// TCP connections to these ports alone.
        case tcpConnect([UInt16])
        /// Anything.
        case on
    }

    /// What a refused system call does.
    public enum OnViolation: UInt8, Sendable, Hashable {
        /// EPERM.
        case errno = 1
        /// The end of the process, by SIGSYS.
        case kill = 2
    }

    /// Resource limits; nil where the session's own stay.
    public struct Limits: Sendable, Hashable {
        /// CPU time in seconds.
        public var cpu: UInt64?
        /// Address space in bytes.
        public var memory: UInt64?
        /// Processes of the account.
        public var processes: UInt64?
        /// Open descriptors.
        public var files: UInt64?
        /// The largest file in bytes.
        public var fileSize: UInt64?
        /// Bytes written to the client on the primary connection.
        public var output: UInt64?

        /// No limits.
        public init() {}
    }

    /// The name.
    public var name: String
    /// Whether Landlock and the allow list apply; false for `unconfined` alone.
    public var isConfined: Bool
    /// What can be read.
    public var read: [Path]
    /// What can be written, and read.
    public var write: [Path]
    /// What can be executed, and read.
    public var execute: [Path]
    /// Names of the system calls that the filter allows, sorted; empty for `unconfined`.
    public var systemCalls: [String]
    /// Network.
    public var network: Network
    /// Limits.
    public var limits: Limits
    /// Milliseconds of wall time, or nil.
    public var timeout: Int?
    /// The umask, 0 to 0o777.
    public var umask: UInt32
    /// PATH.
    public var searchPath: ByteText
    /// Variables to add: NAME and value.
    public var environment: [EnvironmentVariable]
    /// What a refused system call does.
    public var onViolation: OnViolation
    /// The least ABI of Landlock that the policy names, from 1; 0 where it names none: then what the gateway needs counts.
    public var requiredLandlock: Int

    /// A variable of the environment.
    public struct EnvironmentVariable: Sendable, Hashable {
        /// The name.
        public var name: ByteText
        /// The value.
        public var value: ByteText

        /// A variable.
        public init(name: ByteText, value: ByteText) {
            self.name = name
            self.value = value
        }
    }

    /// A sandbox that opens nothing.
    public init(name: String) {
        self.name = name
        isConfined = true
        read = []
        write = []
        execute = []
        systemCalls = []
        network = .off
        limits = Limits()
        timeout = nil
        umask = 0o077
        searchPath = "/usr/bin:/bin"
        environment = []
        onViolation = .errno
        requiredLandlock = 0
    }
}

/// A sandbox with its system-call filter compiled: what the engine sends and the monitor freezes.
public struct CompiledSandbox: Sendable, Hashable {
    /// The most bytes of a filter: BPF_MAXINSNS instructions of eight bytes.
    public static let filterLimit = 4_096 * 8

    /// The sandbox.
    public var sandbox: Sandbox
    /// A classic BPF program, as seccomp(2) takes it: `struct sock_filter` after `struct sock_filter`.
    public var filter: [UInt8]

    /// A compiled sandbox.
    public init(sandbox: Sandbox, filter: [UInt8]) {
        self.sandbox = sandbox
        self.filter = filter
    }
}
