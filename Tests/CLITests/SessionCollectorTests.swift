// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import TestSupport
import Testing
import TrailCrypto

@testable import CLI

/// Sessions out of records.
@Suite struct SessionCollectorTests {
    private static let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
    private static let rule = RuleReference(name: "uptime", place: FilePlace(file: "p.policy", line: 3))

    private func id(_ number: UInt8) -> SessionID? { SessionID(bytes: Array(repeating: number, count: 16)) }

    private func login(_ refusal: Reason? = nil, count: Int = 1) -> Entry {
        .record(
            .login(
                Record.Login(
                    origin: Self.origin, account: "alice", remoteUser: "bob", refusal: refusal,
                    rule: refusal == nil ? Self.rule : nil, revision: Revision.none,
                    command: refusal == nil ? nil : Record.RefusedCommand("id"), count: count)))
    }

    private func command(_ text: String = "uptime") -> Entry {
        .record(
            .command(
                Record.Command(
                    origin: Self.origin, account: "alice", commandLine: ByteText(text), program: "/usr/bin/uptime",
                    argumentCount: 1, sandbox: "strict")))
    }

    private func end(_ outcome: Record.Outcome = .status(0), ms: UInt64 = 1_000, limit: String? = nil) -> Entry {
        .record(
            .end(
                Record.End(
                    origin: Self.origin, account: "alice", outcome: outcome, bytesIn: 1, bytesOut: 2, bytesErr: 3,
                    milliseconds: ms, limit: limit, leftovers: 0)))
    }

    private let denial = Entry.record(
        .denial(Record.Denial(origin: origin, account: "alice", subject: .call("mount"), count: 4)))

    /// The sessions of entries, each a second after the one before.
    private func sessions(_ entries: [(Entry, SessionID?)]) -> [TrailSession] {
        var chain = Chain(after: .start, digest: sha256)
        var text: [UInt8] = []
        for (index, (entry, session)) in entries.enumerated() {
            let stamp = Stamp(
                milliseconds: 1_000_000 + UInt64(index) * 1_000, session: session, sender: GeneratedTrail.sender)
            chain.append(entry, stamp, to: &text)
        }
        var collector = SessionCollector()
        var joiner = CommandJoiner()
        var found: [TrailSession] = []
        for bytes in text.split(separator: UInt8(ascii: "\n")) {
            guard let line = TrailLine(bytes), let entry = Entry(line: line) else {
                Issue.record("not a record")
                continue
            }
            joiner.take(line, entry) { event in collector.take(event) { found.append($0) } }
        }
        joiner.finish { event in collector.take(event) { found.append($0) } }
        collector.finish { found.append($0) }
        return found
    }

    @Test func aSessionHasWhatEachOfItsRecordsSays() throws {
        let found = sessions([(login(), id(1)), (command(), id(1)), (end(), id(1))])
        let session = try #require(found.first)
        #expect(found.count == 1)
        #expect(session.state == .exited && session.result == "exit 0")
        #expect(session.began == 1_000_000 && session.started == 1_001_000 && session.finished == 1_002_000)
        #expect(session.account == "alice" && session.remoteUser == "bob" && session.rule == Self.rule)
        #expect(session.command == "uptime" && session.sandbox == "strict" && session.bytes == 6)
    }

    @Test func sessionsThatOverlapAreKeptApart() {
        let found = sessions([
            (login(), id(1)), (login(), id(2)), (command("one"), id(1)), (command("two"), id(2)), (end(), id(2)),
            (end(.signal(15)), id(1)),
        ])
        #expect(found.map(\.command) == ["two", "one"])
        #expect(found.map(\.result) == ["exit 0", "SIGTERM"])
    }

