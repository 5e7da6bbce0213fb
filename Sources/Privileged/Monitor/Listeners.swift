// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// The listening sockets. The monitor keeps them open so that the next front takes them when one dies.
struct Listeners {
    /// A listener and its socket.
    struct Bound {
        var listener: FrontSettings.Listener
        var socket: Descriptor
    }

    private(set) var bound: [Bound] = []
    /// Sockets from the service manager, by service: they take the place of what the policy says.
    private let offered: [Bound]

    init() {
        offered = Self.fromServiceManager()
    }

    /// Sockets that systemd opened (sd_listen_fds(3)), named `rexec` and `rsh`.
    private static func fromServiceManager() -> [Bound] {
        guard let pid = Process.environmentVariable("LISTEN_PID"), Int32(pid) == Process.id,
            let text = Process.environmentVariable("LISTEN_FDS"), let count = Int32(text), (1...64).contains(count)
        else { return [] }
        let names = (Process.environmentVariable("LISTEN_FDNAMES") ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        var found: [Bound] = []
        for (index, number) in (3..<(3 + count)).enumerated() {
            guard let socket = Descriptor.inherited(number), Socket.isListening(socket),
                let endpoint = try? Socket.local(socket)
            else { continue }
            let name = names.indices.contains(index) ? String(names[index]) : ""
            let byPort: Service? =
                switch endpoint.port {
                case 512: .rexec
                case 514: .rsh
                default: nil
                }
            guard let service = Service(name: name) ?? byPort else { continue }
            try? socket.setBlocking(false)
            found.append(Bound(listener: FrontSettings.Listener(service: service, endpoint: endpoint), socket: socket))
        }
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { Process.setEnvironmentVariable(name, nil) }
        return found
    }

    /// Opens what a policy's settings ask for, keeping what is open already.
    ///
    /// - Returns: the listeners that would be; nothing changes here until `install`.
    /// - Throws: `StartError`, with what a person can do about it.
    func prepare(_ settings: Settings) throws -> [Bound] {
        var next: [Bound] = []
        for service in Service.allCases where settings.serves(service) {
            let given = offered.filter { $0.listener.service == service }
            guard given.isEmpty else {
                next += given
                continue
            }
            for endpoint in settings[service].listeners {
                let listener = FrontSettings.Listener(service: service, endpoint: endpoint)
                if let old = bound.first(where: { $0.listener.endpoint == endpoint }) {
                    next.append(Bound(listener: listener, socket: old.socket))
                    continue
                }
                do {
                    let socket = try open(endpoint)
                    // Port 0 becomes what the kernel chose, so that tests and people are told.
                    let actual = endpoint.port == 0 ? try Socket.local(socket) : endpoint
                    next.append(
                        Bound(listener: FrontSettings.Listener(service: service, endpoint: actual), socket: socket))
                } catch {
                    var text = "cannot bind \(endpoint): \(error.text.lowercased())"
                    if error.isPermission, endpoint.port < 1_024 {
                        text += " (ports below 1024 need root; try listen \(Self.unprivileged(endpoint)))"
                    }
                    throw StartError(text)
                }
            }
        }
        return next
    }

    /// How long an address may still be another's at a start, in milliseconds.
    private static let patience: Int64 = 1_000

    /// Opens a listener. At a start the front of a gateway that was killed may not have noticed yet: it has the address for a
    /// moment more.
    private func open(_ endpoint: Endpoint) throws(SystemError) -> Descriptor {
        let last = Clock.monotonicMilliseconds() + (bound.isEmpty ? Self.patience : 0)
        while true {
            do throws(SystemError) {
                return try Socket.listen(endpoint)
            } catch {
                guard error.code == 98 /* EADDRINUSE */, Clock.monotonicMilliseconds() < last else { throw error }
                Clock.sleep(milliseconds: 20)
            }
        }
    }

    private static func unprivileged(_ endpoint: Endpoint) -> Endpoint {
        Endpoint(address: endpoint.address, port: endpoint.port + 5_000)
    }

    mutating func install(_ next: [Bound]) {
        bound = next
    }

    mutating func close() {
        bound = []
    }
}
