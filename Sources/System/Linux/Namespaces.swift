// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// Namespaces of a session, and what is mounted in them. Root alone makes them.
public struct Namespaces: OptionSet, Sendable, Hashable {
    /// The kernel's CLONE_NEW* bits.
    public let rawValue: UInt64

    /// Wraps the kernel's bits.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Mounts (CLONE_NEWNS).
    public static let mounts = Namespaces(rawValue: 0x0002_0000)
    /// System V and POSIX message queues, semaphores and shared memory (CLONE_NEWIPC).
    public static let ipc = Namespaces(rawValue: 0x0800_0000)
    /// Processes (CLONE_NEWPID).
    public static let processes = Namespaces(rawValue: 0x2000_0000)
    /// What a session takes: when its init ends, the kernel ends every process in it, and what they left in mounts and
    /// IPC goes with them.
    ///
    /// No network namespace: it would not hold the client's socket, which comes from outside it, and costs a
    /// millisecond; the filter and Landlock hold the network.
    public static let session: Namespaces = [.mounts, .ipc, .processes]

    /// Which of the two processes after a fork this is.
    public enum Fork: Sendable {
        /// The new one; pid 1 where `processes` was asked for.
        case child
        /// The old one, with a handle on the new one.
        case parent(ProcessHandle)
    }

    /// Forks, the child in namespaces of its own; with none it is a fork that also gives a pidfd (Linux 5.2).
    ///
    /// For single-threaded processes alone: it is clone(2) itself, and no atfork handler runs.
    public func fork() throws(ConfinementError) -> Fork {
        var child: pid_t = -1
        var pidfd: Int32 = -1
        // SAFETY: both live for the call; the child has copies of its own.
        let code = unsafe portcullis_process_clone(rawValue, &child, &pidfd)
        guard code == 0 else { throw ConfinementError(.namespaces, code) }
        return child == 0 ? .child : .parent(ProcessHandle(pid: child, descriptor: Descriptor(owning: pidfd)))
    }

    /// Moves the calling process into new namespaces; for `processes` only what it starts is in them.
    public func unshare() throws(ConfinementError) {
        let code = portcullis_namespaces_unshare(Int32(truncatingIfNeeded: rawValue))
        guard code == 0 else { throw ConfinementError(.namespaces, code) }
    }
}

/// Mounts in a namespace of the session's own.
public enum Mounts {
    private static let noSetuid: UInt = 2  // MS_NOSUID
    private static let noDevices: UInt = 4  // MS_NODEV
    private static let noExecute: UInt = 8  // MS_NOEXEC
    private static let recursive: UInt = 16_384  // MS_REC
    private static let slave: UInt = 1 << 19  // MS_SLAVE

    /// Cuts every mount of this namespace off from the others, so that nothing mounted here shows anywhere else.
    ///
    /// What the host mounts later still arrives (MS_SLAVE): a home that an automounter brings is mounted by a daemon in
    /// the host's namespace, and what the host unmounts is not held here. Comes before any other mount.
    public static func makePrivate() throws(ConfinementError) {
        try mount(nil, at: "/", type: nil, flags: recursive | slave, options: nil)
    }

    /// Mounts an empty tmpfs over a directory, mode 1777, without setuid and devices.
    ///
    /// - Parameters:
    ///   - place: the directory, `/tmp` mostly; a path of our own, not a stranger's.
    ///   - size: the most bytes that it holds.
    ///   - entries: the most files and directories that it holds.
    public static func temporary(
        at place: StaticString = "/tmp", size: UInt64 = 256 << 20, entries: UInt64 = 65_536
    ) throws(ConfinementError) {
        try mount(
            "tmpfs", at: place.description, type: "tmpfs", flags: noSetuid | noDevices,
            options: "mode=1777,size=\(size),nr_inodes=\(entries)")
    }

    /// Mounts an empty tmpfs over an open directory, for one account alone: mode 0700, without setuid and devices.
    ///
    /// What may be executed there is the sandbox's to say.
    ///
    /// - Parameters:
    ///   - place: opened in this namespace, O_PATH or not; no path of a stranger's is followed.
    ///   - uid: whose it is.
    ///   - gid: its group.
    ///   - size: the most bytes that it holds.
    ///   - entries: the most files and directories that it holds.
    static func home(
        over place: Descriptor, uid: UInt32, gid: UInt32, size: UInt64 = 256 << 20, entries: UInt64 = 65_536
    ) throws(ConfinementError) {
        // The kernel's own link to what is open: mount(2) takes no descriptor.
        try mount(
            "tmpfs", at: "/proc/self/fd/\(place.number)", type: "tmpfs", flags: noSetuid | noDevices,
            options: "mode=0700,uid=\(uid),gid=\(gid),size=\(size),nr_inodes=\(entries)")
    }

    /// Mounts a /proc that shows the processes of this pid namespace alone, without setuid, devices and programs.
    ///
    /// Called in the namespace's own init: a /proc shows the pid namespace of who mounts it.
    public static func processes() throws(ConfinementError) {
        try mount("proc", at: "/proc", type: "proc", flags: noSetuid | noDevices | noExecute, options: nil)
    }

    /// Makes every mount of this namespace read-only but for what lies at and below some open files and directories.
    ///
    /// Landlock does not govern modes, owners, times and attributes; a read-only mount does. What was read-only in
    /// those places stays so. Comes after `makePrivate` and before further mounts.
    ///
    /// - Parameter places: opened in this namespace.
    static func freeze(except places: [Descriptor]) throws(ConfinementError) {
        var trees: [(tree: Descriptor, place: Descriptor)] = []
        for place in places {
            var made: Int32 = -1
            // SAFETY: `made` lives for the call.
            let code = unsafe portcullis_tree_copy(place.number, &made)
            guard code == 0 else { throw ConfinementError(.mounts, code) }
            trees.append((Descriptor(owning: made), place))
        }
        let code = portcullis_mounts_freeze()
        guard code == 0 else { throw ConfinementError(.mounts, code) }
        for (tree, place) in trees {
            let code = portcullis_tree_attach(tree.number, place.number)
            guard code == 0 else { throw ConfinementError(.mounts, code) }
        }
    }

    private static func mount(
        _ source: String?, at place: String, type: String?, flags: UInt, options: String?
    ) throws(ConfinementError) {
        // SAFETY: the pointer is used in the call alone.
        let result = unsafe withOptionalCString(options) { data in
            // SAFETY: all strings are C strings for the call, and the kernel copies the options.
            unsafe Glibc.mount(source, place, type, flags, data)
        }
        guard result == 0 else { throw ConfinementError(.mounts, errno) }
    }

    private static func withOptionalCString(_ text: String?, _ body: (UnsafeRawPointer?) -> Int32) -> Int32 {
        guard let text else { return body(nil) }
        // SAFETY: the pointer does not leave the call.
        return unsafe text.withCString { pointer in unsafe body(UnsafeRawPointer(pointer)) }
    }
}
