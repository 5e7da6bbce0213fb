// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the rules that can share a request with a rule, without a look at each.
///
/// Each clause is a way to find them: by block, by name, by program. The way that leaves the fewest is taken, and what
/// it leaves is compared clause by clause. What is found may share no request after all (`PolicyAnalysis` decides that);
/// what is not found shares none.
struct OverlapIndex: Sendable {
    /// How often on average a rule may be found by its blocks before a look at all the rules is less work.
    private static let repetitionLimit = 64

    private let bounds: [RuleBounds]
    private var isBrief = true
    private var sources = SourceIndex()
    private var targets = NameIndex<UserName>()
    private var remoteUsers = NameIndex<UserName>()
    private var commands = CommandOverlaps()

    /// An index of rules, which are known by their places.
    ///
    /// - Parameter isBrief: whether so few questions follow that each may look at all the rules.
    init(_ rules: [Rule], isBrief: Bool = false) {
        bounds = rules.map { RuleBounds($0) }
        guard !isBrief else { return }
        self.isBrief = false
        for (place, bound) in bounds.enumerated() {
            sources.add(bound.sources, place)
            targets.add(bound.targets, place)
            remoteUsers.add(bound.remoteUsers, place)
            commands.add(bound.patterns, place)
        }
        sources.sort()
    }

    /// The places, in order, of rules that may share a request with a rule.
    ///
    /// - Parameter steps: counts the rules that were looked at, and the blocks, of which many make a step.
    func overlapping(_ rule: Rule, steps: inout Int) -> [Int] {
        let bound = RuleBounds(rule)
        var found = isBrief ? Array(bounds.indices) : candidates(bound, &steps)
        steps += found.count + 1
        found = found.filter { bound.mayOverlap(bounds[$0]) }
        found.sort()
        // A rule is found once for each of its names or patterns.
        var out: [Int] = []
        out.reserveCapacity(found.count)
        for place in found where place != out.last { out.append(place) }
        return out
    }

    private func candidates(_ bound: RuleBounds, _ steps: inout Int) -> [Int] {
        let limit = Self.repetitionLimit * bounds.count
        let ways: [(count: Int?, places: () -> [Int])] = [
            (sources.count(bound.sources, atMost: limit, &steps), { sources.places(bound.sources) }),
            (targets.count(bound.targets), { targets.places(bound.targets) }),
            (remoteUsers.count(bound.remoteUsers), { remoteUsers.places(bound.remoteUsers) }),
            (commands.count(bound.patterns), { commands.places(bound.patterns) }),
        ]
        guard let least = ways.min(by: { ($0.count ?? .max) < ($1.count ?? .max) }), least.count != nil else {
            return Array(bounds.indices)
        }
        return least.places()
    }
}

/// What binds a rule's requests, where it is little enough to compare at a glance; nil for anything else.
private struct RuleBounds: Sendable {
    /// The most names or patterns of a clause.
    private static let itemLimit = 256
    /// The most pairs of items that are compared; of more it is said that they may meet.
    private static let pairLimit = 64

    let services: ServiceScope
    let isForbid: Bool
    let sources: Sources?
    let remoteUsers: [UserName]?
    /// Of a forbid that says root nil: it means uid 0 under any name.
    let targets: [UserName]?
    let patterns: [CommandPattern]?

    init(_ rule: Rule) {
        services = rule.services
        isForbid = rule.effect == .forbid
        sources = rule.sources.flatMap { $0.isAny ? nil : $0 }
        remoteUsers = rule.remoteUsers.flatMap { clause in
            clause.isAny || clause.count > Self.itemLimit ? nil : Array(clause.names)
        }
        targets = rule.targets.flatMap { clause in
            // What a pool gives has a name that a forbid may say.
            guard !clause.isAny, !clause.isSame, clause.groups.isEmpty, clause.pools.isEmpty,
                clause.count <= Self.itemLimit
            else {
                return nil
            }
            let names = clause.names
            return rule.effect == .forbid && names.contains(.root) ? nil : names
        }
        patterns = rule.commands.flatMap { clause in
            clause.isAny || clause.isShell || clause.count > Self.itemLimit ? nil : Array(clause.patterns)
        }
    }

    /// Whether no clause tells at a glance that two rules share no request.
    func mayOverlap(_ other: Self) -> Bool {
        switch (services, other.services) {
        case (.only(let mine), .only(let theirs)) where mine != theirs: return false
        default: break
        }
        return Self.mayMeet(remoteUsers, other.remoteUsers) { $0 == $1 }
            && Self.mayMeet(targets, other.targets) { $0 == $1 }
            && Self.mayMeet(patterns, other.patterns) { $0.meet($1) != nil }
            && Self.mayMeet(literalBlocks, other.literalBlocks) { $0.contains($1) || $1.contains($0) }
    }

    /// The blocks, where no set is named.
    private var literalBlocks: [AddressBlock]? { sources.flatMap { $0.sets.isEmpty ? $0.literal : nil } }

    private static func mayMeet<Item>(_ mine: [Item]?, _ theirs: [Item]?, _ meet: (Item, Item) -> Bool) -> Bool {
        guard let mine, let theirs, mine.count * theirs.count <= pairLimit else { return true }
        return mine.contains { one in theirs.contains { meet(one, $0) } }
    }
}

/// Rules by the names that they say.
private struct NameIndex<Name: Hashable & Sendable>: Sendable {
    private var named: [Name: [Int]] = [:]
    /// Rules that say no names, or match others too.
    private var others: [Int] = []

    mutating func add(_ names: [Name]?, _ place: Int) {
        guard let names else {
            others.append(place)
            return
        }
        for name in names { named[name, default: []].append(place) }
    }

