// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the sets of rules whose `from` holds an address.
///
/// The bounds of all blocks of a family cut its addresses into intervals, in each of which the smallest block that
/// holds it is known; from there the larger ones follow, each by the next smaller. Long ways up are cut short by
/// unions.
struct AddressIndex: Sendable {
    private static let none: UInt32 = .max
    /// After so many blocks a union ends the way up, where memory allows.
    private static let wayLimit = 12

    /// The first addresses of the intervals, sorted, and the smallest block that holds each.
    private var v4Starts: [UInt32] = []
    private var v4Blocks: [UInt32] = []
    private var v6Starts: [UInt128] = []
    private var v6Blocks: [UInt32] = []
    /// Of each block the smallest larger one whose rules are not in its own sets.
    private var parents: [UInt32]
    private var lists = RuleSetLists()
    /// The rules that any address satisfies.
    private let any: RuleSet?

    init(_ rules: NumberedRules, _ sets: inout RuleSets) {
        var numbers: [AddressBlock: Int] = [:]
        var blocks: [AddressBlock] = []
        var postings = ClausePostings()
        var any: [UInt32] = []
        numbers.reserveCapacity(rules.count)
        let number = { (block: AddressBlock) in
            if let number = numbers[block] { return number }
            numbers[block] = blocks.count
            blocks.append(block)
            return blocks.count - 1
        }
        for (rule, place) in rules.numbers {
            guard let sources = rules.rules[place].sources, !sources.isAny else {
                any.append(rule)
                continue
            }
            for block in sources.literal { postings.insert(number(block), rule: rule) }
            for named in sources.sets {
                guard let set = postings.insert(named, rule: rule) else { continue }
                for block in named.items { postings.insert(number(block), set: set) }
            }
        }
        numbers = [:]
        self.any = sets.insert(any)
        let own = postings.lists(blocks.count, of: 0..<rules.count, &sets)
        parents = Array(repeating: Self.none, count: blocks.count)

        // By their first addresses, the larger before the smaller: each comes after those that hold it.
        let order = blocks.indices.sorted { left, right in
            let (left, right) = (blocks[left], blocks[right])
            if left.base != right.base { return left.base < right.base }
            return left.prefixLength < right.prefixLength
        }
        link(order.map { blocks[$0] })
        unite(order.map { own[$0] }, &sets)
    }

    /// Finds parents and intervals of sorted blocks, which are numbered anew in that order.
    private mutating func link(_ blocks: [AddressBlock]) {
        var open: [UInt32] = []
        for (number, block) in zip(UInt32(0)..., blocks) {
            while let last = open.last, !blocks[Int(last)].contains(block) {
                open.removeLast()
                end(blocks[Int(last)], open.last ?? Self.none)
            }
            parents[Int(number)] = open.last ?? Self.none
            open.append(number)
            start(block.base.family, block.base.value, number)
        }
        while let last = open.popLast() { end(blocks[Int(last)], open.last ?? Self.none) }
    }

    /// After a block's last address the one that holds it goes on.
    private mutating func end(_ block: AddressBlock, _ outer: UInt32) {
        let size = UInt128(1) << UInt128(block.base.family.width - block.prefixLength)
        // A shift by all bits gives 0, and a sum that has gone round is past the last address.
        let (next, isPast) = block.base.value.addingReportingOverflow(size)
        guard size != 0, !isPast else { return }
        guard block.base.family == .v6 || next >> 32 == 0 else { return }
        start(block.base.family, next, outer)
    }

    private mutating func start(_ family: IPAddress.Family, _ value: UInt128, _ block: UInt32) {
        switch family {
        case .v4:
            let value = UInt32(truncatingIfNeeded: value)
            if v4Starts.last == value {
                v4Blocks[v4Blocks.count - 1] = block
            } else {
                v4Starts.append(value)
                v4Blocks.append(block)
            }
        case .v6:
            if v6Starts.last == value {
                v6Blocks[v6Blocks.count - 1] = block
            } else {
                v6Starts.append(value)
                v6Blocks.append(block)
            }
        }
    }

    /// Takes the blocks' own sets, and ends long ways up with a union.
    private mutating func unite(_ own: [ArraySlice<RuleSet>], _ sets: inout RuleSets) {
        /// Of each block the length of its way up, and the entries on it that no union holds.
        var ways: [(length: Int, entries: Int)] = []
        ways.reserveCapacity(own.count)
        lists.reserve(own.count)
        for (block, its) in own.enumerated() {
            var way = parents[block] == Self.none ? (length: 0, entries: 0) : ways[Int(parents[block])]
            way.length += its.count
            way.entries += its.reduce(0) { $0 + sets.weight($1) }
            if parents[block] != Self.none, way.length > Self.wayLimit || way.entries * 4 > sets.blockCount {
                var all = Array(its)
                var next = parents[block]
                while next != Self.none {
                    all += lists[Int(next)]
                    next = parents[Int(next)]
                }
                if let union = sets.affordableUnion(all) {
                    lists.append(CollectionOfOne(union))
                    parents[block] = Self.none
                    ways.append((length: 1, entries: 0))
                    continue
                }
            }
            lists.append(its)
            ways.append(way)
        }
    }

    /// Tells a search the sets of an address.
    func tell(_ address: IPAddress, _ search: inout RuleSearch, _ sets: borrowing RuleSets) {
        search.add(any, of: sets)
        var next: UInt32
        switch address.family {
        case .v4: next = Self.block(UInt32(truncatingIfNeeded: address.value), v4Starts, v4Blocks)
        case .v6: next = Self.block(address.value, v6Starts, v6Blocks)
        }
        while next != Self.none {
            for set in lists[Int(next)] { search.add(set, of: sets) }
            next = parents[Int(next)]
        }
        search.endClause()
    }

    private static func block<Value: Comparable>(_ value: Value, _ starts: [Value], _ blocks: [UInt32]) -> UInt32 {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= value { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? none : blocks[low - 1]
    }
}
