// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What a rule does with the requests that it matches.
public enum Effect: Sendable, Hashable {
    /// Permits, unless a forbid matches too.
    case permit
    /// Forbids, whatever any permit says.
    case forbid

    /// The word for it.
    public var name: String {
        switch self {
        case .permit: "permit"
        case .forbid: "forbid"
        }
    }
}

/// The services that a rule speaks of.
public enum ServiceScope: Sendable, Hashable {
    /// One service.
    case only(Service)
    /// Both.
    case any

    /// Whether a service is among them.
    public func contains(_ service: Service) -> Bool {
        switch self {
        case .only(let only): only == service
        case .any: true
        }
    }

    /// Whether every service of another scope is among them.
    public func covers(_ other: ServiceScope) -> Bool {
        switch (self, other) {
        case (.any, _): true
        case (.only(let mine), .only(let theirs)): mine == theirs
        case (.only, .any): false
        }
    }

    /// The word for it.
    public var name: String {
        switch self {
        case .only(let service): service.name
        case .any: "any"
        }
    }
}

/// One rule, with its sets resolved.
///
/// A clause that is nil was left out, which only a forbid may do, and then matches everything.
public struct Rule: Sendable, Hashable {
    /// The name, `[a-z][a-z0-9-]{0,62}`.
    public var name: String
    /// Where it stands.
    public var place: FilePlace
    /// What it does.
    public var effect: Effect
    /// `rexec`, `rsh` or `any`.
    public var services: ServiceScope
    /// `from`.
    public var sources: Sources?
    /// `by`.
    public var remoteUsers: RemoteUsers?
    /// `as`.
    public var targets: Targets?
    /// `run`.
    public var commands: Commands?
    /// `during`.
    public var hours: Hours?
    /// The place of the permit's sandbox in the policy's table; 0 in a forbid.
    public var sandbox: Int
    /// Whether the permit ends in `self-trust`.
    public var selfTrust: Bool

    /// A rule without clauses.
    public init(name: String, place: FilePlace, effect: Effect, services: ServiceScope) {
        self.name = name
        self.place = place
        self.effect = effect
        self.services = services
        sandbox = 0
        selfTrust = false
    }

    /// The rule's name and place.
    public var reference: RuleReference { RuleReference(name: name, place: place) }
}

/// A set that a policy defines by name, with the sets that it names written out.
///
/// A class, so that the rules that name a set share what it holds, and an index knows it as one thing.
public final class NamedSet<Items: Sendable & Hashable>: Sendable, Hashable {
    /// The name, `[a-z][a-z0-9-]{0,62}`, without the `@`.
    public let name: String
    /// What it holds.
    public let items: Items

    /// A set.
    public init(name: String, items: Items) {
        self.name = name
        self.items = items
    }

    /// Whether name and items are the same; one set is never compared with itself item by item.
    public static func == (left: NamedSet, right: NamedSet) -> Bool {
        left === right || (left.name == right.name && left.items == right.items)
    }

    /// By the name alone: in one policy it is unique.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
    }
}

/// `from`: where a request comes from. Addresses only; no name is ever looked up for a decision.
public struct Sources: Sendable, Hashable {
    /// Whether `any` stands there: every address of both families.
    public var isAny: Bool
    /// The blocks that are written in the rule itself.
    public var literal: [AddressBlock]
    /// The sets that it names.
    public var sets: [NamedSet<[AddressBlock]>]

    /// A clause.
    public init(isAny: Bool = false, literal: [AddressBlock] = [], sets: [NamedSet<[AddressBlock]>] = []) {
        self.isAny = isAny
        self.literal = literal
        self.sets = sets
    }

    /// Whether an address is among them.
    public func contains(_ address: IPAddress) -> Bool {
        isAny || literal.contains { $0.contains(address) }
            || sets.contains { $0.items.contains { $0.contains(address) } }
    }

    /// Every block, of the rule and of its sets.
    public var blocks: some Sequence<AddressBlock> { ([literal] + sets.map(\.items)).lazy.joined() }
}

/// `by`: the remote user that an RSH client claims, byte for byte.
public struct RemoteUsers: Sendable, Hashable {
    /// Whether `any` stands there, which REXEC's absent name matches too.
    public var isAny: Bool
    /// The names that are written in the rule itself.
    public var literal: [UserName]
    /// The sets that it names, which hold no groups: a group says nothing of a remote user.
    public var sets: [NamedSet<AccountSet>]

    /// A clause.
    public init(isAny: Bool = false, literal: [UserName] = [], sets: [NamedSet<AccountSet>] = []) {
        self.isAny = isAny
        self.literal = literal
        self.sets = sets
    }

    /// Whether a claimed name is among them; REXEC has none.
    public func contains(_ name: UserName?) -> Bool {
        if isAny { return true }
        guard let name else { return false }
        return literal.contains(name) || sets.contains { $0.items.names.contains(name) }
    }

    /// Every name, of the rule and of its sets.
    public var names: some Sequence<UserName> { ([literal] + sets.map(\.items.names)).lazy.joined() }
}

/// A set of accounts by name and by group.
public struct AccountSet: Sendable, Hashable {
    /// Names.
    public var names: [UserName]
    /// Groups, of which an account is in any.
    public var groups: [ByteText]

    /// A set.
    public init(names: [UserName] = [], groups: [ByteText] = []) {
        self.names = names
        self.groups = groups
    }
}

