// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import RemoteCommand
import Testing

/// What a request's error was, without its payload's type.
func failure(_ body: () throws -> Void) -> RemoteCommandError? {
    do {
        try body()
        return nil
    } catch {
        return error as? RemoteCommandError
    }
}

/// A request for a server that listens here.
func request(
    _ server: Endpoint, _ service: Service = .rexec, command: ByteText = "date", wantsErrors: Bool = false
) throws -> RemoteRequest {
    let password = try Secret()
    #expect(password.append(Array("canary".utf8)))
    var request = RemoteRequest(
        host: ByteText(server.address.description),
        identity: service == .rexec
            ? .rexec(user: "alice", password: password) : .rsh(remoteUser: "alice", target: "bob"),
        command: command, wantsErrors: wantsErrors)
    request.port = server.port
    request.pauses = []
    request.callBackTimeout = 20_000
    return request
}

@Suite struct RemoteRequestTests {
    @Test(arguments: ["127.0.0.1", "::1"])
    func rexecSendsItsFieldsAndLeavesTheOutputAlone(address: String) throws {
        let server = try FakeServer(on: address) { side in
            try side.expect("")
            try side.expect("alice")
            try side.expect("canary")
            try side.expect("date '+%s'")
            try side.write([0] + Array("output".utf8))
        }
        let connection = try request(server.endpoint, command: "date '+%s'").open()
        #expect(connection.secondary == nil)
        var entries = [Poll.Entry(connection.primary)]
        try Poll.wait(&entries, milliseconds: 20_000)
        #expect(try Socket.receive(connection.primary, limit: 64) == Array("output".utf8))
        #expect(try server.finish())
    }

    @Test func theNamesAreSentOnlyWhenTheServerHasCalledBack() throws {
        let server = try FakeServer { side in
            let port = try side.field()
            // A client that sends its names before it was called would have sent them by now.
            Clock.sleep(milliseconds: 50)
            guard try Socket.receive(side.primary, limit: 1) == nil else { throw ServerSide.Unexpected() }
            let secondary = try side.callBack(port)
            try side.expect("alice")
            try side.expect("canary")
            try side.expect("date")
            try side.write([0])
            try side.write(Array("err".utf8), to: secondary)
            guard try side.read(1, from: secondary) == [15] else { throw ServerSide.Unexpected() }
        }
        let connection = try request(server.endpoint, wantsErrors: true).open()
        let secondary = try #require(connection.secondary)
        var entries = [Poll.Entry(secondary)]
        try Poll.wait(&entries, milliseconds: 20_000)
        #expect(try Socket.receive(secondary, limit: 64) == Array("err".utf8))
        connection.signal(15)
        #expect(try server.finish())
    }

    @Test func aSecondaryFromAnotherAddressIsNotTheServers() throws {
        let server = try FakeServer { side in
            let port = try side.field()
            let other = try IPAddress("127.0.0.2").map { try side.callBack(port, from: Endpoint(address: $0, port: 0)) }
            defer { _ = other }
            Clock.sleep(milliseconds: 50)
            let secondary = try side.callBack(port)
            for _ in 0..<3 { _ = try side.field() }
            try side.write([0])
            try side.write([7], to: secondary)
            _ = try side.read(1)
        }
        let connection = try request(server.endpoint, wantsErrors: true).open()
        let secondary = try #require(connection.secondary)
        #expect(try Socket.peer(secondary).address == server.endpoint.address)
        Socket.shutdownSending(connection.primary)
        #expect(try server.finish())
    }

    @Test func aServerThatDoesNotCallBackIsGivenUp() throws {
        let server = try FakeServer { side in
            _ = try side.field()
            _ = try side.read(1)
        }
        var request = try request(server.endpoint, wantsErrors: true)
        request.callBackTimeout = 100
        guard case .notCalledBack? = failure({ _ = try request.open() }) else {
            Issue.record("it was not given up")
            return
        }
    }

    @Test(arguments: [true, false])
    func aRefusalIsTheServersTextWheneverItComes(beforeCallingBack: Bool) throws {
        let server = try FakeServer { side in
            let port = try side.field()
            if !beforeCallingBack {
                let secondary = try side.callBack(port)
                defer { _ = secondary }
                for _ in 0..<3 { _ = try side.field() }
            }
            try side.write([1] + Array("Login incorrect.\n".utf8))
        }
        guard case .refused(let text)? = failure({ _ = try request(server.endpoint, wantsErrors: true).open() }) else {
            Issue.record("no refusal")
            return
        }
        #expect(text == "Login incorrect.")
    }

