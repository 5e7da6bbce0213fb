// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
import Wire

/// What a client asks of a server: rcmd(3) and rexec(3) with everything that can be chosen.
public struct RemoteRequest {
    /// Who asks, by the protocol.
    public enum Identity {
        /// RSH: the user here, believed for the address and the reserved port, and the account there.
        case rsh(remoteUser: ByteText, target: ByteText)
        /// REXEC: the account there and its password.
        case rexec(user: ByteText, password: Secret)
    }

    /// Which local ports an RSH client takes.
    public enum Ports: Sendable, Hashable {
        /// Reserved ones, as servers want.
        case reserved
        /// Any: for servers with `source-port any`. There is no stderr channel then, since a server connects back to
        /// reserved ports alone.
        case any
    }

    /// The host: a name, or an address.
    public var host: ByteText
    /// The server's port; nil for the service's own.
    public var port: UInt16?
    /// The address family; nil for both.
    public var family: IPAddress.Family?
    /// Who asks.
    public var identity: Identity
    /// The command.
    public var command: ByteText
    /// Whether stderr comes on a connection of its own, on which signals go back.
    public var wantsErrors: Bool
    /// Local ports, in RSH.
    public var ports = Ports.reserved
    /// The pauses after which a host that refuses connections on every address is tried again, in milliseconds; none
    /// gives up at once.
    public var pauses = Self.cPauses
    /// The longest wait for one connection, in milliseconds.
    public var connectTimeout: Int64 = 75_000
    /// The longest wait for the server to call back, in milliseconds.
    public var callBackTimeout: Int64 = 60_000
    /// The longest time for all of `open` but name service, in milliseconds; nil waits for the answer as long as the
    /// server likes, which is what the C functions do.
    public var timeout: Int64? = Self.openTimeout
    /// Called when every port is bound and nothing was said yet: a program that was started with root's rights for
    /// the ports drops them here.
    public var whenBound: () throws -> Void = {}

    /// The pauses of rcmd(3) and rexec(3), in milliseconds: 31 seconds in all.
    public static let cPauses: [Int64] = [1_000, 2_000, 4_000, 8_000, 16_000]
    /// The time for all of `open`, in milliseconds: longer than a server's own limits, so that its answer is heard.
    public static let openTimeout: Int64 = 300_000

    /// A request, with the C library's habits.
    ///
    /// - Parameters:
    ///   - host: a name, or an address.
    ///   - identity: who asks.
    ///   - command: the command, as the account's shell takes it there.
    ///   - wantsErrors: whether stderr comes on a connection of its own.
    public init(host: ByteText, identity: Identity, command: ByteText, wantsErrors: Bool) {
        self.host = host
        self.identity = identity
        self.command = command
        self.wantsErrors = wantsErrors
    }

    /// The protocol.
    public var service: Service {
        switch identity {
        case .rsh: .rsh
        case .rexec: .rexec
        }
    }

    /// The port to call: `exec` is 512 and `shell` 514 (IANA).
    private var serverPort: UInt16 {
        port ?? (service == .rexec ? 512 : 514)
    }

    // MARK: - Opening

    /// Connects, sends the handshake, and waits for the answer.
    ///
    /// - Returns: the connection of an accepted request: what follows on the primary is the command's output.
    public func open() throws(RemoteCommandError) -> RemoteConnection {
        // What cannot be sent is found before anybody is called.
        var names = try encodedNames()
        // The password's copy: overwritten as far as the compiler leaves it in.
        defer { for place in names.indices { names[place] = 0 } }
        let endpoints = try addresses()
        let deadline = Deadline(in: timeout)
        let (primary, localPort) = try connected(endpoints, until: deadline)
        let local = try asked { () throws(SystemError) in try Socket.local(primary) }
        let server = try asked { () throws(SystemError) in try Socket.peer(primary) }
        var secondary: Descriptor?
        if wantsErrors, service == .rexec || ports == .reserved {
            let (listener, listenerPort) = try listen(at: local, below: localPort)
            try bound()
            try send(ClientHandshake.portField(listenerPort), on: primary, until: deadline)
            secondary = try calledBack(listener, primary: primary, by: server, until: deadline)
        } else {
            try bound()
            try send(ClientHandshake.portField(nil), on: primary, until: deadline)
        }
        try send(names, on: primary, until: deadline)
        try readAnswer(primary, until: deadline)
        // A server that goes away without a word is noticed in two minutes; a command may be silent for days.
        for socket in [primary, secondary].compactMap({ $0 }) { try? Socket.setKeepAlive(socket) }
        return RemoteConnection(primary: primary, secondary: secondary)
    }

