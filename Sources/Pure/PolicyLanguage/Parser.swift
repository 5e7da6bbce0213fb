// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Reads the statements of one file; what is wrong goes to the sink, and reading goes on behind it.
///
/// TRUST: the bytes are a file's, of any kind. Nothing in them can make this trap, recurse or loop without end: each
/// step consumes a token, and there is no nesting beyond one pair of braces.
struct Parser {
    var lexer: Lexer
    let sink: DiagnosticSink
    let bytes: [UInt8]
    let file: Int
    /// The token that is looked at.
    var token = Token(kind: .newline, start: 0, end: 0)
    /// Whether it is the first of its line.
    private var isFirstOfLine = true
    /// Where the last consumed token ended.
    var previousEnd = 0
    /// The item words of the block that is being read, at which a list of bare words ends.
    var itemWords: [String] = []
    /// The duration or size that was read last, in the unit that it was written in.
    var takenText = ""
    /// Whether no statement has been read yet.
    private var isFirst = true

    static let statementWords = [
        "policy", "include", "securetcpip", "service", "refusal", "audit", "search-path", "networks", "users",
        "commands", "hours", "pool", "sandbox", "permit", "forbid",
    ]

    /// A parser of a file that the sink knows by its number.
    init(_ source: SourceFile, file: Int, sink: DiagnosticSink) {
        lexer = Lexer(source.bytes, file: file, sink: sink)
        self.sink = sink
        bytes = source.bytes
        self.file = file
    }

    /// Takes the comments out of what has been read since they were taken last.
    mutating func takeComments() -> [Comment] { lexer.takeComments() }

    /// Reads the next statement; nil at the end of the file.
    ///
    /// - Parameter rule: takes what a rule says.
    mutating func nextStatement(_ rule: inout RuleSyntax) -> Statement? {
        while token.kind == .newline { advance() }
        while token.kind != .end {
            let statement = parseStatement(&rule)
            if token.kind != .newline, token.kind != .end, !isAtStatement {
                sink.error(span(of: token), "the line should end here")
                skipStatement()
            }
            while token.kind == .newline { advance() }
            if let statement { return statement }
        }
        return nil
    }

    private mutating func parseStatement(_ rule: inout RuleSyntax) -> Statement? {
        let start = token
        guard token.kind == .word else {
            sink.error(span(of: token), "a statement starts with a word such as permit or service")
            skipStatement()
            return nil
        }
        let word = text(token)
        advance()
        var kind = Statement.Kind.set
        let parsed: (payload: Statement.Payload, layout: Layout)?
        switch word {
        case "permit", "forbid":
            kind = .rule
            parsed = parseRule(word == "permit" ? .permit : .forbid, &rule)
        case "policy":
            kind = .version
            parsed = parseVersion(start, isFirst: isFirst)
        case "include":
            kind = .include
            parsed = parseInclude()
        case "securetcpip":
            kind = .secureTCPIP
            parsed = parseSecureTCPIP()
        case "service":
            kind = .service
            parsed = parseService()
        case "refusal":
            kind = .refusal
            parsed = parseRefusal(start)
        case "audit":
            kind = .audit
            parsed = parseAudit(start)
        case "search-path":
            kind = .searchPath
            parsed = parseSearchPath()
        case "networks": parsed = parseSet(word, { $0.networkItem(allowsAny: false) }, { .networks($0) })
        case "users": parsed = parseSet(word, { $0.userItem(.set) }, { .users($0) })
        case "commands": parsed = parseSet(word, { $0.commandItem(allowsWords: false) }, { .commands($0) })
        case "hours": parsed = parseSet(word, { $0.hoursItem() }, { .hours($0) })
        case "pool": parsed = parseSet(word, { $0.userItem(.pool) }, { .pool($0) })
        case "sandbox":
            kind = .sandbox
            parsed = parseSandbox()
        default:
            kind = .none
            parsed = unknownStatement(start, word)
        }
        isFirst = false
        guard let (payload, layout) = parsed else {
            skipStatement()
            return statement(start, kind, .broken, Layout(.line))
        }
        return statement(start, kind, payload, layout)
    }

