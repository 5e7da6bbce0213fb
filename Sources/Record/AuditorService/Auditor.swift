// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Logging
import Messages
import Seccomp

/// The one writer of the trail: takes records from its channels, stamps and links them, and answers when they are on
/// disk.
///
/// One thread. Each turn drains the channels that are ready into one batch, writes it with one write(2) and one
/// fdatasync(2), and then answers every sender: that is the group commit.
final class Auditor {
    /// The most frames that one channel gives to a batch, so that none keeps the others waiting.
    static let framesPerTurn = 64
    /// The most answers that wait for the monitor to read.
    private static let outboxLimit = 4_096
    /// Milliseconds between reports of the trail's place to the monitor.
    private static let reportInterval: Int64 = 200

    /// Where time comes from.
    struct Time {
        /// Milliseconds since 1970.
        var wall: () -> UInt64 = { UInt64(max(0, Clock.wallMilliseconds())) }
        /// Milliseconds that are never set back.
        var monotonic: () -> Int64 = { Clock.monotonicMilliseconds() }
    }

    /// Who waits for an answer.
    enum Asker {
        case monitor(number: UInt64)
        case session(SessionID, number: UInt64)
    }

    /// What a turn has to write and to answer, in its order.
    ///
    /// ORDER: an answer says that all that its session sent before is on disk. So answers leave in the batch's order, those to
    /// what is not written too: were this auditor killed in between, the session would not send the rest again.
    enum Due {
        /// An entry that is to be written, with who waits for it.
        case entry(Trail.Item, asker: Asker?)
        /// A record that the trail has.
        case written(asker: Asker)
        /// A record that is not written, because another says it.
        case counted(asker: Asker)

        var entry: Trail.Item? {
            if case .entry(let item, _) = self { item } else { nil }
        }
    }

    private static let monitorToken: UInt64 = 0
    private static let frontToken: UInt64 = 1
    private static let kernelToken = UInt64.max
    /// The most of the kernel's messages that are read in a turn: a command can cause more than anybody can read.
    static let reportsPerTurn = 256
    /// Milliseconds between records that some are missing.
    static let lostInterval: Int64 = 60_000

    private let monitor: Channel
    let trail: Trail
    let kernel: Descriptor?
    let gateway: Sender
    let time: Time
    let log: Logger
    let epoll: Epoll

    private var front: (channel: Channel, sender: Sender)?
    var sessions: [SessionID: Session] = [:]
    var tokens: [UInt64: SessionID] = [:]
    var nextToken: UInt64 = 2
    /// Sessions that are gone, with nothing more to be said of them.
    var past = RecentSet<SessionID>(limit: pastLimit)
    private var flood = RefusalFlood()
    var denials: DenialWatch
    var lostDenialsAt: Int64?
    var batch: [Due] = []
    private var outbox: [[UInt8]] = []
    private var isWatchingForRoom = false
    var hasRecovered = false
    /// Why the open sessions could not be written down, as it was said last.
    var keepingFailure: String?
    /// Whether the monitor has named all sessions that another auditor had.
    var hasAll = false
    /// Orders of such sessions that came before the trail could be read: what it says of them comes first.
    private var postponed: [(order: AuditorOrder, descriptors: [Descriptor])] = []
    private var isReady = false
    private var reported: (sequence: UInt64, isDurable: Bool, at: Int64) = (0, true, 0)
    /// The status to end with, once it is time.
    private(set) var exitStatus: Int32?

    /// What makes checkpoints, and when: see Auditor+Checkpoints.swift.
    let systemLog: SystemLog
    var checkpointing = Checkpointing()

