// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// Who a process is: the ids that the kernel checks.
public struct Credentials: Sendable, Hashable {
    /// The user.
    public var uid: UInt32
    /// The group.
    public var gid: UInt32
    /// The further groups.
    public var groups: [UInt32]

    /// Ids; `groups` may hold `gid` or not, in any order.
    public init(uid: UInt32, gid: UInt32, groups: [UInt32]) {
        self.uid = uid
        self.gid = gid
        self.groups = groups
    }

    /// The real, effective, saved and file-system ids of the calling thread.
    struct State: Hashable {
        var uids: [UInt32]
        var gids: [UInt32]
        var groups: [UInt32]

        /// What the kernel says now; groups sorted.
        static func current() throws(ConfinementError) -> State {
            var uids: [uid_t] = [0, 0, 0, 0]
            var gids: [gid_t] = [0, 0, 0, 0]
            // SAFETY: four entries, as the function fills.
            var code = unsafe portcullis_users_read(&uids)
            guard code == 0 else { throw ConfinementError(.credentials, code) }
            // SAFETY: four entries, as the function fills.
            code = unsafe portcullis_groups_read(&gids)
            guard code == 0 else { throw ConfinementError(.credentials, code) }
            return State(uids: uids, gids: gids, groups: try Credentials.currentGroups())
        }
    }

    /// The effective ids and the groups of the calling thread.
    public static func current() throws(ConfinementError) -> Credentials {
        let state = try State.current()
        return Credentials(uid: state.uids[1], gid: state.gids[1], groups: state.groups)
    }

    private static func currentGroups() throws(ConfinementError) -> [UInt32] {
        let count = getgroups(0, nil)
        guard count >= 0 else { throw ConfinementError(.credentials, errno) }
        var groups = [gid_t](repeating: 0, count: Int(count))
        guard count > 0 else { return groups }
        // SAFETY: the array has room for `count` entries, and the kernel writes no more.
        let got = unsafe getgroups(count, &groups)
        guard got >= 0 else { throw ConfinementError(.credentials, errno) }
        return groups.prefix(Int(got)).sorted()
    }

    // MARK: For good

    /// Becomes these ids for good: real, effective, saved and file-system ones, and the groups.
    ///
    /// Trusted on entry: the process may change its ids, or has these already. On return every id has been read back,
    /// and trying to take the former ones back has failed. On a throw the process is in between: the caller ends it.
    ///
    /// - Parameter keepingCapabilities: has the permitted set survive the change of uid (PR_SET_KEEPCAPS), for a helper
    ///   that drops the rest of it next.
    /// - Throws: the errno of the call that failed (`EAGAIN` from setresuid under RLIMIT_NPROC among them), step
    ///   `credentials`; step `verification` where a call lied.
    public func drop(keepingCapabilities: Bool = false) throws(ConfinementError) {
        // An id of all ones means "leave it" to the kernel.
        guard uid != .max, gid != .max else { throw ConfinementError(.credentials, EINVAL) }
        let before = try State.current()
        if keepingCapabilities { try ProcessControl.set(8 /* PR_SET_KEEPCAPS */, 1, step: .credentials) }
        // ORDER: groups while the right to set them is there, then gid, then uid, which gives that right up.
        if before.groups != Self.canonical(groups) { try set(groups) }
        try Self.check(portcullis_groups_set(gid, gid, gid))
        try Self.check(portcullis_users_set(uid, uid, uid))
        if keepingCapabilities { try ProcessControl.set(8 /* PR_SET_KEEPCAPS */, 0, step: .credentials) }
        try verify(formerly: before, capable: keepingCapabilities)
    }

    private func set(_ groups: [UInt32]) throws(ConfinementError) {
        // SAFETY: the array holds `count` entries and lives for the call.
        guard unsafe setgroups(groups.count, groups) == 0 else { throw ConfinementError(.credentials, errno) }
    }

    /// Reads everything back and tries to undo the drop.
    ///
    /// - Parameter capable: whether capabilities were kept on purpose: then it is for the caller to try again, with
    ///   `verifyDropped`, when they are gone.
    private func verify(formerly before: State, capable: Bool) throws(ConfinementError) {
        let after = try State.current()
        guard after.uids.allSatisfy({ $0 == uid }), after.gids.allSatisfy({ $0 == gid }),
            after.groups == Self.canonical(groups)
        else { throw ConfinementError(.verification, EPERM) }
        if uid != 0, !capable { try verifyDropped(formerly: before.uids, before.gids) }
    }

