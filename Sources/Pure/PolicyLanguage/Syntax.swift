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
struct Statement: Sendable {
    /// The whole of it, without its comments.
    var span: Span
    /// What it says.
    var payload: Payload
    /// Its canonical text.
    var layout: Layout

    enum Payload: Sendable {
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
        case sandbox(SandboxSyntax)
        case rule(RuleSyntax)
        /// A statement with errors, of which nothing is used.
        case broken
    }

    /// Its text in parts, so that the formatter can put lines and comments between them.
    enum Layout: Sendable {
        /// One line; where it is too long, it is broken before the parts.
        case line([String])
        /// `HEAD { … }` with an item a line.
        case block(head: String, items: [Item])
        /// `HEAD { …, … }`, on one line where it fits.
        case list(head: String, items: [Item])
    }

    struct Item: Sendable {
        var text: String
        var span: Span
    }

    /// What is set apart by an empty line.
    var kind: String {
        switch payload {
        case .version: "policy"
        case .include: "include"
        case .secureTCPIP: "securetcpip"
        case .service: "service"
        case .refusal: "refusal"
        case .audit: "audit"
        case .searchPath: "search-path"
        case .networks, .users, .commands, .hours: "set"
        case .sandbox: "sandbox"
        case .rule: "rule"
        case .broken: "broken"
        }
    }
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

/// What stands in `users` and after `by` and `as`.
enum UserItem: Sendable {
    case name(UserName)
    case group(ByteText)
    case set(String)
    case same
    case any
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

/// A `permit` or a `forbid`.
struct RuleSyntax: Sendable {
    var effect: Effect
    var name: Located<String>
    var services: ServiceScope
    var sources: [Located<NetworkItem>]?
    var remoteUsers: [Located<UserItem>]?
    var targets: [Located<UserItem>]?
    var commands: [Located<CommandItem>]?
    var hours: [Located<HoursItem>]?
    var sandbox: Located<String>?
    var selfTrust: Bool
}

/// A file's statements and comments.
struct ParsedFile: Sendable {
    var number: Int
    var statements: [Statement]
    var comments: [Comment]
}
