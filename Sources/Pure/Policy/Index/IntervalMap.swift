// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A value for each interval into which some bounds cut a line.
///
/// The bound of every eighth interval also stands in a list of its own, which stays in a processor's nearer memory: a
/// look-up halves that list and then reads one or two lines.
struct IntervalMap<Bound: FixedWidthInteger & Sendable, Value: Sendable>: Sendable {
    private struct Interval: Sendable {
        let start: Bound
        var value: Value
    }

    private static var stride: Int { 8 }

    private var intervals: [Interval] = []
    private var samples: [Bound] = []

    /// Begins an interval; bounds come in order, and what is said last of one holds.
    mutating func start(_ bound: Bound, _ value: Value) {
        if intervals.last?.start == bound {
            intervals[intervals.count - 1].value = value
            return
        }
        if intervals.count % Self.stride == 0 { samples.append(bound) }
        intervals.append(Interval(start: bound, value: value))
    }

    /// The value of the interval that holds a number; nil before the first.
    func value(of number: Bound) -> Value? {
        guard let first = samples.first, first <= number else { return nil }
        // The last sample that is no more than the number. Without a branch, which nothing could foretell.
        var sample = 0
        var count = samples.count
        while count > 1 {
            let half = count / 2
            sample += samples[sample + half] <= number ? half : 0
            count -= half
        }
        var place = sample * Self.stride
        let end = min(place + Self.stride, intervals.count) - 1
        while place < end, intervals[place + 1].start <= number { place += 1 }
        return intervals[place].value
    }

    /// The same intervals with other values.
    func mapValues<Other>(_ transform: (Value) -> Other) -> IntervalMap<Bound, Other> {
        var mapped = IntervalMap<Bound, Other>()
        for interval in intervals { mapped.start(interval.start, transform(interval.value)) }
        return mapped
    }
}
