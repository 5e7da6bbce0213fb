// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// How often each of many things occurred, in bounded memory.
///
/// What a stranger chooses, such as addresses, can be more than memory holds: beyond the limit, things that were not among
/// the first are counted together.
struct Tally<Key: Hashable> {
    /// How often.
    struct Count: Equatable {
        /// All requests.
        var requests = 0
        /// Those of them that were refused.
        var refused = 0
        /// Bytes of both directions.
        var bytes: UInt64 = 0

        static func += (left: inout Count, right: Count) {
            left.requests = left.requests.addingReportingOverflow(right.requests).partialValue
            left.refused = left.refused.addingReportingOverflow(right.refused).partialValue
            let (sum, overflowed) = left.bytes.addingReportingOverflow(right.bytes)
            left.bytes = overflowed ? .max : sum
        }
    }

    /// The most things that are counted apart.
    private let limit: Int
    private var counts: [Key: Count] = [:]
    /// Those beyond the limit, together.
    private(set) var others = Count()

    init(limit: Int = 65_536) {
        self.limit = limit
    }

    /// Counts something.
    mutating func add(_ key: Key, _ count: Count) {
        if counts[key] != nil || counts.count < limit {
            counts[key, default: Count()] += count
        } else {
            others += count
        }
    }

    /// How many things there are; those that are counted together are not among them.
    var distinct: Int { counts.count }

    /// How often one occurred.
    subscript(key: Key) -> Count? { counts[key] }

    /// Those that occurred most often, and in the order of their names where they occurred as often.
    func most(_ number: Int, by amount: (Count) -> Int = { $0.requests }, name: (Key) -> String)
        -> [(key: Key, count: Count)]
    {
        // Names are made only of those that could be shown.
        let sorted = counts.sorted { amount($0.value) > amount($1.value) }
        guard let last = sorted.prefix(number).last else { return [] }
        let candidates = sorted.prefix { amount($0.value) >= amount(last.value) }.prefix(10_000)
        let named = candidates.map { (key: $0.key, count: $0.value, name: name($0.key)) }
        return named.sorted { (amount($1.count), $0.name) < (amount($0.count), $1.name) }.prefix(number)
            .map { (key: $0.key, count: $0.count) }
    }
}
