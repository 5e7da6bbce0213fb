// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Which values the rules' clauses speak of, while an index is made: in the rule itself or through a set.
struct ClausePostings {
    private var literals: [(value: UInt32, rule: UInt32)] = []
    private var items: [(value: UInt32, set: UInt32)] = []
    /// Of each set the rules that name it.
    private var rulesOfSets: [[UInt32]] = []
    private var numbers: [ObjectIdentifier: Int] = [:]

    /// Whether there is nothing.
    var isEmpty: Bool { literals.isEmpty && items.isEmpty }

    /// A rule names a value itself. Rules come in order.
    mutating func insert(_ value: Int, rule: UInt32) {
        literals.append((UInt32(value), rule))
    }

    /// A rule names a set; the set's number if its items were not told yet.
    mutating func insert(_ set: AnyObject, rule: UInt32) -> Int? {
        // A set is one object, however many rules name it.
        let identifier = ObjectIdentifier(set)
        if let number = numbers[identifier] {
            rulesOfSets[number].append(rule)
            return nil
        }
        let number = insertSet(rule: rule)
        numbers[identifier] = number
        return number
    }

    /// A rule is the first that names a set that has no object; the set's number.
    mutating func insertSet(rule: UInt32) -> Int {
        rulesOfSets.append([rule])
        return rulesOfSets.count - 1
    }

    /// One more rule names a set that has no object.
    mutating func insert(rule: UInt32, set: Int) {
        rulesOfSets[set].append(rule)
    }

    /// A set holds a value. The items of one set come together.
    mutating func insert(_ value: Int, set: Int) {
        items.append((UInt32(value), UInt32(set)))
    }

    /// More sets of a value than these are united where memory allows.
    private static let listLimit = 12

    /// The lists of all values, for each range of rules.
    func lists(_ count: Int, of ranges: [Range<Int>], _ sets: inout RuleSets) -> [[RuleSetList]] {
        let literal = Grouping(literals.lazy.map { ($0.value, $0.rule) }, count)
        let item = Grouping(items.lazy.map { ($0.value, $0.set) }, count)
        return ranges.map { lists(literal, item, count, of: $0, &sets) }
    }

    private func lists(
        _ literal: Grouping, _ item: Grouping, _ count: Int, of rules: Range<Int>, _ sets: inout RuleSets
    ) -> [RuleSetList] {
        let rulesOfSets = rulesOfSets.map { $0.filter { rules.contains(Int($0)) } }
        let ruleSets = rulesOfSets.map { sets.insert($0) }
        var united: [[RuleSet]: RuleSet] = [:]
        var lists: [RuleSetList] = []
        lists.reserveCapacity(count)
        var own: [UInt32] = []
        var named: [RuleSet] = []
        for value in 0..<count {
            if let rule = literal.only(value, unless: item) {
                // Most values stand in one rule alone.
                lists.append(
                    rules.contains(Int(rule)) ? sets.list(CollectionOfOne(RuleSet(rule: rule))) : .none)
                continue
            }
            named.removeAll(keepingCapacity: true)
            own.removeAll(keepingCapacity: true)
            literal.forEach(value) { if rules.contains(Int($0)) { own.append($0) } }
            item.forEach(value) { set in
                // What one rule alone names is as if it stood in the rule.
                if rulesOfSets[Int(set)].count == 1 {
                    own.append(rulesOfSets[Int(set)][0])
                } else if let ruleSet = ruleSets[Int(set)], named.last != ruleSet {
                    named.append(ruleSet)
                }
            }
            if own.isEmpty, named.isEmpty {
                lists.append(.none)
                continue
            }
            if named.contains(.all) {
                lists.append(sets.list(CollectionOfOne(.all)))
                continue
            }
            if named.count > Self.listLimit {
                if let union = united[named] ?? sets.affordableUnion(named) {
                    united[named] = union
                    named = [union]
                }
            }
            if own.count > 1 { own.sort() }
            if let set = sets.insert(own) { named.append(set) }
            lists.append(sets.list(named))
        }
        return lists
    }
}

/// Pairs of a value and a number, by value, in the order in which they came.
private struct Grouping {
    private var starts: [Int]
    private var ends: [Int]
    private var numbers: [UInt32]

    init(_ pairs: some Collection<(UInt32, UInt32)>, _ count: Int) {
        ends = Array(repeating: 0, count: count)
        for (value, _) in pairs { ends[Int(value)] += 1 }
        var total = 0
        for value in ends.indices {
            let its = ends[value]
            ends[value] = total
            total += its
        }
        starts = ends
        numbers = Array(repeating: 0, count: total)
        for (value, number) in pairs {
            numbers[ends[Int(value)]] = number
            ends[Int(value)] += 1
        }
    }

    /// The number of a value that has one here and none in another grouping.
    @inline(__always)
    func only(_ value: Int, unless other: Grouping) -> UInt32? {
        let start = starts[value]
        guard ends[value] - start == 1, other.starts[value] == other.ends[value] else { return nil }
        return numbers[start]
    }

    /// Tells the numbers of a value.
    @inline(__always)
    func forEach(_ value: Int, _ body: (UInt32) -> Void) {
        for place in starts[value]..<ends[value] { body(numbers[place]) }
    }
}
