// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// What a rule of docs/policy-grammar.ebnf says; the notation is in that file's head.
indirect enum GrammarExpression: Sendable, Hashable {
    /// `"text"`: these characters, or a token of this text.
    case text(String)
    /// `[a-z]` and `[^a-z]`.
    case characters([ClosedRange<UInt32>], isNegated: Bool)
    case rule(String)
    /// `STRING(RULE)`.
    case string(String)
    /// `NUMBER(1-99)`.
    case number(ClosedRange<Int>)
    case sequence([GrammarExpression])
    case choice([GrammarExpression])
    /// From so many to so many times, nil for any number.
    case repeated(GrammarExpression, Int, Int?)
    /// `a - b`.
    case without(GrammarExpression, GrammarExpression)
    /// `a & b`.
    case interleaved([GrammarExpression])
}

/// The grammar, as its file has it.
struct GrammarFile: Sendable {
    struct Malformed: Error {
        var text: String
    }

    private(set) var rules: [String: GrammarExpression] = [:]

    /// docs/policy-grammar.ebnf, and other files of this package.
    static func text(ofPackageFile path: String) throws -> String {
        // The tests' folder may be linked into another package.
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent().resolvingSymlinksInPath()
        let package = here.deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: package.appendingPathComponent(path), encoding: .utf8)
    }

    init() throws {
        try self.init(text: Self.text(ofPackageFile: "docs/policy-grammar.ebnf"))
    }

    init(text: String) throws {
        var definition: (name: String, text: String)?
        func finish(_ rules: inout [String: GrammarExpression]) throws {
            guard let (name, text) = definition else { return }
            var reader = NotationReader(text)
            guard rules.updateValue(try reader.whole(), forKey: name) == nil else {
                throw Malformed(text: "\(name) is defined twice")
            }
        }
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix(" ") {
                definition?.text += line
            } else {
                try finish(&rules)
                let parts = line.split(separator: "::=", maxSplits: 1)
                guard parts.count == 2 else { throw Malformed(text: String(line)) }
                definition = (parts[0].trimmingCharacters(in: .whitespaces), String(parts[1]))
            }
        }
        try finish(&rules)
    }

    /// Whether a rule is of characters, not of tokens.
    static func isLexical(_ name: String) -> Bool {
        name.unicodeScalars.allSatisfy { !("a"..."z").contains($0) }
    }

    /// The rules that an expression names.
    static func names(in expression: GrammarExpression) -> Set<String> {
        switch expression {
        case .text, .characters, .number: []
        case .rule(let name), .string(let name): [name]
        case .sequence(let parts), .choice(let parts), .interleaved(let parts):
            parts.reduce(into: []) { $0.formUnion(names(in: $1)) }
        case .repeated(let part, _, _): names(in: part)
        case .without(let part, let other): names(in: part).union(names(in: other))
        }
    }

    /// Every text in rules of tokens: the words and marks of the language.
    var words: Set<String> {
        func texts(_ expression: GrammarExpression) -> Set<String> {
            switch expression {
            case .text(let text): [text]
            case .characters, .number, .rule, .string: []
            case .sequence(let parts), .choice(let parts), .interleaved(let parts):
                parts.reduce(into: []) { $0.formUnion(texts($1)) }
            case .repeated(let part, _, _): texts(part)
            case .without(let part, let other): texts(part).union(texts(other))
            }
        }
        return rules.reduce(into: []) { if !Self.isLexical($1.key) { $0.formUnion(texts($1.value)) } }
    }

    /// The texts with which what an expression says can begin, and whether it can be nothing.
    func firstTexts(_ expression: GrammarExpression) -> (texts: Set<String>, canBeNothing: Bool) {
        switch expression {
        case .text(let text): return ([text], false)
        case .characters, .string, .number: return ([], false)
        case .rule(let name): return Self.isLexical(name) ? ([], false) : rules[name].map(firstTexts) ?? ([], false)
        case .sequence(let parts):
            var all: Set<String> = []
            for part in parts {
                let (texts, canBeNothing) = firstTexts(part)
                all.formUnion(texts)
                if !canBeNothing { return (all, false) }
            }
            return (all, true)
        case .choice(let parts):
            let found = parts.map(firstTexts)
            return (found.reduce(into: []) { $0.formUnion($1.texts) }, found.contains { $0.canBeNothing })
        case .interleaved(let parts):
            let found = parts.map(firstTexts)
            return (found.reduce(into: []) { $0.formUnion($1.texts) }, found.allSatisfy { $0.canBeNothing })
        case .repeated(let part, let least, _):
            let (texts, canBeNothing) = firstTexts(part)
            return (texts, canBeNothing || least == 0)
        case .without(let part, _): return firstTexts(part)
        }
    }
}

/// Reads what stands behind a `::=`.
private struct NotationReader {
    private var rest: Substring

