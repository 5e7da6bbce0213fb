// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// `sandbox` blocks.
extension Parser {
    private static let sandboxItems = [
        "read", "write", "execute", "syscalls", "network", "limit", "timeout", "umask", "path", "environment",
        "on-violation", "require",
    ]

    mutating func parseSandbox() -> (payload: Statement.Payload, layout: Layout)? {
        guard let name = takeName("a sandbox") else { return nil }
        var syntax = SandboxSyntax(name: name, extends: nil, items: [])
        var head = "sandbox \(name.value)"
        if token.kind == .word {
            let word = Located(value: text(token), span: span(of: token))
            guard word.value == "extends" else {
                sink.error(
                    word.span, "'extends' or '{' belongs here", hint: Suggestion.hint(word.value, among: ["extends"]))
                return nil
            }
            advance()
            guard let base = takeName("a sandbox") else { return nil }
            syntax.extends = base
            head += " extends \(base.value)"
        }
        let items = parseBlock("a sandbox", Self.sandboxItems) { parser, word in
            guard let (item, text) = parser.sandboxItem(word.value) else { return nil }
            syntax.items.append(
                Located(
                    value: item, span: Span(file: parser.file, start: Int(word.span.start), end: parser.previousEnd)))
            return word.value + " " + text
        }
        guard let items else { return nil }
        return (.sandbox(syntax), .block(head, items))
    }

    private mutating func sandboxItem(_ word: String) -> (SandboxSyntax.Item, String)? {
        switch word {
        case "read":
            return takePaths().map { (.read($0), Self.text(paths: $0)) }
        case "write":
            return takePaths().map { (.write($0), Self.text(paths: $0)) }
        case "execute":
            return takePaths().map { (.execute($0), Self.text(paths: $0)) }
        case "syscalls":
            return takeSystemCalls()
        case "network":
            return takeNetwork()
        case "limit":
            return takeLimits()
        case "timeout":
            return takeDuration().map { (.timeout($0), takenText) }
        case "umask":
            guard let mask = takeWord("a umask such as 077") else { return nil }
            guard (1...4).contains(mask.value.utf8.count), let value = UInt32(mask.value, radix: 8),
                mask.value.utf8.allSatisfy(Self.isDigit), value <= 0o777
            else {
                sink.error(mask.span, "'\(mask.value)' is no umask: octal, 0 to 777")
                return nil
            }
            let digits = String(value, radix: 8)
            return (.umask(value), String(repeating: "0", count: max(3 - digits.utf8.count, 0)) + digits)
        case "path":
            return takeDirectories().map { ($0.joined(separator: ":")) }.map { (.path(ByteText($0)), $0) }
        case "environment":
            return takeEnvironment()
        case "on-violation":
            guard let choice = takeChoice(["errno", "kill"]) else { return nil }
            return (.onViolation(choice == 0 ? .errno : .kill), choice == 0 ? "errno" : "kill")
        case "require":
            guard takeChoice(["landlock"]) != nil else { return nil }
            return takeNumber("a version of Landlock", 1...1_000).map { (.landlock($0), "landlock \($0)") }
        default:
            return nil
        }
    }

    /// The most paths of an item.
    private static let pathLimit = 1_024

    private mutating func takePaths() -> [Located<Sandbox.Path>]? {
        let start = span(of: token)
        let paths = parseWords("a path") { parser -> Located<Sandbox.Path>? in
            let place = parser.span(of: parser.token)
            let bytes: [UInt8]
            if parser.token.kind == .string {
                guard let (value, _) = parser.takeString("a path") else { return nil }
                bytes = value.bytes
            } else {
                guard let word = parser.takeWord("a path") else { return nil }
                bytes = Array(word.value.utf8)
            }
            guard bytes.count <= 4_096 else {
                parser.sink.error(place, "a path has at most 4,096 bytes")
                return nil
            }
            if bytes.first == UInt8(ascii: "~") {
                let rest = AbsolutePath.withoutLastSlash(ByteText(Array(bytes.dropFirst())))
                if rest.isEmpty || rest == "/" { return Located(value: .home(""), span: place) }
                if AbsolutePath.isPlain(rest) { return Located(value: .home(rest), span: place) }
            } else if AbsolutePath.isPlain(ByteText(bytes)) {
                return Located(value: .absolute(AbsolutePath.withoutLastSlash(ByteText(bytes))), span: place)
            }
            parser.sink.error(place, "a path is absolute, or below '~', and has no '.', '..' or empty part")
            return nil
        }
        guard let paths, paths.count <= Self.pathLimit else {
            if paths != nil { sink.error(start, "at most \(Self.pathLimit) paths") }
            return nil
        }
        return paths
    }

