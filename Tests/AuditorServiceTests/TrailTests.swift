// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Messages
import Testing

@testable import AuditorService

/// What the auditor finds at start, and what it does when the disk fails.
@Suite struct TrailTests {
    /// A trail with one session on it.
    private func filled() throws -> Gateway {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        for record in [permitted, started, ended] { try session.record(record) }
        return gateway
    }

    private func change(_ gateway: Gateway, _ change: (inout [UInt8]) -> Void) throws {
        var bytes = gateway.text
        change(&bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: gateway.path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: gateway.path)
    }

    @Test func aWholeTrailIsGoneOnWith() throws {
        let gateway = try filled()
        try gateway.restart()
        try gateway.turn()
        #expect(gateway.reports == [.ready(sequence: 3, notices: [])])
        try gateway.session(2).record(refused(.noRule))
        #expect(try gateway.verify().sequence == 4)
    }

    @Test(arguments: ["type=USER_LOGIN msg=audit(17952", "\u{0}\u{0}\u{0}", "x"])
    func aTornLastLineIsSetAside(_ torn: String) throws {
        let gateway = try filled()
        try change(gateway) { $0 += Array(torn.utf8) }
        try gateway.restart()
        try gateway.turn()
        let aside = try #require(try gateway.names.first { $0.hasPrefix("trail.log.torn-") })
        #expect(FileManager.default.contents(atPath: gateway.directory.path + "/" + aside) == Data(torn.utf8))
        // It says so, on the trail and to the monitor.
        guard case .note(let note)? = try gateway.entries.last else {
            Issue.record("no note")
            return
        }
        #expect(note.subject == .tornLine)
        #expect(note.detail.printable.contains(aside))
        #expect(gateway.reports == [.ready(sequence: 4, notices: [note.detail.printable])])
        #expect(try gateway.verify().sequence == 4)
    }

    @Test func aBrokenChainIsMovedAsideAndNotAppendedTo() throws {
        let gateway = try filled()
        let before = try gateway.verify()
        try change(gateway) { $0[$0.count / 2] ^= 1 }
        let broken = gateway.text
        try gateway.restart()
        try gateway.turn()
        let aside = try #require(try gateway.names.first { $0.hasPrefix("trail.log.broken-") })
        #expect(FileManager.default.contents(atPath: gateway.directory.path + "/" + aside) == Data(broken))
        let first = try #require(try gateway.lines.first)
        #expect(first.previous == before.head)
        #expect(first.sequence == 4)
        #expect(try gateway.verify(after: before).sequence == 4)
        guard case .note(let note)? = Entry(line: first) else {
            Issue.record("no note")
            return
        }
        #expect(note.subject == .brokenChain)
        try gateway.session(2).record(refused(.noRule))
        #expect(try gateway.verify().sequence == 5)
    }

    @Test func aFileThatIsNoTrailIsMovedAside() throws {
        let gateway = try filled()
        try change(gateway) { $0 = Array("hello\n".utf8) }
        try gateway.restart()
        try gateway.turn()
        #expect(try gateway.names.contains { $0.hasPrefix("trail.log.broken-") })
        #expect(try gateway.lines.first?.sequence == 1)
        #expect(try gateway.lines.first?.previous == .zero)
        try gateway.verify()
    }

    /// Root must not be led elsewhere by what stands where the trail belongs.
    @Test func aLinkIsNotFollowed() throws {
        let directory = try TemporaryDirectory()
        let elsewhere = directory.path + "/elsewhere"
        try Data().write(to: URL(fileURLWithPath: elsewhere))
        try FileManager.default.createSymbolicLink(
            atPath: directory.path + "/trail.log", withDestinationPath: elsewhere)
        let gateway = try Gateway(in: directory)
        #expect(try gateway.session(1).record(permitted) == [.failed(number: 1)])
        #expect(FileManager.default.contents(atPath: elsewhere) == Data())
        try FileManager.default.removeItem(atPath: directory.path + "/trail.log")
        try FileManager.default.linkItem(atPath: elsewhere, toPath: directory.path + "/trail.log")
        try gateway.turn(after: 2_000)
        #expect(try gateway.session(2).record(permitted) == [.failed(number: 1)])
        // When it is out of the way, the trail begins.
        try FileManager.default.removeItem(atPath: directory.path + "/trail.log")
        try gateway.turn(after: 2_000)
        #expect(try gateway.session(3).record(permitted) == [.durable(number: 1)])
    }

