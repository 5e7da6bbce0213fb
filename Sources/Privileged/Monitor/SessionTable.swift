// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// The sessions that run, as the monitor knows them: by what they said and by their process, never by their requests.
struct SessionTable {
    /// How far a session is.
    enum Phase {
        /// It decides, authenticates and sets the command up.
        case deciding
        /// Its command runs.
        case launched
        /// It has recorded its end or its refusal.
        case finished
    }

    /// A session.
    struct Entry {
        let number: UInt64
        let session: SessionID
        let process: ProcessHandle
        var outbox: Outbox
        let started: Int64
        let startedWall: Int64
        /// When it is killed if it has not launched, on the monotonic clock.
        let deadline: Int64
        var phase = Phase.deciding
        /// Why it was killed, if the monitor did it.
        var killed: Reason?
        var service: Service?
        var source: IPAddress?
        var target = ByteText([])
        var rule = ""
        var command = ByteText([])
        /// When a drain or `terminate` kills what is left of it, or it has taken too long to go.
        var killTime: Int64?
        /// Whether it checks a password, or waits to.
        var check = PasswordCheck.none
    }

    var entries: [UInt64: Entry] = [:]
    private var next: UInt64 = 0
    private var nextCheck: UInt64 = 0

    var count: Int { entries.count }

    /// How many sessions are on their way to a command, but for those that check a password or wait to.
    var deciding: Int { entries.values.count { $0.phase == .deciding && $0.check == .none } }

    mutating func number() -> UInt64 {
        next += 1
        return next
    }

    mutating func add(_ entry: Entry) {
        entries[entry.number] = entry
    }

    subscript(number: UInt64) -> Entry? {
        get { entries[number] }
        set { entries[number] = newValue }
    }

    /// Takes in what a session says of itself; false where it broke its protocol.
    mutating func take(_ frame: [UInt8], from number: UInt64, refused: inout UInt64) -> Bool {
        guard var entry = entries[number], let report = try? SessionReport(frame: frame) else { return false }
        switch (report, entry.phase) {
        case (.asked(let service, let source, let target), .deciding):
            entry.service = service
            entry.source = source
            entry.target = target
        case (.launched(let rule, let command), .deciding):
            entry.phase = .launched
            entry.rule = rule
            entry.command = command
        case (.refused, .deciding):
            entry.phase = .finished
            refused += 1
        case (.unrecorded(let reason), .deciding):
            // It ends now, and is recorded as a session that was lost for this reason.
            entry.killed = reason
            refused += 1
        case (.ended, .launched):
            entry.phase = .finished
        case (.passwordCheck, .deciding):
            guard entry.check == .none else { return false }
            nextCheck += 1
            entry.check = .waiting(place: nextCheck)
        case (.passwordChecked, .deciding):
            guard entry.check.isGranted else { return false }
            entry.check = .none
        default:
            return false
        }
        entries[number] = entry
        return true
    }

    /// The next moment at which a session is overdue.
    var nextDeadline: Int64? {
        entries.values.compactMap { entry in
            let isOverdueLater = entry.phase == .deciding && entry.killed == nil
            return [isOverdueLater ? entry.deadline : nil, entry.killTime].compactMap(\.self).min()
        }.min()
    }
}