/// `as`: the account to run as.
public struct Targets: Sendable, Hashable {
    /// Whether `any` stands there.
    public var isAny: Bool
    /// Whether `same` stands there: the target is the remote user, which only RSH has.
    public var isSame: Bool
    /// What is written in the rule itself.
    public var literal: AccountSet
    /// The sets that it names.
    public var sets: [NamedSet<AccountSet>]
    /// The guest pools that it names, which a permit alone does.
    public var pools: [String]

    /// A clause.
    public init(
        isAny: Bool = false, isSame: Bool = false, literal: AccountSet = AccountSet(),
        sets: [NamedSet<AccountSet>] = [],
        pools: [String] = []
    ) {
        self.isAny = isAny
        self.isSame = isSame
        self.literal = literal
        self.sets = sets
        self.pools = pools
    }

    /// Whether the rule itself has the name `root`; through a set or a group it is not the literal name.
    public var namesRoot: Bool { literal.names.contains(.root) }

    /// Whether a permit's clause matches an account.
    ///
    /// uid 0 is matched by the literal name `root` alone. `any`, `same` and groups match no system account and never
    /// the gateway's own. An account that came from a pool is matched by that pool alone: nobody proved to be it.
    public func permits(_ account: Account, remoteUser: UserName?) -> Bool {
        if let pool = account.pool { return account.canBeGuest && pools.contains(pool) }
        guard account.uid != 0 else { return account.name == .root && namesRoot }
        if literal.names.contains(account.name) { return true }
        if sets.contains(where: { $0.items.names.contains(account.name) }) { return true }
        guard !account.isSystem, !account.isGateway else { return false }
        return isAny || (isSame && remoteUser == account.name) || sharesGroup(with: account)
    }

    /// Whether a forbid's clause matches an account: as widely as its words can be read.
    ///
    /// The name `root`, wherever it comes from, means uid 0.
    public func forbids(_ account: Account, remoteUser: UserName?) -> Bool {
        if isAny || (isSame && remoteUser == account.name) { return true }
        if literal.names.contains(account.name) || sets.contains(where: { $0.items.names.contains(account.name) }) {
            return true
        }
        if account.uid == 0, namesRoot || sets.contains(where: { $0.items.names.contains(.root) }) { return true }
        return sharesGroup(with: account)
    }

    private func sharesGroup(with account: Account) -> Bool {
        literal.groups.contains { account.groups.contains($0) }
            || sets.contains { $0.items.groups.contains { account.groups.contains($0) } }
    }

    /// Whether guests are all that it can be for.
    public var isForGuestsAlone: Bool {
        !pools.isEmpty && !isAny && !isSame && literal.names.isEmpty && literal.groups.isEmpty && sets.isEmpty
    }

    /// Every name, of the rule and of its sets.
    public var names: [UserName] { literal.names + sets.flatMap(\.items.names) }

    /// Every group, of the rule and of its sets.
    public var groups: [ByteText] { literal.groups + sets.flatMap(\.items.groups) }
}

/// `run`: what may be run.
public struct Commands: Sendable, Hashable {
    /// Whether `any` stands there: in a permit any words, executed without a shell; in a forbid every command.
    public var isAny: Bool
    /// Whether `shell` stands there: in a permit any string, given to the account's shell; in a forbid the strings that
    /// need one.
    public var isShell: Bool
    /// The patterns that are written in the rule itself.
    public var literal: [CommandPattern]
    /// The sets that it names.
    public var sets: [NamedSet<[CommandPattern]>]

    /// A clause.
    public init(
        isAny: Bool = false, isShell: Bool = false, literal: [CommandPattern] = [],
        sets: [NamedSet<[CommandPattern]>] = []
    ) {
        self.isAny = isAny
        self.isShell = isShell
        self.literal = literal
        self.sets = sets
    }

    /// Every pattern, of the rule and of its sets.
    public var patterns: some Sequence<CommandPattern> { ([literal] + sets.map(\.items)).lazy.joined() }

    /// Whether it has no pattern.
    public var isWithoutPatterns: Bool { literal.isEmpty && sets.allSatisfy(\.items.isEmpty) }

    /// How a permitted command is run.
    public enum Execution: Sendable, Hashable {
        /// Exactly the words that were matched.
        case words
        /// The whole string, by the account's shell.
        case shell
    }

    /// How a permit's clause would have a command run; nil where it does not match.
    ///
    /// Words that `any` or a pattern matches are executed as they are, even where `shell` stands beside.
    public func execution(of command: RequestedCommand) -> Execution? {
        switch command {
        case .words(let words, let program?):
            let path = CommandPattern.normalized(program.path)
            if isAny || matches(path, words.dropFirst()) { return .words }
            return isShell ? .shell : nil
        case .words(_, nil), .needsShell:
            // A program that was not found may still be a word of the shell's own.
            return isShell ? .shell : nil
        }
    }

    /// Whether a forbid's clause matches a command.
    ///
    /// A pattern is held against the program's path and against the path with its links resolved.
    public func forbids(_ command: RequestedCommand) -> Bool {
        if isAny { return true }
        switch command {
        case .words(let words, let program?):
            let arguments = words.dropFirst()
            let path = CommandPattern.normalized(program.path)
            let resolved = CommandPattern.normalized(program.resolvedPath)
            return matches(path, arguments) || (resolved != path && matches(resolved, arguments))
        case .words(_, nil):
            return false
        case .needsShell:
            return isShell
        }
    }

    private func matches(_ program: ByteText, _ arguments: ArraySlice<ByteText>) -> Bool {
        literal.contains { $0.matches(program: program, arguments: arguments) }
            || sets.contains { $0.items.contains { $0.matches(program: program, arguments: arguments) } }
    }
}