    /// 0 and these, each once. (In a fork: no set.)
    private static func rootAnd(_ ids: [UInt32]) -> [UInt32] {
        ids.reduce(into: [0]) { all, id in if !all.contains(id) { all.append(id) } }
    }

    /// Tries to become root, and each of the former ids; throws step `verification` where one attempt succeeds.
    ///
    /// For a process that is not uid 0 and holds neither CAP_SETUID nor CAP_SETGID.
    public func verifyDropped(
        formerly uids: [UInt32] = [], _ gids: [UInt32] = []
    ) throws(ConfinementError) {
        for former in Self.rootAnd(uids) where former != uid {
            guard portcullis_users_set(former, former, former) != 0, setuid(former) != 0, seteuid(former) != 0 else {
                throw ConfinementError(.verification, EPERM)
            }
            portcullis_fsuser_try(former)
        }
        for former in Self.rootAnd(gids) where former != gid {
            guard portcullis_groups_set(former, former, former) != 0, setgid(former) != 0, setegid(former) != 0 else {
                throw ConfinementError(.verification, EPERM)
            }
            portcullis_fsgroup_try(former)
        }
        let after = try State.current()
        guard after.uids.allSatisfy({ $0 == uid }), after.gids.allSatisfy({ $0 == gid }) else {
            throw ConfinementError(.verification, EPERM)
        }
        if setgroups(0, nil) == 0 { throw ConfinementError(.verification, EPERM) }
    }

    // MARK: For a while

    /// Runs `body` with these effective ids and groups, and takes the former ones back.
    ///
    /// The calling thread alone has them meanwhile: the kernel keeps ids by thread, and the others go on as they were.
    ///
    /// The real and saved uid stay the caller's: a process whose real or saved uid is the target's can be signalled by
    /// the target (kill(2)), one whose effective uid alone is cannot, nor can it be traced. A process that is not root
    /// can do this for its own ids alone.
    ///
    /// The former ids are read back; where they did not all return, the process stops: it must not go on as a mixture.
    ///
    /// - Throws: what `body` throws, or step `credentials` where the ids cannot be had.
    public func borrowed<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
        let before = try State.current()
        guard uid != .max, gid != .max else { throw ConfinementError(.credentials, EINVAL) }
        if before.uids[1] != 0 {
            guard before.uids[1] == uid, before.gids[1] == gid else { throw ConfinementError(.credentials, EPERM) }
            return try body()
        }
        do throws(ConfinementError) {
            // ORDER: groups and gid while the effective uid still gives the right to set them.
            // SAFETY: the array holds `count` entries and lives for the call.
            try Self.check(unsafe portcullis_thread_supplementary_set(groups.count, groups))
            try Self.check(portcullis_thread_groups_set(.max, gid, .max))
            try Self.check(portcullis_thread_users_set(.max, uid, .max))
            let now = try State.current()
            let uids = [before.uids[0], uid, before.uids[2], uid]
            let gids = [before.gids[0], gid, before.gids[2], gid]
            guard now == State(uids: uids, gids: gids, groups: Self.canonical(groups)) else {
                throw ConfinementError(.verification, EPERM)
            }
        } catch {
            Self.restore(before)
            throw error
        }
        defer { Self.restore(before) }
        return try body()
    }

    /// Takes effective ids and groups back, or stops the process.
    private static func restore(_ before: State) {
        // ORDER: the uid first: it gives the right to the rest.
        guard portcullis_thread_users_set(.max, before.uids[1], .max) == 0,
            portcullis_thread_groups_set(.max, before.gids[1], .max) == 0
        else { fatalError("the former identity could not be taken back") }
        // SAFETY: the array holds `count` entries and lives for the call.
        guard unsafe portcullis_thread_supplementary_set(before.groups.count, before.groups) == 0 else {
            fatalError("the former groups could not be taken back")
        }
        guard let now = try? State.current(), now == before else {
            fatalError("the former identity did not come back")
        }
    }

    private static func check(_ code: Int32) throws(ConfinementError) {
        guard code == 0 else { throw ConfinementError(.credentials, code) }
    }

    private static func canonical(_ groups: [UInt32]) -> [UInt32] {
        groups.sorted()
    }
}
