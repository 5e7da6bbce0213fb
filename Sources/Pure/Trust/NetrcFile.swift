// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A parsed .netrc: which login and password the client uses at which machine.
///
/// Tokens are separated by blanks, tabs, newlines and commas; `"…"` and a backslash quote (ruserpass(3), netrc(5)).
/// `macdef` and its lines up to an empty one are skipped, and so is `account`; `default` comes last. An entry may take
/// one line, as z/OS asks, or many, as AIX permits. `passwd` is `password` (glibc's ruserpass). A `#` that starts a token
/// where a keyword is due starts a comment.
public struct NetrcFile: Sendable, Hashable {
    /// The most bytes of a file.
    public static let sizeLimit = 65_536
    /// The most bytes of a token; glibc's ruserpass copies any length into 100 bytes.
    public static let tokenLimit = 1_024

    /// What a `machine` or `default` gives.
    public struct Entry: Sendable, Hashable {
        /// The machine as it stands; nil for `default`.
        public var machine: ByteText?
        /// The login name.
        public var login: ByteText?
        /// The password.
        public var password: ByteText?
        /// The line at which the entry starts, from 1.
        public var line: Int
    }

    /// The entries in the order in which they stand.
    public let entries: [Entry]

    /// Parses the bytes of a file.
    ///
    /// - Throws: `NetrcError` with the first line that is not understood: a password must not be sent by guess.
    public init(_ bytes: [UInt8]) throws(NetrcError) {
        guard bytes.count <= Self.sizeLimit else { throw NetrcError(line: 0, .fileTooLong) }
        guard !bytes.starts(with: [0xEF, 0xBB, 0xBF]) else { throw NetrcError(line: 1, .byteOrderMark) }
        var scanner = NetrcScanner(bytes)
        var entries: [Entry] = []
        var current: Entry?
        while let (keyword, line) = try scanner.keyword() {
            switch keyword {
            case "machine":
                let machine = try scanner.value()
                guard current == nil || current?.machine != nil else { throw NetrcError(line: line, .afterDefault) }
                if let current { entries.append(current) }
                current = Entry(machine: machine, line: line)
            case "default":
                guard current == nil || current?.machine != nil else { throw NetrcError(line: line, .afterDefault) }
                if let current { entries.append(current) }
                current = Entry(machine: nil, line: line)
            case "login":
                let value = try scanner.value()
                guard current != nil else { throw NetrcError(line: line, .outsideMachine) }
                current?.login = value
            case "password", "passwd":
                let value = try scanner.value()
                guard current != nil else { throw NetrcError(line: line, .outsideMachine) }
                current?.password = value
            case "account":
                _ = try scanner.value()
            case "macdef":
                _ = try scanner.value()
                scanner.skipMacro()
            default:
                throw NetrcError(line: line, .unknownWord)
            }
        }
        if let current { entries.append(current) }
        self.entries = entries
    }

    /// The first entry for a host and, where one is asked for, a login.
    ///
    /// A machine is the host in any case of letters, or the host without the caller's own domain. `default` stands for
    /// every host.
    public func entry(host: ByteText, login: ByteText?, localDomain: ByteText?) -> Entry? {
        let wanted = HostName.lowercased(host.bytes)
        return entries.first { entry in
            if let login, let own = entry.login, own != login { return false }
            guard let machine = entry.machine else { return true }
            let name = HostName.lowercased(machine.bytes)
            if name == wanted { return true }
            guard let domain = localDomain, !domain.isEmpty, !name.contains(UInt8(ascii: ".")) else { return false }
            return name + [UInt8(ascii: ".")] + HostName.lowercased(domain.bytes) == wanted
        }
    }
}

