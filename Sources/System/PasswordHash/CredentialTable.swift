// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The text of a credentials file: `user:crypt-hash` lines, one an account, in the order in which they stand.
///
/// Empty lines and lines that start with `#` are kept where they stand. A hash that starts with `!` or `*` locks its
/// account, as in shadow(5): no password is its. Anything else that is not understood rejects the file: half a table of
/// passwords is none.
public struct CredentialTable: Sendable, Hashable {
    /// The most bytes of a file.
    public static let sizeLimit = 4 << 20

    /// A line.
    private enum Line: Sendable, Hashable {
        case other(ByteText)
        case account(UserName, PasswordHash)
        case locked(UserName, ByteText)

        /// The account of the line.
        var name: UserName? {
            switch self {
            case .account(let name, _), .locked(let name, _): name
            case .other: nil
            }
        }
    }

    /// The most bytes of a locked account's hash.
    private static let lockedLimit = 1_024

    private var lines: [Line]

    /// An empty table.
    public init() {
        lines = []
    }

    /// Parses a file's bytes.
    public init(_ bytes: [UInt8]) throws(CredentialTableError) {
        guard bytes.count <= Self.sizeLimit else { throw CredentialTableError(line: 0, .tooLong) }
        lines = []
        var names: Set<UserName> = []
        var parts = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        // What follows the last newline is a line only where there is something.
        if parts.last?.isEmpty == true { parts.removeLast() }
        for (index, part) in parts.enumerated() {
            let number = index + 1
            if part.isEmpty || part.first == UInt8(ascii: "#") {
                lines.append(.other(ByteText(Array(part))))
                continue
            }
            let fields = part.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            guard fields.count == 2, let nameField = fields.first, let hashField = fields.last else {
                throw CredentialTableError(line: number, .noColon)
            }
            guard let name = UserName(bytes: Array(nameField)) else {
                throw CredentialTableError(line: number, .userName)
            }
            guard names.insert(name).inserted else { throw CredentialTableError(line: number, .repeated) }
            let text = ByteText(Array(hashField))
            if let hash = PasswordHash(text) {
                lines.append(.account(name, hash))
            } else if Self.isLocked(text) {
                lines.append(.locked(name, text))
            } else {
                throw CredentialTableError(line: number, .hash)
            }
        }
    }

    private static func isLocked(_ text: ByteText) -> Bool {
        guard let first = text.bytes.first, first == UInt8(ascii: "!") || first == UInt8(ascii: "*") else {
            return false
        }
        return text.count <= lockedLimit
            && text.bytes.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
    }

    /// The file's bytes.
    public var bytes: [UInt8] {
        lines.flatMap { line -> [UInt8] in
            switch line {
            case .other(let text): text.bytes + [UInt8(ascii: "\n")]
            case .account(let name, let hash):
                name.bytes + [UInt8(ascii: ":")] + hash.text.bytes + [UInt8(ascii: "\n")]
            case .locked(let name, let text):
                name.bytes + [UInt8(ascii: ":")] + text.bytes + [UInt8(ascii: "\n")]
            }
        }
    }

    /// The accounts, in the order in which they stand.
    public var names: [UserName] {
        lines.compactMap(\.name)
    }

    /// Whether an account is there, and no password is its.
    public func isLocked(_ name: UserName) -> Bool {
        lines.contains { if case .locked(name, _) = $0 { true } else { false } }
    }

    /// Some hash of the table, for `PasswordHash.spend`.
    public var anyHash: PasswordHash? {
        lines.lazy.compactMap { if case .account(_, let hash) = $0 { hash } else { nil } }.first
    }

    /// An account's hash; nil for one that is not there, or is locked.
    ///
    /// Setting one replaces it where it stands or adds a line at the end; setting nil removes it.
    public subscript(name: UserName) -> PasswordHash? {
        get {
            lines.lazy.compactMap { line -> PasswordHash? in
                if case .account(name, let hash) = line { hash } else { nil }
            }.first
        }
        set {
            let place = lines.firstIndex { $0.name == name }
            switch (place, newValue) {
            case (let place?, let hash?): lines[place] = .account(name, hash)
            case (let place?, nil): lines.remove(at: place)
            case (nil, let hash?): lines.append(.account(name, hash))
            case (nil, nil): break
            }
        }
    }
}

/// Why a credentials file is rejected.
public struct CredentialTableError: Error, Sendable, Hashable, CustomStringConvertible {
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
        /// More than `CredentialTable.sizeLimit` bytes.
        case tooLong
        /// A line without a colon.
        case noColon
        /// A name that no account can have on the wire.
        case userName
        /// No hash, or one of a method that crypt(3) does not recommend.
        case hash
        /// An account that stands twice.
        case repeated
    }

    /// `line N: TEXT`; nothing of the file is repeated.
    public var description: String {
        line == 0 ? text : "line \(line): \(text)"
    }

    private var text: String {
        switch problem {
        case .tooLong: "more than \(CredentialTable.sizeLimit) bytes"
        case .noColon: "no colon"
        case .userName: "not a user name"
        case .hash: "not a password hash that crypt(3) recommends"
        case .repeated: "a user who stands twice"
        }
    }
}
