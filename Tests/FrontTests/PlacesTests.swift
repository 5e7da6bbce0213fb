// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import Testing

@testable import Front

@Suite struct PlacesTests {
    private let here = IPAddress(v4: 0x0A00_0001)
    private let there = IPAddress(v4: 0x0A00_0002)

    @Test func aPlaceIsTakenInAllAndForItsSource() {
        var places = Places()
        let first = places.take(for: here, limit: 3, perSource: 2)
        let second = places.take(for: here, limit: 3, perSource: 2)
        let third = places.take(for: here, limit: 3, perSource: 2)
        let other = places.take(for: there, limit: 3, perSource: 2)
        let last = places.take(for: there, limit: 3, perSource: 2)
        #expect([first, second, third, other, last] == [true, true, false, true, false])
        places.free(for: here)
        #expect(places.taken == 2)
        #expect(places.taken(by: here) == 1)
        places.free(for: here)
        places.free(for: here)
        #expect(places.taken == 1, "what was not taken cannot be given back")
    }

    @Test func aTurnComesInTheOrderOfAsking() {
        var turns = ConnectBackTurns(limit: 2)
        var now: [Bool] = []
        for connection in 1...4 { now.append(turns.ask(UInt64(connection), source: here)) }
        #expect(now == [true, true, false, false])
        let elsewhere = turns.ask(9, source: there)
        #expect(elsewhere, "another source has turns of its own")
        let third = turns.end(source: here)
        #expect(third == 3)
        turns.cancel(4, source: here)
        let none = [turns.end(source: here), turns.end(source: here), turns.end(source: here)]
        #expect(none == [nil, nil, nil])
        _ = turns.end(source: there)
        #expect(turns.isEmpty)
    }

    @Test(
        arguments: [
            (0, 0, 100, 100), (0, 1, 100, 100), (0, 100, 100, 100), (0, 101, 100, 200), (0, 250, 100, 300),
            (50, 60, 100, 150), (50, 20, 100, 150), (0, 5, 0, 5),
        ] as [(Int64, Int64, Int64, Int64)])
    func aRefusalIsDueAtAWholeMultipleOfTheDelay(_ origin: Int64, _ decided: Int64, _ delay: Int64, _ due: Int64) {
        #expect(RefusalTime.due(origin: origin, decided: decided, delay: delay) == due)
    }

    @Test func refusalsThatTheAuditorHasNoRoomForAreCounted() throws {
        let (mine, auditors) = try Linux.Channel.pair()
        var records = RefusalRecords(mine)
        let addresses = (0..<5_000).map { IPAddress(v4: 0x0A00_0000 + UInt32($0)) }
        var sent = 0
        for _ in 0..<2 {
            for address in addresses {
                let origin = Record.Origin(service: .rsh, address: address, port: 1)
                try records.send(
                    Record.Login(
                        origin: origin, account: nil, remoteUser: nil, refusal: .limit, rule: nil, revision: nil))
                sent += 1
            }
        }
        #expect(records.isBlocked)
        #expect(records.count <= RefusalRecords.limit + 1)
        var counted = 0
        var numbers: [UInt64] = []
        while true {
            guard case .message(let message) = try auditors.receive(limit: 65_536, waiting: false) else {
                guard records.isBlocked else { break }
                try records.flush()
                continue
            }
            guard case .record(let number, .login(let login)) = try RecordFrame(frame: message.bytes) else { continue }
            numbers.append(number)
            counted += login.count
        }
        #expect(counted == sent)
        #expect(numbers == (1...UInt64(numbers.count)).map { $0 })
    }

    @Test func handshakesFitTheDescriptorsThatThereAre() {
        var bounds = Front.Bounds()
        let fits = bounds.fit(descriptors: 65_536)
        #expect(fits && bounds.handshakes == 20_000)
        let isLow = bounds.fit(descriptors: 1_024)
        #expect(!isLow && bounds.handshakes == 768)
    }
}
