// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Logging
import Messages

/// Sessions: their channels and what they may say, and those that are lost.
extension Auditor {
    /// The most sessions at once.
    static let sessionLimit = 65_536
    /// The sessions that are remembered at least after their channel has closed.
    static let pastLimit = 8_192

    /// A session as its auditor knows it.
    struct Session {
        var channel: Channel?
        var token: UInt64
        var sender: Sender
        var phase: SessionPhase
        /// Whether another auditor may have had this session before.
        var isAdopted: Bool
        /// What the trail has of it from then: sent again, it was written before and not answered.
        var known: [Record]
        /// Whether it had said its last word before this auditor had it.
        var wasComplete: Bool
        var origin: Record.Origin?
        var account: ByteText?
    }

    func open(_ id: SessionID, pid: Int32, hasStarted: Bool, _ channel: Channel) {
        close(id)
        guard sessions.count < Self.sessionLimit else {
            return log.error("more than \(Self.sessionLimit) sessions: session \(id) has no channel")
        }
        let token = nextToken
        nextToken += 1
        do throws(SystemError) {
            try epoll.add(channel.descriptor, token: token)
        } catch {
            return log.error("session \(id): \(error)")
        }
        var sender = gateway
        sender.pid = pid
        sender.auid = .max
        sender.ses = .max
        var session = Session(
            channel: channel, token: token, sender: sender, phase: SessionPhase(), isAdopted: !hasRecovered, known: [],
            wasComplete: !hasRecovered && trail.sessions.isComplete(id), origin: nil, account: nil)
        if session.isAdopted {
            // The monitor names the sessions that run before it has the others recorded as lost. What it knows of a
            // start may be older than what the trail has.
            session.known = trail.sessions.records(of: id)
            session.phase = SessionPhase(
                known: session.known, hasStarted: hasStarted, isComplete: session.wasComplete)
            for record in session.known {
                guard let (origin, account) = record.origin else { continue }
                session.origin = origin
                session.account = account ?? session.account
            }
        }
        sessions[id] = session
        tokens[token] = id
        // The auditor before this one died between the refusal of a launch and the end of its start.
        if session.phase.isComplete, let known = trail.sessions.session(id) { addLost(known, .unavailable) }
    }

    /// Closes a session's channel; what is known of the session stays until its end is known.
    func close(_ id: SessionID) {
        guard var session = sessions[id], let channel = session.channel else { return }
        epoll.remove(channel.descriptor)
        tokens[session.token] = nil
        session.channel = nil
        sessions[id] = session.phase.isComplete ? nil : session
        if session.phase.isComplete { remember(id) }
    }

    /// Nothing more is to be said of a session.
    private func remember(_ id: SessionID) {
        past.insert(id)
        trail.leave(id)
    }

    func drainAll() {
        drainFront()
        for id in Array(sessions.keys) { drain(id) }
    }

    func drain(_ id: SessionID) {
        for _ in 0..<Self.framesPerTurn {
            guard let session = sessions[id], let channel = session.channel else { return }
            do throws(SystemError) {
                switch try channel.receive(limit: FrameFormat.limit, waiting: false) {
                case .nothing:
                    return
                case .closed:
                    return close(id)
                case .message(let message):
                    guard let frame = try? RecordFrame(frame: message.bytes) else {
                        return violation(of: id, "a frame that is none")
                    }
                    guard take(frame, of: id) else { return violation(of: id, "what its phase does not permit") }
                }
            } catch {
                return violation(of: id, "\(error)")
            }
        }
    }

    func violation(of id: SessionID, _ what: String) {
        log.critical("session \(id) sent \(what): its channel is closed")
        note(.closedChannel, "the session sent \(what)", session: id, sender: sessions[id]?.sender ?? gateway)
        close(id)
    }

    /// Takes a session's frame; false where its phase does not permit it.
    private func take(_ frame: RecordFrame, of id: SessionID) -> Bool {
        guard var session = sessions[id] else { return false }
        switch frame {
        case .identity(let auid, let ses):
            guard session.phase.identify(afterReplacement: session.isAdopted) else { return false }
            session.sender.auid = auid
            session.sender.ses = ses
            sessions[id] = session
            watchDenials(of: id)
        case .record(let number, let record):
            // The auditor before this one wrote it, and died before it answered.
            if let place = session.known.firstIndex(of: record) {
                sessions[id]?.known.remove(at: place)
                batch.append(.written(asker: .session(id, number: number)))
                return true
            }
            if session.wasComplete, record.isLastWord {
                batch.append(.written(asker: .session(id, number: number)))
                return true
            }
            guard session.phase.admit(record) else { return false }
            if case .denial = record, denials.hasKill(id), lostDenialsAt == nil {
                // The kernel has told of it, and by which call; where some of its messages were lost, that may have been
                // another process of the session.
                sessions[id] = session
                batch.append(.counted(asker: .session(id, number: number)))
                return true
            }
            if let (origin, account) = record.origin {
                session.origin = origin
                session.account = account ?? session.account
            }
            sessions[id] = session
            add(.record(record), session: id, sender: session.sender, asker: .session(id, number: number))
            if case .login(let login) = record, let refusal = login.refusal, session.phase.hasStarted {
                // The launch failed after its start was recorded: every start has an end, whatever becomes of the refusal.
                addLost(id, session, refusal)
            }
            if record.isLastWord { denials.end(id, now: time.monotonic()) } else { watchDenials(of: id) }
        }
        return true
    }

