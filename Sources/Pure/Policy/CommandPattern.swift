// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// One command that a rule speaks of: an absolute program, and a token for each argument.
///
/// Nothing matches inside a token, and there is no regular expression: what runs is exactly the words that matched.
public struct CommandPattern: Sendable, Hashable, CustomStringConvertible {
    /// The program, absolute, below /usr/bin or /usr/sbin where it was written below /bin or /sbin.
    public var program: ByteText
    /// A token for each argument.
    public var arguments: [Argument]
    /// Whether further arguments may follow: a final `*`.
    public var takesMore: Bool

    /// What one argument must be.
    public enum Argument: Sendable, Hashable {
        /// These bytes.
        case literal(ByteText)
        /// `<int>`: one digit or more.
        case integer
        /// `<word>`: `[A-Za-z0-9_.-]+`, not starting with `-`.
        case word
        /// `<path /dir>`: an absolute path without `.`, `..` or empty components, equal to the directory or beneath it.
        case path(ByteText)

        /// Whether an argument is what it must be.
        public func matches(_ argument: ByteText) -> Bool {
            switch self {
            case .literal(let literal):
                literal == argument
            case .integer:
                !argument.isEmpty && argument.bytes.allSatisfy(ASCII.isDigit)
            case .word:
                !argument.isEmpty && argument.bytes.first != UInt8(ascii: "-")
                    && argument.bytes.allSatisfy(ASCII.isWord)
            case .path(let directory):
                AbsolutePath.isPlain(argument) && AbsolutePath.isBeneath(argument, directory)
            }
        }
    }

    /// A pattern; the program's path is normalised.
    public init(program: ByteText, arguments: [Argument] = [], takesMore: Bool = false) {
        self.program = Self.normalized(program)
        self.arguments = arguments
        self.takesMore = takesMore
    }

    /// Whether a program, its path normalised, with these arguments is what the pattern says.
    public func matches(program: ByteText, arguments words: ArraySlice<ByteText>) -> Bool {
        guard self.program == program else { return false }
        guard takesMore ? words.count >= arguments.count : words.count == arguments.count else { return false }
        return zip(arguments, words).allSatisfy { $0.matches($1) }
    }

    /// The one path of a program: /bin is /usr/bin and /sbin is /usr/sbin, on hosts with merged directories or without.
    public static func normalized(_ path: ByteText) -> ByteText {
        // Most paths are told by their second byte.
        let second = path.bytes.dropFirst().first
        guard second == UInt8(ascii: "b") || second == UInt8(ascii: "s") else { return path }
        guard path.bytes.starts(with: binPrefix) || path.bytes.starts(with: sbinPrefix) else { return path }
        return ByteText(usrPrefix + path.bytes)
    }

    private static let binPrefix = Array("/bin/".utf8)
    private static let sbinPrefix = Array("/sbin/".utf8)
    private static let usrPrefix = Array("/usr".utf8)

    /// The pattern as it is written in a policy, without the string's own quotes and escapes.
    public var description: String {
        var text: [UInt8] = []
        write(to: &text)
        let bytes = ByteText(text)
        return bytes.text ?? bytes.printable
    }

    /// Appends what `description` says.
    public func write(to out: inout [UInt8]) {
        Self.write(program, to: &out)
        for argument in arguments {
            out.append(UInt8(ascii: " "))
            switch argument {
            case .literal(let literal):
                Self.write(literal, to: &out)
            case .integer:
                out.append(contentsOf: "<int>".utf8)
            case .word:
                out.append(contentsOf: "<word>".utf8)
            case .path(let directory):
                out.append(contentsOf: "<path ".utf8)
                out.append(contentsOf: directory.bytes)
                out.append(UInt8(ascii: ">"))
            }
        }
        if takesMore { out.append(contentsOf: " *".utf8) }
    }

    /// A word as sh would need it written: bare where every byte is plain, else in single quotes.
    public static func quoted(_ word: ByteText) -> String {
        var text: [UInt8] = []
        write(word, to: &text)
        let bytes = ByteText(text)
        return bytes.text ?? bytes.printable
    }

    private static func write(_ word: ByteText, to out: inout [UInt8]) {
        if !word.isEmpty, word.bytes.allSatisfy({ ASCII.isPlain($0) }) { return out.append(contentsOf: word.bytes) }
        out.append(UInt8(ascii: "'"))
        for byte in word.bytes {
            if byte == UInt8(ascii: "'") { out.append(contentsOf: "'\\'".utf8) }
            out.append(byte)
        }
        out.append(UInt8(ascii: "'"))
    }
}

/// Classes of ASCII bytes.
enum ASCII {
    static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    /// What `<word>` takes.
    static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"): true
        default: isDigit(byte) || isLetter(byte)
        }
    }

    /// What needs no quotes in an argument. `=` is plain there: only a leading word can be an assignment.
    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "%"), UInt8(ascii: "@"), UInt8(ascii: "+"),
            UInt8(ascii: ","), UInt8(ascii: "="):
            true
        default:
            isWord(byte)
        }
    }
}

/// Absolute paths as policies have them, compared as bytes and never looked up.
public enum AbsolutePath {
    /// Whether a path is absolute and has no `.`, `..` or doubled slash; a last slash is allowed.
    public static func isPlain(_ path: ByteText) -> Bool {
        guard path.bytes.first == UInt8(ascii: "/") else { return false }
        // How long the component is so far, and whether it is of dots alone.
        var length = 0
        var isDots = true
        for byte in path.bytes.dropFirst() {
            if byte == UInt8(ascii: "/") {
                guard length > 0, !(isDots && length <= 2) else { return false }
                (length, isDots) = (0, true)
            } else {
                length += 1
                isDots = isDots && byte == UInt8(ascii: ".")
            }
        }
        // The root itself, or a path with a last slash, ends in one empty component.
        return length == 0 || !(isDots && length <= 2)
    }

    /// Whether a path is a directory itself or lies below it; both plain, the directory without a last slash.
    public static func isBeneath(_ path: ByteText, _ directory: ByteText) -> Bool {
        if directory.bytes.elementsEqual(slash) { return path.bytes.first == UInt8(ascii: "/") }
        guard path.bytes.starts(with: directory.bytes) else { return false }
        let rest = path.bytes.dropFirst(directory.count)
        return rest.isEmpty || rest.first == UInt8(ascii: "/")
    }

    /// The path without a last slash; the root stays.
    public static func withoutLastSlash(_ path: ByteText) -> ByteText {
        guard path.count > 1, path.bytes.last == UInt8(ascii: "/") else { return path }
        return ByteText(Array(path.bytes.dropLast()))
    }

    private static let slash = Array("/".utf8)
}
