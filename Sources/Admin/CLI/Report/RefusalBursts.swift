// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Stretches in which one source was refused again and again.
struct RefusalBursts {
    /// Such a stretch.
    struct Burst: Equatable {
        var source: IPAddress?
        /// Milliseconds since 1970.
        var first: UInt64
        var last: UInt64
        /// How many refusals.
        var count: Int
        /// How many for each reason.
        var reasons: [Reason: Int]
        /// Accounts that were asked for; at most `accountLimit` of them.
        var accounts: Set<ByteText>

        /// The most accounts that are told apart.
        static let accountLimit = 1_000
    }

    /// Two refusals this far apart, in milliseconds, are of one stretch.
    static let gap: UInt64 = 60_000
    /// The fewest refusals of a stretch that is told.
    static let threshold = 10
    /// The most sources that are looked at at once.
    private static let sourceLimit = 65_536
    /// The most stretches that are kept.
    private static let keptLimit = 256

    private var open: [IPAddress?: Burst] = [:]
    private var kept: [Burst] = []
    /// How many there were.
    private(set) var total = 0

    /// Takes a refusal.
    mutating func add(_ session: TrailSession) {
        guard let reason = session.refusal else { return }
        let moment = session.finished
        if let burst = open[session.address], moment > burst.last, moment - burst.last > Self.gap {
            open[session.address] = nil
            close(burst)
        }
        if open[session.address] == nil, open.count >= Self.sourceLimit { closeOld(before: moment) }
        // Where every source is busy, further ones go unseen.
        guard open[session.address] != nil || open.count < Self.sourceLimit else { return }
        var burst =
            open[session.address]
            ?? Burst(source: session.address, first: moment, last: moment, count: 0, reasons: [:], accounts: [])
        burst.first = min(burst.first, moment)
        burst.last = max(burst.last, moment)
        burst.count = burst.count.addingReportingOverflow(session.count).partialValue
        burst.reasons[reason, default: 0] += session.count
        if let account = session.account, burst.accounts.count < Burst.accountLimit { burst.accounts.insert(account) }
        open[session.address] = burst
    }

    private mutating func closeOld(before moment: UInt64) {
        let old = open.filter { moment > $0.value.last && moment - $0.value.last > Self.gap }
        for (source, burst) in old {
            open[source] = nil
            close(burst)
        }
    }

    private mutating func close(_ burst: Burst) {
        guard burst.count >= Self.threshold else { return }
        total += 1
        kept.append(burst)
        if kept.count > 2 * Self.keptLimit { kept = Array(Self.sorted(kept).prefix(Self.keptLimit)) }
    }

    /// The largest ones, and how many there were.
    func largest(_ number: Int) -> [Burst] {
        var all = self
        for burst in open.values { all.close(burst) }
        return Array(Self.sorted(all.kept).prefix(number))
    }

    /// How many there were, those that go on included.
    var count: Int { total + open.values.filter { $0.count >= Self.threshold }.count }

    private static func sorted(_ bursts: [Burst]) -> [Burst] {
        bursts.sorted { ($0.count, $1.first) > ($1.count, $0.first) }
    }
}
