// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// A reload takes a policy whole or not at all, says why not, and costs no request.
@Suite("Reload", .needsBuild)
struct ReloadTests {
    // MARK: - What cannot be loaded

    /// A way in which a policy can be bad, and what a person is told of it.
    struct Defect: CustomTestStringConvertible, Sendable {
        var testDescription: String
        /// Parts of the message.
        var words: [String]
        /// Puts the defect where the gateway reads it.
        var apply: @Sendable (Gateway) throws -> Void

        init(_ name: String, _ words: String..., apply: @escaping @Sendable (Gateway) throws -> Void) {
            testDescription = name
            self.words = words
            self.apply = apply
        }
    }

    /// Each also forbids everything: were a part of it taken, the next request would be refused.
    private static let forbid = "forbid all: any\n"

    static let defects: [Defect] = [
        Defect("an error in a rule", "test.policy:", ": error: ", "everywhere", "^") { gate in
            try gate.writePolicy(rules: forbid + "permit oops: rexec from everywhere as alice run any")
        },
        Defect("bytes that are no text", "test.policy:", ": error: ") { gate in
            try gate.writePolicy(rules: forbid)
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: gate.policyPath))
            try file.seekToEnd()
            try file.write(contentsOf: Data([0x23, 0xFF, 0x0A]))
            try file.close()
        },
        Defect("an include that does not exist", "test.policy:", ": error: ", "missing.policy") { gate in
            try gate.writePolicy(rules: forbid + "include \"missing.policy\"")
        },
        Defect("an error in an included file", "part.policy:1:", ": error: ") { gate in
            let part = gate.directory + "/policy/part.policy"
            try Files.write("permit\n", to: part, mode: 0o600)
            try gate.writePolicy(rules: forbid + "include \"part.policy\"")
        },
        Defect("an included file that others may write", "test.policy:", "part.policy", "writable") { gate in
            let part = gate.directory + "/policy/part.policy"
            try Files.write("", to: part, mode: 0o666)
            try gate.writePolicy(rules: forbid + "include \"part.policy\"")
        },
        Defect("a file that others may write", "test.policy", "writable") { gate in
            try gate.writePolicy(rules: forbid)
            Files.set(gate.policyPath, mode: 0o662)
        },
        Defect("a file that is not there", "test.policy", "No such file") { gate in
            Files.remove(gate.policyPath)
        },
        Defect("a directory in the file's place", "test.policy") { gate in
            Files.remove(gate.policyPath)
            Files.makeDirectory(gate.policyPath, mode: 0o700)
        },
        Defect("an address that is another's", "192.0.2.1:") { gate in
            try listen(gate, on: "192.0.2.1:\(gate.endpoint(.rexec).port)")
        },
    ]

    /// Writes a policy that forbids everything and has its rexec listen on an address more.
    private static func listen(_ gate: Gateway, on more: String) throws {
        try gate.writePolicy(rules: forbid)
        let listen = "listen \(gate.endpoint(.rexec))"
        let text = Files.text(gate.policyPath).replacingOccurrences(of: listen, with: "\(listen), \(more)")
        try Files.write(text, to: gate.policyPath, mode: 0o600)
    }

    private func reload(_ gate: Gateway) throws -> Child.Result {
        try Child.run(Host.own("portcullis"), ["reload", "--runtime-directory", gate.runtime], within: 120_000)
    }

    /// The revision by which a request is permitted now.
    private func revision(_ gate: Gateway) throws -> String? {
        let before = gate.trail.count
        #expect(try Conversation.rexec(gate, as: Gateway.target, "/bin/echo x").answer().output == "x\n")
        return gate.trail.dropFirst(before).last { $0.type == "USER_LOGIN" && $0["res"] == "success" }?["revision"]
    }

    @Test("what cannot be loaded is refused with words, and changes nothing", arguments: defects)
    func aBadPolicyChangesNothing(defect: Defect) throws {
        try Gateway.with(Rules.words) { gate throws in
            let first = try #require(try revision(gate))
            let text = Files.text(gate.policyPath)
            try defect.apply(gate)

            let told = try reload(gate)
            #expect(told.outcome == .status(1), "\(told)")
            #expect(told.errText.contains("policy not loaded"), "\(told)")
            let failed = try gate.record("USYS_CONFIG") { $0["res"] == "failed" }
            for word in defect.words {
                #expect(told.errText.contains(word), "the administrator is not told \(word): \(told)")
                #expect(gate.log.contains(word), "the log does not say \(word)")
                #expect(failed.value("errors")?.contains(word) ?? false, "the trail does not say \(word): \(failed)")
            }
            #expect(try revision(gate) == first)

            // HUP is the same without anybody to tell.
            gate.daemon?.send(SIGHUP)
            #expect(gate.wait { gate.trail.count { $0.type == "USYS_CONFIG" && $0["res"] == "failed" } == 2 })
            #expect(try revision(gate) == first)

            // Mended, it is loaded as ever: nothing of the failure stays.
            try? FileManager.default.removeItem(atPath: gate.policyPath)
            try Files.write(text + "forbid nobody: rexec as nobody\n", to: gate.policyPath, mode: 0o600)
            let mended = try reload(gate)
            #expect(mended.outcome == .status(0), "\(mended)")
            let second = try #require(try revision(gate))
            #expect(second != first)
            let loaded = try gate.record("USYS_CONFIG") { $0["res"] == "success" }
            #expect(loaded["revision"] == second)
        }
    }

    /// Where the gateway is a user's, that user must be able to read the file; root can read any.
    @Test(.needsRoot) func aFileThatCannotBeReadIsRefusedWithWords() throws {
        var setup = Gateway.Setup("permit words: any from 127.0.0.0/8 by any as nobody run any sandbox strict")
        setup.asNobody = true
        try Gateway.with(setup) { gate throws in
            Files.set(gate.policyPath, mode: 0o000)
            // The control socket is for root as well as for the gateway's own user.
            let told = try reload(gate)
            #expect(told.outcome == .status(1), "\(told)")
            #expect(told.errText.contains("test.policy"), "\(told)")
            #expect(told.errText.contains("Permission denied"), "\(told)")
            #expect(try gate.record("USYS_CONFIG") { $0["res"] == "failed" }.value("errors")?.isEmpty == false)
        }
    }

    /// The old addresses go on, and no part of the new ones is taken.
    @Test func anAddressInUseChangesNothing() throws {
        try Gateway.with(Rules.words) { gate throws in
            let taken = try Socket.listen(on: gate.address, port: 0)
            let place = try "\(taken.local)"
            let before = try Child.run(Host.own("portcullis"), ["status", "--runtime-directory", gate.runtime])
            try Self.listen(gate, on: "\(gate.address):\(gate.endpoint(.rexec).port + 7), \(place)")
            let told = try reload(gate)
            #expect(told.outcome == .status(1), "\(told)")
            #expect(told.errText.contains(place), "\(told)")
            #expect(try gate.record("USYS_CONFIG") { $0["res"] == "failed" }.value("errors")?.isEmpty == false)
            let free = Endpoint(address: gate.address, port: gate.endpoint(.rexec).port + 7)
            #expect((try? Socket.connect(to: free)) == nil, "half of the new addresses were taken")
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/bin/echo x").answer().output == "x\n")
            let after = try Child.run(Host.own("portcullis"), ["status", "--runtime-directory", gate.runtime])
            #expect(before.outText.contains("sha256:"))
            let digests = [before, after].map { $0.outText.components(separatedBy: "sha256:").last?.prefix(64) }
            #expect(digests[0] == digests[1])
        }
    }

    @Test("at start a policy with an error is told in full, and the status is 1", arguments: defects.prefix(5))
    func aBadPolicyAtStartIsToldInFull(defect: Defect) throws {
        try Gateway.with(Gateway.Setup(Rules.words), start: false) { gate throws in
            try defect.apply(gate)
            try gate.launch()
            #expect(gate.daemon?.wait(within: 60_000) == .status(1))
            for word in defect.words { #expect(gate.log.contains(word), "it does not say \(word): \(gate.log)") }
            #expect(!gate.log.contains("ready:"))
        }
    }

    // MARK: - Large policies

    /// A policy of 100,000 rules, of which one permits what the test asks for, in a sandbox of its own.
    private static func large(_ name: String) -> String {
        var text = "sandbox \(name)-sandbox extends strict {\n    umask 027\n}\n"
        for number in 0..<99_999 {
            let host = "10.\(number >> 16).\(number >> 8 & 255).\(number & 255)"
            text += "permit r\(number): rsh from \(host) by user\(number) as account\(number % 1_000) "
            text += "run \"/usr/bin/job\(number % 100) <word>\"\n"
        }
        return text + "permit \(name): rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox \(name)-sandbox"
    }

    /// Requests are sent without a pause while two policies of 100,000 rules take turns: each is permitted, by one or
    /// by the other, and what is on the trail of it is of that one alone.
    @Test func reloadsOfALargePolicyLoseNoRequestAndMixNoRevisions() throws {
        try Gateway.with(Rules.words) { gate throws in
            var asked = 0
            for round in 0..<4 {
                let loads = gate.trail.count { $0.type == "USYS_CONFIG" }
                try gate.writePolicy(rules: Self.large(round % 2 == 0 ? "even" : "odd"))
                gate.daemon?.send(SIGHUP)
                // Some are on their way at any moment, of the load and of the change itself.
                while gate.trail.count(where: { $0.type == "USYS_CONFIG" }) == loads {
                    let clients = try (0..<4).map { _ in
                        try Conversation.rexec(gate, as: Gateway.target, "/bin/echo answered")
                    }
                    for client in clients {
                        let answer = client.answer(within: 60_000)
                        #expect(answer.output == "answered\n", "round \(round): \(answer)")
                    }
                    asked += clients.count
                    guard gate.daemon?.wait(within: 0) == .stillRunning else { throw HarnessError(description: "dead") }
                }
            }
            #expect(try Conversation.rexec(gate, as: Gateway.target, "/bin/echo x").answer().isAccepted)
            #expect(gate.wait { gate.trail.count { $0.type == "USER_END" } == asked + 1 })

            #expect(gate.refusals == 0)
            let loads = gate.trail.filter { $0.type == "USYS_CONFIG" && $0["res"] == "success" }
            #expect(loads.count == 5, "a reload failed")
            #expect(Set(loads.compactMap { $0["revision"] }).count == 3)
            try expectOneRevisionASession(gate.trail, loads: loads.compactMap { $0["revision"] })
        }
    }

    /// Rule, revision and sandbox of each session are of the same policy.
    private func expectOneRevisionASession(_ trail: [TrailLine], loads: [String]) throws {
        let expected: [String: [String?]] = [
            loads[0]: ["words", "strict"], loads[1]: ["even", "even-sandbox"], loads[2]: ["odd", "odd-sandbox"],
        ]
        let sessions = Dictionary(grouping: trail.filter { $0["session"] != nil }, by: { $0["session"] })
        for (session, records) in sessions {
            let login = try #require(records.first { $0.type == "USER_LOGIN" })
            let command = try #require(records.first { $0.type == "USER_CMD" })
            let revision = try #require(login["revision"])
            let both = [login["rule"], command["sandbox"]]
            #expect(both == expected[revision], "\(session ?? "?"): \(login) \(command)")
            let others = Set(records.compactMap { $0["revision"] })
            #expect(others == [revision], "\(session ?? "?")")
        }
    }
}
