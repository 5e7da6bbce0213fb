// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Policy

/// One line of a `.test` file: a request, and what is expected of the policy.
public struct PolicyTest: Sendable {
    /// What is expected.
    public enum Expectation: Sendable, Hashable {
        /// A permit, by this rule.
        case permit(rule: String)
        /// A refusal for this reason; of a forbid, by this rule where one is named.
        case deny(Reason, rule: String?)

        /// As the file says it.
        public var text: String {
            switch self {
            case .permit(let rule): "permit \(rule)"
            case .deny(let reason, let rule): "deny \(reason.name)" + (rule.map { " \($0)" } ?? "")
            }
        }
    }

    /// Where it stands.
    public var place: FilePlace
    /// What is expected.
    public var expectation: Expectation
    /// The request.
    public var request: Request

    /// What the policy says instead of what is expected; nil where it says that.
    public func failure(under policy: Policy) -> String? {
        let decision = policy.decide(request)
        switch (expectation, decision) {
        case (.permit(let rule), .permit(let terms)) where terms.rule.name == rule: return nil
        case (.deny(let reason, let rule), .deny(let denial)) where reason == denial.reason:
            guard let rule, rule != denial.rule?.name else { return nil }
        default: break
        }
        return "expected \(expectation.text), and the policy says \(Self.text(decision))"
    }

    /// A decision as a `.test` file would expect it.
    public static func text(_ decision: Decision) -> String {
        switch decision {
        case .permit(let terms): "permit \(terms.rule.name)"
        case .deny(let denial): "deny \(denial.reason.name)" + (denial.rule.map { " \($0.name)" } ?? "")
        }
    }
}

/// What came of reading a `.test` file.
public struct PolicyTestFile: Sendable {
    /// The tests, in order.
    public var tests: [PolicyTest]
    /// What is wrong with the file.
    public var diagnostics: [Diagnostic]

    /// Reads a `.test` file.
    ///
    /// - Parameter now: the time of requests that state none.
    public init(_ file: SourceFile, now: LocalTime) {
        let sink = DiagnosticSink()
        tests = []
        let number = sink.add(file)
        if let offset = TextCheck.firstForeign(file.bytes) {
            sink.error(Span(file: number, start: offset, end: offset + 1), "these bytes are not UTF-8 text")
        } else {
            var parser = Parser(file, file: number, sink: sink)
            tests = parser.parseTests(now: now)
        }
        diagnostics = sink.sorted
    }
}

extension Parser {
    fileprivate mutating func parseTests(now: LocalTime) -> [PolicyTest] {
        var tests: [PolicyTest] = []
        advance()
        while token.kind != .end {
            if token.kind == .newline {
                advance()
                continue
            }
            if let test = parseTest(now: now) { tests.append(test) } else { skipStatement() }
            if token.kind != .newline, token.kind != .end {
                sink.error(span(of: token), "the line should end here")
                skipStatement()
            }
        }
        return tests
    }

    private mutating func parseTest(now: LocalTime) -> PolicyTest? {
        let start = span(of: token)
        guard let expect = takeWord("'expect'") else { return nil }
        guard expect.value == "expect" else {
            sink.error(
                expect.span, "a test starts with 'expect'", hint: Suggestion.hint(expect.value, among: ["expect"]))
            return nil
        }
        guard let expectation = takeExpectation() else { return nil }
        guard let choice = takeChoice(["rexec", "rsh"]) else { return nil }
        var sketch = RequestSketch(service: choice == 0 ? .rexec : .rsh)
        guard parseClauses(&sketch) else { return nil }
        guard let request = sketch.request(now: now) else {
            sink.error(start, "a test states 'from', 'as' and 'run'")
            return nil
        }
        if sketch.service == .rexec, let by = sketch.remoteUser {
            sink.error(by.span, "REXEC carries no remote user")
        }
        if sketch.service == .rsh, let pool = sketch.pool { sink.error(pool.span, "a guest comes by REXEC") }
        let place = FilePlace(file: sink.name(of: start), line: sink.line(of: start))
        return PolicyTest(place: place, expectation: expectation, request: request)
    }

