// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Testing

/// A server of one connection, in a process of its own, that does what a test says.
final class FakeServer {
    /// Where it listens.
    let endpoint: Endpoint
    private let handle: ProcessHandle

    /// Listens on a loopback address and serves one connection.
    ///
    /// - Parameter script: the server's part; the process ends with it.
    convenience init(on address: String = "127.0.0.1", _ script: (ServerSide) throws -> Void) throws {
        try self.init(
            at: try Socket.listen(Endpoint(address: try #require(IPAddress(address)), port: 0)), script)
    }

    /// Serves at a socket that listens, or that is bound and starts to listen some time later.
    init(at listener: Descriptor, late: Bool = false, _ script: (ServerSide) throws -> Void) throws {
        endpoint = try Socket.local(listener)
        switch try Process.fork() {
        case .child:
            do {
                // Other tests' descriptors came along: none of them may be held open here.
                try listener.place(at: 3)
                Descriptor.closeAll(from: 4)
                let listener = Descriptor(owning: 3)
                if late {
                    Clock.sleep(milliseconds: 100)
                    Socket.setBacklog(listener, 1)
                }
                try script(ServerSide(primary: try ServerSide.accept(listener), listener: listener))
                Process.exitNow(0)
            } catch {
                Process.exitNow(1)
            }
        case .parent(let pid):
            handle = try ProcessHandle(pid: pid)
        }
    }

    /// How the server's part ended: status 0 unless something that it expected did not come.
    func finish() throws -> Linux.ExitStatus? {
        var entries = [Poll.Entry(handle.descriptor)]
        try Poll.wait(&entries, milliseconds: 20_000)
        return handle.reap()
    }

    deinit {
        handle.signal(Signals.Number.kill)
        _ = try? finish()
    }
}

/// What the server's part does; every wait ends after twenty seconds.
struct ServerSide {
    struct Unexpected: Error {}

    let primary: Descriptor
    let listener: Descriptor

    /// Waits for a connection.
    static func accept(_ listener: Descriptor) throws -> Descriptor {
        var entries = [Poll.Entry(listener)]
        try Poll.wait(&entries, milliseconds: 20_000)
        guard let accepted = try Socket.accept(listener) else { throw Unexpected() }
        return accepted
    }

    /// The next connection's side.
    func next() throws -> ServerSide {
        ServerSide(primary: try Self.accept(listener), listener: listener)
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
            var entries = [Poll.Entry(socket)]
            try Poll.wait(&entries, milliseconds: 20_000)
            guard entries[0].isReadable || entries[0].isHangup else { throw Unexpected() }
        }
    }

    /// Writes all the bytes.
    func write(_ bytes: [UInt8], to socket: Descriptor? = nil) throws {
        let socket = socket ?? primary
        var rest = bytes[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try Socket.send(socket, rest))
            guard !rest.isEmpty else { return }
            var entries = [Poll.Entry(socket, reading: false, writing: true)]
            try Poll.wait(&entries, milliseconds: 20_000)
            guard entries[0].isWritable else { throw Unexpected() }
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
            var entries = [Poll.Entry(socket, reading: false, writing: true)]
            try Poll.wait(&entries, milliseconds: 20_000)
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