    /// While somebody takes the trail away, what was written stays, and a new segment says what happened.
    @Test func aTrailThatIsTakenAwayIsGoneOnWithInANewSegment() throws {
        let gateway = try filled()
        let position = try gateway.verify()
        try FileManager.default.moveItem(atPath: gateway.path, toPath: gateway.path + ".1")
        try gateway.turn(after: 2_000)
        try gateway.turn(after: 2_000)
        #expect(try gateway.lines.first?.previous == position.head)
        #expect(try gateway.verify(after: position).sequence > position.sequence)
    }

    @Test func aTrailThatIsCutWhileItIsWrittenIsMovedAside() throws {
        let gateway = try filled()
        let position = try gateway.verify()
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: gateway.path))
        let end = try #require(gateway.text.firstIndex(of: UInt8(ascii: "\n")))
        try handle.truncate(atOffset: UInt64(end) + 1)
        try gateway.turn(after: 2_000)
        try gateway.turn(after: 2_000)
        #expect(try gateway.names.contains { $0.hasPrefix("trail.log.broken-") })
        #expect(try gateway.verify(after: position).sequence > position.sequence)
    }

    /// Two auditors on one trail: the second one writes nothing, and goes on by itself when the first one has gone.
    @Test func aSecondAuditorWaitsForTheFirst() throws {
        let first = try filled()
        let second = try Gateway(in: first.directory)
        #expect(try second.session(9).record(permitted) == [.failed(number: 1)])
        guard case .state(false, _, let text)? = second.reports.last else {
            Issue.record("\(second.reports)")
            return
        }
        #expect(text.contains("another auditor writes it"))
        #expect(try first.session(2).record(permitted) == [.durable(number: 1)])
        #expect(try first.lines.count == 4)
        // The first one lets go of its lock.
        let position = try first.verify()
        try first.moveElsewhere()
        for _ in 0..<500 {
            try second.turn(after: 1_000)
            if second.reports.contains(where: { if case .ready = $0 { true } else { false } }) { break }
            Clock.sleep(milliseconds: 10)
        }
        #expect(try second.session(3).record(permitted) == [.durable(number: 1)])
        // With a record that it could not write before.
        #expect(try second.verify().sequence == position.sequence + 2)
    }

    /// In batches nothing waits longer than a second for the disk.
    @Test func aBatchIsOnDiskWithinASecond() throws {
        var settings = AuditSettings()
        settings.durability = .batch
        let gateway = try Gateway(settings: settings)
        #expect(try gateway.session(1).record(permitted) == [.durable(number: 1)])
        #expect(!gateway.auditor.trail.isSettled)
        let now = gateway.clock.milliseconds
        #expect(gateway.auditor.trail.due(now: now) <= now + 1_000)
        try gateway.turn(after: gateway.auditor.trail.due(now: now) - now)
        #expect(gateway.auditor.trail.isSettled)
    }

    @Test func inBatchesARecordIsAnsweredBeforeItIsOnDisk() throws {
        var settings = AuditSettings()
        settings.durability = .batch
        let gateway = try Gateway(settings: settings)
        let session = try gateway.session(1)
        #expect(try session.record(permitted) == [.durable(number: 1)])
        try gateway.turn(after: 1_000)
        #expect(try gateway.verify().sequence == 1)
    }
}

