// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import Testing

@testable import AuditorService

/// Which session a denial belongs to, and how many of them come onto the trail.
@Suite struct DenialTests {
    private let first: SessionID
    private let second: SessionID
    private let third: SessionID

    init() throws {
        let ids = try (1...3).map { try #require(SessionID(bytes: [UInt8](repeating: $0, count: 16))) }
        (first, second, third) = (ids[0], ids[1], ids[2])
    }

    private func sender(_ ses: UInt32) -> Sender {
        Sender(pid: 4_001, uid: 0, auid: 1_001, ses: ses, executable: "/usr/sbin/portcullisd")
    }

    private func watch(_ sessions: (SessionID, UInt32)...) -> DenialWatch {
        var watch = DenialWatch(own: 3) { _, number in "call\(number)" }
        for (id, ses) in sessions { watch.start(id, sender(ses), origin, "alice") }
        return watch
    }

    private func call(_ number: UInt32, _ ses: UInt32, signal: UInt8 = 0, action: UInt32 = 0x5_0001) -> KernelReport {
        .call(
            KernelReport.Call(
                ses: ses, program: "/usr/bin/x", signal: signal, architecture: 0xC000_003E, number: number,
                action: action))
    }

    @Test func aCallIsItsSessionsByTheKernelsNumber() throws {
        var watch = watch((first, 7), (second, 8))
        let found = watch.take(call(165, 8, signal: 31, action: 0x8000_0000))
        #expect(
            found == [
                DenialWatch.Found(
                    session: second, sender: sender(8),
                    denial: Record.Denial(
                        origin: origin, account: "alice", subject: .call("call165"), signal: 31, program: "/usr/bin/x"))
            ])
        #expect(watch.hasKill(second) && !watch.hasKill(first))
    }

    /// Whoever had enough denied before would else end without any record that says so.
    @Test func theFirstKillIsToldHoweverMuchWasDeniedBefore() {
        var watch = watch((first, 7))
        for number in 0..<100 { _ = watch.take(call(UInt32(number), 7)) }
        #expect(!watch.hasKill(first))
        let killed = watch.take(call(39, 7, signal: 31, action: 0x8000_0000))
        #expect(killed.map(\.denial.signal) == [31])
        #expect(watch.hasKill(first))
        #expect(watch.take(call(40, 7, signal: 31, action: 0x8000_0000)).isEmpty)
    }

    @Test func anAccessWaitsForItsCaller() {
        var watch = watch((first, 7))
        #expect(watch.take(.access(event: 9, words: "fs.read_file", path: "/etc/shadow")).isEmpty)
        #expect(watch.take(.caller(event: 8, ses: 7, program: "/bin/cat")).isEmpty)
        let found = watch.take(.caller(event: 9, ses: 7, program: "/bin/cat"))
        #expect(found.map(\.denial.subject) == [.access("fs.read_file", path: "/etc/shadow")])
        #expect(found.map(\.denial.program) == ["/bin/cat"])
        #expect(watch.take(.caller(event: 9, ses: 7, program: "/bin/cat")).isEmpty)
    }

    /// A number that says nothing of whose process it was is nobody's: unset, the gateway's own, or claimed twice.
    @Test func whatCouldBeAnothersIsNobodys() {
        var watch = watch((first, .max), (second, 3))
        #expect(watch.take(call(1, .max)).isEmpty)
        #expect(watch.take(call(1, 3)).isEmpty)
        var contested = self.watch((first, 7), (second, 7))
        #expect(contested.take(call(1, 7)).isEmpty)
        contested.start(third, sender(7), origin, "alice")
        #expect(contested.take(call(1, 7)).isEmpty)
    }

    /// ENOSYS is no denial: a program falls back.
    @Test func anUnknownCallIsNotRecorded() {
        var watch = watch((first, 7))
        #expect(watch.take(call(435, 7, action: 0x5_0026)).isEmpty)
    }

    @Test func aCommandCannotFillTheTrail() {
        var watch = watch((first, 7))
        var recorded = 0
        for number in 0..<10_000 as Range<UInt32> { recorded += watch.take(call(number % 1_000, 7)).count }
        #expect(recorded == DenialWatch.recordLimit)
        watch.end(first, now: 100)
        #expect(watch.flush(now: 100 + DenialWatch.grace - 1).isEmpty)
        // The kernel tells of the last ones after the end.
        #expect(watch.take(call(7_000, 7)).isEmpty)
        let rest = watch.flush(now: 100 + DenialWatch.grace)
        #expect(rest.map(\.denial.subject) == [.further])
        #expect(rest.map(\.denial.count) == [10_001 - DenialWatch.recordLimit])
        #expect(watch.take(call(1, 7)).isEmpty)
    }

    @Test func halvesOfEventsThatNeverMeetAreForgotten() {
        var watch = watch((first, 7))
        for event in 0..<100_000 as Range<UInt64> {
            #expect(watch.take(.access(event: event, words: "fs.read_file", path: nil)).isEmpty)
        }
        #expect(watch.take(.caller(event: 0, ses: 7, program: nil)).isEmpty)
        #expect(watch.take(.caller(event: 99_999, ses: 7, program: nil)).count == 1)
    }

    @Test func aSessionsOwnWordIsOnTheTrailOnce() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        for record in [permitted, started, endedBySystemCall, ended] {
            #expect(try session.record(record) == [.durable(number: 1)])
        }
        #expect(try gateway.entries == [permitted, started, endedBySystemCall, ended].map { .record($0) })
        #expect(try gateway.lines.map(\.type) == [.login, .command, .abnormalEnd, .end])
    }
}
