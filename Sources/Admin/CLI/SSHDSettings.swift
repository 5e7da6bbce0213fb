// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PolicyLanguage

/// The settings of OpenSSH's daemon that a host's files give (sshd_config(5)).
struct SSHDSettings {
    /// A value, and where it stands.
    struct Value {
        /// In lower case.
        var text: String
        /// FILE:LINE.
        var place: String
        /// Whether it stands below a Match, and so holds for some connections alone.
        var isConditional: Bool
    }

    /// The most files that includes give, and levels of them: sshd's own limit is 16.
    private static let fileLimit = 256
    private static let depthLimit = 16

    /// The values of each keyword, in lower case, in the order in which sshd reads them.
    private(set) var values: [String: [Value]] = [:]
    /// Files that could not be read.
    private(set) var problems: [String] = []
    /// Whether there is a configuration at all.
    let exists: Bool

    private var files = 0

    init(_ host: LocalHost) {
        let path = "/etc/ssh/sshd_config"
        exists = host.exists(path)
        var isConditional = false
        read(path, host, depth: 0, &isConditional)
    }

    /// The value that holds where no Match does: the first one.
    func value(_ keyword: String) -> Value? {
        values[keyword]?.first { !$0.isConditional }
    }

    /// The values below a Match.
    func conditional(_ keyword: String) -> [Value] {
        values[keyword, default: []].filter(\.isConditional)
    }

    private mutating func read(_ path: String, _ host: LocalHost, depth: Int, _ isConditional: inout Bool) {
        guard files < Self.fileLimit, depth < Self.depthLimit else {
            problems.append("\(path): too many includes")
            return
        }
        files += 1
        let bytes: [UInt8]
        switch host.read(path) {
        case .absent: return
        case .unreadable(let text):
            problems.append(text)
            return
        case .bytes(let found): bytes = found
        }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let words = String(decoding: line, as: UTF8.self)
                .split { $0 == " " || $0 == "\t" || $0 == "=" || $0 == "\r" || $0 == "\"" }
            guard let keyword = words.first?.lowercased(), !keyword.hasPrefix("#"), words.count > 1 else { continue }
            switch keyword {
            case "match": isConditional = words[1].lowercased() != "all"
            case "include":
                for pattern in words.dropFirst() {
                    for file in Self.files(String(pattern), host) {
                        // What a file matches ends with it.
                        var inner = isConditional
                        read(file, host, depth: depth + 1, &inner)
                    }
                }
            default:
                values[keyword, default: []].append(
                    Value(text: words[1].lowercased(), place: "\(path):\(index + 1)", isConditional: isConditional))
            }
        }
    }

    /// The files of a pattern whose last component may be a glob; a relative one is below /etc/ssh.
    private static func files(_ pattern: String, _ host: LocalHost) -> [String] {
        let path = pattern.hasPrefix("/") ? pattern : "/etc/ssh/" + pattern
        guard FileNamePattern.isGlob(path) else { return [path] }
        let directory = LocalPolicyFiles.directory(of: path)
        let last = Array((path.split(separator: "/").last ?? "").utf8)
        return host.names(directory).filter { FileNamePattern.matches(last, Array($0.utf8)) }.map {
            "\(directory)/\($0)"
        }
    }
}
