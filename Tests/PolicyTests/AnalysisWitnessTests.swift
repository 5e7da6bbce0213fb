// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import TestSupport
import Testing

/// The search for a request, against a look at every request of a small world.
@Suite struct AnalysisWitnessTests {
    private static let universe = Result { try AnalysisUniverse() }

    @Test("a witness is found exactly where a look at every request finds one", arguments: 0..<16 as Range<UInt64>)
    func aWitnessIsFoundExactlyWhereThereIsOne(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SeededGenerator(seed: seed)
        var found = 0
        for _ in 0..<20 {
            let policy = try AnalysisUniverse.policy(AnalysisUniverse.rules(12, &random))
            let rules = policy.rules.shuffled(using: &random)
            let matching = Array(rules.prefix(Int.random(in: 1...3, using: &random)))
            let avoiding = Array(rules.dropFirst(3).prefix(Int.random(in: 0...9, using: &random)))
            var scope =
                random.chance(70)
                ? RequestScope.everything
                : RequestScope(services: [random.pick([.rexec, .rsh])], includesRemoteCopy: random.chance(50))
            if random.chance(60) { scope.pools = policy.settings.pools }
            let masks = try universe.masks(matching + avoiding, scope)
            let wanted: UInt64 = (1 << UInt64(matching.count)) - 1
            let exists = masks.contains { $0 == wanted }
            let names = "seed \(seed): \(matching.map(\.name)) but not \(avoiding.map(\.name))"
            switch PolicyAnalysis.witness(matching: matching, avoiding: avoiding, in: scope) {
            case .request(let request):
                found += 1
                #expect(exists, "\(names): \(request)")
                #expect(matching.allSatisfy { $0.matches(request) }, "\(names): \(request)")
                #expect(!avoiding.contains { $0.matches(request) }, "\(names): \(request)")
                #expect(scope.services.contains(request.service))
                #expect(scope.includesRemoteCopy || !request.command.isRemoteCopy)
            case .none:
                #expect(!exists, "\(names)")
            case .undecided:
                Issue.record("\(names): undecided")
            }
        }
        #expect(found > 0)
    }

    @Test("the steps of a search are those of its lists, and a list that need not be looked at costs none")
    func theStepsAreThoseOfTheLists() throws {
        let count = 10_000
        let sets = (0..<2).map { number in
            // Neither two of a set touch, nor are the sets the same.
            NamedSet(
                name: "set\(number)",
                items: (0..<count).compactMap { index in
                    AddressBlock(containing: IPAddress(v4: UInt32(4 * index)), prefixLength: 32 - number)
                })
        }
        let texts = ["00:01-00:02", "00:02-00:03"].map { "permit r: rexec from any as alice run any during sun \($0)" }
        var rules = try texts.flatMap { try AnalysisUniverse.policy([$0]).rules }
        for index in rules.indices { rules[index].sources = Sources(sets: [sets[0]]) }

        var apart = PolicyAnalysis(scope: .everything)
        #expect(apart.witness(matching: rules, avoiding: []) == .none)
        #expect(apart.spent < 1_000)

        rules[1].hours = nil
        rules[1].sources = Sources(sets: [sets[1]])
        var together = PolicyAnalysis(scope: .everything)
        #expect(together.witness(matching: rules, avoiding: []) != .none)
        #expect(together.spent > 3 * count)
        let made = together.spent
        #expect(together.witness(matching: rules, avoiding: []) != .none)
        #expect((2 * count..<made).contains(together.spent - made))
    }
}
