// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

@testable import Policy

/// The index against the scan, which is what a policy means: a million requests each run.
///
/// The long mode, before a release:
///
///     PORTCULLIS_COMPARISONS=100000000 PORTCULLIS_SEED=1 \
///         swift test -c release -Xswiftc -enable-testing --filter PolicyIndexDifferentialTests
///
/// A failure prints the seed of its policy; with that seed and one comparison, the same policy comes first.
@Suite struct PolicyIndexDifferentialTests {
    private static func number(_ variable: String, _ otherwise: UInt64) -> UInt64 {
        ProcessInfo.processInfo.environment[variable].flatMap { UInt64($0) } ?? otherwise
    }

    private static let comparisons = number("PORTCULLIS_COMPARISONS", 1_000_000)
    private static let seed = number("PORTCULLIS_SEED", 1)
    /// Parts of the work, which run beside each other.
    private static let parts: UInt64 = 16
    /// The requests of one policy: making it is dear, and asking is cheap.
    private static let requestsPerPolicy: UInt64 = 500
    private static let policiesPerPart =
        (comparisons + parts * requestsPerPolicy - 1) / (parts * requestsPerPolicy)

    @Test(arguments: 0..<parts) func theIndexDecidesAsTheScanDoes(_ part: UInt64) {
        for number in 0..<Self.policiesPerPart {
            let seed = Self.seed &+ part &* Self.policiesPerPart &+ number
            var random = RandomPolicy(seed: seed)
            // One in five without memory for what could be done without.
            let index = PolicyIndex(random.policy, unionAllowance: seed % 5 == 0 ? 0 : RuleSets.unionAllowance)
            // The two ways to intersect are held to the scan in turn, and the choice between them.
            let method = RuleSearch.Method.allCases[Int(seed % 3)]
            for _ in 0..<Self.requestsPerPolicy {
                let request = random.request()
                let expected = random.policy.decide(request)
                let decision = index.decide(request, method)
                guard decision != expected else { continue }
                Issue.record("\(Self.report(seed, method, random.policy, request, decision))")
                return
            }
        }
    }

    /// What a person needs to see it again: the fewest rules that still show it.
    private static func report(
        _ seed: UInt64, _ method: RuleSearch.Method, _ policy: Policy, _ request: Request, _ decision: Decision
    ) -> String {
        var small = policy
        for rule in policy.rules {
            var smaller = small
            smaller.rules.removeAll { $0.name == rule.name }
            if PolicyIndex(smaller).decide(request, method) != smaller.decide(request) { small = smaller }
        }
        return """
            PORTCULLIS_SEED=\(seed) PORTCULLIS_COMPARISONS=1, of \(policy.rules.count) rules:
            \(small.rules.map(\.shown).joined(separator: "\n"))
            \(request)
            scan:  \(policy.decide(request))
            index: \(decision) (\(method))
            """
    }
}
