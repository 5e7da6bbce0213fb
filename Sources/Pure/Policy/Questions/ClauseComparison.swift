// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// One request held against the clauses of many rules: which fail, by how much, and what they want instead.
///
/// A set that many rules share is looked through once.
struct ClauseComparison {
    let request: Request
    /// The words before what needs a shell, if it does and there are any.
    let beforeShell: RequestedCommand?

    private var nearestInSet: [ObjectIdentifier: Nearest?] = [:]
    private var isNamedInSet: [ObjectIdentifier: Bool] = [:]

    init(request: Request, beforeShell: RequestedCommand?) {
        self.request = request
        self.beforeShell = beforeShell
    }

    /// The clauses at which a rule fails; nil where they are more than is asked for.
    mutating func failing(_ rule: Rule, atMost most: Int) -> [Clause]? {
        var failing: [Clause] = []
        for clause in Clause.allCases where !matches(rule, clause) {
            guard failing.count < most else { return nil }
            failing.append(clause)
        }
        return failing
    }

    private mutating func matches(_ rule: Rule, _ clause: Clause) -> Bool {
        switch clause {
        case .from:
            guard let sources = rule.sources, !sources.isAny else { return true }
            return nearest(sources)?.isInside ?? false
        case .by:
            guard let users = rule.remoteUsers, !users.isAny else { return true }
            guard let name = request.claimedUser else { return false }
            return users.literal.contains(name) || users.sets.contains { isNamed(name, in: $0) }
        case .service, .as, .run, .during:
            return rule.matches(request, clause)
        }
    }

    private mutating func isNamed(_ name: UserName, in set: NamedSet<AccountSet>) -> Bool {
        if let known = isNamedInSet[ObjectIdentifier(set)] { return known }
        let isNamed = set.items.names.contains(name)
        isNamedInSet[ObjectIdentifier(set)] = isNamed
        return isNamed
    }

    // MARK: How near

    /// What all of a clause amounts to, when nothing of it fits.
    private static let whole = 1_000
    private static let week = 7 * WeeklyRange.minutesOfDay

    /// How much of a clause misses, 1 to 1,000: bits of the address, words of the command, minutes of the week. It
    /// orders near misses and says nothing else.
    mutating func distance(_ rule: Rule, _ clause: Clause) -> Int {
        switch clause {
        case .service:
            return 700
        case .by:
            return 500
        case .as:
            return 600
        case .from:
            guard let nearest = rule.sources.flatMap({ nearest($0) }) else { return Self.whole }
            let width = request.source.family.width
            return max(1, Self.whole * (width - nearest.sharedBits) / width)
        case .during:
            guard let wait = opening(rule)?.wait else { return Self.whole }
            return max(1, Self.whole * wait / Self.week)
        case .run:
            guard let commands = rule.commands else { return Self.whole }
            if wouldMatchWithoutShell(commands) { return 1 }
            guard let nearest = nearestPattern(commands), let fit = nearest.fit else { return Self.whole }
            return max(1, Self.whole * (fit.length - fit.matching) / (fit.length + 1))
        }
    }

    // MARK: What is wanted

    /// What a failing clause wants.
    mutating func nearMiss(_ rule: Rule, _ clause: Clause) -> NearMiss {
        var miss = NearMiss(
            rule: rule.reference, clause: clause, wanted: "any", difference: nil, wouldMatchWithoutShell: false,
            forbiddenBy: nil)
        switch clause {
        case .service:
            miss.wanted = rule.services.name
        case .from:
            miss.wanted = rule.sources.flatMap { nearest($0) }?.block.description ?? "any"
        case .by:
            miss.wanted = ClauseText.list(rule.remoteUsers?.words ?? ["any"])
            if request.claimedUser == nil { miss.difference = "REXEC carries no remote user" }
        case .as:
            miss.wanted = ClauseText.list(rule.targets?.words ?? ["any"])
            miss.difference = rule.targets.flatMap { difference($0) }
        case .run:
            guard let commands = rule.commands else { break }
            miss.wanted = ClauseText.list(commands.words)
            miss.wouldMatchWithoutShell = wouldMatchWithoutShell(commands)
            guard let nearest = nearestPattern(commands), nearest.fit != nil else { break }
            miss.wanted = nearest.pattern.description
            miss.difference = miss.wouldMatchWithoutShell ? nil : nearest.difference
        case .during:
            guard let opening = opening(rule) else { break }
            let minute = WeeklyRange.clock(opening.start % WeeklyRange.minutesOfDay)
            let isToday = opening.wait + request.time.minute < WeeklyRange.minutesOfDay
            let day = isToday ? "" : WeeklyRange.dayNames[opening.start / WeeklyRange.minutesOfDay] + " "
            miss.wanted = "after \(day)\(minute) (\(opening.range))"
        }
        return miss
    }

    /// Why a clause of wide words does not match an account.
    private func difference(_ targets: Targets) -> String? {
        let account = request.target
        if let pool = account.pool {
            guard account.canBeGuest else { return "\(account.name) is an account of the system's, and no guest's" }
            return "\(account.name) is a guest's, of pool \(pool)"
        }
        if targets.isForGuestsAlone {
            return "a pool is for guests, who ask for '\(UserName.guest)' without a password"
        }
        if account.uid == 0 { return "uid 0 is permitted by the word root alone" }
        guard targets.isAny || targets.isSame || !targets.groups.isEmpty else { return nil }
        if account.isGateway { return "\(account.name) is the gateway's own account" }
        if account.isSystem { return "\(account.name) is a system account, permitted by its name alone" }
        guard targets.isSame else { return nil }
        return request.claimedUser.map { "the remote user is \($0)" } ?? "REXEC carries no remote user"
    }

