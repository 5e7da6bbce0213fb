// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Splits a pattern's text into a program and argument tokens, as a command's string is split.
///
/// `<…>` is one token, a quoted token is a literal, and what would need a shell in a command must be quoted here.
struct PatternSplitter: Sendable {
    /// What is wrong with a pattern, and where in its text.
    struct Failure: Error, Sendable {
        var range: Range<Int>
        var message: String
        var hint: String?
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    private enum Token {
        case literal(ByteText)
        case argument(CommandPattern.Argument)
        case more
    }

    /// Splits and checks.
    mutating func pattern() -> Result<CommandPattern, Failure> {
        do {
            return .success(try parse())
        } catch {
            return .failure(error)
        }
    }

    private mutating func parse() throws(Failure) -> CommandPattern {
        skipBlanks()
        guard position < bytes.count else {
            throw Failure(range: 0..<bytes.count, message: "an empty command is none")
        }
        let programStart = position
        guard case .literal(let program) = try token() else {
            throw Failure(
                range: programStart..<position, message: "a pattern starts with the absolute path of a program")
        }
        try check(program, programStart..<position)
        var pattern = CommandPattern(program: program)
        skipBlanks()
        while position < bytes.count {
            let start = position
            guard !pattern.takesMore else {
                throw Failure(
                    range: start..<bytes.count, message: "nothing follows a '*', which means any further arguments")
            }
            guard pattern.arguments.count < CommandLine.wordLimit else {
                throw Failure(range: start..<bytes.count, message: "a pattern has at most 8,192 arguments")
            }
            switch try token() {
            case .literal(let word): pattern.arguments.append(.literal(word))
            case .argument(let argument): pattern.arguments.append(argument)
            case .more: pattern.takesMore = true
            }
            skipBlanks()
        }
        return pattern
    }

    private func check(_ program: ByteText, _ range: Range<Int>) throws(Failure) {
        guard program.bytes.first == UInt8(ascii: "/") else {
            throw Failure(range: range, message: "a program is written as an absolute path")
        }
        guard AbsolutePath.isPlain(program), program.bytes.last != UInt8(ascii: "/") else {
            throw Failure(range: range, message: "a program's path has no '.', '..' or empty part")
        }
    }

    private mutating func skipBlanks() {
        while position < bytes.count, ShellCharacter.isBlank(bytes[position]) { position += 1 }
    }

    /// One token; `position` is at its first byte.
    private mutating func token() throws(Failure) -> Token {
        let start = position
        if bytes[start] == UInt8(ascii: "<") { return .argument(try typed()) }
        if bytes[start] == UInt8(ascii: "*"), start + 1 >= bytes.count || ShellCharacter.isBlank(bytes[start + 1]) {
            position += 1
            return .more
        }
        var word: [UInt8] = []
        while position < bytes.count, !ShellCharacter.isBlank(bytes[position]) {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "'"):
                try single(&word)
            case UInt8(ascii: "\""):
                try double(&word)
            case UInt8(ascii: "\\"):
                guard position + 1 < bytes.count else {
                    throw Failure(range: position..<bytes.count, message: "nothing follows this '\\'")
                }
                word.append(bytes[position + 1])
                position += 2
            case UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "<"):
                throw Failure(
                    range: position..<(position + 1),
                    message:
                        "nothing matches inside an argument; '\(Unicode.Scalar(byte))' itself is written in quotes",
                    hint: byte == UInt8(ascii: "*") ? "a last '*' of its own means any further arguments" : nil)
            case _ where ShellCharacter.isSpecial(byte):
                throw Failure(
                    range: position..<(position + 1),
                    message: "'\(Unicode.Scalar(byte))' needs a shell; the character itself is written in quotes")
            default:
                let end = bytes[position...].firstIndex { !Self.isPlain($0) } ?? bytes.count
                word += bytes[position..<end]
                position = end
            }
        }
        return .literal(ByteText(word))
    }

    /// Whether a byte outside quotes is itself.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"): false
        default: !ShellCharacter.isBlank(byte) && !ShellCharacter.isSpecial(byte)
        }
    }

    private mutating func single(_ word: inout [UInt8]) throws(Failure) {
        let start = position
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "'") { return }
            word.append(byte)
        }
        throw Failure(range: start..<bytes.count, message: "this quote does not end")
    }

    private mutating func double(_ word: inout [UInt8]) throws(Failure) {
        let start = position
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                return
            case _ where ShellCharacter.isSpecialInDoubleQuotes(byte):
                throw Failure(
                    range: (position - 1)..<position,
                    message:
                        "'\(Unicode.Scalar(byte))' in double quotes needs a shell; the character itself takes a '\\'")
            case UInt8(ascii: "\\"):
                guard position < bytes.count else { break }
                let next = bytes[position]
                position += 1
                if !ShellCharacter.isEscapableInDoubleQuotes(next) { word.append(byte) }
                word.append(next)
            default:
                word.append(byte)
            }
        }
        throw Failure(range: start..<bytes.count, message: "this quote does not end")
    }

    private mutating func typed() throws(Failure) -> CommandPattern.Argument {
        let start = position
        guard let end = bytes[start...].firstIndex(of: UInt8(ascii: ">")) else {
            throw Failure(range: start..<bytes.count, message: "this '<' has no '>'")
        }
        position = end + 1
        let range = start..<position
        guard position >= bytes.count || ShellCharacter.isBlank(bytes[position]) else {
            throw Failure(range: range, message: "nothing matches inside an argument: a blank follows the '>'")
        }
        let inner = bytes[(start + 1)..<end]
        switch inner.first {
        case UInt8(ascii: "i") where inner.elementsEqual("int".utf8):
            return .integer
        case UInt8(ascii: "w") where inner.elementsEqual("word".utf8):
            return .word
        case UInt8(ascii: "p") where inner.starts(with: "path ".utf8):
            let directory = AbsolutePath.withoutLastSlash(ByteText(Array(inner.dropFirst(5))))
            guard AbsolutePath.isPlain(directory), directory.bytes.last.map(ShellCharacter.isBlank) == false else {
                throw Failure(range: range, message: "<path …> takes an absolute directory without '.' or '..'")
            }
            return .path(directory)
        default:
            let word = String(decoding: inner.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)
            throw Failure(
                range: range, message: "'<\(word)>' is none of <int>, <word> and <path /dir>",
                hint: Suggestion.hint(word, among: ["int", "word", "path"]))
        }
    }
}