    /// `permit NAME:` or `deny REASON [NAME]:`.
    private mutating func takeExpectation() -> PolicyTest.Expectation? {
        guard let effect = takeChoice(["permit", "deny"]) else { return nil }
        guard var word = takeWord(effect == 0 ? "the rule" : "the reason") else { return nil }
        var ended = takeColon(&word)
        if effect == 0 {
            guard ended else { return missingColon(word) }
            check(name: word)
            return .permit(rule: word.value)
        }
        let reasons: [Reason] = [.serviceDisabled, .forbidden, .needsShell, .commandNotFound, .noRule]
        guard let reason = reasons.first(where: { $0.name == word.value }) else {
            sink.error(
                word.span, "'\(word.value)' is none of the engine's reasons: \(Self.list(reasons.map(\.name)))",
                hint: Suggestion.hint(word.value, among: reasons.map(\.name)))
            return nil
        }
        guard !ended else { return .deny(reason, rule: nil) }
        guard var rule = takeWord("the forbid's name, or ':'") else { return nil }
        ended = takeColon(&rule)
        guard ended else { return missingColon(rule) }
        check(name: rule)
        if reason != .forbidden { sink.error(rule.span, "only 'forbidden' has a rule") }
        return .deny(reason, rule: rule.value)
    }

    private mutating func missingColon(_ word: Located<String>) -> PolicyTest.Expectation? {
        sink.error(word.span, "a ':' ends what is expected", hint: "write \(word.value):")
        return nil
    }

    private func takeColon(_ word: inout Located<String>) -> Bool {
        guard word.value.hasSuffix(":") else { return false }
        word.value.removeLast()
        word.span.end -= 1
        return true
    }

    private mutating func parseClauses(_ sketch: inout RequestSketch) -> Bool {
        let words = ["from", "by", "as", "pool", "groups", "run", "at"]
        itemWords = words
        defer { itemWords = [] }
        var seen = Set<String>()
        while token.kind == .word {
            let word = Located(value: text(token), span: span(of: token))
            advance()
            guard words.contains(word.value) else {
                sink.error(
                    word.span, "'\(word.value)' is no part of a request",
                    hint: Suggestion.hint(word.value, among: words))
                return false
            }
            if !seen.insert(word.value).inserted { sink.error(word.span, "'\(word.value)' stands twice") }
            guard parseClause(word.value, &sketch) else { return false }
        }
        return true
    }

    private mutating func parseClause(_ clause: String, _ sketch: inout RequestSketch) -> Bool {
        switch clause {
        case "from":
            guard let word = takeWord("an address") else { return false }
            guard let endpoint = RequestText.endpoint(word.value) else {
                sink.error(word.span, "'\(word.value)' is no address, nor address and port")
                return false
            }
            sketch.source = endpoint
        case "by", "as":
            guard let name = takeUser() else { return false }
            if clause == "by" { sketch.remoteUser = name } else { sketch.target = name.value }
        case "pool":
            guard let name = takeName("a pool") else { return false }
            sketch.pool = name
        case "groups":
            // A test is a line: a comma at its end does not take the next test's words for groups.
            let groups = parseWords("a group", continuesOverLines: false) { parser in
                parser.takeWord("a group").map { ByteText($0.value) }
            }
            guard let groups else { return false }
            sketch.groups = groups
        case "run":
            guard let (text, _) = takeString("a command") else { return false }
            sketch.command = RequestText.command(text.bytes)
        default:
            guard let word = takeWord("a time such as 2026-11-20T23:30") else { return false }
            guard let time = RequestText.time(word.value) else {
                sink.error(word.span, "'\(word.value)' is no time such as 2026-11-20T23:30")
                return false
            }
            sketch.time = time
        }
        return true
    }

    private mutating func takeUser() -> Located<UserName>? {
        if token.kind == .string {
            guard let (text, place) = takeString("a name") else { return nil }
            if let name = UserName(bytes: text.bytes) { return Located(value: name, span: place) }
            sink.error(place, "this is no user name")
            return nil
        }
        guard let word = takeWord("a name") else { return nil }
        guard let name = UserName(word.value) else {
            sink.error(word.span, "'\(word.value)' is no user name")
            return nil
        }
        return Located(value: name, span: word.span)
    }
}

/// A request as far as it has been read.
private struct RequestSketch {
    var service: Service
    var source: Endpoint?
    var remoteUser: Located<UserName>?
    var target: UserName?
    var groups: [ByteText] = []
    var pool: Located<String>?
    var command: RequestedCommand?
    var time: LocalTime?

    func request(now: LocalTime) -> Request? {
        guard let source, let target, let command else { return nil }
        var account = RequestText.account(target, groups: groups)
        account.pool = pool?.value
        return Request(
            service: service, source: source.address, sourcePort: source.port, remoteUser: remoteUser?.value,
            target: account, command: command, time: time ?? now)
    }
}

