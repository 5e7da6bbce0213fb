// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Linux
import Policy
import TestSupport
import Testing

/// The groups of system calls are systemd's, held against its own tool; what differs is named in docs/sandboxes.md.
@Suite struct `Groups of system calls` {
    private static let tool = "/usr/bin/systemd-analyze"

    /// What the tool prints, as text; nil where there is no such tool.
    private static func printed(_ arguments: String) -> String? {
        guard FileManager.default.isExecutableFile(atPath: tool) else { return nil }
        let path = FileManager.default.temporaryDirectory.path + "/portcullis-groups-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        guard (try? runProgram("/bin/sh", ["-c", "exec \(tool) --no-pager \(arguments) > \(path)"])) == .exited(0)
        else {
            return nil
        }
        return try? String(contentsOfFile: path, encoding: .utf8)
    }

    /// The release of the tool (`systemd 252 (252.38-1)`).
    private static let release: Int? = printed("--version").flatMap { text in
        let words = text.split(whereSeparator: \.isWhitespace)
        return words.count > 1 && words[0] == "systemd" ? Int(words[1]) : nil
    }

    /// The groups that the tool prints: a name at the start of a line, its calls and groups indented below it.
    private static let groups: [String: Set<String>] = {
        var groups: [String: Set<String>] = [:]
        var name: String?
        for line in (printed("syscall-filter") ?? "").split(separator: "\n") {
            let word = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("@") {
                name = word
                groups[word] = []
            } else if line.hasPrefix("#") {
                name = nil
            } else if let name, !word.hasPrefix("#") {
                groups[name]?.insert(word)
            }
        }
        return groups
    }()

    /// A group with those of the groups that it names.
    private static func members(of group: String) -> Set<String> {
        var calls: Set<String> = []
        var waiting = [group]
        while let next = waiting.popLast() {
            for word in groups[next] ?? [] {
                if word.hasPrefix("@") { waiting.append(word) } else { calls.insert(word) }
            }
        }
        return calls
    }

    /// The groups that docs/sandboxes.md names as different from systemd's, in the table between its marks.
    private static func named() throws -> Set<String> {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/sandboxes.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        let start = try #require(text.range(of: "<!-- systemd -->\n"))
        let end = try #require(text.range(of: "<!-- end -->", range: start.upperBound..<text.endIndex))
        let rows = text[start.upperBound..<end.lowerBound].split(separator: "\n").filter { $0.hasPrefix("| `@") }
        return Set(rows.compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) })
    }

    @Test(.enabled(if: release == 252, "needs systemd-analyze of systemd 252, to which the groups are pinned"))
    func areThoseOfSystemdButWhereThePageSaysOtherwise() throws {
        var different: Set<String> = []
        for group in Set(SystemCallGroups.names).union(Self.groups.keys) {
            let ours = SystemCallGroups.members(of: group).map(Set.init)
            if ours != (Self.groups[group] == nil ? nil : Self.members(of: group)) { different.insert(group) }
        }
        #expect(Self.groups.count > 25, "the tool's output was not understood")
        #expect(try different == Self.named())
    }

    /// A newer systemd may have more; what it had and has no longer would be ours alone.
    @Test(.enabled(if: release.map { $0 >= 252 } ?? false, "needs systemd-analyze of systemd 252 or later"))
    func haveNothingThatSystemdHasNot() throws {
        let named = try Self.named()
        for group in SystemCallGroups.names where !named.contains(group) {
            let ours = Set(try #require(SystemCallGroups.members(of: group)))
            #expect(ours.subtracting(Self.members(of: group)) == [], "\(group)")
        }
        // `@known` of 252 forgets some that its other groups have.
        let known = ["@known", "@default", "@privileged"].reduce(Set<String>()) { $0.union(Self.members(of: $1)) }
        #expect(Set(SystemCallGroups.knownSystemCalls).subtracting(known) == [])
    }
}
