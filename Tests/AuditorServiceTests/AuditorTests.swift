// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Messages
import TestSupport
import Testing
import TrailCrypto

@testable import AuditorService

/// Who may say what, and what the auditor makes of it.
@Suite struct AuditorTests {
    @Test func theChainIsSHA256() {
        #expect(
            Hexadecimal.lower(sha256(Array("abc".utf8)))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func aSessionIsRecordedFromItsIdentityToItsEnd() throws {
        let gateway = try Gateway()
        #expect(gateway.reports == [.ready(sequence: 0, notices: [])])
        let session = try gateway.session(1)
        try session.send(.identity(auid: 1_001, ses: 7))
        for (number, record) in [checked, permitted, noticed, started, ended].enumerated() {
            #expect(try session.record(record, number: UInt64(number)) == [.durable(number: UInt64(number))])
        }
        let lines = try gateway.lines
        #expect(try gateway.entries == [checked, permitted, noticed, started, ended].map { .record($0) })
        #expect(lines.map(\.sequence) == [1, 2, 3, 4, 5])
        for line in lines {
            #expect(line.stamp.session == session.id)
            #expect(line.stamp.milliseconds == 1_795_212_781_000)
            #expect(
                line.stamp.sender
                    == Sender(pid: 4_001, uid: 0, auid: 1_001, ses: 7, executable: "/usr/sbin/portcullisd"))
        }
        #expect(try gateway.verify().sequence == 5)
        let mode = try FileManager.default.attributesOfItem(atPath: gateway.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func manySessionsShareABatchAndEachIsAnswered() throws {
        let gateway = try Gateway()
        let sessions = try (1...40).map { try gateway.session($0) }
        for session in sessions {
            try session.send(permitted, number: 10)
            try session.send(started, number: 11)
        }
        try gateway.turn()
        for session in sessions { #expect(try session.answers() == [.durable(number: 10), .durable(number: 11)]) }
        #expect(try gateway.verify().sequence == 80)
    }

    /// What a session may not send, after what it may: its channel is closed, and the trail says so.
    @Test(
        arguments: [
            ([], started), ([], ended), ([permitted], permitted), ([permitted], ended),
            ([permitted, started], started), ([permitted, started], checked), ([permitted, started], permitted),
            ([permitted, started, ended], ended), ([permitted, started, ended], refused(.unavailable)),
            ([refused(.noRule)], refused(.noRule)), ([refused(.noRule)], permitted), ([refused(.noRule)], checked),
            ([permitted, refused(.untrusted)], started), ([checked, checked, checked, checked], checked),
            ([], refused(.noRule, count: 2)), ([], permittedWithCommand), ([permitted, started], lost(.unavailable)),
            ([], .serviceStart(unit: "x")), ([], .serviceStop(unit: "x", reason: "y", isFailure: true)),
            ([], .policyLoaded(revision: .none, file: "x", rules: 1)), ([], .policyRejected(file: "x", errors: "y")),
            (Array(repeating: noticed, count: 16), noticed),
            ([permitted], endedBySystemCall), ([permitted, started, endedBySystemCall], endedBySystemCall),
            ([permitted, started, ended], endedBySystemCall), ([permitted, started], deniedRead),
            (
                [permitted, started],
                .notice(Record.Notice(origin: origin, account: "alice", operation: "denied", detail: "a forged one"))
            ),
        ] as [([Record], Record)])
    func aSessionSaysNothingOutOfItsPhase(_ before: [Record], _ outOfPlace: Record) throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        for record in before { #expect(try session.record(record) == [.durable(number: 1)]) }
        try session.send(outOfPlace)
        try gateway.turn()
        #expect(try session.isClosed)
        let entries = try gateway.entries
        #expect(entries.count == before.count + 1)
        guard case .note(let note)? = entries.last else {
            Issue.record("\(entries)")
            return
        }
        #expect(note.subject == .closedChannel)
        #expect(try gateway.lines.last?.stamp.session == session.id)
    }

    @Test func aSessionSaysOnceWhoItIs() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.send(.identity(auid: 1, ses: 1))
        try session.send(.identity(auid: 2, ses: 2))
        try gateway.turn()
        #expect(try session.isClosed)
        let late = try gateway.session(2)
        try late.record(permitted)
        try late.record(started)
        try late.send(.identity(auid: 2, ses: 2))
        try gateway.turn()
        #expect(try late.isClosed)
    }

    @Test func bytesThatAreNoFrameCloseTheChannel() throws {
        let gateway = try Gateway()
        let frames: [[UInt8]] = [[0], [1, 9], [2, 1], Array(repeating: 1, count: 4_000)]
        for (index, bytes) in frames.enumerated() {
            let session = try gateway.session(UInt8(index + 1))
            try session.channel.send(bytes, waiting: false)
            try gateway.turn()
            #expect(try session.isClosed)
        }
        // Nobody passes descriptors to the auditor but the monitor.
        let session = try gateway.session(9)
        try session.channel.send(
            RecordFrame.identity(auid: 1, ses: 1).encoded(), descriptors: [session.channel.descriptor], waiting: false)
        try gateway.turn()
        #expect(try session.isClosed)
        #expect(try gateway.lines.count == 5)
    }

    @Test(arguments: Reason.allCases)
    func frontSpeaksOfItsOwnRefusalsAlone(_ reason: Reason) throws {
        let gateway = try Gateway()
        let (front, other) = try Channel.pair()
        try gateway.order(.front(pid: 200), [other.descriptor])
        try gateway.turn()
        try front.send(RecordFrame.record(number: 1, record: refused(reason)).encoded(), waiting: false)
        try gateway.turn()
        let isOwn = [.sourcePort, .limit, .penalty, .protocolError, .unavailable, .auditUnavailable].contains(reason)
        let line = try #require(try gateway.lines.first)
        #expect(try gateway.lines.count == 1)
        #expect(line.stamp.session == nil)
        #expect((Entry(line: line) == .record(refused(reason))) == isOwn)
        #expect(line.type == (isOwn ? .login : .error))
    }

    @Test(
        arguments: [
            permitted, refused(.limit, command: "id"), checked, started, ended, noticed, Record.serviceStart(unit: "x"),
        ])
    func frontSaysNothingElse(_ record: Record) throws {
        let gateway = try Gateway()
        let (front, other) = try Channel.pair()
        try gateway.order(.front(pid: 200), [other.descriptor])
        try gateway.turn()
        try front.send(RecordFrame.record(number: 1, record: record).encoded(), waiting: false)
        try gateway.turn()
        #expect(try gateway.lines.map(\.type) == [.error])
        // Another front gets a channel of its own.
        let (next, end) = try Channel.pair()
        try gateway.order(.front(pid: 201), [end.descriptor])
        try gateway.turn()
        try next.send(RecordFrame.record(number: 1, record: refused(.limit)).encoded(), waiting: false)
        try gateway.turn()
        #expect(try gateway.lines.map(\.type) == [.error, .login])
    }

    @Test func theMonitorSpeaksOfServicesAndPolicies() throws {
        let gateway = try Gateway()
        let records: [Record] = [
            .serviceStart(unit: "portcullisd"), .policyLoaded(revision: .none, file: "/etc/p", rules: 3),
            .policyRejected(file: "/etc/p", errors: "/etc/p:1:1: error"),
            .serviceStop(unit: "front", reason: "signal 9", isFailure: true),
        ]
        for (number, record) in records.enumerated() {
            try gateway.order(.record(number: UInt64(number), record: record))
        }
        try gateway.turn()
        #expect(try gateway.entries == records.map { .record($0) })
        #expect(try gateway.lines.allSatisfy { $0.stamp.sender == gateway.sender && $0.stamp.session == nil })
        let answers = (0..<4).map { AuditorReport.durable(number: UInt64($0), sequence: 4) }
        #expect(Array(gateway.reports.dropFirst().prefix(4)) == answers)
    }

    /// A monitor that was taken over cannot speak for a session either.
    @Test(arguments: [permitted, refused(.noRule), checked, started, ended, noticed])
    func theMonitorSaysNothingElse(_ record: Record) throws {
        let gateway = try Gateway()
        try gateway.order(.record(number: 1, record: record))
        try gateway.turn()
        #expect(gateway.auditor.exitStatus == 70)
        #expect(try gateway.lines.map(\.type) == [.error])
    }

    /// A monitor that reads late gets every answer, and the auditor neither waits for it nor forgets.
    @Test func aMonitorThatReadsLateGetsEveryAnswer() throws {
        let gateway = try Gateway()
        var sent = 0
        while sent < 2_000 {
            let order = AuditorOrder.record(number: UInt64(sent), record: .serviceStart(unit: "x"))
            if (try? gateway.monitor.send(order.encoded(), waiting: false)) != nil {
                sent += 1
            } else {
                try gateway.auditor.turn(waiting: 0)
            }
        }
        for _ in 0..<100 { try gateway.turn() }
        let answers = gateway.reports.compactMap { report -> UInt64? in
            if case .durable(let number, _) = report { number } else { nil }
        }
        #expect(answers == (0..<2_000).map { UInt64($0) })
    }

    @Test func anOrderWithWrongDescriptorsEndsTheAuditor() throws {
        for order in [AuditorOrder.recover, .configure(settings: AuditSettings()), .stop] {
            let gateway = try Gateway()
            try gateway.order(order, [gateway.monitor.descriptor])
            try gateway.turn()
            #expect(gateway.auditor.exitStatus == 70)
        }
        let gateway = try Gateway()
        let file = try File.open("/dev/null", [.reading])
        try gateway.order(.front(pid: 1), [file])
        try gateway.turn()
        #expect(gateway.auditor.exitStatus == 70)
    }

    @Test func stopWritesWhatIsThereAndEnds() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.send(refused(.noRule))
        try gateway.order(.stop)
        try gateway.turn()
        #expect(gateway.auditor.exitStatus == 0)
        #expect(try gateway.entries == [.record(refused(.noRule))])
    }

    @Test func theAuditorEndsWithTheMonitor() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.send(refused(.noRule))
        try gateway.closeMonitor()
        try gateway.auditor.turn(waiting: 0)
        #expect(gateway.auditor.exitStatus == 0)
        #expect(try gateway.entries == [.record(refused(.noRule))])
    }

