// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Items of sets and clauses.
extension Parser {
    mutating func networkItem(allowsAny: Bool) -> Located<NetworkItem>? {
        let place = span(of: token)
        guard token.kind == .word else {
            sink.error(place, "an address, a block or a set is missing here")
            if token.kind == .string { advance() }
            return nil
        }
        let word = bytes(token)
        if word.first == UInt8(ascii: "@") { return setName().map { Located(value: .set($0), span: place) } }
        if isAt("any") {
            advance()
            guard allowsAny else {
                sink.error(place, "'any' stands in rules alone", hint: "write 0.0.0.0/0, ::/0")
                return nil
            }
            return Located(value: .any, span: place)
        }
        advance()
        return block(word, place).map { Located(value: .block($0), span: place) }
    }

    /// `ADDRESS` or `ADDRESS/LENGTH`.
    private mutating func block(_ word: ArraySlice<UInt8>, _ place: Span) -> AddressBlock? {
        let slash = word.firstIndex(of: UInt8(ascii: "/")) ?? word.endIndex
        let first = word[..<slash]
        guard let address = IPAddress(ascii: first) else {
            let text = String(decoding: word, as: UTF8.self)
            let looksNumeric = word.allSatisfy { Self.isDigit($0) || "./:abcdefABCDEF".utf8.contains($0) }
            sink.error(
                place,
                looksNumeric ? "'\(text)' is no address" : "'\(text)' is no address; names of hosts are never matched",
                hint: Suggestion.hint(text, among: ["any"]))
            return nil
        }
        guard slash < word.endIndex else { return AddressBlock(address) }
        let digits = word[slash...].dropFirst()
        guard let length = Self.prefixLength(digits), length <= address.family.width else {
            sink.error(place, "the length of a block is 0 to \(address.family.width)")
            return nil
        }
        guard !(address.family == .v4 && first.contains(UInt8(ascii: ":"))) else {
            sink.error(place, "a block of v4-mapped addresses is written as IPv4", hint: "write \(address)/…")
            return nil
        }
        guard let block = AddressBlock(base: address, prefixLength: length) else {
            let meant = AddressBlock(containing: address, prefixLength: length)
            sink.error(
                place, "\(String(decoding: word, as: UTF8.self)) has host bits set",
                hint: meant.map { "did you mean \($0.base)/\(length)?" })
            return nil
        }
        return block
    }

