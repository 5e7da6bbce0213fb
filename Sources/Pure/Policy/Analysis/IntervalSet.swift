// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Whole numbers as ranges: sorted, and none touching the next.
struct IntervalSet<Bound: FixedWidthInteger & Sendable>: Sendable, Hashable {
    let ranges: [ClosedRange<Bound>]

    /// The union of ranges.
    init(_ parts: [ClosedRange<Bound>]) {
        var out: [ClosedRange<Bound>] = []
        for part in parts.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            guard let last = out.last, last.upperBound == .max || part.lowerBound <= last.upperBound + 1 else {
                out.append(part)
                continue
            }
            if part.upperBound > last.upperBound { out[out.count - 1] = last.lowerBound...part.upperBound }
        }
        ranges = out
    }

    /// Ranges that are in order already, and of which none touches the next.
    private init(inOrder ranges: [ClosedRange<Bound>]) {
        self.ranges = ranges
    }

    func contains(_ value: Bound) -> Bool {
        let index = firstEnding(atOrAfter: value)
        return index < ranges.count && ranges[index].lowerBound <= value
    }

    func intersection(_ other: Self) -> Self {
        var out: [ClosedRange<Bound>] = []
        let (short, long) = ranges.count <= other.ranges.count ? (self, other) : (other, self)
        for range in short.ranges {
            var index = long.firstEnding(atOrAfter: range.lowerBound)
            while index < long.ranges.count, long.ranges[index].lowerBound <= range.upperBound {
                out.append(range.clamped(to: long.ranges[index]))
                index += 1
            }
        }
        return Self(inOrder: out)
    }

    /// The place of the first range that ends at a value or behind it.
    private func firstEnding(atOrAfter value: Bound) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Values of this set, of which one is in as few of some other sets as any value is, for every such few.
    ///
    /// From any value, go down until a range of this set starts or one of another set has just ended: on the way no
    /// other set was entered.
    ///
    /// They are made as they are asked for; nil stands for the end of a range behind which this set has nothing.
    func candidates(among others: [Self]) -> some Sequence<Bound?> {
        let starts = ranges.lazy.map { Optional($0.lowerBound) }
        let ends = others.lazy.flatMap { other in
            other.ranges.lazy.map { range -> Bound? in
                guard range.upperBound != .max, contains(range.upperBound + 1) else { return nil }
                return range.upperBound + 1
            }
        }
        return [AnySequence(starts), AnySequence(ends)].lazy.joined()
    }
}

extension IntervalSet<Int> {
    /// The minutes of the week that some hours hold.
    init(_ hours: some Sequence<WeeklyRange>) {
        var parts: [ClosedRange<Int>] = []
        for range in hours {
            parts += range.minutesOfWeek.map { $0.lowerBound...($0.upperBound - 1) }
            // United now and then: a set may be long, and a week has few ranges that do not touch.
            if parts.count > 2 * 7 * WeeklyRange.minutesOfDay { parts = Self(parts).ranges }
        }
        self.init(parts)
    }
}

/// Addresses as ranges, by family.
struct AddressRanges: Sendable, Hashable {
    var v4: IntervalSet<UInt128>
    var v6: IntervalSet<UInt128>

    /// Every address. The IPv6 addresses that are v4-mapped are none of their own.
    static let all = AddressRanges(
        v4: IntervalSet([0...UInt128(UInt32.max)]),
        v6: IntervalSet([0...(mapped.lowerBound - 1), (mapped.upperBound + 1)...UInt128.max]))

    /// ::ffff:0:0/96.
    private static let mapped: ClosedRange<UInt128> = 0xFFFF_0000_0000...0xFFFF_FFFF_FFFF

    init(v4: IntervalSet<UInt128>, v6: IntervalSet<UInt128>) {
        self.v4 = v4
        self.v6 = v6
    }

    /// The addresses of a clause.
    init(_ sources: Sources) {
        guard !sources.isAny else {
            self = .all
            return
        }
        var v4: [ClosedRange<UInt128>] = []
        var v6: [ClosedRange<UInt128>] = []
        for block in sources.blocks {
            let host = UInt128(block.base.family.width - block.prefixLength)
            let last = block.base.value | (host == 128 ? .max : (1 << host) - 1)
            switch block.base.family {
            case .v4: v4.append(block.base.value...last)
            case .v6: v6.append(block.base.value...last)
            }
        }
        self.v4 = IntervalSet(v4)
        self.v6 = IntervalSet(v6).intersection(Self.all.v6)
    }

    /// How many ranges there are.
    var count: Int { v4.ranges.count + v6.ranges.count }

    func intersection(_ other: Self) -> Self {
        AddressRanges(v4: v4.intersection(other.v4), v6: v6.intersection(other.v6))
    }

    func contains(_ address: IPAddress) -> Bool {
        switch address.family {
        case .v4: v4.contains(address.value)
        case .v6: v6.contains(address.value)
        }
    }

    /// As `IntervalSet.candidates`, IPv4 first.
    func candidates(among others: [Self]) -> some Sequence<IPAddress?> {
        let v4 = v4.candidates(among: others.map(\.v4)).lazy.map { value in
            value.map { IPAddress(v4: UInt32(truncatingIfNeeded: $0)) }
        }
        let v6 = v6.candidates(among: others.map(\.v6)).lazy.map { value in value.map { IPAddress(v6: $0) } }
        return [AnySequence(v4), AnySequence(v6)].lazy.joined()
    }
}
