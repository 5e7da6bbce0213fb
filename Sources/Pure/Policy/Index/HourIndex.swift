// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the sets of rules whose `during` holds a moment.
///
/// The bounds of all ranges cut the week into segments, and over the segments lies a binary tree: a range is a few
/// nodes of it, and a moment is in the nodes from its segment up to the root, at most fifteen.
struct HourIndex: Sendable {
    private static let minutesOfWeek = 7 * WeeklyRange.minutesOfDay

    /// The leaf of each minute of the week; empty where no rule has hours.
    private var leaves: [UInt16] = []
    private var lists: [RuleSetList] = []
    /// The rules that any moment satisfies.
    private let always: RuleSet?

    init(_ rules: NumberedRules, _ sets: inout RuleSets) {
        var postings = ClausePostings()
        var always: [UInt32] = []
        var ranges: [(set: Int, minutes: Range<Int>)] = []
        // Rules that write the same hours out share them as if by a set.
        var written: [[WeeklyRange]: Int] = [:]
        for (rule, place) in rules.numbers {
            guard let hours = rules.rules[place].hours else {
                always.append(rule)
                continue
            }
            if let set = written[hours.literal] {
                postings.insert(rule: rule, set: set)
            } else if !hours.literal.isEmpty {
                let set = postings.insertSet(rule: rule)
                written[hours.literal] = set
                ranges += Self.minutes(hours.literal).map { (set, $0) }
            }
            for named in hours.sets {
                guard let set = postings.insert(named, rule: rule) else { continue }
                ranges += Self.minutes(named.items).map { (set, $0) }
            }
        }
        self.always = sets.insert(always)
        guard !ranges.isEmpty else { return }

        var isBound = Array(repeating: false, count: Self.minutesOfWeek + 1)
        isBound[0] = true
        for (_, minutes) in ranges {
            isBound[minutes.lowerBound] = true
            isBound[minutes.upperBound] = true
        }
        var segments: [Int] = []
        segments.reserveCapacity(Self.minutesOfWeek)
        var count = 0
        for minute in 0...Self.minutesOfWeek {
            // The end of the week begins a segment of no minute.
            if isBound[minute] { count += 1 }
            segments.append(count - 1)
        }
        var width = 1
        while width < count { width *= 2 }
        for (set, minutes) in ranges {
            var low = segments[minutes.lowerBound] + width
            var high = segments[minutes.upperBound] + width
            while low < high {
                if low & 1 == 1 {
                    postings.insert(low, set: set)
                    low += 1
                }
                if high & 1 == 1 {
                    high -= 1
                    postings.insert(high, set: set)
                }
                low /= 2
                high /= 2
            }
        }
        lists = postings.lists(2 * width, of: [0..<rules.count], &sets)[0]
        // INVARIANT: at most 10,081 segments, so the leaves are below 32,768.
        leaves = segments.dropLast().map { UInt16($0 + width) }
    }

    /// The minutes that some hours hold, united: `sun-sat` is not a range of each day.
    private static func minutes(_ hours: [WeeklyRange]) -> [Range<Int>] {
        IntervalSet(hours).ranges.map { Range($0) }
    }

    /// Tells a search the sets of a moment.
    func tell(_ time: LocalTime, _ search: inout RuleSearch, _ sets: borrowing RuleSets) {
        search.add(always, of: sets)
        if !leaves.isEmpty {
            var node = leaves[time.weekday * WeeklyRange.minutesOfDay + time.minute]
            while node > 0 {
                search.add(lists[Int(node)], of: sets)
                node /= 2
            }
        }
        search.endClause()
    }
}
