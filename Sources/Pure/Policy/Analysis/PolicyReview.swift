// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What is doubtful in the rules of a policy, beside each other. Rules are known by their places in the policy; of
/// several that do something together none can be left out, unless there are very many.
public enum Finding: Sendable, Hashable {
    /// No request is what the rule says.
    case matchesNothing(Int)
    /// Nothing but rcp is what the permit says, and securetcpip has it off.
    case matchesOnlyRemoteCopy(Int)
    /// These forbids together forbid everything that the permit permits.
    case forbidden(Int, by: [Int])
    /// These rules match first whatever the permit would decide. Where one of them is a permit with another sandbox, it
    /// decides this request.
    case neverDecides(Int, after: [Int], otherSandbox: Overlap?)
    /// Without the permit these later ones permit the same, and alike.
    case permittedAlike(Int, by: [Int])
    /// Without the forbid these forbid as much.
    case forbiddenAnyway(Int, by: [Int])
    /// The forbid names commands where the permit permits interpreters.
    case interpreters(forbid: Int, permit: Int)
    /// Two permits match a request with different sandboxes, and the earlier one decides it.
    case sandboxes(Overlap)
    /// From here on rules are not compared: the work limit was reached.
    case unfinished(at: Int)

    /// Two permits, and a request that both match and the earlier one decides.
    public struct Overlap: Sendable, Hashable {
        /// The permit that decides.
        public var earlier: Int
        /// The other one.
        public var later: Int
        /// The request.
        public var request: Request
    }
}

/// Compares the rules of a policy with each other, exactly.
public struct PolicyReview {
    /// The most steps of a whole review: a few seconds.
    public static let workLimit = 20_000_000
    /// The most pairs of permits with different sandboxes that are told.
    public static let overlapLimit = 100
    /// The most rules of which it is tried to leave out each.
    private static let culpritLimit = 64

    private let policy: Policy
    private let workLimit: Int
    private var analysis: PolicyAnalysis
    /// A forbid is there for whatever will be served, too.
    private var forbidAnalysis = PolicyAnalysis(scope: .everything)
    private var lookups = 0
    /// The rule that is looked at, the first of which a question was not decided, and the first that was not reached.
    private var current = 0
    private var undecided: Int?
    private var reached = 0
    private var toldOverlaps = 0
    /// For each rule the places of those that may share a request with it, itself left out.
    private var neighbours: [[Int]] = []
    /// Rules that were already found to be of no use: the others are not compared with them.
    private var settled: Set<Int>
    private var findings: [Finding] = []

    private init(_ policy: Policy, leavingOut: Set<Int>, workLimit: Int) {
        self.policy = policy
        self.workLimit = workLimit
        analysis = PolicyAnalysis(scope: RequestScope(policy.settings))
        settled = leavingOut
    }

    /// Everything that is found.
    ///
    /// - Parameters:
    ///   - leavingOut: rules of which something was said already.
    ///   - workLimit: the most steps.
    public static func findings(
        _ policy: Policy, leavingOut: Set<Int> = [], workLimit: Int = PolicyReview.workLimit
    ) -> [Finding] {
        var review = PolicyReview(policy, leavingOut: leavingOut, workLimit: workLimit)
        review.run()
        return review.findings
    }

    /// What a look at a rule costs, in steps.
    private static let lookupCost = 4

    private var isExhausted: Bool { Self.lookupCost * lookups + analysis.spent + forbidAnalysis.spent > workLimit }

    private mutating func run() {
        findNeighbours()
        reached = neighbours.count
        let permits = neighbours.indices.filter { policy.rules[$0].effect == .permit }
        let forbids = neighbours.indices.filter { policy.rules[$0].effect == .forbid }
        // ORDER: what a pass settles, the next ones leave out, so that of two rules that make each other needless only
        // one is found.
        each(permits) { $0.findForbidden($1) }
        each(permits) { $0.findUndecisive($1) }
        each(permits) { $0.findPermittedAlike($1) }
        each(forbids) { $0.findForbiddenAnyway($1) }
        each(forbids) { $0.findInterpreters($1) }
        each(permits) { $0.findSandboxes($1) }
        if reached < policy.rules.count {
            findings.append(.unfinished(at: reached))
        } else if let undecided {
            findings.append(.unfinished(at: undecided))
        }
    }

