// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux

/// Sockets on reserved ports, by which an rsh server knows that root answers for the remote user's name.
public enum ReservedPort {
    /// The ports that rresvport(3) hands out.
    public static let range: ClosedRange<UInt16> = 512...1_023

    /// Whether this process may bind reserved ports.
    public static var isPermitted: Bool {
        var port = range.upperBound
        do throws(RemoteCommandError) {
            _ = try bind(&port, address: IPAddress(v4: 0x7F00_0001))
            return true
        } catch {
            if case .portsNotPermitted = error { return false }
            return true
        }
    }

    /// Binds a socket to a reserved port, trying each port once, downwards and round from `port`.
    ///
    /// A listening socket is on none of the ports where services believe or relay: a gateway that is careful calls back
    /// on none of them (`ConnectBackRule`).
    ///
    /// - Parameters:
    ///   - port: where to start; one below the range starts at its lower end, one above it at its upper end. On return,
    ///     the port that was bound.
    ///   - address: the local address; unspecified for any.
    ///   - scope: the interface index of a link-local address.
    ///   - listening: have the socket listen.
    ///   - reusing: set SO_REUSEADDR, as a socket needs that will be connected where others of the same port are not; a
    ///     listening one always has it. Without it a port that anything else is bound to is in use, as in C.
    /// - Throws: `portsInUse` where none is free, `portsNotPermitted` where this process may bind none of them.
    public static func bind(
        _ port: inout UInt16, address: IPAddress, scope: UInt32 = 0, listening: Bool = false, reusing: Bool = true
    ) throws(RemoteCommandError) -> Descriptor {
        port = min(max(port, range.lowerBound), range.upperBound)
        for _ in range {
            if listening, ConnectBackRule.isForbidden(port) {
                port = next(port)
                continue
            }
            let endpoint = Endpoint(address: address, port: port, scope: scope)
            do {
                return try listening
                    ? Socket.listen(endpoint, backlog: 1) : Socket.bound(endpoint, reusing: reusing)
            } catch {
                if error.isPermission { throw .portsNotPermitted }
                guard error.isAddressInUse else { throw .system(error) }
                port = next(port)
            }
        }
        throw .portsInUse
    }

    /// The port below, or the range's upper end.
    static func next(_ port: UInt16) -> UInt16 {
        port > range.lowerBound && port <= range.upperBound ? port - 1 : range.upperBound
    }
}
