// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// What a report says, gathered from a trail in bounded memory.
struct ReportFindings {
    /// The most sessions of a list of the longest or largest, and the most bursts.
    static let listLimit = 10
    /// The most events of the gateway that are shown, the last ones.
    static let eventLimit = 40

    /// What all sessions come to.
    private(set) var statistics = TrailStatistics()
    /// When they began.
    private(set) var histogram = LoginHistogram()
    /// At what hours of the week they began.
    private(set) var week = WeekHours()
    /// When refusals came in bursts.
    private(set) var bursts = RefusalBursts()
    /// Those that ran longest.
    private(set) var longest = Largest<TrailSession>(limit: listLimit)
    /// Those that moved the most bytes.
    private(set) var largest = Largest<TrailSession>(limit: listLimit)
    /// What sandboxes denied, by sandbox and in words.
    private(set) var denials = Tally<DeniedThing>(limit: 4_096)
    /// What happened to the gateway itself.
    private(set) var events: [GatewayEvent] = []
    /// How many such events there were.
    private(set) var eventCount = 0
    private var clock: LocalClock

    /// Something that a sandbox denied.
    struct DeniedThing: Hashable {
        var what: String
        var isEnding: Bool
    }

    /// A start, a stop, a policy, or a word of the auditor's about the trail.
    struct GatewayEvent: Equatable {
        /// Milliseconds since 1970.
        var moment: UInt64
        var kind: TrailEvent.Kind
        var text: String
        /// Whether somebody should look at it.
        var isBad: Bool
    }

    init(zone: LocalZone) {
        clock = LocalClock(zone)
    }

    /// Takes a session.
    mutating func add(_ session: TrailSession) {
        statistics.add(session)
        let outcome = TrailStatistics.outcome(session)
        let time = clock.civil(milliseconds: session.began)
        histogram.add(time, LoginHistogram.Series(outcome), session.count)
        week.add(time, session.count)
        bursts.add(session)
        if let duration = session.duration { longest.add(session, by: duration) }
        if session.bytes > 0 { largest.add(session, by: session.bytes) }
    }

    /// Takes a record, for what concerns no session or is only counted.
    mutating func add(_ event: TrailEvent) {
        switch event.entry {
        case .record(.denial(let denial)):
            denials.add(
                DeniedThing(what: Self.words(denial), isEnding: denial.signal != nil),
                Tally<DeniedThing>.Count(requests: denial.count))
        case .record(.serviceStart), .record(.serviceStop), .record(.policyLoaded), .record(.policyRejected), .note:
            eventCount += 1
            events.append(
                GatewayEvent(
                    moment: event.line.stamp.milliseconds, kind: event.kind, text: event.shortDetail,
                    isBad: [.died, .policyRejected, .trailNote].contains(event.kind)))
            if events.count > 2 * Self.eventLimit { events.removeFirst(events.count - Self.eventLimit) }
        case .record, .lostRequest:
            return
        }
    }

    private static func words(_ denial: Record.Denial) -> String {
        switch denial.subject {
        case .call(nil): return "a system call that the kernel did not name"
        case .call(let name?): return "system call \(name)"
        case .access(let access, _): return access
        case .further: return "more, not recorded one by one"
        }
    }
}

/// The largest of many by some amount.
struct Largest<Value> {
    private let limit: Int
    private(set) var values: [(value: Value, amount: UInt64)] = []

    init(limit: Int) {
        self.limit = limit
    }

    /// Keeps a value where it is among the largest; of equal ones the first.
    mutating func add(_ value: Value, by amount: UInt64) {
        if values.count == limit, let last = values.last, last.amount >= amount { return }
        let place = values.firstIndex { $0.amount < amount } ?? values.count
        values.insert((value, amount), at: place)
        if values.count > limit { values.removeLast() }
    }
}
