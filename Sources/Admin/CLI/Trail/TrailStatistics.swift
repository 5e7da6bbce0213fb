// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// What many sessions come to.
struct TrailStatistics {
    /// How a request came out, as people count.
    enum Outcome: String, CaseIterable {
        case succeeded = "exit 0"
        case failed = "other exit"
        case signalled = "signal"
        case limited = "limit"
        case lost
        case running
        case endless = "no end"
        case refused
    }

    /// All requests.
    private(set) var total = Tally<Int>.Count()
    private(set) var outcomes: [Outcome: Int] = [:]
    private(set) var sources = Tally<IPAddress?>()
    private(set) var targets = Tally<ByteText?>()
    private(set) var rules = Tally<String?>()
    private(set) var reasons: [Reason: Int] = [:]
    private(set) var services: [Service: Int] = [:]
    /// The places of rules, as they were last recorded.
    private(set) var places: [String: FilePlace] = [:]
    /// The first and the last moment of any session, in milliseconds since 1970.
    private(set) var first: UInt64?
    private(set) var last: UInt64?
    private(set) var bytesIn: UInt64 = 0
    private(set) var bytesOut: UInt64 = 0
    private(set) var bytesErr: UInt64 = 0
    /// Milliseconds that commands ran, all together and the longest.
    private(set) var milliseconds: UInt64 = 0
    private(set) var longest: UInt64 = 0
    /// What sandboxes denied.
    private(set) var denials = 0

    /// Counts a session.
    mutating func add(_ session: TrailSession) {
        let count = Tally<Int>.Count(
            requests: session.count, refused: session.isRefused ? session.count : 0, bytes: session.bytes)
        total += count
        outcomes[Self.outcome(session), default: 0] += session.count
        if let service = session.service { services[service, default: 0] += session.count }
        sources.add(session.address, Self.same(count))
        targets.add(session.account, Self.same(count))
        if let rule = session.rule {
            rules.add(rule.name, Self.same(count))
            if places[rule.name] != nil || places.count < 65_536 { places[rule.name] = rule.place }
        } else {
            rules.add(nil, Self.same(count))
        }
        if let reason = session.refusal { reasons[reason, default: 0] += session.count }
        first = min(first ?? session.began, session.began)
        last = max(last ?? session.finished, session.finished)
        denials = denials.addingReportingOverflow(session.denials).partialValue
        guard let end = session.end else { return }
        bytesIn = Self.sum(bytesIn, end.bytesIn)
        bytesOut = Self.sum(bytesOut, end.bytesOut)
        bytesErr = Self.sum(bytesErr, end.bytesErr)
        if let duration = session.duration {
            milliseconds = Self.sum(milliseconds, duration)
            longest = max(longest, duration)
        }
    }

    /// How a session came out.
    static func outcome(_ session: TrailSession) -> Outcome {
        switch session.state {
        case .refused: return .refused
        case .lost: return .lost
        case .running: return .running
        case .endless: return .endless
        case .exited, .signalled:
            guard let end = session.end else { return .endless }
            if end.limit != nil { return .limited }
            switch end.outcome {
            case .status(0): return .succeeded
            case .status: return .failed
            case .signal, .lost: return .signalled
            }
        }
    }

    private static func same<Key>(_ count: Tally<Int>.Count) -> Tally<Key>.Count {
        Tally<Key>.Count(requests: count.requests, refused: count.refused, bytes: count.bytes)
    }

    private static func sum(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let (sum, overflowed) = left.addingReportingOverflow(right)
        return overflowed ? .max : sum
    }

    /// The name of a source for people.
    static func name(_ source: IPAddress?) -> String { source?.description ?? "(unknown)" }
    /// The name of an account for people.
    static func name(_ account: ByteText?) -> String { account.map(Shown.name) ?? "(unknown)" }
    /// The name of a rule for people.
    static func name(_ rule: String?) -> String { rule.map { ByteText($0).printable } ?? "(no rule)" }
}