    /// The statement from a token to what was consumed last.
    private func statement(
        _ start: Token, _ kind: Statement.Kind, _ payload: consuming Statement.Payload, _ layout: consuming Layout
    ) -> Statement {
        Statement(
            span: Span(file: file, start: start.start, end: max(previousEnd, start.end)), kind: kind,
            payload: payload, layout: layout)
    }

    private mutating func unknownStatement(
        _ start: Token, _ word: String
    ) -> (payload: Statement.Payload, layout: Layout)? {
        sink.error(
            span(of: start), "'\(word)' is no statement", hint: Suggestion.hint(word, among: Self.statementWords))
        return nil
    }

    // MARK: Tokens

    mutating func advance() {
        isFirstOfLine = token.kind == .newline
        if !isFirstOfLine { previousEnd = token.end }
        token = lexer.next()
    }

    func span(of token: Token) -> Span {
        // A newline or the end is a place, not a stretch.
        switch token.kind {
        case .newline, .end: Span(file: file, start: token.start, end: token.start)
        default: Span(file: file, start: token.start, end: token.end)
        }
    }

    /// The text of a token; words are ASCII.
    func text(_ token: Token) -> String {
        String(decoding: bytes(token), as: UTF8.self)
    }

    /// The bytes of a token.
    func bytes(_ token: Token) -> ArraySlice<UInt8> {
        // INVARIANT: tokens lie within the file.
        bytes[token.start..<token.end]
    }

    /// Whether the token that is looked at is a certain word.
    func isAt(_ word: String) -> Bool {
        guard token.kind == .word, token.end - token.start == word.utf8.count else { return false }
        var place = token.start
        for byte in word.utf8 {
            guard bytes[place] == byte else { return false }
            place += 1
        }
        return true
    }

    /// Whether the line that starts here can only be a statement: then braces that are open were forgotten.
    ///
    /// Nothing is taken for a statement that could be an item: `permit` and `service` are names of accounts too, but
    /// `permit NAME:`, `service NAME {` and `networks NAME =` are nothing that a list holds.
    var isAtStatement: Bool {
        guard isFirstOfLine, token.kind == .word else { return false }
        let word = text(token)
        guard Self.statementWords.contains(word) else { return false }
        let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let rest = bytes[token.end...].drop(while: isBlank)
        let second = rest.prefix { Lexer.isWord($0) }
        if word == "permit" || word == "forbid" { return second.last == UInt8(ascii: ":") }
        let mark = rest.dropFirst(second.count).drop(while: isBlank).first
        return mark == UInt8(ascii: "{") || (mark == UInt8(ascii: "=") && !second.isEmpty)
    }

    /// Goes to the end of the statement: the end of the line outside braces.
    mutating func skipStatement() {
        var depth = 0
        while token.kind != .end, depth == 0 || !isAtStatement {
            switch token.kind {
            case .open: depth += 1
            case .close: depth = max(depth - 1, 0)
            case .newline where depth == 0: return
            default: break
            }
            advance()
        }
    }

    /// Takes a word of a block or a rule; anything else is an error that says what is missing.
    mutating func takeWord(_ what: String) -> Located<String>? {
        guard token.kind == .word else {
            sink.error(span(of: token), "\(what) is missing here")
            return nil
        }
        let located = Located(value: text(token), span: span(of: token))
        advance()
        return located
    }

    /// Takes a word that must be one of a few; gives its number.
    mutating func takeChoice(_ choices: [String]) -> Int? {
        guard let word = takeWord(Self.list(choices)) else { return nil }
        guard let index = choices.firstIndex(of: word.value) else {
            sink.error(
                word.span, "'\(word.value)' should be \(Self.list(choices))",
                hint: Suggestion.hint(word.value, among: choices))
            return nil
        }
        return index
    }

