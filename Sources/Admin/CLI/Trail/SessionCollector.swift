// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// Puts sessions together from the records of a trail, in their order; only what is under way is kept.
///
/// A session is given when its last record is known: a little after its end, because what the kernel tells of denials can
/// come later, or where the trail ends.
struct SessionCollector {
    /// The most sessions that are under way at once; of more, the one that began first is given as it stands.
    static let limit = 65_536
    /// How long after its end records of a session can come, in milliseconds (docs/audit.md, Denials).
    private static let patience: UInt64 = 3_000
    /// The most sessions that have ended and are waited for.
    private static let endedLimit = 4_096

    private var open: [SessionID: TrailSession] = [:]
    /// The order of `open`, and of what has left it, from `oldest` on.
    private var order: [SessionID] = []
    private var oldest = 0
    private var ended: [SessionID: TrailSession] = [:]
    private var endedOrder: [SessionID] = []
    private var oldestEnded = 0

    /// Takes a record, and gives the sessions whose last one is known.
    mutating func take(_ event: TrailEvent, _ body: (TrailSession) throws -> Void) rethrows {
        let stamp = event.line.stamp
        try giveEnded(before: stamp.milliseconds, body)
        guard case .record(let record) = event.entry else {
            guard case .lostRequest(let reason) = event.entry else { return }
            var session = taken(stamp)
            session.refusal = reason
            return try finish(session, stamp, body)
        }
        switch record {
        case .serviceStart("portcullisd"), .serviceStop("portcullisd", _, _):
            for id in open.keys { open[id]?.isOutlived = true }
        case .serviceStart, .serviceStop, .policyLoaded, .policyRejected:
            return
        case .authentication(let check):
            var session = taken(stamp)
            session.origin(check.origin, check.account)
            session.pool = check.pool ?? session.pool
            if check.failure == nil { session.grantors = check.grantors }
            try keep(session, stamp, body)
        case .login(let login):
            try take(login, event, body)
        case .command(let command):
            var session = taken(stamp)
            session.origin(command.origin, command.account)
            session.command = Self.beginning(of: command.commandLine)
            session.commandLength = command.commandLine.count
            session.program = Self.beginning(of: command.program)
            session.sandbox = command.sandbox
            session.started = stamp.milliseconds
            try keep(session, stamp, body)
        case .end(let end):
            if let id = stamp.session, ended[id]?.refusal != nil {
                // The launch failed after its start was recorded.
                ended[id]?.end = end
                return
            }
            var session = taken(stamp)
            if session.service == nil {
                // The trail begins within the session.
                session.origin(end.origin, end.account)
                session.began = stamp.milliseconds >= end.milliseconds ? stamp.milliseconds - end.milliseconds : 0
            }
            session.end = end
            try finish(session, stamp, body)
        case .notice(let notice):
            try remark(stamp, body) { session in
                session.origin(notice.origin, notice.account)
                session.notices += 1
            }
        case .denial(let denial):
            try remark(stamp, body) { session in
                session.origin(denial.origin, denial.account)
                session.denials = session.denials.addingReportingOverflow(denial.count).partialValue
            }
        }
    }

    /// Gives what is left, as it stands at the end of the trail.
    mutating func finish(_ body: (TrailSession) throws -> Void) rethrows {
        try giveEnded(before: .max, body)
        for id in order[oldest...] {
            if let session = open.removeValue(forKey: id) { try body(session) }
        }
        order = []
        oldest = 0
    }

    private mutating func take(
        _ login: Record.Login, _ event: TrailEvent, _ body: (TrailSession) throws -> Void
    ) rethrows {
        let stamp = event.line.stamp
        var session = taken(stamp)
        session.origin(login.origin, login.account)
        session.remoteUser = login.remoteUser ?? session.remoteUser
        session.pool = login.pool ?? session.pool
        session.rule = login.rule ?? session.rule
        session.revision = login.revision ?? session.revision
        session.detail = login.detail.map(Self.beginning) ?? session.detail
        guard let refusal = login.refusal else { return try keep(session, stamp, body) }
        session.refusal = refusal
        session.count = max(1, login.count)
        if let command = login.command {
            session.command = Self.beginning(of: command.text)
            session.commandLength = command.length
        }
        try finish(session, stamp, body)
    }

