// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Policy
import PolicyLanguage

/// `portcullis diff`: what two policies decide differently.
struct DifferenceVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Say which requests a new policy decides differently, with one for each rule that differs.",
        discussion: """
            Settings that differ, then each rule that was added, removed, changed or moved, with a request that is \
            decided differently because of it, as a policy test would write it, and both decisions. The answers are \
            exact: a rule without such a request changes no decision. "Links aside" stands where a forbid of commands \
            differs: it also matches a program that is a link to one of its own, and links are not looked at.

            EXAMPLE
              portcullis diff /etc/portcullis/portcullis.policy new.policy

            EXIT STATUS
              0 the same, 1 different, or an error in a policy.
            """)

    @Argument(help: "The old policy file.") var old: String
    @Argument(help: "The new policy file.") var new: String
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            let (before, after) = (try LocalPolicy(old), try LocalPolicy(new))
            // Both are read before the end, so that one run tells all errors.
            let areGood = [try before.report(quietly: true), try after.report(quietly: true)]
            guard areGood.allSatisfy(\.self), let one = before.loaded.policy, let other = after.loaded.policy else {
                throw ExitCode(1)
            }
            let report = DifferenceReport(old: one, new: other)
            var output = Output()
            if format.isJSON {
                try output.line(report.json(before.revision, after.revision).text)
            } else {
                for line in report.lines(output) { try output.line(line) }
            }
            try output.flush()
            guard report.isSame else { throw ExitCode(1) }
        }
    }
}

/// The differences of two policies, for people and for programs.
private struct DifferenceReport {
    let old: Policy
    let new: Policy
    let settings: [SettingDifference]
    let difference: PolicyDifference

    init(old: Policy, new: Policy) {
        self.old = old
        self.new = new
        settings = SettingDifference.differences(old: old.settings, new: new.settings)
        difference = PolicyDifference(old: old, new: new)
    }

    private var outcomes: [PolicyDifference.Outcome] {
        difference.rules.map(\.outcome) + [difference.served].compactMap(\.self)
    }

    /// Whether every request is certainly decided alike, under the same settings.
    var isSame: Bool { settings.isEmpty && outcomes.allSatisfy { $0 == .same } }

    private func rule(_ row: PolicyDifference.RuleDifference) -> RuleReference? {
        row.new.map { new.rules[$0].reference } ?? row.old.map { old.rules[$0].reference }
    }

    private func places(_ row: PolicyDifference.RuleDifference) -> (old: FilePlace?, new: FilePlace?) {
        (row.old.map { old.rules[$0].place }, row.new.map { new.rules[$0].place })
    }

    private static let linksAside = ", links aside"

    /// Whether a row calls the same what may differ for a program that is a link: a forbid of commands also matches
    /// what a program is a link to, and the search knows no links.
    private func leavesLinksAside(_ row: PolicyDifference.RuleDifference) -> Bool {
        guard row.outcome == .same else { return false }
        return [row.old.map { old.rules[$0] }, row.new.map { new.rules[$0] }].contains { rule in
            guard let rule, rule.effect == .forbid, let commands = rule.commands else { return false }
            return !commands.isAny && !commands.isWithoutPatterns
        }
    }

    private static func word(_ kind: PolicyDifference.Kind) -> String {
        switch kind {
        case .added: "added"
        case .removed: "removed"
        case .changed: "changed"
        case .moved: "moved"
        }
    }

    // MARK: For people

    private static let placeColumn = 55

    func lines(_ output: Output) -> [String] {
        var lines: [String] = []
        for setting in settings { lines.append("\(setting.name)  \(setting.old) → \(setting.new)") }
        if let served = difference.served { lines += self.lines(served, output) }
        for row in difference.rules {
            guard let rule = rule(row) else { continue }
            let word = Self.word(row.kind)
            let tone: Output.Tone =
                switch row.kind {
                case .added: .good
                case .removed: .bad
                case .changed, .moved: .doubtful
                }
            let places = [places(row).old, places(row).new].compactMap { $0.map(Shown.place) }.joined(separator: " → ")
            let padding = String(repeating: " ", count: max(9 - word.utf8.count, 1))
            let space = String(repeating: " ", count: max(Self.placeColumn - 9 - rule.name.utf8.count, 2))
            lines.append(output.coloured(word, tone) + padding + rule.name + space + places)
            lines += self.lines(row.outcome, output, leavesLinksAside(row))
        }
        lines.append(summary)
        return lines
    }

    private func lines(
        _ outcome: PolicyDifference.Outcome, _ output: Output, _ leavesLinksAside: Bool = false
    ) -> [String] {
        switch outcome {
        case .different(let change):
            return [
                "  " + RequestText.line(change.request, hasTime: change.dependsOnTime),
                "    before  " + text(change.before, old, output),
                "    after   " + text(change.after, new, output) + sandboxNote(change),
            ]
        case .same:
            return ["  decides no request differently" + (leavesLinksAside ? Self.linksAside : "")]
        case .undecided:
            return ["  not decided within the work limit"]
        }
    }

