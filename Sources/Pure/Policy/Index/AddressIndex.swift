// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the sets of rules whose `from` holds an address.
///
/// The bounds of all blocks of a family cut its addresses into intervals, in each of which the smallest block that
/// holds it is known; from there the larger ones follow, each by the next smaller. Long ways up are cut short by
/// unions.
struct AddressIndex: Sendable {
    fileprivate static let none: UInt32 = .max
    /// After so many blocks a union ends the way up, where memory allows.
    fileprivate static let wayLimit = 12

    /// The smallest block that holds each interval, by the interval's first address.
    private let v4: IntervalMap<UInt32, Block>
    private let v6: IntervalMap<UInt128, Block>
    private let blocks: [Block]
    /// The rules that any address satisfies.
    private let any: RuleSet?

    fileprivate struct Block: Sendable {
        /// The smallest larger one whose rules are not in its own list.
        var outer: UInt32
        var rules: RuleSetList
    }

    /// What is known of the blocks while an index is made.
    fileprivate struct Building {
        var v4 = IntervalMap<UInt32, UInt32>()
        var v6 = IntervalMap<UInt128, UInt32>()
        var blocks: [Block]
    }

    init(_ rules: NumberedRules, _ sets: inout RuleSets) {
        var blocks = BlockTable(expecting: rules.count)
        var postings = ClausePostings()
        var any: [UInt32] = []
        func take(_ sources: Sources?, _ rule: UInt32) {
            guard let sources, !sources.isAny else { return any.append(rule) }
            for block in sources.literal { postings.insert(blocks.insert(block), rule: rule) }
            for named in sources.sets {
                guard let set = postings.insert(named, rule: rule) else { continue }
                for block in named.items { postings.insert(blocks.insert(block), set: set) }
            }
        }
        let all = rules.rules.span
        for (rule, place) in rules.numbers { take(all[place].sources, rule) }
        self.any = sets.insert(any)
        let own = postings.lists(blocks.blocks.count, of: [0..<rules.count], &sets)[0]

        let order = blocks.order
        var building = Building(blocks: order.map { Block(outer: Self.none, rules: own[$0]) })
        building.link(order.map { blocks.blocks[$0] })
        building.unite(&sets)
        let linked = building.blocks
        let block = { (number: UInt32) in
            number == Self.none ? Block(outer: Self.none, rules: .none) : linked[Int(number)]
        }
        v4 = building.v4.mapValues(block)
        v6 = building.v6.mapValues(block)
        self.blocks = linked
    }

    /// Tells a search the sets of an address.
    func tell(_ address: IPAddress, _ search: inout RuleSearch, _ sets: borrowing RuleSets) {
        search.add(any, of: sets)
        var next =
            switch address.family {
            case .v4: v4.value(of: UInt32(truncatingIfNeeded: address.value))
            case .v6: v6.value(of: address.value)
            }
        while let block = next {
            search.add(block.rules, of: sets)
            next = block.outer == Self.none ? nil : blocks[Int(block.outer)]
        }
        search.endClause()
    }
}

extension AddressIndex.Building {
    /// Finds the outer blocks and the intervals of sorted blocks, which are numbered anew in that order.
    mutating func link(_ blocks: [AddressBlock]) {
        var open: [UInt32] = []
        for (number, block) in zip(UInt32(0)..., blocks) {
            while let last = open.last, !blocks[Int(last)].contains(block) {
                open.removeLast()
                end(blocks[Int(last)], open.last ?? AddressIndex.none)
            }
            self.blocks[Int(number)].outer = open.last ?? AddressIndex.none
            open.append(number)
            start(block.base.family, block.base.value, number)
        }
        while let last = open.popLast() { end(blocks[Int(last)], open.last ?? AddressIndex.none) }
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
        case .v4: v4.start(UInt32(truncatingIfNeeded: value), block)
        case .v6: v6.start(value, block)
        }
    }

    /// Ends long ways up with a union.
    mutating func unite(_ sets: inout RuleSets) {
        /// Of each block the length of its way up, and the entries on it that no union holds.
        var ways: [(length: Int, entries: Int)] = []
        ways.reserveCapacity(blocks.count)
        for block in blocks.indices {
            let outer = blocks[block].outer
            var way = outer == AddressIndex.none ? (length: 0, entries: 0) : ways[Int(outer)]
            sets.forEach(blocks[block].rules) {
                way.length += 1
                way.entries += sets.weight($0)
            }
            if outer != AddressIndex.none, way.length > AddressIndex.wayLimit || way.entries * 4 > sets.blockCount {
                var all: [RuleSet] = []
                var next = UInt32(block)
                while next != AddressIndex.none {
                    sets.forEach(blocks[Int(next)].rules) { all.append($0) }
                    next = blocks[Int(next)].outer
                }
                if let union = sets.affordableUnion(all) {
                    blocks[block] = AddressIndex.Block(
                        outer: AddressIndex.none, rules: sets.list(CollectionOfOne(union)))
                    ways.append((length: 1, entries: 0))
                    continue
                }
            }
            ways.append(way)
        }
    }
}
