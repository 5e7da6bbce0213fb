// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What two policies decide differently: each rule that differs, with a request as witness.
///
/// A request is decided differently where one policy permits it and the other does not, or where they permit it with
/// other obligations: what the sandbox allows, words or shell, `self-trust`. It is looked for at every rule that was
/// added, removed, changed or moved, as nothing else can make a difference: the rules that stay where they are decide
/// alike among each other.
public struct PolicyDifference: Sendable {
    /// What happened to a rule.
    public enum Kind: Sendable, Hashable {
        case added
        case removed
        /// It says something else, or its sets or its sandbox do.
        case changed
        /// A permit stands elsewhere among the others.
        case moved
    }

    /// What a difference comes to.
    public enum Outcome: Sendable, Hashable {
        /// A request is decided differently.
        case different(Change)
        /// No request is.
        case same
        /// The work limit was reached before the answer.
        case undecided
    }

    /// A request that is decided differently.
    public struct Change: Sendable, Hashable {
        /// The request.
        public var request: Request
        /// The old policy's decision.
        public var before: Decision
        /// The new policy's.
        public var after: Decision
        /// Whether a rule of certain hours is among those that match it at some time.
        public var dependsOnTime: Bool
    }

    /// A rule that differs.
    public struct RuleDifference: Sendable, Hashable {
        /// What happened to it.
        public var kind: Kind
        /// Its place among the old rules; nil where it was added.
        public var old: Int?
        /// Its place among the new ones; nil where it was removed.
        public var new: Int?
        /// What of the requests that it decides, or decided.
        public var outcome: Outcome
    }

    /// The rules that differ: in the order of the new policy, those that were removed first.
    public private(set) var rules: [RuleDifference] = []
    /// What comes of services, or rcp, being on in one policy alone; nil where they are not.
    public private(set) var served: Outcome?

    /// The most steps of a whole comparison: a few seconds.
    public static let workLimit = 30_000_000

    private let old: Side
    private let new: Side
    private let workLimit: Int
    private var analysis = PolicyAnalysis(scope: .everything)
    private var spent = 0
    private var isUndecided = false

    /// Compares two policies.
    public init(old: Policy, new: Policy, workLimit: Int = PolicyDifference.workLimit) {
        self.workLimit = workLimit
        let pairs = RulePairs(old, new)
        let isBrief = pairs.differing.count <= Self.briefLimit
        self.old = Side(old, rules: old.rules, twins: pairs.twinsOfOld, isBrief: isBrief)
        self.new = Side(new, rules: pairs.newRules, twins: pairs.twinsOfNew, isBrief: isBrief)
        for pair in pairs.differing {
            let outcome = outcome(pair)
            rules.append(RuleDifference(kind: pair.kind, old: pair.old, new: pair.new, outcome: outcome))
        }
        served = servedOutcome()
    }

    /// Up to so many differing rules, a look at all the others is cheaper than an index.
    private static let briefLimit = 16

    /// One of the policies.
    private struct Side {
        let policy: Policy
        /// Its rules, with the sets that both policies share as one thing.
        let rules: [Rule]
        /// The place of each in the other policy, where it is the same there.
        let twins: [Int?]
        let scope: RequestScope
        private let index: OverlapIndex

        init(_ policy: Policy, rules: [Rule], twins: [Int?], isBrief: Bool) {
            self.policy = policy
            self.rules = rules
            self.twins = twins
            scope = RequestScope(policy.settings)
            index = OverlapIndex(rules, isBrief: isBrief)
        }

        /// The places of rules that may share a request with a rule.
        func neighbours(_ rule: Rule, _ spent: inout Int) -> Neighbours {
            var out = Neighbours()
            for place in index.overlapping(rule, steps: &spent) {
                switch rules[place].effect {
                case .permit: out.permits.append(place)
                case .forbid: out.forbids.append(place)
                }
            }
            return out
        }

        func rules(_ places: some Sequence<Int>) -> [Rule] { places.map { rules[$0] } }
    }

    /// The rules that may share a request with another.
    private struct Neighbours {
        var permits: [Int] = []
        var forbids: [Int] = []
    }

    // MARK: One rule

    private mutating func outcome(_ pair: RulePairs.Pair) -> Outcome {
        guard spent <= workLimit else { return .undecided }
        isUndecided = false
        var found: Request?
        if let place = pair.new {
            found = decidedDifferently(place, of: new, than: old)
        }
        if found == nil, let place = pair.old {
            found = decidedDifferently(place, of: old, than: new)
        }
        return outcome(found)
    }

    private func outcome(_ found: Request?) -> Outcome {
        guard let found else { return isUndecided ? .undecided : .same }
        return .different(
            Change(
                request: found, before: old.policy.decide(found), after: new.policy.decide(found),
                dependsOnTime: (old.rules + new.rules).contains { rule in
                    rule.hours != nil && Clause.allCases.allSatisfy { $0 == .during || rule.matches(found, $0) }
                }))
    }