    private static func text(paths: [Located<Sandbox.Path>]) -> String {
        paths.map { located in
            let text = located.value.text
            return text.utf8.allSatisfy(Lexer.isWord) ? text : quoted(text)
        }.joined(separator: " ")
    }

    /// `syscalls allow @system-service deny @keyring, @setuid`.
    private mutating func takeSystemCalls() -> (SandboxSyntax.Item, String)? {
        var allow: [String] = []
        var deny: [String] = []
        var list: Int?
        // Words such as read and umask name system calls too, so only the line's end ends this list.
        let parsed = parseWords("'allow' and names of system calls", endsAtItems: false) { parser -> Bool? in
            guard let word = parser.takeWord("a system call or a group of them") else { return nil }
            if word.value == "allow" || word.value == "deny" {
                list = word.value == "allow" ? 0 : 1
                return true
            }
            guard let list else {
                parser.sink.error(
                    word.span, "'allow' or 'deny' comes before names of system calls",
                    hint: Suggestion.hint(word.value, among: ["allow", "deny"]))
                return nil
            }
            guard parser.check(systemCall: word, isAllowed: list == 0) else { return nil }
            if list == 0 { allow.append(word.value) } else { deny.append(word.value) }
            return true
        }
        guard parsed != nil else { return nil }
        let texts = [
            allow.isEmpty ? nil : "allow " + allow.joined(separator: ", "),
            deny.isEmpty ? nil : "deny " + deny.joined(separator: ", "),
        ].compactMap(\.self)
        guard !allow.isEmpty else {
            sink.error(Span(file: file, start: previousEnd, end: previousEnd), "'syscalls' allows nothing")
            return nil
        }
        return (.systemCalls(allow: allow, deny: deny), texts.joined(separator: " "))
    }

    private mutating func check(systemCall word: Located<String>, isAllowed: Bool) -> Bool {
        if word.value.hasPrefix("@") {
            guard let members = SystemCallGroups.members(of: word.value) else {
                sink.error(
                    word.span, "'\(word.value)' is no group of system calls",
                    hint: Suggestion.hint(word.value, among: SystemCallGroups.names))
                return false
            }
            if isAllowed, members.allSatisfy(SystemCallGroups.never.contains) {
                sink.error(word.span, "no sandbox allows anything of '\(word.value)'")
            }
            return true
        }
        guard SystemCallGroups.isKnown(word.value) else {
            sink.error(
                word.span, "'\(word.value)' is no system call",
                hint: Suggestion.hint(word.value, among: SystemCallGroups.knownSystemCalls))
            return false
        }
        if isAllowed, SystemCallGroups.never.contains(word.value) {
            sink.error(word.span, "no sandbox allows '\(word.value)'")
        }
        if !isAllowed, SystemCallGroups.launch.contains(word.value) {
            sink.error(word.span, "'\(word.value)' cannot be denied: the launch of a command needs it")
        }
        return true
    }

    private mutating func takeNetwork() -> (SandboxSyntax.Item, String)? {
        guard let choice = takeChoice(["off", "on", "tcp-connect"]) else { return nil }
        if choice == 0 { return (.network(.off), "off") }
        if choice == 1 { return (.network(.on), "on") }
        let start = span(of: token)
        let ports = parseWords("a port") { parser in parser.takeNumber("a port", 1...65_535).map { UInt16($0) } }
        guard let ports, ports.count <= Self.pathLimit else {
            if ports != nil { sink.error(start, "at most \(Self.pathLimit) ports") }
            return nil
        }
        return (.network(.tcpConnect(ports)), "tcp-connect " + ports.map { String($0) }.joined(separator: ", "))
    }

