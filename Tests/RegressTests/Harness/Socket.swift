// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc

/// What went wrong with a test's own socket or child.
struct HarnessError: Error, CustomStringConvertible {
    var description: String

    /// A failed system call.
    static func system(_ call: String) -> HarnessError {
        HarnessError(description: "\(call): errno \(errno)")
    }
}

/// A TCP socket of the tests' own: nothing of the product reads or writes for them. One test uses one, in one thread.
final class Socket: @unchecked Sendable {
    /// How a stream ended.
    enum End: Equatable {
        case stillOpen
        case endOfFile
        case reset
    }

    let descriptor: Int32

    private init(taking descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close()
    }

    private var isClosed = false

    func close() {
        guard !isClosed else { return }
        isClosed = true
        _ = Glibc.close(descriptor)
    }

    private static func make(_ address: IPAddress) throws -> Socket {
        let family = address.family == .v4 ? AF_INET : AF_INET6
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        let made = Socket(taking: descriptor)
        try made.set(SOL_SOCKET, SO_REUSEADDR, 1)
        return made
    }

    func set(_ level: Int32, _ option: Int32, _ value: Int32) throws {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        // SAFETY: the pointer is to a local Int32 of the size said.
        guard unsafe setsockopt(descriptor, level, option, &value, size) == 0 else {
            throw HarnessError.system("setsockopt")
        }
    }

    /// Connects to an endpoint from a port; 0 leaves it to the kernel.
    static func connect(to peer: Endpoint, from source: IPAddress? = nil, port: UInt16 = 0) throws -> Socket {
        let made = try make(peer.address)
        if source != nil || port != 0 {
            let any = peer.address.family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0)
            try made.bind(Endpoint(address: source ?? any, port: port))
        }
        // SAFETY: the pointer is valid for the call that it is passed to.
        guard unsafe SocketAddress(peer).withPointer({ unsafe Glibc.connect(made.descriptor, $0, $1) }) == 0 else {
            throw HarnessError.system("connect to \(peer)")
        }
        return made
    }

    /// Where the tests' own clients find reserved ports: not where rcmd(3) begins, and none that is never called back.
    private static let reservedPorts: [UInt16] = Array(640...860) + Array(880...980)

    /// Connects from a free reserved port, as rcmd(3) does.
    static func connectReserved(to peer: Endpoint, from source: IPAddress? = nil) throws -> Socket {
        for _ in 0..<200 {
            let port = reservedPorts.randomElement() ?? 700
            do {
                return try connect(to: peer, from: source, port: port)
            } catch  where errno == EADDRINUSE || errno == EADDRNOTAVAIL {
                continue
            }
        }
        throw HarnessError(description: "no reserved port is free")
    }

    /// Listens; port 0 takes any, a nil port a free reserved one.
    static func listen(on address: IPAddress, port: UInt16? = 0) throws -> Socket {
        for _ in 0..<200 {
            let made = try make(address)
            do {
                try made.bind(Endpoint(address: address, port: port ?? reservedPorts.randomElement() ?? 700))
            } catch  where port == nil {
                continue
            }
            guard Glibc.listen(made.descriptor, 8) == 0 else {
                if port == nil { continue }
                throw HarnessError.system("listen")
            }
            return made
        }
        throw HarnessError(description: "no reserved port is free")
    }

    /// Takes a port on every address, without listening: sockets of one address can still be bound to it.
    static func hold(port: UInt16) throws -> Socket {
        let made = try make(IPAddress(v4: 0))
        try made.bind(Endpoint(address: IPAddress(v4: 0), port: port))
        return made
    }

    private func bind(_ endpoint: Endpoint) throws {
        // SAFETY: as above.
        guard unsafe SocketAddress(endpoint).withPointer({ unsafe Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw HarnessError.system("bind \(endpoint)")
        }
    }

    /// Our side of it.
    var local: Endpoint {
        get throws {
            // SAFETY: as above.
            let read = unsafe SocketAddress.read { unsafe getsockname(descriptor, $0, $1) }
            guard let endpoint = read else { throw HarnessError.system("getsockname") }
            return endpoint
        }
    }

    /// The other side of it.
    var peer: Endpoint {
        get throws {
            // SAFETY: as above.
            let read = unsafe SocketAddress.read { unsafe getpeername(descriptor, $0, $1) }
            guard let endpoint = read else { throw HarnessError.system("getpeername") }
            return endpoint
        }
    }

    /// Whether something can be read, or a connection accepted, within a time.
    func isReadable(within milliseconds: Int) -> Bool {
        Self.wait(for: [self], within: milliseconds).first ?? false
    }

    /// Which of some sockets can be read within a time.
    static func wait(for sockets: [Socket], within milliseconds: Int) -> [Bool] {
        var rows = sockets.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        // SAFETY: the array outlives the call and its count is said.
        _ = unsafe poll(&rows, nfds_t(rows.count), Int32(clamping: max(0, milliseconds) * Moment.slowness))
        return rows.map { $0.revents != 0 }
    }

    /// Accepts one connection; nil where none comes in time.
    func accept(within milliseconds: Int = 5_000) throws -> Socket? {
        guard isReadable(within: milliseconds) else { return nil }
        let accepted = Glibc.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw HarnessError.system("accept") }
        _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
        return Socket(taking: accepted)
    }

    /// Sends all bytes, or as many as the other side takes before it goes away.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int {
        var sent = 0
        while sent < bytes.count {
            // SAFETY: the slice is within the array, and outlives the call.
            let count = unsafe bytes[sent...].withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { break }
            sent += count
        }
        return sent
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Reads what is there: bytes, nothing at the end of file, nil after a reset.
    func receive(atMost limit: Int = 65_536) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: limit)
        // SAFETY: the buffer has the size said, and outlives the call.
        let count = unsafe recv(descriptor, &buffer, limit, 0)
        guard count >= 0 else { return nil }
        return Array(buffer.prefix(count))
    }

    /// Reads until a number of bytes, the end, or a time.
    func receive(count: Int, within milliseconds: Int = 10_000) -> [UInt8] {
        var bytes: [UInt8] = []
        let deadline = Moment.now + milliseconds
        while bytes.count < count, isReadable(within: deadline - Moment.now) {
            guard let more = receive(atMost: count - bytes.count), !more.isEmpty else { break }
            bytes += more
        }
        return bytes
    }

    /// Ends our direction.
    func shutdownWrites() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// Closes so that the other side gets a reset.
    func reset() {
        var abrupt = linger(l_onoff: 1, l_linger: 0)
        // SAFETY: the pointer is to a local of the size said.
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &abrupt, socklen_t(MemoryLayout<linger>.size))
        close()
    }
}

