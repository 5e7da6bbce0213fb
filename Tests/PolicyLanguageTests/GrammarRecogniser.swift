// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Whether a text is a sentence of the grammar.
///
/// For each expression and place it works out every place at which what the expression says can end; no choice is taken
/// back and none is missed. That is exact because the grammar has no recursion, which a test holds.
struct GrammarRecogniser {
    let grammar: GrammarFile

    /// A token: the text as it stands.
    struct Token: Hashable {
        var text: String
        var isWord: Bool { text != "\n" && text != "{" && text != "}" && text != "," && !isString }
        var isString: Bool { text.hasPrefix("\"") }

        /// A string's text, without its quotes and escapes.
        var inner: String {
            var out = ""
            var isEscaped = false
            for character in text.dropFirst().dropLast().unicodeScalars {
                if character == "\\", !isEscaped {
                    isEscaped = true
                } else {
                    out.unicodeScalars.append(character)
                    isEscaped = false
                }
            }
            return out
        }
    }

    /// Whether a text is a sentence of a rule of tokens.
    func accepts(_ text: String, as rule: String) -> Bool {
        guard let tokens = tokens(of: text) else { return false }
        return accepts(tokens, as: rule)
    }

    func accepts(_ tokens: [Token], as rule: String) -> Bool {
        var places = Places(grammar: grammar, count: tokens.count) { expression, start in
            guard tokens.indices.contains(start) else { return false }
            let token = tokens[start]
            switch expression {
            case .text(let text):
                return token.text == text
            case .rule("NEWLINE"):
                return token.text == "\n"
            case .rule(let name):
                return token.isWord && isWhole(token.text, name)
            case .string(let name):
                return token.isString && isWhole(token.inner, name)
            case .number(let range):
                return token.isWord && token.text.utf8.allSatisfy { (48...57).contains($0) }
                    && Int(token.text).map(range.contains) == true
            default:
                return false
            }
        }
        return places.ends(.rule(rule), 0).contains(tokens.count)
    }

    /// The tokens of a text; nil where something in it is none.
    func tokens(of text: String) -> [Token]? {
        let scalars = Array(text.unicodeScalars)
        var tokens: [Token] = []
        var position = 0
        while position < scalars.count {
            let rest = scalars[position...]
            if let space = longest("SPACE", rest), space > 0 {
                position += space
            } else if let length = longest("TOKEN", rest), length > 0 {
                tokens.append(Token(text: String(String.UnicodeScalarView(rest.prefix(length)))))
                position += length
            } else {
                return nil
            }
        }
        return tokens
    }

    /// Whether the whole of a text is what a rule of characters says.
    func isWhole(_ text: String, _ rule: String) -> Bool {
        isWhole(text, .rule(rule))
    }

    /// Whether the whole of a text is what an expression of characters says.
    func isWhole(_ text: String, _ expression: GrammarExpression) -> Bool {
        let scalars = Array(text.unicodeScalars)
        return characterEnds(expression, scalars).contains(scalars.count)
    }

    private func longest(_ rule: String, _ scalars: ArraySlice<Unicode.Scalar>) -> Int? {
        characterEnds(.rule(rule), Array(scalars)).max()
    }

    private func characterEnds(_ expression: GrammarExpression, _ scalars: [Unicode.Scalar]) -> Set<Int> {
        var places = Places(grammar: grammar, count: scalars.count) { expression, start in
            guard scalars.indices.contains(start) else { return false }
            guard case .characters(let ranges, let isNegated) = expression else { return false }
            return ranges.contains { $0.contains(scalars[start].value) } != isNegated
        } text: { text, start in
            scalars[start...].starts(with: text.unicodeScalars) ? text.unicodeScalars.count : nil
        }
        return places.ends(expression, 0)
    }

    /// Where expressions can end.
    private struct Places {
        struct Key: Hashable {
            var expression: GrammarExpression
            var start: Int
        }

        let grammar: GrammarFile
        let count: Int
        /// Whether what is one symbol of the input stands at a place.
        let isSymbol: (GrammarExpression, Int) -> Bool
        /// In rules of characters: how long a text is that stands at a place.
        var text: ((String, Int) -> Int?)?
        var known: [Key: Set<Int>] = [:]

        mutating func ends(_ expression: GrammarExpression, _ start: Int) -> Set<Int> {
            switch expression {
            case .text(let wanted):
                guard let text else { return isSymbol(expression, start) ? [start + 1] : [] }
                return text(wanted, start).map { [start + $0] } ?? []
            case .characters, .string, .number:
                return isSymbol(expression, start) ? [start + 1] : []
            case .rule(let name):
                if text == nil, GrammarFile.isLexical(name) { return isSymbol(expression, start) ? [start + 1] : [] }
                guard let body = grammar.rules[name] else { return [] }
                let key = Key(expression: expression, start: start)
                if let ends = known[key] { return ends }
                let ends = ends(body, start)
                known[key] = ends
                return ends
            case .sequence(let parts):
                var reached: Set<Int> = [start]
                for part in parts {
                    var next: Set<Int> = []
                    for place in reached { next.formUnion(ends(part, place)) }
                    reached = next
                    if reached.isEmpty { break }
                }
                return reached
            case .choice(let parts):
                var reached: Set<Int> = []
                for part in parts { reached.formUnion(ends(part, start)) }
                return reached
            case .repeated(let part, let least, let most):
                return repeated(part, least, most, start)
            case .without(let part, let other):
                return ends(part, start).subtracting(ends(other, start))
            case .interleaved(let parts):
                return interleaved(parts, start)
            }
        }

        private mutating func repeated(
            _ part: GrammarExpression, _ least: Int, _ most: Int?, _ start: Int
        ) -> Set<Int> {
            var reached: Set<Int> = least == 0 ? [start] : []
            var frontier: Set<Int> = [start]
            var times = 0
            while !frontier.isEmpty, most.map({ times < $0 }) ?? true {
                var next: Set<Int> = []
                for place in frontier { next.formUnion(ends(part, place)) }
                times += 1
                // What was reached before leads nowhere new, once there are enough.
                frontier = times > least ? next.subtracting(reached) : next
                if times >= least { reached.formUnion(next) }
            }
            return reached
        }

        private mutating func interleaved(_ parts: [GrammarExpression], _ start: Int) -> Set<Int> {
            struct State: Hashable {
                var place: Int
                var used: Set<Int>
            }
            var waiting = [State(place: start, used: [])]
            var seen = Set(waiting)
            var reached: Set<Int> = []
            while let state = waiting.popLast() {
                let rest = parts.indices.filter { !state.used.contains($0) }
                if rest.allSatisfy({ ends(parts[$0], state.place).contains(state.place) }) {
                    reached.insert(state.place)
                }
                for index in rest {
                    for end in ends(parts[index], state.place) where end > state.place {
                        let next = State(place: end, used: state.used.union([index]))
                        if seen.insert(next).inserted { waiting.append(next) }
                    }
                }
            }
            return reached
        }
    }
}
