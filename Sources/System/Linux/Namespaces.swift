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
    /// The host's and the domain's name (CLONE_NEWUTS).
    public static let names = Namespaces(rawValue: 0x0400_0000)
    /// The network (CLONE_NEWNET).
    static let network = Namespaces(rawValue: 0x4000_0000)
    /// What is seen of control groups (CLONE_NEWCGROUP).
    private static let cgroups = Namespaces(rawValue: 0x0200_0000)
    /// Processes (CLONE_NEWPID).
    public static let processes = Namespaces(rawValue: 0x2000_0000)
    /// What every session takes: when its init ends, the kernel ends every process in it, and what they left in mounts
    /// and IPC goes with them.
    ///
    /// No network namespace of its own: making one costs half a millisecond and taking it down as much again. A session
    /// without a network joins `EmptyNetwork` instead.
    public static let session: Namespaces = [.mounts, .ipc, .processes]
    /// What a session with a confined command takes when its init starts: the names are its own too. Its mounts become
    /// its own when what it is to see of the host's was copied (`CommandConfinement.mount`).
    public static let confined: Namespaces = [.ipc, .processes, .names]

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
    ///
    /// - Parameter group: the control group that the child is started in (clone3(2), Linux 5.7); nil leaves it in this
    ///   process's own.
    public func fork(into group: Descriptor? = nil) throws(ConfinementError) -> Fork {
        var child: pid_t = -1
        var pidfd: Int32 = -1
        // SAFETY: both live for the call; the child has copies of its own.
        let code = unsafe portcullis_process_clone(rawValue, group?.number ?? -1, &child, &pidfd)
        guard code == 0 else { throw ConfinementError(.namespaces, code) }
        return child == 0 ? .child : .parent(ProcessHandle(pid: child, descriptor: Descriptor(owning: pidfd)))
    }

    /// Has the calling process, and what it starts, see its own control group as the root of all; the names of those above
    /// it are the host's.
    ///
    /// A kernel that has none of this has no control groups to be seen either.
    public static func hideGroups() throws(ConfinementError) {
        do {
            try cgroups.unshare()
        } catch  where error.code == EINVAL {}
    }

    /// Moves the calling process into new namespaces; for `processes` only what it starts is in them.
    public func unshare() throws(ConfinementError) {
        let code = portcullis_namespaces_unshare(Int32(truncatingIfNeeded: rawValue))
        guard code == 0 else { throw ConfinementError(.namespaces, code) }
    }
}