    /// - Parameters:
    ///   - kernel: the kernel's audit records; nil where they cannot be had.
    ///   - hostName: what the origin of a new trail begins with.
    init(
        monitor: Channel, directory: Descriptor, kernel: Descriptor? = nil, gateway: Sender, hostName: String,
        digest: @escaping Digest, time: Time, log: Logger
    ) throws(SystemError) {
        self.monitor = monitor
        self.kernel = kernel
        denials = DenialWatch(own: gateway.ses) { architecture, number in
            guard architecture == SystemCallFilter.nativeArchitecture else {
                return "\(String(architecture, radix: 16)):\(number)"
            }
            return SystemCallFilter.name(of: number) ?? String(number)
        }
        self.gateway = gateway
        self.time = time
        self.log = log
        let checkpoints = CheckpointBook(directory: directory, hostName: hostName, digest: digest)
        trail = Trail(directory: directory, checkpoints: checkpoints, gateway: gateway, digest: digest)
        systemLog = SystemLog(wall: time.wall) { log.warning("\($0)") }
        epoll = try Epoll()
        try epoll.add(monitor.descriptor, token: Self.monitorToken)
        if let kernel { try epoll.add(kernel, token: Self.kernelToken) }
        checkpointing.made = time.monotonic()
        trail.sayReading = { log.notice("reading \($0 >> 20) MiB of the trail for sessions that stand open") }
        checkpoints.announce = { [weak self] in self?.announce($0) }
    }

    /// Serves until the monitor says stop or goes away.
    func run() throws(SystemError) -> Int32 {
        open()
        while true {
            try turn(waiting: timeout())
            if let exitStatus { return exitStatus }
        }
    }

    /// Opens the trail; the first record can come before it could be.
    func open() {
        tend()
    }

    private func timeout() -> Int32 {
        let now = time.monotonic()
        var due = trail.due(now: now)
        if let flood = flood.due { due = min(due, flood) }
        if let denials = denials.due { due = min(due, denials) }
        if let checkpoint = checkpointDue { due = min(due, checkpoint) }
        if reported.sequence != trail.sequence { due = min(due, reported.at + Self.reportInterval) }
        return Int32(clamping: max(0, min(due - now, 1_000)))
    }

    /// One turn: everything that is ready, in one batch.
    func turn(waiting milliseconds: Int32) throws(SystemError) {
        let events = try epoll.wait(milliseconds: milliseconds, limit: 256)
        // ORDER: the kernel first: it names the call that ended a command, and the session only says that one did.
        drainKernel()
        // ORDER: sessions and front before the monitor, so that what a session sent before it died is there before
        // the monitor says that it did.
        for event in events where event.token != Self.monitorToken {
            if event.token == Self.frontToken { drainFront() } else if let id = tokens[event.token] { drain(id) }
        }
        for event in events where event.token == Self.monitorToken {
            if event.isReadable || event.isHangup { drainMonitor() }
        }
        tend()
    }

    /// Ends the seconds that are over, writes the batch, answers, and reports.
    private func tend() {
        let now = time.monotonic()
        for (login, stamp) in flood.flush(now: now, all: exitStatus != nil) {
            batch.append(.entry(Trail.Item(entry: .record(.login(login)), stamp: stamp), asker: nil))
        }
        for found in denials.flush(now: now, all: exitStatus != nil) { add(found) }
        let wasFailing = trail.failure
        trail.tick(wall: time.wall(), now: now)
        takePostponed()
        commit()
        tendCheckpoints(now: now)
        if exitStatus != nil {
            trail.finish(wall: time.wall(), now: now)
            if trail.hasOpened { makeCheckpoint(now: now) }
            if trail.missing > 0 { log.critical("\(trail.missing) records could not be written before the end") }
        }
        // ORDER: every answer to what was written is on its way: what is written down as ended is not sent again.
        keepOpenSessions()
        report(wasFailing: wasFailing, now: now)
        flushOutbox()
    }

    func commit() {
        guard !batch.isEmpty else { return }
        let dues = batch
        batch = []
        let outcome = trail.commit(dues.compactMap(\.entry), wall: time.wall(), now: time.monotonic())
        for due in dues {
            switch due {
            case .entry(let item, let asker?): answer(asker, item.entry, outcome)
            case .entry(_, nil): break
            case .written(let asker): answer(asker, nil, .durable)
            case .counted(let asker): answer(asker, nil, trail.failure == nil ? .durable : .failed)
            }
        }
    }

