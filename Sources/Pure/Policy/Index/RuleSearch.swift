// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The search for the first rule of which every clause matches.
///
/// Of each clause it is told the sets of rules that the request satisfies; the clause is their union, and the answer is
/// the first rule in the intersection of the clauses. No clause need tell the rules apart by itself.
struct RuleSearch: ~Copyable {
    /// How the intersection is taken.
    enum Method: Sendable, CaseIterable {
        /// The one that costs less by a count of the words that each may touch.
        case cheaper
        /// Each word of the clause with the fewest is looked up in the others.
        case lookingUp
        /// All clauses side by side, 4,096 rules at a time.
        case inStep
    }

    private enum Form: UInt8 {
        case one
        case list
        case bitmap
    }

    private struct Component {
        /// One: its rules of its block.
        let word: UInt64
        /// One: its block. A list: the next entry. A bitmap: its first line.
        var start: UInt32
        /// A list: the end of its entries.
        let end: UInt32
        let form: Form

        init(_ form: Form, _ start: UInt32, end: UInt32 = 0, word: UInt64 = 0) {
            self.form = form
            self.start = start
            self.end = end
            self.word = word
        }
    }

    /// The components of all clauses: mostly so few that nothing is allocated for them.
    private struct Components: ~Copyable {
        private static let few = 16

        private var first = InlineArray<16, Component>(repeating: Component(.one, 0))
        private var others: [Component] = []
        private(set) var count = 0

        /// Through a span, and so mutating: a plain look into an inline array copies all of it.
        subscript(_ place: Int) -> Component {
            mutating get { place < Self.few ? first.mutableSpan[place] : others[place - Self.few] }
        }

        mutating func append(_ component: Component) {
            if count < Self.few { first[count] = component } else { others.append(component) }
            count += 1
        }

        mutating func start(_ place: Int, at start: UInt32) {
            if place < Self.few { first[place].start = start } else { others[place - Self.few].start = start }
        }

        mutating func removeAll(from place: Int) {
            if count > Self.few { others.removeSubrange(max(0, place - Self.few)...) }
            count = place
        }
    }

    private var components = Components()
    /// Of each clause the end of its components; service is one of the six.
    private var ends = InlineArray<6, Int>(repeating: 0)
    private var clauses = 0
    private var isAll = false
    /// Of the clause that is being told: the words that it has, the cost of looking one of them up in it, and the steps
    /// that it takes beside the others.
    private var work = Work()
    /// Of all clauses but the dropped ones: the sum, and the clause with the fewest words.
    private var wholeWork = Work()
    private var driver = 0
    private var driversWork = Work(words: .max)
    /// Whether a clause was told no set, so that no rule can match.
    private(set) var isHopeless = false

    private struct Work {
        var words = 0
        var lookUp = 0
        var steps = 0
    }

    /// Adds a set to the clause that is being told.
    mutating func add(_ set: RuleSet?, of sets: borrowing RuleSets) {
        guard let set, !isAll else { return }
        switch sets.form(set) {
        case .all: isAll = true
        case .one(let block, let word):
            components.append(Component(.one, block, word: word))
            work.words += 1
            work.lookUp += 1
            work.steps += 1
        case .list(let entries):
            components.append(Component(.list, entries.lowerBound, end: entries.upperBound))
            work.words += entries.count
            work.lookUp += 2 + Int.bitWidth - entries.count.leadingZeroBitCount
            work.steps += entries.count
        case .bitmap(let line):
            components.append(Component(.bitmap, line))
            work.words += sets.blockCount
            work.lookUp += 1
            work.steps += sets.lineCount * 2
        }
    }

    /// Adds the sets of a list.
    mutating func add(_ list: RuleSetList, of sets: borrowing RuleSets) {
        sets.forEach(list) { add($0, of: sets) }
    }

    /// Ends a clause; one that every rule satisfies is dropped.
    mutating func endClause() {
        let start = start(clauses)
        if isAll {
            components.removeAll(from: start)
            isAll = false
        } else if components.count == start {
            isHopeless = true
        } else {
            ends[clauses] = components.count
            if work.words < driversWork.words {
                driver = clauses
                driversWork = work
            }
            wholeWork.lookUp += work.lookUp
            wholeWork.steps += work.steps
            clauses += 1
        }
        work = Work()
    }

    private func start(_ clause: Int) -> Int { clause == 0 ? 0 : ends[clause - 1] }

    /// The number of the first rule; nil if there is none.
    mutating func first(of sets: borrowing RuleSets, _ method: Method = .cheaper) -> Int? {
        guard !isHopeless, sets.ruleCount > 0 else { return nil }
        guard clauses > 0 else { return 0 }
        let isLookingUp =
            switch method {
            case .cheaper:
                driversWork.words * (1 + wholeWork.lookUp - driversWork.lookUp) <= wholeWork.steps + 16
            case .lookingUp: true
            case .inStep: false
            }
        return isLookingUp ? firstLookingUp(sets) : firstInStep(sets)
    }

    // MARK: Looking up

    private mutating func firstLookingUp(_ sets: borrowing RuleSets) -> Int? {
        var best = Int.max
        for place in start(driver)..<ends[driver] {
            let component = components[place]
            switch component.form {
            case .one:
                let rest = others(component.start, component.word, sets)
                if rest != 0 { best = min(best, Int(component.start) << 6 + rest.trailingZeroBitCount) }
            case .list:
                for entry in Int(component.start)..<Int(component.end) {
                    let block = sets.blocks[entry]
                    guard Int(block) << 6 < best else { break }
                    let rest = others(block, sets.words[entry], sets)
                    guard rest != 0 else { continue }
                    best = min(best, Int(block) << 6 + rest.trailingZeroBitCount)
                    break
                }
            case .bitmap:
                for block in 0..<UInt32(sets.blockCount) {
                    guard Int(block) << 6 < best else { break }
                    let word = sets.word(line: component.start, block: block)
                    guard word != 0 else { continue }
                    let rest = others(block, word, sets)
                    guard rest != 0 else { continue }
                    best = min(best, Int(block) << 6 + rest.trailingZeroBitCount)
                    break
                }
            }
        }
        return best == Int.max ? nil : best
    }

    /// What the other clauses leave of one word of the driver's.
    private mutating func others(_ block: UInt32, _ word: UInt64, _ sets: borrowing RuleSets) -> UInt64 {
        var left = word
        for clause in 0..<clauses where clause != driver {
            var union: UInt64 = 0
            for place in start(clause)..<ends[clause] {
                let component = components[place]
                switch component.form {
                case .one: if component.start == block { union |= component.word }
                case .list: union |= sets.word(component.start..<component.end, block: block)
                case .bitmap: union |= sets.word(line: component.start, block: block)
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
        case .one:
            guard first <= Int(component.start), Int(component.start) < end else { return }
            let block = Int(component.start) - first
            union[block / RuleSets.lineBlocks][block % RuleSets.lineBlocks] |= component.word
        case .list:
            var entry = Int(component.start)
            while entry < Int(component.end) {
                let block = Int(sets.blocks[entry])
                if block >= end { break }
                // An earlier clause may have left chunks out.
                if block >= first {
                    let place = block - first
                    union[place / RuleSets.lineBlocks][place % RuleSets.lineBlocks] |= sets.words[entry]
                }
                entry += 1
            }
            components.start(index, at: UInt32(entry))
        case .bitmap:
            for step in 0..<count { union[step] |= sets.lines[Int(component.start) + line + step] }
        }
    }
}
