// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A decision with what would have changed it.
public struct Explanation: Sendable, Hashable {
    /// The decision.
    public var decision: Decision
    /// Permits that would match if one clause did, nearest first, and last those that would be forbidden even so; empty for
    /// a permit, and where the service is off.
    public var nearMisses: [NearMiss]
    /// The permit that would have decided, where a forbid or a service that is off came first.
    public var overruled: RuleReference?
    /// The next forbid that matches too, where a forbid or a service that is off came first: nothing is permitted
    /// without that one alone.
    public var nextForbid: RuleReference?
    /// Where no permit misses by one clause alone: the one that misses by the fewest, a near miss for each of them.
    public var closest: [NearMiss]

    /// The most near misses that are told.
    public static let nearMissLimit = 16
}

/// A clause at which a permit fails.
public struct NearMiss: Sendable, Hashable {
    /// The permit.
    public var rule: RuleReference
    /// The clause.
    public var clause: Clause
    /// What the clause wants, as a policy would write it: of many blocks or patterns, the nearest; of hours, when they next
    /// open.
    public var wanted: String
    /// What of the request differs from that, where it is not plain: `argument 3 '/etc' is not <path /home>`.
    public var difference: String?
    /// Whether the command's part before what needs a shell would match.
    public var wouldMatchWithoutShell: Bool
    /// The forbid that would refuse what the permit would match then, where forbids refuse all of it.
    public var forbiddenBy: RuleReference?
}

extension Policy {
    /// Decides a request, and says what would have changed the decision.
    ///
    /// - Parameter beforeShell: for a command that needs a shell, the words before what needs it, if there are any.
    public func explain(_ request: Request, beforeShell: RequestedCommand? = nil) -> Explanation {
        var comparison = ClauseComparison(request: request, beforeShell: beforeShell)
        let decision = decide(request, by: &comparison)
        var explanation = Explanation(decision: decision, nearMisses: [], overruled: nil, closest: [])
        guard case .deny(let denial) = decision else { return explanation }
        if denial.reason == .forbidden || denial.reason == .serviceDisabled {
            let next = rules.first { rule in
                rule.effect == .forbid && rule.reference != denial.rule && comparison.failing(rule, atMost: 0) != nil
            }
            explanation.nextForbid = next?.reference
        }
        var misses: [(rule: Int, clause: Clause, distance: Int)] = []
        var closest: (rule: Int, clauses: [Clause], distance: Int)?
        for (index, rule) in rules.enumerated() where rule.effect == .permit {
            let most = misses.isEmpty ? closest?.clauses.count ?? Clause.allCases.count : 1
            guard let failing = comparison.failing(rule, atMost: most) else { continue }
            guard !failing.isEmpty else {
                if explanation.overruled == nil { explanation.overruled = rule.reference }
                continue
            }
            let distance = failing.reduce(0) { $0 + comparison.distance(rule, $1) }
            if failing.count == 1 {
                misses.append((index, failing[0], distance))
            } else if (failing.count, distance) < (closest?.clauses.count ?? .max, closest?.distance ?? .max) {
                closest = (index, failing, distance)
            }
        }
        guard denial.reason != .serviceDisabled else { return explanation }
        misses.sort { ($0.distance, $0.rule) < ($1.distance, $1.rule) }
        var searches: [Clause: PermitSearch] = [:]
        for miss in misses.prefix(Explanation.nearMissLimit) {
            var near = comparison.nearMiss(rules[miss.rule], miss.clause)
            var search = searches[miss.clause] ?? PermitSearch(policy: self, question: request.without(miss.clause))
            near.forbiddenBy = search.forbid(ofAll: miss.rule)
            searches[miss.clause] = search
            explanation.nearMisses.append(near)
        }
        explanation.nearMisses =
            explanation.nearMisses.filter { $0.forbiddenBy == nil }
            + explanation.nearMisses.filter { $0.forbiddenBy != nil }
        if misses.isEmpty, explanation.overruled == nil, let closest {
            explanation.closest = closest.clauses.map { comparison.nearMiss(rules[closest.rule], $0) }
        }
        return explanation
    }

    /// The decision as the scan has it, looking through a set once however many rules name it.
    private func decide(_ request: Request, by comparison: inout ClauseComparison) -> Decision {
        if isDisabled(request) { return .deny(Denial(reason: .serviceDisabled)) }
        for rule in rules where rule.effect == .forbid && comparison.failing(rule, atMost: 0) != nil {
            return .deny(Denial(reason: .forbidden, rule: rule.reference))
        }
        for rule in rules where rule.effect == .permit && comparison.failing(rule, atMost: 0) != nil {
            if let terms = rule.terms(for: request) { return .permit(terms) }
        }
        return .deny(Denial(reason: Self.reasonWithoutPermit(request.command)))
    }
}

extension Request {
    /// The request with one part unknown: that which a clause looks at.
    fileprivate func without(_ clause: Clause) -> PartialRequest {
        var question = PartialRequest(withoutCommand: self)
        question.command = command
        switch clause {
        case .service:
            question.services = Service.allCases
            question.remoteUser = nil
        case .from: question.source = nil
        case .by: question.remoteUser = nil
        case .as: question.target = nil
        case .run: question.command = nil
        case .during: question.time = nil
        }
        return question
    }
}
