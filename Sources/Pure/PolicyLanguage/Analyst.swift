// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Compares rules with each other and with the settings, and warns.
struct Analyst {
    /// With more rules than this they are not compared with each other.
    static let comparisonLimit = 1_000
    /// The most warnings of two permits that both match.
    private static let overlapLimit = 100

    let policy: Policy
    /// Where each rule's name stands.
    let spans: [Span]
    var sink: DiagnosticSink
    /// Rules that were already warned of: one warning a rule is enough of these.
    private var settled: Set<Int> = []

    init(policy: Policy, spans: [Span], sink: DiagnosticSink) {
        self.policy = policy
        self.spans = spans
        self.sink = sink
    }

    mutating func run() {
        warnOfServices()
        guard policy.rules.count <= Self.comparisonLimit else {
            if let first = spans.first {
                sink.warning(
                    first, "the rules are not compared with each other: there are over \(Self.comparisonLimit)")
            }
            return
        }
        let permits = policy.rules.indices.filter { policy.rules[$0].effect == .permit }
        let forbids = policy.rules.indices.filter { policy.rules[$0].effect == .forbid }
        warnOfForbidden(permits, forbids)
        warnOfRedundant(permits, forbids)
        warnOfPatterns(permits, forbids)
        warnOfSandboxes(permits)
    }

    private mutating func warnOfServices() {
        for (index, rule) in policy.rules.enumerated() {
            let isServed = Service.allCases.contains { rule.services.contains($0) && policy.settings.serves($0) }
            // A forbid of any service is there for whatever will be served.
            guard !isServed, rule.effect == .permit || rule.services != .any else { continue }
            let what =
                switch rule.services {
                case .only(let service): "service \(service.name) is off"
                case .any: "both services are off"
                }
            sink.warning(spans[index], "'\(rule.name)' can never match: \(what)")
            settled.insert(index)
        }
    }

    private mutating func warnOfForbidden(_ permits: [Int], _ forbids: [Int]) {
        for permit in permits where !settled.contains(permit) {
            guard let forbid = forbids.first(where: { policy.rules[$0].covers(policy.rules[permit]) }) else { continue }
            sink.warning(
                spans[permit],
                "'\(policy.rules[permit].name)' can never match: everything it permits is forbidden by \(name(forbid))")
            settled.insert(permit)
        }
    }

    private mutating func warnOfRedundant(_ permits: [Int], _ forbids: [Int]) {
        for (place, later) in permits.enumerated() where !settled.contains(later) {
            let before = permits[..<place].first {
                !settled.contains($0) && policy.rules[$0].covers(policy.rules[later])
            }
            guard let before else { continue }
            var text = "'\(policy.rules[later].name)' never decides: \(name(before)) matches first"
            let (one, two) = (policy.rules[before], policy.rules[later])
            if one.sandbox != two.sandbox, let request = one.witness(with: two, settings: policy.settings) {
                text += ", with sandbox \(policy.sandboxes[one.sandbox].name), as for \(request.shown)"
            }
            sink.warning(spans[later], text)
            settled.insert(later)
        }
        for (place, earlier) in permits.enumerated() where !settled.contains(earlier) {
            let after = permits[(place + 1)...].first { after in
                !settled.contains(after) && policy.rules[after].covers(policy.rules[earlier])
                    && policy.rules[after].hasObligations(of: policy.rules[earlier])
            }
            guard let after, !isNeeded(earlier, before: after, permits) else { continue }
            sink.warning(
                spans[earlier], "'\(policy.rules[earlier].name)' is redundant: \(name(after)) permits the same alike")
            settled.insert(earlier)
        }
        for (place, later) in forbids.enumerated() where !settled.contains(later) {
            let other = forbids.enumerated().first { index, other in
                index != place && !settled.contains(other) && policy.rules[other].covers(policy.rules[later])
            }
            guard let other = other?.element else { continue }
            sink.warning(spans[later], "'\(policy.rules[later].name)' is redundant: \(name(other)) forbids as much")
            settled.insert(later)
        }
    }

    /// Whether a permit between two others has other obligations, so that the first is not redundant beside the last.
    private func isNeeded(_ earlier: Int, before after: Int, _ permits: [Int]) -> Bool {
        permits.contains { middle in
            middle > earlier && middle < after && !policy.rules[middle].hasObligations(of: policy.rules[earlier])
                && policy.rules[middle].witness(with: policy.rules[earlier], settings: policy.settings) != nil
        }
    }

    /// A forbid of patterns holds back nobody who may run an interpreter.
    private mutating func warnOfPatterns(_ permits: [Int], _ forbids: [Int]) {
        for forbid in forbids where !settled.contains(forbid) {
            guard let commands = policy.rules[forbid].commands, !commands.isAny, !commands.isWithoutPatterns else {
                continue
            }
            let permit = permits.first { permit in
                guard let permitted = policy.rules[permit].commands, permitted.isAny || permitted.isShell else {
                    return false
                }
                return policy.rules[permit].witness(with: policy.rules[forbid], settings: policy.settings) != nil
            }
            guard let permit else { continue }
            sink.warning(
                spans[forbid],
                "'\(policy.rules[forbid].name)' names commands, but \(name(permit)) permits interpreters, which get round it"
            )
        }
    }

    private mutating func warnOfSandboxes(_ permits: [Int]) {
        var told = 0
        for (place, earlier) in permits.enumerated() where !settled.contains(earlier) {
            for later in permits[(place + 1)...] where !settled.contains(later) {
                let (one, two) = (policy.rules[earlier], policy.rules[later])
                guard one.sandbox != two.sandbox, told < Self.overlapLimit else { continue }
                guard let request = one.witness(with: two, settings: policy.settings) else { continue }
                told += 1
                sink.warning(
                    spans[later],
                    "'\(two.name)' has sandbox \(policy.sandboxes[two.sandbox].name), but \(name(earlier)) with "
                        + "\(policy.sandboxes[one.sandbox].name) decides where both match, as for \(request.shown)")
            }
        }
    }

    private func name(_ index: Int) -> String {
        let rule = policy.rules[index]
        return
            "'\(rule.name)' (\(sink.name(of: spans[index]) == sink.files.first?.source.name ? "line \(rule.place.line)" : rule.place.description))"
    }
}

extension Request {
    /// The request as a policy test would write it.
    fileprivate var shown: String {
        let words: String =
            switch command {
            case .words(let words, _): words.map { CommandPattern.quoted($0) }.joined(separator: " ")
            case .needsShell(let word): "\(word?.printable ?? ""); …"
            }
        return "\(service.name) from \(source)" + (remoteUser.map { " by \($0)" } ?? "") + " as \(target.name)"
            + (target.groups.isEmpty ? "" : " groups \(target.groups.map(\.printable).joined(separator: ","))")
            + " run \(Parser.quoted(words))"
    }
}
