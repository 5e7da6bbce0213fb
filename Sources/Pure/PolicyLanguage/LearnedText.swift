// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
public import Policy

/// Writes a learned sandbox as a policy has it.
public enum LearnedText {
    /// The sandbox's block in canonical form; comments, one line each, stand before and behind it.
    ///
    /// - Parameters:
    ///   - name: the sandbox's name, as the language takes it.
    ///   - before: lines of comment before the block.
    ///   - behind: lines of comment behind it.
    /// - Throws: the diagnostics where the text does not come out as a policy, which is a defect of ours.
    public static func text(
        _ sandbox: LearnedSandbox, named name: String, before: [String] = [], behind: [String] = []
    ) throws(LearnedTextError) -> String {
        var lines = before.map(comment)
        lines.append("sandbox \(name) extends \(sandbox.base) {")
        lines += items(sandbox).map { "    " + $0 }
        lines.append("}")
        lines += behind.map(comment)
        let source = SourceFile(
            name: "learned", identity: "learned", handle: 0, bytes: Array((lines.joined(separator: "\n") + "\n").utf8))
        let formatted = PolicyText.format(source)
        guard let text = formatted.text else { throw LearnedTextError(diagnostics: formatted.diagnostics) }
        return text
    }

    /// What a policy with this text says against it: nothing, or why a gateway of these directories would not take it.
    public static func faults(_ text: String, _ directories: GuardedDirectories = GuardedDirectories()) -> [Diagnostic]
    {
        let source = SourceFile(name: "learned", identity: "learned", handle: 0, bytes: Array(text.utf8))
        return PolicyText.load(source, directories: directories).diagnostics.filter { $0.severity == .error }
    }

    private static func comment(_ text: String) -> String {
        // Nothing that was observed ends a comment's line.
        text.isEmpty ? "#" : "# " + ByteText(text).printable
    }

    private static func items(_ sandbox: LearnedSandbox) -> [String] {
        var items: [String] = []
        for (word, paths) in [("read", sandbox.read), ("write", sandbox.write), ("execute", sandbox.execute)] {
            guard let paths else { continue }
            items.append(word + " " + paths.map { path in written(path.text) }.joined(separator: " "))
        }
        if let allowed = sandbox.allowed {
            let denied = sandbox.denied.isEmpty ? "" : " deny " + sandbox.denied.joined(separator: ", ")
            items.append("syscalls allow " + allowed.joined(separator: ", ") + denied)
        }
        switch sandbox.network {
        // As what it extends has it.
        case nil: break
        case .off: items.append("network off")
        case .tcpConnect(let ports):
            items.append("network tcp-connect " + ports.map { String($0) }.joined(separator: ", "))
        case .on: items.append("network on")
        }
        if let set = sandbox.limits { items.append("limit " + limits(set).joined(separator: ", ")) }
        if let timeout = sandbox.timeout { items.append("timeout \(timeout / 60_000)m") }
        if let path = sandbox.searchPath {
            items.append("path " + path.compactMap(\.text).joined(separator: ":"))
        }
        return items
    }

    private static func limits(_ limits: Sandbox.Limits) -> [String] {
        [
            limits.cpu.map { "cpu \($0)s" }, limits.memory.map { "memory \(size($0))" },
            limits.processes.map { "processes \($0)" }, limits.files.map { "files \($0)" },
            limits.fileSize.map { "file-size \(size($0))" }, limits.output.map { "output \(size($0))" },
        ].compactMap(\.self)
    }

    /// A size in the largest unit that divides it.
    static func size(_ bytes: UInt64) -> String {
        for (unit, shift) in [("G", UInt64(30)), ("M", 20), ("K", 10)] where bytes != 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return String(bytes)
    }

    private static func written(_ text: String) -> String {
        text.utf8.allSatisfy(Lexer.isWord) ? text : Parser.quoted(text)
    }
}

/// A text of ours that the language does not take.
public struct LearnedTextError: Error, Sendable {
    /// Why not.
    public var diagnostics: [Diagnostic]
}
