// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension PolicyAnalysis {
    /// What a block or an hour costs that is sorted into a clause's ranges, in steps.
    private static let rangeCost = 4

    private mutating func ranges(
        of rule: Rule
    ) throws(WorkLimitReached) -> ClauseCache<AddressBlock, AddressRanges>.Known? {
        guard let sources = rule.sources, !sources.isAny else { return nil }
        try step(1 + sources.literal.count + sources.sets.count)
        if let known = addressRanges.find(sources.literal, sources.sets) { return known }
        try step(Self.rangeCost * sources.sets.reduce(sources.literal.count) { $0 + $1.items.count })
        return addressRanges.add(sources.literal, sources.sets, AddressRanges(sources))
    }

    private mutating func minutes(
        of rule: Rule
    ) throws(WorkLimitReached) -> ClauseCache<WeeklyRange, IntervalSet<Int>>.Known? {
        guard let hours = rule.hours else { return nil }
        try step(1 + hours.literal.count + hours.sets.count)
        if let known = minuteRanges.find(hours.literal, hours.sets) { return known }
        try step(Self.rangeCost * hours.sets.reduce(hours.literal.count) { $0 + $1.items.count })
        return minuteRanges.add(hours.literal, hours.sets, IntervalSet(hours.ranges))
    }

    /// 192.0.2.1, where any address will do (RFC 5737).
    private static let documentation = IPAddress(v4: 0xC000_0201)

    /// The least addresses that every rule of `matching` matches.
    mutating func sourceAtoms(
        _ matching: [Rule], _ avoiding: [Rule], _ alive: AvoidedRules
    ) throws(WorkLimitReached) -> [Atom<IPAddress>] {
        var all = AddressRanges.all
        var inside = Set<Int>()
        for rule in matching {
            guard let clause = try ranges(of: rule), inside.insert(clause.number).inserted else { continue }
            guard inside.count > 1 else {
                all = clause.value
                continue
            }
            let before = min(all.count, clause.value.count)
            all = all.intersection(clause.value)
            try step(before + all.count)
        }
        var bounds = Bounds<AddressRanges>(avoiding.count)
        for index in alive.members {
            let clause = try ranges(of: avoiding[index])
            bounds.add(index, clause.flatMap { inside.contains($0.number) ? nil : ($0.number, $0.value) })
        }
        let usual = all.contains(Self.documentation) ? Self.documentation : nil
        let candidates = all.candidates(among: bounds.clauses.map(\.values))
        return try atoms(usual, candidates, bounds) { $0.contains($1) }
    }

    private static let minutesOfWeek = 7 * WeeklyRange.minutesOfDay

    /// The least moments that every rule of `matching` matches.
    mutating func timeAtoms(
        _ matching: [Rule], _ avoiding: [Rule], _ alive: AvoidedRules
    ) throws(WorkLimitReached) -> [Atom<LocalTime>] {
        var all = IntervalSet([0...(Self.minutesOfWeek - 1)])
        for rule in matching {
            guard let clause = try minutes(of: rule) else { continue }
            all = all.intersection(clause.value)
            try step(clause.value.ranges.count + all.ranges.count)
        }
        var bounds = Bounds<IntervalSet<Int>>(avoiding.count)
        for index in alive.members {
            bounds.add(index, try minutes(of: avoiding[index]).map { ($0.number, $0.value) })
        }
        // Monday noon, where any time will do.
        let noon = WeeklyRange.minutesOfDay + WeeklyRange.minutesOfDay / 2
        let candidates = all.candidates(among: bounds.clauses.map(\.values))
        let atoms = try atoms(all.contains(noon) ? noon : nil, candidates, bounds) { $0.contains($1) }
        return atoms.compactMap { atom in
            let (day, minute) = atom.value.quotientAndRemainder(dividingBy: WeeklyRange.minutesOfDay)
            return LocalTime(weekday: day, minute: minute).map { Atom(value: $0, matched: atom.matched) }
        }
    }

    /// The least atoms of some values.
    ///
    /// - Parameters:
    ///   - usual: what is tried first.
    ///   - candidates: the others; each costs a step, also where it is none.
    private mutating func atoms<Value, Values>(
        _ usual: Value?, _ candidates: some Sequence<Value?>, _ bounds: Bounds<Values>,
        _ contains: (Values, Value) -> Bool
    ) throws(WorkLimitReached) -> [Atom<Value>] {
        var out: [Atom<Value>] = []
        var seen = Set<AvoidedRules>()
        for candidate in [AnySequence([usual]), AnySequence(candidates)].joined() {
            try step(1)
            guard let value = candidate else { continue }
            try step(bounds.clauses.count)
            var matched = bounds.everywhere
            for clause in bounds.clauses where contains(clause.values, value) { matched.formUnion(clause.rules) }
            if matched == bounds.everywhere { return [Atom(value: value, matched: matched)] }
            if seen.insert(matched).inserted { out.append(Atom(value: value, matched: matched)) }
        }
        return try least(out)
    }
}

/// The avoided rules by what a clause of theirs leaves them.
private struct Bounds<Values> {
    /// Those that match all that is looked at.
    private(set) var everywhere: AvoidedRules
    /// The others; those whose clauses come to the same stand together.
    private(set) var clauses: [(rules: AvoidedRules, values: Values)] = []
    private var places: [Int: Int] = [:]
    private let count: Int

    init(_ count: Int) {
        self.count = count
        everywhere = AvoidedRules(noneOf: count)
    }

    mutating func add(_ rule: Int, _ clause: (number: Int, values: Values)?) {
        guard let clause else { return everywhere.insert(rule) }
        if let place = places[clause.number] { return clauses[place].rules.insert(rule) }
        var rules = AvoidedRules(noneOf: count)
        rules.insert(rule)
        places[clause.number] = clauses.count
        clauses.append((rules, clause.values))
    }
}
