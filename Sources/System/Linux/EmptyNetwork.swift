// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// A network namespace in which there is nothing: not even loopback is up.
///
/// A session that has no network joins it. The filter refuses it every socket anyway; here are besides no address, no
/// route, no host to be seen in /proc/net, and no abstract socket. All such sessions share one: none can make a socket
/// there, and one for each would cost half a millisecond to make and a queue in the kernel to take down. The client's
/// sockets, which belong to the host's namespace, work as before.
public struct EmptyNetwork: Sendable {
    /// What stands for it (/proc/self/ns/net).
    public let descriptor: Descriptor

    /// Takes one over that another process made.
    public init(taking descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    /// Makes one, as root.
    ///
    /// For a process with one thread: the thread is in it for a moment, and back on return.
    /// - Throws: step `namespaces` where the kernel has none, or this root may make none. A process that cannot go back
    ///   to its own network ends.
    public static func make() throws(ConfinementError) -> EmptyNetwork {
        let own = try current()
        try Namespaces.network.unshare()
        // What fails here must not keep this process in a network without a listener.
        let made = Result { try current() }
        let code = portcullis_namespace_join(own.number, Int32(Namespaces.network.rawValue))
        guard code == 0 else { fatalError("cannot go back to the host's network: errno \(code)") }
        do {
            return EmptyNetwork(taking: try made.get())
        } catch {
            throw ConfinementError(.namespaces, of: error)
        }
    }

    private static func current() throws(ConfinementError) -> Descriptor {
        do {
            return try File.open("/proc/self/ns/net", .reading)
        } catch {
            throw ConfinementError(.namespaces, error.code)
        }
    }

    /// Moves the calling process into it, for good.
    public func join() throws(ConfinementError) {
        let code = portcullis_namespace_join(descriptor.number, Int32(Namespaces.network.rawValue))
        guard code == 0 else { throw ConfinementError(.namespaces, code) }
    }
}
