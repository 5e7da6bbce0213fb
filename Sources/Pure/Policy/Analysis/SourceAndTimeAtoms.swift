// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension PolicyAnalysis {
    private mutating func ranges(of rule: Rule) throws(WorkLimitReached) -> AddressRanges? {
        guard let sources = rule.sources, !sources.isAny else { return nil }
        if let known = addressRanges[sources] { return known }
        let made = AddressRanges(sources)
        try step(made.count)
        addressRanges[sources] = made
        return made
    }

    private mutating func minutes(of rule: Rule) -> IntervalSet<Int>? {
        guard let hours = rule.hours else { return nil }
        if let known = minuteRanges[hours] { return known }
        let made = IntervalSet(hours.ranges.flatMap(\.minutesOfWeek).map { $0.lowerBound...($0.upperBound - 1) })
        minuteRanges[hours] = made
        return made
    }

    /// 192.0.2.1, where any address will do (RFC 5737).
    private static let documentation = IPAddress(v4: 0xC000_0201)

    /// The least addresses that every rule of `matching` matches.
    mutating func sourceAtoms(
        _ matching: [Rule], _ avoiding: [Rule], _ alive: AvoidedRules
    ) throws(WorkLimitReached) -> [Atom<IPAddress>] {
        var all = AddressRanges.all
        for rule in matching {
            guard let ranges = try ranges(of: rule) else { continue }
            try step(min(all.count, ranges.count))
            all = all.intersection(ranges)
        }
        var everywhere = AvoidedRules(noneOf: avoiding.count)
        var bounded: [(index: Int, ranges: AddressRanges)] = []
        for index in alive.members {
            if let ranges = try ranges(of: avoiding[index]) {
                bounded.append((index, ranges))
                try step(ranges.count)
            } else {
                everywhere.insert(index)
            }
        }
        var candidates = all.candidates(among: bounded.map(\.ranges))
        if all.contains(Self.documentation) { candidates.insert(Self.documentation, at: 0) }
        return try atoms(candidates, everywhere, bounded.count) { address, matched in
            for (index, ranges) in bounded where ranges.contains(address) { matched.insert(index) }
        }
    }

    private static let minutesOfWeek = 7 * WeeklyRange.minutesOfDay

    /// The least moments that every rule of `matching` matches.
    mutating func timeAtoms(
        _ matching: [Rule], _ avoiding: [Rule], _ alive: AvoidedRules
    ) throws(WorkLimitReached) -> [Atom<LocalTime>] {
        var all = IntervalSet([0...(Self.minutesOfWeek - 1)])
        for rule in matching {
            if let minutes = minutes(of: rule) { all = all.intersection(minutes) }
        }
        var always = AvoidedRules(noneOf: avoiding.count)
        var bounded: [(index: Int, minutes: IntervalSet<Int>)] = []
        for index in alive.members {
            if let minutes = minutes(of: avoiding[index]) {
                bounded.append((index, minutes))
            } else {
                always.insert(index)
            }
        }
        // Monday noon, where any time will do.
        let noon = WeeklyRange.minutesOfDay + WeeklyRange.minutesOfDay / 2
        let candidates = (all.contains(noon) ? [noon] : []) + all.candidates(among: bounded.map(\.minutes))
        let atoms = try atoms(candidates, always, bounded.count) { minute, matched in
            for (index, minutes) in bounded where minutes.contains(minute) { matched.insert(index) }
        }
        return atoms.compactMap { atom in
            let (day, minute) = atom.value.quotientAndRemainder(dividingBy: WeeklyRange.minutesOfDay)
            return LocalTime(weekday: day, minute: minute).map { Atom(value: $0, matched: atom.matched) }
        }
    }

    /// The least atoms of some values.
    ///
    /// - Parameters:
    ///   - always: the avoided rules that match each of them.
    ///   - cost: the steps that one value takes.
    ///   - match: adds the others that match a value.
    private mutating func atoms<Value>(
        _ values: [Value], _ always: AvoidedRules, _ cost: Int, _ match: (Value, inout AvoidedRules) -> Void
    ) throws(WorkLimitReached) -> [Atom<Value>] {
        var out: [Atom<Value>] = []
        var seen = Set<AvoidedRules>()
        for value in values {
            try step(1 + cost)
            var matched = always
            match(value, &matched)
            if matched == always { return [Atom(value: value, matched: matched)] }
            if seen.insert(matched).inserted { out.append(Atom(value: value, matched: matched)) }
        }
        return try least(out)
    }
}
