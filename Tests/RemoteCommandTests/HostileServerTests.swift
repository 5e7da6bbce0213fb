// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import RemoteCommand
import Testing

import class Foundation.Thread

/// Whoever a client calls may be anybody: nothing that a server does holds the client for ever, fills its memory, or
/// passes for what it is not.
@Suite struct HostileServerTests {
    /// Everything but the answer.
    private static func readFields(_ side: ServerSide) throws {
        for _ in 0..<4 { _ = try side.field() }
    }

    @Test func aServerThatAcceptsAndSaysNothingIsGivenUp() throws {
        let server = try FakeServer { side in
            // Until the client hangs up.
            while try !side.read(4_096).isEmpty {}
        }
        var request = try request(server.endpoint)
        request.timeout = 150
        let error = failure { _ = try request.open() }
        guard case .noAnswer? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(error?.description == "the server did not answer in time")
        #expect(try server.finish())
    }

    @Test func aServerThatReadsNothingIsGivenUp() throws {
        let server = try FakeServer { side in
            _ = try side.read(1)
            try side.staySilent()
        }
        var request = try request(server.endpoint, command: ByteText([UInt8](repeating: 120, count: 131_071)))
        request.timeout = 150
        guard case .noAnswer? = failure({ _ = try request.open() }) else {
            Issue.record("it was not given up")
            return
        }
    }

    @Test func aRefusalInDripsIsShownAsFarAsItCame() throws {
        let server = try FakeServer { side in
            try Self.readFields(side)
            try side.write([1] + Array("drip".utf8))
            while true {
                Clock.sleep(milliseconds: 20)
                do { try side.write([UInt8(ascii: ".")]) } catch { return }
            }
        }
        var request = try request(server.endpoint)
        request.timeout = 400
        guard case .refused(let text)? = failure({ _ = try request.open() }) else {
            Issue.record("no refusal")
            return
        }
        #expect(text.bytes.starts(with: Array("drip".utf8)))
        #expect(try server.finish())
    }