/// A disk that is full and is emptied again: a small tmpfs.
@Suite(.enabled(if: SmallDisk.canBeMade, "needs root and mount(8)"), .serialized) struct FullDiskTests {
    @Test func nothingRunsUnrecordedAndEndsAreWrittenLater() throws {
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory)
        let running = try gateway.session(1)
        try running.record(permitted)
        #expect(try running.record(started) == [.durable(number: 1)])
        try disk.fill()
        // A new request is refused: its start cannot be recorded, and is not recorded later either.
        let late = try gateway.session(2)
        try late.send(permitted, number: 1)
        try late.send(started, number: 2)
        try gateway.turn()
        var answers = try late.answers()
        for count in 0..<20 where !answers.contains(.failed(number: 2)) {
            // The last page of the file may have room for a few.
            let next = try gateway.session(UInt8(50 + count))
            try next.send(permitted, number: 1)
            try next.send(started, number: 2)
            try gateway.turn()
            answers = try next.answers()
        }
        #expect(answers.contains(.failed(number: 2)))
        #expect(gateway.reports.contains { if case .state(false, _, _) = $0 { true } else { false } })
        try gateway.verify()
        let recorded = try gateway.lines.count

        // The command that runs ends, and its record waits.
        #expect(try running.record(ended, number: 9) == [.failed(number: 9)])
        #expect(try gateway.lines.count == recorded)
        try disk.empty()
        try gateway.turn(after: 1_000)
        let entries = try gateway.entries
        #expect(entries.contains(.record(ended)))
        #expect(entries.contains { if case .note(let note) = $0 { note.subject == .writableAgain } else { false } })
        #expect(gateway.reports.contains { if case .state(true, _, _) = $0 { true } else { false } })
        try gateway.verify()
        #expect(try gateway.session(3).record(permitted) == [.durable(number: 1)])
    }

    /// A session that starts and dies in one turn in which nothing can be written never ran: it has no start on the trail, and
    /// so no end, but a refusal. So has one that says itself that it ended, or was refused.
    @Test(arguments: ["lost", "ended", "refused"]) func aStartThatIsDroppedLeavesNoEnd(_ word: String) throws {
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory)
        let sessions = try (UInt8(1)...30).map { try gateway.session($0) }
        for session in sessions { try session.record(permitted) }
        try disk.fill()
        // The last page of the file may have room for a few.
        for session in sessions {
            try session.send(started, number: 2)
            switch word {
            case "lost": try gateway.order(.sessionLost(session: session.id, reason: .unavailable))
            case "ended": try session.send(ended, number: 3)
            default: try session.send(refused(.sandboxUnavailable), number: 3)
            }
            try gateway.turn()
        }
        try disk.empty()
        try gateway.turn(after: 1_000)
        let lines = try gateway.lines
        let with = { (type: RecordType) in Set(lines.filter { $0.type == type }.compactMap(\.stamp.session)) }
        #expect(with(.command).count < sessions.count)
        #expect(with(.end) == with(.command))
        for session in sessions where !with(.command).contains(session.id) {
            let logins = lines.filter { $0.type == .login && $0.stamp.session == session.id }
            let refusals = logins.compactMap { $0["reason"] }
            let reason = ["lost": "unavailable", "ended": "audit-unavailable"][word] ?? "sandbox-unavailable"
            #expect(refusals == [ByteText(reason)])
        }
        try gateway.verify()
    }

    /// Refusals are all that comes while nothing can be written: they wait with the beginning of their commands.
    @Test func aRefusalWaitsWithTheBeginningOfItsCommand() throws {
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory)
        try disk.fill()
        let command = ByteText(Array(repeating: 0x78, count: 7_000))
        var answers: [RecordAnswer] = []
        var number: UInt8 = 0
        // The last page of the file may have room for one.
        while number < 10, answers != [.failed(number: 1)] {
            number += 1
            answers = try gateway.session(number).record(refused(.noRule, command: command))
        }
        #expect(answers == [.failed(number: 1)])
        try disk.empty()
        try gateway.turn(after: 1_000)
        let commands = try gateway.entries.compactMap { entry -> Record.RefusedCommand? in
            guard case .record(.login(let login)) = entry else { return nil }
            return login.command
        }
        #expect(commands.last?.length == 7_000)
        #expect(commands.last?.text.bytes.count == 512)
        try gateway.verify()
    }

    /// With `on-failure continue` a gateway whose trail cannot be opened serves all the same, and says so.
    @Test func onFailureContinueServesWithoutATrail() throws {
        let disk = try SmallDisk()
        try disk.fill()
        var settings = AuditSettings()
        settings.onFailure = .goOn
        let blocked = disk.directory.path + "/trail.log"
        try FileManager.default.createDirectory(atPath: blocked, withIntermediateDirectories: false)
        let gateway = try Gateway(in: disk.directory, settings: settings)
        #expect(gateway.reports.contains { if case .ready = $0 { true } else { false } })
        #expect(gateway.reports.contains { if case .state(false, _, _) = $0 { true } else { false } })
        #expect(try gateway.session(1).record(permitted) == [.durable(number: 1)])
        let strict = try Gateway(in: disk.directory)
        #expect(!strict.reports.contains { if case .ready = $0 { true } else { false } })
        #expect(try strict.session(1).record(permitted) == [.failed(number: 1)])
    }

    /// A batch that is half written is none: the file ends with a whole record.
    @Test func aHalfWrittenBatchLeavesNoTornLine() throws {
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory)
        var failed = 0
        for number in 0..<200 where failed < 3 {
            let session = try gateway.session(UInt8(number % 250) + 1)
            let long = Record.notice(
                Record.Notice(
                    origin: origin, account: "alice", operation: "home",
                    detail: ByteText(Array(repeating: 0x78, count: 3_000))))
            if try session.record(long) == [.failed(number: 1)] { failed += 1 }
        }
        #expect(failed == 3)
        #expect(gateway.text.last == UInt8(ascii: "\n"))
        try gateway.verify()
    }

    /// What a crash has torn is copied before it is cut: on a full disk that cannot be done, however often it is tried.
    @Test func aTornEndOnAFullDiskLeavesOneCopyOfIt() throws {
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory)
        try gateway.session(1).record(permitted)
        try gateway.turn(after: 60_000)
        try gateway.moveElsewhere()
        let torn = Array("type=USER_CMD msg=audit(".utf8) + Array(repeating: 0x78, count: 6_000)
        let note = Array("gate.example/portcullis\n2\n".utf8)
        for (name, bytes) in [("trail.log", torn), ("checkpoints", note)] {
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: disk.directory.path + "/" + name))
            try file.seekToEnd()
            try file.write(contentsOf: Data(bytes))
            try file.close()
        }
        try disk.fill()
        let copies = { try gateway.names.filter { $0.contains("torn") } }
        let next = try Gateway(in: disk.directory)
        for _ in 0..<20 {
            #expect(try next.session(2).record(permitted) == [.failed(number: 1)])
            try next.turn(after: 1_000)
            #expect(try copies().isEmpty, "an attempt has left what is no copy")
        }
        try disk.empty()
        try next.turn(after: 1_000)
        try next.turn(after: 60_000)
        #expect(try next.session(3).record(permitted) == [.durable(number: 1)])
        let found = try copies()
        #expect(found.count == 2, "\(found)")
        for (prefix, bytes) in [("trail.log.torn-", torn), ("checkpoints.torn-", note)] {
            #expect(next.file(try #require(found.first { $0.hasPrefix(prefix) })) == bytes)
        }
        try next.verifyAll()
    }

    @Test func onFailureContinueGoesOnLoudly() throws {
        var settings = AuditSettings()
        settings.onFailure = .goOn
        let disk = try SmallDisk()
        let gateway = try Gateway(in: disk.directory, settings: settings)
        try disk.fill()
        for number in 1...30 { #expect(try gateway.session(UInt8(number)).record(permitted) == [.durable(number: 1)]) }
        #expect(gateway.reports.contains { if case .state(false, _, _) = $0 { true } else { false } })
        try disk.empty()
        try gateway.turn(after: 1_000)
        // All are there in the end.
        #expect(try gateway.entries.count { $0 == .record(permitted) } == 30)
        try gateway.verify()
    }
}

