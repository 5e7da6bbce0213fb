// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A request's command string, split into words as sh would split it, or found to need a shell.
///
/// The rules are policy-language.md's "Commands": blanks separate; `'…'`, `"…"` and backslash quote; anything that sh
/// would expand, redirect or sequence means that the string needs a shell.
public enum CommandLine: Sendable, Hashable {
    /// The words; at least one, and what runs is exactly these.
    case words([ByteText])

    /// The string needs a shell.
    case needsShell(ShellNeed)

    /// Why, and where, a string needs a shell.
    public struct ShellNeed: Sendable, Hashable {
        /// What was found.
        public var cause: Cause
        /// The byte's place in the string, from 0.
        public var offset: Int
        /// The first word as far as it can be known, which is what a shell would most likely run.
        public var firstWord: ByteText?

        /// A need for a shell.
        public init(cause: Cause, offset: Int, firstWord: ByteText?) {
            self.cause = cause
            self.offset = offset
            self.firstWord = firstWord
        }
    }

    /// What makes a string need a shell.
    public enum Cause: Sendable, Hashable {
        /// An unquoted character that is special to sh, or `$` or a backquote in double quotes.
        case character(UInt8)
        /// A newline outside quotes.
        case newline
        /// A quote that does not end, or a backslash at the end.
        case unclosedQuote
        /// Nothing but blanks.
        case empty
        /// A leading unquoted `NAME=` word.
        case assignment
    }

    /// The most words that a command is split into; a string with more needs a shell, as no rule could say them.
    public static let wordLimit = 8_192

    /// Splits a command string.
    public init(_ string: [UInt8]) {
        var splitter = Splitter()
        self = splitter.split(string)
    }
}

/// The states of the splitting; one pass, no look-back.
private struct Splitter {
    private enum Quote { case none, single, double }

    private var words: [ByteText] = []
    private var word: [UInt8] = []
    private var inWord = false
    /// Whether the current word so far is an unquoted NAME, so that an unquoted `=` makes it an assignment.
    private var mayAssign = true

    mutating func split(_ string: [UInt8]) -> CommandLine {
        var quote = Quote.none
        var quoteStart = 0
        var escaped = false
        for (offset, byte) in string.enumerated() {
            if escaped {
                escaped = false
                switch quote {
                case .double:
                    // In double quotes a backslash is itself unless it stands before one of these.
                    if byte == UInt8(ascii: "\n") { continue }
                    if !ShellCharacter.isEscapableInDoubleQuotes(byte) { word.append(UInt8(ascii: "\\")) }
                    word.append(byte)
                case .none, .single:
                    // sh joins lines here; we refuse the newline as we do any other outside quotes.
                    if byte == UInt8(ascii: "\n") { return need(.newline, offset) }
                    word.append(byte)
                }
                continue
            }
            switch quote {
            case .single:
                if byte == UInt8(ascii: "'") { quote = .none } else { word.append(byte) }
            case .double:
                switch byte {
                case UInt8(ascii: "\""): quote = .none
                case UInt8(ascii: "\\"): escaped = true
                case _ where ShellCharacter.isSpecialInDoubleQuotes(byte): return need(.character(byte), offset)
                default: word.append(byte)
                }
            case .none:
                switch byte {
                case _ where ShellCharacter.isBlank(byte):
                    guard endWord() else { return need(.character(byte), offset) }
                case UInt8(ascii: "'"), UInt8(ascii: "\""):
                    quote = byte == UInt8(ascii: "'") ? .single : .double
                    quoteStart = offset
                    inWord = true
                    mayAssign = false
                case UInt8(ascii: "\\"):
                    escaped = true
                    quoteStart = offset
                    inWord = true
                    mayAssign = false
                case UInt8(ascii: "\n"):
                    return need(.newline, offset)
                case _ where ShellCharacter.isSpecial(byte):
                    return need(.character(byte), offset)
                case UInt8(ascii: "=") where words.isEmpty && mayAssign && !word.isEmpty:
                    return need(.assignment, offset)
                default:
                    if !Self.continuesName(byte, isFirst: word.isEmpty) { mayAssign = false }
                    inWord = true
                    word.append(byte)
                }
            }
        }
        guard !escaped, quote == .none else { return need(.unclosedQuote, quoteStart) }
        guard endWord() else { return need(.empty, string.count) }
        guard !words.isEmpty else { return need(.empty, 0) }
        return .words(words)
    }

    /// Ends the word under way, if any; false where there are too many.
    private mutating func endWord() -> Bool {
        guard inWord else { return true }
        guard words.count < CommandLine.wordLimit else { return false }
        words.append(ByteText(word))
        word = []
        inWord = false
        mayAssign = true
        return true
    }

    private func need(_ cause: CommandLine.Cause, _ offset: Int) -> CommandLine {
        let first = words.first ?? (inWord && !word.isEmpty ? ByteText(word) : nil)
        return .needsShell(CommandLine.ShellNeed(cause: cause, offset: offset, firstWord: first))
    }

    private static func continuesName(_ byte: UInt8, isFirst: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): !isFirst
        default: false
        }
    }
}
