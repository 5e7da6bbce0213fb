// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Logging
import Messages
import Testing
import TrailCrypto

@testable import AuditorService

/// A directory that is removed with its last owner.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("portcullis-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// A clock that goes when it is told to.
final class TestClock {
    var milliseconds: Int64 = 1_795_212_781_000
    /// How far the wall's clock was set.
    var wallOffset: Int64 = 0
}

/// An auditor with a monitor's end in the test's hand. It runs when it is told to, in the test's own thread.
final class Gateway {
    let directory: TemporaryDirectory
    let clock = TestClock()
    private(set) var auditor: Auditor
    private(set) var monitor: Channel
    private(set) var reports: [AuditorReport] = []
    private(set) var checkpointReports: [AuditorReport] = []

    let sender = Sender(pid: 100, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")

    init(
        in directory: TemporaryDirectory? = nil, settings: AuditSettings = AuditSettings(), recovering: Bool = true
    ) throws {
        self.directory = try directory ?? TemporaryDirectory()
        (auditor, monitor) = try Self.start(self.directory, clock, sender)
        try order(.configure(settings: settings))
        if recovering { try order(.recover) }
        try turn()
    }

    private static func start(
        _ directory: TemporaryDirectory, _ clock: TestClock, _ sender: Sender
    ) throws -> (Auditor, Channel) {
        let (own, other) = try Channel.pair()
        let auditor = try Auditor(
            monitor: other, directory: try File.open(directory.path, [.reading, .directory]), gateway: sender,
            hostName: "gate.example", digest: sha256,
            time: Auditor.Time(
                wall: { UInt64(clock.milliseconds + clock.wallOffset) }, monotonic: { clock.milliseconds }),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        auditor.open()
        return (auditor, own)
    }

    /// Ends this auditor as kill -9 would, and starts another on the same trail.
    func restart() throws {
        // The old one lets go of its lock first.
        try moveElsewhere()
        reports = []
        // A process that another test forks at this moment holds the old one's lock until it executes its program.
        for _ in 0..<500 {
            (auditor, monitor) = try Self.start(directory, clock, sender)
            try turn()
            if case .ready? = reports.first { return }
            reports = []
            Clock.sleep(milliseconds: 10)
        }
    }

    /// Has the auditor let go of its directory, for another one.
    func moveElsewhere() throws {
        let (own, other) = try Channel.pair()
        monitor = own
        let directory = try TemporaryDirectory()
        auditor = try Auditor(
            monitor: other, directory: try File.open(directory.path, [.reading, .directory]), gateway: sender,
            hostName: "gate.example", digest: sha256, time: Auditor.Time(),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// The monitor's end goes away.
    func closeMonitor() throws {
        monitor = try Channel.pair().0
    }

    func order(_ order: AuditorOrder, _ descriptors: [Descriptor] = []) throws {
        try monitor.send(order.encoded(), descriptors: descriptors)
    }

    /// Lets the auditor do what there is to do.
    func turn(after milliseconds: Int64 = 0) throws {
        clock.milliseconds += milliseconds
        for _ in 0..<3 where auditor.exitStatus == nil { try auditor.turn(waiting: 0) }
        while case .message(let message) = try monitor.receive(limit: FrameFormat.limit, waiting: false) {
            let report = try AuditorReport(frame: message.bytes)
            // What tests of checkpoints and of syslog look at stands apart.
            switch report {
            case .checkpoint, .needsSystemLog: checkpointReports.append(report)
            default: reports.append(report)
            }
        }
    }

    /// A session's own end of its channel.
    func session(_ byte: UInt8, hasStarted: Bool = false) throws -> TestSession {
        let id = try #require(SessionID(bytes: Array(repeating: byte, count: 16)))
        let (own, other) = try Channel.pair()
        try order(.session(session: id, pid: 4_000 + Int32(byte), hasStarted: hasStarted), [other.descriptor])
        try turn()
        return TestSession(id: id, channel: own, gateway: self)
    }

    var path: String { directory.path + "/trail.log" }

    var text: [UInt8] { FileManager.default.contents(atPath: path).map { Array($0) } ?? [] }

    /// The trail's lines, each read back.
    var lines: [TrailLine] {
        get throws {
            try text.split(separator: UInt8(ascii: "\n")).map { try #require(TrailLine($0)) }
        }
    }

    var entries: [Entry] {
        get throws { try lines.map { try #require(Entry(line: $0)) } }
    }

    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() }
    }

    func file(_ name: String) -> [UInt8]? {
        FileManager.default.contents(atPath: directory.path + "/" + name).map { Array($0) }
    }

    /// The first public key, as it lies beside the trail.
    var firstKey: CheckpointKey {
        get throws {
            let text = try #require(file("checkpoints.vkey"))
            return try #require(CheckpointKey(text: text.dropLast(), digest: sha256))
        }
    }

    /// The checkpoints, each checked with the key that the one before it names.
    var checkpoints: [SignedCheckpoint] {
        get throws { try checkedCheckpoints().notes }
    }

    /// The checkpoints, and the runs of keys that they belong to.
    func checkedCheckpoints() throws -> (notes: [SignedCheckpoint], runs: [CheckpointRun]) {
        var verifier = CheckpointVerifier(from: try firstKey, digest: sha256, check: isEd25519Signature)
        var cutter = NoteCutter()
        var found: [SignedCheckpoint] = []
        for byte in file("checkpoints") ?? [] {
            if let note = cutter.take(byte) { found.append(try verifier.take(note).signed) }
        }
        #expect(cutter.partial.isEmpty)
        return (found, verifier.runs)
    }

    /// The trail's segments in their order.
    var segments: [TrailSegment] {
        get throws { TrailSegment.segments(among: try names.map { ByteText($0) }) }
    }

    /// Checks chain and checkpoints over all segments.
    @discardableResult
    func verifyAll() throws -> TrailVerifier {
        var verifier = TrailVerifier(digest: sha256)
        verifier.marks = try checkpoints.enumerated().map {
            CheckpointMark(position: $0.element.checkpoint.position, number: $0.offset + 1)
        }
        for (index, segment) in try segments.enumerated() {
            if index > 0 { try verifier.startSegment() }
            try verifier.take(file(segment.name) ?? [])
        }
        try verifier.finishTrail()
        return verifier
    }

    /// Checks the whole chain.
    @discardableResult
    func verify(after position: ChainPosition? = nil) throws -> ChainPosition {
        var verifier = TrailVerifier(after: position, digest: sha256)
        try verifier.take(text)
        try verifier.finish()
        return verifier.position
    }
}

/// A session, as the auditor sees one.
struct TestSession {
    let id: SessionID
    let channel: Channel
    let gateway: Gateway

    func send(_ frame: RecordFrame) throws {
        try channel.send(frame.encoded(), waiting: false)
    }

    func send(_ record: Record, number: UInt64 = 1) throws {
        try send(.record(number: number, record: record))
    }

    /// The answers that have come.
    func answers() throws -> [RecordAnswer] {
        var found: [RecordAnswer] = []
        while case .message(let message) = try channel.receive(limit: FrameFormat.limit, waiting: false) {
            found.append(try RecordAnswer(frame: message.bytes))
        }
        return found
    }

    var isClosed: Bool {
        get throws {
            // A child that another test forks meanwhile has a copy of the other end, and closes it when it ends.
            var entries = [Poll.Entry(channel.descriptor)]
            try Poll.wait(&entries, milliseconds: 20_000)
            if case .closed = try channel.receive(limit: FrameFormat.limit, waiting: false) { return true }
            return false
        }
    }

    /// Sends a record and lets the auditor answer it.
    @discardableResult
    func record(_ record: Record, number: UInt64 = 1) throws -> [RecordAnswer] {
        try send(record, number: number)
        try gateway.turn()
        return try answers()
    }
}

let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
let rule = RuleReference(name: "uptime", place: FilePlace(file: "portcullis.policy", line: 49))

/// A permit has no command: what runs is in a record of its own.
let permittedWithCommand = Record.login(
    Record.Login(
        origin: origin, account: "alice", remoteUser: "bob", refusal: nil, rule: rule, revision: Revision.none,
        command: Record.RefusedCommand("uptime")))

let checked = Record.authentication(
    Record.Authentication(origin: origin, account: "alice", grantors: "rhosts", failure: nil, detail: nil))
let permitted = Record.login(
    Record.Login(origin: origin, account: "alice", remoteUser: "bob", refusal: nil, rule: rule, revision: Revision.none)
)
let started = Record.command(
    Record.Command(
        origin: origin, account: "alice", commandLine: "uptime", program: "/usr/bin/uptime", argumentCount: 1,
        sandbox: "strict"))
let ended = Record.end(
    Record.End(
        origin: origin, account: "alice", outcome: .status(0), bytesIn: 0, bytesOut: 61, bytesErr: 0, milliseconds: 9,
        limit: nil, leftovers: 0))
/// All that a session can say of a denial.
let endedBySystemCall = Record.denial(
    Record.Denial(origin: origin, account: "alice", subject: .call(nil), signal: Record.Denial.systemCallSignal))
/// What the kernel alone tells.
let deniedRead = Record.denial(
    Record.Denial(origin: origin, account: "alice", subject: .access("fs.read_file", path: "/etc/shadow")))
let noticed = Record.notice(Record.Notice(origin: origin, account: "alice", operation: "home", detail: "gone"))

func refused(
    _ reason: Reason, from address: String = "10.1.2.3", command: ByteText? = nil, count: Int = 1
) -> Record {
    .login(
        Record.Login(
            origin: Record.Origin(service: .rsh, address: IPAddress(address), port: 1_022), account: "alice",
            remoteUser: "bob", refusal: reason, rule: nil, revision: nil,
            command: command.map { Record.RefusedCommand($0) }, count: count))
}

func lost(_ reason: Reason) -> Record {
    .end(
        Record.End(
            origin: origin, account: "alice", outcome: .lost(reason: reason.name), bytesIn: 0, bytesOut: 0, bytesErr: 0,
            milliseconds: 0, limit: nil, leftovers: nil))
}
