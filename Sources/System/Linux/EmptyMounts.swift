// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// A mount namespace in which there is nothing: an empty root that nobody can write.
///
/// What a confined session sees is built in a copy of it. So nothing of the host's tree has to be taken out of the
/// session's: it was never in it. That is also what costs least: a copy of the host's namespace grows with the host's
/// mounts, and taking them away again takes the kernel's grace period for each session.
public struct EmptyMounts: Sendable {
    /// What stands for it (/proc/PID/ns/mnt).
    public let descriptor: Descriptor

    /// Takes one over that another process made.
    public init(taking descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    /// Makes one, as root: a child of this process does, and has ended on return.
    ///
    /// - Throws: step `namespaces` or `mounts` where the kernel has less than it takes, or this root may not.
    public static func make() throws(ConfinementError) -> EmptyMounts {
        do {
            let report: Descriptor
            var told: Descriptor?
            do {
                let ends = try Descriptor.pipe()
                report = ends.read
                told = ends.write
            }
            switch try Namespaces.mounts.fork() {
            case .child:
                do {
                    try Process.dieWithParent()
                    try empty()
                    try told?.writeAll([0])
                    // Until it is ended.
                    while true { pause() }
                } catch {
                    let code = ConfinementError(.mounts, of: error).code
                    try? told?.writeAll([UInt8(truncatingIfNeeded: code)])
                }
                Process.exitNow(125)
            case .parent(let child):
                // The child alone holds it now: one that dies without a word is heard of.
                told = nil
                defer {
                    child.signal(Signals.Number.kill)
                    Children.reap(child.pid)
                }
                guard let code = try report.read(1).first, code == 0 else {
                    throw ConfinementError(.mounts, EINVAL)
                }
                return EmptyMounts(taking: try File.open("/proc/\(child.pid)/ns/mnt", .reading))
            }
        } catch {
            throw ConfinementError(.mounts, of: error)
        }
    }

    /// Empties the calling process's own mount namespace.
    private static func empty() throws(ConfinementError) {
        do {
            try Mounts.makePrivate()
            let here = try File.open("/proc/self/ns/mnt", .reading)
            let root = try Mounts.detachedRoot()
            try Mounts.restrict(root, [.readOnly])
            try Mounts.attach(root, over: Mounts.opened("/"))
            // The kernel's first root cannot be taken away: on a host that lives in its initramfs it stays below, where
            // nothing leads.
            try? Mounts.replaceRoot(by: root)
            // TRUST: whoever joins finds the empty root, however this process came to its own.
            try EmptyMounts(taking: here).join()
            let found = try Mounts.opened("/")
            guard let wanted = SecureOpen.identity(of: root), SecureOpen.identity(of: found) == wanted else {
                throw ConfinementError(.mounts, EINVAL)
            }
        } catch {
            throw ConfinementError(.mounts, of: error)
        }
    }

    /// Moves the calling process, of one thread, into it; its root and its directory are the empty one.
    func join() throws(ConfinementError) {
        let code = portcullis_namespace_join(descriptor.number, Int32(Namespaces.mounts.rawValue))
        guard code == 0 else { throw ConfinementError(.mounts, code) }
    }
}
