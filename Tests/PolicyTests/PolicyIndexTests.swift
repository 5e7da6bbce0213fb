// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing

@testable import Policy

/// The shapes of policies that an index could fall over, each held against the scan.
@Suite struct PolicyIndexTests {
    private static func policy(_ count: Int, _ change: (Int, inout Rule) throws -> Void) rethrows -> Policy {
        var policy = Policy()
        policy.settings.rexec.isEnabled = true
        for number in 0..<count {
            var rule = Rule(
                name: "r\(number)", place: FilePlace(file: "t", line: number + 1),
                effect: number % 7 == 3 ? .forbid : .permit, services: .any)
            rule.sources = Sources(isAny: true)
            rule.remoteUsers = RemoteUsers(isAny: true)
            rule.targets = Targets(isAny: true)
            rule.commands = Commands(isAny: true)
            try change(number, &rule)
            policy.rules.append(rule)
        }
        return policy
    }

    private static func name(_ text: String) throws -> UserName { try #require(UserName(text)) }

    private static func request(
        _ source: IPAddress = IPAddress(v4: 0x0A00_0001), as target: String = "alice", groups: [String] = [],
        run words: [ByteText] = ["/usr/bin/id"], day: Int = 1, minute: Int = 600
    ) throws -> Request {
        Request(
            service: .rexec, source: source, sourcePort: 1_023, remoteUser: nil,
            target: Account(
                name: try name(target), uid: 1_000, groups: groups.map { ByteText($0) }, isSystem: false),
            command: .words(words, program: words.first.map { .init(path: $0, resolvedPath: $0) }),
            time: try #require(LocalTime(weekday: day, minute: minute)))
    }

    /// Holds an index against the scan in each of its ways.
    private func compare(_ policy: Policy, _ requests: [Request]) {
        let index = PolicyIndex(policy)
        let bare = PolicyIndex(policy, unionAllowance: 0)
        for request in requests {
            let expected = policy.decide(request)
            for method in RuleSearch.Method.allCases {
                #expect(index.decide(request, method) == expected, "\(method) \(request)")
                #expect(bare.decide(request, method) == expected, "\(method) without unions \(request)")
            }
        }
    }

    @Test func allRulesInOneBlock() throws {
        let block = try #require(AddressBlock(base: IPAddress(v4: 0x0A00_0000), prefixLength: 8))
        let policy = try Self.policy(1_500) { number, rule in
            rule.sources = Sources(literal: [block])
            rule.targets = Targets(literal: AccountSet(names: [try Self.name("u\(number)")]))
        }
        compare(policy, try [0, 3, 63, 64, 1_499, 1_500].map { try Self.request(as: "u\($0)") })
        compare(policy, [try Self.request(IPAddress(v4: 0x0B00_0000), as: "u0")])
    }

    @Test func everyLengthOfIPv6PrefixesInOnePlace() throws {
        let address = UInt128(0x2001_0DB8) << 96 | 0x0123_4567_89AB_CDEF
        let policy = try Self.policy(129 * 8) { number, rule in
            let around = IPAddress(v6: address ^ UInt128(number / 129))
            rule.sources = Sources(
                literal: [try #require(AddressBlock(containing: around, prefixLength: number % 129))])
            rule.targets = Targets(literal: AccountSet(names: [try Self.name("u\(number % 31)")]))
        }
        for bit in [0, 1, 2, 3, 63, 64, 95, 96, 127] {
            compare(
                policy,
                try ["u0", "u3", "u30", "nobody"].map {
                    try Self.request(IPAddress(v6: address ^ 1 << UInt128(bit)), as: $0)
                })
        }
    }

    @Test func oneProgramWithDifferingAndWithLongArguments() throws {
        let policy = Self.policy(1_200) { number, rule in
            let same = Array(repeating: CommandPattern.Argument.literal("same"), count: number % 2 == 0 ? 30 : 0)
            rule.commands = Commands(literal: [
                CommandPattern(
                    program: "/usr/bin/tool",
                    arguments: same + [.literal(ByteText("a\(number)")), number % 3 == 0 ? .integer : .word],
                    takesMore: number % 5 == 0)
            ])
        }
        let same = Array(repeating: ByteText("same"), count: 30)
        let tails: [[ByteText]] = [["5"], ["x"], ["5", "more"], []]
        var requests: [Request] = []
        for number in [0, 1, 3, 5, 30, 1_199, 1_200] {
            for tail in tails {
                for head in [same, [], Array(same.dropLast())] {
                    let words: [ByteText] = ["/usr/bin/tool"] + head + [ByteText("a\(number)")] + tail
                    requests.append(try Self.request(run: words))
                }
            }
        }
        compare(policy, requests)
    }

    /// Every argument is held against every kind of token: the ways through the tree are many, and each is one node.
    @Test func tokensThatOverlapAtEveryArgument() throws {
        let kinds: [CommandPattern.Argument] = [.literal("5"), .integer, .word]
        let policy = Self.policy(729) { number, rule in
            var rest = number
            let arguments = (0..<6).map { _ in
                defer { rest /= 3 }
                return kinds[rest % 3]
            }
            rule.effect = .permit
            rule.commands = Commands(literal: [CommandPattern(program: "/usr/bin/tool", arguments: arguments)])
        }
        let tails: [[ByteText]] = [["5", "5"], ["5", "x"], ["x", "5"], ["5", "-"], ["5"], ["5", "5", "5"]]
        compare(policy, try tails.map { try Self.request(run: ["/usr/bin/tool", "5", "5", "7", "5"] + $0) })
    }

    @Test func manyGroupsAndManyHours() throws {
        let policy = try Self.policy(1_000) { number, rule in
            rule.targets = Targets(literal: AccountSet(groups: [ByteText("g\(number % 250)")]))
            rule.hours = Hours([
                try #require(
                    WeeklyRange(
                        firstDay: number % 7, lastDay: number % 5, start: number * 7 % 1_440,
                        end: (number * 7 + 1 + number % 1_400) % 1_440))
            ])
        }
        let requests = try (0..<40).map { number in
            try Self.request(
                groups: (0..<number).map { "g\($0 * 6)" }, day: number % 7, minute: number * 37 % 1_440)
        }
        compare(policy, requests)
    }

    @Test func setsOfManyMembersAndMembersOfManySets() throws {
        let sets = (0..<60).map { set in
            NamedSet(
                name: "n\(set)",
                items: (0..<50).map { AddressBlock(IPAddress(v4: 0x0A00_0000 + UInt32(($0 * (set + 1)) % 97))) })
        }
        let policy = try Self.policy(1_200) { number, rule in
            rule.sources = Sources(sets: [sets[number % 60], sets[number % 7]])
            rule.targets = Targets(literal: AccountSet(names: [try Self.name("u\(number % 13)")]))
        }
        compare(
            policy,
            try (0..<50).map { try Self.request(IPAddress(v4: 0x0A00_0000 + UInt32($0 * 2)), as: "u\($0 % 14)") })
    }

    /// Each clause matches half of the rules, and no rule has both.
    @Test func clausesThatTellNothingApartAlone() throws {
        let block = try #require(AddressBlock(base: IPAddress(v4: 0x0A00_0000), prefixLength: 8))
        let policy = try Self.policy(9_000) { number, rule in
            if number % 2 == 0 { rule.sources = Sources(literal: [block]) } else { rule.sources = Sources() }
            if number % 2 == 1 || number == 8_998 {
                rule.targets = Targets(literal: AccountSet(names: [try Self.name("alice")]))
            } else {
                rule.targets = Targets()
            }
        }
        compare(policy, [try Self.request(), try Self.request(as: "bob")])
    }

    /// A search goes 4,096 rules at a time: lists of few rules go on from one such step to the next.
    @Test func rulesFarApart() throws {
        let block = try #require(AddressBlock(base: IPAddress(v4: 0x0A00_0000), prefixLength: 8))
        let policy = try Self.policy(13_000) { number, rule in
            let isFar = number % 450 == 1
            rule.effect = .permit
            rule.sources = Sources(literal: isFar ? [block] : [])
            rule.targets = Targets(literal: AccountSet(names: [try Self.name(isFar ? "u\(number)" : "other")]))
        }
        compare(policy, try [1, 4_051, 4_501, 8_551, 12_601, 2].map { try Self.request(as: "u\($0)") })
    }

    /// A stranger's longest commands: of one word, of one path, and of arguments alone.
    @Test func theLongestCommandsAreDecided() throws {
        let limit = 131_071
        let policy = Self.policy(40) { number, rule in
            rule.commands = Commands(literal: [
                CommandPattern(
                    program: "/x",
                    arguments: [
                        number % 2 == 0 ? .path(number % 4 == 0 ? "/" : "/a/a/b") : .word,
                        .literal(ByteText("\(number)")),
                    ])
            ])
        }
        let longWord = ByteText(Array(repeating: UInt8(ascii: "a"), count: limit))
        let longPath = ByteText((0..<limit).map { $0 % 2 == 0 ? UInt8(ascii: "/") : UInt8(ascii: "a") })
        compare(
            policy,
            [
                try Self.request(run: ["/x", longWord, "1"]), try Self.request(run: ["/x", longPath, "4"]),
                try Self.request(run: ["/x"] + Array(repeating: "a", count: limit / 2)),
                try Self.request(run: [longPath, "1"]), try Self.request(run: [longWord]),
            ])
    }

    @Test func anIndexOfNoRulesDeniesAsTheScanDoes() throws {
        compare(Self.policy(0) { _, _ in }, [try Self.request()])
        compare(Policy(), [try Self.request()])
    }

    // MARK: Properties

    private func isPermit(_ decision: Decision) -> Bool {
        if case .permit = decision { true } else { false }
    }

    @Test(arguments: 0..<40 as Range<UInt64>) func addingAForbidNeverTurnsADenyIntoAPermit(_ seed: UInt64) {
        var random = RandomPolicy(seed: seed)
        var policy = random.policy
        for (place, var rule) in RandomPolicy(seed: seed &+ 10_000).policy.rules.prefix(3).enumerated() {
            rule.effect = .forbid
            policy.rules.insert(rule, at: min(place * 3, policy.rules.count))
        }
        let (before, after) = (PolicyIndex(random.policy), PolicyIndex(policy))
        for _ in 0..<200 {
            let request = random.request()
            if !isPermit(before.decide(request)) {
                #expect(!isPermit(after.decide(request)), "seed \(seed) \(request)")
            }
        }
    }

    @Test(arguments: 100..<140 as Range<UInt64>) func theOrderOfRulesNeverChangesAnEffect(_ seed: UInt64) {
        var random = RandomPolicy(seed: seed)
        var order = SeededGenerator(seed: seed)
        var policy = random.policy
        policy.rules.shuffle(using: &order)
        let (one, other) = (PolicyIndex(random.policy), PolicyIndex(policy))
        for _ in 0..<200 {
            let request = random.request()
            #expect(isPermit(one.decide(request)) == isPermit(other.decide(request)), "seed \(seed) \(request)")
        }
    }

    @Test func hoursOfEveryDayAreOneRangeWhereTheyTouch() throws {
        let day = try #require(WeeklyRange(firstDay: 0, lastDay: 6, start: 0, end: WeeklyRange.minutesOfDay))
        #expect(IntervalSet(Array(repeating: day, count: 5_000)).ranges == [0...(7 * WeeklyRange.minutesOfDay - 1)])
        let hour = try #require(WeeklyRange(firstDay: 6, lastDay: 0, start: 1_380, end: 60))
        #expect(IntervalSet([hour, hour]).ranges == [0...59, 1_380...1_499, 10_020...10_079])
    }

    // MARK: Parts

    @Test func aTableNumbersKeysInTheOrderInWhichTheyAreSeen() {
        var table = ByteTable()
        // On both sides of the 23 bytes that fit into a slot.
        let keys = (0..<4_000).map { Array(repeating: UInt8($0 % 3), count: $0 % 37) + Array(String($0).utf8) }
        #expect(table.number([UInt8]().span) == nil)
        for (number, key) in keys.enumerated() { #expect(table.insert(key.span) == number) }
        for (number, key) in keys.enumerated() {
            #expect(table.insert(key.span) == number)
            #expect(table.number(key.span) == number)
            #expect(table.number((key + [0]).span) == nil)
        }
        #expect(table.count == keys.count)
        #expect(table.insert([UInt8]().span) == keys.count)
        #expect(table.number([UInt8]().span) == keys.count)
    }

    @Test func aKeyIsItsBytesAndItsLengthAndNothingElse() {
        var table = ByteTable()
        // Alike but for zeros at the end, which a word that is filled up with zeros would take for none.
        for count in 0...40 { #expect(table.insert(Array(repeating: 0, count: count).span) == count) }
        for count in 0...40 { #expect(table.number(Array(repeating: 0, count: count).span) == count) }
        for place in 0..<40 {
            var key = [UInt8](repeating: 0, count: 40)
            key[place] = 1
            #expect(table.number(key.span) == nil, "byte \(place)")
        }
    }

    @Test func anEdgeIsFoundByBothOfItsNumbers() {
        var random = SeededGenerator(seed: 3)
        var table = EdgeTable()
        var model: [UInt64: UInt32] = [:]
        for child in UInt32(1)...3_000 {
            let (node, number) = (UInt32(random.below(60)), UInt32(random.below(60)))
            let key = UInt64(node) << 32 | UInt64(number)
            #expect(table.child(of: node, number) == model[key])
            guard model[key] == nil else { continue }
            table.insert(child, of: node, number)
            model[key] = child
        }
        for node in UInt32(0)..<60 {
            for number in UInt32(0)..<60 {
                #expect(table.child(of: node, number) == model[UInt64(node) << 32 | UInt64(number)])
            }
        }
    }

    @Test(arguments: [0, 1, 2, 7, 8, 9, 16, 17, 100, 1_001]) func anIntervalIsFoundByEachOfItsValues(_ count: Int) {
        var random = SeededGenerator(seed: UInt64(count))
        let bounds = Set((0..<count).map { _ in UInt16(truncatingIfNeeded: random.next()) }).sorted()
        var building = IntervalMap<UInt16, Int>()
        for (number, bound) in bounds.enumerated() {
            // The last word on a bound holds.
            building.start(bound, .max)
            building.start(bound, number)
        }
        let map = building.mapValues { UInt32($0) }
        for value in UInt16.min...UInt16.max {
            let number = map.value(of: value)
            // Without the scan of all bounds: the bound below is no more, the one above is.
            guard let number else {
                #expect(bounds.first.map { value < $0 } ?? true)
                continue
            }
            #expect(bounds[Int(number)] <= value)
            #expect(Int(number) + 1 == bounds.count || value < bounds[Int(number) + 1])
        }
    }

    @Test(arguments: [1, 64, 65, 600, 5_000]) func aSetHoldsItsRulesInEveryForm(_ count: Int) {
        var random = SeededGenerator(seed: UInt64(count))
        var sets = RuleSets(ruleCount: count)
        #expect(sets.insert([]) == nil)
        #expect(sets.insert(0..<UInt32(count)) == .all)
        for share in [1, 2, 10, 60, 99] {
            let models = (0..<3).map { _ in (0..<count).filter { _ in random.chance(share) } }
            let made = models.map { sets.insert($0.flatMap { [UInt32($0), UInt32($0)] }) }
            for (model, set) in zip(models, made) {
                guard let set else {
                    #expect(model.isEmpty)
                    continue
                }
                #expect((0..<count).filter { sets.contains(set, rule: $0) } == model)
            }
            let union = sets.union(made.compactMap(\.self))
            let expected = Set(models.joined())
            #expect(union.map { set in (0..<count).filter { sets.contains(set, rule: $0) } } ?? [] == expected.sorted())
        }
    }
}
