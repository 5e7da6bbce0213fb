// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import Testing

@testable import AuditorService

/// Beyond ten refusals a second from one source, one record a second stands for the further ones of a reason.
@Suite struct FloodTests {
    private func counts(_ gateway: Gateway) throws -> [(reason: Reason?, count: Int, session: SessionID?)] {
        try gateway.lines.map { line in
            guard case .record(.login(let login))? = Entry(line: line) else { return (nil, 0, nil) }
            return (login.refusal, login.count, line.stamp.session)
        }
    }

    @Test func furtherRefusalsAreCounted() throws {
        let gateway = try Gateway()
        let (front, other) = try Channel.pair()
        try gateway.order(.front(pid: 200), [other.descriptor])
        try gateway.turn()
        for number in 0..<25 {
            let reason: Reason = number < 20 ? .sourcePort : .limit
            try front.send(RecordFrame.record(number: 1, record: refused(reason)).encoded(), waiting: false)
        }
        try front.send(
            RecordFrame.record(number: 1, record: refused(.limit, from: "10.9.9.9")).encoded(), waiting: false)
        try gateway.turn()
        #expect(try counts(gateway).map(\.count) == Array(repeating: 1, count: 11))
        try gateway.turn(after: 1_000)
        let later = try counts(gateway).dropFirst(11).sorted { $0.count > $1.count }
        #expect(later.map(\.count) == [10, 5])
        #expect(later.map(\.reason) == [.sourcePort, .limit])
        // The next second begins anew.
        try front.send(RecordFrame.record(number: 1, record: refused(.limit)).encoded(), waiting: false)
        try gateway.turn()
        #expect(try counts(gateway).last?.count == 1)
        #expect(try gateway.verify().sequence == 14)
    }

    /// A session that is refused in a flood need not wait for the second to end.
    @Test func aCountedRefusalIsAnsweredAtOnce() throws {
        let gateway = try Gateway()
        for number in 1...12 {
            #expect(try gateway.session(UInt8(number)).record(refused(.noRule)) == [.durable(number: 1)])
        }
        #expect(try gateway.lines.count == 10)
        try gateway.turn(after: 1_000)
        let last = try #require(try counts(gateway).last)
        #expect(last.count == 2)
        // It speaks of two sessions, and so names none.
        #expect(last.session == nil)
    }

    /// An answer says that all before it is on disk, too: one to what is only counted waits for what its session sent before.
    @Test func aCountedRefusalIsNotAnsweredBeforeWhatTheSessionSentBefore() throws {
        let gateway = try Gateway()
        for number in 1...10 { try gateway.session(UInt8(number)).record(refused(.noRule)) }
        let session = try gateway.session(11)
        try session.send(noticed, number: 1)
        try session.send(refused(.noRule), number: 2)
        try gateway.turn()
        #expect(try session.answers() == [.durable(number: 1), .durable(number: 2)])
        #expect(try gateway.lines.count == 11)
    }

    @Test func aSingleFurtherRefusalKeepsItsSession() throws {
        let gateway = try Gateway()
        for number in 1...11 { try gateway.session(UInt8(number)).record(refused(.noRule)) }
        try gateway.turn(after: 1_000)
        let last = try #require(try counts(gateway).last)
        #expect(last.count == 1)
        #expect(last.session == SessionID(bytes: Array(repeating: 11, count: 16)))
    }

    /// A record of several requests names a command only where all asked for the same.
    @Test(arguments: [("id", "id", true), ("id", "id -u", false)] as [(ByteText, ByteText, Bool)])
    func aCountedRefusalNamesTheCommandThatAllHad(_ one: ByteText, _ other: ByteText, _ isNamed: Bool) throws {
        let gateway = try Gateway()
        for number in 1...10 { try gateway.session(UInt8(number)).record(refused(.noRule, command: one)) }
        for number in 11...13 {
            let command = number == 12 ? other : one
            try gateway.session(UInt8(number)).record(refused(.noRule, command: command))
        }
        try gateway.turn(after: 1_000)
        let commands = try gateway.entries.map { entry -> ByteText? in
            guard case .record(.login(let login)) = entry else { return nil }
            return login.command?.text
        }
        #expect(commands == Array(repeating: one, count: 10) + [isNamed ? one : nil])
        #expect(try counts(gateway).last?.count == 3)
    }

    /// However many refusals a source sends, and however long their commands: a second of it takes eleven lines.
    @Test func aFloodOfLongCommandsTakesElevenLines() throws {
        let gateway = try Gateway()
        let long = ByteText(Array(repeating: 0x27, count: 131_071))
        for number in 0..<200 { try gateway.session(UInt8(number + 1)).record(refused(.noRule, command: long)) }
        try gateway.turn(after: 1_000)
        #expect(try gateway.lines.count == 11)
        #expect(gateway.text.count <= 11 * TrailFormat.lineLimit)
        try gateway.verify()
    }

    @Test func whatIsCountedIsWrittenAtStop() throws {
        let gateway = try Gateway()
        for number in 1...15 { try gateway.session(UInt8(number)).record(refused(.noRule)) }
        try gateway.order(.stop)
        try gateway.turn()
        #expect(try counts(gateway).map(\.count).reduce(0, +) == 15)
    }

    /// Front counts, too, where its channel has no room.
    @Test func whatFrontCountedIsAddedUp() throws {
        let gateway = try Gateway()
        let (front, other) = try Channel.pair()
        try gateway.order(.front(pid: 200), [other.descriptor])
        try gateway.turn()
        for _ in 0..<12 {
            let frame = RecordFrame.record(number: 1, record: refused(.limit, count: 7))
            try front.send(frame.encoded(), waiting: false)
        }
        try gateway.turn()
        try gateway.turn(after: 1_000)
        #expect(try counts(gateway).map(\.count) == Array(repeating: 7, count: 10) + [14])
    }

    @Test func permitsAreNeverCounted() throws {
        let gateway = try Gateway()
        for number in 1...30 { try gateway.session(UInt8(number)).record(permitted) }
        #expect(try gateway.lines.count == 30)
    }
}
