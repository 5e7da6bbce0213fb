// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension PolicyAnalysis {
    /// The clauses that say nothing of who asks, for whom.
    private struct Circumstances {
        var source: IPAddress
        var command: RequestedCommand
        var time: LocalTime
    }

    /// What a rule costs in any case, in steps: its clauses are each looked at a few times.
    private static let ruleCost = 64

    /// A request that every rule of `matching` matches and none of `avoiding` does; nil where there is none.
    mutating func search(_ matching: [Rule], _ avoiding: [Rule]) throws(WorkLimitReached) -> Request? {
        let services = Service.allCases.filter { service in
            scope.services.contains(service) && matching.allSatisfy { $0.services.contains(service) }
        }
        guard !services.isEmpty else { return nil }
        let avoiding = avoiding.filter { rule in services.contains { rule.services.contains($0) } }
        try step(Self.ruleCost * (1 + matching.count + avoiding.count))

        // Rules that a clause leaves behind need not be looked at in the next.
        var alive = AvoidedRules(allOf: avoiding.count)
        let commands = try commandAtoms(matching, avoiding, alive)
        guard !commands.isEmpty else { return nil }
        alive = Self.union(commands, avoiding.count)
        // ORDER: a week has few ranges, and a source's list may be as long as a policy.
        let times = try timeAtoms(matching, avoiding, alive)
        guard !times.isEmpty else { return nil }
        alive = Self.union(times, avoiding.count)
        let sources = try sourceAtoms(matching, avoiding, alive)
        alive = Self.union(sources, avoiding.count)
        let places = try product(sources, commands) { ($0, $1) }
        let circumstances = try product(places, times) { place, time in
            Circumstances(source: place.0, command: place.1, time: time)
        }
        guard !circumstances.isEmpty else { return nil }
        alive = Self.union(circumstances, avoiding.count)

        let question = WhoQuestion(matching: matching, avoiding: avoiding, alive: alive)
        for kind in AccountKind.allCases {
            for service in services {
                for relation in Relation.of(service) {
                    let askers = try whoAtoms(question, service, relation, kind)
                    let found = try product(askers, circumstances) { who, what in
                        Request(
                            service: service, source: what.source, sourcePort: 1_023, remoteUser: who.remoteUser,
                            target: who.target, command: what.command, time: what.time)
                    }
                    if let best = found.first, best.matched.isEmpty { return best.value }
                }
            }
        }
        return nil
    }

    private static func union<Value>(_ atoms: [Atom<Value>], _ count: Int) -> AvoidedRules {
        atoms.reduce(into: AvoidedRules(noneOf: count)) { $0.formUnion($1.matched) }
    }
}