/// Why a .netrc is not understood.
public struct NetrcError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The line, from 1; 0 where the file itself is wrong.
    public let line: Int
    /// What is wrong.
    public let problem: Problem

    init(line: Int, _ problem: Problem) {
        self.line = line
        self.problem = problem
    }

    /// What can be wrong.
    public enum Problem: Sendable, Hashable {
        /// More than `NetrcFile.sizeLimit` bytes.
        case fileTooLong
        /// More than `NetrcFile.tokenLimit` bytes in a token.
        case tokenTooLong
        /// A NUL or another control byte.
        case controlByte
        /// A quote that does not end on its line.
        case unclosedQuote
        /// A keyword without its value.
        case missingValue
        /// The three bytes that some editors put before a text in UTF-8: part of the first word, for everybody who reads
        /// the file.
        case byteOrderMark
        /// A word that is no keyword.
        case unknownWord
        /// A login or password before any machine.
        case outsideMachine
        /// An entry after `default`, which stands for every host and so comes last (AIX's netrc): the first entry that
        /// fits is used, and would send the wrong password.
        case afterDefault
    }

    /// `line N: TEXT`; nothing of the file is repeated.
    public var description: String {
        line == 0 ? text : "line \(line): \(text)"
    }

    private var text: String {
        switch problem {
        case .fileTooLong: "more than \(NetrcFile.sizeLimit) bytes"
        case .tokenTooLong: "more than \(NetrcFile.tokenLimit) bytes in a word"
        case .controlByte: "a control byte"
        case .unclosedQuote: "a quote that does not end"
        case .missingValue: "a word without its value"
        case .byteOrderMark: "a byte order mark of UTF-8; save the file without one"
        case .unknownWord: "an unknown word"
        case .outsideMachine: "login or password before any machine"
        case .afterDefault: "an entry after default"
        }
    }
}

/// Reads tokens off the front of a file.
private struct NetrcScanner {
    private var rest: ArraySlice<UInt8>
    private var line = 1

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    /// The next keyword and its line; nil at the end.
    mutating func keyword() throws(NetrcError) -> (String, line: Int)? {
        while true {
            skipSeparators()
            guard rest.first == UInt8(ascii: "#") else { break }
            rest = rest.drop { $0 != UInt8(ascii: "\n") }
        }
        let line = line
        guard let token = try token() else { return nil }
        // A keyword is ASCII; anything else is unknown whatever it is repaired to.
        return (token.printable, line)
    }

    /// The value that a keyword needs.
    mutating func value() throws(NetrcError) -> ByteText {
        let line = line
        skipSeparators()
        guard let token = try token() else { throw NetrcError(line: line, .missingValue) }
        return token
    }

    /// Skips the lines of a macro: up to an empty line, or the end.
    mutating func skipMacro() {
        // The rest of macdef's own line first.
        skipLine()
        while !rest.isEmpty {
            let isEmpty = rest.first == UInt8(ascii: "\n") || rest.starts(with: [0x0D, 0x0A])
            skipLine()
            if isEmpty { return }
        }
    }

    private mutating func skipLine() {
        rest = rest.drop { $0 != UInt8(ascii: "\n") }
        if rest.popFirst() != nil { line += 1 }
    }

    private static func isSeparator(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"), UInt8(ascii: ","): true
        default: false
        }
    }

    private mutating func skipSeparators() {
        while let byte = rest.first, Self.isSeparator(byte) {
            if byte == UInt8(ascii: "\n") { line += 1 }
            rest = rest.dropFirst()
        }
    }

    private mutating func token() throws(NetrcError) -> ByteText? {
        guard let first = rest.first else { return nil }
        let quoted = first == UInt8(ascii: "\"")
        if quoted { rest = rest.dropFirst() }
        var token: [UInt8] = []
        while let byte = rest.first {
            if quoted ? byte == UInt8(ascii: "\"") : Self.isSeparator(byte) { break }
            rest = rest.dropFirst()
            guard token.count < NetrcFile.tokenLimit else { throw NetrcError(line: line, .tokenTooLong) }
            guard byte == UInt8(ascii: "\\") else {
                try append(byte, to: &token)
                continue
            }
            guard let escaped = rest.popFirst() else { throw NetrcError(line: line, .unclosedQuote) }
            try append(escaped, to: &token)
        }
        if quoted {
            guard rest.popFirst() != nil else { throw NetrcError(line: line, .unclosedQuote) }
        }
        return ByteText(token)
    }

    private func append(_ byte: UInt8, to token: inout [UInt8]) throws(NetrcError) {
        if byte == UInt8(ascii: "\n") { throw NetrcError(line: line, .unclosedQuote) }
        guard byte >= 0x20, byte != 0x7F else { throw NetrcError(line: line, .controlByte) }
        token.append(byte)
    }
}