    /// Takes a string without its quotes and escapes.
    mutating func takeString(_ what: String) -> (value: StringText, span: Span)? {
        guard token.kind == .string else {
            sink.error(span(of: token), "\(what) is missing here: a text in double quotes")
            return nil
        }
        let value = StringText(bytes(token))
        let place = span(of: token)
        // One without its end was reported as it was read.
        let isWhole = token.end - token.start > 1 && bytes[token.end - 1] == UInt8(ascii: "\"")
        advance()
        return isWhole ? (value, place) : nil
    }

    static func list(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }

    /// `"…"` with its quotes and escapes.
    static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { out.unicodeScalars.append("\\") }
            out.unicodeScalars.append(scalar)
        }
        return out + "\""
    }

    /// Takes a name of a rule, a set or a sandbox: `[a-z][a-z0-9-]{0,62}`.
    mutating func takeName(_ what: String) -> Located<String>? {
        guard token.kind == .word else {
            sink.error(span(of: token), "the name of \(what) is missing here")
            return nil
        }
        let word = Located(value: text(token), span: span(of: token))
        if !Self.isName(bytes(token)) { check(name: word) }
        advance()
        return word
    }

    mutating func check(name: Located<String>) {
        guard !Self.isName(ArraySlice(name.value.utf8)) else { return }
        sink.error(
            name.span, "'\(name.value)' is no name: a to z, then a to z, 0 to 9 and '-', at most 63 characters")
    }

    static func isName(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first, isLower(first), bytes.count <= RuleReference.nameLimit else { return false }
        return bytes.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
    }

    static func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    // MARK: Lists

    /// One item, or `{ a, b }`, behind what is in the list already.
    mutating func parseList<Item>(
        into items: inout [Located<Item>], _ item: (inout Parser) -> Located<Item>?
    ) {
        guard token.kind == .open else {
            if let only = item(&self) { items.append(only) }
            if token.kind == .comma {
                sink.error(span(of: token), "more than one item is written in braces", hint: "write { …, … }")
                while token.kind == .comma {
                    advance()
                    if let more = item(&self) { items.append(more) }
                }
            }
            return
        }
        let open = span(of: token)
        let errors = sink.errorCount
        advance()
        while true {
            switch token.kind {
            case .comma, .newline:
                advance()
                continue
            case .close:
                advance()
                // What could not be read is no item, and reported.
                if items.isEmpty, sink.errorCount == errors { sink.error(open, "the braces hold nothing") }
                return
            case .word where isAtStatement:
                sink.error(open, "these braces are not closed")
                return
            case .end:
                sink.error(open, "these braces are not closed")
                return
            case .word, .string, .open:
                let before = token.start
                if let next = item(&self) { items.append(next) }
                if token.start == before { advance() }
            }
        }
    }

    // MARK: Sets

    private mutating func parseSet<Item: CanonicalItem>(
        _ word: String, _ item: (inout Parser) -> Located<Item>?, _ payload: (SetSyntax<Item>) -> Statement.Payload
    ) -> (payload: Statement.Payload, layout: Layout)? {
        if token.kind == .word, bytes(token).last == UInt8(ascii: "="), bytes(token).count > 1 {
            sink.error(span(of: token), "the '=' stands with a blank on either side")
            return nil
        }
        guard let name = takeName("a set") else { return nil }
        guard isAt("=") else {
            sink.error(span(of: token), "'=' is missing here, with a blank on either side")
            return nil
        }
        advance()
        guard token.kind == .open else {
            sink.error(span(of: token), "a set is written in braces: \(word) \(name.value) = { … }")
            return nil
        }
        var set = SetSyntax<Item>(name: name, items: [])
        parseList(into: &set.items, item)
        return (payload(set), set.layout(word))
    }
}