    init(_ text: String) {
        rest = text[...]
    }

    mutating func whole() throws -> GrammarExpression {
        let expression = try choice()
        guard rest.isEmpty else { throw GrammarFile.Malformed(text: "unexpected: \(rest)") }
        return expression
    }

    private mutating func take(_ mark: String) -> Bool {
        rest = rest.drop { $0 == " " }
        guard rest.hasPrefix(mark) else { return false }
        rest = rest.dropFirst(mark.count)
        return true
    }

    private mutating func choice() throws -> GrammarExpression {
        var parts = [try interleaved()]
        while take("|") { parts.append(try interleaved()) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private mutating func interleaved() throws -> GrammarExpression {
        var parts = [try sequence()]
        while take("&") { parts.append(try sequence()) }
        return parts.count == 1 ? parts[0] : .interleaved(parts)
    }

    private mutating func sequence() throws -> GrammarExpression {
        var parts: [GrammarExpression] = []
        rest = rest.drop { $0 == " " }
        while let next = rest.first, !"|&)".contains(next) {
            let part = try counted()
            parts.append(take("-") ? .without(part, try counted()) : part)
            rest = rest.drop { $0 == " " }
        }
        guard let first = parts.first else { throw GrammarFile.Malformed(text: "nothing before: \(rest)") }
        return parts.count == 1 ? first : .sequence(parts)
    }

    private mutating func counted() throws -> GrammarExpression {
        let part = try single()
        switch rest.first {
        case "?":
            rest.removeFirst()
            return .repeated(part, 0, 1)
        case "*":
            rest.removeFirst()
            return .repeated(part, 0, nil)
        case "+":
            rest.removeFirst()
            return .repeated(part, 1, nil)
        case "{":
            let bounds = try taken(upTo: "}").dropFirst().split(separator: ",").compactMap { Int($0) }
            guard let least = bounds.first, let most = bounds.last else {
                throw GrammarFile.Malformed(text: "no count before: \(rest)")
            }
            return .repeated(part, least, most)
        default: return part
        }
    }

    /// The text to a mark, which is taken and not given.
    private mutating func taken(upTo mark: Character) throws -> Substring {
        guard let end = rest.firstIndex(of: mark) else { throw GrammarFile.Malformed(text: "no \(mark) in \(rest)") }
        defer { rest = rest[rest.index(after: end)...] }
        return rest[..<end]
    }

    private mutating func single() throws -> GrammarExpression {
        if take("(") {
            let inner = try choice()
            guard take(")") else { throw GrammarFile.Malformed(text: "no ) before: \(rest)") }
            return inner
        }
        if take("\"") {
            var text = ""
            while let scalar = try scalar(before: "\"") { text.unicodeScalars.append(scalar) }
            return .text(text)
        }
        if take("[") { return try characters() }
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "-" }
        guard !name.isEmpty else { throw GrammarFile.Malformed(text: "unexpected: \(rest)") }
        rest = rest.dropFirst(name.count)
        guard rest.first == "(", name == "STRING" || name == "NUMBER" else { return .rule(String(name)) }
        let inner = try taken(upTo: ")").dropFirst()
        if name == "STRING" { return .string(String(inner)) }
        let bounds = inner.split(separator: "-").compactMap { Int($0) }
        guard bounds.count == 2 else { throw GrammarFile.Malformed(text: "no range: \(inner)") }
        return .number(bounds[0]...bounds[1])
    }

    private mutating func characters() throws -> GrammarExpression {
        var ranges: [ClosedRange<UInt32>] = []
        let isNegated = rest.first == "^"
        if isNegated { rest.removeFirst() }
        while let low = try scalar(before: "]") {
            if rest.first == "-", rest.dropFirst().first != "]" {
                rest.removeFirst()
                guard let high = try scalar(before: "]") else { break }
                ranges.append(low.value...high.value)
            } else {
                ranges.append(low.value...low.value)
            }
        }
        return .characters(ranges, isNegated: isNegated)
    }

    /// The next character with its escape undone; nil at the closing mark, which is taken.
    private mutating func scalar(before mark: Unicode.Scalar) throws -> Unicode.Scalar? {
        func next() throws -> Unicode.Scalar {
            guard let scalar = rest.unicodeScalars.first else { throw GrammarFile.Malformed(text: "no \(mark)") }
            rest = Substring(rest.unicodeScalars.dropFirst())
            return scalar
        }
        let scalar = try next()
        if scalar == mark { return nil }
        guard scalar == "\\" else { return scalar }
        let escaped = try next()
        switch escaped {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u":
            let digits = rest.prefix(4)
            guard let value = UInt32(digits, radix: 16), let named = Unicode.Scalar(value) else {
                throw GrammarFile.Malformed(text: "no \\u: \(digits)")
            }
            rest = rest.dropFirst(4)
            return named
        default: return escaped
        }
    }
}