    private func answer(_ asker: Asker, _ entry: Entry?, _ outcome: Trail.Outcome) {
        switch asker {
        case .monitor(let number):
            tell(outcome == .failed ? .failed(number: number) : .durable(number: number, sequence: trail.sequence))
        case .session(let id, let number):
            if outcome == .failed, case .record(.command) = entry { sessions[id]?.phase.withdrawStart() }
            guard let channel = sessions[id]?.channel else { return }
            let frame: RecordAnswer = outcome == .failed ? .failed(number: number) : .durable(number: number)
            do throws(SystemError) {
                try channel.send(frame.encoded(), waiting: false)
            } catch {
                // A session that does not read its few answers, or is gone.
                close(id)
            }
        }
    }

    // MARK: The monitor

    func tell(_ report: AuditorReport) {
        guard outbox.count < Self.outboxLimit else {
            log.error("the monitor reads no answers")
            exitStatus = 70
            return
        }
        outbox.append(report.encoded())
    }

    private func flushOutbox() {
        var sent = 0
        var isBlocked = false
        for report in outbox {
            do throws(SystemError) {
                try monitor.send(report, waiting: false)
                sent += 1
            } catch {
                // What has no room waits for it; an end shows where the channel is read.
                isBlocked = error.wouldBlock
                if !isBlocked { sent = outbox.count }
                break
            }
        }
        outbox.removeFirst(sent)
        guard isBlocked != isWatchingForRoom else { return }
        isWatchingForRoom = isBlocked
        try? epoll.change(monitor.descriptor, token: Self.monitorToken, writing: isBlocked)
    }

    private func report(wasFailing: String?, now: Int64) {
        if !isReady, canServe {
            isReady = true
            tell(.ready(sequence: trail.sequence, notices: trail.notices))
            for notice in trail.notices { log.warning("trail: \(notice)") }
            reported = (trail.sequence, true, now)
        }
        let isDurable = trail.failure == nil
        var text = trail.failure ?? ""
        if isDurable != reported.isDurable {
            if let failure = trail.failure {
                let consequence =
                    trail.settings.onFailure == .goOn
                    ? "requests go on unrecorded, as on-failure continue says" : "every request is refused"
                log.critical("the trail cannot be written: \(failure): \(consequence)")
            } else {
                log.notice("the trail can be written again")
                text = "it can be written again"
            }
        } else if reported.sequence == trail.sequence || now - reported.at < Self.reportInterval {
            return
        }
        reported = (trail.sequence, isDurable, now)
        tell(.state(isDurable: isDurable, sequence: trail.sequence, text: text))
    }

    /// Where requests go on without a trail, there is nothing to wait for.
    private var canServe: Bool {
        trail.hasOpened || trail.failure != nil && trail.settings.onFailure == .goOn
    }

    /// Does what was ordered before the trail could be read.
    private func takePostponed() {
        guard canServe else { return }
        let orders = postponed
        postponed = []
        for item in orders where !obey(item.order, item.descriptors) {
            return violation(ofMonitor: "an order out of place")
        }
        if hasAll { recover() }
    }

    /// Keeps what is to be done once the trail can be read; false where that is more than a monitor can have to say.
    private func postpone(_ order: AuditorOrder, _ descriptors: [Descriptor]) -> Bool {
        postponed.append((order, descriptors))
        return postponed.count <= 2 * Self.sessionLimit
    }

    private func drainMonitor() {
        for _ in 0..<Self.framesPerTurn {
            let received: Channel.Received
            do throws(SystemError) {
                received = try monitor.receive(limit: FrameFormat.limit, descriptorLimit: 1, waiting: false)
            } catch {
                return violation(ofMonitor: "\(error)")
            }
            switch received {
            case .nothing:
                return
            case .closed:
                // The commands end with the monitor; the next start records what was lost.
                drainAll()
                exitStatus = exitStatus ?? 0
                return
            case .message(let message):
                do throws(FrameError) {
                    let order = try AuditorOrder(frame: message.bytes)
                    guard obey(order, message.descriptors) else { return violation(ofMonitor: "an order out of place") }
                } catch {
                    return violation(ofMonitor: "a frame that is none: \(error)")
                }
            }
            if exitStatus != nil { return }
        }
    }

