// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

// Comparing rules. `covers` is exact where it says yes and may say no where the truth is yes; a witness is a request
// that was tried, and there may be one where none was found. Warnings need no more.

extension Rule {
    /// Whether this rule matches every request that another one matches.
    public func covers(_ other: Rule) -> Bool {
        effectiveServices.covers(other.effectiveServices)
            && coversSources(other) && coversRemoteUsers(other) && coversTargets(other) && coversCommands(other)
            && coversHours(other)
    }

    /// The services that can match: of an `any` rule with a `by` other than `any`, or `same` alone, RSH.
    public var effectiveServices: ServiceScope {
        let needsRemoteUser = remoteUsers.map { !$0.isAny } ?? false
        let isSameAlone =
            targets.map { $0.isSame && !$0.isAny && $0.names.isEmpty && $0.groups.isEmpty } ?? false
        return services == .any && (needsRemoteUser || isSameAlone) ? .only(.rsh) : services
    }

    /// The most items that are compared with each other; more count as not covered.
    private static let comparisonLimit = 100_000

    private func coversSources(_ other: Rule) -> Bool {
        guard let mine = sources, !mine.isAny else { return true }
        guard let theirs = other.sources, !theirs.isAny else { return false }
        let count = mine.count * theirs.count
        guard count <= Self.comparisonLimit else { return false }
        return theirs.blocks.allSatisfy { block in mine.blocks.contains { $0.contains(block) } }
    }

    private func coversRemoteUsers(_ other: Rule) -> Bool {
        guard let mine = remoteUsers, !mine.isAny else { return true }
        guard let theirs = other.remoteUsers, !theirs.isAny else { return false }
        let names = Set(mine.names)
        return theirs.names.allSatisfy(names.contains)
    }

    private func coversTargets(_ other: Rule) -> Bool {
        guard let mine = targets else { return true }
        if effect == .forbid, mine.isAny { return true }
        guard let theirs = other.targets, effect == .forbid || other.effect == .permit else { return false }
        let names = Set(mine.names)
        // A permit's wide words leave out system accounts, which names do not.
        guard theirs.names.allSatisfy(names.contains) else { return false }
        if effect == .permit, theirs.namesRoot, !mine.namesRoot { return false }
        guard !mine.isAny else { return true }
        let groups = Set(mine.groups)
        return !theirs.isAny && (!theirs.isSame || mine.isSame) && theirs.groups.allSatisfy(groups.contains)
    }

    private func coversCommands(_ other: Rule) -> Bool {
        guard let mine = commands else { return true }
        if effect == .forbid, mine.isAny { return true }
        guard let theirs = other.commands else { return false }
        if effect == .permit, mine.isShell { return true }
        // A forbid of `shell` means only the strings that need one.
        guard !theirs.isShell || (effect == .forbid && other.effect == .forbid && mine.isShell) else { return false }
        guard !mine.isAny else { return true }
        guard !theirs.isAny else { return false }
        let count = mine.count * theirs.count
        guard count <= Self.comparisonLimit else { return false }
        return theirs.patterns.allSatisfy { pattern in mine.patterns.contains { $0.covers(pattern) } }
    }

    private func coversHours(_ other: Rule) -> Bool {
        guard let mine = hours else { return true }
        guard let theirs = other.hours else { return mine.isAlways }
        return mine.covers(theirs)
    }

    /// Whether two rules permit alike: the same sandbox, the same way to run, the same words of trust.
    public func hasObligations(of other: Rule) -> Bool {
        sandbox == other.sandbox && selfTrust == other.selfTrust
            && (targets?.namesRoot ?? false) == (other.targets?.namesRoot ?? false)
            && (commands?.isShell ?? false) == (other.commands?.isShell ?? false)
    }
}

extension Sources {
    /// The number of blocks.
    fileprivate var count: Int { sets.reduce(literal.count) { $0 + $1.items.count } }
}

extension Hours {
    private static let minutesOfWeek = 7 * WeeklyRange.minutesOfDay

    /// Whether every moment of a week is in it.
    public var isAlways: Bool { covers(0..<Self.minutesOfWeek) }

    /// Whether every moment of another is in this.
    func covers(_ other: Hours) -> Bool {
        other.ranges.allSatisfy { $0.minutesOfWeek.allSatisfy(covers) }
    }

    private func covers(_ range: Range<Int>) -> Bool {
        var reached = range.lowerBound
        for mine in ranges.flatMap(\.minutesOfWeek).sorted(by: { $0.lowerBound < $1.lowerBound })
        where mine.lowerBound <= reached {
            reached = max(reached, mine.upperBound)
        }
        return reached >= range.upperBound
    }
}

extension CommandPattern {
    /// Whether this matches every command that another pattern matches.
    public func covers(_ other: CommandPattern) -> Bool {
        guard program == other.program else { return false }
        guard
            takesMore
                ? other.arguments.count >= arguments.count
                : !other.takesMore && other.arguments.count == arguments.count
        else { return false }
        return zip(arguments, other.arguments).allSatisfy { $0.covers($1) }
    }

    /// A command's arguments that both match, if there are any.
    func commonArguments(with other: CommandPattern) -> [ByteText]? {
        guard program == other.program else { return nil }
        let (short, long) = arguments.count <= other.arguments.count ? (self, other) : (other, self)
        guard short.takesMore || short.arguments.count == long.arguments.count else { return nil }
        var words: [ByteText] = []
        for (index, argument) in long.arguments.enumerated() {
            let candidates =
                index < short.arguments.count ? [argument.example, short.arguments[index].example] : [argument.example]
            let word = candidates.first { word in
                argument.matches(word) && (index >= short.arguments.count || short.arguments[index].matches(word))
            }
            guard let word else { return nil }
            words.append(word)
        }
        return words
    }
}

