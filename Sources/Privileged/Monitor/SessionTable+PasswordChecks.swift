// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Where a session is with its password.
enum PasswordCheck: Sendable, Hashable {
    /// It has not asked, or is done.
    case none
    /// It waits for a place; a lower one came earlier.
    case waiting(place: UInt64)
    /// It checks: looked at last at `since`, when it had used so much of the processor.
    case checking(since: Int64, used: Int64)
    /// It was let check, and has slept since: it counts no longer.
    case asleep

    /// Whether it was let check.
    var isGranted: Bool {
        switch self {
        case .none, .waiting: false
        case .checking, .asleep: true
        }
    }
}

/// At most so many passwords are checked at once in the whole gateway, whatever clients send and whoever checks them.
///
/// The place is a state of the session's entry, so that it comes back with the entry, however the session ended.
extension SessionTable {
    /// The places: one a processor, no fewer than two, so that one check that hangs leaves another, and no more than
    /// sixteen: a hash of yescrypt's default cost takes 16 MiB.
    static func checkPlaces(processors: Int) -> Int {
        min(max(processors, 2), 16)
    }

    /// A check that has slept so long is not a hash; in milliseconds.
    static let sleepLimit: Int64 = 5_000
    /// The processor time that tells a hash on a crowded machine from a sleeper, for each `sleepLimit`; in milliseconds.
    static let awakeMinimum: Int64 = 100

    /// The sessions that may check now: those of sources that check least come first, then those that waited longest.
    ///
    /// A module that waits for a network would else keep the places of all that use the processor. So while others
    /// wait, a check that slept through `sleepLimit` no longer counts.
    ///
    /// - Parameters:
    ///   - now: on the monotonic clock.
    ///   - used: the processor time of a session in milliseconds; nil where it cannot be told, which is no sleep.
    mutating func grantChecks(places: Int, now: Int64, used: (Entry) -> Int64?) -> [UInt64] {
        var waiting: [(number: UInt64, place: UInt64, source: IPAddress?)] = entries.values.compactMap { entry in
            guard case .waiting(let place) = entry.check, entry.killed == nil else { return nil }
            return (entry.number, place, entry.source)
        }
        guard !waiting.isEmpty else { return [] }
        waiting.sort { $0.place < $1.place }
        for (number, entry) in entries {
            guard case .checking(let since, let before) = entry.check, since + Self.sleepLimit <= now else { continue }
            let sum = used(entry) ?? .max
            entries[number]?.check =
                sum - before < Self.awakeMinimum ? .asleep : .checking(since: now, used: sum)
        }
        let checking = entries.values.filter { if case .checking = $0.check { true } else { false } }
        var load: [IPAddress?: Int] = [:]
        for entry in checking { load[entry.source, default: 0] += 1 }
        var granted: [UInt64] = []
        while checking.count + granted.count < places {
            // The first of the least: `min` takes the earliest of equals.
            let next = waiting.indices.min {
                load[waiting[$0].source, default: 0] < load[waiting[$1].source, default: 0]
            }
            guard let next else { break }
            let (number, _, source) = waiting.remove(at: next)
            let before = entries[number].flatMap(used) ?? 0
            entries[number]?.check = .checking(since: now, used: before)
            load[source, default: 0] += 1
            granted.append(number)
        }
        return granted
    }

    /// When `grantChecks` has something to look at; nil while nobody waits.
    var nextCheckLook: Int64? {
        let isAnyWaiting = entries.values.contains { if case .waiting = $0.check { true } else { false } }
        guard isAnyWaiting else { return nil }
        return entries.values.compactMap { entry in
            if case .checking(let since, _) = entry.check { since + Self.sleepLimit } else { nil }
        }.min()
    }
}