    /// The session of a record as it is known, or a new one; it is no longer among the kept ones.
    private mutating func taken(_ stamp: Stamp) -> TrailSession {
        guard let id = stamp.session, let known = open[id] else {
            return TrailSession(session: stamp.session, began: stamp.milliseconds)
        }
        return known
    }

    private mutating func keep(
        _ session: TrailSession, _ stamp: Stamp, _ body: (TrailSession) throws -> Void
    ) rethrows {
        var session = session
        session.finished = max(session.finished, stamp.milliseconds)
        session.isOutlived = false
        // Without an id nothing that follows could be held together with it.
        guard let id = session.session else { return }
        if open.updateValue(session, forKey: id) == nil {
            order.append(id)
            try makeRoom(body)
        }
    }

    private mutating func makeRoom(_ body: (TrailSession) throws -> Void) rethrows {
        while open.count > Self.limit, oldest < order.count {
            let id = order[oldest]
            oldest += 1
            if var session = open.removeValue(forKey: id) {
                session.isOutlived = true
                try body(session)
            }
        }
        // Rarely, so that a record costs the same however many sessions were before it.
        if order.count > 4 * Self.limit {
            var seen: Set<SessionID> = []
            order = order[oldest...].filter { open[$0] != nil && seen.insert($0).inserted }
            oldest = 0
        }
    }

    private mutating func finish(
        _ session: TrailSession, _ stamp: Stamp, _ body: (TrailSession) throws -> Void
    ) rethrows {
        var session = session
        session.finished = max(session.finished, stamp.milliseconds)
        guard let id = session.session else { return try body(session) }
        open[id] = nil
        // An id that comes again is another session to us, whatever it was to who wrote it.
        if let before = ended.updateValue(session, forKey: id) { return try body(before) }
        endedOrder.append(id)
        if ended.count > Self.endedLimit { try giveOldestEnded(body) }
    }

    /// Adds what does not begin or end a session, whether it goes on or has just ended.
    private mutating func remark(
        _ stamp: Stamp, _ body: (TrailSession) throws -> Void, _ change: (inout TrailSession) -> Void
    ) rethrows {
        if let id = stamp.session, var session = ended[id] {
            change(&session)
            ended[id] = session
            return
        }
        var session = taken(stamp)
        change(&session)
        try keep(session, stamp, body)
    }

    private mutating func giveEnded(before milliseconds: UInt64, _ body: (TrailSession) throws -> Void) rethrows {
        while oldestEnded < endedOrder.count {
            guard let session = ended[endedOrder[oldestEnded]] else {
                oldestEnded += 1
                continue
            }
            let (due, overflowed) = session.finished.addingReportingOverflow(Self.patience)
            guard milliseconds == .max || !overflowed && due < milliseconds else { return }
            try giveOldestEnded(body)
        }
    }

    private mutating func giveOldestEnded(_ body: (TrailSession) throws -> Void) rethrows {
        let id = endedOrder[oldestEnded]
        oldestEnded += 1
        if oldestEnded > Self.endedLimit {
            endedOrder.removeSubrange(..<oldestEnded)
            oldestEnded = 0
        }
        if let session = ended.removeValue(forKey: id) { try body(session) }
    }

    private static func beginning(of text: ByteText) -> ByteText {
        text.count > TrailSession.commandLimit ? ByteText(Array(text.bytes.prefix(TrailSession.commandLimit))) : text
    }
}

extension TrailSession {
    /// Where it came from and as whom, as a record of it says.
    fileprivate mutating func origin(_ origin: Record.Origin, _ name: ByteText?) {
        service = origin.service
        address = origin.address ?? address
        port = origin.port
        account = name ?? account
    }
}
