// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What waits for strangers at the ports of old services, and whose process that is.
struct WaitingDaemons {
    /// Whose a socket is.
    enum Owner: Hashable {
        /// The gateway's: it holds it, and nobody besides but the service manager that opened it.
        case gateway
        /// The gateway's processes hold it, and the policy does not say so: it is by another that they listen.
        case otherPolicy
        /// Somebody's else; why it is not the gateway's, where it looks as if it were.
        case stranger(String?)
        /// Nobody knows; why.
        case unknown(String)
    }

    /// A socket and its holders.
    struct Entry {
        var socket: WaitingSocket
        /// The processes that hold it; empty where they are not known.
        var holders: [SocketHolder]
        /// Whose it is.
        var owner: Owner

        /// Whether the gateway holds it, where the policy says so.
        var isGateway: Bool { owner == .gateway }

        /// Whether nobody could be found who holds it, as for a plain user.
        var isUnknown: Bool { if case .unknown = owner { true } else { false } }

        /// Whether it is known to be somebody's else, or of another policy, which is as foreign.
        var isStranger: Bool { !isGateway && !isUnknown }

        /// For people.
        var description: String {
            let who = holders.map { "\($0.name.printable) \($0.pid)" }.joined(separator: ", ")
            let whose: String =
                switch owner {
                case .gateway: "the gateway"
                case .otherPolicy: "\(who): by another policy than this one, which has no such listener"
                case .stranger(nil): who
                case .stranger(let reason?): "\(who): \(reason)"
                case .unknown(let reason): reason
                }
            return "\(socket.endpoint)/\(socket.transport.rawValue) (\(whose))"
        }
    }

    /// The sockets, by transport and port; empty where they could not be read.
    let entries: [Entry]
    /// Why they could not be read, or not all of them judged; nil where they could.
    let problem: String?

    /// Reads the tables of this network namespace.
    ///
    /// - Parameters:
    ///   - settings: those of the policy, which says where the gateway listens.
    ///   - ownDirectory: where this program lies, beside which the gateway's may lie.
    ///   - patience: how long it takes at most to find who holds the sockets, in milliseconds.
    init(
        _ host: LocalHost, settings: Settings, ownDirectory: String? = Self.ownDirectory,
        patience: Int64 = SocketHolders.patience
    ) {
        let ports = RemoteTool.all.compactMap(\.port)
        let gateway = Gateway(host, ownDirectory: ownDirectory)
        do throws(SystemError) {
            let sockets = try SocketTable.waiting(host.path("/proc/net")).filter { socket in
                ports.contains { $0.number == socket.endpoint.port && $0.transport == socket.transport }
            }
            let found = try SocketHolders(
                of: Set(sockets.map(\.inode)), first: gateway.uids, patience: patience, host.path("/proc"))
            entries = sockets.map { socket in
                // Of those that were not found, one might say that it is another's.
                let held = found.isComplete ? found.holders[socket.inode] ?? [] : []
                let owner: Owner =
                    !found.isComplete
                    ? .unknown("whose it is was not looked for to the end")
                    : held.isEmpty
                        ? .unknown("a process that only root can name")
                        : gateway.owner(of: socket, heldBy: held, by: settings)
                return Entry(socket: socket, holders: held, owner: owner)
            }
            problem =
                found.isComplete
                ? nil : "whose they are: the processes of this host hold too many files to look at in the time for it"
        } catch {
            entries = []
            problem = "\(error)"
        }
    }

    /// The sockets at a tool's port.
    func entries(of tool: RemoteTool) -> [Entry] {
        guard let port = tool.port else { return [] }
        return entries.filter { $0.socket.transport == port.transport && $0.socket.endpoint.port == port.number }
    }

    static var ownDirectory: String? {
        File.resolved(Array("/proc/self/exe".utf8)).flatMap { ByteText($0).text }
            .map { LocalPolicyFiles.directory(of: $0) }
    }
}

// MARK: - The gateway's processes

extension WaitingDaemons {
    /// By what the gateway's processes are known.
    ///
    /// TRUST: neither by the names that processes give themselves, nor by their programs' paths, which whoever has a mount
    /// namespace of its own chooses; and a copy of the gateway's program that another account starts has that account's
    /// policy. It is the installed file, by its number, and the account that runs it.
    private struct Gateway {
        /// The programs of the monitor, which is root's and keeps every listener open.
        private let monitors: Set<FileIdentity>
        /// The programs of the front, to which the monitor hands them.
        private let fronts: Set<FileIdentity>
        /// The front's account; nil where the host has none of its name.
        private let frontUID: UInt32?
        private let superuser: UInt32

        /// The uids of which the gateway takes a free one where its account is missing: systemd's for dynamic users.
        private static let freeUIDs: ClosedRange<UInt32> = 61_184...65_519

        init(_ host: LocalHost, ownDirectory: String?) {
            let beside = ownDirectory.map { [$0] } ?? []
            func files(_ name: String, _ directories: [String]) -> Set<FileIdentity> {
                Set((directories + beside).compactMap { host.status("\($0)/\(name)")?.identity })
            }
            monitors = files("portcullisd", ["/usr/sbin"])
            fronts = files("portcullis-front", ["/usr/lib/portcullis", "/usr/sbin"])
            superuser = host.superuser
            frontUID = host.accounts.first { $0.name == "portc-front" }?.uid
        }

        /// Whose processes are looked at before all others.
        var uids: Set<UInt32> { Set([superuser, frontUID].compactMap(\.self)) }

        private func isMonitor(_ holder: SocketHolder) -> Bool {
            holder.uid == superuser && (holder.file.map(monitors.contains) ?? false)
        }

        private func isFront(_ holder: SocketHolder) -> Bool {
            (frontUID.map { $0 == holder.uid } ?? Self.freeUIDs.contains(holder.uid))
                && (holder.file.map(fronts.contains) ?? false)
        }

        func owner(of socket: WaitingSocket, heldBy holders: [SocketHolder], by settings: Settings) -> Owner {
            let others = holders.filter { !isMonitor($0) && !isFront($0) }
            guard holders.contains(where: isMonitor), others.allSatisfy({ $0.pid == 1 }) else {
                let pretender = others.lazy.filter { $0.pid != 1 }.compactMap(reason).first
                return .stranger(pretender)
            }
            let service = RemoteTool.all.first {
                $0.port?.number == socket.endpoint.port && $0.port?.transport == socket.transport
            }?.service
            guard let service, socket.transport == .tcp, settings.serves(service),
                settings[service].listeners.contains(where: {
                    $0.address == socket.endpoint.address && $0.port == socket.endpoint.port
                })
            else {
                return .otherPolicy
            }
            return .gateway
        }

        /// Why a process whose program is called like one of the gateway's is none of its; nil for one of another name.
        private func reason(_ holder: SocketHolder) -> String? {
            let path = holder.program?.printable ?? ""
            guard let name = path.split(separator: "/").last?.split(separator: " ").first,
                name == "portcullisd" || name == "portcullis-front"
            else { return nil }
            let isInstalled = holder.file.map { monitors.contains($0) || fronts.contains($0) } ?? false
            return isInstalled
                ? "not the gateway, as uid \(holder.uid) runs it"
                : "not the gateway that is installed, or not any more"
        }
    }
}
