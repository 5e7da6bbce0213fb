// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Testing

@testable import Monitor

/// When spare sessions are made, and who is given one: the table alone, without processes.
@Suite struct SparesTests {
    private func process(_ number: UInt64) throws -> SessionProcess {
        SessionProcess(
            number: number, handle: ProcessHandle(pid: 1, descriptor: try Descriptor.pipe().read),
            channel: try Channel.pair().0)
    }

    private func full(_ size: Int = 4) throws -> Spares {
        var spares = Spares(size: size)
        for number in 0..<size { spares.add(try process(UInt64(number))) }
        return spares
    }

    @Test(arguments: [(0, 4), (1, 4), (2, 4), (3, 6), (4, 8), (5, 8), (512, 8)])
    func thereAreTwoAProcessorWithinBounds(processors: Int, size: Int) {
        #expect(Spares.places(processors: processors) == size)
    }

    @Test func eachIsTakenOnceAndTheOldestFirst() throws {
        var spares = try full()
        var taken: [UInt64] = []
        while let spare = spares.take() { taken.append(spare.number) }
        #expect(taken == [0, 1, 2, 3])
        let isGone = spares[0] == nil
        #expect(isGone)
    }

    @Test func oneIsMadeOnlyWhereOneIsMissingAndItHasBeenQuiet() throws {
        var spares = try full()
        #expect(spares.due == nil, "all are there")
        _ = spares.take()
        #expect(spares.due == 0)
        spares.disturb(now: 100)
        #expect(spares.due == 100 + Spares.quietTime)
        spares.disturb(now: 101)
        #expect(spares.due == 101 + Spares.quietTime, "whatever happens puts it off")
        spares.add(try process(9))
        #expect(spares.due == nil)
    }

    @Test func deathsPutTheNextOneOffForLongerAndLonger() throws {
        var spares = try full()
        var now: Int64 = 0
        for (number, pause) in zip(UInt64(0)..., [Int64(1_000), 2_000, 4_000, 8_000]) {
            let next = spares.failed(number, now: now)
            #expect(next == pause)
            let due = spares.due
            #expect(due == now + pause)
            spares.disturb(now: now + 10)
            #expect(spares.due == now + pause, "what happens meanwhile does not shorten it")
            now += pause
        }
        #expect(spares.waiting.isEmpty)
        for _ in 0..<8 {
            let pause = spares.failed(now: now) ?? 0
            #expect(pause <= Spares.longestPause)
            now += pause
        }
        #expect(spares.failed(now: now) == Spares.longestPause)
        now += Spares.longestPause
        spares.served()
        #expect(spares.failed(now: now) == Spares.firstPause, "one that has served makes up for it")
    }

    /// A signal to the whole group ends them all.
    @Test func whatEndsSeveralAtOncePutsTheNextOneOffOnce() throws {
        var spares = try full()
        #expect(spares.failed(0, now: 50) == Spares.firstPause)
        for number in UInt64(1)...3 { #expect(spares.failed(number, now: 50) == nil) }
        #expect(spares.due == 50 + Spares.firstPause)
        _ = spares.removeAll()
        #expect(spares.due == 0, "a new policy has new ones at once")
    }

    @Test func oneThatCouldNotBeToldIsTheNextAgain() throws {
        var spares = try full()
        let taken = spares.take()
        let first = try #require(taken)
        spares.putBack(first)
        let next = spares.take()
        #expect(next?.number == first.number)
    }

    @Test func dismissedOnesAreGone() throws {
        var spares = try full()
        #expect(spares.removeAll().count == 4)
        let next = spares.take()
        #expect(next == nil)
        #expect(spares.due != nil)
    }
}