/// The tests' clock: milliseconds that never go back.
enum Moment {
    /// How many times slower than usual the machine is (`PORTCULLIS_TEST_SLOWNESS`): where a processor is emulated, every wait is
    /// as much longer.
    static let slowness = max(1, Int(ProcessInfo.processInfo.environment["PORTCULLIS_TEST_SLOWNESS"] ?? "") ?? 1)

    static var now: Int {
        var time = timespec()
        // SAFETY: the pointer is to a local.
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return (time.tv_sec * 1_000 + time.tv_nsec / 1_000_000) / slowness
    }

    static func sleep(_ milliseconds: Int) { usleep(UInt32(milliseconds) * 1_000) }
}

/// A kernel socket address of either family.
private struct SocketAddress {
    private var storage = sockaddr_storage()
    private var length: socklen_t

    init(_ endpoint: Endpoint) {
        let bytes = endpoint.address.networkBytes
        let port = endpoint.port.bigEndian
        var filled = storage
        switch endpoint.address.family {
        case .v4:
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            // SAFETY: sockaddr_storage is at least as large as sockaddr_in, and aligned for it.
            unsafe withUnsafeMutableBytes(of: &filled) {
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = port
                unsafe $0.storeBytes(of: address, as: sockaddr_in.self)
                unsafe $0.baseAddress?.advanced(by: 4).copyMemory(from: bytes, byteCount: 4)
            }
        case .v6:
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            // SAFETY: sockaddr_storage is at least as large as sockaddr_in6, and aligned for it.
            unsafe withUnsafeMutableBytes(of: &filled) {
                var address = sockaddr_in6()
                address.sin6_family = sa_family_t(AF_INET6)
                address.sin6_port = port
                address.sin6_scope_id = endpoint.scope
                unsafe $0.storeBytes(of: address, as: sockaddr_in6.self)
                unsafe $0.baseAddress?.advanced(by: 8).copyMemory(from: bytes, byteCount: 16)
            }
        }
        storage = filled
    }

    func withPointer(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        // SAFETY: every socket address begins with a sockaddr, and the storage outlives the body.
        unsafe withUnsafePointer(to: storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    static func read(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32) -> Endpoint? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: every socket address begins with a sockaddr, and the storage outlives the body.
        let status = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
        }
        guard status == 0 else { return nil }
        // SAFETY: the storage is read within its own size.
        let bytes = unsafe withUnsafeBytes(of: storage) { unsafe Array($0) }
        let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        let host = Int32(storage.ss_family) == AF_INET ? bytes[4..<8] : bytes[8..<24]
        return IPAddress(networkBytes: host).map { Endpoint(address: $0, port: port) }
    }
}