    private func wouldMatchWithoutShell(_ commands: Commands) -> Bool {
        guard request.command.needsShell, let beforeShell else { return false }
        return commands.execution(of: beforeShell) != nil
    }

    // MARK: Sources

    /// The block of a clause that shares the most leading bits with the source.
    private struct Nearest {
        var block: AddressBlock
        /// 0 where the families differ.
        var sharedBits: Int
        /// Whether the source lies in it.
        var isInside: Bool
    }

    private mutating func nearest(_ sources: Sources) -> Nearest? {
        var best = Self.nearest(sources.literal, to: request.source)
        for set in sources.sets {
            let id = ObjectIdentifier(set)
            let found = nearestInSet[id] ?? Self.nearest(set.items, to: request.source)
            nearestInSet[id] = .some(found)
            guard let found else { continue }
            if let known = best, known.isInside || (!found.isInside && known.sharedBits >= found.sharedBits) {
                continue
            }
            best = found
        }
        return best
    }

    private static func nearest(_ blocks: [AddressBlock], to address: IPAddress) -> Nearest? {
        var best: Nearest?
        for block in blocks {
            if block.contains(address) {
                return Nearest(block: block, sharedBits: address.family.width, isInside: true)
            }
            let bits =
                block.base.family == address.family
                ? (block.base.value ^ address.value).leadingZeroBitCount - (128 - address.family.width) : 0
            if bits > best?.sharedBits ?? -1 { best = Nearest(block: block, sharedBits: bits, isInside: false) }
        }
        return best
    }

    // MARK: Hours

    /// When the clause next opens, as a minute of the week, how many minutes after the request that is, and by which range.
    private func opening(_ rule: Rule) -> (start: Int, wait: Int, range: WeeklyRange)? {
        let now = request.time.weekday * WeeklyRange.minutesOfDay + request.time.minute
        var best: (start: Int, wait: Int, range: WeeklyRange)?
        for range in rule.hours?.ranges ?? [] {
            for minutes in range.minutesOfWeek {
                let wait = (minutes.lowerBound - now + Self.week) % Self.week
                if wait < best?.wait ?? .max { best = (minutes.lowerBound, wait, range) }
            }
        }
        return best
    }

    // MARK: Patterns

    /// A pattern, how far a command fits, and what differs.
    private struct NearestPattern {
        var pattern: CommandPattern
        /// nil where even the program is another.
        var fit: (matching: Int, length: Int)?
        var difference: String?
    }

    private func nearestPattern(_ commands: Commands) -> NearestPattern? {
        var best: NearestPattern?
        for pattern in commands.patterns {
            guard let found = compare(pattern) else { continue }
            guard let fit = found.fit else {
                if best == nil { best = found }
                continue
            }
            let isBetter =
                best?.fit.map { (fit.matching, $0.length) > ($0.matching, fit.length) } ?? true
            if isBetter { best = found }
        }
        return best
    }

    private func compare(_ pattern: CommandPattern) -> NearestPattern? {
        guard case .words(let words, let program) = request.command.needsShell ? beforeShell : request.command else {
            return NearestPattern(pattern: pattern, fit: nil, difference: nil)
        }
        let isSame =
            program.map { CommandPattern.normalized($0.path) == pattern.program }
            ?? (words.first.map { pattern.program.bytes.hasLastComponent($0.bytes) } ?? false)
        guard isSame else { return NearestPattern(pattern: pattern, fit: nil, difference: nil) }
        let arguments = words.dropFirst()
        var differences: [String] = []
        var matching = 1
        for (number, pair) in zip(pattern.arguments, arguments).enumerated() {
            if pair.0.matches(pair.1) {
                matching += 1
            } else {
                differences.append("argument \(number + 1) \(ClauseText.argument(pair.1)) is not \(pair.0)")
            }
        }
        let (wanted, given) = (pattern.arguments.count, arguments.count)
        if given < wanted {
            differences.append("argument \(given + 1) \(pattern.arguments[given]) is missing")
        } else if given > wanted, !pattern.takesMore, let surplus = arguments.dropFirst(wanted).first {
            differences.append("argument \(wanted + 1) \(ClauseText.argument(surplus)) is too many")
        }
        let length = 1 + max(wanted, pattern.takesMore ? 0 : given)
        var difference = differences.first
        if let first = difference, differences.count > 1 { difference = "\(first), and \(differences.count - 1) more" }
        if difference == nil, program == nil { difference = "the program was not found" }
        return NearestPattern(pattern: pattern, fit: (matching, length), difference: difference)
    }
}

extension [UInt8] {
    /// Whether a path ends in a component, or a component and nothing else.
    fileprivate func hasLastComponent(_ component: [UInt8]) -> Bool {
        !component.isEmpty && suffix(component.count).elementsEqual(component)
            && dropLast(component.count).last == UInt8(ascii: "/")
    }
}
