// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// The word that starts a clause.
enum ClauseWord: Int, Sendable, Hashable, CaseIterable {
    case from, by, `as`, run, during, sandbox, selfTrust

    /// The word.
    var word: String {
        switch self {
        case .from: "from"
        case .by: "by"
        case .as: "as"
        case .run: "run"
        case .during: "during"
        case .sandbox: "sandbox"
        case .selfTrust: "self-trust"
        }
    }

    private static let words = allCases.map { Array($0.word.utf8) }

    /// The clause that a word's bytes start.
    init?(_ word: ArraySlice<UInt8>) {
        // Two of them have one length, and no two that length and first letter.
        guard
            let number = Self.words.firstIndex(where: { $0.count == word.count && $0.first == word.first }),
            word.elementsEqual(Self.words[number])
        else { return nil }
        self = Self.allCases[number]
    }
}

/// Where the clauses of a rule stand.
private struct ClausePlaces {
    private var places: InlineArray<7, Span?> = .init(repeating: nil)

    /// Of each clause the first place.
    subscript(word: ClauseWord) -> Span? { places[word.rawValue] }

    mutating func append(_ word: ClauseWord, _ span: Span) {
        if places[word.rawValue] == nil { places[word.rawValue] = span }
    }
}

extension Parser {
    /// `permit NAME: SERVICE from … by … as … run … during … sandbox … self-trust`.
    mutating func parseRule(_ effect: Effect) -> (payload: Statement.Payload, layout: Layout)? {
        // INVARIANT: no token goes over the end of a line, so this is the line of the one that is looked at.
        let line = lexer.line
        guard let name = takeRuleName(effect) else { return nil }
        let rule = RuleSyntax(effect: effect, name: name, line: line)
        // What a rule lacks is only said where all that it says was understood.
        var isUnderstood = parseScope(rule)
        var seen = ClausePlaces()
        while token.kind == .word, !isAtStatement {
            let word = token
            let place = span(of: token)
            advance()
            let known = ClauseWord(bytes(word))
            guard let clause = known ?? misspelt(text(word), place) else {
                isUnderstood = false
                skipStatement()
                break
            }
            if known == nil {
                isUnderstood = false
            } else if let first = seen[clause] {
                sink.error(
                    place, "'\(clause.word)' stands twice in this rule; the first is in line \(sink.line(of: first))")
            }
            seen.append(clause, place)
            parseClause(clause, place, rule)
        }
        if token.kind != .newline, token.kind != .end, !isAtStatement {
            sink.error(
                span(of: token), "a clause such as from, as or run belongs here",
                hint: token.kind == .comma ? "clauses are separated by blanks alone" : nil)
            isUnderstood = false
            skipStatement()
        }
        if isUnderstood { check(rule, seen) }
        // The formatter lays a rule out when it writes it.
        return (.rule(rule), Layout(.line, parts: 0))
    }

    /// Reports a word that is no clause; gives the one that was meant, so that what follows is looked at too.
    private func misspelt(_ word: String, _ place: Span) -> ClauseWord? {
        let meant = Suggestion.nearest(to: word, among: ClauseWord.allCases.map(\.word))
        sink.error(place, "'\(word)' is no clause of a rule", hint: meant.map { "did you mean \($0)?" })
        return meant.flatMap { ClauseWord(ArraySlice($0.utf8)) }
    }

    private mutating func takeRuleName(_ effect: Effect) -> Located<String>? {
        guard token.kind == .word else {
            sink.error(span(of: token), "the name of the rule, as in '\(effect.name) NAME: rexec …', is missing here")
            return nil
        }
        let word = bytes(token)
        var place = span(of: token)
        advance()
        guard word.last == UInt8(ascii: ":") else {
            let text = String(decoding: word, as: UTF8.self)
            if let colon = word.firstIndex(of: UInt8(ascii: ":")) {
                let name = String(decoding: word[..<colon], as: UTF8.self)
                sink.error(place, "a blank follows the ':' after a rule's name", hint: "write \(name): …")
            } else {
                sink.error(place, "a rule's name ends in ':'", hint: "write \(text): …")
            }
            return nil
        }
        place.end -= 1
        let name = Located(value: String(decoding: word.dropLast(), as: UTF8.self), span: place)
        if !Self.isName(word.dropLast()) { check(name: name) }
        return name
    }

    private mutating func parseScope(_ rule: RuleSyntax) -> Bool {
        guard token.kind == .word else {
            sink.error(span(of: token), "the service is missing here: rexec, rsh or any")
            return false
        }
        let word = text(token)
        if let service = Service(name: word) {
            rule.services = .only(service)
        } else if word != "any" {
            sink.error(
                span(of: token), "'\(word)' should be rexec, rsh or any",
                hint: Suggestion.hint(word, among: ["rexec", "rsh", "any"]))
            // Where the service was left out, the word is the first clause.
            if ClauseWord(ArraySlice(word.utf8)) == nil { advance() }
            return false
        }
        advance()
        return true
    }

    /// Reads what follows a clause's word.
    private mutating func parseClause(_ word: ClauseWord, _ place: Span, _ rule: RuleSyntax) {
        switch word {
        case .from:
            rule.sources = parseList { $0.networkItem(allowsAny: true) }
        case .by:
            rule.remoteUsers = parseList { $0.userItem(.by) }
        case .as:
            rule.targets = parseList { $0.userItem(.as) }
        case .run:
            rule.commands = parseList { $0.commandItem(allowsWords: true) }
        case .during:
            rule.hours = parseList { $0.hoursItem() }
        case .sandbox:
            rule.sandbox = takeName("a sandbox")
            if rule.effect == .forbid { sink.error(place, "a forbid has no sandbox") }
        case .selfTrust:
            rule.selfTrust = true
            if rule.effect == .forbid { sink.error(place, "a forbid has no self-trust") }
        }
    }

    /// What a rule must say, and must not.
    private mutating func check(_ rule: RuleSyntax, _ seen: ClausePlaces) {
        if rule.services == .only(.rexec) {
            if let by = seen[.by] {
                sink.error(by, "REXEC carries no remote user, so a rexec rule has no 'by'")
            }
            for item in rule.targets ?? [] {
                if case .same = item.value {
                    sink.error(item.span, "'same' is the remote user, which REXEC does not carry")
                }
            }
        }
        for item in rule.targets ?? [] {
            guard case .pool = item.value else { continue }
            if rule.effect == .forbid {
                sink.error(item.span, "a forbid names accounts, no pool: it matches them however they were asked for")
            } else if rule.services != .only(.rexec) {
                sink.error(item.span, "a guest comes by REXEC, so the rule is one for rexec")
            }
        }
        guard rule.effect == .permit else { return }
        if seen[.from] == nil { missing("from", "any address", rule) }
        if seen[.by] == nil, rule.services.contains(.rsh) { missing("by", "any remote user", rule) }
        if seen[.as] == nil { missing("as", "any account", rule) }
        if seen[.run] == nil { missing("run", "any command", rule) }
    }

    private mutating func missing(_ clause: String, _ everything: String, _ rule: RuleSyntax) {
        sink.error(
            rule.name.span, "permit '\(rule.name.value)' does not say '\(clause)'",
            hint: "write '\(clause) any' for \(everything)")
    }
}