    /// One to three digits without a leading zero.
    private static func prefixLength(_ digits: ArraySlice<UInt8>) -> Int? {
        guard (1...3).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
        var length = 0
        for digit in digits {
            guard isDigit(digit) else { return nil }
            // INVARIANT: at most three digits, so at most 999.
            length = length * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return length
    }

    /// Where a user item stands.
    enum UserPlace {
        case set, by, `as`, pool

        /// What may stand there.
        var items: String {
            switch self {
            case .by: "a name or a set"
            case .pool: "a name"
            case .set, .as: "a name, a %group or a set"
            }
        }
    }

    /// An item of a set, of a clause or of a pool.
    mutating func userItem(_ position: UserPlace) -> Located<UserItem>? {
        if token.kind == .string {
            guard let (text, place) = takeString("a name") else { return nil }
            return userName(text.bytes, place, position)
        }
        let place = span(of: token)
        guard token.kind == .word else {
            sink.error(place, "\(position.items) is missing here")
            return nil
        }
        let word = bytes(token)
        if word.first == UInt8(ascii: "@"), position != .pool {
            return setName().map { Located(value: .set($0), span: place) }
        }
        let (isAny, isSame, isPool) = (isAt("any"), isAt("same"), isAt("pool"))
        advance()
        if isPool, position == .as {
            return takeName("a pool").map { Located(value: .pool($0.value), span: place.through($0.span)) }
        }
        guard isAny || isSame || isPool else { return userName(Array(word), place, position) }
        if isAny, position == .by || position == .as { return Located(value: .any, span: place) }
        if isSame, position == .as { return Located(value: .same, span: place) }
        sink.error(
            place, isAny ? "'any' stands in rules alone" : "'\(isSame ? "same" : "pool")' stands in 'as' clauses alone",
            hint: "an account of that name is written in quotes")
        return nil
    }

    private mutating func userName(_ bytes: [UInt8], _ span: Span, _ place: UserPlace) -> Located<UserItem>? {
        if bytes.first == UInt8(ascii: "%") {
            let group = ByteText(Array(bytes.dropFirst()))
            guard place != .pool else {
                sink.error(span, "a pool holds accounts by their names, no groups")
                return nil
            }
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
            if word.value.utf8.first == UInt8(ascii: "@") {
                return setName().map { Located(value: .set($0), span: word.span) }
            }
            advance()
            switch word.value {
            case "any" where allowsWords: return Located(value: .any, span: word.span)
            case "shell" where allowsWords: return Located(value: .shell, span: word.span)
            case "any", "shell":
                sink.error(word.span, "'\(word.value)' stands in rules alone")
            case _ where word.value.utf8.first == UInt8(ascii: "/"):
                // The words behind it are its arguments, as far as they are no clause.
                var place = word.span
                while token.kind == .word, ClauseWord(bytes(token)) == nil, !isAtStatement {
                    place = place.through(span(of: token))
                    advance()
                }
                let command = String(decoding: bytes[Int(place.start)..<Int(place.end)], as: UTF8.self)
                sink.error(
                    place, "a command is written in double quotes", hint: "write \(Self.quoted(command))")
            default:
                sink.error(
                    word.span, "a command is written in double quotes",
                    hint: allowsWords ? Suggestion.hint(word.value, among: ["any", "shell"]) : nil)
            }
            return nil
        }
        let source = bytes(token)
        guard let (text, place) = takeString("a command") else { return nil }
        var splitter = PatternSplitter(text.bytes)
        switch splitter.pattern() {
        case .success(let pattern):
            return Located(value: .pattern(pattern), span: place)
        case .failure(let error):
            let range = StringText.place(of: error.range, in: source)
            sink.error(
                Span(file: file, start: range.lowerBound, end: range.upperBound), error.message, hint: error.hint)
            return nil
        }
    }

    mutating func hoursItem() -> Located<HoursItem>? {
        let place = span(of: token)
        guard token.kind == .word else {
            sink.error(place, "days and hours such as mon-fri 08:00-18:00 are missing here")
            if token.kind == .string { advance() }
            return nil
        }
        let days = bytes(token)
        if days.first == UInt8(ascii: "@") { return setName().map { Located(value: .set($0), span: place) } }
        advance()
        guard let (firstDay, lastDay) = Self.pair(days, Self.day) else {
            let text = String(decoding: days, as: UTF8.self)
            let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { String($0) }
            let wrong = parts.first { !WeeklyRange.dayNames.contains($0) } ?? text
            sink.error(
                place, "'\(text)' is no day or range of days such as mon-fri",
                hint: Suggestion.hint(wrong, among: WeeklyRange.dayNames))
            if token.kind == .word, bytes(token).contains(UInt8(ascii: ":")) { advance() }
            return nil
        }
        let clockPlace = span(of: token)
        guard token.kind == .word else {
            sink.error(clockPlace, "hours such as 08:00-18:00 are missing here")
            return nil
        }
        let clock = bytes(token)
        advance()
        guard clock.contains(UInt8(ascii: "-")), let (start, end) = Self.pair(clock, Self.minute),
            start < WeeklyRange.minutesOfDay
        else {
            let text = String(decoding: clock, as: UTF8.self)
            sink.error(clockPlace, "'\(text)' are no hours: HH:MM-HH:MM, from 00:00 to 24:00")
            return nil
        }
        guard let range = WeeklyRange(firstDay: firstDay, lastDay: lastDay, start: start, end: end) else {
            sink.error(clockPlace, "these hours are empty", hint: "the whole day is 00:00-24:00")
            return nil
        }
        return Located(value: .range(range), span: place.through(clockPlace))
    }

    /// `A-B`, or `A` for both.
    private static func pair(
        _ text: ArraySlice<UInt8>, _ number: (ArraySlice<UInt8>) -> Int?
    ) -> (first: Int, last: Int)? {
        guard let dash = text.firstIndex(of: UInt8(ascii: "-")) else { return number(text).map { ($0, $0) } }
        guard let first = number(text[..<dash]), let last = number(text[dash...].dropFirst()) else { return nil }
        return (first, last)
    }

    /// The number of a day's word, 0 for Sunday.
    private static func day(_ text: ArraySlice<UInt8>) -> Int? {
        WeeklyRange.dayNames.firstIndex { text.elementsEqual($0.utf8) }
    }

    /// Minutes since midnight of `HH:MM`, 0 to 1440.
    private static func minute(_ text: ArraySlice<UInt8>) -> Int? {
        let digits = Array(text)
        guard digits.count == 5, digits[2] == UInt8(ascii: ":") else { return nil }
        guard isDigit(digits[0]), isDigit(digits[1]), isDigit(digits[3]), isDigit(digits[4]) else { return nil }
        let values = digits.map { Int($0) - Int(UInt8(ascii: "0")) }
        let (hour, minute) = (values[0] * 10 + values[1], values[3] * 10 + values[4])
        guard minute < 60, hour * 60 + minute <= WeeklyRange.minutesOfDay else { return nil }
        return hour * 60 + minute
    }

    /// Takes `@NAME`; gives the name, nil where it is wrong and reported.
    private mutating func setName() -> String? {
        let name = bytes(token).dropFirst()
        let text = String(decoding: name, as: UTF8.self)
        let place = span(of: token)
        advance()
        guard !Self.isName(name) else { return text }
        check(name: Located(value: text, span: place))
        return nil
    }
}
