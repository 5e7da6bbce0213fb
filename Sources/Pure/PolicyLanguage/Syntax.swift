// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// A value with the place of its text.
struct Located<Value: Sendable>: Sendable {
    var value: Value
    var span: Span
}

/// One statement of a file.
struct Statement {
    /// The whole of it, without its comments.
    var span: Span
    /// What it is set apart as.
    var kind: Kind
    /// What it says.
    var payload: Payload
    /// Its canonical text; empty for a rule, which the formatter lays out itself.
    var layout: Layout

    enum Payload {
        case version
        case include(pattern: String)
        case secureTCPIP(SecureTCPIP)
        case service(ServiceSyntax)
        case refusal(RefusalSettings)
        case audit(AuditSettings)
        case searchPath([ByteText])
        case networks(SetSyntax<NetworkItem>)
        case users(SetSyntax<UserItem>)
        case commands(SetSyntax<CommandItem>)
        case hours(SetSyntax<HoursItem>)
        case pool(SetSyntax<UserItem>)
        case sandbox(SandboxSyntax)
        /// What it says stands beside the statement.
        case rule
        /// A statement with errors, of which nothing is used.
        case broken
    }

    /// What is set apart by an empty line.
    enum Kind: Sendable, Hashable {
        case version, include, secureTCPIP, service, refusal, audit, searchPath, set, sandbox, rule, none
    }
}

/// A statement's canonical text in parts, so that the formatter can put lines and comments between them.
struct Layout: Sendable {
    enum Shape: Sendable, Hashable {
        /// One line; where it is too long, it is broken before the parts.
        case line
        /// `HEAD { … }` with an item a line; the head is the first part.
        case block
        /// `HEAD { …, … }`, on one line where it fits; the head is the first part.
        case list
    }

    /// A stretch of `text`, from the end of the part before it.
    struct Part: Sendable {
        var end: Int32
        /// Where it stands in the file; in a line it is not looked at.
        var span: Span
    }

    /// How the parts are put together.
    let shape: Shape
    /// The parts' texts, one behind the other: what is written here belongs to the part that `endPart` ends next. In a line
    /// each part but the first starts with the blank that stands before it.
    var text: [UInt8] = []
    /// The parts.
    private(set) var parts: [Part] = []

    /// A layout without parts yet, with room for as many.
    init(_ shape: Shape, parts count: Int = 1) {
        self.shape = shape
        parts.reserveCapacity(count)
    }

    /// Takes everything out, and keeps the room.
    mutating func removeAll() {
        text.removeAll(keepingCapacity: true)
        parts.removeAll(keepingCapacity: true)
    }

    /// A line of one part.
    static func line(_ text: String) -> Layout {
        var layout = Layout(.line)
        layout.text.append(contentsOf: text.utf8)
        layout.endPart()
        return layout
    }

    /// `HEAD { … }` with these items.
    static func block(_ head: String, _ items: [BlockItem]) -> Layout {
        var layout = Layout(.block)
        layout.text.append(contentsOf: head.utf8)
        layout.endPart()
        for item in items {
            layout.text.append(contentsOf: item.text.utf8)
            layout.endPart(item.span)
        }
        return layout
    }

    /// Ends a part, of which the text has been written.
    mutating func endPart(_ span: Span = Span(file: 0, start: 0, end: 0)) {
        parts.append(Part(end: Int32(clamping: text.count), span: span))
    }

    /// The text of a part.
    func text(of part: Int) -> ArraySlice<UInt8> {
        // INVARIANT: the ends ascend, and the last is at most the text's.
        text[(part == 0 ? 0 : Int(parts[part - 1].end))..<Int(parts[part].end)]
    }
}

/// An item of a block: its canonical text, and where it stands.
struct BlockItem: Sendable {
    var text: String
    var span: Span
}

/// A `service` block.
struct ServiceSyntax: Sendable {
    var settings: ServiceSettings
    var nameSpan: Span
    /// Where items stand whose values are looked at again.
    var itemSpans: [String: Span]
}

/// A set: its name and what it holds.
struct SetSyntax<Item: Sendable>: Sendable {
    var name: Located<String>
    var items: [Located<Item>]
}

/// What stands in `networks` and after `from`.
enum NetworkItem: Sendable {
    case block(AddressBlock)
    case set(String)
    case any
}

/// What stands in `users` and `pool` and after `by` and `as`.
enum UserItem: Sendable {
    case name(UserName)
    case group(ByteText)
    case set(String)
    case same
    case any
    /// `pool NAME`.
    case pool(String)
}

/// What stands in `commands` and after `run`.
enum CommandItem: Sendable {
    case pattern(CommandPattern)
    case set(String)
    case shell
    case any
}

/// What stands in `hours` and after `during`.
enum HoursItem: Sendable {
    case range(WeeklyRange)
    case set(String)
}

/// A `sandbox` block.
struct SandboxSyntax: Sendable {
    var name: Located<String>
    var extends: Located<String>?
    var items: [Located<Item>]

    enum Item: Sendable {
        case read([Located<Sandbox.Path>])
        case write([Located<Sandbox.Path>])
        case execute([Located<Sandbox.Path>])
        case systemCalls(allow: [String], deny: [String])
        case network(Sandbox.Network)
        case limits(Sandbox.Limits)
        case timeout(Int)
        case umask(UInt32)
        case path(ByteText)
        case environment([Sandbox.EnvironmentVariable])
        case onViolation(Sandbox.OnViolation)
        case landlock(Int)
    }
}

/// A clause of a rule with its items.
struct ClauseSyntax<Item: Sendable>: Sendable {
    /// Whether the rule has it.
    private(set) var isThere = false
    /// What stands in it; nothing where all of it was wrong, which is reported.
    var items: [Located<Item>] = []

    /// Makes it a clause without items, of which the room is kept.
    mutating func begin() {
        isThere = true
        items.removeAll(keepingCapacity: true)
    }

    /// Takes the clause out, and keeps the room.
    fileprivate mutating func remove() {
        isThere = false
        items.removeAll(keepingCapacity: true)
    }
}

/// A `permit` or a `forbid`.
///
/// There is one, which becomes the next rule when that is read, so that the room of its lists is used again. It cannot be
/// copied: that would take as long as to read it.
struct RuleSyntax: ~Copyable {
    private(set) var effect = Effect.permit
    private(set) var name = Located(value: "", span: Span(file: 0, start: 0, end: 0))
    /// The line of the name.
    private(set) var line: Int32 = 0
    var services: ServiceScope = .any
    var sources = ClauseSyntax<NetworkItem>()
    var remoteUsers = ClauseSyntax<UserItem>()
    var targets = ClauseSyntax<UserItem>()
    var commands = ClauseSyntax<CommandItem>()
    var hours = ClauseSyntax<HoursItem>()
    var sandbox: Located<String>?
    var selfTrust = false

    /// Makes it another rule, as yet without clauses.
    mutating func begin(effect: Effect, name: Located<String>, line: Int32) {
        self.effect = effect
        self.name = name
        self.line = line
        services = .any
        sources.remove()
        remoteUsers.remove()
        targets.remove()
        commands.remove()
        hours.remove()
        sandbox = nil
        selfTrust = false
    }
}