    private mutating func each(_ places: [Int], _ body: (inout Self, Int) -> Void) {
        for place in places where !settled.contains(place) {
            guard !isExhausted else {
                reached = min(reached, place)
                return
            }
            current = place
            body(&self, place)
        }
    }

    private mutating func findNeighbours() {
        let index = OverlapIndex(policy.rules)
        neighbours.reserveCapacity(policy.rules.count)
        for place in policy.rules.indices {
            // What is found shall be compared, too.
            guard Self.lookupCost * lookups <= workLimit / 2 else { return }
            neighbours.append(index.overlapping(policy.rules[place], steps: &lookups).filter { $0 != place })
        }
    }

    // MARK: Questions

    private func rules(_ places: [Int]) -> [Rule] { places.map { policy.rules[$0] } }

    private func neighbours(_ place: Int, _ effect: Effect) -> [Int] {
        neighbours[place].filter { policy.rules[$0].effect == effect && !settled.contains($0) }
    }

    /// A request that the policy lets through to its rules, if there is one. Undecided is none.
    private mutating func request(_ matching: [Rule], avoiding: [Rule]) -> Request? {
        if case .request(let request) = answer(analysis.witness(matching: matching, avoiding: avoiding)) {
            request
        } else {
            nil
        }
    }

    /// Whether it is certain that there is no such request.
    private mutating func isNone(_ matching: [Rule], avoiding: [Rule]) -> Bool {
        answer(analysis.witness(matching: matching, avoiding: avoiding)) == .none
    }

    private mutating func answer(_ witness: Witness) -> Witness {
        if witness == .undecided { undecided = min(undecided ?? current, current) }
        return witness
    }

    /// The rules without which it would not be so, in order; one alone, where there is one.
    private mutating func culprits(_ places: [Int], _ suffice: (inout Self, [Int]) -> Bool) -> [Int] {
        if let one = places.first(where: { suffice(&self, [$0]) }) { return [one] }
        guard places.count <= Self.culpritLimit else { return places.sorted() }
        var needed = places
        for place in places.reversed() {
            let others = needed.filter { $0 != place }
            if suffice(&self, others) { needed = others }
        }
        return needed.sorted()
    }

    private mutating func settle(_ place: Int, _ finding: Finding) {
        settled.insert(place)
        findings.append(finding)
    }

    // MARK: Permits

    private mutating func findForbidden(_ place: Int) {
        let rule = policy.rules[place]
        guard !isNone([rule], avoiding: []) else {
            let isRemoteCopy = !analysis.scope.includesRemoteCopy && isSomethingWithRemoteCopy(rule)
            settle(place, isRemoteCopy ? .matchesOnlyRemoteCopy(place) : .matchesNothing(place))
            return
        }
        let forbids = neighbours(place, .forbid)
        guard !forbids.isEmpty, isNone([rule], avoiding: rules(forbids)) else { return }
        let needed = culprits(forbids) { $0.isNone([rule], avoiding: $0.rules($1)) }
        settle(place, .forbidden(place, by: needed))
    }

    private func isSomethingWithRemoteCopy(_ rule: Rule) -> Bool {
        var scope = analysis.scope
        scope.includesRemoteCopy = true
        return PolicyAnalysis.witness(matching: [rule], avoiding: [], in: scope) != .none
    }

    private mutating func findUndecisive(_ place: Int) {
        let rule = policy.rules[place]
        let earlier = neighbours(place, .permit).filter { $0 < place }
        let forbids = neighbours(place, .forbid)
        guard !earlier.isEmpty, isNone([rule], avoiding: rules(earlier + forbids)) else { return }
        let needed = culprits(earlier + forbids) { $0.isNone([rule], avoiding: $0.rules($1)) }
        var overlap: Finding.Overlap?
        for other in needed where overlap == nil && policy.rules[other].effect == .permit {
            guard policy.rules[other].sandbox != rule.sandbox else { continue }
            overlap = self.overlap(other, place, forbids)
        }
        settle(place, .neverDecides(place, after: needed, otherSandbox: overlap))
    }

