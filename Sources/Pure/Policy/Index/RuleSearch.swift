// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The search for the first rule of which every clause matches.
///
/// Of each clause it is told the sets of rules that the request satisfies; the clause is their union, and the answer is
/// the first rule in the intersection of the clauses. No clause need tell the rules apart by itself.
struct RuleSearch {
    /// How the intersection is taken.
    enum Method: Sendable, CaseIterable {
        /// The one that costs less by a count of the words that each may touch.
        case cheaper
        /// Each word of the clause with the fewest is looked up in the others.
        case lookingUp
        /// All clauses side by side, 4,096 rules at a time.
        case inStep
    }

    private enum Form {
        case one(UInt64)
        case list
        case bitmap
    }

    private struct Component {
        let form: Form
        /// One: its block. A list: the next entry. A bitmap: its first line.
        var start: Int
        /// A list: the end of its entries.
        let end: Int
    }

    private var components: [Component] = []
    /// Of each clause the end of its components; service is one of the six.
    private var ends = InlineArray<6, Int>(repeating: 0)
    private var clauses = 0
    private var isAll = false
    /// Whether a clause was told no set, so that no rule can match.
    private(set) var isHopeless = false

    init() {
        components.reserveCapacity(24)
    }

    /// Adds a set to the clause that is being told.
    mutating func add(_ set: RuleSet?, of sets: borrowing RuleSets) {
        guard let set, !isAll else { return }
        switch sets.form(set) {
        case .all: isAll = true
        case .one(let block, let word):
            components.append(Component(form: .one(word), start: Int(block), end: 0))
        case .list(let entries):
            components.append(Component(form: .list, start: Int(entries.lowerBound), end: Int(entries.upperBound)))
        case .bitmap(let line):
            components.append(Component(form: .bitmap, start: line, end: 0))
        }
    }

    /// Ends a clause; one that every rule satisfies is dropped.
    mutating func endClause() {
        let start = start(clauses)
        if isAll {
            components.removeSubrange(start...)
            isAll = false
        } else if components.count == start {
            isHopeless = true
        } else {
            ends[clauses] = components.count
            clauses += 1
        }
    }

    private func start(_ clause: Int) -> Int { clause == 0 ? 0 : ends[clause - 1] }

    /// The number of the first rule; nil if there is none.
    mutating func first(of sets: borrowing RuleSets, _ method: Method = .cheaper) -> Int? {
        guard !isHopeless, sets.ruleCount > 0 else { return nil }
        guard clauses > 0 else { return 0 }
        var fewest = Int.max
        var driver = 0
        var lookUps = 0
        var driversLookUps = 0
        var steps = 0
        for clause in 0..<clauses {
            var entries = 0
            var costs = 0
            for component in components[start(clause)..<ends[clause]] {
                switch component.form {
                case .one:
                    entries += 1
                    costs += 1
                    steps += 1
                case .list:
                    let count = component.end - component.start
                    entries += count
                    costs += 2 + Int.bitWidth - count.leadingZeroBitCount
                    steps += count
                case .bitmap:
                    entries += sets.blockCount
                    costs += 1
                    steps += sets.lineCount * 2
                }
            }
            lookUps += costs
            if entries < fewest {
                fewest = entries
                driver = clause
                driversLookUps = costs
            }
        }
        let isLookingUp =
            switch method {
            case .cheaper: fewest * (1 + lookUps - driversLookUps) <= steps + 16
            case .lookingUp: true
            case .inStep: false
            }
        return isLookingUp ? firstLookingUp(driver, sets) : firstInStep(sets)
    }

    // MARK: Looking up

    private func firstLookingUp(_ driver: Int, _ sets: borrowing RuleSets) -> Int? {
        var best = Int.max
        for component in components[start(driver)..<ends[driver]] {
            switch component.form {
            case .one(let word):
                let rest = others(driver, component.start, word, sets)
                if rest != 0 { best = min(best, component.start << 6 + rest.trailingZeroBitCount) }
            case .list:
                for entry in component.start..<component.end {
                    let block = Int(sets.blocks[entry])
                    guard block << 6 < best else { break }
                    let rest = others(driver, block, sets.words[entry], sets)
                    guard rest != 0 else { continue }
                    best = min(best, block << 6 + rest.trailingZeroBitCount)
                    break
                }
            case .bitmap:
                for block in 0..<sets.blockCount {
                    guard block << 6 < best else { break }
                    let word = sets.word(line: component.start, block: UInt32(block))
                    guard word != 0 else { continue }
                    let rest = others(driver, block, word, sets)
                    guard rest != 0 else { continue }
                    best = min(best, block << 6 + rest.trailingZeroBitCount)
                    break
                }
            }
        }
        return best == Int.max ? nil : best
    }

    /// What the other clauses leave of one word of the driver's.
    private func others(_ driver: Int, _ block: Int, _ word: UInt64, _ sets: borrowing RuleSets) -> UInt64 {
        var left = word
        for clause in 0..<clauses where clause != driver {
            var union: UInt64 = 0
            for component in components[start(clause)..<ends[clause]] {
                switch component.form {
                case .one(let word):
                    if component.start == block { union |= word }
                case .list:
                    union |= sets.word(UInt32(component.start)..<UInt32(component.end), block: UInt32(block))
                case .bitmap:
                    union |= sets.word(line: component.start, block: UInt32(block))
                }
                if left & ~union == 0 { break }
            }
            left &= union
            if left == 0 { return 0 }
        }
        return left
    }

    // MARK: In step

    private static let chunkLines = 8
    private typealias Chunk = InlineArray<8, SIMD8<UInt64>>

    private mutating func firstInStep(_ sets: borrowing RuleSets) -> Int? {
        var line = 0
        while line < sets.lineCount {
            let count = min(Self.chunkLines, sets.lineCount - line)
            var left = Chunk(repeating: SIMD8(repeating: .max))
            var isEmpty = false
            for clause in 0..<clauses {
                var union = Chunk(repeating: .zero)
                for index in start(clause)..<ends[clause] { add(index, to: &union, line, count, sets) }
                var any = SIMD8<UInt64>.zero
                for step in 0..<count {
                    left[step] &= union[step]
                    any |= left[step]
                }
                isEmpty = any == .zero
                if isEmpty { break }
            }
            if !isEmpty {
                for block in 0..<(count * RuleSets.lineBlocks) {
                    let word = left[block / RuleSets.lineBlocks][block % RuleSets.lineBlocks]
                    if word != 0 { return (line * RuleSets.lineBlocks + block) << 6 + word.trailingZeroBitCount }
                }
            }
            line += count
        }
        return nil
    }

    private mutating func add(
        _ index: Int, to union: inout Chunk, _ line: Int, _ count: Int, _ sets: borrowing RuleSets
    ) {
        let first = line * RuleSets.lineBlocks
        let end = first + count * RuleSets.lineBlocks
        let component = components[index]
        switch component.form {
        case .one(let word):
            guard first <= component.start, component.start < end else { return }
            let block = component.start - first
            union[block / RuleSets.lineBlocks][block % RuleSets.lineBlocks] |= word
        case .list:
            var entry = component.start
            while entry < component.end {
                let block = Int(sets.blocks[entry])
                if block >= end { break }
                // An earlier clause may have left chunks out.
                if block >= first {
                    let place = block - first
                    union[place / RuleSets.lineBlocks][place % RuleSets.lineBlocks] |= sets.words[entry]
                }
                entry += 1
            }
            components[index].start = entry
        case .bitmap:
            for step in 0..<count { union[step] |= sets.lines[component.start + line + step] }
        }
    }
}
