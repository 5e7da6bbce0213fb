// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A word, a string or a mark of a policy's text.
struct Token: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        /// Letters, digits and `_ . - / : % @ + * ~ = $ [ ]`.
        case word
        /// `"…"`, the quotes included.
        case string
        case open
        case close
        case comma
        /// The end of a line that is not continued.
        case newline
        case end
    }

    var kind: Kind
    var start: Int
    var end: Int
}

/// A comment, from its `#` to the end of its line.
struct Comment: Sendable, Hashable {
    var start: Int
    var end: Int
    /// Whether nothing but blanks stands before it on its line.
    var isAlone: Bool
}

/// Splits a file into tokens, one at a time, without looking back.
///
/// The file's bytes are UTF-8 without NUL; the caller has checked.
struct Lexer {
    private let bytes: [UInt8]
    private let file: Int
    private let sink: DiagnosticSink
    private var position = 0
    /// The line that the next byte is on, from 1.
    private(set) var line: Int32 = 1
    /// Whether a token already stands on this line.
    private var hasToken = false
    private var comments: [Comment] = []

    init(_ bytes: [UInt8], file: Int, sink: DiagnosticSink) {
        self.bytes = bytes
        self.file = file
        self.sink = sink
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Takes out the comments that were read since they were taken last.
    mutating func takeComments() -> [Comment] {
        var taken: [Comment] = []
        swap(&taken, &comments)
        return taken
    }

    /// The next token; what cannot be one is reported and skipped.
    mutating func next() -> Token {
        while position < bytes.count {
            let start = position
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                position += 1
            case UInt8(ascii: "\n"):
                position += 1
                line &+= 1
                hasToken = false
                return Token(kind: .newline, start: start, end: position)
            case UInt8(ascii: "#"):
                skipComment()
            case UInt8(ascii: "\\"):
                if !skipContinuation() {
                    position += 1
                    sink.error(span(start), "a '\\' stands only at the end of a line or in a string")
                    // With blanks or a comment behind it, it was meant to continue the line.
                    let rest = bytes[position...].drop { Self.isBlank($0) || $0 == UInt8(ascii: "\r") }
                    if rest.first == UInt8(ascii: "#") || rest.first == UInt8(ascii: "\n") {
                        position = (rest.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count - 1) + 1
                        line &+= 1
                    }
                }
            case UInt8(ascii: "{"):
                return mark(.open)
            case UInt8(ascii: "}"):
                return mark(.close)
            case UInt8(ascii: ","):
                return mark(.comma)
            case UInt8(ascii: "\""):
                return string()
            case _ where Self.isWord(byte):
                position = Self.wordEnd(bytes, from: start + 1)
                hasToken = true
                return Token(kind: .word, start: start, end: position)
            default:
                skipForeign()
            }
        }
        return Token(kind: .end, start: bytes.count, end: bytes.count)
    }

    private mutating func mark(_ kind: Token.Kind) -> Token {
        position += 1
        hasToken = true
        return Token(kind: kind, start: position - 1, end: position)
    }

    private mutating func skipComment() {
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { position += 1 }
        var end = position
        while end > start, bytes[end - 1] == UInt8(ascii: "\r") || Self.isBlank(bytes[end - 1]) { end -= 1 }
        comments.append(Comment(start: start, end: end, isAlone: !hasToken))
    }

    private mutating func skipContinuation() -> Bool {
        var after = position + 1
        if after < bytes.count, bytes[after] == UInt8(ascii: "\r") { after += 1 }
        guard after < bytes.count, bytes[after] == UInt8(ascii: "\n") else { return false }
        position = after + 1
        line &+= 1
        return true
    }

    private mutating func string() -> Token {
        let start = position
        hasToken = true
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return Token(kind: .string, start: start, end: position)
            case UInt8(ascii: "\\"):
                let next = position + 1 < bytes.count ? bytes[position + 1] : UInt8(ascii: "\n")
                if next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") {
                    position += 2
                } else {
                    sink.error(
                        Span(file: file, start: position, end: position + 1),
                        "in a string a '\\' stands only before '\"' or another '\\'", hint: "write \\\\")
                    position += 1
                }
            case UInt8(ascii: "\n"):
                sink.error(Span(file: file, start: start, end: position), "this string does not end on its line")
                return Token(kind: .string, start: start, end: position)
            case _ where byte < 0x20 || byte == 0x7F:
                // The end of a line of DOS is reported as the end of a line.
                let endsLine = byte == UInt8(ascii: "\r") && bytes[position...].dropFirst().first == UInt8(ascii: "\n")
                if !endsLine {
                    sink.error(
                        Span(file: file, start: position, end: position + 1), "a control character stands in a string")
                }
                position += 1
            default:
                position += 1
            }
        }
        sink.error(Span(file: file, start: start, end: position), "this string does not end")
        return Token(kind: .string, start: start, end: position)
    }

    /// Skips a run of characters that belong to no token, with one error for all.
    private mutating func skipForeign() {
        let start = position
        while position < bytes.count, Self.isForeign(bytes[position]) { position += 1 }
        let text = String(decoding: bytes[start..<position].prefix(16), as: UTF8.self)
        let isPlain = text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value < 0x7F }
        sink.error(
            span(start),
            isPlain
                ? "'\(text)' stands only in strings" : "only ASCII stands outside strings and comments")
        hasToken = true
    }

    private func span(_ start: Int) -> Span {
        Span(file: file, start: start, end: position)
    }

    /// Where a word ends of which the byte before a place is one.
    private static func wordEnd(_ bytes: [UInt8], from place: Int) -> Int {
        let bytes = bytes.span
        var end = place
        while end < bytes.count, isWord(bytes[end]) { end += 1 }
        return end
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func isForeign(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"), UInt8(ascii: "#"),
            UInt8(ascii: "\\"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: ","), UInt8(ascii: "\""):
            false
        default:
            !isWord(byte)
        }
    }

    /// Letters, digits and `_ . - / : % @ + * ~ = $ [ ]`.
    static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "%"), UInt8(ascii: "@"), UInt8(ascii: "+"),
            UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: "="), UInt8(ascii: "$"), UInt8(ascii: "["),
            UInt8(ascii: "]"):
            true
        default:
            false
        }
    }
}
