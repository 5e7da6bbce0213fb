// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// What the trail costs.
//
// trail-cost text COUNT: prints a trail of so many records, as requests leave them, for `portcullis audit verify`.
//
// trail-cost write AUDITOR DIRECTORY WRITERS SECONDS: starts the real auditor on a directory, and has so many sessions at
// once send their records, each waiting until one is on disk before it sends the next: checked, permitted, started,
// ended; and then the next session. Prints durable records a second, and the median and 99 of 100 of the time that one
// waited, in microseconds. The writers are one process with one thread, which shares the machine with the auditor.

import Audit
import Core
import Crypto
import Linux
import Messages

func fail(_ text: String) -> Never {
    StandardError("trail-cost").say(text)
    Process.exitNow(64)
}

let origin = Record.Origin(service: .rsh, address: IPAddress("10.20.3.4"), port: 1_022)
let rule = RuleReference(name: "nightly-dump", place: FilePlace(file: "portcullis.policy", line: 48))

/// What a request leaves on the trail.
let request: [Record] = [
    .authentication(
        Record.Authentication(
            origin: origin, account: "backup", grantors: "rhosts", failure: nil, detail: "/home/backup/.rhosts:3")),
    .login(
        Record.Login(
            origin: origin, account: "backup", remoteUser: "operator", refusal: nil, rule: rule,
            revision: Revision.none)),
    .command(
        Record.Command(
            origin: origin, account: "backup", commandLine: "/usr/sbin/dump 0uf - /home/backup",
            program: "/usr/sbin/dump", argumentCount: 4, sandbox: "standard")),
    .end(
        Record.End(
            origin: origin, account: "backup", outcome: .status(0), bytesIn: 0, bytesOut: 104_857_600, bytesErr: 211,
            milliseconds: 41_067, limit: nil, leftovers: 0)),
]

func sessionID(_ number: Int) -> SessionID {
    let bytes = (0..<16).map { UInt8(truncatingIfNeeded: number >> (8 * ($0 % 8))) }
    guard let id = SessionID(bytes: bytes) else { fatalError("an id of 16 bytes") }
    return id
}

func printText(_ count: Int) throws {
    var chain = Chain(after: .start) { Array(SHA256.hash(data: $0)) }
    let sender = Sender(pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
    var text: [UInt8] = []
    for number in 0..<count {
        let stamp = Stamp(
            milliseconds: 1_795_212_781_000 + UInt64(number), session: sessionID(number / request.count), sender: sender
        )
        chain.append(.record(request[number % request.count]), stamp, to: &text)
        if text.count > 1 << 20 {
            try StandardStreams.output.writeAll(text)
            text.removeAll(keepingCapacity: true)
        }
    }
    try StandardStreams.output.writeAll(text)
}

/// A session that sends one record after the other.
struct Writer {
    var channel: Channel
    var next = 0
    var sent: UInt64 = 0
}

func startAuditor(_ path: String, _ directory: String) throws -> (Channel, ProcessHandle) {
    let (ours, theirs) = try Channel.pair()
    let place = try File.open(directory, [.reading, .directory])
    let copies = [try theirs.descriptor.duplicate(from: 64), try place.duplicate(from: 64)]
    switch try Process.fork() {
    case .child:
        for (number, copy) in copies.enumerated() { try copy.place(at: 3 + Int32(number)) }
        Descriptor.closeAll(from: 5)
        _ = Process.execute(
            Array(path.utf8), arguments: [Array("portcullis-auditor".utf8), Array("[audit]".utf8)], environment: [])
        Process.exitNow(127)
    case .parent(let pid):
        return (ours, try ProcessHandle(pid: pid))
    }
}

func measure(_ path: String, _ directory: String, writers count: Int, seconds: Int) throws {
    let (monitor, process) = try startAuditor(path, directory)
    var settings = AuditSettings()
    // One in the time that is measured would be a matter of chance.
    settings.checkpoint = 3_600_000
    try monitor.send(AuditorOrder.configure(settings: settings).encoded())
    try monitor.send(AuditorOrder.recover.encoded())
    let epoll = try Epoll()
    var writers: [Writer] = []
    var sessions = 0
    func open() throws -> Channel {
        let (own, other) = try Channel.pair()
        sessions += 1
        try monitor.send(
            AuditorOrder.session(session: sessionID(sessions), pid: 4_711, hasStarted: false).encoded(),
            descriptors: [other.descriptor])
        return own
    }
    let start = Clock.monotonicMilliseconds()
    var now = Stopwatch.microseconds()
    func send(_ index: Int) throws {
        let writer = writers[index]
        let frame = RecordFrame.record(number: UInt64(writer.next), record: request[writer.next])
        try writer.channel.send(frame.encoded())
        writers[index].sent = now
    }
    for index in 0..<count {
        let channel = try open()
        writers.append(Writer(channel: channel))
        try epoll.add(channel.descriptor, token: UInt64(index))
        try send(index)
    }
    var records = 0
    var waits: [UInt64] = []
    let end = start + Int64(seconds) * 1_000
    while Clock.monotonicMilliseconds() < end {
        for event in try epoll.wait(milliseconds: 1_000, limit: 256) {
            let index = Int(event.token)
            guard case .message(let message) = try writers[index].channel.receive(limit: 64, waiting: false) else {
                fail("the auditor closed a channel")
            }
            guard case .durable = try RecordAnswer(frame: message.bytes) else { fail("a record was not durable") }
            now = Stopwatch.microseconds()
            waits.append(now - writers[index].sent)
            records += 1
            writers[index].next += 1
            if writers[index].next == request.count {
                epoll.remove(writers[index].channel.descriptor)
                writers[index] = Writer(channel: try open())
                try epoll.add(writers[index].channel.descriptor, token: UInt64(index))
            }
            try send(index)
        }
        // Its reports are of no interest, but must not fill the channel.
        while case .message? = try? monitor.receive(limit: FrameFormat.limit, waiting: false) {}
    }
    let milliseconds = max(1, Clock.monotonicMilliseconds() - start)
    waits.sort()
    let rate = Int64(records) * 1_000 / milliseconds
    let line = "\(rate) \(waits[waits.count / 2]) \(waits[waits.count * 99 / 100])\n"
    try StandardStreams.output.writeAll(Array(line.utf8))
    try monitor.send(AuditorOrder.stop.encoded())
    var entries = [Poll.Entry(process.descriptor)]
    try Poll.wait(&entries, milliseconds: 10_000)
    _ = process.reap()
}

/// Microseconds on a clock that is never set back.
enum Stopwatch {
    static func microseconds() -> UInt64 {
        let start = origin
        let moment = ContinuousClock.now - start
        return UInt64(moment.components.seconds) * 1_000_000
            + UInt64(moment.components.attoseconds / 1_000_000_000_000)
    }

    private static let origin = ContinuousClock.now
}

let arguments = Array(Swift.CommandLine.arguments.dropFirst())
switch (arguments.first, arguments.count) {
case ("text", 2):
    guard let count = Int(arguments[1]), count > 0 else { fail("usage: trail-cost text COUNT") }
    try printText(count)
case ("write", 5):
    guard let writers = Int(arguments[3]), let seconds = Int(arguments[4]), writers > 0, seconds > 0 else {
        fail("usage: trail-cost write AUDITOR DIRECTORY WRITERS SECONDS")
    }
    try measure(arguments[1], arguments[2], writers: writers, seconds: seconds)
default:
    fail("usage: trail-cost text COUNT, or trail-cost write AUDITOR DIRECTORY WRITERS SECONDS")
}
