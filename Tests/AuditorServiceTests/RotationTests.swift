// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Messages
import Testing
import TrailCrypto

@testable import AuditorService

/// Segments of the trail: numbers and chain run on over them.
@Suite struct RotationTests {
    private func record(_ gateway: Gateway, _ byte: UInt8) throws {
        #expect(try gateway.session(byte).record(refused(.noRule, from: "10.0.0.\(byte)")) == [.durable(number: 1)])
    }

    @Test func anAdministratorClosesASegment() throws {
        let gateway = try Gateway()
        try gateway.order(.rotate(number: 7))
        try gateway.turn()
        #expect(gateway.reports.last == .rotated(number: 7, failure: ""), "of nothing nothing is closed")
        #expect(try gateway.segments.count == 1)
        for number in UInt8(1)...3 { try record(gateway, number) }
        let session = try gateway.session(9)
        try session.send(permitted)
        try gateway.order(.rotate(number: 8))
        try gateway.turn()
        #expect(gateway.reports.contains(.rotated(number: 8, failure: "")))
        // What came before the order is in the segment that was closed.
        #expect(try gateway.segments.map(\.name) == ["trail.log.000000000001", "trail.log"])
        #expect(gateway.file("trail.log") == [])
        #expect(try gateway.checkpoints.map(\.checkpoint.position.sequence) == [4], "a closed segment is covered")
        let closed = try #require(gateway.file("trail.log.000000000001"))
        let last = try #require(closed.split(separator: 10).last)
        let end = try #require(ChainPosition(saidBy: last))
        try session.record(started, number: 2)
        let first = try #require(try gateway.lines.first)
        #expect(first.sequence == 5 && first.previous == end.head)
        try session.record(ended, number: 3)
        #expect(try gateway.lines.last?.previous == nil)
        #expect(try gateway.verifyAll().records == 6)
        let mode = try FileManager.default.attributesOfItem(atPath: gateway.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test(arguments: AuditSettings.Durability.sync.rawValue...AuditSettings.Durability.batch.rawValue)
    func aSegmentThatIsFullIsClosed(_ durability: UInt8) throws {
        var settings = AuditSettings()
        settings.durability = try #require(AuditSettings.Durability(rawValue: durability))
        settings.segmentSize = AuditSettings.segmentSizes.lowerBound
        let gateway = try Gateway(settings: settings)
        for number in 0..<150 {
            let session = try gateway.session(UInt8(number) + 1)
            let long = Record.notice(
                Record.Notice(
                    origin: origin, account: "alice", operation: "home",
                    detail: ByteText(Array(repeating: 0x78, count: 3_000))))
            #expect(try session.record(long) == [.durable(number: 1)])
        }
        let segments = try gateway.segments
        #expect(segments.count == 8)
        for segment in segments {
            let size = UInt64(gateway.file(segment.name)?.count ?? 0)
            #expect(size <= settings.segmentSize && size > 0)
        }
        #expect(try gateway.verifyAll().records == 150)
        try gateway.restart()
        try record(gateway, 200)
        #expect(try gateway.verifyAll().records == 151)
    }

    /// What a crash at each moment of closing leaves: before the first name changes, between the two, after the second.
    @Test(arguments: 0...3)
    func aCrashWhileASegmentIsClosedLosesNothing(_ moment: Int) throws {
        let gateway = try Gateway()
        for number in UInt8(1)...3 { try record(gateway, number) }
        try gateway.turn(after: 60_000)
        let folder = gateway.directory.path
        let rename = { (from: String, to: String) throws in
            try FileManager.default.moveItem(atPath: folder + "/" + from, toPath: folder + "/" + to)
        }
        try Data().write(to: URL(fileURLWithPath: folder + "/trail.log.next"))
        if moment >= 1 { try rename("trail.log", "trail.log.000000000001") }
        if moment >= 2 { try rename("trail.log.next", "trail.log") }
        if moment == 3 {
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder + "/trail.log")
        }
        try gateway.restart()
        try gateway.turn()
        #expect(gateway.reports == [.ready(sequence: 3, notices: [])])
        try record(gateway, 4)
        #expect(try gateway.lines.last?.sequence == 4)
        #expect(try gateway.lines.last?.previous != nil || moment == 0)
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        try record(gateway, 5)
        #expect(try gateway.verifyAll().records == 5)
        #expect(!(try gateway.names.contains("trail.log.next")))
    }

    /// The disk fails between a segment and its first record: nothing says that it was tampered with.
    @Test func aFreshSegmentThatIsOpenedAgainIsNothingToReport() throws {
        let gateway = try Gateway()
        try record(gateway, 1)
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        try gateway.restart()
        try gateway.turn()
        #expect(gateway.reports == [.ready(sequence: 1, notices: [])])
        try record(gateway, 2)
        #expect(try gateway.verifyAll().records == 2)
    }

    /// While the segment that follows has no record, nothing in it says what the closed one was: its checkpoint does.
    @Test(arguments: ["removed", "emptied", "cut", "torn", "written anew"])
    func aClosedSegmentIsHeldAgainstItsCheckpointBeforeTheNextHasARecord(_ change: String) throws {
        let gateway = try Gateway()
        for number in UInt8(1)...3 { try record(gateway, number) }
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        #expect(gateway.file("trail.log") == [])
        #expect(try gateway.checkpoints.last?.checkpoint.position.sequence == 3)
        let closed = gateway.directory.path + "/trail.log.000000000001"
        let lines = try #require(gateway.file("trail.log.000000000001")).split(separator: 10).map { $0 + [10] }
        var forged: [UInt8] = []
        switch change {
        case "removed": try FileManager.default.removeItem(atPath: closed)
        case "cut": forged = Array(lines.dropLast().joined())
        case "torn": forged = Array(lines.joined().dropLast(7))
        case "written anew":
            var chain = Chain(after: .start, digest: sha256)
            for line in lines {
                let line = try #require(TrailLine(line.dropLast()))
                chain.append(.record(refused(.noRule, from: "10.9.9.9")), line.stamp, to: &forged)
            }
        default: break
        }
        if change != "removed" { try Data(forged).write(to: URL(fileURLWithPath: closed)) }
        #expect(throws: TrailFault.self) { try gateway.verifyAll() }
        try gateway.restart()
        try gateway.turn()
        guard case .ready(_, let notices)? = gateway.reports.first else {
            Issue.record("\(gateway.reports)")
            return
        }
        let said =
            change == "written anew" ? "record 3 is not the one that the last checkpoint covers" : "it ends with record"
        #expect(notices.count == 1 && notices[0].hasPrefix(said), "\(notices)")
        try record(gateway, 4)
        #expect(try gateway.lines.map(\.sequence) == [4, 5], "what there is to say, and no number twice")
        // Without a line of it the trail begins with what was said of it, as one whose closed segments were taken elsewhere.
        let first: UInt64? = ["removed", "emptied"].contains(change) ? 4 : nil
        #expect((try? gateway.verifyAll())?.first == first)
    }

    @Test func aNameThatIsTakenIsNotTakenAway() throws {
        let gateway = try Gateway()
        try record(gateway, 1)
        let taken = gateway.directory.path + "/trail.log.000000000001"
        try Data("kept".utf8).write(to: URL(fileURLWithPath: taken))
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        guard case .rotated(1, let failure)? = gateway.reports.last else {
            Issue.record("\(gateway.reports)")
            return
        }
        #expect(failure.contains("trail.log.000000000001"))
        #expect(FileManager.default.contents(atPath: taken) == Data("kept".utf8))
        try record(gateway, 2)
        #expect(try gateway.lines.count == 2, "the segment grows on")
    }

    /// What stands in the live segment's place is no trail: what comes next follows the closed ones.
    @Test func afterAFileThatIsNoTrailTheClosedSegmentsAreGoneOnWith() throws {
        let gateway = try Gateway()
        for number in UInt8(1)...3 { try record(gateway, number) }
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        let path = gateway.directory.path + "/trail.log"
        try Data("hello\n".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try gateway.restart()
        try gateway.turn()
        #expect(try gateway.lines.first?.sequence == 4)
        #expect(try gateway.names.contains { $0.hasPrefix("trail.log.broken-") })
        #expect(try gateway.verifyAll().records == 4)
    }

    /// A session that ended in a closed segment is complete, and one that started there is not lost sight of.
    @Test func sessionsRunOnOverSegments() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(started, number: 2)
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
        try gateway.restart()
        try gateway.order(.recover)
        try gateway.turn()
        guard case .record(.end(let end))? = try gateway.entries.last, case .lost = end.outcome else {
            Issue.record("\(try gateway.entries)")
            return
        }
        #expect(try gateway.lines.last?.stamp.session == session.id)
        try gateway.verifyAll()
    }

    /// A clock that is set back changes times, and neither order nor numbers.
    @Test func aClockThatIsSetBackBreaksNothing() throws {
        let gateway = try Gateway()
        try record(gateway, 1)
        gateway.clock.wallOffset = -86_400_000
        try record(gateway, 2)
        try gateway.turn(after: 60_000)
        #expect(try gateway.checkpoints.count == 1)
        try gateway.order(.rotate(number: 1))
        try record(gateway, 3)
        #expect(try gateway.lines.last.map { $0.stamp.milliseconds < 1_795_212_781_000 } == true)
        try gateway.restart()
        try record(gateway, 4)
        #expect(try gateway.verifyAll().records == 4)
    }
}
