// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A decision with what would have changed it.
public struct Explanation: Sendable, Hashable {
    /// The decision.
    public var decision: Decision
    /// Permits that would match if one clause did, nearest first as they were written; empty for a permit.
    public var nearMisses: [NearMiss]
    /// The permit that would have decided, where a forbid or a service that is off came first.
    public var overruled: RuleReference?

    /// The most near misses that are told.
    public static let nearMissLimit = 16
}

/// A permit that fails at one clause alone.
public struct NearMiss: Sendable, Hashable {
    /// The permit.
    public var rule: RuleReference
    /// The clause.
    public var clause: Clause
    /// What the clause wants, as a policy would write it: of many blocks or patterns, the nearest.
    public var wanted: String
    /// Whether the command's part before what needs a shell would match.
    public var wouldMatchWithoutShell: Bool
}

extension Policy {
    /// Decides a request, and says what would have changed the decision.
    ///
    /// - Parameter beforeShell: for a command that needs a shell, the words before what needs it, if there are any.
    public func explain(_ request: Request, beforeShell: RequestedCommand? = nil) -> Explanation {
        let decision = decide(request)
        guard case .deny(let denial) = decision else {
            return Explanation(decision: decision, nearMisses: [], overruled: nil)
        }
        var explanation = Explanation(decision: decision, nearMisses: [], overruled: nil)
        for rule in rules where rule.effect == .permit {
            let failing = Clause.allCases.filter { !rule.matches(request, $0) }
            if failing.isEmpty, explanation.overruled == nil { explanation.overruled = rule.reference }
            guard let clause = failing.first, failing.count == 1, denial.reason != .serviceDisabled else { continue }
            guard explanation.nearMisses.count < Explanation.nearMissLimit else { continue }
            var would = false
            if clause == .run, let beforeShell { would = rule.commands?.execution(of: beforeShell) != nil }
            explanation.nearMisses.append(
                NearMiss(
                    rule: rule.reference, clause: clause, wanted: rule.wanted(clause, request),
                    wouldMatchWithoutShell: would))
        }
        return explanation
    }
}

extension Rule {
    /// The most items of a clause that are told.
    private static let itemLimit = 4

    fileprivate func wanted(_ clause: Clause, _ request: Request) -> String {
        switch clause {
        case .service:
            return services.name
        case .from:
            guard let sources, !sources.isAny else { return "any" }
            return sources.nearest(to: request.source)?.description ?? "any"
        case .by:
            guard let remoteUsers, !remoteUsers.isAny else { return "any" }
            return Self.list(remoteUsers.names.lazy.map(\.description))
        case .as:
            guard let targets else { return "any" }
            var words = targets.names.map(\.description) + targets.groups.map { "%\($0)" }
            if targets.isSame { words.append("same") }
            if targets.isAny { words.append("any") }
            return Self.list(words)
        case .run:
            guard let commands else { return "any" }
            if commands.isShell { return "shell" }
            if commands.isAny { return "any" }
            let program: ByteText? =
                switch request.command {
                case .words(_, let program): program.map { CommandPattern.normalized($0.path) }
                case .needsShell: nil
                }
            let sameProgram = commands.patterns.filter { $0.program == program }
            return Self.list((sameProgram.isEmpty ? Array(commands.patterns) : sameProgram).map(\.description))
        case .during:
            return Self.list((hours?.ranges ?? []).map(\.description))
        }
    }

    private static func list(_ items: some Sequence<String>) -> String {
        var shown = Array(items.prefix(itemLimit + 1))
        if shown.count > itemLimit { shown[itemLimit] = "…" }
        return shown.joined(separator: ", ")
    }
}

extension Sources {
    /// The block that shares the most leading bits with an address of its family; else the first.
    fileprivate func nearest(to address: IPAddress) -> AddressBlock? {
        var best: AddressBlock?
        var bestBits = -1
        for block in blocks {
            let bits =
                block.base.family == address.family
                ? (block.base.value ^ address.value).leadingZeroBitCount - (128 - address.family.width) : 0
            if bits > bestBits {
                best = block
                bestBits = bits
            }
        }
        return best
    }
}