    /// A request that a rule decides in its policy, and that the other policy decides differently.
    private mutating func decidedDifferently(_ place: Int, of mine: Side, than theirs: Side) -> Request? {
        let rule = mine.rules[place]
        let own = mine.neighbours(rule, &spent)
        let other = theirs.neighbours(rule, &spent)
        switch rule.effect {
        case .permit: return permittedDifferently(place, of: mine, own, than: theirs, other)
        case .forbid: return forbiddenAlone(place, of: mine, than: theirs, other)
        }
    }

    /// A request that a forbid forbids and that the other policy permits.
    private mutating func forbiddenAlone(
        _ place: Int, of mine: Side, than theirs: Side, _ other: Neighbours
    ) -> Request? {
        let scope = mine.scope.intersection(theirs.scope)
        let forbids = theirs.rules(other.forbids)
        for permit in other.permits {
            if let found = request([mine.rules[place], theirs.rules[permit]], avoiding: forbids, scope) {
                return found
            }
        }
        return nil
    }

    /// A request that a permit decides and that the other policy denies, or permits with other obligations.
    private mutating func permittedDifferently(
        _ place: Int, of mine: Side, _ own: Neighbours, than theirs: Side, _ other: Neighbours
    ) -> Request? {
        let both = mine.scope.intersection(theirs.scope)
        let obligations = Obligations(mine, mine.rules[place])
        var decided = mine.rules(own.forbids) + mine.rules(own.permits.prefix { $0 < place })
        // What stands in both policies and comes before in this one is avoided already.
        let forbids = theirs.rules(other.forbids.filter { theirs.twins[$0] == nil })
        let permits = other.permits.filter { theirs.twins[$0].map { $0 >= place } ?? true }
        for part in mine.rules[place].parts {
            // No permit of the other policy.
            if let found = request([part.rule], avoiding: decided + theirs.rules(permits) + forbids, both) {
                return found
            }
            // A permit of other obligations; there is none where others decide all of it.
            var avoided = decided + forbids
            let isDecisive = request([part.rule], avoiding: avoided, both) != nil
            for next in permits where isDecisive {
                let isAlike = Obligations(theirs, theirs.rules[next]) == obligations
                for theirPart in theirs.rules[next].parts {
                    if !(isAlike && theirPart.usesShell == part.usesShell),
                        let found = request([part.rule, theirPart.rule], avoiding: avoided, both)
                    {
                        return found
                    }
                    avoided.append(theirPart.rule)
                }
            }
            // A forbid, which is looked at for itself too: what it does is no news of a rule that has only moved.
            for forbid in forbids where mine.twins[place] == nil {
                if let found = request([part.rule, forbid], avoiding: decided, both) { return found }
            }
            // A service, or rcp, that is off.
            for scope in mine.scope.subtracting(theirs.scope) {
                if let found = request([part.rule], avoiding: decided, scope) { return found }
            }
            decided.append(part.rule)
        }
        return nil
    }

    /// What a permit obliges to, but for the way to run a command.
    private struct Obligations: Equatable {
        var sandbox: Sandbox?
        var selfTrust: Bool

        init(_ side: Side, _ rule: Rule) {
            sandbox = side.policy.sandboxes.indices.contains(rule.sandbox) ? side.policy.sandboxes[rule.sandbox] : nil
            // A name confines nothing.
            sandbox?.name = ""
            selfTrust = rule.selfTrust
        }
    }

    // MARK: Services

    private mutating func servedOutcome() -> Outcome? {
        let parts =
            new.scope.subtracting(old.scope).map { (side: new, scope: $0) }
            + old.scope.subtracting(new.scope).map { (side: old, scope: $0) }
        guard !parts.isEmpty else { return nil }
        isUndecided = false
        for (side, scope) in parts {
            for rule in side.rules
            where rule.effect == .permit && scope.services.contains(where: rule.services.contains) {
                guard spent <= workLimit else { return .undecided }
                let forbids = side.rules(side.neighbours(rule, &spent).forbids)
                if let found = request([rule], avoiding: forbids, scope) { return outcome(found) }
            }
        }
        return outcome(nil)
    }

    private mutating func request(_ matching: [Rule], avoiding: [Rule], _ scope: RequestScope) -> Request? {
        guard !scope.services.isEmpty else { return nil }
        guard spent <= workLimit else {
            isUndecided = true
            return nil
        }
        analysis.scope = scope
        let before = analysis.spent
        defer { spent += analysis.spent - before }
        switch analysis.witness(matching: matching, avoiding: avoiding) {
        case .request(let request): return request
        case .none: return nil
        case .undecided:
            isUndecided = true
            return nil
        }
    }
}
