// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import TestSupport
import Testing

@testable import Front

/// Clients, the monitor and sessions that do anything at any time.
@Suite struct DisorderTests {
    /// What a client may send, in whole or in part.
    private static let streams: [[UInt8]] = [
        "\0alice\0pw\0id\0stdin", "40001\0alice\0pw\0id\0stdin", "40001\0", "\0", "", "\0-bad\0", "99999\0", "\0a\0",
        "\0alice\0pw\0\(String(repeating: "c", count: 5_000))", "1022\0a\0b\0c\0", "\0a\0b\0c\0", "\0a\0b/c\0d\0",
    ].map { Array($0.utf8) }

    private struct Talker {
        var client: Client
        var rest: ArraySlice<UInt8>
    }

    /// Nothing is left over, and front still serves, whatever clients and sessions do in whatever order.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func nothingIsLeftOverHoweverClientsAndSessionsBehave(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let harness = try FrontHarness {
            $0.rexec.handshakeTimeout = 250
            $0.rsh.handshakeTimeout = 150
            $0.rexec.sessionsPerSource = 3
            $0.refusal.delay = 10
        }
        var talkers: [Talker] = []
        var sessions: [Handover] = []
        var calls: [UInt64] = []
        for _ in 0..<1_500 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0, 1:
                let service = Bool.random(using: &generator) ? Service.rexec : .rsh
                let stream = Self.streams.randomElement(using: &generator) ?? []
                talkers.append(Talker(client: try harness.client(service), rest: stream[...]))
            case 2, 3, 4:
                speak(&talkers, &generator)
            case 5:
                leave(&talkers, &generator)
            case 6:
                answerCall(&calls, harness, &generator)
            case 7:
                answerRequest(&sessions, &generator)
            default:
                try listen(to: harness, &calls, &sessions)
            }
            drainRecords(harness)
            // So that deadlines pass in the middle of things.
            if Int.random(in: 0..<8, using: &generator) == 0 { Clock.sleep(milliseconds: 3) }
        }
        talkers.removeAll()
        sessions.removeAll()
        let place: Comment = "seed \(seed)"
        for _ in 0..<3_000 {
            while !calls.isEmpty { answerCall(&calls, harness, &generator) }
            try listen(to: harness, &calls, &sessions)
            sessions.removeAll()
            drainRecords(harness)
            if try harness.holds({ $0.underWay == (0, 0, 0) && $0.callsNobodyBack }), calls.isEmpty { break }
            Clock.sleep(milliseconds: 5)
        }
        #expect(try harness.holds { $0.underWay == (0, 0, 0) && $0.callsNobodyBack }, place)
        let client = try harness.client(.rexec)
        try client.write("\0alice\0pw\0id\0")
        #expect(try harness.handover().request().command == "id", place)
    }

    private func speak(_ talkers: inout [Talker], _ generator: inout SeededGenerator) {
        guard let place = talkers.indices.randomElement(using: &generator) else { return }
        let part = talkers[place].rest.prefix(Int.random(in: 1...12, using: &generator))
        talkers[place].rest = talkers[place].rest.dropFirst(part.count)
        // Front may have refused it and be gone.
        _ = try? Socket.send(talkers[place].client.socket, part)
    }

    private func leave(_ talkers: inout [Talker], _ generator: inout SeededGenerator) {
        guard let place = talkers.indices.randomElement(using: &generator) else { return }
        let socket = talkers[place].client.socket
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
            Socket.shutdownSending(socket)
        case 1:
            Socket.setReset(socket)
            talkers.remove(at: place)
        default:
            talkers.remove(at: place)
        }
    }

    private func answerCall(_ calls: inout [UInt64], _ harness: FrontHarness, _ generator: inout SeededGenerator) {
        guard let place = calls.indices.randomElement(using: &generator) else { return }
        let connection = calls.remove(at: place)
        if Bool.random(using: &generator), let client = try? harness.client(.rexec) {
            // Any connected socket will do.
            try? harness.send(.connectedBack(connection: connection), [client.socket])
        } else {
            try? harness.send(.connectBackFailed(connection: connection, reason: .protocolError))
        }
    }

    private func answerRequest(_ sessions: inout [Handover], _ generator: inout SeededGenerator) {
        guard let place = sessions.indices.randomElement(using: &generator) else { return }
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: try? sessions[place].answer(.refuse(reason: .noRule))
        case 1, 2: try? sessions[place].answer(.release)
        case 3: try? sessions[place].channel.send([1, 99])
        default: sessions.remove(at: place)
        }
    }

    private func listen(to harness: FrontHarness, _ calls: inout [UInt64], _ sessions: inout [Handover]) throws {
        while case .message(let message) = try harness.monitor.receive(
            limit: 65_536, descriptorLimit: 3, waiting: false)
        {
            switch try FrontAsk(frame: message.bytes) {
            case .ready: Issue.record("ready twice")
            case .connectBack(let connection, _, _): calls.append(connection)
            case .handover(let connection, let service, let hasSecondary):
                sessions.append(
                    Handover(
                        connection: connection, service: service, channel: Linux.Channel(message.descriptors[0]),
                        primary: message.descriptors[1], secondary: hasSecondary ? message.descriptors[2] : nil))
            }
        }
    }

    private func drainRecords(_ harness: FrontHarness) {
        while case .message? = try? harness.auditor.receive(limit: 65_536, waiting: false) {}
    }
}
