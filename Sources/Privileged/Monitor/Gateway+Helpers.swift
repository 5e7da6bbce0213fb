// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// Starting the helpers, hearing them, and starting them again when they die.
extension Gateway {
    // MARK: Auditor

    func startAuditor() {
        do {
            let helper = try Helper.start(
                .auditor, in: helpersDirectory, second: auditDirectory, third: kernelRecords,
                identity: identities.identities[.auditor])
            isAuditorReady = false
            auditor = helper
            try epoll.add(helper.outbox.channel.descriptor, token: Token.auditor.with(0))
            try epoll.add(helper.process.descriptor, token: Token.auditorExit.with(0))
            _ = auditor?.outbox.send(AuditorOrder.configure(settings: policy?.settings.audit ?? AuditSettings()))
            connectSystemLog()
            introduceSessions()
            _ = auditor?.outbox.send(AuditorOrder.recover)
            connectFrontToAuditor()
        } catch {
            log.say("cannot start the auditor: \(error)")
            auditor = nil
            retry(.auditor)
        }
    }

    /// Gives every session that runs a fresh channel to a new auditor, so that its end finds its way to the trail.
    private func introduceSessions() {
        for (number, entry) in sessions.entries where entry.phase != .finished {
            guard let (session, theirs) = try? Channel.pair() else { continue }
            let isKnown =
                auditor?.outbox.send(
                    AuditorOrder.session(
                        session: entry.session, pid: entry.process.pid, hasStarted: entry.phase == .launched),
                    [theirs.descriptor]) ?? false
            guard isKnown else { continue }
            if sessions[number]?.outbox.send(SessionOrder.auditor, [session.descriptor]) != true {
                entry.process.signal(Signals.Number.kill)
            }
        }
    }

    func serveAuditor(_ event: Epoll.Event) {
        guard let channel = auditor?.outbox.channel else { return }
        while true {
            guard let received = try? channel.receive(limit: FrameFormat.limit, waiting: false) else { break }
            switch received {
            case .nothing:
                _ = auditor?.outbox.flush()
                return
            case .closed:
                epoll.remove(channel.descriptor)
                auditor?.process.signal(Signals.Number.kill)
                return
            case .message(let message):
                guard let report = try? AuditorReport(frame: message.bytes) else {
                    log.say("the auditor broke its protocol")
                    auditor?.process.signal(Signals.Number.kill)
                    return
                }
                take(report)
            }
        }
    }

    private func take(_ report: AuditorReport) {
        switch report {
        case .ready(let sequence, let notices):
            self.sequence = sequence
            isTrailDurable = true
            for notice in notices { log.say("trail: \(notice)") }
            let isFirst = !isAuditorReady && !hasServed
            isAuditorReady = true
            tellWaitingOrders()
            if let why = auditorDeath {
                // Only now is there somebody who can write it down.
                auditorDeath = nil
                record(.serviceStop(unit: HelperKind.auditor.program, reason: why, isFailure: true))
            }
            record(.serviceStart(unit: isFirst ? "portcullisd" : "portcullis-auditor"))
            announceIfReady()
        case .durable(_, let sequence):
            self.sequence = max(self.sequence, sequence)
        case .failed:
            isTrailDurable = false
        case .state(let isDurable, let sequence, let text):
            if isDurable != isTrailDurable || !text.isEmpty { log.say("trail: \(text)") }
            isTrailDurable = isDurable
            self.sequence = max(self.sequence, sequence)
        case .rotated(let number, let failure):
            trailRotated(number, failure: failure)
        case .checkpoint(let sequence):
            covered = sequence
            checkpointTime = Clock.wallMilliseconds() / 1_000
        case .needsSystemLog:
            connectSystemLog()
        }
    }

    /// Sends a record of the monitor's own to the trail.
    func record(_ record: Record) {
        nextRecord += 1
        tellAuditor(.record(number: nextRecord, record: record))
    }

    /// The most orders that wait for the next auditor.
    private static let waitingLimit = 4_096

    /// Tells the auditor, or the next one where there is none.
    func tellAuditor(_ order: AuditorOrder) {
        if auditor?.outbox.send(order) == true { return }
        // One that does not read its channel is as good as none.
        auditor?.process.signal(Signals.Number.kill)
        guard waitingOrders.count < Self.waitingLimit else {
            log.say("the trail has been away too long: a record of the monitor's is lost")
            return
        }
        waitingOrders.append(order)
    }

    /// Tells a new auditor what waited for it.
    private func tellWaitingOrders() {
        let orders = waitingOrders
        waitingOrders = []
        for order in orders { tellAuditor(order) }
    }

    // MARK: Front

    func startFront() {
        guard !isDraining, policy != nil else { return }
        do {
            let (records, auditors) = try Channel.pair()
            let helper = try Helper.start(
                .front, in: helpersDirectory, second: records.descriptor, identity: identities.identities[.front])
            isFrontReady = false
            front = helper
            _ = auditor?.outbox.send(AuditorOrder.front(pid: helper.process.pid), [auditors.descriptor])
            try epoll.add(helper.outbox.channel.descriptor, token: Token.front.with(0))
            try epoll.add(helper.process.descriptor, token: Token.frontExit.with(0))
            configureFront()
        } catch {
            log.say("cannot start front: \(error)")
            front = nil
            retry(.front)
        }
    }

