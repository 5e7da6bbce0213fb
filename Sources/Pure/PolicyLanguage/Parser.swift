// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Reads the statements of one file; what is wrong goes to the sink, and reading goes on behind it.
///
/// TRUST: the bytes are a file's, of any kind. Nothing in them can make this trap, recurse or loop without end: each
/// step consumes a token, and there is no nesting beyond one pair of braces.
struct Parser: Sendable {
    var lexer: Lexer
    var sink: DiagnosticSink
    let bytes: [UInt8]
    let file: Int
    /// The token that is looked at.
    var token = Token(kind: .newline, start: 0, end: 0)
    /// Where the last consumed token ended.
    var previousEnd = 0
    /// The item words of the block that is being read, at which a list of bare words ends.
    var itemWords: [String] = []
    /// The duration or size that was read last, in the unit that it was written in.
    var takenText = ""

    static let statementWords = [
        "policy", "include", "securetcpip", "service", "refusal", "audit", "search-path", "networks", "users",
        "commands", "hours", "sandbox", "permit", "forbid",
    ]

    init(_ source: SourceFile, file: Int, sink: DiagnosticSink) {
        lexer = Lexer(source.bytes, file: file)
        self.sink = sink
        bytes = source.bytes
        self.file = file
    }

    /// Reads the whole file.
    mutating func parse() -> ParsedFile {
        advance()
        var statements: [Statement] = []
        while token.kind != .end {
            if token.kind == .newline {
                advance()
                continue
            }
            if let statement = parseStatement(isFirst: statements.isEmpty) { statements.append(statement) }
            if token.kind != .newline, token.kind != .end {
                sink.error(span(of: token), "the line should end here")
                skipStatement()
            }
        }
        return ParsedFile(number: file, statements: statements, comments: lexer.comments)
    }

    private mutating func parseStatement(isFirst: Bool) -> Statement? {
        let start = token
        guard token.kind == .word else {
            sink.error(span(of: token), "a statement starts with a word such as permit or service")
            skipStatement()
            return nil
        }
        let word = text(token)
        advance()
        let payload: (Statement.Payload, Statement.Layout)? =
            switch word {
            case "policy": parseVersion(start, isFirst: isFirst)
            case "include": parseInclude()
            case "securetcpip": parseSecureTCPIP()
            case "service": parseService()
            case "refusal": parseRefusal(start)
            case "audit": parseAudit(start)
            case "search-path": parseSearchPath()
            case "networks":
                parseSet(word, { $0.networkItem(allowsAny: false) }, { .networks($0) }, Self.text(of:))
            case "users":
                parseSet(word, { $0.userItem(.set) }, { .users($0) }, Self.text(of:))
            case "commands":
                parseSet(word, { $0.commandItem(allowsWords: false) }, { .commands($0) }, Self.text(of:))
            case "hours":
                parseSet(word, { $0.hoursItem() }, { .hours($0) }, Self.text(of:))
            case "sandbox": parseSandbox()
            case "permit": parseRule(.permit)
            case "forbid": parseRule(.forbid)
            default: unknownStatement(start, word)
            }
        if payload == nil { skipStatement() }
        return Statement(
            span: Span(file: file, start: start.start, end: max(previousEnd, start.end)),
            payload: payload?.0 ?? .broken, layout: payload?.1 ?? .line([]))
    }

    private mutating func unknownStatement(
        _ start: Token, _ word: String
    ) -> (Statement.Payload, Statement.Layout)? {
        sink.error(
            span(of: start), "'\(word)' is no statement", hint: Suggestion.hint(word, among: Self.statementWords))
        return nil
    }

    // MARK: Tokens

    mutating func advance() {
        previousEnd = token.kind == .newline ? previousEnd : token.end
        token = lexer.next(&sink)
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
        String(decoding: bytes[token.start..<token.end], as: UTF8.self)
    }

