// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import RemoteCommand
import Testing

/// The second attempts of rcmd(3): after a pause, on the next address, from the next port.
@Suite(.serialized) struct RetryTests {
    @Test func thePausesAreThoseOfTheCLibrary() {
        #expect(RemoteRequest.cPauses == [1_000, 2_000, 4_000, 8_000, 16_000])
        let request = RemoteRequest(
            host: "h", identity: .rsh(remoteUser: "a", target: "b"), command: "c", wantsErrors: false)
        #expect(request.pauses == RemoteRequest.cPauses)
    }

    @Test func aHostThatRefusesIsTriedAgainAfterEachPause() throws {
        // Bound, so that nobody else gets the port, and not listening yet: that refuses.
        let bound = try Socket.bound(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let server = try FakeServer(at: bound, late: true) { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0])
        }
        var request = try request(server.endpoint)
        request.pauses = Array(repeating: 10, count: 2_000)
        _ = try request.open()
        #expect(try server.finish())
    }

    @Test func whenThePausesAreUsedUpTheRefusalIsTold() throws {
        let bound = try Socket.bound(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        var request = try request(try Socket.local(bound))
        request.pauses = [1, 1, 1]
        let error = failure { _ = try request.open() }
        guard case .notConnected(let attempts)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(attempts.count == 1)
        #expect(error?.systemError?.isRefused == true)
    }

    @Test func noPauseReachesBeyondTheTimeForAll() throws {
        let bound = try Socket.bound(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        var request = try request(try Socket.local(bound))
        request.pauses = [3_600_000]
        request.timeout = 60_000
        guard case .notConnected? = failure({ _ = try request.open() }) else {
            Issue.record("another error")
            return
        }
    }

    /// localhost is ::1 and 127.0.0.1 where the hosts file has both; here only the second answers.
    @Test func anAddressThatRefusesMakesWayForTheNext() throws {
        let server = try FakeServer { side in
            for _ in 0..<4 { _ = try side.field() }
            try side.write([0])
        }
        var request = try request(server.endpoint)
        request.host = "localhost"
        let connection = try request.open()
        #expect(try Socket.peer(connection.primary) == server.endpoint)
    }

    @Test func aFamilyThatTheHostDoesNotHaveIsAnUnknownHost() throws {
        var request = try request(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 1))
        request.family = .v6
        switch failure({ _ = try request.open() }) {
        case .unknownHost?, .nameService?: break
        case let other: Issue.record("\(String(describing: other))")
        }
    }

    /// A port that is free to bind may still be taken towards this server.
    @Test(.enabled(if: ReservedPort.isPermitted, "needs the right to bind reserved ports"))
    func aReservedPortThatIsInUseTowardsTheServerMakesWayForTheNext() throws {
        let server = try FakeServer(on: "127.83.9.1") { side in
            let other = try side.next()
            let ports = (try Socket.peer(side.primary).port, try Socket.peer(other.primary).port)
            guard ports.0 != ports.1, ReservedPort.range.contains(ports.1) else { throw ServerSide.Unexpected() }
            for _ in 0..<4 { _ = try other.field() }
            try other.write([0])
        }
        var port = ReservedPort.range.upperBound
        let first = try rresvport(&port)
        do throws(SystemError) {
            try Socket.connect(first, to: server.endpoint)
        } catch {
            #expect(error.isInProgress)
        }
        var request = try request(server.endpoint, .rsh)
        request.timeout = 20_000
        _ = try request.open()
        #expect(try server.finish())
    }

    @Test func theErrorsHaveTheNumbersOfTheCLibrary() {
        #expect(RemoteCommandError.portsInUse.systemError?.wouldBlock == true)
        #expect(RemoteCommandError.portsNotPermitted.systemError?.isPermission == true)
        #expect(RemoteCommandError.unknownHost("h").systemError == nil)
    }
}
