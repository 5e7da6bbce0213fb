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

    /// The clause that a word's bytes start.
    init?(_ word: ArraySlice<UInt8>) {
        // Told by first letter and length, it is that word or none.
        let clause: ClauseWord
        switch word.first {
        case UInt8(ascii: "f"): clause = .from
        case UInt8(ascii: "b"): clause = .by
        case UInt8(ascii: "a"): clause = .as
        case UInt8(ascii: "r"): clause = .run
        case UInt8(ascii: "d"): clause = .during
        case UInt8(ascii: "s"): clause = word.count == 7 ? .sandbox : .selfTrust
        default: return nil
        }
        let text = clause.word
        let bytes = text.utf8.span
        guard bytes.count == word.count else { return nil }
        for place in bytes.indices where bytes[place] != word[word.startIndex + place] { return nil }
        self = clause
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
    mutating func parseRule(
        _ effect: Effect, _ rule: inout RuleSyntax
    ) -> (payload: Statement.Payload, layout: Layout)? {
        // INVARIANT: no token goes over the end of a line, so this is the line of the one that is looked at.
        let line = lexer.line
        guard let name = takeRuleName(effect) else { return nil }
        rule.begin(effect: effect, name: name, line: line)
        // What a rule lacks is only said where all that it says was understood.
        var isUnderstood = parseScope(&rule)
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
            parseClause(clause, place, &rule)
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
        return (.rule, Layout(.line, parts: 0))
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
        let (start, end) = (token.start, token.end)
        var place = span(of: token)
        advance()
        guard bytes[end - 1] == UInt8(ascii: ":") else {
            let word = bytes[start..<end]
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
        let word = bytes[start..<(end - 1)]
        let name = Located(value: String(decoding: word, as: UTF8.self), span: place)
        if !Self.isName(word) { check(name: name) }
        return name
    }

    private mutating func parseScope(_ rule: inout RuleSyntax) -> Bool {
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
    private mutating func parseClause(_ word: ClauseWord, _ place: Span, _ rule: inout RuleSyntax) {
        switch word {
        case .from:
            parse(&rule.sources) { $0.networkItem(allowsAny: true) }
        case .by:
            parse(&rule.remoteUsers) { $0.userItem(.by) }
        case .as:
            parse(&rule.targets) { $0.userItem(.as) }
        case .run:
            parse(&rule.commands) { $0.commandItem(allowsWords: true) }
        case .during:
            parse(&rule.hours) { $0.hoursItem() }
        case .sandbox:
            rule.sandbox = takeName("a sandbox")
            if rule.effect == .forbid { sink.error(place, "a forbid has no sandbox") }
        case .selfTrust:
            rule.selfTrust = true
            if rule.effect == .forbid { sink.error(place, "a forbid has no self-trust") }
        }
    }

    /// Reads the items of a clause. One that stands twice, which is an error, counts as it stands last.
    private mutating func parse<Item>(
        _ clause: inout ClauseSyntax<Item>, _ item: (inout Parser) -> Located<Item>?
    ) {
        clause.begin()
        parseList(into: &clause.items, item)
    }

    /// What a rule must say, and must not.
    private mutating func check(_ rule: borrowing RuleSyntax, _ seen: ClausePlaces) {
        if rule.services == .only(.rexec) {
            if let by = seen[.by] {
                sink.error(by, "REXEC carries no remote user, so a rexec rule has no 'by'")
            }
            for item in rule.targets.items {
                if case .same = item.value {
                    sink.error(item.span, "'same' is the remote user, which REXEC does not carry")
                }
            }
        }
        for item in rule.targets.items {
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

    private mutating func missing(_ clause: String, _ everything: String, _ rule: borrowing RuleSyntax) {
        sink.error(
            rule.name.span, "permit '\(rule.name.value)' does not say '\(clause)'",
            hint: "write '\(clause) any' for \(everything)")
    }
}
