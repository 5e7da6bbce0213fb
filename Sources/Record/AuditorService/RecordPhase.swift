// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// What a session may still send: each record in its phase, and each once.
///
/// A session can speak only for itself, so that one that was taken over can say nothing of others and nothing twice.
struct SessionPhase: Sendable {
    /// The most checks of credentials: hosts.equiv, .rhosts, a password, an account.
    static let authenticationLimit = 4
    /// The most notices.
    static let noticeLimit = 16

    private var hasIdentity = false
    private var authentications = 0
    private var notices = 0
    private var hasDenial = false
    private var isPermitted = false
    /// Whether a command's start was recorded.
    private(set) var hasStarted = false
    private var isRefused = false
    private var hasEnded = false

    /// The phase of a fresh session.
    init() {}

    /// The phase of a session that another auditor had: what the trail has of it, and what the monitor knows.
    init(known: [Record], hasStarted: Bool, isComplete: Bool) {
        for record in known { _ = admit(record) }
        if hasStarted {
            isPermitted = true
            self.hasStarted = true
        }
        hasEnded = hasEnded || isComplete
    }

    /// Whether the trail has the last word of the session: a refusal, or an end.
    var isComplete: Bool { isRefused || hasEnded }

    /// Takes note of who the session is; false where it said so before, or its command has started.
    mutating func identify(afterReplacement: Bool) -> Bool {
        // A session that another auditor knew says again who it is.
        guard !hasIdentity, !hasStarted || afterReplacement else { return false }
        hasIdentity = true
        return true
    }

    /// Takes note of a record; false where the phase does not permit it.
    mutating func admit(_ record: Record) -> Bool {
        switch record {
        case .authentication:
            guard !hasStarted, !isComplete, authentications < Self.authenticationLimit else { return false }
            authentications += 1
        case .login(let login) where login.refusal == nil:
            guard !isPermitted, !isComplete, login.count == 1, login.command == nil else { return false }
            isPermitted = true
        case .login(let login):
            // A launch can fail after its start was recorded.
            guard !isComplete, login.count == 1 else { return false }
            isRefused = true
        case .command:
            guard isPermitted, !hasStarted, !isComplete else { return false }
            hasStarted = true
        case .end(let end):
            guard hasStarted, !isComplete else { return false }
            // Only the monitor can know that a session was lost.
            if case .lost = end.outcome { return false }
            hasEnded = true
        case .notice(let notice):
            guard notices < Self.noticeLimit, notice.operation != Record.Denial.operation else { return false }
            notices += 1
        case .denial(let denial):
            // All that a session can know of its command; the rest is the kernel's to tell. What the trail already has
            // of an adopted session is no different.
            guard hasStarted, !isComplete else { return false }
            guard denial.subject == .call(nil), denial.signal == Record.Denial.systemCallSignal, denial.count == 1,
                denial.program == nil, !hasDenial
            else { return false }
            hasDenial = true
        case .serviceStart, .serviceStop, .policyLoaded, .policyRejected:
            return false
        }
        return true
    }

    /// Forgets a start that could not be recorded: the command does not run.
    mutating func withdrawStart() {
        hasStarted = false
    }
}

/// What the other two may send.
enum RecordRight {
    /// The most refusals that one record of front's stands for.
    static let countLimit = 1_000_000

    /// Front speaks of refusals alone, for the reasons that it finds itself, and of those that no session had, without
    /// their commands; what was refused while there was no auditor comes when there is one again. One record stands for
    /// several where there was no room for each on the way here.
    static func frontMaySend(_ record: Record) -> Bool {
        guard case .login(let login) = record, login.rule == nil, login.revision == nil, login.command == nil,
            login.pool == nil, (1...countLimit).contains(login.count)
        else { return false }
        switch login.refusal {
        case .sourcePort, .limit, .penalty, .protocolError, .unavailable, .auditUnavailable: return true
        default: return false
        }
    }

    /// The monitor speaks of services and policies alone; of a lost session it says so in an order of its own.
    static func monitorMaySend(_ record: Record) -> Bool {
        switch record {
        case .serviceStart, .serviceStop, .policyLoaded, .policyRejected: true
        case .authentication, .login, .command, .end, .notice, .denial: false
        }
    }
}
