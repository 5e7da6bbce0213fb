// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// Connections back to clients that are under way.
///
/// Front asks; the rule, the addresses and the port range are the monitor's, from the primary itself.
struct ConnectBack {
    /// One attempt lasts at most this long (wire.md).
    static let timeout = Int64(ConnectBackRule.timeout)
    /// The most attempts at once; front keeps to four a source.
    static let limit = 4_096

    /// An attempt.
    struct Attempt {
        var connection: UInt64
        var socket: Descriptor
        var deadline: Int64
    }

    /// The attempts by their token's number.
    private(set) var attempts: [UInt64: Attempt] = [:]
    private var next: UInt64 = 0
    /// The place in `ConnectBackRule.ownPorts` that is tried next.
    private var nextOwn = 0

    /// What an ask came to at once.
    enum Started {
        case underWay(UInt64)
        case connected(Descriptor)
        case refused(Reason)
    }

    /// Starts a connection back to the peer of a primary.
    ///
    /// TRUST: front names the port and sends a socket; both addresses are taken from the socket, and the port rule of
    /// wire.md is checked here.
    mutating func start(connection: UInt64, service: Service, port: UInt16, primary: Descriptor) -> Started {
        guard attempts.count < Self.limit else { return .refused(.limit) }
        guard ConnectBackRule.permits(port: port, of: service), Socket.isConnectedTCP(primary),
            let peer = try? Socket.peer(primary), let local = try? Socket.local(primary)
        else { return .refused(.protocolError) }
        let target = Endpoint(address: peer.address, port: port, scope: peer.scope)
        let socket: Descriptor
        switch service {
        case .rexec:
            guard let bound = try? Socket.bound(Endpoint(address: local.address, port: 0, scope: local.scope)) else {
                return .refused(.protocolError)
            }
            do {
                try Socket.connect(bound, to: target)
                return .connected(bound)
            } catch {
                guard error.isInProgress else { return .refused(.protocolError) }
            }
            socket = bound
        case .rsh:
            // The pair of ports must be free too: a connect that finds it in use goes on to the next port.
            var made: Descriptor?
            var isConnected = false
            for _ in ConnectBackRule.ownPorts.indices where made == nil {
                let reserved = ConnectBackRule.ownPorts[nextOwn]
                nextOwn = (nextOwn + 1) % ConnectBackRule.ownPorts.count
                guard
                    let bound = try? Socket.bound(
                        Endpoint(address: local.address, port: reserved, scope: local.scope))
                else { continue }
                do {
                    try Socket.connect(bound, to: target)
                    isConnected = true
                    made = bound
                } catch {
                    if error.isInProgress { made = bound }
                    if !error.isInProgress && !error.isAddressInUse && !error.isAddressNotAvailable {
                        return .refused(.protocolError)
                    }
                }
            }
            guard let found = made else { return .refused(.limit) }
            if isConnected { return .connected(found) }
            socket = found
        }
        next += 1
        attempts[next] = Attempt(
            connection: connection, socket: socket, deadline: Clock.monotonicMilliseconds() + Self.timeout)
        return .underWay(next)
    }

    /// Takes an attempt that has ended out.
    mutating func finish(_ number: UInt64) -> Attempt? {
        attempts.removeValue(forKey: number)
    }

    /// Takes the attempts out whose time is over.
    mutating func expire(now: Int64) -> [Attempt] {
        let late = attempts.filter { $0.value.deadline <= now }
        for number in late.keys { attempts.removeValue(forKey: number) }
        return Array(late.values)
    }

    /// Drops everything: front died.
    mutating func clear() {
        attempts.removeAll()
    }
}