    private func text(_ decision: Decision, _ policy: Policy, _ output: Output) -> String {
        switch decision {
        case .permit(let terms):
            output.coloured("permit", .good) + " \(terms.rule.name) in sandbox \(policy.sandboxes[terms.sandbox].name)"
                + (terms.usesShell ? ", by the account's shell" : "") + (terms.selfTrust ? ", self-trust" : "")
        case .deny(let denial):
            output.coloured("deny", .bad) + " \(denial.reason.name)" + (denial.rule.map { " \($0.name)" } ?? "")
        }
    }

    /// What differs in sandboxes of one name.
    private func sandboxNote(_ change: PolicyDifference.Change) -> String {
        guard case .permit(let before) = change.before, case .permit(let after) = change.after else { return "" }
        let (one, other) = (old.sandboxes[before.sandbox], new.sandboxes[after.sandbox])
        guard one.name == other.name, one != other else { return "" }
        return " with other \(one.differingItems(other).joined(separator: ", "))"
    }

    private var summary: String {
        let different = outcomes.count { if case .different = $0 { true } else { false } }
        let undecided = outcomes.count { $0 == .undecided }
        if undecided > 0 {
            return "\(Shown.count(undecided, "comparison")) not decided within the work limit"
        }
        if different > 0 { return "requests are decided differently" }
        let same = settings.isEmpty ? "no request is decided differently" : "only settings differ"
        return same + (difference.rules.contains(where: leavesLinksAside) ? Self.linksAside : "")
    }

    // MARK: For programs

    func json(_ before: Revision, _ after: Revision) -> JSON {
        let rows = difference.rules.map { row in
            let places = places(row)
            return JSON.object(
                [
                    ("rule", .optional(rule(row)?.name)), ("change", .string(Self.word(row.kind))),
                    ("oldAt", .optional(places.old?.description)), ("newAt", .optional(places.new?.description)),
                    ("linksAside", .bool(leavesLinksAside(row))),
                ] + members(row.outcome))
        }
        return .object([
            ("same", .bool(isSame)), ("old", .string(before.description)), ("new", .string(after.description)),
            (
                "settings",
                .array(
                    settings.map {
                        .object([("name", .string($0.name)), ("old", .string($0.old)), ("new", .string($0.new))])
                    })
            ),
            ("served", difference.served.map { .object(members($0)) } ?? .null), ("rules", .array(rows)),
        ])
    }

    private func members(_ outcome: PolicyDifference.Outcome) -> [(String, JSON)] {
        switch outcome {
        case .different(let change):
            [
                ("outcome", .string("different")),
                ("request", .string(RequestText.line(change.request, hasTime: change.dependsOnTime))),
                ("before", json(change.before, old)), ("after", json(change.after, new)),
            ]
        case .same:
            [("outcome", .string("same")), ("request", .null), ("before", .null), ("after", .null)]
        case .undecided:
            [("outcome", .string("undecided")), ("request", .null), ("before", .null), ("after", .null)]
        }
    }

    private func json(_ decision: Decision, _ policy: Policy) -> JSON {
        switch decision {
        case .permit(let terms):
            .object([
                ("decision", .string("permit")), ("reason", .null), ("rule", .string(terms.rule.name)),
                ("at", .string(terms.rule.place.description)),
                ("sandbox", .string(policy.sandboxes[terms.sandbox].name)), ("shell", .bool(terms.usesShell)),
                ("selfTrust", .bool(terms.selfTrust)),
            ])
        case .deny(let denial):
            .object([
                ("decision", .string("deny")), ("reason", .string(denial.reason.name)),
                ("rule", .optional(denial.rule?.name)), ("at", .optional(denial.rule?.place.description)),
                ("sandbox", .null), ("shell", .null), ("selfTrust", .null),
            ])
        }
    }
}

extension Sandbox {
    /// The items, in a policy's words, that another sandbox does not have alike.
    fileprivate func differingItems(_ other: Sandbox) -> [String] {
        let items = [
            ("confinement", isConfined != other.isConfined), ("read", read != other.read),
            ("write", write != other.write), ("execute", execute != other.execute),
            ("syscalls", systemCalls != other.systemCalls), ("network", network != other.network),
            ("limit", limits != other.limits), ("timeout", timeout != other.timeout), ("umask", umask != other.umask),
            ("path", searchPath != other.searchPath), ("environment", environment != other.environment),
            ("on-violation", onViolation != other.onViolation), ("require", requiredLandlock != other.requiredLandlock),
        ]
        return items.filter(\.1).map(\.0)
    }
}
