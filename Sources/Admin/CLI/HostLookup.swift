// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy
import PolicyLanguage

/// What this host knows of accounts and programs.
enum HostLookup {
    /// The gateway's own accounts, which packaging makes.
    private static let gatewayAccounts: Set<String> = ["portc-front", "portc-eng", "portc-aud"]

    /// An account as a session would see it, or with the groups that were said instead; nil where there is none.
    ///
    /// With groups said, one that this host lacks is an ordinary account; one that it has stays what it is.
    static func account(_ name: UserName, groups: String?) throws -> Account? {
        let known = try account(name)
        guard let groups else { return known }
        let said = groups.split(separator: ",").map { ByteText(String($0)) }
        guard var account = known else { return RequestText.account(name, groups: said) }
        account.groups = said
        return account
    }

    /// An account as a session would see it; nil where there is none of exactly this name.
    static func account(_ name: UserName) throws -> Account? {
        guard let entry = try Accounts.named(name), entry.name.bytes == name.bytes else { return nil }
        let ids = Accounts.groups(of: name, primary: entry.gid) ?? [entry.gid]
        let groups = try Set(ids).sorted().compactMap { id in try Accounts.groupName(id) }
        return Account(
            name: name, uid: entry.uid, groups: Array(groups.prefix(Account.groupLimit)),
            isSystem: Accounts.isSystem(entry), isGateway: gatewayAccounts.contains(name.description))
    }

    /// Words with the program that the first one names here; an absolute path is taken as it stands.
    static func command(_ words: [ByteText], _ settings: Settings) -> RequestedCommand {
        guard let first = words.first else { return .needsShell(firstWord: nil) }
        if first.bytes.contains(UInt8(ascii: "/")) {
            guard var program = RequestText.program(first) else { return .words(words, program: nil) }
            if let found = try? SecureOpen.program(first, searchPath: "") { program.resolvedPath = found.resolved }
            return .words(words, program: program)
        }
        let path = ByteText(Array(settings.searchPath.map(\.bytes).joined(separator: [UInt8(ascii: ":")])))
        let found = try? SecureOpen.program(first, searchPath: path)
        return .words(
            words, program: found.map { RequestedCommand.Program(path: $0.path, resolvedPath: $0.resolved) })
    }
}

/// A command as a client would send it, and what it comes to on this host.
struct AskedCommand {
    /// The string.
    let string: ByteText
    /// How it is split.
    let line: CommandLine
    /// The words with the program that was found, or that it needs a shell.
    let command: RequestedCommand
    /// The words before what needs a shell.
    let beforeShell: RequestedCommand?

    /// The words of a command line after `--`, as rsh puts them together.
    init(_ words: [String], _ settings: Settings) {
        string = ByteText(words.joined(separator: " "))
        line = CommandLine(string.bytes)
        switch line {
        case .words(let words):
            command = HostLookup.command(words, settings)
            beforeShell = nil
        case .needsShell(let need):
            command = .needsShell(firstWord: need.firstWord)
            if case .words(let words) = CommandLine(Array(string.bytes.prefix(need.offset))) {
                beforeShell = HostLookup.command(words, settings)
            } else {
                beforeShell = nil
            }
        }
    }

    /// Why it needs a shell, if it does.
    var shellNeed: String? {
        guard case .needsShell(let need) = line else { return nil }
        let column = need.offset + 1
        switch need.cause {
        case .character(let byte): return "the '\(ByteText([byte]).printable)' at column \(column) needs a shell"
        case .newline: return "the newline at column \(column) needs a shell"
        case .unclosedQuote: return "the quote at column \(column) does not end"
        case .empty: return "an empty command means a shell"
        case .assignment: return "the NAME= at column \(column) needs a shell"
        }
    }

    /// Why its program was not found, if it was not.
    var programMiss: String? {
        guard case .words(let words, program: nil) = command, let first = words.first else { return nil }
        return first.bytes.contains(UInt8(ascii: "/"))
            ? "'\(first.printable)' is no absolute path without '.' and '..'"
            : "'\(first.printable)' is not in the search path, or somebody else could change what is there"
    }
}

extension Settings {
    /// Why a service is not served, if it is not.
    func reasonOff(_ service: Service) -> String? {
        guard !serves(service) else { return nil }
        let isSecured = service == .rsh && rsh.isEnabled && secureTCPIP.isOn
        return isSecured
            ? "securetcpip has rsh off; `securetcpip on except rsh` gives it back"
            : "service \(service.name) does not say `enable`"
    }

    /// Why rcp is refused, where it is.
    static let remoteCopyOff = "securetcpip has rcp off; `securetcpip on except rcp` gives it back"
}