    /// Goes to the end of the statement: the end of the line outside braces.
    mutating func skipStatement() {
        var depth = 0
        while token.kind != .end {
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
        let value = StringText(bytes[token.start..<token.end])
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
        guard let word = takeWord("the name of \(what)") else { return nil }
        check(name: word)
        return word
    }

    mutating func check(name: Located<String>) {
        let bytes = Array(name.value.utf8)
        let isName =
            bytes.count <= RuleReference.nameLimit && bytes.first.map(Self.isLower) == true
            && bytes.allSatisfy { Self.isLower($0) || Self.isDigit($0) || $0 == UInt8(ascii: "-") }
        guard !isName else { return }
        sink.error(
            name.span, "'\(name.value)' is no name: a to z, then a to z, 0 to 9 and '-', at most 63 characters")
    }

    static func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    // MARK: Lists

    /// One item, or `{ a, b }`.
    mutating func parseList<Item>(_ item: (inout Parser) -> Located<Item>?) -> [Located<Item>] {
        var items: [Located<Item>] = []
        guard token.kind == .open else {
            if let only = item(&self) { items.append(only) }
            if token.kind == .comma {
                sink.error(span(of: token), "more than one item is written in braces", hint: "write { …, … }")
                while token.kind == .comma {
                    advance()
                    if let more = item(&self) { items.append(more) }
                }
            }
            return items
        }
        let open = span(of: token)
        advance()
        while true {
            switch token.kind {
            case .comma, .newline:
                advance()
                continue
            case .close:
                advance()
                if items.isEmpty, !hasError(in: open) { sink.error(open, "the braces hold nothing") }
                return items
            case .end:
                sink.error(open, "these braces are not closed")
                return items
            case .word, .string, .open:
                let before = token.start
                if let next = item(&self) { items.append(next) }
                if token.start == before { advance() }
            }
        }
    }

    /// Whether an error stands behind a place: then an empty list needs no error of its own.
    private func hasError(in open: Span) -> Bool {
        guard let last = sink.errors.last else { return false }
        return last.file == sink.name(of: open) && last.line >= sink.line(of: open)
    }

    // MARK: Items of sets and clauses

    mutating func networkItem(allowsAny: Bool) -> Located<NetworkItem>? {
        guard let word = takeWord("an address, a block or a set") else { return nil }
        if let set = setName(word) { return set.map { Located(value: .set($0), span: word.span) } }
        if word.value == "any" {
            guard allowsAny else {
                sink.error(word.span, "'any' stands in rules alone", hint: "write 0.0.0.0/0, ::/0")
                return nil
            }
            return Located(value: .any, span: word.span)
        }
        guard let block = block(word) else { return nil }
        return Located(value: .block(block), span: word.span)
    }

    private mutating func block(_ word: Located<String>) -> AddressBlock? {
        let parts = word.value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else {
            let looksNumeric = word.value.utf8.allSatisfy { Self.isDigit($0) || "./:abcdefABCDEF".utf8.contains($0) }
            sink.error(
                word.span,
                looksNumeric
                    ? "'\(word.value)' is no address"
                    : "'\(word.value)' is no address; names of hosts are never matched")
            return nil
        }
        guard parts.count > 1 else { return AddressBlock(address) }
        let digits = Array(parts[1].utf8)
        guard (1...3).contains(digits.count), digits.allSatisfy(Self.isDigit), let length = Int(parts[1]),
            (0...address.family.width).contains(length), digits.count == 1 || digits.first != UInt8(ascii: "0")
        else {
            sink.error(word.span, "the length of a block is 0 to \(address.family.width)")
            return nil
        }
        guard !(address.family == .v4 && first.contains(":")) else {
            sink.error(word.span, "a block of v4-mapped addresses is written as IPv4", hint: "write \(address)/…")
            return nil
        }
        guard let block = AddressBlock(base: address, prefixLength: length) else {
            let meant = AddressBlock(containing: address, prefixLength: length)
            sink.error(
                word.span, "\(word.value) has host bits set", hint: meant.map { "did you mean \($0.base)/\(length)?" })
            return nil
        }
        return block
    }

    /// Where a user item stands.
    enum UserPlace { case set, by, `as` }

    mutating func userItem(_ place: UserPlace) -> Located<UserItem>? {
        if token.kind == .string {
            guard let (text, span) = takeString("a name") else { return nil }
            return userName(text.bytes, span, place)
        }
        let what = place == .by ? "a name or a set" : "a name, a %group or a set"
        guard let word = takeWord(what) else { return nil }
        if let set = setName(word) { return set.map { Located(value: .set($0), span: word.span) } }
        switch word.value {
        case "any" where place != .set:
            return Located(value: .any, span: word.span)
        case "same" where place == .as:
            return Located(value: .same, span: word.span)
        case "any", "same":
            sink.error(
                word.span, "'\(word.value)' stands in \(word.value == "any" ? "rules" : "'as' clauses") alone",
                hint: "an account of that name is written in quotes")
            return nil
        default:
            return userName(Array(word.value.utf8), word.span, place)
        }
    }

    private mutating func userName(_ bytes: [UInt8], _ span: Span, _ place: UserPlace) -> Located<UserItem>? {
        if bytes.first == UInt8(ascii: "%") {
            let group = ByteText(Array(bytes.dropFirst()))
            guard place != .by else {
                sink.error(span, "a group says nothing of a remote user; %group is for targets")
                return nil
            }
            guard !group.isEmpty, group.count <= Self.groupNameLimit else {
                sink.error(span, "a group's name has 1 to \(Self.groupNameLimit) bytes")
                return nil
            }
            return Located(value: .group(group), span: span)
        }
        guard let name = UserName(bytes: bytes) else {
            sink.error(
                span, "this is no user name: a letter, digit or '_', then these and '. - $ @', at most 32 bytes")
            return nil
        }
        return Located(value: .name(name), span: span)
    }

    /// Bytes of a group's name, as frames carry it.
    private static let groupNameLimit = 256

    mutating func commandItem(allowsWords: Bool) -> Located<CommandItem>? {
        if token.kind == .word {
            let word = Located(value: text(token), span: span(of: token))
            advance()
            if let set = setName(word) { return set.map { Located(value: .set($0), span: word.span) } }
            switch word.value {
            case "any" where allowsWords: return Located(value: .any, span: word.span)
            case "shell" where allowsWords: return Located(value: .shell, span: word.span)
            case "any", "shell":
                sink.error(word.span, "'\(word.value)' stands in rules alone")
            default:
                let hint =
                    word.value.hasPrefix("/")
                    ? "write \(Self.quoted(word.value))"
                    : allowsWords ? Suggestion.hint(word.value, among: ["any", "shell"]) : nil
                sink.error(word.span, "a command is written in double quotes", hint: hint)
            }
            return nil
        }
        guard let (text, place) = takeString("a command") else { return nil }
        var splitter = PatternSplitter(text.bytes)
        switch splitter.pattern() {
        case .success(let pattern):
            return Located(value: .pattern(pattern), span: place)
        case .failure(let error):
            let (start, end) = text.range(error.range, within: Int(place.start))
            sink.error(Span(file: file, start: start, end: end), error.message, hint: error.hint)
            return nil
        }
    }

    mutating func hoursItem() -> Located<HoursItem>? {
        guard let days = takeWord("days and hours such as mon-fri 08:00-18:00") else { return nil }
        if let set = setName(days) { return set.map { Located(value: .set($0), span: days.span) } }
        let dayParts = days.value.split(separator: "-", omittingEmptySubsequences: false).map { String($0) }
        let numbers = dayParts.compactMap { WeeklyRange.dayNames.firstIndex(of: $0) }
        guard let firstDay = numbers.first, let lastDay = numbers.last, numbers.count == dayParts.count,
            numbers.count <= 2
        else {
            let wrong = dayParts.first { !WeeklyRange.dayNames.contains($0) } ?? days.value
            sink.error(
                days.span, "'\(days.value)' is no day or range of days such as mon-fri",
                hint: Suggestion.hint(wrong, among: WeeklyRange.dayNames))
            if token.kind == .word, text(token).contains(":") { advance() }
            return nil
        }
        guard let clock = takeWord("hours such as 08:00-18:00") else { return nil }
        let times = clock.value.split(separator: "-", omittingEmptySubsequences: false).map(Self.minute)
        guard times.count == 2, let start = times[0], let end = times[1], start < WeeklyRange.minutesOfDay else {
            sink.error(clock.span, "'\(clock.value)' are no hours: HH:MM-HH:MM, from 00:00 to 24:00")
            return nil
        }
        guard let range = WeeklyRange(firstDay: firstDay, lastDay: lastDay, start: start, end: end) else {
            sink.error(clock.span, "these hours are empty", hint: "the whole day is 00:00-24:00")
            return nil
        }
        return Located(value: .range(range), span: days.span.through(clock.span))
    }

    /// Minutes since midnight of `HH:MM`, 0 to 1440.
    private static func minute(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy(isDigit) }) else {
            return nil
        }
        guard let hour = Int(parts[0]), let minute = Int(parts[1]), hour <= 24, minute < 60 else { return nil }
        let total = hour * 60 + minute
        return total <= WeeklyRange.minutesOfDay ? total : nil
    }

    /// The set that a word names: nil where it names none, an inner nil where the name is wrong and reported.
    private mutating func setName(_ word: Located<String>) -> String?? {
        guard word.value.hasPrefix("@") else { return nil }
        let name = String(word.value.dropFirst())
        let errors = sink.errorCount
        check(name: Located(value: name, span: word.span))
        return sink.errorCount == errors ? .some(.some(name)) : .some(.none)
    }

    // MARK: Canonical text of items

    static func text(of item: NetworkItem) -> String {
        switch item {
        case .block(let block): block.description
        case .set(let name): "@" + name
        case .any: "any"
        }
    }

    static func text(of item: UserItem) -> String {
        switch item {
        case .name(let name):
            return name.description == "any" || name.description == "same"
                ? quoted(name.description) : name.description
        case .group(let group):
            let text = "%" + (group.text ?? group.printable)
            return group.bytes.allSatisfy(Lexer.isWord) ? text : quoted(text)
        case .set(let name): return "@" + name
        case .same: return "same"
        case .any: return "any"
        }
    }

    static func text(of item: CommandItem) -> String {
        switch item {
        case .pattern(let pattern): quoted(pattern.description)
        case .set(let name): "@" + name
        case .shell: "shell"
        case .any: "any"
        }
    }

    static func text(of item: HoursItem) -> String {
        switch item {
        case .range(let range): range.description
        case .set(let name): "@" + name
        }
    }

    static func clause<Item>(_ word: String, _ items: [Located<Item>]?, _ text: (Item) -> String) -> String? {
        guard let items else { return nil }
        guard let only = items.first, items.count == 1 else {
            return word + " { " + items.map { text($0.value) }.joined(separator: ", ") + " }"
        }
        return word + " " + text(only.value)
    }

    // MARK: Sets

    private mutating func parseSet<Item>(
        _ word: String, _ item: (inout Parser) -> Located<Item>?, _ payload: (SetSyntax<Item>) -> Statement.Payload,
        _ text: (Item) -> String
    ) -> (Statement.Payload, Statement.Layout)? {
        guard let name = takeName("a set") else { return nil }
        guard token.kind == .word, self.text(token) == "=" else {
            sink.error(span(of: token), "'=' is missing here, with a blank on either side")
            return nil
        }
        advance()
        guard token.kind == .open else {
            sink.error(span(of: token), "a set is written in braces: \(word) \(name.value) = { … }")
            return nil
        }
        let items = parseList(item)
        return (
            payload(SetSyntax(name: name, items: items)),
            .list(
                head: "\(word) \(name.value) =",
                items: items.map { Statement.Item(text: text($0.value), span: $0.span) })
        )
    }
}

