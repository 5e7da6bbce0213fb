// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// What is done with TCP sockets.
public enum Socket {
    // MARK: Addresses

    /// The address and port of the other side, as the kernel knows them; a v4-mapped address is IPv4.
    public static func peer(_ socket: Descriptor) throws(SystemError) -> Endpoint {
        var raw = portcullis_endpoint()
        // SAFETY: the shim writes one structure.
        try check(unsafe portcullis_socket_peer(socket.number, &raw), "getpeername")
        return endpoint(raw)
    }

    /// The address and port that the client called.
    public static func local(_ socket: Descriptor) throws(SystemError) -> Endpoint {
        var raw = portcullis_endpoint()
        // SAFETY: the shim writes one structure.
        try check(unsafe portcullis_socket_local(socket.number, &raw), "getsockname")
        return endpoint(raw)
    }

    /// Whether the socket itself is of the IPv6 family, v4-mapped peers or not.
    private static func isV6(_ socket: Descriptor) throws(SystemError) -> Bool {
        var raw = portcullis_endpoint()
        // SAFETY: the shim writes one structure.
        try check(unsafe portcullis_socket_local(socket.number, &raw), "getsockname")
        return raw.is_v6 != 0
    }

    static func endpoint(_ raw: portcullis_endpoint) -> Endpoint {
        // SAFETY: the tuple is sixteen bytes, which are copied.
        let bytes = unsafe withUnsafeBytes(of: raw.address) { unsafe Array($0) }
        let address: IPAddress
        if raw.is_v6 != 0 {
            address = IPAddress(v6: bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) })
        } else {
            address = IPAddress(v4: bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        }
        return Endpoint(address: address, port: raw.port, scope: raw.scope)
    }

    private static func raw(_ endpoint: Endpoint) -> portcullis_endpoint {
        var raw = portcullis_endpoint()
        raw.is_v6 = endpoint.address.family == .v6 ? 1 : 0
        raw.port = endpoint.port
        raw.scope = endpoint.scope
        let bytes = endpoint.address.networkBytes
        // SAFETY: an address has four or sixteen bytes, and the tuple sixteen.
        unsafe withUnsafeMutableBytes(of: &raw.address) { unsafe $0.copyBytes(from: bytes) }
        return raw
    }

    // MARK: Making

    /// A listening socket, non-blocking; an IPv6 one takes no IPv4.
    public static func listen(_ endpoint: Endpoint, backlog: Int32 = 1_024) throws(SystemError) -> Descriptor {
        var address = raw(endpoint)
        var made: Int32 = -1
        // SAFETY: the shim reads one structure and writes one int.
        try check(unsafe portcullis_socket_listen(&address, backlog, &made), "bind")
        return Descriptor(owning: made)
    }

    /// A non-blocking socket bound to an address.
    ///
    /// - Parameter reusing: set SO_REUSEADDR: sockets that are bound so and do not listen may share the port.
    public static func bound(_ endpoint: Endpoint, reusing: Bool = true) throws(SystemError) -> Descriptor {
        var address = raw(endpoint)
        var made: Int32 = -1
        // SAFETY: the shim reads one structure and writes one int.
        try check(unsafe portcullis_socket_bind(&address, reusing ? 1 : 0, &made), "bind")
        return Descriptor(owning: made)
    }

    /// A non-blocking socket of a family.
    public static func open(_ family: IPAddress.Family) throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_socket_open(family == .v6 ? 1 : 0, &made), "socket")
        return Descriptor(owning: made)
    }

    /// Starts or makes a connection; `isInProgress` where a non-blocking one is under way.
    public static func connect(_ socket: Descriptor, to endpoint: Endpoint) throws(SystemError) {
        var address = raw(endpoint)
        // SAFETY: the shim reads one structure.
        try check(unsafe portcullis_socket_connect(socket.number, &address), "connect")
    }

    /// Accepts a connection, non-blocking; nil where none waits.
    public static func accept(_ listener: Descriptor) throws(SystemError) -> Descriptor? {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        let code = unsafe portcullis_socket_accept(listener.number, &made)
        if code == EAGAIN || code == ECONNABORTED { return nil }
        try check(code, "accept4")
        return Descriptor(owning: made)
    }

    /// The error that a connect ended with; nil for none.
    public static func pendingError(_ socket: Descriptor) -> SystemError? {
        let code = portcullis_socket_error(socket.number)
        return code == 0 ? nil : SystemError(abs(code), "connect")
    }

    // MARK: Options

    /// Asks the kernel to notice a client that has gone: idle 60 s, then 3 probes 20 s apart (wire.md, End).
    public static func setKeepAlive(_ socket: Descriptor) throws(SystemError) {
        try set(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
        try set(socket, Int32(IPPROTO_TCP), TCP_KEEPIDLE, 60)
        try set(socket, Int32(IPPROTO_TCP), TCP_KEEPINTVL, 20)
        try set(socket, Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    }

    /// Gathers small writes into whole segments, as a fresh socket does (TCP_NODELAY off).
    public static func gatherWrites(_ socket: Descriptor) throws(SystemError) {
        try set(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 0)
    }

    /// How many connections wait at a listener until they are accepted.
    public static func setBacklog(_ listener: Descriptor, _ backlog: Int32) {
        // listen(2) on a socket that listens already changes its backlog, and fails for nothing else.
        _ = Glibc.listen(listener.number, backlog)
    }

    /// Makes room for bytes that are sent and not yet received; the kernel bounds it (net.core.wmem_max).
    public static func setSendRoom(_ socket: Descriptor, _ bytes: Int) throws(SystemError) {
        try set(socket, SOL_SOCKET, SO_SNDBUF, Int32(clamping: bytes))
    }

    /// Close neither waits nor resets.
    public static func clearLinger(_ socket: Descriptor) {
        _ = portcullis_socket_linger(socket.number, 0, 0)
    }

    /// Close resets the connection.
    public static func setReset(_ socket: Descriptor) {
        _ = portcullis_socket_linger(socket.number, 1, 0)
    }

    /// Whether this is a connected TCP socket, as opposed to anything else that a process may have sent.
    public static func isConnectedTCP(_ socket: Descriptor) -> Bool {
        var type: Int32 = 0
        var listening: Int32 = 0
        var proto: Int32 = 0
        // SAFETY: the shim writes one int each.
        let codes = unsafe (
            portcullis_socket_get(socket.number, SOL_SOCKET, SO_TYPE, &type),
            portcullis_socket_get(socket.number, SOL_SOCKET, SO_ACCEPTCONN, &listening),
            portcullis_socket_get(socket.number, SOL_SOCKET, SO_PROTOCOL, &proto)
        )
        guard codes == (0, 0, 0) else { return false }
        return type == Int32(SOCK_STREAM.rawValue) && listening == 0 && proto == Int32(IPPROTO_TCP)
            && (try? peer(socket)) != nil
    }

    /// Whether this listens.
    public static func isListening(_ socket: Descriptor) -> Bool {
        var listening: Int32 = 0
        // SAFETY: the shim writes one int.
        return unsafe portcullis_socket_get(socket.number, SOL_SOCKET, SO_ACCEPTCONN, &listening) == 0 && listening != 0
    }

    private static func set(
        _ socket: Descriptor, _ level: Int32, _ option: Int32, _ value: Int32
    ) throws(SystemError) {
        try check(portcullis_socket_set(socket.number, level, option, value), "setsockopt")
    }

    // MARK: Bytes

    /// Takes bytes off a socket without waiting.
    ///
    /// - Parameter peeking: leave them there.
    /// - Returns: nil where there are none yet; empty at the end of the stream.
    public static func receive(
        _ socket: Descriptor, limit: Int, peeking: Bool = false
    ) throws(SystemError) -> [UInt8]? {
        var result = 0
        let flags = Int32(MSG_DONTWAIT) | (peeking ? Int32(MSG_PEEK) : 0)
        // SAFETY: the buffer has room for `limit` bytes, and only what recv(2) wrote is counted.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            repeat {
                result = unsafe recv(socket.number, buffer.baseAddress, limit, flags)
            } while result < 0 && errno == EINTR
            count = max(result, 0)
        }
        if result < 0 {
            guard errno == EAGAIN else { throw .last("recv") }
            return nil
        }
        return bytes
    }

    /// Takes one message off a socket on which only the kernel is believed, without waiting.
    ///
    /// TRUST: whoever may send on netlink (CAP_NET_ADMIN in the host's network) can send to every reader of a group, and to
    /// its port. Only the kernel sends from port 0 (netlink(7)).
    ///
    /// - Returns: nil where somebody else sent it.
    /// - Throws: see `SystemError.wouldBlock`; `ENOBUFS` where messages were lost.
    public static func receiveFromKernel(_ socket: Descriptor, limit: Int) throws(SystemError) -> [UInt8]? {
        var result = 0
        var port: UInt32 = 0
        // SAFETY: the buffer has room for `limit` bytes, and only what the shim counts as received is initialised.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            result = unsafe portcullis_netlink_receive(socket.number, buffer.baseAddress, limit, &port)
            count = max(result, 0)
        }
        guard result >= 0 else { throw SystemError(Int32(-result), "recvfrom") }
        return port == 0 ? bytes : nil
    }

    /// Puts bytes on a socket without waiting.
    ///
    /// - Returns: how many went; 0 where there is no room.
    public static func send(_ socket: Descriptor, _ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        var result = 0
        repeat {
            // SAFETY: the pointer is valid for the closure and send(2) reads no more than the count.
            result = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
        } while result < 0 && errno == EINTR
        if result < 0 {
            guard errno == EAGAIN else { throw .last("send") }
            return 0
        }
        return result
    }

    /// Ends what we send; the other side reads to the end.
    public static func shutdownSending(_ socket: Descriptor) {
        _ = shutdown(socket.number, Int32(SHUT_WR))
    }

    /// Ends both directions, for every copy of the socket.
    public static func shutdownBoth(_ socket: Descriptor) {
        _ = shutdown(socket.number, Int32(SHUT_RDWR))
    }

    // MARK: Counts

    /// What the kernel counts on a connection.
    public struct Counts: Sendable, Hashable {
        /// Whether the connection is closed (TCP_CLOSE): reset by the other side, or given up.
        public var isClosed: Bool
        /// Whether something of ours, the end of our stream included, was not acknowledged yet.
        public var isUnacknowledged: Bool
        /// Bytes that were written on our side, sent or not.
        public var written: UInt64
        /// Bytes that the other side has acknowledged.
        public var acknowledged: UInt64
        /// Bytes that came from the other side, read or not.
        public var received: UInt64
    }

    /// Reads what the kernel counts (Linux 4.19 and later).
    public static func counts(_ socket: Descriptor) throws(SystemError) -> Counts {
        var raw = portcullis_tcp_counts()
        // SAFETY: the shim writes one structure.
        try check(unsafe portcullis_tcp_counts_read(socket.number, &raw), "getsockopt")
        let sent = raw.bytes_sent >= raw.bytes_retransmitted ? raw.bytes_sent - raw.bytes_retransmitted : 0
        // The kernel counts the other side's FIN as a byte: it has come in TIME_WAIT, CLOSE_WAIT, LAST_ACK and CLOSING.
        let end: UInt64 = [6, 8, 9, 11].contains(raw.state) ? 1 : 0
        return Counts(
            isClosed: raw.state == 7,
            isUnacknowledged: raw.segments_unacknowledged > 0 || raw.bytes_unsent > 0,
            written: sent + UInt64(raw.bytes_unsent),
            acknowledged: raw.bytes_acknowledged,
            received: raw.bytes_received >= end ? raw.bytes_received - end : 0)
    }
}

/// Sockets at paths.
public enum LocalSocket {
    /// A listening SEQPACKET socket at a path that does not exist yet.
    public static func listen(_ path: String) throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the string is NUL-terminated for the call, and the shim writes one int.
        try check(unsafe portcullis_local_listen(path, &made), "bind")
        return Descriptor(owning: made)
    }

    /// Connects to a SEQPACKET socket at a path.
    public static func connect(_ path: String) throws(SystemError) -> Channel {
        var made: Int32 = -1
        // SAFETY: the string is NUL-terminated for the call, and the shim writes one int.
        try check(unsafe portcullis_local_connect(path, &made), "connect")
        return Channel(Descriptor(owning: made))
    }

    /// A datagram socket, non-blocking, connected to the one at a path: syslog's.
    public static func connectDatagram(_ path: String) throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the string is NUL-terminated for the call, and the shim writes one int.
        try check(unsafe portcullis_local_connect_datagram(path, &made), "connect")
        return Descriptor(owning: made)
    }

    /// Tells the service manager something (sd_notify(3)).
    public static func notify(_ path: String, _ text: String) throws(SystemError) {
        // SAFETY: both strings are NUL-terminated for the call.
        try check(unsafe portcullis_local_notify(path, text), "sendto")
    }
}
