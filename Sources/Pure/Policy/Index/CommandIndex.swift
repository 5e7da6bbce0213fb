// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Finds the sets of rules whose `run` matches a command.
struct CommandIndex: Sendable {
    private let patterns: CommandPatterns
    /// What each pattern satisfies.
    private let patternsRules: [PatternRules]
    private let permits: Effects
    private let forbids: Effects

    /// The rules of both effects that a pattern satisfies.
    private struct PatternRules: Sendable {
        let forbids: RuleSetList
        let permits: RuleSetList
    }

    /// `run` in the rules of one effect, for what is no pattern.
    private struct Effects: Sendable {
        var any: RuleSet?
        var shell: RuleSet?
        /// The rules without the clause.
        var absent: RuleSet?
    }

    init(_ rules: NumberedRules, _ sets: inout RuleSets) {
        var patterns = CommandPatterns.Building()
        var postings = ClausePostings()
        var any: [UInt32] = []
        var shell: [UInt32] = []
        var absent: [UInt32] = []
        func take(_ commands: Commands?, _ number: UInt32) {
            guard let commands else { return absent.append(number) }
            if commands.isAny { any.append(number) }
            if commands.isShell { shell.append(number) }
            for pattern in commands.literal { postings.insert(patterns.insert(pattern), rule: number) }
            for named in commands.sets {
                guard let set = postings.insert(named, rule: number) else { continue }
                for pattern in named.items { postings.insert(patterns.insert(pattern), set: set) }
            }
        }
        let all = rules.rules.span
        for (number, place) in rules.numbers { take(all[place].commands, number) }
        let lists = postings.lists(patterns.count, of: rules.halves, &sets)
        patternsRules = zip(lists[0], lists[1]).map { PatternRules(forbids: $0, permits: $1) }
        let parts = rules.halves.map { range in
            let chosen = { (all: [UInt32]) in all.filter { range.contains(Int($0)) } }
            return Effects(
                any: sets.insert(chosen(any)), shell: sets.insert(chosen(shell)), absent: sets.insert(chosen(absent)))
        }
        forbids = parts[0]
        permits = parts[1]
        self.patterns = patterns.finish()
    }

    /// What of a request's command the permits' patterns match.
    struct Matches {
        /// Whether there are words and a program to be matched.
        fileprivate(set) var hasProgram = false
        fileprivate(set) var patterns = FewNumbers()
    }

    /// Tells a search the sets of a request's command.
    func tell(_ request: Request, _ search: inout RuleSearch, _ sets: borrowing RuleSets) -> Matches {
        var matches = Matches()
        search.add(forbids.absent, of: sets)
        search.add(forbids.any, of: sets)
        // A permit without the clause has nothing to run.
        search.add(permits.shell, of: sets)
        switch request.command {
        case .words(let words, let program?):
            let path = CommandPattern.normalized(program.path)
            matches.hasProgram = true
            patterns.match(path, words, &matches.patterns)
            search.add(permits.any, of: sets)
            for place in 0..<matches.patterns.count {
                let rules = patternsRules[Int(matches.patterns[place])]
                search.add(rules.permits, of: sets)
                search.add(rules.forbids, of: sets)
            }
            let resolved = CommandPattern.normalized(program.resolvedPath)
            if resolved != path {
                var others = FewNumbers()
                patterns.match(resolved, words, &others)
                for place in 0..<others.count {
                    search.add(patternsRules[Int(others[place])].forbids, of: sets)
                }
            }
        case .words(_, nil):
            break
        case .needsShell:
            search.add(forbids.shell, of: sets)
        }
        search.endClause()
        return matches
    }

    /// Whether a permit that matches runs the words; otherwise it is for its word `shell` that it matches.
    func permitsWords(_ rule: Int, _ matches: Matches, _ sets: borrowing RuleSets) -> Bool {
        guard matches.hasProgram else { return false }
        if let any = permits.any, sets.contains(any, rule: rule) { return true }
        return (0..<matches.patterns.count).contains { place in
            sets.contains(patternsRules[Int(matches.patterns[place])].permits, rule: rule)
        }
    }
}