    private func bound() throws(RemoteCommandError) {
        do {
            try whenBound()
        } catch {
            throw .whenBound(error)
        }
    }

    private func encodedNames() throws(RemoteCommandError) -> [UInt8] {
        do {
            switch identity {
            case .rsh(let remoteUser, let target):
                return try ClientHandshake.names(
                    .rsh, first: remoteUser.bytes, second: target.bytes, command: command.bytes)
            case .rexec(let user, let password):
                return try ClientHandshake.names(
                    .rexec, first: user.bytes, second: password.copyOfBytes(), command: command.bytes)
            }
        } catch {
            throw .field(error, of: service)
        }
    }

    // MARK: Connecting

    private func addresses() throws(RemoteCommandError) -> [Endpoint] {
        switch Resolver.look(up: host, port: serverPort, family: family) {
        case .endpoints(let found): return found
        case .unknown: throw .unknownHost(host)
        case .failed(let text): throw .nameService(host, text)
        }
    }

    /// Connects to the first address that answers.
    ///
    /// - Returns: the socket, and the reserved port that it has; another port is not told.
    private func connected(
        _ endpoints: [Endpoint], until deadline: Deadline
    ) throws(RemoteCommandError) -> (Descriptor, UInt16) {
        var localPort = ReservedPort.range.upperBound
        var pauses = pauses[...]
        while true {
            var attempts: [(endpoint: Endpoint, error: SystemError)] = []
            for endpoint in endpoints {
                switch try connect(to: endpoint, &localPort, until: deadline) {
                case .success(let socket): return (socket, localPort)
                case .failure(let error): attempts.append((endpoint, error))
                }
            }
            guard attempts.contains(where: \.error.isRefused), let pause = pauses.popFirst(),
                deadline.milliseconds.map({ $0 > pause }) ?? true
            else { throw .notConnected(attempts) }
            Clock.sleep(milliseconds: Int(pause))
        }
    }

