// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import TestSupport
import Testing

/// What a review finds, against a look at every request of a small world.
@Suite struct AnalysisReviewTests {
    private static let universe = Result { try AnalysisUniverse() }

    /// The rule that a finding calls needless, if it does.
    private func needless(_ finding: Finding) -> Int? {
        switch finding {
        case .matchesNothing(let rule), .matchesOnlyRemoteCopy(let rule), .forbidden(let rule, _),
            .neverDecides(let rule, _, _), .permittedAlike(let rule, _), .forbiddenAnyway(let rule, _):
            rule
        case .interpreters, .sandboxes, .unfinished: nil
        }
    }

    @Test("exactly those rules are needless without which nothing changes", arguments: 1_000..<1_012 as Range<UInt64>)
    func exactlyThoseRulesAreNeedless(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<4 {
            let settings = random.pick(["securetcpip off", "securetcpip on except rsh"])
            let policy = try AnalysisUniverse.policy(AnalysisUniverse.rules(7, &random), settings: settings)
            let findings = PolicyReview.findings(policy)
            let needless = Set(findings.compactMap { self.needless($0) })
            let requests = try universe.requests(policy.rules)
            var reduced = policy
            reduced.rules = policy.rules.enumerated().filter { !needless.contains($0.offset) }.map(\.element)
            for request in requests {
                #expect(
                    AnalysisUniverse.effect(policy, request) == AnalysisUniverse.effect(reduced, request),
                    "seed \(seed): \(findings) \(request)")
            }
            // The rest is needed: without a permit some request is decided differently, and without a forbid some
            // request is no longer forbidden.
            for (index, rule) in reduced.rules.enumerated() {
                var without = reduced
                without.rules.remove(at: index)
                let isNeeded = requests.contains { request in
                    switch rule.effect {
                    case .permit:
                        return AnalysisUniverse.effect(reduced, request) != AnalysisUniverse.effect(without, request)
                    case .forbid:
                        let others = without.rules.filter { $0.effect == .forbid }
                        return rule.matches(request) && !others.contains { $0.matches(request) }
                    }
                }
                #expect(isNeeded, "seed \(seed): \(rule.name) \(findings)")
            }
        }
    }

    @Test(
        "rules that forbid together do so, and none of them can be left out", arguments: 1_100..<1_108 as Range<UInt64>)
    func rulesThatForbidTogetherAreAllNeeded(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<6 {
            let policy = try AnalysisUniverse.policy(AnalysisUniverse.rules(9, &random))
            let requests = try universe.requests(policy.rules)
            for finding in PolicyReview.findings(policy) {
                guard case .forbidden(let permit, let forbids) = finding else { continue }
                let matched = requests.filter { policy.rules[permit].matches($0) }
                func isForbidden(_ request: Request, by some: [Int]) -> Bool {
                    some.contains { policy.rules[$0].matches(request) }
                }
                #expect(matched.allSatisfy { isForbidden($0, by: forbids) }, "seed \(seed): \(finding)")
                for left in forbids where forbids.count > 1 {
                    let others = forbids.filter { $0 != left }
                    #expect(!matched.allSatisfy { isForbidden($0, by: others) }, "seed \(seed): \(finding)")
                }
            }
        }
    }

    @Test(
        "two permits with different sandboxes are told exactly where the earlier one decides what both match",
        arguments: 1_200..<1_208 as Range<UInt64>)
    func overlapsAreToldExactly(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<4 {
            let policy = try AnalysisUniverse.policy(AnalysisUniverse.rules(7, &random))
            let findings = PolicyReview.findings(policy)
            let needless = Set(findings.compactMap { self.needless($0) })
            var told = Set<[Int]>()
            for case .sandboxes(let overlap) in findings {
                told.insert([overlap.earlier, overlap.later])
                #expect(policy.rules[overlap.later].matches(overlap.request))
                #expect(policy.rules[overlap.earlier].matches(overlap.request))
            }
            var expected = Set<[Int]>()
            let permits = policy.rules.indices.filter { policy.rules[$0].effect == .permit && !needless.contains($0) }
            for request in try universe.requests(policy.rules) {
                guard !policy.rules.contains(where: { $0.effect == .forbid && $0.matches(request) }) else { continue }
                let matching = permits.filter { policy.rules[$0].matches(request) }
                for later in matching.dropFirst()
                where policy.rules[later].sandbox != policy.rules[matching[0]].sandbox {
                    expected.insert([matching[0], later])
                }
            }
            #expect(told == expected, "seed \(seed)")
        }
    }

    @Test("a review that takes too long says from where on")
    func aReviewThatTakesTooLongSaysSo() throws {
        let rules = (0..<40).map { "permit r\($0): rexec from any as any run \"/usr/bin/id <word> a\($0) *\"" }
        let policy = try policy(rules.joined(separator: "\n"))
        #expect(PolicyReview.findings(policy).isEmpty)
        guard case .unfinished(let place) = PolicyReview.findings(policy, workLimit: 2_000).last else {
            Issue.record("nothing is said")
            return
        }
        #expect(place < 40)
    }

    @Test(
        "what a search would say of itself may be said by a rule",
        arguments: [
            ("<path /home>", "<path /home/file>"), ("<path />", "<path /file>"), ("<path /home>", "/home/file"),
            ("<word>", "word"), ("<int>", "1"), ("*", "--other"),
        ])
    func whatASearchWouldSayMayBeSaid(_ permitted: String, _ forbidden: String) throws {
        let policy = try AnalysisUniverse.policy([
            "permit cat: rexec from any as alice run \"/usr/bin/cat \(permitted)\"",
            "forbid no: any run \"/usr/bin/cat \(forbidden)\"",
        ])
        #expect(PolicyReview.findings(policy).isEmpty)
    }
}