    /// pdsh copies a server's line of any length into 2,048 bytes.
    @Test func aRefusalWithoutEndIsCut() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try? side.write([1] + [UInt8](repeating: 65, count: 1 << 20))
        }
        guard case .refused(let text)? = failure({ _ = try request(server.endpoint).open() }) else {
            Issue.record("no refusal")
            return
        }
        #expect(text.count == 1_024)
    }

    @Test func aRefusalsBytesReachNoTerminalRaw() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([1] + Array("\u{1B}[2J%s%n\n".utf8))
        }
        let error = failure { _ = try request(server.endpoint).open() }
        #expect(error?.description == "\\x1b[2J%s%n")
    }

    @Test(arguments: [[], [7], [0x30]] as [[UInt8]])
    func whatIsNeitherYesNorNoIsAnErrorAndNoSuccess(answer: [UInt8]) throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write(answer)
        }
        guard case .brokenProtocol? = failure({ _ = try request(server.endpoint).open() }) else {
            Issue.record("taken for an answer")
            return
        }
    }

    @Test func whatCannotBeSentCallsNobody() throws {
        // Nobody listens on port 1 here: an attempt would fail otherwise than this.
        let nobody = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 1)
        for command in [ByteText([65, 0, 66]), ByteText([UInt8](repeating: 65, count: 131_072))] {
            guard case .field? = failure({ _ = try request(nobody, command: command).open() }) else {
                Issue.record("it was sent")
                return
            }
        }
    }

    @Test func aHostThatRefusesConnectionsIsNamedWithItsAddress() throws {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let endpoint = try Socket.local(listener)
        let free = Endpoint(address: IPAddress(v4: 0x7F00_0002), port: endpoint.port)
        let error = failure { _ = try request(free).open() }
        guard case .notConnected(let attempts)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(attempts.map(\.endpoint) == [free])
        #expect(error?.description == "connect to \(free): Connection refused")
    }

    @Test func aCommandOfTheGreatestLengthArrivesWhole() throws {
        let command = ByteText([UInt8](repeating: 120, count: 131_071))
        let server = try FakeServer { side in
            for _ in 0..<3 { _ = try side.field() }
            try side.expect(command)
            try side.write([0])
        }
        _ = try request(server.endpoint, command: command).open()
        #expect(try server.finish())
    }

    @Test func anUnknownHostIsToldApart() throws {
        let password = try Secret()
        let request = RemoteRequest(
            host: "portcullis-test.invalid", identity: .rexec(user: "a", password: password), command: "x",
            wantsErrors: false)
        switch failure({ _ = try request.open() }) {
        case .unknownHost?, .nameService?: break
        default: Issue.record("another failure")
        }
    }
}

@Suite(.serialized, .enabled(if: ReservedPort.isPermitted, "needs the right to bind reserved ports"))
struct ReservedPortTests {
    @Test func rcmdCallsFromAReservedPortAndIsCalledBackOnOne() throws {
        let server = try FakeServer { side in
            let port = try side.field()
            guard (512...1_023).contains(try Socket.peer(side.primary).port),
                let number = port.text.flatMap({ UInt16($0) }), (512...1_023).contains(number)
            else { throw ServerSide.Unexpected() }
            let own = try Socket.local(side.primary).address
            var from = UInt16(1_000)
            let secondary = try side.callBack(port, from: reserved(own, &from))
            try side.expect("alice")
            try side.expect("bob")
            try side.expect("date")
            try side.write([0])
            _ = secondary
            _ = try side.read(1)
        }
        let connection = try rcmd(
            ByteText(server.endpoint.address.description), port: server.endpoint.port, localUser: "alice",
            remoteUser: "bob", command: "date", wantsErrors: true)
        #expect(connection.secondary != nil)
        Socket.shutdownSending(connection.primary)
        #expect(try server.finish())
    }

    /// A free reserved port's endpoint.
    private func reserved(_ address: IPAddress, _ port: inout UInt16) throws -> Endpoint {
        _ = try ReservedPort.bind(&port, address: address)
        return Endpoint(address: address, port: port)
    }

    @Test func aSecondaryFromAnUnreservedPortIsNotBelieved() throws {
        let server = try FakeServer { side in
            let port = try side.field()
            let secondary = try side.callBack(port)
            // The client hangs up on it, and then gives up.
            _ = try side.read(1, from: secondary)
            _ = try side.read(1)
        }
        var request = try request(server.endpoint, .rsh, wantsErrors: true)
        request.callBackTimeout = 200
        guard case .notCalledBack? = failure({ _ = try request.open() }) else {
            Issue.record("it was believed")
            return
        }
    }

    @Test func rresvportWalksDownAndRoundAndSaysWhenAllAreInUse() throws {
        let address = try #require(IPAddress("127.83.7.1"))
        var taken: [Descriptor] = []
        for port in ReservedPort.range where port != 600 {
            if let listener = try? Socket.listen(Endpoint(address: address, port: port)) { taken.append(listener) }
        }
        var port = UInt16(512)
        let found = try ReservedPort.bind(&port, address: address, listening: true)
        #expect(port == 600)
        guard
            case .portsInUse? = failure({
                var another = UInt16(1_023)
                _ = try ReservedPort.bind(&another, address: address)
            })
        else {
            Issue.record("a port was found")
            return
        }
        _ = (found, taken)
    }

    /// As the C library has it: a start that is too low is the lowest port, and then comes the highest.
    @Test(arguments: [(UInt16(0), UInt16(512)), (1, 512), (511, 512), (600, 600), (1_024, 1_023), (65_535, 1_023)])
    func aStartOutsideTheRangeIsItsNearerEnd(start: UInt16, expected: UInt16) throws {
        var port = start
        _ = try ReservedPort.bind(&port, address: try #require(IPAddress("127.83.7.2")))
        #expect(port == expected)
    }

    /// With SO_REUSEADDR it would hand out ports that others are bound to, and whose connect fails then.
    @Test func rresvportHandsOutNoPortThatAnotherSocketHas() throws {
        var first = UInt16(1_000)
        let other = try ReservedPort.bind(&first, address: IPAddress(v4: 0))
        var second = first
        _ = try rresvport(&second)
        #expect(second != first)
        withExtendedLifetime(other) {}
    }

    /// A gateway that is careful, ours for one, calls back on no port where a service listens.
    @Test(arguments: [UInt16(995), 992, 636, 515, 512])
    func noPortForStderrIsOneThatAGatewayRefuses(start: UInt16) throws {
        var port = start
        _ = try ReservedPort.bind(&port, address: try #require(IPAddress("127.83.7.3")), listening: true)
        #expect(ConnectBackRule.permits(port: port, of: .rsh))
    }
}
