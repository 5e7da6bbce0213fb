// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What the engine sees of a request: nothing in it is secret, and everything in it was checked or looked up.
public struct Request: Sendable, Hashable {
    /// The protocol that was spoken.
    public var service: Service
    /// The peer's address, from the kernel.
    public var source: IPAddress
    /// The peer's port, from the kernel.
    public var sourcePort: UInt16
    /// The remote user that an RSH client claims to act for; nil in REXEC, which carries none.
    public var remoteUser: UserName?
    /// The account to run as.
    public var target: Account
    /// What is to be run.
    public var command: RequestedCommand
    /// When.
    public var time: LocalTime

    /// A request.
    public init(
        service: Service, source: IPAddress, sourcePort: UInt16, remoteUser: UserName?, target: Account,
        command: RequestedCommand, time: LocalTime
    ) {
        self.service = service
        self.source = source
        self.sourcePort = sourcePort
        self.remoteUser = remoteUser
        self.target = target
        self.command = command
        self.time = time
    }
}

/// An account as name service knows it, with what rules ask of it.
public struct Account: Sendable, Hashable {
    /// The most groups that are looked at.
    public static let groupLimit = 4_096

    /// The canonical name, equal byte for byte to the requested one.
    public var name: UserName
    /// The user id.
    public var uid: UInt32
    /// The names of all its groups, the primary one included.
    public var groups: [ByteText]
    /// Whether it is a system account (uid below 1000, or a shell not in /etc/shells), which only its literal name permits.
    public var isSystem: Bool
    /// Whether it is one of the gateway's own accounts, which nothing permits but its literal name.
    public var isGateway: Bool
    /// The guest pool that it was taken from for this request; nil where it was asked for by its own name.
    public var pool: String?

    /// Whether a guest may have it: its shell says nothing of that, since the policy names it as a pool's.
    public var canBeGuest: Bool { uid >= GuestPool.firstUID && !isGateway }

    /// An account.
    public init(
        name: UserName, uid: UInt32, groups: [ByteText], isSystem: Bool, isGateway: Bool = false, pool: String? = nil
    ) {
        self.name = name
        self.uid = uid
        self.groups = groups
        self.isSystem = isSystem
        self.isGateway = isGateway
        self.pool = pool
    }
}

/// What is to be run, after splitting and after the program was looked up.
public enum RequestedCommand: Sendable, Hashable {
    /// Words, the first one as it was sent, and the program found for it, if one was.
    case words([ByteText], program: Program?)

    /// A string that only a shell can run; with its first word as far as known.
    case needsShell(firstWord: ByteText?)

    /// The program that the first word names.
    public struct Program: Sendable, Hashable {
        /// The absolute path that rules see; /bin and /sbin are /usr/bin and /usr/sbin.
        public var path: ByteText
        /// The path with every link resolved, against which forbids are held too.
        public var resolvedPath: ByteText

        /// A program.
        public init(path: ByteText, resolvedPath: ByteText) {
            self.path = path
            self.resolvedPath = resolvedPath
        }
    }

    /// Whether only a shell can run it.
    public var needsShell: Bool {
        if case .needsShell = self { true } else { false }
    }

    /// Whether it is rcp's server side: a first word that is `rcp` or ends in `/rcp`.
    public var isRemoteCopy: Bool {
        let first: ByteText? =
            switch self {
            case .words(let words, _): words.first
            case .needsShell(let word): word
            }
        guard let bytes = first?.bytes else { return false }
        return bytes.elementsEqual("rcp".utf8) || bytes.suffix(4).elementsEqual("/rcp".utf8)
    }
}
