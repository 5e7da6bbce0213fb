// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Clauses as a policy writes them: a set by its name, not by what it holds.
enum ClauseText {
    /// The most items of a clause that are told.
    private static let itemLimit = 4
    /// The most characters of an argument that are told.
    private static let argumentLimit = 60

    /// Items on one line, the first of them if they are many.
    static func list(_ items: [String]) -> String {
        guard items.count > itemLimit else { return items.joined(separator: ", ") }
        return items.prefix(itemLimit).joined(separator: ", ") + ", …"
    }

    /// An argument of a command, in single quotes, the first of it if it is long.
    static func argument(_ word: ByteText) -> String {
        let shown = word.printable
        return shown.count > argumentLimit ? "'\(shown.prefix(argumentLimit))…'" : "'\(shown)'"
    }
}

extension Sources {
    /// The clause's items as they are written: `any`, or blocks and sets.
    public var words: [String] {
        (isAny ? ["any"] : []) + literal.map(\.description) + sets.map { "@\($0.name)" }
    }
}

extension RemoteUsers {
    /// The clause's items as they are written: `any`, or names and sets.
    public var words: [String] {
        (isAny ? ["any"] : []) + literal.map(\.description) + sets.map { "@\($0.name)" }
    }
}

extension Targets {
    /// The clause's items as they are written: `any`, `same`, names, `%groups`, sets and pools.
    public var words: [String] {
        (isAny ? ["any"] : []) + (isSame ? ["same"] : []) + literal.names.map(\.description)
            + literal.groups.map { "%\($0.printable)" } + sets.map { "@\($0.name)" } + pools.map { "pool \($0)" }
    }
}

extension Commands {
    /// The clause's items as they are written, patterns without the string's own quotes: `any`, `shell`, patterns, sets.
    public var words: [String] {
        (isAny ? ["any"] : []) + (isShell ? ["shell"] : []) + literal.map(\.description) + sets.map { "@\($0.name)" }
    }
}

extension Hours {
    /// The clause's items as they are written: ranges and sets.
    public var words: [String] {
        literal.map(\.description) + sets.map { "@\($0.name)" }
    }
}

extension CommandPattern.Argument: CustomStringConvertible {
    /// The token as a pattern writes it.
    public var description: String {
        switch self {
        case .literal(let literal): CommandPattern.quoted(literal)
        case .integer: "<int>"
        case .word: "<word>"
        case .path(let directory): "<path \(directory.text ?? directory.printable)>"
        }
    }
}