    private func violation(ofMonitor what: String) {
        log.critical("the monitor sent \(what)")
        note(.closedChannel, "the monitor sent \(what)", session: nil, sender: gateway)
        exitStatus = 70
    }

    /// Does what the monitor wants; false where it may not want it.
    private func obey(_ order: AuditorOrder, _ descriptors: [Descriptor]) -> Bool {
        switch order {
        case .configure(let settings):
            guard descriptors.isEmpty else { return false }
            trail.settings = settings
        case .session(let id, let pid, let hasStarted):
            guard canServe || hasAll else { return postpone(order, descriptors) }
            guard let channel = Self.channel(descriptors) else { return false }
            open(id, pid: pid, hasStarted: hasStarted, channel)
        case .recover:
            guard descriptors.isEmpty else { return false }
            hasAll = true
            if canServe { recover() }
        case .front:
            guard let channel = Self.channel(descriptors) else { return false }
            openFront(channel)
        case .record(let number, let record):
            guard descriptors.isEmpty, RecordRight.monitorMaySend(record) else { return false }
            add(.record(record), session: nil, sender: gateway, asker: .monitor(number: number))
        case .sessionLost(let id, let reason):
            guard descriptors.isEmpty else { return false }
            guard canServe else { return postpone(order, descriptors) }
            lose(id, reason)
        case .rotate(let number):
            guard descriptors.isEmpty else { return false }
            rotate(number)
        case .systemLog:
            guard descriptors.count <= 1 else { return false }
            systemLog.take(descriptors.first)
        case .stop:
            guard descriptors.isEmpty else { return false }
            drainAll()
            exitStatus = 0
        }
        return true
    }

    /// The one descriptor of an order, if it is a socket of ours.
    private static func channel(_ descriptors: [Descriptor]) -> Channel? {
        guard descriptors.count == 1, let descriptor = descriptors.first else { return nil }
        let channel = Channel(descriptor)
        guard (try? channel.peer()) != nil else { return nil }
        return channel
    }

    // MARK: Front

    private func openFront(_ channel: Channel) {
        closeFront()
        do throws(SystemError) {
            try epoll.add(channel.descriptor, token: Self.frontToken)
        } catch {
            return log.error("front's channel: \(error)")
        }
        // Front's refusals have no session: they are the gateway's.
        front = (channel, gateway)
    }

    private func closeFront() {
        guard let front else { return }
        epoll.remove(front.channel.descriptor)
        self.front = nil
    }

    func drainFront() {
        for _ in 0..<Self.framesPerTurn {
            guard let front else { return }
            do throws(SystemError) {
                switch try front.channel.receive(limit: FrameFormat.limit, waiting: false) {
                case .nothing:
                    return
                case .closed:
                    return closeFront()
                case .message(let message):
                    guard case .record(_, let record)? = try? RecordFrame(frame: message.bytes),
                        RecordRight.frontMaySend(record)
                    else {
                        note(.closedChannel, "front sent what it may not", session: nil, sender: gateway)
                        log.critical("front sent what it may not: its channel is closed")
                        return closeFront()
                    }
                    add(.record(record), session: nil, sender: front.sender, asker: nil)
                }
            } catch {
                note(.closedChannel, "front: \(error)", session: nil, sender: gateway)
                return closeFront()
            }
        }
    }

    // MARK: The batch

    func note(_ subject: Entry.Subject, _ detail: String, session: SessionID?, sender: Sender) {
        add(.note(Entry.Note(subject: subject, detail: ByteText(detail))), session: session, sender: sender, asker: nil)
    }

    func add(_ entry: Entry, session: SessionID?, sender: Sender, asker: Asker?) {
        let stamp = Stamp(milliseconds: time.wall(), session: session, sender: sender)
        if case .record(.login(let login)) = entry, login.refusal != nil,
            !flood.admit(login, stamp, gateway: gateway, now: time.monotonic())
        {
            // It is counted, and its record comes within a second: it need not wait for that.
            if let asker { batch.append(.counted(asker: asker)) }
            return
        }
        batch.append(.entry(Trail.Item(entry: entry, stamp: stamp), asker: asker))
    }
}
