// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A set of rules, by their numbers in an index: all of them, one, or a place in a `RuleSets`.
struct RuleSet: Sendable, Hashable {
    fileprivate let bits: UInt32

    fileprivate static let oneRule: UInt32 = 1 << 31

    /// Every rule of the index.
    static let all = RuleSet(bits: .max)

    /// One rule, which needs no place.
    init(rule: UInt32) {
        bits = rule | Self.oneRule
    }

    fileprivate init(bits: UInt32) {
        self.bits = bits
    }
}

/// The sets of rules that one value of a clause satisfies: none, one, or a place in a `RuleSets` for several.
///
/// Most values have one, which costs no further look into memory.
struct RuleSetList: Sendable, Hashable {
    fileprivate let bits: UInt32

    /// INVARIANT: a set that is no rule of its own is a place below this, as there are fewer sets than 2³⁰.
    fileprivate static let several: UInt32 = 1 << 30

    /// No sets.
    static let none = RuleSetList(bits: RuleSet.oneRule - 1)

    fileprivate init(bits: UInt32) {
        self.bits = bits
    }
}

/// The sets of rules of an index, in few arrays, so that a set costs what it holds and no allocation of its own.
///
/// Rules are counted in blocks of 64, one word each. A set is a sorted list of the blocks in which it has a rule, with
/// their words; one that has a rule in every fourth block or more is a plain bitmap of all blocks.
struct RuleSets: Sendable {
    /// The blocks of one line, which the processor takes at once.
    static let lineBlocks = 8
    /// The most bytes that are spent on unions that spare a decision work and could be done without.
    static let unionAllowance = 12 << 20

    private struct Extent {
        var start: UInt32
        /// The number of entries; `dense` for a bitmap.
        var count: UInt32

        static let dense = UInt32.max
    }

    /// The number of rules.
    let ruleCount: Int
    /// The blocks that they fill.
    let blockCount: Int
    /// The lines that the blocks fill.
    let lineCount: Int

    private(set) var blocks: [UInt32] = []
    private(set) var words: [UInt64] = []
    private(set) var lines: [SIMD8<UInt64>] = []
    private var extents: [Extent] = []
    /// The lists of several: of each its count and its sets.
    private var members: [UInt32] = []
    private var allowance: Int

    /// No sets yet, of so many rules.
    init(ruleCount: Int, allowance: Int = unionAllowance) {
        self.allowance = allowance
        self.ruleCount = ruleCount
        blockCount = (ruleCount + 63) / 64
        lineCount = (blockCount + Self.lineBlocks - 1) / Self.lineBlocks
    }

    /// What a set looks like to a search.
    enum Form {
        case all
        case one(block: UInt32, word: UInt64)
        /// Entries of `blocks` and `words`.
        case list(Range<UInt32>)
        /// The first of its `lineCount` lines.
        case bitmap(UInt32)
    }

    /// What a set is made of.
    func form(_ set: RuleSet) -> Form {
        if set == .all { return .all }
        if set.bits & RuleSet.oneRule != 0 {
            let rule = set.bits & ~RuleSet.oneRule
            return .one(block: rule >> 6, word: 1 << UInt64(rule & 63))
        }
        let extent = extents[Int(set.bits)]
        if extent.count == Extent.dense { return .bitmap(extent.start) }
        return .list(extent.start..<(extent.start + extent.count))
    }

    /// The rules of one block that a set has.
    func word(_ set: RuleSet, block: UInt32) -> UInt64 {
        switch form(set) {
        case .all: .max
        case .one(let its, let word): its == block ? word : 0
        case .list(let entries): word(entries, block: block)
        case .bitmap(let line): word(line: line, block: block)
        }
    }

    /// The rules of one block that a list has.
    func word(_ entries: Range<UInt32>, block: UInt32) -> UInt64 {
        var low = Int(entries.lowerBound)
        var high = Int(entries.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if blocks[middle] < block { low = middle + 1 } else { high = middle }
        }
        return low < Int(entries.upperBound) && blocks[low] == block ? words[low] : 0
    }

    /// The rules of one block that a bitmap has.
    func word(line: UInt32, block: UInt32) -> UInt64 {
        lines[Int(line + block >> 3)][Int(block & 7)]
    }

    /// Whether a set has a rule.
    func contains(_ set: RuleSet, rule: Int) -> Bool {
        word(set, block: UInt32(rule >> 6)) & (1 << UInt64(rule & 63)) != 0
    }

    /// Whether a set of a list has a rule.
    func contains(_ list: RuleSetList, rule: Int) -> Bool {
        var isIn = false
        forEach(list) { isIn = isIn || contains($0, rule: rule) }
        return isIn
    }

