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

/// A start has its end, however far back it lies and whoever died; and what is written down for that is believed where it is
/// whole and of this trail.
@Suite("Open sessions") struct OpenSessionsTests {
    private static let name = "trail.sessions"

    /// The sessions that the trail says were lost.
    private func losses(_ gateway: Gateway) throws -> [SessionID] {
        try ends(gateway).compactMap { line in
            guard case .record(.end(let end))? = Entry(line: line), case .lost = end.outcome else { return nil }
            return line.stamp.session
        }
    }

    /// All USER_END lines of all segments.
    private func ends(_ gateway: Gateway) throws -> [TrailLine] {
        try gateway.segments.flatMap { segment -> [TrailLine] in
            try (gateway.file(segment.name) ?? []).split(separator: UInt8(ascii: "\n"))
                .map { try #require(TrailLine($0)) }.filter { $0.type == .end }
        }
    }

    /// Requests that come and go.
    private func serve(_ gateway: Gateway, _ bytes: ClosedRange<UInt8>) throws {
        for byte in bytes {
            let session = try gateway.session(byte)
            try session.record(permitted)
            try session.record(started, number: 2)
            try session.record(ended, number: 3)
        }
    }

    private func start(_ gateway: Gateway, _ byte: UInt8) throws -> TestSession {
        let session = try gateway.session(byte)
        try session.record(permitted)
        try session.record(started, number: 2)
        return session
    }

    private func rotate(_ gateway: Gateway) throws {
        try gateway.order(.rotate(number: 1))
        try gateway.turn()
    }

    private func recover(_ gateway: Gateway) throws {
        try gateway.order(.recover)
        try gateway.turn()
    }

    /// Several segments; a start in each of the first two has no end.
    private func fill(
        _ gateway: Gateway, keeping: Bool, from byte: UInt8 = 0
    ) throws -> (first: TestSession, second: TestSession, older: [UInt8]?) {
        if keeping { gateway.auditor.trail.keepingInterval = 1 }
        let first = try start(gateway, byte + 1)
        let older = gateway.file(Self.name)
        try serve(gateway, byte + 2...byte + 5)
        try rotate(gateway)
        let second = try start(gateway, byte + 6)
        try serve(gateway, byte + 7...byte + 9)
        try rotate(gateway)
        try rotate(gateway)
        try serve(gateway, byte + 10...byte + 12)
        return (first, second, older)
    }

    /// The start lies in the first of several closed segments; with what was written down, without it, and with what it is
    /// when somebody changed it, cut it, or put an older one there.
    @Test(arguments: ["kept", "none", "once a segment", "changed", "cut", "empty", "older", "of another trail"])
    func aStartInAnySegmentHasItsEnd(kept: String) throws {
        let gateway = try Gateway()
        let (first, second, older) = try fill(gateway, keeping: kept != "once a segment")
        let path = gateway.directory.path + "/" + Self.name
        var text = gateway.file(Self.name) ?? []
        #expect(!text.isEmpty)
        switch kept {
        case "none": try FileManager.default.removeItem(atPath: path)
        case "changed":
            // The session's end is claimed; the digest is no longer right.
            text.insert(contentsOf: Array("ended \(first.id)\n".utf8), at: 0)
            try Data(text).write(to: URL(fileURLWithPath: path))
        case "cut": try Data(text.dropLast(80)).write(to: URL(fileURLWithPath: path))
        case "empty": try Data().write(to: URL(fileURLWithPath: path))
        case "older": try Data(try #require(older)).write(to: URL(fileURLWithPath: path))
        case "of another trail":
            // The same lengths at the same places; other sessions.
            let other = try Gateway()
            _ = try fill(other, keeping: true, from: 100)
            try Data(try #require(other.file(Self.name))).write(to: URL(fileURLWithPath: path))
        default: break
        }
        try gateway.restart()
        try recover(gateway)
        #expect(try losses(gateway) == [first.id, second.id], "\(kept)")
        #expect(try ends(gateway).count == 12)
        // And no other time.
        try gateway.restart()
        try recover(gateway)
        #expect(try ends(gateway).count == 12)
        try gateway.verifyAll()
    }

    /// With what was written down a start reads the end of the trail alone: a line before it that is none is not seen.
    @Test func aStartReadsNoMoreThanWhatCameSince() throws {
        let gateway = try Gateway()
        gateway.auditor.trail.keepingInterval = 1
        let first = try start(gateway, 1)
        try rotate(gateway)
        try serve(gateway, 2...3)
        let closed = gateway.directory.path + "/" + (try #require(gateway.segments.first?.name))
        try FileManager.default.removeItem(atPath: closed)
        try gateway.restart()
        try recover(gateway)
        #expect(try losses(gateway) == [first.id])
    }

    /// A closed segment that was copied away may be removed once the next one has a record that is on disk, however little the
    /// trail has grown.
    @Test(arguments: [AuditSettings.Durability.sync, .batch])
    func aStartInASegmentThatWasTakenAwayHasItsEnd(_ durability: AuditSettings.Durability) throws {
        var settings = AuditSettings()
        settings.durability = durability
        let gateway = try Gateway(settings: settings)
        let first = try start(gateway, 1)
        for byte in UInt8(2)...3 {
            try rotate(gateway)
            try serve(gateway, byte...byte)
            try gateway.turn(after: 1_000)
            let closed = try #require(gateway.segments.first { $0.first != nil })
            try FileManager.default.removeItem(atPath: gateway.directory.path + "/" + closed.name)
        }
        try gateway.restart()
        try recover(gateway)
        #expect(try losses(gateway) == [first.id])
    }

    /// The auditor died before it wrote down what a segment that was closed leaves open: the next one does, but not before it
    /// knows which sessions are there.
    @Test func whatAClosedSegmentLeavesOpenIsWrittenDownByTheNextAuditor() throws {
        let gateway = try Gateway()
        _ = try start(gateway, 1)
        try rotate(gateway)
        try serve(gateway, 2...2)
        try FileManager.default.removeItem(atPath: gateway.directory.path + "/" + Self.name)
        try gateway.restart()
        let running = try gateway.session(1, hasStarted: true)
        try gateway.turn()
        #expect(gateway.file(Self.name) == nil)
        try recover(gateway)
        let closed = try #require(gateway.segments.first { $0.first != nil })
        try FileManager.default.removeItem(atPath: gateway.directory.path + "/" + closed.name)
        try gateway.restart()
        try recover(gateway)
        #expect(try losses(gateway) == [running.id])
    }

    /// What cannot be written down leaves no half of it, and what was there; what is too long is not begun.
    @Test func whatCannotBeWrittenDownLeavesNothing() throws {
        let place = try TemporaryDirectory()
        let directory = try File.open(place.path, [.reading, .directory])
        let names = { try FileManager.default.contentsOfDirectory(atPath: place.path).sorted() }
        try OpenSessionsFile.write(Array("former".utf8), in: directory)
        #expect(throws: SystemError(27, Self.name)) {
            try OpenSessionsFile.write(Array(repeating: 0, count: OpenSessionsFile.limit + 1), in: directory)
        }
        #expect(try names() == [Self.name])
        #expect(FileManager.default.contents(atPath: place.path + "/" + Self.name) == Data("former".utf8))
        // A directory is not replaced by a file.
        let path = place.path + "/" + Self.name
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        #expect(throws: SystemError.self) { try OpenSessionsFile.write(Array("next".utf8), in: directory) }
        #expect(try names() == [Self.name])
    }

    /// How much of the trail is read is said before, where it is much: what is behind the place alone, or all of it.
    @Test func howMuchIsReadIsSaidBefore() throws {
        let gateway = try Gateway()
        _ = try start(gateway, 1)
        try rotate(gateway)
        try serve(gateway, 2...3)
        let sizes = try gateway.segments.map { Int64(gateway.file($0.name)?.count ?? 0) }
        let directory = try File.open(gateway.directory.path, [.reading, .directory])
        var said: [Int64] = []
        let all = sizes.reduce(0, +)
        let rest = try OpenSessionsFile.find(in: directory, digest: sha256, from: 1) { said.append($0) }
        #expect(said == [rest.read] && rest.read > 0 && rest.read < all)
        try FileManager.default.removeItem(atPath: gateway.directory.path + "/" + Self.name)
        said = []
        _ = try OpenSessionsFile.find(in: directory, digest: sha256, from: all + 1) { said.append($0) }
        #expect(said.isEmpty)
        let found = try OpenSessionsFile.find(in: directory, digest: sha256, from: all) { said.append($0) }
        #expect(said == [all] && found.read == all)
    }

    /// An auditor alone was replaced: what runs goes on, from whichever segment it is.
    @Test func whatRunsIsNotLost() throws {
        let gateway = try Gateway()
        gateway.auditor.trail.keepingInterval = 1
        _ = try start(gateway, 1)
        let gone = try start(gateway, 2)
        try rotate(gateway)
        try serve(gateway, 3...4)
        try gateway.restart()
        let running = try gateway.session(1, hasStarted: true)
        try recover(gateway)
        #expect(try losses(gateway) == [gone.id])
        #expect(try running.record(ended, number: 7) == [.durable(number: 7)])
        #expect(try ends(gateway).count == 4)
        try gateway.restart()
        try recover(gateway)
        #expect(try ends(gateway).count == 4)
    }

    /// A client that reads slowly keeps its session long after the end was recorded: the end is known however many others came
    /// since, so that neither the session nor its death makes another one.
    @Test(arguments: [false, true]) func anEndIsKnownAsLongAsItsSessionIsThere(dies: Bool) throws {
        let gateway = try Gateway()
        gateway.auditor.trail.keepingInterval = 1
        let slow = try start(gateway, 1)
        try slow.record(ended, number: 3)
        // So many that it is no longer among the last that are written down; they are gone.
        for number in 0..<2_500 {
            let bytes = Array(repeating: 0, count: 14) + [UInt8(number / 256), UInt8(number % 256)]
            let id = try #require(SessionID(bytes: bytes))
            let (own, other) = try Channel.pair()
            try gateway.order(.session(session: id, pid: 1, hasStarted: false), [other.descriptor])
            try gateway.turn()
            let session = TestSession(id: id, channel: own, gateway: gateway)
            try session.record(refused(.noRule, from: "10.9.\(number % 250).1"))
        }
        try gateway.turn()
        let count = try ends(gateway).count
        try gateway.restart()
        let again = try gateway.session(1, hasStarted: true)
        try recover(gateway)
        if dies {
            try gateway.order(.sessionLost(session: slow.id, reason: .unavailable))
            try gateway.turn()
        } else {
            #expect(try again.record(ended, number: 3) == [.durable(number: 3)])
        }
        #expect(try ends(gateway).count == count)
        #expect(try gateway.lines.last?.type == .login, "nothing more is said of it")
    }

    /// The launch failed after its start was recorded: there is a refusal and an end, however many refusals there are.
    @Test func aLaunchThatFailsHasAnEnd() throws {
        let gateway = try Gateway()
        for byte in UInt8(1)...20 {
            let session = try start(gateway, byte)
            try session.record(refused(.sandboxUnavailable), number: 3)
        }
        #expect(try losses(gateway).count == 20)
        #expect(try ends(gateway).allSatisfy { $0["cause"] == "sandbox-unavailable" })
        try gateway.restart()
        try recover(gateway)
        #expect(try ends(gateway).count == 20)
    }

    /// The same, and the auditor died between the two lines.
    @Test(arguments: [false, true]) func aLaunchThatFailedHasAnEndAfterACrash(isThere: Bool) throws {
        let gateway = try Gateway()
        let session = try start(gateway, 1)
        try session.record(refused(.sandboxUnavailable), number: 3)
        let lines = gateway.text.split(separator: UInt8(ascii: "\n"))
        try Data(lines.dropLast().joined(separator: [UInt8(ascii: "\n")]) + [UInt8(ascii: "\n")])
            .write(to: URL(fileURLWithPath: gateway.path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: gateway.path)
        try gateway.restart()
        let again = isThere ? try gateway.session(1) : nil
        try recover(gateway)
        #expect(try losses(gateway) == [session.id])
        let answers = try again?.record(refused(.sandboxUnavailable), number: 3) ?? []
        #expect(answers == (isThere ? [.durable(number: 3)] : []))
        #expect(try gateway.lines.count == 4)
    }

    /// A segment that was moved aside because its chain is broken had sessions, too.
    @Test func aStartInABrokenSegmentHasItsEnd() throws {
        let gateway = try Gateway()
        let session = try start(gateway, 1)
        var text = gateway.text
        text[text.count - 10] ^= 1
        try Data(text).write(to: URL(fileURLWithPath: gateway.path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: gateway.path)
        try gateway.restart()
        try recover(gateway)
        #expect(try gateway.names.contains { $0.hasPrefix("trail.log.broken-") })
        #expect(try losses(gateway) == [session.id])
    }

    /// The auditor before still holds the trail when the next one hears which sessions run: what the trail says comes first.
    @Test func whatTheTrailLeftOpenIsFoundHoweverLateItOpens() throws {
        let former = try Gateway()
        let gone = try start(former, 1)
        let running = try start(former, 2)
        try running.record(ended, number: 3)
        let next = try Gateway(in: former.directory, recovering: false)
        let again = try next.session(2, hasStarted: true)
        try next.order(.recover)
        try again.send(ended, number: 3)
        try next.turn()
        #expect(try again.answers().isEmpty, "it was answered before the trail was read")
        try former.moveElsewhere()
        var tries = 0
        while try losses(next).isEmpty, tries < 500 {
            tries += 1
            Clock.sleep(milliseconds: 10)
            try next.turn(after: 300)
        }
        #expect(try losses(next) == [gone.id])
        #expect(try ends(next).count == 2)
    }
}