    /// A request that two permits match and the earlier one decides.
    private mutating func overlap(_ earlier: Int, _ later: Int, _ forbids: [Int]) -> Finding.Overlap? {
        let before = neighbours(later, .permit).filter { $0 < earlier }
        let found = request(rules([earlier, later]), avoiding: rules(before + forbids))
        return found.map { Finding.Overlap(earlier: earlier, later: later, request: $0) }
    }

    /// A permit can go if each request that it decides is then decided by a permit of the same obligations.
    private mutating func findPermittedAlike(_ place: Int) {
        let permits = neighbours(place, .permit)
        let later = permits.filter { $0 > place }
        let alike = later.filter { hasObligations(of: place, $0) }
        let decided = rules(permits.filter { $0 < place } + neighbours(place, .forbid))
        guard !alike.isEmpty, isPermittedAlike(place, later, Set(alike), decided) else { return }
        let needed = culprits(alike) { $0.isPermittedAlike(place, later, Set($1), decided) }
        settle(place, .permittedAlike(place, by: needed))
    }

    /// Whether what a permit decides would be decided by some of the later ones, before one of other obligations.
    private mutating func isPermittedAlike(
        _ place: Int, _ later: [Int], _ alike: Set<Int>, _ decided: [Rule]
    ) -> Bool {
        var decided = decided
        for part in policy.rules[place].parts {
            var avoided = decided
            for other in later where alike.contains(other) || !hasObligations(of: place, other) {
                for next in policy.rules[other].parts {
                    if alike.contains(other), next.usesShell == part.usesShell {
                        avoided.append(next.rule)
                    } else if !isNone([part.rule, next.rule], avoiding: avoided) {
                        return false
                    }
                }
            }
            guard isNone([part.rule], avoiding: avoided) else { return false }
            decided.append(part.rule)
        }
        return true
    }

    /// Whether two permits permit alike but for the way to run a command.
    private func hasObligations(of place: Int, _ other: Int) -> Bool {
        let (one, two) = (policy.rules[place], policy.rules[other])
        return one.sandbox == two.sandbox && one.selfTrust == two.selfTrust
    }

    private mutating func findSandboxes(_ later: Int) {
        let forbids = neighbours(later, .forbid)
        for earlier in neighbours(later, .permit) where earlier < later {
            guard toldOverlaps < Self.overlapLimit else { return }
            guard policy.rules[earlier].sandbox != policy.rules[later].sandbox else { continue }
            guard let overlap = overlap(earlier, later, forbids) else { continue }
            toldOverlaps += 1
            findings.append(.sandboxes(overlap))
        }
    }

    // MARK: Forbids

    private mutating func findForbiddenAnyway(_ place: Int) {
        let rule = policy.rules[place]
        let isEmpty = answer(forbidAnalysis.witness(matching: [rule], avoiding: [])) == .none
        guard !isEmpty else {
            settle(place, .matchesNothing(place))
            return
        }
        let others = neighbours(place, .forbid)
        func suffices(_ review: inout Self, _ some: [Int]) -> Bool {
            review.answer(review.forbidAnalysis.witness(matching: [rule], avoiding: review.rules(some))) == .none
        }
        guard !others.isEmpty, suffices(&self, others) else { return }
        settle(place, .forbiddenAnyway(place, by: culprits(others, suffices)))
    }

    /// A forbid of patterns holds back nobody who may run an interpreter.
    private mutating func findInterpreters(_ place: Int) {
        let rule = policy.rules[place]
        guard let commands = rule.commands, !commands.isAny, !commands.isWithoutPatterns else { return }
        for permit in neighbours(place, .permit) {
            let permitted = policy.rules[permit]
            guard let run = permitted.commands, run.isAny || run.isShell else { continue }
            guard request([permitted, rule], avoiding: []) != nil else { continue }
            findings.append(.interpreters(forbid: place, permit: permit))
            return
        }
    }
}