    /// Gives front a fresh channel to a new auditor: what it refused meanwhile still finds its way to the trail.
    private func connectFrontToAuditor() {
        guard let front, let (records, auditors) = try? Channel.pair() else { return }
        _ = auditor?.outbox.send(AuditorOrder.front(pid: front.process.pid), [auditors.descriptor])
        tellFront(.auditor, [records.descriptor])
    }

    func configureFront() {
        guard let policy else { return }
        let settings = FrontSettings(policy.settings, listeners: listeners.bound.map(\.listener))
        if front?.outbox.send(FrontOrder.configure(settings: settings), listeners.bound.map(\.socket)) == false {
            front?.process.signal(Signals.Number.kill)
        }
    }

    func tellFront(_ order: FrontOrder, _ descriptors: [Descriptor] = []) {
        if front?.outbox.send(order, descriptors) == false {
            log.say("front does not read its channel")
            front?.process.signal(Signals.Number.kill)
        }
    }

    func serveFront(_ event: Epoll.Event) {
        guard let channel = front?.outbox.channel else { return }
        // Bounded, so that a flood from front starves nobody.
        for _ in 0..<64 {
            guard let received = try? channel.receive(limit: 4_096, descriptorLimit: 3, waiting: false) else {
                front?.process.signal(Signals.Number.kill)
                return
            }
            switch received {
            case .nothing:
                if front?.outbox.flush() == false { front?.process.signal(Signals.Number.kill) }
                return
            case .closed:
                epoll.remove(channel.descriptor)
                front?.process.signal(Signals.Number.kill)
                return
            case .message(let message):
                guard let ask = try? FrontAsk(frame: message.bytes) else {
                    log.say("front broke its protocol")
                    front?.process.signal(Signals.Number.kill)
                    return
                }
                take(ask, message.descriptors)
            }
        }
    }

    private func take(_ ask: FrontAsk, _ descriptors: [Descriptor]) {
        switch ask {
        case .ready:
            isFrontReady = true
            if hasServed { record(.serviceStart(unit: "portcullis-front")) }
            announceIfReady()
        case .connectBack(let connection, let service, let port):
            guard descriptors.count == 1, let primary = descriptors.first else {
                return tellFront(.connectBackFailed(connection: connection, reason: .protocolError))
            }
            let started = connectBacks.start(connection: connection, service: service, port: port, primary: primary)
            switch started {
            case .connected(let socket):
                tellFront(.connectedBack(connection: connection), [socket])
            case .refused(let reason):
                tellFront(.connectBackFailed(connection: connection, reason: reason))
            case .underWay(let number):
                guard let socket = connectBacks.attempts[number]?.socket else { return }
                do {
                    try epoll.add(socket, token: Token.connectBack.with(number), reading: false, writing: true)
                } catch {
                    _ = connectBacks.finish(number)
                    tellFront(.connectBackFailed(connection: connection, reason: .protocolError))
                }
            }
        case .handover(let connection, let service, let hasSecondary):
            startSession(connection: connection, service: service, hasSecondary: hasSecondary, descriptors)
        }
    }

    func connectBackEnded(_ number: UInt64) {
        guard let attempt = connectBacks.finish(number) else { return }
        epoll.remove(attempt.socket)
        if Socket.pendingError(attempt.socket) == nil {
            tellFront(.connectedBack(connection: attempt.connection), [attempt.socket])
        } else {
            tellFront(.connectBackFailed(connection: attempt.connection, reason: .protocolError))
        }
    }

    // MARK: Death

    /// A helper is gone: what needs it is refused until its successor is ready.
    func helperEnded(_ kind: HelperKind) {
        let helper = kind == .front ? front : auditor
        guard let helper, let status = helper.process.reap() else { return }
        epoll.remove(helper.process.descriptor)
        epoll.remove(helper.outbox.channel.descriptor)
        log.say("\(kind.program) ended (\(status.words)); starting another")
        switch kind {
        case .front:
            front = nil
            isFrontReady = false
            connectBacks.clear()
            record(.serviceStop(unit: kind.program, reason: status.words, isFailure: true))
        case .auditor:
            auditor = nil
            auditorDeath = status.words
            isAuditorReady = false
            isTrailDurable = false
            rotationsFailed()
        case .engine:
            break
        }
        if !hasServed, Clock.monotonicMilliseconds() - helper.started < 2_000 {
            log.say("\(kind.program) cannot run here")
            fail(70)
            return
        }
        restart(kind, after: helper.started)
    }

    /// Starts a helper again: at once, or in a second where it lived less than one.
    func restart(_ kind: HelperKind, after started: Int64) {
        guard !isDraining || kind == .auditor else { return }
        if Clock.monotonicMilliseconds() - started > 1_000 {
            switch kind {
            case .front: startFront()
            case .auditor: startAuditor()
            case .engine: reload()
            }
        } else {
            retry(kind)
        }
    }

    private func retry(_ kind: HelperKind) {
        restarts.append((Clock.monotonicMilliseconds() + 1_000, kind))
    }
}

extension ExitStatus {
    /// `exit 1` or `signal 9`.
    var words: String {
        switch self {
        case .exited(let status): "exit \(status)"
        case .signalled(let signal): "signal \(signal)"
        }
    }
}
