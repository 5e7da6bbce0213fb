// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Rights over files that Landlock knows (linux/landlock.h, with the ABI that brought each).
public struct LandlockRights: OptionSet, Sendable, Hashable {
    /// The kernel's bits.
    public let rawValue: UInt64

    /// Wraps the kernel's bits.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Execute a file.
    public static let execute = LandlockRights(rawValue: 1 << 0)
    /// Open a file for writing.
    public static let writeFile = LandlockRights(rawValue: 1 << 1)
    /// Open a file for reading.
    public static let readFile = LandlockRights(rawValue: 1 << 2)
    /// List a directory.
    public static let readDirectory = LandlockRights(rawValue: 1 << 3)
    /// Remove a directory.
    public static let removeDirectory = LandlockRights(rawValue: 1 << 4)
    /// Remove a file.
    public static let removeFile = LandlockRights(rawValue: 1 << 5)
    /// Make a character device.
    public static let makeCharacterDevice = LandlockRights(rawValue: 1 << 6)
    /// Make a directory.
    public static let makeDirectory = LandlockRights(rawValue: 1 << 7)
    /// Make a regular file.
    public static let makeFile = LandlockRights(rawValue: 1 << 8)
    /// Make a socket.
    public static let makeSocket = LandlockRights(rawValue: 1 << 9)
    /// Make a fifo.
    public static let makeFifo = LandlockRights(rawValue: 1 << 10)
    /// Make a block device.
    public static let makeBlockDevice = LandlockRights(rawValue: 1 << 11)
    /// Make a symbolic link.
    public static let makeLink = LandlockRights(rawValue: 1 << 12)
    /// Link or rename across directories (ABI 2; refused always at ABI 1).
    public static let refer = LandlockRights(rawValue: 1 << 13)
    /// Truncate a file (ABI 3; not governed before).
    public static let truncate = LandlockRights(rawValue: 1 << 14)
    /// ioctl(2) on a device (ABI 5; not governed before).
    public static let deviceControl = LandlockRights(rawValue: 1 << 15)

    /// What `read` in a sandbox means.
    public static let reading: LandlockRights = [.readFile, .readDirectory]
    /// What `execute` in a sandbox means.
    public static let executing: LandlockRights = [.reading, .execute]
    /// What `write` in a sandbox means: all but executing, and no device is made.
    public static let writing: LandlockRights = [
        .reading, .writeFile, .truncate, .removeDirectory, .removeFile, .makeDirectory, .makeFile, .makeSocket,
        .makeFifo, .makeLink, .refer, .deviceControl,
    ]
    /// What a rule for something that is no directory may hold (EINVAL otherwise).
    static let ofFiles: LandlockRights = [.execute, .writeFile, .readFile, .truncate, .deviceControl]

    /// All rights that an ABI knows.
    static func known(to version: Int) -> LandlockRights {
        switch version {
        case ...0: []
        case 1: LandlockRights(rawValue: (1 << 13) - 1)
        case 2: LandlockRights(rawValue: (1 << 14) - 1)
        case 3, 4: LandlockRights(rawValue: (1 << 15) - 1)
        default: LandlockRights(rawValue: (1 << 16) - 1)
        }
    }
}

/// The running kernel's Landlock.
public enum Landlock {
    /// The first ABI that governs TCP (Linux 6.7).
    public static let networkVersion = 4
    /// The first ABI with scopes for abstract sockets and signals (Linux 6.12).
    public static let scopeVersion = 6
    /// The first ABI with logging flags (Linux 6.15).
    static let loggingVersion = 7

    /// The ABI of the running kernel, from 1; 0 where there is none or it is turned off.
    public static func version() -> Int {
        Int(portcullis_landlock_version())
    }
}

/// A Landlock ruleset that handles all that its ABI knows, so that what no rule allows is refused.
///
/// Files: every right. TCP: bind and connect (ABI 4), unless the network is open. Scopes (ABI 6): no abstract socket
/// (unless the network is open)
/// and no signal leaves the domain.
public struct LandlockRuleset: Sendable {
    /// How much of the network the ruleset leaves.
    public enum Network: Sendable, Hashable {
        /// Everything: TCP is not handled.
        case open
        /// TCP connections to these ports, and no bind.
        case tcpConnect([UInt16])
    }

    /// How a rule went.
    public enum Outcome: Sendable, Hashable {
        /// The rule is in the ruleset.
        case added
        /// There is no such path, or this process cannot reach it: nothing was allowed. With the errno.
        case missing(Int32)
    }

