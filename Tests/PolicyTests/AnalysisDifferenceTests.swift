// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import TestSupport
import Testing

/// What two policies decide differently, against a look at every request of a small world.
@Suite struct AnalysisDifferenceTests {
    private static let universe = Result { try AnalysisUniverse() }

    /// A policy a few edits away.
    private func edited(_ rules: [String], _ random: inout SeededGenerator) -> [String] {
        var rules = rules
        for edit in 0..<Int.random(in: 1...3, using: &random) {
            let place = Int.random(in: rules.indices, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: rules.remove(at: place)
            case 1: rules.insert("forbid f\(edit): \(AnalysisUniverse.rule(.forbid, &random))", at: place)
            case 2: rules.insert("permit p\(edit): \(AnalysisUniverse.rule(.permit, &random))", at: place)
            case 3: rules.append(rules.remove(at: place))
            default:
                let words = rules[place].split(separator: " ")
                let effect: Effect = words[0] == "permit" ? .permit : .forbid
                rules[place] = "\(words[0]) \(words[1]) \(AnalysisUniverse.rule(effect, &random))"
            }
        }
        return rules
    }

    @Test(
        "a difference is found exactly where a look at every request finds one",
        arguments: 2_000..<2_016 as Range<UInt64>)
    func aDifferenceIsFoundExactlyWhereThereIsOne(_ seed: UInt64) throws {
        let universe = try Self.universe.get()
        var random = SeededGenerator(seed: seed)
        let settings = ["securetcpip off", "securetcpip off", "securetcpip on", "securetcpip on except rsh"]
        for _ in 0..<6 {
            let rules = AnalysisUniverse.rules(6, &random)
            let old = try AnalysisUniverse.policy(rules, settings: random.pick(settings))
            let new = try AnalysisUniverse.policy(edited(rules, &random), settings: random.pick(settings))
            let difference = PolicyDifference(old: old, new: new)
            var outcomes = difference.rules.map(\.outcome)
            if let served = difference.served { outcomes.append(served) }
            for case .different(let change) in outcomes {
                #expect(old.decide(change.request) == change.before)
                #expect(new.decide(change.request) == change.after)
                #expect(
                    AnalysisUniverse.effect(old, change.request) != AnalysisUniverse.effect(new, change.request),
                    "seed \(seed): \(change)")
            }
            #expect(!outcomes.contains(.undecided))
            let isFound = outcomes.contains { $0 != .same }
            let isDifferent = try universe.requests(old.rules + new.rules).contains {
                AnalysisUniverse.effect(old, $0) != AnalysisUniverse.effect(new, $0)
            }
            #expect(isFound == isDifferent, "seed \(seed): \(rules) \(difference.rules)")
        }
    }

    @Test("a rule of which it is said that it decides nothing differently does not")
    func aRuleThatDecidesNothingDifferentlyDoesNot() throws {
        let universe = try Self.universe.get()
        for seed in 2_100..<2_112 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let rules = AnalysisUniverse.rules(6, &random)
            let old = try AnalysisUniverse.policy(rules)
            let new = try AnalysisUniverse.policy(edited(rules, &random))
            let requests = try universe.requests(old.rules + new.rules)
            for row in PolicyDifference(old: old, new: new).rules where row.outcome == .same && row.kind != .moved {
                for request in requests {
                    let deciders = [(old, row.old), (new, row.new)].map { policy, place in
                        place.map { Self.decides(policy, $0, request) } ?? false
                    }
                    guard deciders.contains(true) else { continue }
                    #expect(
                        AnalysisUniverse.effect(old, request) == AnalysisUniverse.effect(new, request),
                        "seed \(seed): \(row) \(request)")
                }
            }
        }
    }

    private static func decides(_ policy: Policy, _ place: Int, _ request: Request) -> Bool {
        let rule = policy.rules[place]
        switch rule.effect {
        case .forbid: return rule.matches(request) && !policy.isDisabled(request)
        case .permit:
            guard case .permit(let terms) = policy.decide(request) else { return false }
            return terms.rule == rule.reference
        }
    }

    @Test("a policy does not differ from itself, however its rules that decide alike are ordered")
    func aPolicyDoesNotDifferFromItself() throws {
        let rules = ["permit a: rexec from any as alice run any", "permit b: rexec from 10.1.2.3 as any run any"]
        let policy = try policy(rules.joined(separator: "\n"))
        #expect(PolicyDifference(old: policy, new: policy).rules.isEmpty)
        let other = try PolicyTests.policy(rules.reversed().joined(separator: "\n"))
        let moved = PolicyDifference(old: policy, new: other).rules
        #expect(moved.map(\.kind) == [.moved])
        #expect(moved.map(\.outcome) == [.same])
    }

    @Test("permits with different sandboxes that change places decide differently what both match")
    func permitsThatChangePlacesDecideDifferently() throws {
        let rules = [
            "permit a: rexec from any as alice run any sandbox home",
            "permit b: rexec from 10.1.2.3 as any run \"/usr/bin/id\"",
        ]
        let old = try policy(rules.joined(separator: "\n"))
        let new = try policy(rules.reversed().joined(separator: "\n"))
        guard case .different(let change) = PolicyDifference(old: old, new: new).rules.first?.outcome else {
            Issue.record("no difference")
            return
        }
        #expect(change.request.source.description == "10.1.2.3")
        #expect(change.request.target.name.description == "alice")
        #expect(!change.dependsOnTime)
    }

    @Test("a set or a sandbox that changes is a change of the rules that name it")
    func aSetThatChangesIsAChangeOfItsRules() throws {
        let text = { (network: String, umask: String) in
            """
            networks near = { \(network) }
            sandbox tight { umask \(umask) }
            permit a: rexec from @near as alice run any
            permit b: rexec from 10.1.2.3 as bob run any sandbox tight
            """
        }
        let old = try policy(text("10.1.2.0/24", "077"))
        let wider = PolicyDifference(old: old, new: try policy(text("10.1.0.0/16", "077"))).rules
        #expect(wider.map { old.rules[$0.old ?? 0].name } == ["a"])
        guard case .different(let change) = wider.first?.outcome else {
            Issue.record("no difference")
            return
        }
        #expect(change.request.source.description == "10.1.0.0")
        let looser = PolicyDifference(old: old, new: try policy(text("10.1.2.0/24", "022"))).rules
        #expect(looser.map { old.rules[$0.old ?? 0].name } == ["b"])
        #expect(looser.first.map { $0.outcome != .same } == true)
    }

    @Test("beyond the work limit nothing is said to be the same")
    func beyondTheWorkLimitNothingIsSaidToBeTheSame() throws {
        let old = try policy("permit a: rexec from any as alice run any")
        let new = try policy("permit b: rexec from any as alice run any")
        #expect(PolicyDifference(old: old, new: new).rules.map(\.outcome) == [.same, .same])
        let cut = PolicyDifference(old: old, new: new, workLimit: -1).rules.map(\.outcome)
        #expect(cut == [.undecided, .undecided])
    }
}
