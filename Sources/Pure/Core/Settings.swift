// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The settings of a policy: everything in it that is not a rule, a set or a sandbox. The monitor freezes them.
public struct Settings: Sendable, Hashable {
    /// AIX-securetcpip-style disabling.
    public var secureTCPIP: SecureTCPIP
    /// The REXEC service.
    public var rexec: ServiceSettings
    /// The RSH service.
    public var rsh: ServiceSettings
    /// What a refused client gets.
    public var refusal: RefusalSettings
    /// The trail.
    public var audit: AuditSettings
    /// The guest pools, in the order in which they were written.
    public var pools: [GuestPool] = []
    /// Directories in which a first word without `/` is looked up, in order.
    public var searchPath: [ByteText]

    /// The settings of an empty policy.
    public init() {
        secureTCPIP = SecureTCPIP()
        rexec = ServiceSettings(.rexec)
        rsh = ServiceSettings(.rsh)
        refusal = RefusalSettings()
        audit = AuditSettings()
        searchPath = ["/usr/bin", "/bin"]
    }

    /// The settings of a service as they stand in its block.
    public subscript(service: Service) -> ServiceSettings {
        get {
            switch service {
            case .rexec: rexec
            case .rsh: rsh
            }
        }
        set {
            switch service {
            case .rexec: rexec = newValue
            case .rsh: rsh = newValue
            }
        }
    }

    /// Whether a service is served: enabled in its block, and for rsh not disabled by securetcpip.
    public func serves(_ service: Service) -> Bool {
        self[service].isEnabled && (service == .rexec || secureTCPIP.allows(.rsh))
    }

    /// Whether `.rhosts` and `hosts.equiv` may be read at all.
    public var readsHostTrust: Bool {
        rsh.trust == .rhosts && secureTCPIP.allows(.rhosts)
    }
}

/// Accounts of this host that REXEC's guests are given, one each and alone: z/VM's slave machines (REXECD -s).
///
/// A guest asks for `UserName.guest` with an empty password.
public struct GuestPool: Sendable, Hashable {
    /// The most accounts of all pools together.
    public static let accountLimit = 1_024
    /// The least uid of a guest: no account of the system's is given away (login.defs, UID_MIN).
    public static let firstUID: UInt32 = 1_000

    /// The name, `[a-z][a-z0-9-]{0,62}`.
    public var name: String
    /// The accounts, in the order in which they are tried; none stands in two pools.
    public var accounts: [UserName]

    /// A pool.
    public init(name: String, accounts: [UserName]) {
        self.name = name
        self.accounts = accounts
    }
}

/// `securetcpip`: the disabling of what AIX's command of that name disables.
public struct SecureTCPIP: Sendable, Hashable {
    /// What can be given back.
    public enum Exception: UInt8, Sendable, Hashable, CaseIterable {
        case rsh = 1
        case rcp = 2
        case rhosts = 3
        case netrc = 4

        /// The word for it.
        public var name: String {
            switch self {
            case .rsh: "rsh"
            case .rcp: "rcp"
            case .rhosts: "rhosts"
            case .netrc: "netrc"
            }
        }
    }

    /// Whether it is on, which it is unless a policy says otherwise.
    public var isOn = true
    /// What is given back although it is on.
    public var exceptions: Set<Exception> = []

    /// On, with no exception.
    public init() {}

    /// Whether a function is left on.
    public func allows(_ exception: Exception) -> Bool {
        !isOn || exceptions.contains(exception)
    }
}

/// The settings of one service. Durations are milliseconds.
public struct ServiceSettings: Sendable, Hashable {
    /// How a password is verified: REXEC's, or that of an RSH password field.
    public enum Authentication: Sendable, Hashable {
        /// Through PAM, by service name.
        case pam(String)
        /// Against the credentials file; a relative path lies in the state directory.
        case file(ByteText)
    }

    /// How RSH establishes the remote user.
    public enum Trust: Sendable, Hashable {
        /// hosts.equiv and the target's .rhosts.
        case rhosts
        /// One central file; a relative path lies beside the policy file.
        case file(ByteText)
        /// The permit itself.
        case rule
    }