    /// Whatever sessions and front send, in whatever order: the trail stays whole, each session has at most one start and
    /// one last word, and only what may be said is there.
    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func noOrderOfRecordsHarmsTheTrail(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let gateway = try Gateway()
        let (front, other) = try Channel.pair()
        try gateway.order(.front(pid: 200), [other.descriptor])
        var open: [TestSession] = []
        let records: [Record] = [
            checked, permitted, permitted, started, started, ended, noticed, refused(.noRule), lost(.unavailable),
            .serviceStart(unit: "x"),
        ]
        for number in 0..<400 {
            switch Int.random(in: 0...9, using: &random) {
            case 0 where number < 250:
                open.append(try gateway.session(UInt8(number)))
            case 1:
                try? front.send(
                    RecordFrame.record(number: 1, record: refused(.limit, from: "10.0.0.\(number % 250)")).encoded(),
                    waiting: false)
            case 2:
                if let session = open.randomElement(using: &random) {
                    try gateway.order(.sessionLost(session: session.id, reason: .unavailable))
                }
            case 3:
                try? open.randomElement(using: &random)?.send(.identity(auid: 1, ses: 1))
            default:
                if let record = records.randomElement(using: &random) {
                    try? open.randomElement(using: &random)?.send(record)
                }
            }
            if Bool.random(using: &random) { try gateway.turn(after: Int64.random(in: 0...300, using: &random)) }
        }
        try gateway.order(.stop)
        try gateway.turn()
        #expect(gateway.auditor.exitStatus == 0, "seed \(seed)")
        try gateway.verify()
        var starts: [SessionID: Int] = [:]
        var lastWords: [SessionID: Int] = [:]
        for line in try gateway.lines {
            guard let id = line.stamp.session else { continue }
            switch try #require(Entry(line: line)) {
            case .record(.command): starts[id, default: 0] += 1
            case .record(.end), .lostRequest: lastWords[id, default: 0] += 1
            // After a start there is an end as well.
            case .record(.login(let login)) where login.refusal != nil && starts[id] == nil:
                lastWords[id, default: 0] += 1
            case .record(.serviceStart): Issue.record("seed \(seed): a session spoke of a service")
            default: break
            }
        }
        #expect(starts.values.allSatisfy { $0 == 1 }, "seed \(seed)")
        #expect(lastWords.values.allSatisfy { $0 == 1 }, "seed \(seed)")
    }

    // MARK: Sessions that are lost

    @Test func aSessionThatDiedAfterItsStartHasALostEnd() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(started)
        try gateway.order(.sessionLost(session: session.id, reason: .unavailable))
        try gateway.turn()
        #expect(try gateway.entries.last == .record(lost(.unavailable)))
        #expect(try gateway.lines.last?.stamp.session == session.id)
    }

    @Test func aSessionThatDiedBeforeItsDecisionIsARefusal() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(checked)
        try gateway.order(.sessionLost(session: session.id, reason: .timeout))
        let silent = try gateway.session(2)
        try gateway.order(.sessionLost(session: silent.id, reason: .timeout))
        try gateway.turn()
        let refusal = Record.Login(
            origin: origin, account: "alice", remoteUser: nil, refusal: .timeout, rule: nil, revision: nil)
        #expect(try gateway.entries.dropFirst() == [.record(.login(refusal)), .lostRequest(.timeout)])
    }

    /// What a session sent before it died counts, although the monitor's word comes at the same time.
    @Test func aSessionsLastWordIsReadBeforeItIsLost() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(started)
        try session.send(ended)
        try gateway.order(.sessionLost(session: session.id, reason: .unavailable))
        try gateway.turn()
        #expect(try gateway.entries == [permitted, started, ended].map { .record($0) })
        // Once more, after the session is forgotten: nothing is said twice.
        try gateway.order(.sessionLost(session: session.id, reason: .unavailable))
        try gateway.turn()
        #expect(try gateway.entries.count == 3)
    }

    // MARK: Another auditor

    @Test func whatTheLastAuditorLeftOpenIsRecordedAsLost() throws {
        let gateway = try Gateway()
        let gone = try gateway.session(1)
        let running = try gateway.session(2)
        let complete = try gateway.session(3)
        let failed = try gateway.session(4)
        for session in [gone, running, complete, failed] {
            try session.record(permitted)
            try session.record(started)
        }
        try complete.record(ended)
        try failed.record(refused(.sandboxUnavailable))
        try gateway.restart()
        let adopted = try gateway.session(2, hasStarted: true)
        try gateway.order(.recover)
        try gateway.turn()
        #expect(try gateway.entries.count == 12)
        #expect(try gateway.entries.last == .record(lost(.unavailable)))
        #expect(try gateway.lines.last?.stamp.session == gone.id)
        // The one that still runs ends as it would have.
        try adopted.send(.identity(auid: 5, ses: 6))
        #expect(try adopted.record(ended) == [.durable(number: 1)])
        #expect(try gateway.lines.last?.stamp.session == running.id)
        #expect(try gateway.lines.last?.stamp.sender.auid == 5)
        // Nothing is recovered twice.
        try gateway.order(.recover)
        try gateway.turn()
        #expect(try gateway.entries.count == 13)
        #expect(try gateway.verify().sequence == 13)
    }

    /// An auditor killed after it had written and before it answered: the session asks again, and the trail has one end.
    @Test func anEndIsWrittenOnceAlthoughTheAuditorDiedBeforeItAnswered() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(started)
        try session.record(ended)
        try gateway.restart()
        let again = try gateway.session(1, hasStarted: true)
        #expect(try again.record(ended, number: 5) == [.durable(number: 5)])
        #expect(try gateway.entries.count == 3)
    }

    /// What a session had no answer for it sends again, to whichever auditor there is then.
    @Test func whatIsSentAgainIsWrittenOnce() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        let long = Record.command(
            Record.Command(
                origin: origin, account: "alice", commandLine: ByteText(Array(repeating: 0x20, count: 20_000)),
                program: "/usr/bin/uptime", argumentCount: 1, sandbox: "strict"))
        try session.record(checked)
        try session.record(permitted)
        try session.record(long)
        let lines = try gateway.lines.count
        try gateway.restart()
        // The monitor may not know yet that the command runs.
        let again = try gateway.session(1)
        try gateway.order(.recover)
        try again.send(.identity(auid: 1, ses: 2))
        #expect(try again.record(permitted, number: 7) == [.durable(number: 7)])
        #expect(try again.record(long, number: 8) == [.durable(number: 8)])
        #expect(try gateway.lines.count == lines)
        #expect(try again.record(ended, number: 9) == [.durable(number: 9)])
        #expect(try gateway.lines.count == lines + 1)
        // A second end is out of place, as ever.
        try again.send(ended, number: 10)
        try gateway.turn()
        #expect(try again.isClosed)
    }

    /// What the auditor before had not written is written by this one.
    @Test func whatWasNotWrittenIsWrittenByTheNextAuditor() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try gateway.restart()
        let again = try gateway.session(1)
        try gateway.order(.recover)
        #expect(try again.record(started, number: 8) == [.durable(number: 8)])
        #expect(try gateway.entries == [.record(permitted), .record(started)])
    }

    /// An answer says that all before it is on disk, too: that the trail has a record is not said before what the session sent
    /// earlier is on it. Were it, an auditor that is killed between would take that along.
    @Test func whatTheTrailHasIsNotAnsweredBeforeWhatIsStillToBeWritten() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(noticed, number: 2)
        try gateway.restart()
        let again = try gateway.session(1)
        try gateway.order(.recover)
        try again.send(checked, number: 3)
        try again.send(noticed, number: 4)
        try gateway.turn()
        #expect(try again.answers() == [.durable(number: 3), .durable(number: 4)])
        #expect(try gateway.entries == [.record(permitted), .record(noticed), .record(checked)])
    }

    @Test func aRefusalThatIsSentAgainIsWrittenOnce() throws {
        let gateway = try Gateway()
        try gateway.session(1).record(refused(.noRule))
        try gateway.restart()
        let again = try gateway.session(1)
        #expect(try again.record(refused(.noRule), number: 3) == [.durable(number: 3)])
        #expect(try gateway.entries.count == 1)
    }

    @Test func anAdoptedSessionThatIsLostIsNamedAsItsStartNamedIt() throws {
        let gateway = try Gateway()
        let session = try gateway.session(1)
        try session.record(permitted)
        try session.record(started)
        try gateway.restart()
        let again = try gateway.session(1, hasStarted: true)
        try gateway.order(.recover)
        try gateway.order(.sessionLost(session: again.id, reason: .unavailable))
        try gateway.turn()
        #expect(try gateway.entries.dropFirst(2) == [.record(lost(.unavailable))])
    }

    @Test func oneTrailHasOneAuditor() throws {
        let gateway = try Gateway()
        let second = try Gateway(in: gateway.directory)
        #expect(second.auditor.exitStatus == nil)
        guard case .state(false, 0, let text)? = second.reports.first else {
            Issue.record("\(second.reports)")
            return
        }
        #expect(text.contains("another auditor"))
        let session = try second.session(1)
        #expect(try session.record(refused(.noRule)) == [.failed(number: 1)])
    }
}
