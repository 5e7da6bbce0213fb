// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import Testing

/// The search for a request, against a look at every request of a small world.
@Suite struct AnalysisWitnessTests {
    private static let universe = Result { try AnalysisUniverse() }

    @Test("a witness is found exactly where a look at every request finds one", arguments: 0..<16 as Range<UInt64>)
    func aWitnessIsFoundExactlyWhereThereIsOne(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SplitMix(seed: seed)
        var found = 0
        for _ in 0..<20 {
            let policy = try AnalysisUniverse.policy(AnalysisUniverse.rules(12, &random))
            let rules = policy.rules.shuffled(using: &random)
            let matching = Array(rules.prefix(Int.random(in: 1...3, using: &random)))
            let avoiding = Array(rules.dropFirst(3).prefix(Int.random(in: 0...9, using: &random)))
            let scope =
                random.chance(70)
                ? RequestScope.everything
                : RequestScope(services: [random.pick([.rexec, .rsh])], includesRemoteCopy: random.chance(50))
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
}
