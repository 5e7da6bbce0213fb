// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

extension Parser {
    static let clauseWords = ["from", "by", "as", "run", "during", "sandbox", "self-trust"]

    /// `permit NAME: SERVICE from … by … as … run … during … sandbox … self-trust`.
    mutating func parseRule(_ effect: Effect) -> (Statement.Payload, Statement.Layout)? {
        guard let name = takeRuleName(effect) else { return nil }
        var rule = RuleSyntax(effect: effect, name: name, services: .any, selfTrust: false)
        let isServiceKnown = parseScope(&rule)
        var seen: [String: Span] = [:]
        while token.kind == .word {
            let word = Located(value: text(token), span: span(of: token))
            advance()
            if let first = seen[word.value], Self.clauseWords.contains(word.value) {
                sink.error(
                    word.span, "'\(word.value)' stands twice in this rule; the first is in line \(sink.line(of: first))"
                )
            }
            seen[word.value] = word.span
            guard parseClause(word, &rule) else {
                sink.error(
                    word.span, "'\(word.value)' is no clause of a rule",
                    hint: Suggestion.hint(word.value, among: Self.clauseWords))
                skipStatement()
                break
            }
        }
        if token.kind != .newline, token.kind != .end {
            sink.error(
                span(of: token), "a clause such as from, as or run belongs here",
                hint: token.kind == .comma ? "clauses are separated by blanks alone" : nil)
            skipStatement()
        }
        if isServiceKnown { check(rule, seen) }
        return (.rule(rule), .line(Self.parts(of: rule)))
    }

    private mutating func takeRuleName(_ effect: Effect) -> Located<String>? {
        guard var word = takeWord("the name of the rule, as in '\(effect.name) NAME: rexec …'") else { return nil }
        guard word.value.hasSuffix(":") else {
            if let colon = word.value.firstIndex(of: ":") {
                let name = word.value[..<colon]
                sink.error(word.span, "a blank follows the ':' after a rule's name", hint: "write \(name): …")
            } else {
                sink.error(word.span, "a rule's name ends in ':'", hint: "write \(word.value): …")
            }
            return nil
        }
        word.value.removeLast()
        word.span.end -= 1
        check(name: word)
        return word
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
            if !Self.clauseWords.contains(word) { advance() }
            return false
        }
        advance()
        return true
    }

    /// Reads what follows a clause's word; false where the word is none.
    private mutating func parseClause(_ word: Located<String>, _ rule: inout RuleSyntax) -> Bool {
        switch word.value {
        case "from":
            rule.sources = parseList { $0.networkItem(allowsAny: true) }
        case "by":
            rule.remoteUsers = parseList { $0.userItem(.by) }
        case "as":
            rule.targets = parseList { $0.userItem(.as) }
        case "run":
            rule.commands = parseList { $0.commandItem(allowsWords: true) }
        case "during":
            rule.hours = parseList { $0.hoursItem() }
        case "sandbox":
            rule.sandbox = takeName("a sandbox")
            if rule.effect == .forbid { sink.error(word.span, "a forbid has no sandbox") }
        case "self-trust":
            rule.selfTrust = true
            if rule.effect == .forbid { sink.error(word.span, "a forbid has no self-trust") }
        default:
            return false
        }
        return true
    }

    /// What a rule must say, and must not.
    private mutating func check(_ rule: RuleSyntax, _ seen: [String: Span]) {
        if rule.services == .only(.rexec) {
            if let by = seen["by"] {
                sink.error(by, "REXEC carries no remote user, so a rexec rule has no 'by'")
            }
            for item in rule.targets ?? [] {
                if case .same = item.value {
                    sink.error(item.span, "'same' is the remote user, which REXEC does not carry")
                }
            }
        }
        guard rule.effect == .permit else { return }
        if seen["from"] == nil { missing("from", "any address", rule) }
        if seen["by"] == nil, rule.services.contains(.rsh) { missing("by", "any remote user", rule) }
        if seen["as"] == nil { missing("as", "any account", rule) }
        if seen["run"] == nil { missing("run", "any command", rule) }
    }

    private mutating func missing(_ clause: String, _ everything: String, _ rule: RuleSyntax) {
        sink.error(
            rule.name.span, "permit '\(rule.name.value)' does not say '\(clause)'",
            hint: "write '\(clause) any' for \(everything)")
    }

    private static func parts(of rule: RuleSyntax) -> [String] {
        [
            "\(rule.effect.name) \(rule.name.value): \(rule.services.name)",
            clause("from", rule.sources, text(of:)),
            clause("by", rule.remoteUsers, text(of:)),
            clause("as", rule.targets, text(of:)),
            clause("run", rule.commands, text(of:)),
            clause("during", rule.hours, text(of:)),
            rule.sandbox.map { "sandbox \($0.value)" },
            rule.selfTrust ? "self-trust" : nil,
        ].compactMap(\.self)
    }
}
