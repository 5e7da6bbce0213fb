// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

/// The handshake is bounded in time, length and number, and makes the gateway connect nowhere that it should not.
@Suite("Handshakes: deadline, limits and connect-back", .needsBuild)
struct HandshakeTests {
    private func refusal(of socket: Socket) -> [UInt8] {
        var bytes: [UInt8] = []
        while socket.isReadable(within: 15_000), let more = socket.receive(), !more.isEmpty { bytes += more }
        return bytes
    }

    private let text = Array("\u{1}Login incorrect.\n".utf8)

    // MARK: - Time

    /// Peers of old have a timeout for the port field alone, or for each read.
    @Test func aByteNowAndThenDoesNotExtendTheDeadline() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    handshake-timeout 1500ms"
        try Gateway.with(setup) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            socket.send([0])
            var sent = 0
            while !socket.isReadable(within: 200), sent < 31 {
                socket.send("a")
                sent += 1
            }
            #expect(sent < 31, "the deadline was extended, byte by byte")
            #expect(refusal(of: socket) == text)
            #expect(try gate.lastReason() == "protocol")
        }
    }

    @Test func aSilentClientIsRefusedAtTheDeadline() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    handshake-timeout 500ms"
        try Gateway.with(setup) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            #expect(refusal(of: socket) == text)
            #expect(try gate.lastReason() == "protocol")
        }
    }

    // MARK: - Fields

    @Test(
        arguments: [
            "66559", "65536", "+514", "-1", " 22", "0x202", "000000514", "99999999999999999999", "1a", "\u{1}",
        ])
    func aPortFieldThatIsNoPortIsAProtocolError(port: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            socket.send("\(port)\0\(Gateway.target)\0\(Gateway.password)\0id\0")
            #expect(refusal(of: socket) == text)
            #expect(try gate.lastReason() == "protocol")
            #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" })
        }
    }

    @Test(arguments: ["", "0", "00000"])
    func aPortFieldThatMeansNoneAsksForNoConnection(port: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            socket.send("\(port)\0\(Gateway.target)\0\(Gateway.password)\0/bin/echo x\0")
            #expect(socket.receive(count: 3) == [0, 0x78, 0x0A])
        }
    }

    @Test(
        arguments: [
            "", "-froot", "../x", "a/b", "+", "@ng", "#x", "root ", " root", "a\u{7F}", "a\nb", "ü",
            String(repeating: "a", count: 33), String(repeating: "a", count: 100_000),
        ])
    func aNameThatIsNoNameIsAProtocolError(name: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: name, "id")
            #expect(client.answer().primary == text)
            #expect(try gate.lastReason() == "protocol")
        }
    }

    @Test func aCommandOfTheLimitRunsAndOneByteMoreDoesNot() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    command-length 131071"
        try Gateway.with(setup) { gate throws in
            let longest = "/bin/echo " + String(repeating: "x", count: 131_071 - 10)
            let answer = try Conversation.rexec(gate, as: Gateway.target, longest).answer()
            #expect(answer.output.utf8.count == 131_071 - 10 + 1)
            let longer = try Conversation.rexec(gate, as: Gateway.target, longest + "x").answer()
            #expect(longer.primary == text)
            #expect(try gate.lastReason() == "protocol")
        }
    }

    @Test func bytesOtherThanNULPassAsTheyAre() throws {
        try Gateway.with(Rules.words) { gate throws in
            let odd = Array((1...255).map { UInt8($0) }).filter { ![0x27, 0x0A].contains($0) }
            let command = Array("/usr/bin/printf %s '".utf8) + odd + Array("'".utf8)
            let fields = [Array(Gateway.target.utf8), Array(Gateway.password.utf8), command]
            let answer = try Conversation(.rexec, of: gate, fields: fields).answer()
            #expect(Array(answer.primary.dropFirst()) == odd)
        }
    }

    // MARK: - Connect-back

    @Test(.needsRoot) func rshConnectsBackFromAReservedPortThatIsNotForbidden() throws {
        try Gateway.with(Rules.words) { gate throws in
            let socket = try Socket.connectReserved(to: gate.endpoint(.rsh))
            let listener = try Socket.listen(on: socket.local.address, port: nil)
            socket.send("\(try listener.local.port)\0")
            let secondary = try #require(try listener.accept())
            let peer = try secondary.peer
            #expect(peer.address == gate.address, "from another address than the client called")
            #expect((512...1023).contains(peer.port))
            #expect(!Self.forbidden.contains(peer.port))
            socket.send("alice\0alice\0/bin/echo x\0")
            #expect(socket.receive(count: 3) == [0, 0x78, 0x0A])
        }
    }

    private static let forbidden: Set<UInt16> =
        Set(989...995).union([512, 513, 514, 515, 540, 543, 544, 587, 631, 636, 873])

    /// Trust reflection: our reserved port and stderr bytes of a client's choice would make a valid rsh request elsewhere.
    @Test(.needsRoot, arguments: [UInt16(513), 515, 543, 544, 873, 1024, 511, 25])
    func rshNeverConnectsBackToAForbiddenPort(port: UInt16) throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FE00 | UInt32.random(in: 1...250))
            let listener = try Socket.listen(on: source, port: port)
            let socket = try Socket.connectReserved(to: gate.endpoint(.rsh), from: source)
            socket.send("\(port)\0alice\0alice\0id\0")
            #expect(refusal(of: socket) == Array("\u{1}Permission denied.\n".utf8))
            #expect(try listener.accept(within: 0) == nil, "the gateway called")
            #expect(try gate.lastReason() == "protocol")
        }
    }

    @Test(.needsRoot, arguments: [UInt16(22), 514, 1023])
    func rexecNeverConnectsBackToAPortBelow1024(port: UInt16) throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FF00 | UInt32.random(in: 1...250))
            let listener = try Socket.listen(on: source, port: port)
            let socket = try Socket.connect(to: gate.endpoint(.rexec), from: source)
            socket.send("\(port)\0alice\0\(Gateway.password)\0id\0")
            #expect(refusal(of: socket) == text)
            #expect(try listener.accept(within: 0) == nil, "the gateway called")
            #expect(try gate.lastReason() == "protocol")
        }
    }

    @Test func aFailedConnectBackIsARefusal() throws {
        try Gateway.with(Rules.words) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            // A port on which nobody listens: it was ours a moment ago.
            let port = try Socket.listen(on: socket.local.address).local.port
            socket.send("\(port)\0\(Gateway.target)\0\(Gateway.password)\0id\0")
            #expect(refusal(of: socket) == text)
            #expect(try gate.lastReason() == "protocol")
        }
    }

    // MARK: - Source port and number

    @Test(.needsRoot, arguments: [UInt16(20), 511, 1024, 40_000])
    func rshFromAPortThatIsNotReservedIsRefusedBeforeAByteIsRead(port: UInt16) throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FD00 | UInt32.random(in: 1...250))
            let socket = try Socket.connect(to: gate.endpoint(.rsh), from: source, port: port)
            #expect(refusal(of: socket) == Array("\u{1}Permission denied.\n".utf8))
            #expect(try gate.lastReason() == "source-port")
        }
    }

    @Test(.needsRoot, arguments: [UInt16(512), 1023])
    func theOutermostReservedPortsAreReserved(port: UInt16) throws {
        try Gateway.with(Rules.words) { gate throws in
            let source = IPAddress(v4: 0x7F4D_FC00 | UInt32.random(in: 1...250))
            let socket = try Socket.connect(to: gate.endpoint(.rsh), from: source, port: port)
            socket.send("\0alice\0alice\0/bin/echo x\0")
            #expect(socket.receive(count: 3) == [0, 0x78, 0x0A])
        }
    }

    @Test func moreSessionsThanASourceMayHaveAreRefused() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    sessions 5 per-source 1"
        try Gateway.with(setup) { gate throws in
            let first = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60")
            #expect(first.primary.receive(count: 1) == [0])
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().primary == text)
            #expect(try gate.lastReason() == "limit")
            let other = IPAddress(v4: 0x7F00_0002)
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id", from: other).answer().isAccepted)
            first.primary.reset()
            let again = gate.wait {
                (try? Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted) ?? false
            }
            #expect(again, "a place was not given back")
        }
    }

    @Test func aHundredClientsAtOnceAllGetTheirAnswers() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    sessions 200 per-source 200"
        try Gateway.with(setup) { gate throws in
            let clients = try (0..<100).map {
                try Conversation.rexec(gate, as: Gateway.target, "/bin/echo \($0)")
            }
            for (number, client) in clients.enumerated() {
                #expect(client.answer(within: 60_000).output == "\(number)\n")
            }
        }
    }
}
