// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// Every policy of policy/, with its tests.
@Suite struct ExamplesTests {
    @Test(arguments: try Examples.names())
    func aPolicyOfThisTreeIsGoodFormattedAndPassesItsTests(_ name: String) throws {
        let text = try Examples.text(name + ".policy")
        let loaded = load(text)
        #expect(loaded.diagnostics.isEmpty, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(PolicyText.format(SourceFile(name: "t", text: text)).text == text, "portcullis fmt says it otherwise")

        let policy = try #require(loaded.policy)
        let now = try #require(LocalTime(weekday: 0, minute: 0))
        let tests = PolicyTestFile(SourceFile(name: "t", text: try Examples.text(name + ".test")), now: now)
        #expect(tests.diagnostics.isEmpty, "\(tests.diagnostics.map(\.text).joined())")
        for test in tests.tests {
            let failure = test.failure(under: policy)
            #expect(failure == nil, "\(name).test:\(test.place.line): \(failure ?? "")")
        }
        // Each rule decides somewhere in its tests, forbids and permits alike.
        let decided = tests.tests.compactMap { test -> String? in
            switch policy.decide(test.request) {
            case .permit(let terms): terms.rule.name
            case .deny(let denial): denial.rule?.name
            }
        }
        let rules = policy.settings.serves(.rexec) || policy.settings.serves(.rsh) ? policy.rules.map(\.name) : []
        #expect(Set(rules).subtracting(decided).isEmpty, "rules that no test of the policy reaches")
    }
}