    private static let bindTCP: UInt64 = 1 << 0
    private static let connectTCP: UInt64 = 1 << 1
    private static let scopeAbstractSocket: UInt64 = 1 << 0
    private static let scopeSignal: UInt64 = 1 << 1
    /// Have denials logged although the domain was made before execve (LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON).
    private static let logAfterExecve: UInt32 = 1 << 1

    /// The ABI in use.
    public let version: Int
    /// What it is open at.
    var descriptor: Descriptor
    private let handled: LandlockRights

    /// Makes a ruleset for the running kernel.
    ///
    /// - Parameters:
    ///   - network: what it leaves of TCP; ports need ABI 4.
    ///   - required: the least ABI that will do, at least 1.
    ///   - limit: use no newer ABI than this; tests alone say it.
    /// - Throws: `EOPNOTSUPP` where the kernel has less than what is asked for: never a weaker ruleset.
    public init(network: Network, required: Int = 1, limit: Int = .max) throws(ConfinementError) {
        let version = min(Landlock.version(), limit)
        guard version >= max(required, 1) else { throw ConfinementError(.landlock, EOPNOTSUPP) }
        var rights: UInt64 = 0
        switch network {
        case .open: break
        case .tcpConnect(let ports):
            guard version >= Landlock.networkVersion || ports.isEmpty else {
                throw ConfinementError(.landlock, EOPNOTSUPP)
            }
            if version >= Landlock.networkVersion { rights = Self.bindTCP | Self.connectTCP }
        }
        var scopes: UInt64 = 0
        if version >= Landlock.scopeVersion {
            scopes = network == .open ? Self.scopeSignal : Self.scopeAbstractSocket | Self.scopeSignal
        }
        let handled = LandlockRights.known(to: version)
        var made: Int32 = -1
        // SAFETY: `made` lives for the call.
        let code = unsafe portcullis_landlock_create(Int32(version), handled.rawValue, rights, scopes, &made)
        guard code == 0 else { throw ConfinementError(.landlock, code) }
        descriptor = Descriptor(owning: made)
        self.version = version
        self.handled = handled
        if case .tcpConnect(let ports) = network {
            for port in ports {
                let code = portcullis_landlock_allow_port(made, port, Self.connectTCP)
                guard code == 0 else { throw ConfinementError(.landlock, code) }
            }
        }
    }

    /// Allows rights at and below an open file or directory.
    ///
    /// Rights that the object cannot have (a file), or that the ABI does not know, are left out.
    public func allow(_ rights: LandlockRights, below parent: Descriptor) throws(ConfinementError) {
        var status = stat()
        // SAFETY: `status` lives for the call.
        guard unsafe fstat(parent.number, &status) == 0 else { throw ConfinementError(.landlock, errno) }
        try allow(rights, below: parent, isDirectory: status.st_mode & S_IFMT == S_IFDIR)
    }

    /// The same for what somebody has looked at already, perhaps with more rights over it than this process has.
    func allow(_ rights: LandlockRights, below place: SecureOpen.Followed) throws(ConfinementError) {
        try allow(rights, below: place.place, isDirectory: place.status.kind == .directory)
    }

    private func allow(
        _ rights: LandlockRights, below parent: Descriptor, isDirectory: Bool
    ) throws(ConfinementError) {
        var wanted = rights.intersection(handled)
        if !isDirectory { wanted.formIntersection(.ofFiles) }
        guard !wanted.isEmpty else { return }
        let code = portcullis_landlock_allow_path(descriptor.number, parent.number, wanted.rawValue)
        guard code == 0 else { throw ConfinementError(.landlock, code) }
    }

    /// Allows rights at and below an absolute path, links followed; a path that is not there is left out.
    public func allow(_ rights: LandlockRights, at path: ByteText) throws(ConfinementError) -> Outcome {
        switch try SecureOpen.place(path) {
        case .missing(let code):
            return .missing(code)
        case .open(let place):
            try allow(rights, below: place)
            return .added
        }
    }

    /// Puts the calling thread, and all that it starts, under the ruleset for good.
    ///
    /// Trusted on entry: no_new_privs is set, and the process has one thread (Landlock has no TSYNC before ABI 8).
    /// Denials are logged after execve too, where the kernel can (ABI 7).
    public func restrict() throws(ConfinementError) {
        let flags = version >= Landlock.loggingVersion ? Self.logAfterExecve : 0
        let code = portcullis_landlock_restrict(descriptor.number, flags)
        guard code == 0 else { throw ConfinementError(.landlock, code) }
    }
}
