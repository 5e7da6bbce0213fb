// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// Brings what the kernel tells of denials together with the sessions that they happened in.
///
/// A session is known by the kernel's own number of it (`ses`), which every process of it keeps whatever it does: setting
/// the login uid makes a new one. One that the gateway has itself, or that two sessions claim, is nobody's.
struct DenialWatch {
    /// The most denials of a session that are recorded one by one; the others are counted.
    static let recordLimit = 32
    /// How long a session is remembered after its end, in milliseconds: the kernel tells a little later.
    static let grace: Int64 = 2_000
    /// The most events of which half is known.
    static let eventLimit = 256
    /// The most sessions that are remembered after their end.
    static let pastLimit = 4_096

    /// A denial that is to be recorded.
    struct Found: Equatable {
        var session: SessionID
        var sender: Sender
        var denial: Record.Denial
    }

    private struct Watched {
        var sender: Sender
        var origin: Record.Origin
        var account: ByteText
        var known: Set<Key> = []
        var further = 0
        var hasKill = false
        var ended: Int64?
    }

    private struct Key: Hashable {
        var subject: Record.Denial.Subject
        var program: ByteText?
        var signal: UInt8?
    }

    private struct Access {
        var words: String
        var path: ByteText?
    }

    private let own: UInt32
    private let callName: (UInt32, UInt32) -> String
    private var sessions: [SessionID: Watched] = [:]
    private var bySes: [UInt32: SessionID] = [:]
    /// Numbers that two sessions claim.
    private var contested: Set<UInt32> = []
    /// Sessions that have ended, in that order.
    private var past: [SessionID] = []
    private var accesses: [UInt64: [Access]] = [:]
    private var accessOrder: [UInt64] = []

    /// - Parameters:
    ///   - own: the gateway's own audit session, which says nothing of a session.
    ///   - callName: the name of a system call, by architecture and number.
    init(own: UInt32, callName: @escaping (_ architecture: UInt32, _ number: UInt32) -> String) {
        self.own = own
        self.callName = callName
    }

    // MARK: Sessions

    /// Takes note of a session whose command starts.
    mutating func start(_ id: SessionID, _ sender: Sender, _ origin: Record.Origin, _ account: ByteText) {
        let ses = sender.ses
        guard ses != .max, ses != own, sessions[id] == nil else { return }
        guard bySes[ses] == nil, !contested.contains(ses) else {
            if let other = bySes.removeValue(forKey: ses) { sessions[other] = nil }
            if contested.count < Self.pastLimit { contested.insert(ses) }
            return
        }
        bySes[ses] = id
        sessions[id] = Watched(sender: sender, origin: origin, account: account)
    }

    /// Takes note of a session's end.
    mutating func end(_ id: SessionID, now: Int64) {
        guard sessions[id] != nil, sessions[id]?.ended == nil else { return }
        sessions[id]?.ended = now
        past.append(id)
    }

    /// Whether the kernel has told that the filter ended a process of a session.
    func hasKill(_ id: SessionID) -> Bool { sessions[id]?.hasKill ?? false }

    /// When the next session is to be forgotten; nil for none.
    var due: Int64? { past.first.flatMap { sessions[$0]?.ended }.map { $0 + Self.grace } }

    /// Forgets sessions whose grace is over, or all; what was only counted of them comes out.
    mutating func flush(now: Int64, all: Bool = false) -> [Found] {
        var found: [Found] = []
        while let id = past.first {
            let ended = sessions[id]?.ended ?? now
            guard all || now - ended >= Self.grace || past.count > Self.pastLimit else { break }
            past.removeFirst()
            guard let watched = sessions.removeValue(forKey: id) else { continue }
            bySes[watched.sender.ses] = nil
            guard watched.further > 0 else { continue }
            found.append(
                Found(
                    session: id, sender: watched.sender,
                    denial: Record.Denial(
                        origin: watched.origin, account: watched.account, subject: .further,
                        count: min(watched.further, Record.Denial.countLimit))))
        }
        return found
    }

    // MARK: What the kernel tells

    /// Takes a report, and gives what is to be recorded now.
    mutating func take(_ report: KernelReport) -> [Found] {
        switch report {
        case .call(let call):
            guard !call.isUnknownCall else { return [] }
            let signal = call.signal == 0 ? nil : call.signal
            let name = callName(call.architecture, call.number)
            return take(.call(name), call.ses, call.program, signal).map { [$0] } ?? []
        case .access(let event, let words, let path):
            // Without the second half nobody knows whose it was: so few are held.
            if accesses[event] == nil {
                accessOrder.append(event)
                if accessOrder.count > Self.eventLimit { accesses[accessOrder.removeFirst()] = nil }
            }
            guard accesses[event]?.count ?? 0 < Self.recordLimit else { return [] }
            accesses[event, default: []].append(Access(words: words, path: path))
            return []
        case .caller(let event, let ses, let program):
            guard let waiting = accesses.removeValue(forKey: event) else { return [] }
            accessOrder.removeAll { $0 == event }
            return waiting.compactMap { take(.access($0.words, path: $0.path), ses, program, nil) }
        }
    }

    private mutating func take(
        _ subject: Record.Denial.Subject, _ ses: UInt32, _ program: ByteText?, _ signal: UInt8?
    ) -> Found? {
        guard let id = bySes[ses], let watched = sessions[id] else { return nil }
        // The first one that ended a process is recorded however many others there were: the session's own word on it is
        // then not needed.
        let isFirstKill = signal != nil && !watched.hasKill
        let key = Key(subject: subject, program: program, signal: signal)
        guard isFirstKill || (watched.known.count < Self.recordLimit && !watched.known.contains(key)) else {
            let (further, overflows) = watched.further.addingReportingOverflow(1)
            if !overflows { sessions[id]?.further = further }
            return nil
        }
        sessions[id]?.known.insert(key)
        if signal != nil { sessions[id]?.hasKill = true }
        return Found(
            session: id, sender: watched.sender,
            denial: Record.Denial(
                origin: watched.origin, account: watched.account, subject: subject, signal: signal, program: program))
    }
}