    @Test(arguments: [false, true])
    func aBannerWithoutEndInsteadOfAnAnswerIsNoSuccess(wantsErrors: Bool) throws {
        let server = try FakeServer { side in
            while true {
                do { try side.write(Array("220 welcome, welcome, welcome ".utf8)) } catch { return }
            }
        }
        let error = failure { _ = try request(server.endpoint, wantsErrors: wantsErrors).open() }
        guard case .brokenProtocol? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try server.finish())
    }

    @Test func aServerThatHangsUpAmidTheHandshakeIsNoSuccess() throws {
        let server = try FakeServer { side in
            _ = try side.field()
            Socket.setReset(side.primary)
        }
        let error = failure { _ = try request(server.endpoint).open() }
        #expect(error?.description == "the server closed the connection without an answer")
    }

    @Test func aCallToAnotherPortIsNone() throws {
        let server = try FakeServer { side in
            let port = try side.field().text.flatMap { UInt16($0) } ?? 0
            // The port above is most likely nobody's; whoever's it is, it is not this client's.
            _ = try? side.callBack(ByteText("\(port == .max ? 1_024 : port + 1)"))
            while try !side.read(4_096).isEmpty {}
        }
        var request = try request(server.endpoint, wantsErrors: true)
        request.callBackTimeout = 150
        guard case .notCalledBack? = failure({ _ = try request.open() }) else {
            Issue.record("it was taken for a call")
            return
        }
        #expect(try server.finish())
    }

    /// An FTP server can be had to connect from its data port to anybody, with a text of the attacker's.
    @Test(.enabled(if: ReservedPort.isPermitted, "needs the right to bind reserved ports"))
    func anFTPServersDataConnectionIsNoSecondary() throws {
        let server = try FakeServer(on: "127.83.20.1") { side in
            let port = try side.field()
            let ftp = try side.callBack(port, from: Endpoint(address: try Socket.local(side.primary).address, port: 20))
            guard try side.read(1, from: ftp).isEmpty else { throw ServerSide.Unexpected() }
            let secondary = try side.callBack(port)
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0])
            _ = try side.read(1)
            _ = secondary
        }
        let connection = try request(server.endpoint, wantsErrors: true).open()
        #expect(try Socket.peer(#require(connection.secondary)).port != 20)
        Socket.shutdownSending(connection.primary)
        #expect(try server.finish())
    }

    /// Others who call in an endless stream do not keep the server's own call from being found, nor the time from ending.
    @Test func aCrowdOfStrangersHidesNobody() throws {
        let server = try FakeServer { side in
            let port = try side.field()
            let stranger = IPAddress("127.0.0.2").map { Endpoint(address: $0, port: 0) }
            for _ in 0..<50 { _ = try side.callBack(port, from: stranger) }
            let secondary = try side.callBack(port)
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0])
            _ = try side.read(1)
            _ = secondary
        }
        let connection = try request(server.endpoint, wantsErrors: true).open()
        #expect(try Socket.peer(#require(connection.secondary)).address == server.endpoint.address)
        Socket.shutdownSending(connection.primary)
        #expect(try server.finish())
    }

    /// Stderr goes to a pipe that is full when the reset comes: what the server has sent by then is shown all the same.
    @Test func aResetAmidTheOutputIsALossAndWhatCameIsShown() throws {
        let server = try FakeServer { side in
            let secondary = try side.callBack(try side.field())
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0])
            try side.write(Array("last ".utf8), to: secondary)
            Clock.sleep(milliseconds: 50)
            try side.write(Array("words.".utf8), to: secondary)
            Socket.setReset(side.primary)
            // Closes the primary and leaves the secondary, which nothing ends but the client.
            try side.listener.place(at: side.primary.number)
            try side.staySilent()
        }
        let (read, write) = try Descriptor.pipe()
        let filling = try File.open("/proc/self/fd/\(write.number)", [.writing, .nonBlocking])
        while (try? filling.write([UInt8](repeating: 0, count: 4_096)[...])) != nil {}
        let directory = try TestDirectory()
        let path = try directory.file("shown", [])
        let shown = try File.open(path, [.writing])
        let (ended, ending) = try Descriptor.pipe()
        Thread.detachNewThread {
            Clock.sleep(milliseconds: 300)
            while true {
                var entries = [Poll.Entry(read)]
                try? Poll.wait(&entries, milliseconds: 20_000)
                guard entries[0].isReadable, let bytes = try? read.read(4_096) else { break }
                let text = bytes.filter { $0 != 0 }
                try? shown.writeAll(text)
                if text.last == UInt8(ascii: ".") { break }
            }
            try? ending.writeAll([0])
        }
        var relay = Relay(
            try request(server.endpoint, wantsErrors: true).open(), input: nil,
            output: try File.open("/dev/null", [.writing]), errors: write, signals: nil)
        let end = try relay.run()
        _ = try ended.read(1)
        guard case .lost = end else {
            Issue.record("\(end)")
            return
        }
        #expect(try File.open(path, [.reading]).readAll(limit: 64) == Array("last words.".utf8))
    }

    /// The kernel tells a reset once, to whoever sends or receives next: an upload that was cut off is no success either
    /// way.
    @Test func anUploadThatIsResetIsALoss() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0] + Array("begun".utf8))
            _ = try side.read(65_536)
            Socket.setReset(side.primary)
        }
        let directory = try TestDirectory()
        let input = try directory.file("input", [UInt8](repeating: 7, count: 1 << 24))
        let output = try directory.file("output", [])
        var relay = Relay(
            try request(server.endpoint).open(), input: try File.open(input, [.reading]),
            output: try File.open(output, [.writing]), errors: try File.open("/dev/null", [.writing]), signals: nil)
        let end = try relay.run()
        guard case .lost = end else {
            Issue.record("\(end)")
            return
        }
    }

    /// One piece a direction: the client's memory does not grow with what it is sent.
    @Test func aGigabyteOfStderrPassesThrough() throws {
        let size = 1 << 30
        let server = try FakeServer { side in
            let secondary = try side.callBack(try side.field())
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0])
            let piece = [UInt8](repeating: UInt8(ascii: "e"), count: 1 << 20)
            for _ in 0..<(size >> 20) { try side.write(piece, to: secondary) }
        }
        let connection = try request(server.endpoint, wantsErrors: true).open()
        let null = try File.open("/dev/null", [.writing])
        var relay = Relay(connection, input: nil, output: null, errors: null, signals: nil)
        guard case .finished = try relay.run() else {
            Issue.record("it did not finish")
            return
        }
        let secondary = try #require(connection.secondary)
        #expect(try Socket.counts(secondary).received == UInt64(size))
        #expect(try server.finish())
    }
}
