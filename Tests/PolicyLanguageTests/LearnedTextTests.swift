// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import TestSupport
import Testing

@testable import PolicyLanguage

/// A learned sandbox is a policy's text, in canonical form, that means what was learned.
@Suite struct LearnedTextTests {
    private func policy(_ text: String) throws -> Policy {
        let loaded = PolicyText.load(SourceFile(name: "t", identity: "t", handle: 0, bytes: Array(text.utf8)))
        return try #require(loaded.policy, "\(loaded.diagnostics.map(\.headline))\n\(text)")
    }

    /// Whatever was seen, the text parses, resolves, is canonical, and gives back what was learned.
    @Test func whatIsLearnedIsAPolicy() throws {
        var random = SeededGenerator(seed: 0x1EA4)
        let names = ["a", "b c", "d\"e", "f\\g", "h#i", "ü", "j{k", "~l", "m,n", "@o", "\u{1}", "p*"]
        let calls = SystemCallGroups.knownSystemCalls
        for round in 0..<400 {
            var seen = Observations()
            seen.home = "/home/alice"
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                let top = ["/srv", "/home/alice", "/tmp", "/usr", "/proc/1", "/var/lib/x", "/"].randomElement(
                    using: &random)
                let path = (0..<Int.random(in: 0...3, using: &random)).reduce(top ?? "/") { path, _ in
                    path + (path == "/" ? "" : "/") + (names.randomElement(using: &random) ?? "z")
                }
                seen.add(Observations.Use(rawValue: UInt8.random(in: 1...31, using: &random)), ByteText(path))
            }
            for _ in 0..<Int.random(in: 0...30, using: &random) {
                if let call = calls.randomElement(using: &random) { seen.systemCalls.insert(call) }
            }
            if Bool.random(using: &random) { seen.network.ports = [80, 443] }
            if Bool.random(using: &random) { seen.network.further = ["does something\n}"] }
            seen.resources.addressSpace = UInt64.random(in: 0...UInt64.max, using: &random)
            seen.resources.milliseconds = UInt64.random(in: 0...UInt64.max, using: &random)
            let learned = LearnedSandbox(seen, namesCalls: Bool.random(using: &random))
            let text = try LearnedText.text(
                learned, named: "learned-x", before: ["from\n} permit"], behind: learned.notes + ["\u{1B}[31m"])
            #expect(LearnedText.faults(text).isEmpty, "round \(round): \(text)")
            let source = SourceFile(name: "t", identity: "t", handle: 0, bytes: Array(text.utf8))
            #expect(PolicyText.format(source).text == text, "round \(round)")
            let sandbox = try #require(try policy(text).sandboxes.first { $0.name == "learned-x" })
            let strict = try #require(SandboxDefinition.builtIn("strict")).base
            #expect(sandbox.read == learned.read ?? strict.read, "round \(round)")
            #expect(sandbox.write == learned.write ?? strict.write, "round \(round)")
            #expect(sandbox.execute == learned.execute ?? strict.execute, "round \(round)")
            #expect(sandbox.network == learned.network ?? .off)
            #expect(sandbox.limits == learned.limits && sandbox.timeout == learned.timeout)
            let needed = seen.systemCalls.subtracting(SystemCallGroups.never)
                .subtracting(["socket", "connect", "bind", "listen", "accept", "accept4", "socketcall"])
            #expect(needed.isSubset(of: sandbox.systemCalls), "round \(round)")
        }
    }

    @Test func whatAGatewayWouldNotTakeIsTold() throws {
        var seen = Observations()
        seen.add(.read, "/var/lib/portcullis/audit/trail.log")
        let text = try LearnedText.text(LearnedSandbox(seen), named: "learned-x")
        #expect(LearnedText.faults(text).isEmpty)
        #expect(LearnedText.faults(text, GuardedDirectories(state: "/var/lib/portcullis")).count == 1)
    }
}