/// A string's bytes without quotes and escapes, and where each of them stood.
struct StringText: Sendable {
    /// The bytes.
    private(set) var bytes: [UInt8] = []
    /// For each byte, how far from the opening quote it stood; one more for the end.
    private var offsets: [Int32] = []

    init(_ source: ArraySlice<UInt8>) {
        var escaped = false
        var inner = source.dropFirst()
        if source.count > 1, inner.last == UInt8(ascii: "\"") { inner = inner.dropLast() }
        for (offset, byte) in inner.enumerated() {
            if byte == UInt8(ascii: "\\"), !escaped {
                escaped = true
                continue
            }
            bytes.append(byte)
            offsets.append(Int32(clamping: offset + 1))
            escaped = false
        }
        offsets.append(Int32(clamping: inner.count + 1))
    }

    /// The text; a file was checked to be UTF-8.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Where a range of the bytes stands in the file, the string's opening quote being at `start`.
    func range(_ range: Range<Int>, within start: Int) -> (Int, Int) {
        let last = offsets.last ?? 0
        let low = offsets.indices.contains(range.lowerBound) ? offsets[range.lowerBound] : last
        let high = offsets.indices.contains(range.upperBound) ? offsets[range.upperBound] : last
        return (start + Int(low), start + Int(max(high, low)))
    }
}