    func count(_ names: [Name]?) -> Int? {
        names.map { $0.reduce(others.count) { $0 + (named[$1]?.count ?? 0) } }
    }

    func places(_ names: [Name]?) -> [Int] {
        (names ?? []).reduce(into: others) { $0 += named[$1] ?? [] }
    }
}

/// Rules by the programs of their patterns; those of literal arguments alone by the whole command.
private struct CommandOverlaps: Sendable {
    private var literal = NameIndex<CommandPattern>()
    private var literalOfProgram: [ByteText: [Int]] = [:]
    private var open: [ByteText: [Int]] = [:]
    private var others: [Int] = []

    mutating func add(_ patterns: [CommandPattern]?, _ place: Int) {
        guard let patterns else {
            others.append(place)
            return
        }
        for pattern in patterns {
            if pattern.isLiteral {
                literal.add([pattern], place)
                literalOfProgram[pattern.program, default: []].append(place)
            } else {
                open[pattern.program, default: []].append(place)
            }
        }
    }

    func count(_ patterns: [CommandPattern]?) -> Int? {
        patterns.map { patterns in
            patterns.reduce(others.count) { count, pattern in
                count + (open[pattern.program]?.count ?? 0)
                    + (pattern.isLiteral
                        ? literal.count([pattern]) ?? 0 : literalOfProgram[pattern.program]?.count ?? 0)
            }
        }
    }

    func places(_ patterns: [CommandPattern]?) -> [Int] {
        (patterns ?? []).reduce(into: others) { places, pattern in
            places += open[pattern.program] ?? []
            places += pattern.isLiteral ? literal.places([pattern]) : literalOfProgram[pattern.program] ?? []
        }
    }
}

extension CommandPattern {
    /// Whether it matches one command alone.
    fileprivate var isLiteral: Bool {
        !takesMore
            && arguments.allSatisfy { argument in
                if case .literal = argument { true } else { false }
            }
    }
}

/// Rules by their blocks. Of two blocks that share an address one lies in the other.
private struct SourceIndex: Sendable {
    /// The clauses that rules share.
    private var clauses: [Sources: Int] = [:]
    private var placesOfClause: [[Int]] = []
    private var clausesOfBlock: [AddressBlock: [Int]] = [:]
    /// Every block, in the order of their first addresses.
    private var sorted: [AddressBlock] = []
    /// How many rules the blocks before each name, and at the end how many all do.
    private var before: [Int] = []
    private var lengths: [IPAddress.Family: Set<Int>] = [:]
    private var others: [Int] = []

    mutating func add(_ sources: Sources?, _ place: Int) {
        guard let sources else {
            others.append(place)
            return
        }
        if let known = clauses[sources] {
            placesOfClause[known].append(place)
            return
        }
        let clause = placesOfClause.count
        clauses[sources] = clause
        placesOfClause.append([place])
        for block in sources.blocks {
            if clausesOfBlock[block] == nil { sorted.append(block) }
            clausesOfBlock[block, default: []].append(clause)
            lengths[block.base.family, default: []].insert(block.prefixLength)
        }
    }

    mutating func sort() {
        sorted.sort { ($0.base, $0.prefixLength) < ($1.base, $1.prefixLength) }
        before = [0]
        before.reserveCapacity(sorted.count + 1)
        for block in sorted { before.append((before.last ?? 0) + rules(naming: clausesOfBlock[block] ?? [])) }
    }

    private func rules(naming clauses: [Int]) -> Int {
        clauses.reduce(0) { $0 + placesOfClause[$1].count }
    }

    /// How many blocks are looked at for a step.
    private static let blocksOfStep = 16

    /// How many rules there are to look at, those of several blocks once for each; nil for too many.
    func count(_ sources: Sources?, atMost limit: Int, _ steps: inout Int) -> Int? {
        guard let sources else { return nil }
        var count = others.count
        var blocks = 0
        defer { steps += blocks / Self.blocksOfStep }
        for block in sources.blocks {
            guard count <= limit else { return nil }
            blocks += 1
            let range = beneath(block)
            count += before[range.upperBound] - before[range.lowerBound]
            for clauses in holders(block) { count += rules(naming: clauses) }
        }
        return count
    }

    func places(_ sources: Sources?) -> [Int] {
        guard let sources else { return others }
        var found = Set<Int>()
        for block in sources.blocks {
            for other in sorted[beneath(block)] { found.formUnion(clausesOfBlock[other] ?? []) }
            for clause in holders(block).joined() { found.insert(clause) }
        }
        return found.reduce(into: others) { $0 += placesOfClause[$1] }
    }

    /// The clauses that hold a block or one that it lies in.
    private func holders(_ block: AddressBlock) -> [[Int]] {
        (lengths[block.base.family] ?? []).compactMap { length in
            guard length <= block.prefixLength else { return nil }
            return AddressBlock(containing: block.base, prefixLength: length).flatMap { clausesOfBlock[$0] }
        }
    }

    /// Where the blocks stand that lie in a block or begin where it begins.
    private func beneath(_ block: AddressBlock) -> Range<Int> {
        let host = UInt128(block.base.family.width - block.prefixLength)
        let last = block.base.value | (host == 128 ? .max : (1 << host) - 1)
        let start = first { $0 >= block.base }
        let family = block.base.family.rawValue
        let end = first { ($0.family.rawValue, $0.value) > (family, last) }
        return start..<max(start, end)
    }

    private func first(_ isReached: (IPAddress) -> Bool) -> Int {
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if isReached(sorted[middle].base) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