    /// Has the denials of a session's command recorded, from its start on.
    private func watchDenials(of id: SessionID) {
        guard let session = sessions[id], session.phase.hasStarted, let origin = session.origin else { return }
        denials.start(id, session.sender, origin, session.account ?? ByteText([]))
    }

    /// Records that a session died before it had said its last word.
    func lose(_ id: SessionID, _ reason: Reason) {
        drain(id)
        close(id)
        denials.end(id, now: time.monotonic())
        guard let session = sessions.removeValue(forKey: id) else {
            // Unknown: it had said its last word here or to another auditor, or never had a channel here.
            guard !past.contains(id), !trail.sessions.isComplete(id) else { return }
            remember(id)
            if let known = trail.sessions.session(id) { return addLost(known, reason) }
            return add(.lostRequest(reason), session: id, sender: gateway, asker: nil)
        }
        remember(id)
        guard let origin = session.origin else {
            return add(.lostRequest(reason), session: id, sender: session.sender, asker: nil)
        }
        if session.phase.hasStarted { return addLost(id, session, reason) }
        let login = Record.Login(
            origin: origin, account: session.account, remoteUser: nil, refusal: reason, rule: nil, revision: nil)
        add(.record(.login(login)), session: id, sender: session.sender, asker: nil)
    }

    private func addLost(_ id: SessionID, _ session: Session, _ reason: Reason) {
        guard let origin = session.origin else { return }
        addLost(
            OpenSessions.Session(
                session: id, sender: session.sender, origin: origin, account: session.account ?? ByteText([])), reason)
    }

    /// Records the end of a command whose session nobody saw end.
    private func addLost(_ lost: OpenSessions.Session, _ reason: Reason) {
        let end = Record.End(
            origin: lost.origin, account: lost.account, outcome: .lost(reason: reason.name), bytesIn: 0, bytesOut: 0,
            bytesErr: 0, milliseconds: 0, limit: nil, leftovers: nil)
        add(.record(.end(end)), session: lost.session, sender: lost.sender, asker: nil)
    }

    /// Records as lost the sessions that the trail knows to have started, and that nobody has named as running.
    func recover() {
        // Where requests go on without a trail, it is read once it can be.
        guard !hasRecovered, trail.hasOpened else { return }
        hasRecovered = true
        for known in trail.sessions.sessions where sessions[known.session] == nil && !past.contains(known.session) {
            remember(known.session)
            addLost(known, .unavailable)
        }
    }

    /// Writes the open sessions down for the next start, where there is much that it would have to read.
    func keepOpenSessions() {
        // ORDER: before all sessions are named it is not known which of those that ended can still be spoken of.
        guard hasRecovered, trail.isKeepingDue else { return }
        let ended = sessions.filter { $0.value.phase.isComplete }.map(\.key)
        let failure = trail.keepSessions(ended: ended)
        let isSaid = failure == keepingFailure
        keepingFailure = failure
        guard let failure, !isSaid else { return }
        log.warning(
            "the open sessions could not be written down: the next start may take longer, and needs the closed segments: \(failure)"
        )
    }
}

extension Record {
    /// Whether a session says nothing of weight after it.
    var isLastWord: Bool {
        switch self {
        case .end: true
        case .login(let login): login.refusal != nil
        default: false
        }
    }

    /// Where a session's record says that its request came from, and for whom.
    var origin: (Origin, ByteText?)? {
        switch self {
        case .authentication(let record): (record.origin, record.account)
        case .login(let record): (record.origin, record.account)
        case .command(let record): (record.origin, record.account)
        case .end(let record): (record.origin, record.account)
        case .notice(let record): (record.origin, record.account)
        case .denial(let record): (record.origin, record.account)
        case .serviceStart, .serviceStop, .policyLoaded, .policyRejected: nil
        }
    }
}
