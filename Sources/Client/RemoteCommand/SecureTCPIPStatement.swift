// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What the host's policy says of .netrc, found without the policy's grammar: this is a client, and the policy is not
/// its to judge. Only the statement `securetcpip` is looked for, at the start of a line, in the policy's own file and
/// those that it includes.
public enum SecureTCPIPStatement {
    /// Where a host's policy lies.
    public static let policyPath = "/etc/portcullis/portcullis.policy"

    /// The most bytes of a policy file.
    private static let sizeLimit = 64 << 20
    /// The most files, and how deep they include each other: the policy language's own limits.
    private static let fileLimit = FileNamePattern.limit
    private static let depthLimit = 8

    /// Whether the policy of this host, as far as the caller can read it, lets clients read .netrc.
    ///
    /// A policy without the statement has securetcpip on; a host without a readable policy has none. Included files that
    /// the caller cannot read say nothing.
    public static func allowsNetrc(policy path: String = policyPath) -> Bool {
        guard let text = text(of: path) else { return true }
        let root = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        var setting = SecureTCPIP()
        // The files that are still to be read, the next one last: an include stands for its files' statements in place,
        // but of a statement that may stand once the order is of no matter.
        var waiting = [(text: text, directory: root, depth: 0)]
        var count = 1
        while let file = waiting.popLast() {
            for pattern in apply(file.text, to: &setting) where file.depth < depthLimit {
                for path in files(pattern, below: file.directory) where count < fileLimit {
                    guard let text = Self.text(of: path) else { continue }
                    count += 1
                    let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? root
                    waiting.append((text, directory, file.depth + 1))
                }
            }
        }
        return setting.allows(.netrc)
    }

    /// The same, of a policy's text without includes.
    static func allowsNetrc(text: [UInt8]) -> Bool {
        var setting = SecureTCPIP()
        _ = apply(text, to: &setting)
        return setting.allows(.netrc)
    }

    private static func text(of path: String) -> [UInt8]? {
        guard let file = try? File.open(path, [.reading, .nonBlocking]), let text = try? file.readAll(limit: sizeLimit)
        else { return nil }
        return text
    }

    /// The files that an include names; a path that leads out of the policy's directory is none.
    private static func files(_ pattern: String, below directory: String) -> [String] {
        let parts = pattern.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard !parts.contains(where: { ["", ".", ".."].contains($0) }) else { return [] }
        return FileNamePattern.expand(
            parts, below: directory, names: { (try? Directory.names($0)) ?? [] },
            isDirectory: { (try? File.status($0))?.kind == .directory }) ?? []
    }

    /// Takes the statement from a text.
    ///
    /// - Returns: what the text includes.
    private static func apply(_ text: [UInt8], to setting: inout SecureTCPIP) -> [String] {
        var includes: [String] = []
        for words in statements(text) {
            switch words.first {
            case "include":
                // A name in quotes; one with a blank in it comes as many words.
                let name = words.dropFirst().map(\.printable).joined(separator: " ")
                if name.count > 2, name.hasPrefix("\""), name.hasSuffix("\"") {
                    includes.append(String(name.dropFirst().dropLast()))
                }
            case "securetcpip":
                setting = Self.setting(words.dropFirst()) ?? setting
            default: break
            }
        }
        return includes
    }

    private static func setting(_ words: ArraySlice<ByteText>) -> SecureTCPIP? {
        var setting = SecureTCPIP()
        switch words.first {
        case "off": setting.isOn = false
        case "on":
            setting.isOn = true
            let names = words.dropFirst()
            guard names.first == "except" else { break }
            setting.exceptions = Set(
                SecureTCPIP.Exception.allCases.filter { names.dropFirst().contains(ByteText($0.name)) })
        default: return nil
        }
        return setting
    }

    /// The words of each line, continuations joined, comments left out.
    private static func statements(_ text: [UInt8]) -> [[ByteText]] {
        var statements: [[ByteText]] = []
        var words: [ByteText] = []
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            var part = line.prefix { $0 != UInt8(ascii: "#") }
            let goesOn = part.last == UInt8(ascii: "\\")
            if goesOn { part.removeLast() }
            let blanks: Set<UInt8> = [UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: ",")]
            words += part.split(whereSeparator: blanks.contains).map { ByteText(Array($0)) }
            guard !goesOn else { continue }
            statements.append(words)
            words = []
        }
        statements.append(words)
        return statements
    }
}
