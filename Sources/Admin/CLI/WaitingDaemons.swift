// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What waits for strangers at the ports of old services, and whose process that is.
struct WaitingDaemons {
    /// A socket and its holders.
    struct Entry {
        var socket: WaitingSocket
        /// The processes that hold it; empty where they are not known.
        var holders: [SocketHolder]
        /// Whether the gateway holds it, and nobody besides but the service manager that opened it.
        var isGateway: Bool

        /// Whether nobody could be found who holds it, as for a plain user.
        var isUnknown: Bool { holders.isEmpty }

        /// For people.
        var description: String {
            let who = holders.map { "\($0.name.printable) \($0.pid)" }.joined(separator: ", ")
            let whose = isGateway ? "the gateway" : who.isEmpty ? "a process that only root can name" : who
            return "\(socket.endpoint)/\(socket.transport.rawValue) (\(whose))"
        }
    }

    /// The sockets, by transport and port; empty where they could not be read.
    let entries: [Entry]
    /// Why they could not be read; nil where they could.
    let problem: String?

    /// Reads the tables of this network namespace.
    ///
    /// - Parameter ownDirectory: where this program lies, beside which the gateway's may lie.
    init(_ host: LocalHost, ownDirectory: String? = Self.ownDirectory) {
        let ports = RemoteTool.all.compactMap(\.port)
        do throws(SystemError) {
            let sockets = try SocketTable.waiting(host.path("/proc/net")).filter { socket in
                ports.contains { $0.number == socket.endpoint.port && $0.transport == socket.transport }
            }
            let holders = try SocketHolders(of: Set(sockets.map(\.inode)), host.path("/proc")).holders
            entries = sockets.map { socket in
                let held = holders[socket.inode] ?? []
                return Entry(
                    socket: socket, holders: held, isGateway: Self.isGateway(held, ownDirectory: ownDirectory))
            }
            problem = nil
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

    /// The programs of the gateway that hold listeners, where they are installed.
    private static let gatewayPrograms: Set<String> = [
        "/usr/sbin/portcullisd", "/usr/lib/portcullis/portcullis-front", "/usr/sbin/portcullis-front",
    ]

    static var ownDirectory: String? {
        File.resolved(Array("/proc/self/exe".utf8)).flatMap { ByteText($0).text }
            .map { LocalPolicyFiles.directory(of: $0) }
    }

    /// By their programs' paths, never by the names that processes give themselves.
    private static func isGateway(_ holders: [SocketHolder], ownDirectory: String?) -> Bool {
        let beside = ownDirectory.map { ["\($0)/portcullisd", "\($0)/portcullis-front"] } ?? []
        let programs = gatewayPrograms.union(beside)
        let others = holders.filter { holder in
            // A program that was replaced by an upgrade still runs: "PATH (deleted)".
            let path = holder.program?.text.map { $0.hasSuffix(" (deleted)") ? String($0.dropLast(10)) : $0 }
            return !(path.map(programs.contains) ?? false)
        }
        return others.count < holders.count && others.allSatisfy { $0.pid == 1 }
    }
}
