// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Testing

import class Foundation.Thread

/// A server of one connection, in a thread of its own, that does what a test says.
///
/// A thread and no process: a fork of the test runner is not safe (`ForkedChild` says why).
final class FakeServer {
    /// Where it listens.
    let endpoint: Endpoint
    /// Holds a byte once the server's part has done all that it was to do; its end is that part's end.
    private let success: Descriptor
    /// Its end, when this value goes, is the end of every wait of the server's.
    private let presence: Descriptor

    /// Listens on a loopback address and serves one connection.
    ///
    /// - Parameter script: the server's part; its descriptors are closed when it returns.
    convenience init(
        on address: String = "127.0.0.1", _ script: @escaping @Sendable (ServerSide) throws -> Void
    ) throws {
        try self.init(
            at: try Socket.listen(Endpoint(address: try #require(IPAddress(address)), port: 0)), script)
    }

    /// Serves at a socket that listens, or that is bound and starts to listen some time later.
    init(
        at listener: Descriptor, late: Bool = false, _ script: @escaping @Sendable (ServerSide) throws -> Void
    ) throws {
        endpoint = try Socket.local(listener)
        let (read, write) = try Descriptor.pipe()
        let (over, presence) = try Descriptor.pipe()
        success = read
        self.presence = presence
        Thread.detachNewThread {
            do {
                if late {
                    Clock.sleep(milliseconds: 100)
                    Socket.setBacklog(listener, 1)
                }
                try script(try ServerSide(acceptingAt: listener, until: over))
                try write.writeAll([1])
            } catch {
                // No byte says so.
            }
            // Held until here, so that nobody writes into a pipe without a reader.
            withExtendedLifetime(read) {}
        }
    }

    /// Waits for the end of the server's part, and says whether everything came that it expected.
    func finish() throws -> Bool {
        var entries = [Poll.Entry(success)]
        try Poll.wait(&entries, milliseconds: 20_000)
        guard entries[0].isReadable || entries[0].isHangup else { return false }
        return try success.read(1) == [1]
    }
}

/// What the server's part does; every wait ends after twenty seconds, or with the test.
struct ServerSide {
    struct Unexpected: Error {}

    let primary: Descriptor
    let listener: Descriptor
    /// Hung up when the test is over.
    private let over: Descriptor

    /// Waits for a connection.
    init(acceptingAt listener: Descriptor, until over: Descriptor) throws {
        try Self.wait(Poll.Entry(listener), until: over)
        guard let accepted = try Socket.accept(listener) else { throw Unexpected() }
        primary = accepted
        self.listener = listener
        self.over = over
    }

    /// The next connection's side.
    func next() throws -> ServerSide {
        try ServerSide(acceptingAt: listener, until: over)
    }

    /// Waits for a socket.
    private static func wait(_ socket: Poll.Entry, until over: Descriptor) throws {
        var entries = [socket, Poll.Entry(over)]
        try Poll.wait(&entries, milliseconds: 20_000)
        guard entries[0].isReadable || entries[0].isWritable || entries[0].isHangup else { throw Unexpected() }
    }

    /// Does nothing until the test is over.
    func staySilent() throws {
        var entries = [Poll.Entry(over)]
        try Poll.wait(&entries, milliseconds: 20_000)
    }

    /// Reads up to and without a NUL.
    func field() throws -> ByteText {
        var bytes: [UInt8] = []
        while true {
            guard let byte = try read(1).first else { throw Unexpected() }
            if byte == 0 { return ByteText(bytes) }
            bytes.append(byte)
        }
    }

    /// Reads at most so many bytes; none at the end.
    func read(_ limit: Int, from socket: Descriptor? = nil) throws -> [UInt8] {
        let socket = socket ?? primary
        while true {
            if let bytes = try Socket.receive(socket, limit: limit) { return bytes }
            try Self.wait(Poll.Entry(socket), until: over)
        }
    }

    /// Writes all the bytes.
    func write(_ bytes: [UInt8], to socket: Descriptor? = nil) throws {
        let socket = socket ?? primary
        var rest = bytes[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try Socket.send(socket, rest))
            guard !rest.isEmpty else { return }
            try Self.wait(Poll.Entry(socket, reading: false, writing: true), until: over)
        }
    }

    /// Expects a field.
    func expect(_ text: ByteText) throws {
        guard try field() == text else { throw Unexpected() }
    }

    /// Calls the client back, from an address and port of ours.
    func callBack(_ port: ByteText, from: Endpoint? = nil) throws -> Descriptor {
        guard let port = port.text.flatMap({ UInt16($0) }) else { throw Unexpected() }
        let peer = try Socket.peer(primary)
        let own = try from ?? Endpoint(address: Socket.local(primary).address, port: 0)
        let socket = try Socket.bound(own)
        do {
            try Socket.connect(socket, to: Endpoint(address: peer.address, port: port))
        } catch {
            guard error.isInProgress else { throw error }
            try Self.wait(Poll.Entry(socket, reading: false, writing: true), until: over)
            if let error = Socket.pendingError(socket) { throw error }
        }
        return socket
    }
}

/// A directory below /tmp that is removed, with all that is in it, with this value.
final class TestDirectory {
    let path: String

    init() throws {
        path = "/tmp/portcullis-test-\(Process.id)-\(UInt32.random(in: .min ... .max))"
        try File.makeDirectory(path, mode: 0o700)
    }

    /// Writes a file, and says where it is.
    func file(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws -> String {
        let path = "\(path)/\(name)"
        let file = try File.open(path, [.writing, .creating, .exclusive], mode: 0o600)
        try file.writeAll(bytes)
        try File.setMode(file, mode)
        return path
    }

    deinit {
        Directory.removeTree(path)
    }
}