    @Test func howASessionEndedIsTold() {
        let found = sessions([
            (command(), id(1)), (end(.status(3)), id(1)), (command(), id(2)),
            (end(.signal(9), limit: "timeout"), id(2)),
            (command(), id(3)), (end(.lost(reason: "killed")), id(3)), (login(.noRule), id(4)), (command(), id(5)),
        ])
        var results: [SessionID?: String] = [:]
        for session in found { results[session.session] = session.result }
        #expect(
            results == [
                id(1): "exit 3", id(2): "limit timeout", id(3): "lost", id(4): "refused", id(5): "running",
            ])
        #expect(found.first { $0.session == id(3) }?.duration == nil)
        #expect(found.first { $0.session == id(5) }?.state == .running)
    }

    /// The next start of the gateway records what was lost; what is still open then has nobody.
    @Test func aSessionThatTheGatewayDidNotOutliveDoesNotRun() {
        let found = sessions([
            (command(), id(1)), (.record(.serviceStart(unit: "portcullisd")), nil), (command(), id(2)),
            (.record(.serviceStart(unit: "portcullis-front")), nil),
        ])
        #expect(found.map(\.state) == [.endless, .running])
    }

    @Test func aDenialThatComesAfterTheEndIsCounted() {
        let found = sessions([(command(), id(1)), (denial, id(1)), (end(), id(1)), (denial, id(1))])
        #expect(found.map(\.denials) == [8])
    }

    /// So late it is nobody's any more, and makes a session of its own rather than none.
    @Test func aDenialThatComesMuchLaterIsNotLost() {
        let others = (0..<6).map { (login(.noRule), id(100 + $0)) }
        let found = sessions([(command(), id(1)), (end(), id(1))] + others + [(denial, id(1))])
        #expect(found.reduce(0) { $0 + $1.denials } == 4)
    }

    @Test func whatTheTrailBeginsWithinIsPutTogetherFromItsEnd() throws {
        let session = try #require(sessions([(end(ms: 400_000), id(1))]).first)
        #expect(session.began == 600_000 && session.finished == 1_000_000)
        #expect(session.command == nil && session.account == "alice" && session.address == IPAddress("10.1.2.3"))
    }

    @Test func aPermitThatCouldNotBeLaunchedIsARefusalWithItsRule() throws {
        let found = sessions([(login(), id(1)), (login(.auditUnavailable), id(1))])
        #expect(found.count == 1)
        #expect(found.first?.refusal == .auditUnavailable && found.first?.rule == Self.rule)
    }

    @Test func refusalsWithoutASessionStandAlone() {
        let found = sessions([(login(.limit), nil), (login(.limit, count: 40), nil), (.lostRequest(.unavailable), nil)])
        #expect(found.map(\.count) == [1, 40, 1])
        #expect(found.allSatisfy { $0.state == .refused })
    }

    @Test func aLongCommandIsOneAndIsCut() throws {
        let text = String(repeating: "x", count: 131_071)
        let session = try #require(sessions([(command(text), id(1)), (end(), id(1))]).first)
        #expect(session.commandLength == 131_071)
        #expect(session.command?.count == TrailSession.commandLimit)
        #expect(session.shownCommand(limit: 10) == "xxxxxxxxx…")
    }

    /// A trail in which nothing ever ends is read with as much memory as one session more or less.
    @Test func onlySoManySessionsAreKept() {
        var collector = SessionCollector()
        var given = 0
        let text = LineOf.start
        for number in 0..<(SessionCollector.limit + 500) {
            guard var event = text else { return }
            event.renumber(UInt64(number))
            collector.take(event) { _ in given += 1 }
        }
        #expect(given == 500)
        collector.finish { _ in given += 1 }
        #expect(given == SessionCollector.limit + 500)
    }

    @Test func whatIsBeyondATallysLimitIsCountedTogether() {
        var tally = Tally<Int>(limit: 3)
        for key in [1, 2, 3, 4, 5, 1, 4] { tally.add(key, Tally<Int>.Count(requests: 1, refused: 1, bytes: 10)) }
        #expect(tally.distinct == 3)
        #expect(tally[1]?.requests == 2 && tally[4] == nil)
        #expect(tally.others == Tally<Int>.Count(requests: 3, refused: 3, bytes: 30))
        #expect(tally.most(2, name: { "\($0)" }).map(\.key) == [1, 2])
    }
}

/// One start of a command, as often as it is wanted.
private enum LineOf {
    static let start: TrailEvent? = {
        var chain = Chain(after: .start, digest: sha256)
        var text: [UInt8] = []
        let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
        let command = Record.Command(
            origin: origin, account: "alice", commandLine: "id", program: "/usr/bin/id", argumentCount: 1,
            sandbox: "strict")
        let stamp = Stamp(
            milliseconds: 1_000_000, session: SessionID(bytes: Array(repeating: 1, count: 16)),
            sender: GeneratedTrail.sender)
        chain.append(.record(.command(command)), stamp, to: &text)
        guard let line = TrailLine(text.dropLast()[...]), let entry = Entry(line: line) else { return nil }
        return TrailEvent(line: line, entry: entry)
    }()
}

extension TrailEvent {
    /// The same record of another session.
    fileprivate mutating func renumber(_ number: UInt64) {
        let digits = (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
        var line = line
        line.stamp.session = SessionID(bytes: digits + Array(repeating: 0, count: 8))
        self = TrailEvent(line: line, entry: entry)
    }
}
