// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// How many places are taken, in all and by each source address.
struct Places {
    /// The places taken in all.
    private(set) var taken = 0
    private var bySource: [IPAddress: Int] = [:]

    /// The places that a source has taken.
    func taken(by source: IPAddress) -> Int {
        bySource[source] ?? 0
    }

    /// Takes a place for a source, if there is one both in all and for it.
    mutating func take(for source: IPAddress, limit: Int, perSource: Int) -> Bool {
        guard taken < limit, taken(by: source) < perSource else { return false }
        takeAnyway(for: source)
        return true
    }

    /// Takes a place that cannot be refused, because what it is for has already begun.
    mutating func takeAnyway(for source: IPAddress) {
        taken += 1
        bySource[source, default: 0] += 1
    }

    /// Gives a place back.
    mutating func free(for source: IPAddress) {
        guard let count = bySource[source] else { return }
        taken -= 1
        // A source without places leaves nothing behind: the table is no larger than what is under way.
        bySource[source] = count > 1 ? count - 1 : nil
    }
}

/// Whose connect-back is under way, and who waits for a turn: at most so many at once to one source, first come first
/// served (wire.md, Connect-back).
struct ConnectBackTurns {
    private struct Queue {
        var underWay = 0
        var waiting: [UInt64] = []
    }

    private let limit: Int
    private var queues: [IPAddress: Queue] = [:]

    init(limit: Int = ConnectBackRule.limitPerSource) {
        self.limit = limit
    }

    /// Asks for a turn: true where it is now, false where the connection waits.
    mutating func ask(_ connection: UInt64, source: IPAddress) -> Bool {
        var queue = queues[source] ?? Queue()
        let isNow = queue.underWay < limit
        if isNow { queue.underWay += 1 } else { queue.waiting.append(connection) }
        queues[source] = queue
        return isNow
    }

    /// A turn is over; returns whose is next, and that one's has begun.
    mutating func end(source: IPAddress) -> UInt64? {
        guard var queue = queues[source], queue.underWay > 0 else { return nil }
        guard !queue.waiting.isEmpty else {
            queue.underWay -= 1
            queues[source] = queue.underWay == 0 ? nil : queue
            return nil
        }
        let next = queue.waiting.removeFirst()
        queues[source] = queue
        return next
    }

    /// A connection that waited for its turn no longer does.
    mutating func cancel(_ connection: UInt64, source: IPAddress) {
        queues[source]?.waiting.removeAll { $0 == connection }
    }

    /// Whether nothing is under way and nobody waits.
    var isEmpty: Bool { queues.isEmpty }
}

/// When a refusal is answered (wire.md, Refusal).
enum RefusalTime {
    /// The first whole multiple of `delay` from `origin` that is not before `decided`, and at least one.
    ///
    /// All three are of one unit, and the first two of one clock. A client thus learns from the time no more than how
    /// many delays a decision took.
    static func due(origin: Int64, decided: Int64, delay: Int64) -> Int64 {
        let step = max(delay, 1)
        let elapsed = max(decided - origin, 0)
        let steps = max((elapsed + step - 1) / step, 1)
        return origin + steps * step
    }
}
