// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The engine's answer to a request.
public enum Decision: Sendable, Hashable {
    /// A permit matched and no forbid did.
    case permit(Terms)
    /// Anything else.
    case deny(Denial)
}

/// The rule that decided, by name and place, for the trail.
public struct RuleReference: Sendable, Hashable {
    /// The most bytes in a rule's name.
    public static let nameLimit = 63
    /// The most bytes of a shown file name.
    public static let fileLimit = 1_024

    /// The rule's name: `[a-z][a-z0-9-]{0,62}`.
    public var name: String
    /// Where it stands.
    public var place: FilePlace

    /// A reference to a rule.
    public init(name: String, place: FilePlace) {
        self.name = name
        self.place = place
    }
}

/// What a permit permits, and its obligations as an index into the tables that the monitor froze.
public struct Terms: Sendable, Hashable {
    /// The first written of the permits that match.
    public var rule: RuleReference
    /// The sandbox's place in the frozen table.
    public var sandbox: Int
    /// Whether the string goes to the account's shell with `-c`; otherwise exactly the matched words are executed.
    public var usesShell: Bool
    /// Whether the rule has the word `self-trust`.
    public var selfTrust: Bool
    /// Whether the rule names `root` literally as a target.
    public var namesRoot: Bool

    /// The terms of a permit.
    public init(rule: RuleReference, sandbox: Int, usesShell: Bool, selfTrust: Bool, namesRoot: Bool) {
        self.rule = rule
        self.sandbox = sandbox
        self.usesShell = usesShell
        self.selfTrust = selfTrust
        self.namesRoot = namesRoot
    }
}

/// Why a request was denied.
public struct Denial: Sendable, Hashable {
    /// The reason.
    public var reason: Reason
    /// The first written of the forbids that match, for `forbidden`.
    public var rule: RuleReference?

    /// A denial.
    public init(reason: Reason, rule: RuleReference? = nil) {
        self.reason = reason
        self.rule = rule
    }
}
