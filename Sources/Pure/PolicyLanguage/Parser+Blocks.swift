// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

// MARK: - Numbers

extension Parser {
    /// The longest time that is understood: 366 days.
    private static let durationLimit = 366 * 86_400_000

    /// A duration in milliseconds, more than 0: `500ms 10s 5m 2h 1d`.
    mutating func takeDuration() -> Int? {
        guard let word = takeWord("a duration such as 10s") else { return nil }
        let digits = word.value.prefix { $0.isASCII && $0.isNumber }
        let units = ["ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        guard !digits.isEmpty, let unit = units[String(word.value.dropFirst(digits.count))] else {
            sink.error(word.span, "'\(word.value)' is no duration: 500ms, 10s, 5m, 2h or 1d")
            return nil
        }
        let product = Int(digits)?.multipliedReportingOverflow(by: unit)
        guard let product, !product.overflow, product.partialValue <= Self.durationLimit else {
            sink.error(word.span, "'\(word.value)' is too long: at most 366d")
            return nil
        }
        guard product.partialValue > 0 else {
            sink.error(word.span, "a time of 0 is not allowed")
            return nil
        }
        takenText = String(product.partialValue / unit) + word.value.dropFirst(digits.count)
        return product.partialValue
    }

    /// A size in bytes, more than 0: `512K 64M 2G`, or bytes alone.
    mutating func takeSize() -> UInt64? {
        guard let word = takeWord("a size such as 64M") else { return nil }
        let digits = word.value.prefix { $0.isASCII && $0.isNumber }
        let units: [String: UInt64] = ["": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        guard !digits.isEmpty, let unit = units[String(word.value.dropFirst(digits.count))] else {
            sink.error(word.span, "'\(word.value)' is no size: 512K, 64M or 2G")
            return nil
        }
        let product = UInt64(digits)?.multipliedReportingOverflow(by: unit)
        // What rlim_t and off_t hold without a sign.
        guard let product, !product.overflow, product.partialValue <= UInt64(Int64.max) else {
            sink.error(word.span, "'\(word.value)' is too large")
            return nil
        }
        guard product.partialValue > 0 else {
            sink.error(word.span, "a size of 0 is not allowed")
            return nil
        }
        takenText = String(product.partialValue / unit) + word.value.dropFirst(digits.count)
        return product.partialValue
    }

    mutating func takeNumber(_ what: String, _ range: ClosedRange<Int>) -> Int? {
        guard let word = takeWord(what) else { return nil }
        let isNumber = word.value.utf8.allSatisfy(Self.isDigit)
        guard isNumber, let value = Int(word.value), range.contains(value) else {
            sink.error(word.span, "'\(word.value)' should be \(what), from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return value
    }
}

// MARK: - Blocks

extension Parser {
    /// `{ … }` with items of a word and its values; `item` reads the values and gives the item's canonical text.
    mutating func parseBlock(
        _ what: String, _ words: [String], _ item: (inout Parser, Located<String>) -> String?
    ) -> [BlockItem]? {
        guard token.kind == .open else {
            sink.error(span(of: token), "'{' is missing here: \(what) is a block")
            return nil
        }
        let open = span(of: token)
        advance()
        itemWords = words
        defer { itemWords = [] }
        var items: [BlockItem] = []
        var seen: [String: Span] = [:]
        while true {
            switch token.kind {
            case .newline, .comma:
                advance()
            case .close:
                advance()
                return items
            case .end:
                sink.error(open, "this '{' is not closed")
                return items
            case .string, .open:
                sink.error(span(of: token), "an item of \(what) starts with a word")
                skipItem()
            case .word where isAtStatement:
                sink.error(open, "this '{' is not closed")
                return items
            case .word:
                let word = Located(value: text(token), span: span(of: token))
                guard words.contains(word.value) else {
                    sink.error(
                        word.span, "'\(word.value)' is no item of \(what)",
                        hint: Suggestion.hint(word.value, among: words))
                    skipItem()
                    continue
                }
                advance()
                let key = word.value == "disable" ? "enable" : word.value
                if let first = seen[key] {
                    sink.error(
                        word.span,
                        "'\(word.value)' stands twice in this block; the first is in line \(sink.line(of: first))")
                }
                seen[key] = word.span
                guard let text = item(&self, word) else {
                    skipItem()
                    continue
                }
                items.append(
                    BlockItem(text: text, span: Span(file: file, start: Int(word.span.start), end: previousEnd)))
            }
        }
    }

    /// Goes to the end of an item: a newline, the next item's word, or the block's own end.
    private mutating func skipItem() {
        var depth = 0
        while token.kind != .end, !isAtStatement {
            switch token.kind {
            case .open: depth += 1
            case .close:
                if depth == 0 { return }
                depth -= 1
            case .newline where depth == 0: return
            case .word where depth == 0 && itemWords.contains(text(token)): return
            default: break
            }
            advance()
        }
    }

    /// A list of bare words, to the end of the item.
    ///
    /// A comma that an item's word follows separates items, any other continues the list, in a block over a line's end
    /// too.
    mutating func parseWords<Value>(
        _ what: String, endsAtItems: Bool = true, continuesOverLines: Bool = true, _ element: (inout Parser) -> Value?
    ) -> [Value]? {
        var values: [Value] = []
        var isGood = true
        var count = 0
        while token.kind == .word || token.kind == .string, !isAtStatement {
            if count > 0, endsAtItems, token.kind == .word, itemWords.contains(text(token)) { break }
            count += 1
            let before = token.start
            if let value = element(&self) { values.append(value) } else { isGood = false }
            if token.start == before { advance() }
            guard token.kind == .comma else { continue }
            advance()
            while token.kind == .newline, continuesOverLines, !itemWords.isEmpty { advance() }
        }
        if count == 0 { sink.error(span(of: token), "\(what) is missing here") }
        return isGood && count > 0 ? values : nil
    }

    // MARK: Statements of one line

    mutating func parseVersion(_ start: Token, isFirst: Bool) -> (payload: Statement.Payload, layout: Layout)? {
        if !isFirst { sink.error(span(of: start), "'policy' is the first statement or none") }
        guard let version = takeWord("the version of the language, 1") else { return nil }
        if version.value != "1" {
            sink.error(version.span, "this is no version that is known here; the language is at version 1")
        }
        return (.version, .line("policy 1"))
    }

    mutating func parseInclude() -> (payload: Statement.Payload, layout: Layout)? {
        guard let (value, place) = takeString("the name of a file") else { return nil }
        guard !value.bytes.isEmpty, value.bytes.count <= 4_096 else {
            sink.error(place, "a file's name has 1 to 4,096 bytes")
            return nil
        }
        return (.include(pattern: value.text), .line("include \(Self.quoted(value.text))"))
    }

    mutating func parseSecureTCPIP() -> (payload: Statement.Payload, layout: Layout)? {
        guard let choice = takeChoice(["on", "off"]) else { return nil }
        var value = SecureTCPIP()
        value.isOn = choice == 0
        guard token.kind == .word else {
            return (.secureTCPIP(value), .line("securetcpip \(value.isOn ? "on" : "off")"))
        }
        let except = Located(value: text(token), span: span(of: token))
        guard except.value == "except" else {
            sink.error(
                except.span, "'except' or the end of the line belongs here",
                hint: Suggestion.hint(except.value, among: ["except"]))
            return nil
        }
        advance()
        if !value.isOn { sink.error(except.span, "'except' gives back what 'on' takes away; nothing is off here") }
        var places: [SecureTCPIP.Exception: Span] = [:]
        let names = SecureTCPIP.Exception.allCases.map(\.name)
        let parsed = parseWords("what is given back") { parser -> Bool? in
            let place = parser.span(of: parser.token)
            guard let index = parser.takeChoice(names) else { return nil }
            let exception = SecureTCPIP.Exception.allCases[index]
            if places[exception] != nil {
                parser.sink.error(place, "'\(exception.name)' is given back twice")
            }
            places[exception] = place
            return true
        }
        guard parsed != nil else { return nil }
        value.exceptions = Set(places.keys)
        if let rhosts = places[.rhosts], places[.rsh] == nil {
            sink.error(rhosts, "'rhosts' without 'rsh' gives back nothing", hint: "write except rsh, rhosts")
        }
        let listed = SecureTCPIP.Exception.allCases.filter { value.exceptions.contains($0) }.map(\.name)
        return (.secureTCPIP(value), .line("securetcpip on except " + listed.joined(separator: ", ")))
    }

    mutating func parseSearchPath() -> (payload: Statement.Payload, layout: Layout)? {
        guard let directories = takeDirectories() else { return nil }
        return (
            .searchPath(directories.map { ByteText($0) }), .line("search-path " + directories.joined(separator: ":"))
        )
    }

    /// `/usr/bin:/bin`.
    mutating func takeDirectories() -> [String]? {
        guard let word = takeWord("directories such as /usr/bin:/bin") else { return nil }
        let parts = word.value.split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
        guard parts.count <= 64, word.value.utf8.count <= 4_096 else {
            sink.error(word.span, "at most 64 directories and 4,096 bytes")
            return nil
        }
        for part in parts where !AbsolutePath.isPlain(ByteText(part)) {
            sink.error(word.span, "'\(part)' is no absolute directory without '.' and '..'")
            return nil
        }
        return parts
    }

    // MARK: Service

    private static let commonItems = [
        "enable", "disable", "listen", "stderr-channel", "handshake-timeout", "authentication-timeout",
        "command-length", "sessions",
    ]
    private static let rexecItems = commonItems + ["authenticate"]
    private static let rshItems =
        commonItems + ["trust", "names", "source-port", "account", "authenticate", "password-field"]

    /// The most listeners of a service, as frames carry them.
    private static let listenerLimit = 64

    mutating func parseService() -> (payload: Statement.Payload, layout: Layout)? {
        guard token.kind == .word, let service = Service(name: text(token)) else {
            sink.error(
                span(of: token), "the service is missing here: rexec or rsh",
                hint: token.kind == .word ? Suggestion.hint(text(token), among: ["rexec", "rsh"]) : nil)
            return nil
        }
        var syntax = ServiceSyntax(settings: ServiceSettings(service), nameSpan: span(of: token), itemSpans: [:])
        advance()
        let words = service == .rexec ? Self.rexecItems : Self.rshItems
        let items = parseBlock("service \(service.name)", words) { parser, word in
            syntax.itemSpans[word.value] = word.span
            guard let text = parser.serviceItem(word.value, &syntax.settings) else { return nil }
            return text.isEmpty ? word.value : word.value + " " + text
        }
        guard let items else { return nil }
        return (.service(syntax), .block("service \(service.name)", items))
    }

    /// Reads an item's values; gives their canonical text.
    private mutating func serviceItem(_ word: String, _ settings: inout ServiceSettings) -> String? {
        switch word {
        case "enable", "disable":
            settings.isEnabled = word == "enable"
            return ""
        case "listen":
            guard let listeners = parseListeners() else { return nil }
            settings.listeners = listeners
            return listeners.map(\.description).joined(separator: ", ")
        case "authenticate":
            guard let choice = takeChoice(["pam", "file"]) else { return nil }
            if choice == 0 {
                guard let name = takePAMService() else { return nil }
                settings.authentication = .pam(name)
                return "pam \(Self.quoted(name))"
            }
            guard let path = takePath() else { return nil }
            settings.authentication = .file(ByteText(path))
            return "file \(Self.quoted(path))"
        case "trust":
            guard let choice = takeChoice(["rhosts", "file", "rule"]) else { return nil }
            switch choice {
            case 0:
                settings.trust = .rhosts
                return "rhosts"
            case 1:
                guard let path = takePath() else { return nil }
                settings.trust = .file(ByteText(path))
                return "file \(Self.quoted(path))"
            default:
                settings.trust = .rule
                return "rule"
            }
        case "names":
            let names = ["refuse", "hosts-file", "dns"]
            guard let choice = takeChoice(names) else { return nil }
            settings.names = [.refuse, .hostsFile, .dns][choice]
            return names[choice]
        case "source-port":
            guard let choice = takeChoice(["reserved", "any"]) else { return nil }
            settings.requiresReservedSourcePort = choice == 0
            return choice == 0 ? "reserved" : "any"
        case "account":
            guard let choice = takeChoice(["pam", "none"]) else { return nil }
            guard choice == 0 else {
                settings.accountManagement = .none
                return "none"
            }
            guard let name = takePAMService() else { return nil }
            settings.accountManagement = .pam(name)
            return "pam \(Self.quoted(name))"
        case "password-field":
            guard let choice = takeChoice(["on", "off"]) else { return nil }
            settings.takesPasswordField = choice == 0
            return choice == 0 ? "on" : "off"
        case "stderr-channel":
            guard let choice = takeChoice(["on", "off"]) else { return nil }
            settings.offersStderrChannel = choice == 0
            return choice == 0 ? "on" : "off"
        case "handshake-timeout":
            guard let time = takeDuration() else { return nil }
            settings.handshakeTimeout = time
            return takenText
        case "authentication-timeout":
            guard let time = takeDuration() else { return nil }
            settings.authenticationTimeout = time
            return takenText
        case "command-length":
            guard let length = takeNumber("a number of bytes", 1...ServiceSettings.commandLengthLimit) else {
                return nil
            }
            settings.commandLength = length
            return String(length)
        case "sessions":
            return sessionsItem(&settings)
        default:
            return nil
        }
    }

    private mutating func sessionsItem(_ settings: inout ServiceSettings) -> String? {
        guard let all = takeNumber("a number of sessions", 1...100_000) else { return nil }
        settings.sessions = all
        settings.sessionsPerSource = min(settings.sessionsPerSource, all)
        guard token.kind == .word, !itemWords.contains(text(token)) else { return String(all) }
        guard isAt("per-source") else {
            sink.error(
                span(of: token), "'per-source' or the end of the item belongs here",
                hint: Suggestion.hint(text(token), among: ["per-source"]))
            return nil
        }
        advance()
        guard let one = takeNumber("a number of sessions", 1...100_000) else { return nil }
        settings.sessionsPerSource = one
        return "\(all) per-source \(one)"
    }

    private mutating func parseListeners() -> [Endpoint]? {
        var seen = Set<Endpoint>()
        let start = span(of: token)
        let listeners = parseWords("an address and a port such as 127.0.0.1:512") { parser -> Endpoint? in
            guard let word = parser.takeWord("an address and a port") else { return nil }
            guard let endpoint = Endpoint(word.value), endpoint.port > 0 else {
                parser.sink.error(
                    word.span, "'\(word.value)' is no address and port such as 127.0.0.1:512 or [::1]:512")
                return nil
            }
            guard seen.insert(endpoint).inserted else {
                parser.sink.error(word.span, "'\(word.value)' stands twice")
                return nil
            }
            return endpoint
        }
        guard let listeners, listeners.count <= Self.listenerLimit else {
            if listeners != nil { sink.error(start, "at most \(Self.listenerLimit) listeners") }
            return nil
        }
        return listeners
    }

    /// A PAM service: the name of a file in /etc/pam.d.
    private mutating func takePAMService() -> String? {
        guard let (value, place) = takeString("the name of a PAM service") else { return nil }
        let isPlain = value.bytes.allSatisfy { byte in
            Self.isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
        guard isPlain, (1...64).contains(value.bytes.count), value.bytes.first != UInt8(ascii: ".") else {
            sink.error(place, "a PAM service is the name of a file in /etc/pam.d")
            return nil
        }
        return value.text
    }

    private mutating func takePath() -> String? {
        guard let (value, place) = takeString("the name of a file") else { return nil }
        guard (1...4_096).contains(value.bytes.count) else {
            sink.error(place, "a file's name has 1 to 4,096 bytes")
            return nil
        }
        return value.text
    }

    // MARK: Refusal, audit

    mutating func parseRefusal(_ start: Token) -> (payload: Statement.Payload, layout: Layout)? {
        var settings = RefusalSettings()
        let items = parseBlock("refusal", ["delay", "rexec", "rsh"]) { parser, word in
            switch word.value {
            case "delay":
                guard let time = parser.takeDuration() else { return nil }
                settings.delay = time
                return "delay " + parser.takenText
            default:
                guard let text = parser.takeRefusalText() else { return nil }
                if word.value == "rexec" { settings.rexecText = text } else { settings.rshText = text }
                return word.value + " " + Self.quoted(text)
            }
        }
        return items.map { (.refusal(settings), .block("refusal", $0)) }
    }

    private mutating func takeRefusalText() -> String? {
        guard let (value, place) = takeString("a line of text") else { return nil }
        guard value.bytes.count <= 512, value.bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            sink.error(place, "a refusal is one line of at most 512 printable ASCII characters")
            return nil
        }
        return value.text
    }

    mutating func parseAudit(_ start: Token) -> (payload: Statement.Payload, layout: Layout)? {
        var settings = AuditSettings()
        let names = ["kernel", "durability", "on-failure", "checkpoint", "segment-size"]
        let items = parseBlock("audit", names) { parser, word in
            func choose(_ words: [String], _ set: (Int) -> Void) -> String? {
                guard let choice = parser.takeChoice(words) else { return nil }
                set(choice)
                return word.value + " " + words[choice]
            }
            switch word.value {
            case "kernel":
                return choose(["auto", "require", "off"]) { settings.kernel = [.auto, .require, .off][$0] }
            case "durability":
                return choose(["sync", "batch"]) { settings.durability = [.sync, .batch][$0] }
            case "on-failure":
                return choose(["refuse", "continue"]) { settings.onFailure = [.refuse, .goOn][$0] }
            case "checkpoint":
                guard let time = parser.takeDuration() else { return nil }
                settings.checkpoint = time
                return "checkpoint " + parser.takenText
            default:
                let place = parser.span(of: parser.token)
                guard let size = parser.takeSize() else { return nil }
                guard AuditSettings.segmentSizes.contains(size) else {
                    parser.sink.error(place, "a segment of the trail has 64K to 1024G")
                    return nil
                }
                settings.segmentSize = size
                return "segment-size " + parser.takenText
            }
        }
        return items.map { (.audit(settings), .block("audit", $0)) }
    }
}
