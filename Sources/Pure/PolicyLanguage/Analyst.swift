// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Compares rules with the settings and with each other, and warns.
struct Analyst {
    /// The most rules that a warning names.
    private static let nameLimit = 3

    let policy: Policy
    /// Where each rule's name stands.
    let spans: [Span]
    var sink: DiagnosticSink
    /// Rules of services that are off: nothing more is said of them.
    private var unserved: Set<Int> = []

    init(policy: Policy, spans: [Span], sink: DiagnosticSink) {
        self.policy = policy
        self.spans = spans
        self.sink = sink
    }

    /// Warns of rules that the settings switch off: one look at each.
    mutating func compareWithSettings() {
        let served = Service.allCases.filter(policy.settings.serves)
        // A rule is looked at where it stands: to copy them all would cost more.
        for index in policy.rules.indices {
            let scope = policy.rules[index].services
            // A forbid of any service is there for whatever will be served.
            guard !served.contains(where: scope.contains), policy.rules[index].effect == .permit || scope != .any else {
                continue
            }
            let what =
                switch scope {
                case .only(let service): "service \(service.name) is off"
                case .any: "both services are off"
                }
            sink.warning(spans[index], "'\(policy.rules[index].name)' can never match: \(what)")
            unserved.insert(index)
        }
    }

    /// Warns of what rules mean beside each other, exactly, up to the work limit of a review.
    mutating func compareRules() {
        var overlaps = 0
        var lastOverlap: Int?
        for finding in PolicyReview.findings(policy, leavingOut: unserved) {
            let (rule, text) = describe(finding)
            sink.warning(spans[rule], text)
            if case .sandboxes(let overlap) = finding {
                overlaps += 1
                lastOverlap = overlap.later
            }
        }
        if overlaps == PolicyReview.overlapLimit, let lastOverlap {
            sink.warning(
                spans[lastOverlap],
                "of permits that match a request with different sandboxes only the first \(overlaps) pairs are told")
        }
    }

    private func describe(_ finding: Finding) -> (rule: Int, text: String) {
        switch finding {
        case .matchesNothing(let rule):
            return (rule, "'\(policy.rules[rule].name)' can never match: no request is what it says")
        case .matchesOnlyRemoteCopy(let rule):
            return (rule, "'\(policy.rules[rule].name)' can never match: securetcpip has rcp off")
        case .forbidden(let rule, let forbids):
            let together = forbids.count > 1 ? " together" : ""
            return (
                rule,
                "'\(policy.rules[rule].name)' can never match: everything it permits is forbidden by "
                    + names(forbids) + together
            )
        case .neverDecides(let rule, let others, let overlap):
            return (rule, "'\(policy.rules[rule].name)' never decides: " + precedence(others) + sandbox(overlap))
        case .permittedAlike(let rule, let others):
            return (
                rule,
                "'\(policy.rules[rule].name)' is redundant: \(names(others)) \(Self.verb("permit", others)) the same alike"
            )
        case .forbiddenAnyway(let rule, let others):
            return (
                rule,
                "'\(policy.rules[rule].name)' is redundant: \(names(others)) \(Self.verb("forbid", others)) as much"
            )
        case .interpreters(let forbid, let permit):
            return (
                forbid,
                "'\(policy.rules[forbid].name)' names commands, but \(names([permit])) permits interpreters, "
                    + "which get round it"
            )
        case .sandboxes(let overlap):
            let later = policy.rules[overlap.later]
            return (
                overlap.later,
                "'\(later.name)' has sandbox \(policy.sandboxes[later.sandbox].name), but \(names([overlap.earlier])) "
                    + "with \(sandboxName(overlap.earlier)) decides where both match, as for \(shown(overlap))"
            )
        case .unfinished(let rule):
            return (
                rule,
                "from '\(policy.rules[rule].name)' on not every rule is compared with every other: "
                    + "that would take too long"
            )
        }
    }

    /// What comes before a permit that never decides.
    private func precedence(_ others: [Int]) -> String {
        let forbids = others.filter { policy.rules[$0].effect == .forbid }
        let permits = others.filter { policy.rules[$0].effect == .permit }
        let first = "\(names(permits)) \(Self.verb("match", permits)) first"
        return forbids.isEmpty ? first : "\(names(forbids)) \(Self.verb("forbid", forbids)) a part, and \(first)"
    }

    private func sandbox(_ overlap: Finding.Overlap?) -> String {
        overlap.map { ", with sandbox \(sandboxName($0.earlier)), as for \(shown($0))" } ?? ""
    }

    private func sandboxName(_ rule: Int) -> String { policy.sandboxes[policy.rules[rule].sandbox].name }

    /// The request as a policy test would write it.
    private func shown(_ overlap: Finding.Overlap) -> String {
        let hasTime = [overlap.earlier, overlap.later].contains { policy.rules[$0].hours != nil }
        return RequestText.line(overlap.request, hasTime: hasTime)
    }

    private static func verb(_ verb: String, _ subjects: [Int]) -> String {
        guard subjects.count == 1 else { return verb }
        return verb == "match" ? "matches" : verb + "s"
    }

    /// Rules by name and line: three at most, and how many more.
    private func names(_ rules: [Int]) -> String {
        var parts = rules.prefix(Self.nameLimit).map { name($0) }
        if rules.count > Self.nameLimit { parts.append("\(rules.count - Self.nameLimit) more") }
        guard let last = parts.popLast() else { return "" }
        return parts.isEmpty ? last : parts.joined(separator: ", ") + " and " + last
    }

    private func name(_ index: Int) -> String {
        let rule = policy.rules[index]
        let isInRoot = sink.name(of: spans[index]) == sink.files.first?.source.name
        let place = isInRoot ? "line \(rule.place.line)" : ByteText(rule.place.description).printable
        return "'\(rule.name)' (\(place))"
    }
}
