// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import Testing

@testable import Front

/// What front reads from clients, and what it leaves on the socket.
@Suite struct HandshakeTests {
    @Test func aRequestIsHandedOverAndItsStdinIsLeftOnTheSocket() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        try client.write("\0alice\0s3cret\0cat -\0first line\n\0second\n")
        let handover = try harness.handover()
        let request = try handover.request()
        #expect(request.target == UserName("alice"))
        #expect(request.remoteUser == nil)
        #expect(request.command == "cat -")
        #expect(request.handshakeBytes == 20)
        #expect(request.hasPassword)
        #expect(request.connection == handover.connection)
        #expect(try handover.password() == Array("s3cret".utf8))
        Socket.shutdownSending(client.socket)
        #expect(try handover.rest() == Array("first line\n\0second\n".utf8))
    }

    /// traps.md: NIO 2.101 with `autoRead` off still drains the socket when the client half-closes, and so eats stdin.
    @Test(arguments: [1, 100, 300_000])
    func stdinAndAHalfCloseBehindTheHandshakeAreTheCommands(_ size: Int) throws {
        let harness = try FrontHarness()
        let stdin = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let client = try harness.client(.rsh)
        try client.write(Array("\0alice\0bob\0cat\0".utf8) + stdin)
        Socket.shutdownSending(client.socket)
        let handover = try harness.handover()
        #expect(try handover.request().remoteUser == UserName("alice"))
        // The session may take its time; nobody else reads meanwhile.
        Clock.sleep(milliseconds: 50)
        #expect(try handover.rest() == stdin)
    }

    @Test func aHandshakeInSingleBytesIsTheSame() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        for byte in "\0alice\0s3cret\0id\0x".utf8 {
            try client.write([byte])
            Clock.sleep(milliseconds: 1)
        }
        let handover = try harness.handover()
        #expect(try handover.request().command == "id")
        #expect(try handover.password() == Array("s3cret".utf8))
        Socket.shutdownSending(client.socket)
        #expect(try handover.rest() == Array("x".utf8))
    }

    @Test func anEmptyPasswordIsNoEmptyMessage() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        try client.write("\0alice\0\0id\0")
        let handover = try harness.handover()
        #expect(try handover.request().hasPassword)
        #expect(try handover.password().isEmpty)
    }

    @Test(arguments: ["bob/s3cret/@", "bob@s3cret/@"])
    func aPasswordFieldOfRSHTravelsAsAPasswordDoes(_ field: String) throws {
        let harness = try FrontHarness { $0.rsh.takesPasswordField = true }
        let client = try harness.client(.rsh)
        try client.write("\0alice\0\(field)\0cat -\0stdin")
        let handover = try harness.handover()
        let request = try handover.request()
        #expect(request.target == UserName("bob"))
        #expect(request.remoteUser == UserName("alice"))
        #expect(request.command == "cat -")
        #expect(request.hasPassword)
        #expect(try handover.password() == Array("s3cret/@".utf8))
        let other = try harness.client(.rsh)
        try other.write("\0alice\0bob\0id\0")
        #expect(try !harness.handover().request().hasPassword)
    }

    @Test func aLongPasswordFieldIsRefusedAndNotRecorded() throws {
        let harness = try FrontHarness { $0.rsh.takesPasswordField = true }
        let client = try harness.client(.rsh)
        try client.write("\0alice\0bob/" + String(repeating: "p", count: 129) + "\0id\0")
        #expect(try client.readToEnd() == Array("\u{1}Permission denied.\n".utf8))
        let record = try harness.record()
        #expect(record.refusal == .protocolError)
        #expect(record.account == "bob")
    }

    @Test func theLongestCommandAndPasswordFindRoomInTheChannel() throws {
        let harness = try FrontHarness { $0.rexec.commandLength = 131_071 }
        let client = try harness.client(.rexec)
        let command = [UInt8](repeating: UInt8(ascii: "c"), count: 131_071)
        let password = [UInt8](repeating: UInt8(ascii: "p"), count: 128)
        let name = String(repeating: "n", count: 32)
        try client.write(Array("\0\(name)\0".utf8) + password + [0] + command + [0])
        let handover = try harness.handover()
        let request = try handover.request()
        #expect(request.command.bytes == command)
        #expect(request.handshakeBytes == UInt32(1 + 33 + 129 + 131_072))
        #expect(try handover.password() == password)
    }

    @Test func theCommandsSocketWaits() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        let handover = try harness.handover()
        #expect(try isBlocking(handover.primary))
    }

    @Test func aClientOfIPv6IsServedToo() throws {
        let harness = try FrontHarness()
        let listener = try Socket.listen(Endpoint(address: IPAddress(v6: 1), port: 0))
        try harness.listen(.rexec, on: listener)
        try harness.configure()
        let socket = try Socket.open(.v6)
        try? Socket.connect(socket, to: try Socket.local(listener))
        var entries = [Poll.Entry(socket, reading: false, writing: true)]
        try Poll.wait(&entries, milliseconds: 30_000)
        _ = try Socket.send(socket, Array("\0\0".utf8)[...])
        #expect(try Client.readToEnd(socket) == Array("\u{1}Login incorrect.\n".utf8))
        #expect(try harness.record().origin.address == IPAddress(v6: 1))
    }

    @Test func urgentDataInTheHandshakeStopsNothing() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0")
        sendUrgent(client.socket, UInt8(ascii: "!"))
        try client.write("c\0rest")
        let handover = try harness.handover()
        #expect(try handover.request().command == "c")
        Socket.shutdownSending(client.socket)
        #expect(try handover.rest() == Array("rest".utf8))
    }

    // MARK: Connect-back

    @Test func theNamesAreReadAfterTheConnectBackAlone() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        try client.write("40001\0alice\0pw\0id\0stdin")
        guard case (.connectBack(let connection, .rexec, 40_001), let shown) = try harness.ask() else {
            Issue.record("no ask")
            return
        }
        #expect(try Socket.peer(#require(shown.first)) == Socket.local(client.socket))
        Clock.sleep(milliseconds: 20)
        #expect(try harness.isQuiet(), "no name is read before the client was called back")
        let (theirs, ours) = try pairOfSockets()
        try harness.send(.connectedBack(connection: connection), [ours])
        let handover = try harness.handover()
        #expect(handover.secondary != nil)
        #expect(try handover.request().handshakeBytes == 18)
        Socket.shutdownSending(client.socket)
        #expect(try handover.rest() == Array("stdin".utf8))
        _ = theirs
    }

    @Test func aClientThatWaitsToBeCalledSendsItsNamesLater() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        try client.write("40001\0")
        guard case (.connectBack(let connection, _, _), _) = try harness.ask() else {
            Issue.record("no ask")
            return
        }
        let (_, ours) = try pairOfSockets()
        try harness.send(.connectedBack(connection: connection), [ours])
        Clock.sleep(milliseconds: 20)
        for part in ["al", "ice\0p", "w\0i", "d\0st", "din"] {
            try client.write(part)
            Clock.sleep(milliseconds: 5)
        }
        Socket.shutdownSending(client.socket)
        let handover = try harness.handover()
        #expect(try handover.request().target == UserName("alice"))
        #expect(try handover.password() == Array("pw".utf8))
        #expect(try handover.rest() == Array("stdin".utf8))
    }

    @Test func atMostFourConnectBacksToOneSourceAreUnderWay() throws {
        let harness = try FrontHarness()
        let clients = try (0..<6).map { _ in try harness.client(.rexec) }
        for client in clients { try client.write("40001\0a\0p\0c\0") }
        var asked: [UInt64] = []
        for _ in 0..<4 {
            guard case (.connectBack(let connection, _, _), _) = try harness.ask() else { continue }
            asked.append(connection)
        }
        #expect(asked.count == 4)
        Clock.sleep(milliseconds: 30)
        #expect(try harness.isQuiet())
        try harness.send(.connectBackFailed(connection: asked[0], reason: .protocolError))
        guard case (.connectBack(let fifth, _, _), _) = try harness.ask() else {
            Issue.record("no fifth ask")
            return
        }
        #expect(!asked.contains(fifth))
        #expect(try harness.record().refusal == .protocolError)
    }

    @Test func aConnectBackThatAnswersTooLateIsClosedAndItsTurnIsOver() throws {
        let harness = try FrontHarness { $0.rexec.handshakeTimeout = 100 }
        let client = try harness.client(.rexec)
        try client.write("40001\0")
        guard case (.connectBack(let connection, _, _), _) = try harness.ask() else {
            Issue.record("no ask")
            return
        }
        #expect(try client.readToEnd() == Array("\u{1}Login incorrect.\n".utf8))
        let theirs = try sendSecondary(harness, connection)
        #expect(try Client.readToEnd(theirs).isEmpty, "front keeps no copy")
        #expect(try harness.until { $0.underWay.connections == 0 && $0.callsNobodyBack })
    }

    /// Sends front a secondary of which no copy stays here, and returns the client's end.
    private func sendSecondary(_ harness: FrontHarness, _ connection: UInt64) throws -> Descriptor {
        let (theirs, ours) = try pairOfSockets()
        try harness.send(.connectedBack(connection: connection), [ours])
        return theirs
    }

    private func pairOfSockets() throws -> (Descriptor, Descriptor) {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let client = try Client(Socket.local(listener))
        try FrontHarness.wait(listener)
        let accepted = try #require(try Socket.accept(listener))
        return (client.socket, accepted)
    }
}
