// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A permit that matches some request which a question leaves open.
public struct PossiblePermit: Sendable, Hashable {
    /// The permit, as the policy has it.
    public var rule: Rule
    /// The services that it is possible for.
    public var services: ServiceScope
    /// The remote users that it is possible for, as a policy writes them; nil where it is REXEC alone.
    public var remoteUsers: [String]?
    /// Whether the command that the question names is given to the account's shell; false where it names none.
    public var usesShell: Bool
    /// The forbids that match a part of what the permit matches, in their order.
    public var exceptions: [RuleReference]
    /// Whether the answer is proved; false where the proof would have taken too long, so that exceptions may be missing,
    /// and the permit may be named though all of it is forbidden.
    public var isProved: Bool
}

/// The answer to a question: the permits that could decide, and those that never can.
public struct PossiblePermits: Sendable, Hashable {
    /// Permits that match some request of the question which no forbid matches, in their order.
    public var permits: [PossiblePermit] = []
    /// Permits that match some request of the question, all of which are forbidden, by their exceptions.
    public var forbidden: [PossiblePermit] = []

    /// No permit at all.
    public init() {}
}

extension Policy {
    /// The permits that could let somebody make a request of which some parts are known.
    ///
    /// Exact, from the rules' own sets: no request is tried out. Permits are looked at one by one: of several that match a
    /// request the first written decides.
    public func permits(for question: PartialRequest) -> PossiblePermits {
        var search = PermitSearch(policy: self, question: question)
        return search.answer()
    }
}

/// A question on its way through the rules.
struct PermitSearch {
    /// The most steps of a whole answer: a few seconds. What is left then is named without proof.
    private static let workLimit = 30_000_000

    private let policy: Policy
    private let question: PartialRequest
    private var analysis: PolicyAnalysis
    /// What is left of the forbids, by service.
    private var forbids: [(service: Service, rules: [Remainder])] = []
    /// Those of them that meet the sources of permits that name the same sets.
    private var near: [Meeting: [Remainder]] = [:]

    private struct Meeting: Hashable {
        var services: ServiceScope
        var sources: Sources
    }

    /// What came of one permit for one service.
    private struct Outcome {
        var exceptions: [Int]
        var isOpen: Bool
        var isProved: Bool
    }

    /// A rule's place in the policy, and what is left of it.
    private typealias Remainder = (index: Int, rule: Rule)

    init(policy: Policy, question: PartialRequest) {
        self.policy = policy
        self.question = question
        analysis = PolicyAnalysis(scope: RequestScope(policy.settings))
        for service in question.services where policy.settings.serves(service) {
            let left = policy.rules.enumerated().compactMap { index, rule -> Remainder? in
                guard rule.effect == .forbid else { return nil }
                return rule.remainder(of: question, service: service).map { (index, $0) }
            }
            forbids.append((service, left))
        }
    }

    /// Whether rcp is asked for where securetcpip has it off.
    private var isOff: Bool {
        (question.command?.isRemoteCopy ?? false) && !policy.settings.secureTCPIP.allows(.rcp)
    }

    mutating func answer() -> PossiblePermits {
        var answer = PossiblePermits()
        guard !isOff else { return answer }
        for (index, permit) in policy.rules.enumerated() where permit.effect == .permit {
            let (open, closed) = look(at: index)
            if let open {
                // A service that is wholly forbidden is left out; its forbids are no exception to the other.
                answer.permits.append(open)
            } else if let closed {
                answer.forbidden.append(closed)
            }
        }
        return answer
    }

    /// The first of the forbids that refuse all that a permit matches of the question; nil where something is left.
    mutating func forbid(ofAll permit: Int) -> RuleReference? {
        let (open, closed) = look(at: permit)
        return open == nil ? closed?.exceptions.first : nil
    }

    /// What is possible of a permit, and what is wholly forbidden, service by service.
    private mutating func look(at index: Int) -> (open: PossiblePermit?, closed: PossiblePermit?) {
        let permit = policy.rules[index]
        var open: PossiblePermit?
        var closed: PossiblePermit?
        for (service, forbids) in forbids {
            guard let rest = permit.remainder(of: question, service: service),
                let outcome = outcome(of: (index, rest), among: forbids)
            else { continue }
            let found = possible(permit, rest, service, outcome)
            if outcome.isOpen { open = open?.joined(found) ?? found } else { closed = closed?.joined(found) ?? found }
        }
        return (open, closed)
    }

    /// nil where the permit matches no request at all.
    private mutating func outcome(of permit: Remainder, among forbids: [Remainder]) -> Outcome? {
        var isProved = true
        var meeting: [Remainder] = []
        for forbid in meetingSources(of: permit.rule, forbids) {
            guard analysis.spent < Self.workLimit else {
                isProved = false
                break
            }
            switch analysis.witness(matching: [permit.rule, forbid.rule], avoiding: []) {
            case .request: meeting.append(forbid)
            case .none: continue
            case .undecided: isProved = false
            }
        }
        var outcome = Outcome(exceptions: meeting.map(\.index), isOpen: true, isProved: isProved)
        if meeting.isEmpty, permit.rule.isPlainlyPossible, analysis.scope.includesRemoteCopy { return outcome }
        switch analysis.witness(matching: [permit.rule], avoiding: meeting.map(\.rule)) {
        case .request: break
        case .none:
            guard !meeting.isEmpty else { return nil }
            outcome.isOpen = false
        case .undecided: outcome.isProved = false
        }
        return outcome
    }

    /// The forbids whose sources meet a permit's: looked for once for all permits that name the same sets alone.
    private mutating func meetingSources(of permit: Rule, _ all: [Remainder]) -> [Remainder] {
        guard let sources = permit.sources, !sources.isAny, sources.literal.isEmpty else { return all }
        let key = Meeting(services: permit.services, sources: sources)
        if let known = near[key] { return known }
        var place = Rule(name: permit.name, place: permit.place, effect: .forbid, services: permit.services)
        place.sources = sources
        let found = all.filter { analysis.witness(matching: [place, $0.rule], avoiding: []) != .none }
        near[key] = found
        return found
    }

    private func possible(_ rule: Rule, _ rest: Rule, _ service: Service, _ outcome: Outcome) -> PossiblePermit {
        // `same` with an account that is known has become a name that the rule may not have.
        let isNarrowed = question.target != nil && rest.remoteUsers != rule.remoteUsers
        let words = (isNarrowed ? rest : rule).remoteUsers?.words ?? ["any"]
        var usesShell = false
        if let command = question.command { usesShell = rule.commands?.execution(of: command) == .shell }
        return PossiblePermit(
            rule: rule, services: .only(service), remoteUsers: service == .rexec ? nil : words, usesShell: usesShell,
            exceptions: outcome.exceptions.map { policy.rules[$0].reference }, isProved: outcome.isProved)
    }
}

extension PossiblePermit {
    /// The same permit for the other service as well.
    fileprivate func joined(_ other: PossiblePermit) -> PossiblePermit {
        var both = self
        both.services = .any
        both.remoteUsers = remoteUsers ?? other.remoteUsers
        both.exceptions += other.exceptions.filter { !exceptions.contains($0) }
        both.isProved = isProved && other.isProved
        return both
    }
}