/// The copy of what a crash has torn.
@Suite struct TornEndTests {
    /// The copy is made and the end cannot be cut: when it is tried again there is one copy all the same.
    @Test func anEndThatCannotBeCutIsCopiedOnce() throws {
        let place = try TemporaryDirectory()
        let directory = try File.open(place.path, [.reading, .directory])
        let file = try File.open(place.path + "/f", [.writing, .creating], mode: 0o600)
        try file.writeAll(Array("whole\ntorn".utf8))
        let reader = try File.open(place.path + "/f", [.reading])
        let torn = TornEnd(directory: directory, file: "f", bytes: Array("torn".utf8))
        for _ in 0..<5 {
            // A descriptor that cannot be written cannot be cut.
            #expect(throws: SystemError.self) { try torn.setAside(reader, leaving: 6) }
        }
        let name = try torn.setAside(file, leaving: 6)
        let names = try FileManager.default.contentsOfDirectory(atPath: place.path).sorted()
        #expect(names == ["f", name])
        #expect(FileManager.default.contents(atPath: place.path + "/" + name) == Data("torn".utf8))
        #expect(FileManager.default.contents(atPath: place.path + "/f") == Data("whole\n".utf8))
        // Another end has a copy of its own.
        try file.writeAll(Array("else".utf8))
        let other = try TornEnd(directory: directory, file: "f", bytes: Array("else".utf8)).setAside(file, leaving: 6)
        #expect(other != name)
    }
}

/// A tmpfs of a few pages.
final class SmallDisk {
    let directory: TemporaryDirectory

    static var canBeMade: Bool {
        Process.isRoot && FileManager.default.isExecutableFile(atPath: "/bin/mount")
            && (try? SmallDisk()) != nil
    }

    init() throws {
        directory = try TemporaryDirectory()
        try Self.run("/bin/mount", ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", directory.path])
    }

    deinit {
        try? Self.run("/bin/umount", ["-l", directory.path])
    }

    func fill() throws {
        let file = try File.open(directory.path + "/ballast", [.writing, .creating])
        while (try? file.write(Array(repeating: 0, count: 4_096)[...])) != nil {}
    }

    /// Cut before it goes: a forked child of another test may hold it open, and its room with it.
    func empty() throws {
        try File.truncate(try File.open(directory.path + "/ballast", [.writing]), to: 0)
        try File.remove(directory.path + "/ballast")
    }

    private static func run(_ path: String, _ arguments: [String]) throws {
        let process = Foundation.Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw SystemError(1, "mount") }
    }
}
