// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
internal import Glibc

/// The resource limits of a command (setrlimit(2)).
///
/// Hard limits are only ever lowered, by root too: a container without CAP_SYS_RESOURCE cannot raise them, and what
/// the site has set above us stays.
public enum ResourceLimits {
    /// A resource that a sandbox limits.
    public enum Resource: UInt8, Sendable, Hashable, CaseIterable {
        /// Seconds of CPU time.
        case cpu = 1
        /// Bytes of address space.
        case memory = 2
        /// Processes of the account.
        case processes = 3
        /// Open descriptors.
        case files = 4
        /// Bytes of the largest file.
        case fileSize = 5
        /// Bytes of a core file: always 0.
        case core = 6

        /// The kernel's number; the same on x86-64 and arm64.
        var number: Int32 {
            switch self {
            case .cpu: 0
            case .fileSize: 1
            case .core: 4
            case .processes: 6
            case .files: 7
            case .memory: 9
            }
        }
    }

    /// A limit that was asked for and could not be had: the hard limit above us is lower, and holds instead.
    public struct Shortfall: Sendable, Hashable {
        /// What is limited.
        public var resource: Resource
        /// What was asked for.
        public var asked: UInt64
        /// What holds.
        public var had: UInt64

        /// A shortfall.
        public init(resource: Resource, asked: UInt64, had: UInt64) {
            self.resource = resource
            self.asked = asked
            self.had = had
        }
    }

    /// Sets a sandbox's limits, and no core files, on the calling process; it and all that it starts keep them.
    ///
    /// CPU time has a hard limit one second above the soft one, so that the command ends by SIGXCPU, which tells the
    /// session why, before it ends by SIGKILL. `output` is the session's to hold, not the kernel's.
    ///
    /// - Returns: what could not be had, in the order of `Resource`.
    /// - Throws: step `limits` where one could not be set or was not what was set.
    @discardableResult
    public static func apply(_ limits: Sandbox.Limits) throws(ConfinementError) -> [Shortfall] {
        var shortfalls: [Shortfall] = []
        let asked: [(Resource, UInt64?)] = [
            (.cpu, limits.cpu), (.memory, limits.memory), (.processes, limits.processes), (.files, limits.files),
            (.fileSize, limits.fileSize), (.core, 0),
        ]
        for (resource, value) in asked {
            guard let value else { continue }
            let had = try lower(resource, to: value, grace: resource == .cpu ? 1 : 0)
            if had < value { shortfalls.append(Shortfall(resource: resource, asked: value, had: had)) }
        }
        return shortfalls
    }

    /// Lowers one limit, and says which soft limit holds then.
    static func lower(_ resource: Resource, to value: UInt64, grace: UInt64) throws(ConfinementError) -> UInt64 {
        let before = try read(resource)
        let (sum, overflow) = value.addingReportingOverflow(grace)
        let hard = min(overflow ? .max : sum, UInt64(before.rlim_max))
        let soft = min(value, hard)
        var wanted = rlimit(rlim_cur: rlim_t(soft), rlim_max: rlim_t(hard))
        // SAFETY: `wanted` lives for the call and is only read.
        guard unsafe setrlimit(__rlimit_resource_t(UInt32(resource.number)), &wanted) == 0 else {
            throw ConfinementError(.limits, errno)
        }
        let after = try read(resource)
        guard after.rlim_cur == soft, after.rlim_max == hard else { throw ConfinementError(.limits, EPERM) }
        return soft
    }

    /// The soft and the hard limit that hold for this process.
    public static func current(_ resource: Resource) throws(ConfinementError) -> (soft: UInt64, hard: UInt64) {
        let limit = try read(resource)
        return (UInt64(limit.rlim_cur), UInt64(limit.rlim_max))
    }

    /// Raises the soft limit of open descriptors to the hard one, for a process of ours that holds many.
    ///
    /// - Returns: what holds then.
    public static func raiseFiles() throws(ConfinementError) -> UInt64 {
        let before = try read(.files)
        var wanted = rlimit(rlim_cur: before.rlim_max, rlim_max: before.rlim_max)
        // SAFETY: `wanted` lives for the call and is only read.
        guard unsafe setrlimit(__rlimit_resource_t(UInt32(Resource.files.number)), &wanted) == 0 else {
            throw ConfinementError(.limits, errno)
        }
        return try current(.files).soft
    }

    /// Every limit of a process, by the kernel's numbers.
    public struct Snapshot: Sendable, Hashable {
        /// How many there are: RLIM_NLIMITS, on every Linux that we know.
        private static let count: UInt32 = 16

        private let limits: [[UInt64]]

        /// This process's limits now.
        public init() throws(SystemError) {
            var limits: [[UInt64]] = []
            for number in 0..<Self.count {
                var limit = rlimit()
                // SAFETY: `limit` lives for the call.
                guard unsafe getrlimit(__rlimit_resource_t(number), &limit) == 0 else { throw .last("getrlimit") }
                limits.append([UInt64(limit.rlim_cur), UInt64(limit.rlim_max)])
            }
            self.limits = limits
        }

        /// Sets this process's limits to these, or to what comes nearest.
        ///
        /// - Throws: step `limits`: a hard limit that was lowered rises again only with CAP_SYS_RESOURCE.
        public func apply() throws(ConfinementError) {
            var failure: ConfinementError?
            for (number, pair) in zip(UInt32(0)..., limits) {
                var wanted = rlimit(rlim_cur: rlim_t(pair[0]), rlim_max: rlim_t(pair[1]))
                // SAFETY: `wanted` lives for the call and is only read.
                if unsafe setrlimit(__rlimit_resource_t(number), &wanted) == 0 { continue }
                failure = ConfinementError(.limits, errno)
                var now = rlimit()
                // SAFETY: `now` lives for the call.
                guard unsafe getrlimit(__rlimit_resource_t(number), &now) == 0 else { continue }
                now.rlim_cur = min(rlim_t(pair[0]), now.rlim_max)
                // SAFETY: as above.
                _ = unsafe setrlimit(__rlimit_resource_t(number), &now)
            }
            if let failure { throw failure }
        }
    }

    private static func read(_ resource: Resource) throws(ConfinementError) -> rlimit {
        var limit = rlimit()
        // SAFETY: `limit` lives for the call.
        guard unsafe getrlimit(__rlimit_resource_t(UInt32(resource.number)), &limit) == 0 else {
            throw ConfinementError(.limits, errno)
        }
        return limit
    }
}