/// Requests as people write them, where no host is asked: in policy tests and for `explain`.
public enum RequestText {
    /// `ADDR`, `ADDR:PORT` or `[ADDR]:PORT`; the port is 1023 where none is given.
    public static func endpoint(_ text: String) -> Endpoint? {
        if let address = IPAddress(text) { return Endpoint(address: address, port: 1_023) }
        if let endpoint = Endpoint(text) { return endpoint }
        guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
        return IPAddress(text.dropFirst().dropLast()).map { Endpoint(address: $0, port: 1_023) }
    }

    /// An account that is not looked up: uid 0 only if it is `root`, and no system account.
    public static func account(_ name: UserName, groups: [ByteText]) -> Account {
        Account(name: name, uid: name == .root ? 0 : 1_000, groups: groups, isSystem: false)
    }

    /// A command whose program is not looked up: a first word without `/` is `/usr/bin/WORD`, and every path that can
    /// be a program's is one.
    public static func command(_ string: [UInt8]) -> RequestedCommand {
        switch CommandLine(string) {
        case .needsShell(let need):
            return .needsShell(firstWord: need.firstWord)
        case .words(let words):
            return .words(words, program: words.first.flatMap { program($0) })
        }
    }

    /// The program that a first word names, without a look at the host; nil where it can name none.
    public static func program(_ word: ByteText) -> RequestedCommand.Program? {
        let path = word.bytes.contains(UInt8(ascii: "/")) ? word : ByteText(Array("/usr/bin/".utf8) + word.bytes)
        guard AbsolutePath.isPlain(path), path.bytes.last != UInt8(ascii: "/") else { return nil }
        let normalized = CommandPattern.normalized(path)
        return RequestedCommand.Program(path: normalized, resolvedPath: normalized)
    }

    /// `2026-11-20T23:30`, with seconds or without: a moment in the gateway's local time.
    public static func time(_ text: String) -> LocalTime? {
        let halves = text.split(separator: "T", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let date = halves[0].split(separator: "-", omittingEmptySubsequences: false).map { number($0) }
        let clock = halves[1].split(separator: ":", omittingEmptySubsequences: false).map { number($0) }
        guard date.count == 3, let year = date[0], let month = date[1], let day = date[2] else { return nil }
        guard clock.count == 2 || clock.count == 3, let hour = clock[0], let minute = clock[1] else { return nil }
        if clock.count == 3 {
            guard let second = clock[2], second < 60 else { return nil }
        }
        guard (1_583...9_999).contains(year), (1...12).contains(month), hour < 24, minute < 60 else { return nil }
        let isLeap = year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1...lengths[month - 1]).contains(day) else { return nil }
        // Sakamoto's congruence, 0 for Sunday.
        let offsets = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4]
        let shifted = month < 3 ? year - 1 : year
        let weekday = (shifted + shifted / 4 - shifted / 100 + shifted / 400 + offsets[month - 1] + day) % 7
        return LocalTime(weekday: weekday, minute: hour * 60 + minute)
    }

    /// A request as a line of a policy test has it, without what is expected; an account that no such line can say is
    /// said in a comment.
    ///
    /// - Parameter hasTime: whether the time is told: it is a moment of a week of its own.
    public static func line(_ request: Request, hasTime: Bool) -> String {
        let command: String =
            switch request.command {
            case .words(let words, _): words.map { CommandPattern.quoted($0) }.joined(separator: " ")
            case .needsShell(let word): "\(word.map { CommandPattern.quoted($0) } ?? "id"); id"
            }
        var line = "\(request.service.name) from \(request.source)"
        if let remoteUser = request.remoteUser { line += " by \(remoteUser)" }
        line += " as \(request.target.name)"
        if let pool = request.target.pool { line += " pool \(pool)" }
        let groups = request.target.groups.map { $0.text ?? $0.printable }
        if !groups.isEmpty { line += " groups \(groups.joined(separator: ","))" }
        line += " run \(Parser.quoted(command))"
        if hasTime { line += " at \(time(request.time))" }
        if request.target.uid == 0, request.target.name != .root {
            line += "  # with uid 0"
        } else if request.target.isSystem, request.target.name != .root {
            line += "  # a system account"
        }
        return line
    }

    /// The moment in a week that begins on Sunday, 2026-11-22.
    private static func time(_ time: LocalTime) -> String {
        let (hour, minute) = time.minute.quotientAndRemainder(dividingBy: 60)
        return "2026-11-\(22 + time.weekday)T\(hour < 10 ? "0" : "")\(hour):\(minute < 10 ? "0" : "")\(minute)"
    }

    private static func number(_ text: Substring) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text)
    }
}
