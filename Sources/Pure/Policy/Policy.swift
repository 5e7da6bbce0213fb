// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A policy that was loaded without an error: everything is resolved, so nothing can fail while a decision is made.
public struct Policy: Sendable, Hashable {
    /// Everything that is not a rule, a set or a sandbox.
    public var settings: Settings
    /// The rules, in the order in which they were written.
    public var rules: [Rule]
    /// The sandboxes that permits use, and all that are defined: `Terms.sandbox` counts in this table.
    public var sandboxes: [Sandbox]
    /// Where each of them is defined; nil for a built-in one.
    public var sandboxPlaces: [FilePlace?]

    /// A policy without rules, which denies everything.
    public init(settings: Settings = Settings()) {
        self.settings = settings
        rules = []
        sandboxes = []
        sandboxPlaces = []
    }
}

// MARK: - The decision

extension Policy {
    /// Decides a request by looking at each rule in turn.
    ///
    /// This scan is the meaning of a policy. An index must agree with it on every input, and it is kept as the oracle
    /// that the tests compare an index with.
    public func decide(_ request: Request) -> Decision {
        if isDisabled(request) { return .deny(Denial(reason: .serviceDisabled)) }
        if let forbid = rules.first(where: { $0.effect == .forbid && $0.matches(request) }) {
            return .deny(Denial(reason: .forbidden, rule: forbid.reference))
        }
        for rule in rules where rule.effect == .permit {
            if let terms = rule.terms(for: request) { return .permit(terms) }
        }
        return .deny(Denial(reason: Self.reasonWithoutPermit(request.command)))
    }

    /// Whether no rule is asked: the service is not served, or this is rcp and securetcpip has it off.
    public func isDisabled(_ request: Request) -> Bool {
        guard settings.serves(request.service) else { return true }
        return request.command.isRemoteCopy && !settings.secureTCPIP.allows(.rcp)
    }

    /// Why a command is denied that no rule speaks of.
    static func reasonWithoutPermit(_ command: RequestedCommand) -> Reason {
        switch command {
        case .needsShell: .needsShell
        case .words(_, nil): .commandNotFound
        case .words: .noRule
        }
    }
}

extension Request {
    /// The remote user where the protocol carries one.
    var claimedUser: UserName? {
        switch service {
        case .rexec: nil
        case .rsh: remoteUser
        }
    }
}

extension Rule {
    /// Whether every clause matches a request.
    public func matches(_ request: Request) -> Bool {
        matches(request, .service) && matches(request, .from) && matches(request, .by) && matches(request, .as)
            && matches(request, .run) && matches(request, .during)
    }

    /// What the permit permits, if every clause matches.
    public func terms(for request: Request) -> Terms? {
        guard matches(request) else { return nil }
        guard let execution = commands?.execution(of: request.command) else { return nil }
        return Terms(
            rule: reference, sandbox: sandbox, usesShell: execution == .shell, selfTrust: selfTrust,
            namesRoot: targets?.namesRoot ?? false)
    }

    /// Whether one clause matches a request; one that was left out matches.
    public func matches(_ request: Request, _ clause: Clause) -> Bool {
        switch clause {
        case .service:
            return services.contains(request.service)
        case .from:
            return sources?.contains(request.source) ?? true
        case .by:
            return remoteUsers?.contains(request.claimedUser) ?? true
        case .as:
            guard let targets else { return true }
            switch effect {
            case .permit: return targets.permits(request.target, remoteUser: request.claimedUser)
            case .forbid: return targets.forbids(request.target, remoteUser: request.claimedUser)
            }
        case .run:
            guard let commands else { return true }
            switch effect {
            case .permit: return commands.execution(of: request.command) != nil
            case .forbid: return commands.forbids(request.command)
            }
        case .during:
            return hours?.contains(request.time) ?? true
        }
    }
}

/// The parts of a rule that can match or not.
public enum Clause: String, Sendable, Hashable, CaseIterable {
    case service
    case from
    case by
    case `as`
    case run
    case during
}