    /// Tries one address; a local port that is in use towards it makes way for the next one.
    private func connect(
        to endpoint: Endpoint, _ localPort: inout UInt16, until deadline: Deadline
    ) throws(RemoteCommandError) -> Result<Descriptor, SystemError> {
        let isReserved = service == .rsh && ports == .reserved
        let any = endpoint.address.family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0)
        var last = SystemError.noneFree("connect")
        for _ in ReservedPort.range {
            let socket: Descriptor
            do throws(RemoteCommandError) {
                socket =
                    try isReserved
                    ? ReservedPort.bind(&localPort, address: any)
                    : asked { () throws(SystemError) in try Socket.open(endpoint.address.family) }
            } catch {
                // Of this address alone: a kernel without its family, for one. No port, and no right to one, is no
                // address's fault.
                guard case .system(let error) = error else { throw error }
                return .failure(error)
            }
            guard let error = finishConnecting(socket, to: endpoint, until: deadline) else { return .success(socket) }
            guard isReserved, error.isAddressInUse || error.isAddressNotAvailable else { return .failure(error) }
            last = error
            localPort = ReservedPort.next(localPort)
        }
        // EADDRNOTAVAIL is also said where no address here can reach that one, whatever the port.
        return .failure(last)
    }

    /// Connects a non-blocking socket within the time; nil for success.
    private func finishConnecting(_ socket: Descriptor, to endpoint: Endpoint, until deadline: Deadline) -> SystemError?
    {
        do throws(SystemError) {
            try Socket.connect(socket, to: endpoint)
            return nil
        } catch {
            guard error.isInProgress else { return error }
        }
        let deadline = deadline.orSooner(in: connectTimeout)
        while !deadline.isOver {
            var entries = [Poll.Entry(socket, reading: false, writing: true)]
            do throws(SystemError) {
                try Poll.wait(&entries, milliseconds: deadline.pollTime)
            } catch {
                return error
            }
            guard entries.contains(where: { $0.isWritable || $0.isHangup }) else { continue }
            return Socket.pendingError(socket)
        }
        return .timedOut("connect")
    }

    // MARK: The port for stderr

    /// Listens where the server will call back: on the address that it was called from, and no other.
    private func listen(at local: Endpoint, below port: UInt16) throws(RemoteCommandError) -> (Descriptor, UInt16) {
        if service == .rsh {
            var wanted = ReservedPort.next(port)
            let listener = try ReservedPort.bind(
                &wanted, address: local.address, scope: local.scope, listening: true)
            return (listener, wanted)
        }
        let any = Endpoint(address: local.address, port: 0, scope: local.scope)
        let listener = try asked { () throws(SystemError) in try Socket.listen(any, backlog: 1) }
        let port = try asked { () throws(SystemError) in try Socket.local(listener).port }
        return (listener, port)
    }

    /// FTP's data port: an FTP server can be talked into connecting from it to anybody (RFC 2577, 3).
    private static let ftpDataPort: UInt16 = 20

    /// Waits for the server to call back; others who call are shown the door.
    ///
    /// TRUST: the secondary is the server's because its address is the primary's peer and, in RSH, its port reserved;
    /// in REXEC, where servers call from any port, at least no FTP server's.
    private func calledBack(
        _ listener: Descriptor, primary: Descriptor, by server: Endpoint, until deadline: Deadline
    ) throws(RemoteCommandError) -> Descriptor {
        let deadline = deadline.orSooner(in: callBackTimeout)
        while !deadline.isOver {
            var entries = [Poll.Entry(listener), Poll.Entry(primary)]
            try asked { () throws(SystemError) in try Poll.wait(&entries, milliseconds: deadline.pollTime) }
            if entries.first?.isReadable == true,
                let socket = try asked({ () throws(SystemError) in try Socket.accept(listener) }),
                let caller = try? Socket.peer(socket), isServer(caller, server)
            {
                return socket
            }
            if let answer = entries.last, answer.isReadable || answer.isHangup {
                // An answer before the call is a refusal, or nothing that we know.
                try readAnswer(primary, until: deadline)
                throw .brokenProtocol("the server accepted before it had called back")
            }
        }
        throw .notCalledBack
    }

    private func isServer(_ caller: Endpoint, _ server: Endpoint) -> Bool {
        guard caller.address == server.address, caller.scope == server.scope else { return false }
        return service == .rexec ? caller.port != Self.ftpDataPort : ReservedPort.range.contains(caller.port)
    }

    // MARK: Bytes

    /// Sends all the bytes. A server that has hung up has most likely said why: that is for `readAnswer` to find.
    private func send(
        _ bytes: [UInt8], on primary: Descriptor, until deadline: Deadline
    ) throws(RemoteCommandError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            do {
                rest = rest.dropFirst(try Socket.send(primary, rest))
            } catch {
                if error.isDisconnected { return }
                throw .system(error)
            }
            guard !rest.isEmpty else { return }
            guard !deadline.isOver else { throw .noAnswer }
            var entries = [Poll.Entry(primary, reading: true, writing: true)]
            try asked { () throws(SystemError) in try Poll.wait(&entries, milliseconds: deadline.pollTime) }
            // A refusal while the handshake is still under way.
            if entries.contains(where: { $0.isReadable && !$0.isWritable }) { return }
        }
    }

    /// Reads the status byte and, of a refusal, its text; of accepted output not one byte.
    private func readAnswer(_ primary: Descriptor, until deadline: Deadline) throws(RemoteCommandError) {
        var reader = ReplyReader()
        while !reader.isDone {
            guard !deadline.isOver else {
                // A refusal that comes in drips is one all the same, as far as it came.
                guard case .readingText = reader.state else { throw .noAnswer }
                reader.end()
                break
            }
            var entries = [Poll.Entry(primary)]
            try asked { () throws(SystemError) in try Poll.wait(&entries, milliseconds: deadline.pollTime) }
            guard entries.contains(where: { $0.isReadable || $0.isHangup }) else { continue }
            do {
                guard let byte = try Socket.receive(primary, limit: 1) else { continue }
                if byte.isEmpty { reader.end() } else { _ = reader.consume(byte.span) }
            } catch {
                guard error.isDisconnected else { throw .system(error) }
                reader.end()
            }
        }
        switch reader.state {
        case .accepted: return
        case .refused(let text): throw .refused(text)
        case .unexpectedStatus(let byte):
            throw .brokenProtocol("the server answered with a byte of \(byte), which is neither yes nor no")
        case .closed: throw .brokenProtocol("the server closed the connection without an answer")
        case .awaitingStatus, .readingText: throw .brokenProtocol("no answer")
        }
    }

    private func asked<Answer>(_ call: () throws(SystemError) -> Answer) throws(RemoteCommandError) -> Answer {
        do {
            return try call()
        } catch {
            throw .system(error)
        }
    }
}