    private mutating func takeLimits() -> (SandboxSyntax.Item, String)? {
        var limits = Sandbox.Limits()
        var seen = Set<String>()
        let names = ["cpu", "memory", "processes", "files", "file-size", "output"]
        let texts = parseWords("a limit such as 'cpu 60s'") { parser -> String? in
            let place = parser.span(of: parser.token)
            guard let choice = parser.takeChoice(names) else {
                // The value that follows belongs to the word that was wrong.
                if parser.token.kind == .word, !parser.itemWords.contains(parser.text(parser.token)) {
                    parser.advance()
                }
                return nil
            }
            let isFirst = seen.insert(names[choice]).inserted
            if !isFirst { parser.sink.error(place, "'\(names[choice])' is limited twice") }
            guard let text = parser.limit(names[choice], &limits) else { return nil }
            return names[choice] + " " + text
        }
        return texts.map { (.limits(limits), $0.joined(separator: ", ")) }
    }

    private mutating func limit(_ name: String, _ limits: inout Sandbox.Limits) -> String? {
        switch name {
        case "cpu":
            let place = span(of: token)
            guard let time = takeDuration() else { return nil }
            guard time.isMultiple(of: 1_000) else {
                sink.error(place, "time of the CPU is limited in whole seconds")
                return nil
            }
            limits.cpu = UInt64(time / 1_000)
            return takenText
        case "processes":
            guard let count = takeNumber("a number of processes", 1...4_194_304) else { return nil }
            limits.processes = UInt64(count)
            return String(count)
        case "files":
            // Standard input, output and error, and what a dynamic loader opens.
            guard let count = takeNumber("a number of open files", 4...1_048_576) else { return nil }
            limits.files = UInt64(count)
            return String(count)
        default:
            guard let size = takeSize() else { return nil }
            switch name {
            case "memory": limits.memory = size
            case "file-size": limits.fileSize = size
            default: limits.output = size
            }
            return takenText
        }
    }

    /// What the gateway itself builds, and what changes what a program or a shell loads before its first line.
    private static let reservedVariables: Set<String> = [
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "REMOTE_HOST", "REMOTE_USER", "PORTCULLIS_SESSION",
        "BASH_ENV", "ENV", "IFS",
    ]

    private mutating func takeEnvironment() -> (SandboxSyntax.Item, String)? {
        var seen = Set<String>()
        let variables = parseWords("a variable such as LANG=C.UTF-8") { parser -> Sandbox.EnvironmentVariable? in
            let place = parser.span(of: parser.token)
            let text: String
            if parser.token.kind == .string {
                guard let (value, _) = parser.takeString("a variable") else { return nil }
                text = value.text
            } else {
                guard let word = parser.takeWord("a variable") else { return nil }
                text = word.value
            }
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let name = parts.first, !name.isEmpty, name.utf8.count <= 256,
                text.utf8.count <= 4_096,
                name.utf8.allSatisfy({ Self.isDigit($0) || $0 == UInt8(ascii: "_") || Parser.isLetter($0) }),
                name.utf8.first.map(Self.isDigit) == false
            else {
                parser.sink.error(place, "a variable is written NAME=VALUE")
                return nil
            }
            guard !Self.reservedVariables.contains(String(name)), !name.hasPrefix("LD_") else {
                parser.sink.error(place, "'\(name)' is never taken from a sandbox")
                return nil
            }
            guard seen.insert(String(name)).inserted else {
                parser.sink.error(place, "'\(name)' stands twice")
                return nil
            }
            return Sandbox.EnvironmentVariable(name: ByteText(String(name)), value: ByteText(String(parts[1])))
        }
        guard let variables else { return nil }
        let texts = variables.map { variable in
            let text = (variable.name.text ?? "") + "=" + (variable.value.text ?? "")
            return text.utf8.allSatisfy(Lexer.isWord) ? text : Self.quoted(text)
        }
        return (.environment(variables), texts.joined(separator: " "))
    }

    static func isLetter(_ byte: UInt8) -> Bool { isLower(byte | 0x20) }
}
