// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import Testing

@testable import Monitor

/// How many passwords are checked at once: the table alone, without processes.
@Suite struct PasswordCheckTests {
    private static let alice = IPAddress(v4: 0x0A00_0001)
    private static let bob = IPAddress(v4: 0x0A00_0002)

    /// A table of sessions that all have asked for a place, in their order.
    private func waiting(_ sources: [IPAddress]) throws -> (SessionTable, [UInt64]) {
        var table = SessionTable()
        var numbers: [UInt64] = []
        let session = try #require(SessionID(bytes: Array(repeating: 1, count: 16)))
        let end = try Descriptor.pipe().read
        for source in sources {
            let number = table.number()
            table.add(
                SessionTable.Entry(
                    number: number, session: session, process: ProcessHandle(pid: 1, descriptor: end),
                    outbox: Outbox(try Channel.pair().0), started: 0, startedWall: 0, deadline: 30_000))
            #expect(say(.asked(service: .rexec, source: source, target: "x"), number, &table))
            #expect(say(.passwordCheck, number, &table))
            numbers.append(number)
        }
        return (table, numbers)
    }

    private func say(_ report: SessionReport, _ number: UInt64, _ table: inout SessionTable) -> Bool {
        var refused: UInt64 = 0
        return table.take(report.encoded(), from: number, refused: &refused)
    }

    private func grant(_ table: inout SessionTable, now: Int64 = 0, used: Int64 = 0) -> [UInt64] {
        table.grantChecks(places: 2, now: now) { _ in used }
    }

    @Test(arguments: [(0, 2), (1, 2), (2, 2), (3, 3), (16, 16), (17, 16), (512, 16)])
    func thePlacesAreOneAProcessorWithinBounds(processors: Int, places: Int) {
        #expect(SessionTable.checkPlaces(processors: processors) == places)
    }

    /// While sessions are on their way to a command no spare is made; a hash takes long, and one processor.
    @Test func whoChecksAPasswordOrHasLaunchedIsNotOnItsWay() throws {
        var (table, numbers) = try waiting([Self.alice, Self.alice])
        #expect(table.deciding == 0)
        #expect(grant(&table) == numbers)
        #expect(table.deciding == 0)
        let isDone = say(.passwordChecked, numbers[0], &table)
        #expect(isDone)
        #expect(table.deciding == 1)
        let isLaunched = say(.launched(rule: "x", command: "id"), numbers[0], &table)
        #expect(isLaunched)
        #expect(table.deciding == 0)
    }

    @Test func noMoreThanTheSetNumberCheckAtOnce() throws {
        var (table, numbers) = try waiting(Array(repeating: Self.alice, count: 5))
        #expect(grant(&table) == Array(numbers[..<2]))
        #expect(grant(&table).isEmpty)
        let isDone = say(.passwordChecked, numbers[1], &table)
        #expect(isDone)
        #expect(grant(&table) == [numbers[2]])
    }

    @Test func aPlaceComesBackWithItsHoldersDeath() throws {
        var (table, numbers) = try waiting(Array(repeating: Self.alice, count: 4))
        #expect(grant(&table).count == 2)
        table[numbers[0]] = nil
        table[numbers[2]] = nil
        #expect(grant(&table) == [numbers[3]], "the dead wait no longer")
    }

    @Test func aSourceWithFewerChecksComesFirst() throws {
        var (table, numbers) = try waiting([Self.alice, Self.alice, Self.alice, Self.bob])
        #expect(grant(&table) == [numbers[0], numbers[3]], "bob came last, and alice has one already")
        let isDone = say(.passwordChecked, numbers[3], &table)
        #expect(isDone)
        #expect(grant(&table) == [numbers[1]], "nobody else waits")
    }

    @Test func oneThatSleepsCountsNoLongerWhileOthersWait() throws {
        var (table, numbers) = try waiting(Array(repeating: Self.alice, count: 4))
        #expect(grant(&table).count == 2)
        #expect(table.nextCheckLook == SessionTable.sleepLimit)
        #expect(grant(&table, now: SessionTable.sleepLimit - 1).isEmpty)
        let granted = grant(&table, now: SessionTable.sleepLimit)
        #expect(granted == Array(numbers[2...]))
        #expect(table.nextCheckLook == nil, "nobody waits")
        let isDone = say(.passwordChecked, numbers[0], &table)
        #expect(isDone, "a sleeper that wakes is done like any other")
    }

    @Test func oneThatUsesTheProcessorKeepsItsPlace() throws {
        var (table, _) = try waiting(Array(repeating: Self.alice, count: 3))
        #expect(grant(&table).count == 2)
        for look in 1...4 as ClosedRange<Int64> {
            let now = look * SessionTable.sleepLimit
            #expect(grant(&table, now: now, used: look * SessionTable.awakeMinimum).isEmpty, "a hash goes on")
        }
    }

    @Test func aSessionAsksOnceAndReturnsWhatItHas() throws {
        var (table, numbers) = try waiting([Self.alice])
        #expect(!say(.passwordCheck, numbers[0], &table), "it waits already")
        #expect(!say(.passwordChecked, numbers[0], &table), "it has none")
        #expect(grant(&table) == numbers)
        #expect(!say(.passwordCheck, numbers[0], &table), "it has one")
    }
}