extension CommandPattern.Argument {
    func covers(_ other: Self) -> Bool {
        switch (self, other) {
        case (_, .literal(let literal)): matches(literal)
        case (.integer, .integer), (.word, .word), (.word, .integer): true
        case (.path(let mine), .path(let theirs)): AbsolutePath.isBeneath(theirs, mine)
        default: false
        }
    }

    /// An argument that matches.
    var example: ByteText {
        switch self {
        case .literal(let literal): literal
        case .integer: "1"
        case .word: "1"
        case .path(let directory): directory
        }
    }
}

// MARK: - Witnesses

extension Rule {
    /// A request that both rules match, if one is found among those that their words suggest.
    ///
    /// - Parameter settings: only services that are served are asked for.
    public func witness(with other: Rule, settings: Settings) -> Request? {
        guard let source = commonSource(other), let time = commonTime(other) else { return nil }
        let commands = Self.candidateCommands(self, other)
        let targets = (candidateTargets + other.candidateTargets).prefix(Self.candidateLimit)
        let users = (candidateUsers + other.candidateUsers).prefix(Self.candidateLimit)
        for service in Service.allCases
        where settings.serves(service) && services.contains(service) && other.services.contains(service) {
            for command in commands {
                for target in targets {
                    let remoteUsers: [UserName?] = service == .rexec ? [nil] : [target.name] + Array(users)
                    for remoteUser in remoteUsers {
                        let request = Request(
                            service: service, source: source, sourcePort: 1_023, remoteUser: remoteUser,
                            target: target, command: command, time: time)
                        if matches(request), other.matches(request) { return request }
                    }
                }
            }
        }
        return nil
    }

    /// The most candidates of a kind.
    private static let candidateLimit = 12

    private func commonSource(_ other: Rule) -> IPAddress? {
        let documentation = IPAddress(v4: 0xC000_0201)
        let mine = sources.flatMap { $0.isAny ? nil : $0 }
        let theirs = other.sources.flatMap { $0.isAny ? nil : $0 }
        guard let mine else { return theirs.map { $0.blocks.first { _ in true }?.base } ?? documentation }
        guard let theirs else { return mine.blocks.first { _ in true }?.base }
        let count = mine.count * theirs.count
        guard count <= Self.comparisonLimit else { return nil }
        for block in mine.blocks {
            for another in theirs.blocks {
                if block.contains(another) { return another.base }
                if another.contains(block) { return block.base }
            }
        }
        return nil
    }

    private func commonTime(_ other: Rule) -> LocalTime? {
        let mine = hours?.ranges.flatMap(\.minutesOfWeek)
        let theirs = other.hours?.ranges.flatMap(\.minutesOfWeek)
        guard let mine else { return Self.time(theirs.map { $0.first?.lowerBound } ?? 0) }
        guard let theirs else { return Self.time(mine.first?.lowerBound) }
        for range in mine {
            for another in theirs where range.overlaps(another) {
                return Self.time(max(range.lowerBound, another.lowerBound))
            }
        }
        return nil
    }

    private static func time(_ minuteOfWeek: Int?) -> LocalTime? {
        guard let minuteOfWeek else { return nil }
        return LocalTime(
            weekday: minuteOfWeek / WeeklyRange.minutesOfDay, minute: minuteOfWeek % WeeklyRange.minutesOfDay)
    }

    private var candidateTargets: [Account] {
        guard let targets else { return [] }
        let groups = Array(targets.groups.prefix(8))
        var out = targets.names.prefix(Self.candidateLimit).map {
            Account(name: $0, uid: $0 == .root ? 0 : 1_000, groups: groups, isSystem: false)
        }
        if targets.isAny || targets.isSame || !groups.isEmpty, let user = UserName("user") {
            out.append(Account(name: user, uid: 1_000, groups: groups, isSystem: false))
        }
        out += (remoteUsers.map { Array($0.names.prefix(4)) } ?? []).filter { $0 != .root }.map {
            Account(name: $0, uid: 1_000, groups: groups, isSystem: false)
        }
        return out
    }

    private var candidateUsers: [UserName] {
        (remoteUsers.map { Array($0.names.prefix(Self.candidateLimit)) } ?? []) + [UserName("user")].compactMap(\.self)
    }

    private static func candidateCommands(_ one: Rule, _ other: Rule) -> [RequestedCommand] {
        var out: [RequestedCommand] = []
        let mine = one.commands.map { Array($0.patterns.prefix(64)) } ?? []
        let theirs = other.commands.map { Array($0.patterns.prefix(64)) } ?? []
        for pattern in mine {
            for another in theirs {
                guard let arguments = pattern.commonArguments(with: another) else { continue }
                out.append(.example(pattern.program, arguments))
                if out.count >= candidateLimit { break }
            }
        }
        for pattern in mine.prefix(2) + theirs.prefix(2) {
            out.append(.example(pattern.program, pattern.arguments.map(\.example)))
        }
        out.append(.example("/usr/bin/id", []))
        out.append(.needsShell(firstWord: "id"))
        return out
    }
}

extension RequestedCommand {
    fileprivate static func example(_ program: ByteText, _ arguments: [ByteText]) -> RequestedCommand {
        .words([program] + arguments, program: Program(path: program, resolvedPath: program))
    }
}