    /// Tells the sets of a list.
    @inline(__always)
    func forEach(_ list: RuleSetList, _ body: (RuleSet) -> Void) {
        if list == .none { return }
        guard list.bits & RuleSet.oneRule == 0, list.bits & RuleSetList.several != 0 else {
            return body(RuleSet(bits: list.bits))
        }
        let place = Int(list.bits & ~RuleSetList.several)
        for member in (place + 1)..<(place + 1 + Int(members[place])) { body(RuleSet(bits: members[member])) }
    }

    /// The entries that a search may have to visit.
    func weight(_ set: RuleSet) -> Int {
        switch form(set) {
        case .all, .bitmap: blockCount
        case .one: 1
        case .list(let entries): entries.count
        }
    }
}

// MARK: - Building

extension RuleSets {
    /// Makes a set of rules that are given in order, some perhaps twice; nil for none.
    mutating func insert(_ rules: some Sequence<UInt32>) -> RuleSet? {
        let start = blocks.count
        for rule in rules { append(rule >> 6, 1 << UInt64(rule & 63), from: start) }
        return close(from: start)
    }

    /// Makes a list.
    mutating func list(_ sets: some Collection<RuleSet>) -> RuleSetList {
        guard let first = sets.first else { return .none }
        guard sets.count > 1 else { return RuleSetList(bits: first.bits) }
        let place = UInt32(members.count)
        members.append(UInt32(sets.count))
        members.append(contentsOf: sets.lazy.map(\.bits))
        return RuleSetList(bits: place | RuleSetList.several)
    }

    /// The union of some sets; nil for none.
    mutating func union(_ sets: some Collection<RuleSet>) -> RuleSet? {
        guard let first = sets.first, sets.count > 1 else { return sets.first }
        guard !sets.contains(.all) else { return .all }
        guard sets.contains(where: { $0 != first }) else { return first }
        let start = blocks.count
        if sets.reduce(0, { $0 + weight($1) }) * 4 < blockCount {
            var entries: [(block: UInt32, word: UInt64)] = []
            for set in sets { forEachEntry(of: set) { entries.append(($0, $1)) } }
            entries.sort { $0.block < $1.block }
            for entry in entries { append(entry.block, entry.word, from: start) }
        } else {
            var bitmap = Array(repeating: UInt64(0), count: blockCount)
            for set in sets { forEachEntry(of: set) { bitmap[Int($0)] |= $1 } }
            for (block, word) in bitmap.enumerated() where word != 0 { append(UInt32(block), word, from: start) }
        }
        return close(from: start)
    }

    /// The union, if what it may take is left of the allowance.
    mutating func affordableUnion(_ sets: some Collection<RuleSet>) -> RuleSet? {
        let cost = min(sets.reduce(0) { $0 + weight($1) } * 12, blockCount * 8)
        guard cost <= allowance else { return nil }
        allowance -= cost
        return union(sets)
    }

    private mutating func append(_ block: UInt32, _ word: UInt64, from start: Int) {
        if blocks.count > start, blocks.last == block {
            words[words.count - 1] |= word
        } else {
            blocks.append(block)
            words.append(word)
        }
    }

    /// Makes the entries from a place on a set.
    private mutating func close(from start: Int) -> RuleSet? {
        let count = blocks.count - start
        guard count > 0 else { return nil }
        if count == blockCount, words[start...].reduce(0, { $0 + $1.nonzeroBitCount }) == ruleCount {
            forget(from: start)
            return .all
        }
        if count == 1, words[start].nonzeroBitCount == 1 {
            let rule = blocks[start] << 6 | UInt32(words[start].trailingZeroBitCount)
            forget(from: start)
            return RuleSet(rule: rule)
        }
        let number = UInt32(extents.count)
        if count > 1, count * 4 >= blockCount {
            let line = lines.count
            lines.append(contentsOf: repeatElement(.zero, count: lineCount))
            for entry in start..<blocks.count {
                let block = Int(blocks[entry])
                lines[line + block / Self.lineBlocks][block % Self.lineBlocks] = words[entry]
            }
            forget(from: start)
            extents.append(Extent(start: UInt32(line), count: Extent.dense))
        } else {
            extents.append(Extent(start: UInt32(start), count: UInt32(count)))
        }
        return RuleSet(bits: number)
    }

    private mutating func forget(from start: Int) {
        blocks.removeSubrange(start...)
        words.removeSubrange(start...)
    }

    private func forEachEntry(of set: RuleSet, _ body: (UInt32, UInt64) -> Void) {
        switch form(set) {
        case .all:
            // INVARIANT: a union with all rules is all rules, and is made before this.
            break
        case .one(let block, let word):
            body(block, word)
        case .list(let entries):
            for entry in entries { body(blocks[Int(entry)], words[Int(entry)]) }
        case .bitmap(let line):
            for block in 0..<UInt32(blockCount) {
                let word = word(line: line, block: block)
                if word != 0 { body(block, word) }
            }
        }
    }
}