    /// What host names in trust files do.
    public enum Names: UInt8, Sendable, Hashable {
        case refuse = 1
        case hostsFile = 2
        case dns = 3
    }

    /// Whose account management an RSH request passes.
    public enum AccountManagement: Sendable, Hashable {
        /// PAM's, by service name.
        case pam(String)
        /// The gateway's own checks alone: expiry and /etc/nologin.
        case none
    }

    /// Which service.
    public var service: Service
    /// Whether the block says `enable`.
    public var isEnabled = false
    /// Where to listen.
    public var listeners: [Endpoint]
    /// The verification of passwords; RSH's block names its own where it takes any.
    public var authentication = Authentication.pam("portcullis-rexec")
    /// RSH's trust.
    public var trust = Trust.rhosts
    /// Host names in trust files.
    public var names = Names.refuse
    /// RSH's account management.
    public var accountManagement = AccountManagement.pam("portcullis-rsh")
    /// Whether an RSH client must come from a reserved port, 512 to 1023.
    public var requiresReservedSourcePort = true
    /// Whether an RSH target may carry a password, `user/password` or `user@password`, which then takes trust's place.
    public var takesPasswordField = false
    /// Whether a client may ask for a separate stderr connection.
    public var offersStderrChannel = true
    /// From accept to the end of the handshake.
    public var handshakeTimeout = 15_000
    /// From the complete request to the launch.
    public var authenticationTimeout = 30_000
    /// The most bytes of a command, at most `commandLengthLimit`.
    public var commandLength = 4_096
    /// The most requests under way at once, from hand-over to end.
    public var sessions = 200
    /// The same, from one source address.
    public var sessionsPerSource = 20

    /// One less than Linux's MAX_ARG_STRLEN leaves room for: a single argument's bytes without its NUL.
    public static let commandLengthLimit = 131_071

    /// The defaults of a service, which are policy-language.md's examples.
    public init(_ service: Service) {
        self.service = service
        let port: UInt16 = service == .rexec ? 512 : 514
        listeners = [Endpoint(address: IPAddress(v4: 0x7F00_0001), port: port)]
        if service == .rexec { listeners.append(Endpoint(address: IPAddress(v6: 1), port: port)) }
    }
}

/// What a refused client gets, the same for every reason.
public struct RefusalSettings: Sendable, Hashable {
    /// Milliseconds from the end of the handshake, at least 1.
    public var delay = 1_000
    /// REXEC's line, without the leading `\1` and the newline.
    public var rexecText = "Login incorrect."
    /// RSH's line.
    public var rshText = "Permission denied."

    /// The defaults.
    public init() {}

    /// The line of a service.
    public func text(_ service: Service) -> String {
        switch service {
        case .rexec: rexecText
        case .rsh: rshText
        }
    }
}

/// How the trail is kept.
public struct AuditSettings: Sendable, Hashable {
    /// What to do with the kernel's audit subsystem.
    public enum Kernel: UInt8, Sendable, Hashable {
        /// Use it where it answers.
        case auto = 1
        /// Refuse requests where it does not.
        case require = 2
        /// Leave it alone.
        case off = 3
    }

    /// When a record is on disk.
    public enum Durability: UInt8, Sendable, Hashable {
        /// Before what it records goes on.
        case sync = 1
        /// At most a second later.
        case batch = 2
    }

    /// What happens when a record cannot be made durable.
    public enum OnFailure: UInt8, Sendable, Hashable {
        case refuse = 1
        case goOn = 2
    }

    /// Kernel forwarding.
    public var kernel = Kernel.auto
    /// Durability.
    public var durability = Durability.sync
    /// Failure.
    public var onFailure = OnFailure.refuse
    /// Milliseconds between checkpoints while there are new records.
    public var checkpoint = 60_000
    /// The bytes after which a segment of the trail is closed and another one begun.
    public var segmentSize: UInt64 = 32 << 20

    /// The sizes that a segment may have: room for a few records at least.
    public static let segmentSizes: ClosedRange<UInt64> = 65_536...(1 << 40)

    /// The defaults.
    public init() {}
}
