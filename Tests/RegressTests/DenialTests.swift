// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What a sandbox refuses is on the trail, with its session.
@Suite("Denials are on the trail", .needsBuild)
struct DenialTests {
    /// mount(2) by its number, which no sandbox allows.
    private static let mounting: String = {
        #if arch(x86_64)
        "/usr/bin/perl -e 'print \"before\\n\"; $|=1; print syscall(165,0,0,0,0,0),\"\\n\"'"
        #else
        "/usr/bin/perl -e 'print \"before\\n\"; $|=1; print syscall(40,0,0,0,0,0),\"\\n\"'"
        #endif
    }()

    private static let killing = "sandbox killing extends strict {\n    on-violation kill\n}\n"

    private func rule(_ sandbox: String) -> String {
        "permit perl: rexec from 127.0.0.0/8 as \(Gateway.target) run any sandbox \(sandbox)"
    }

    /// Everywhere, whatever the kernel tells: a command that the filter ended is told from one that ended.
    @Test(.needs("perl")) func aCommandThatTheFilterEndedIsToldSo() throws {
        try Gateway.with(Gateway.Setup(Self.killing + rule("killing"))) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, Self.mounting).answer()
            let end = try gate.record("USER_END")
            #expect(end["signal"] == "31", "\(end)")
            let denial = try gate.record("ANOM_ABEND")
            #expect(denial["op"] == "denied" && denial["sig"] == "31" && denial["res"] == "failed", "\(denial)")
            #expect(denial["session"] == end["session"] && denial["ses"] == end["ses"])
            // The session's word and, with the call's name, the kernel's, which makes the first needless where it is earlier.
            #expect((1...2).contains(gate.trail.filter { $0.type == "ANOM_ABEND" }.count))
            let shown = try Child.run(Host.own("portcullis"), ["audit", "show", "--state-directory", gate.state])
            #expect(shown.outText.contains("killed"), "\(shown)")
            let verified = try Child.run(Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state])
            #expect(verified.outcome == .status(0), "\(verified)")
        }
    }

    /// Where the kernel's records can be read, they say which call it was.
    @Test(.needs("perl"), .needsKernelRecords) func theKernelNamesTheCallThatEndedIt() throws {
        try Gateway.with(Gateway.Setup(Self.killing + rule("killing"))) { gate throws in
            _ = try Conversation.rexec(gate, as: Gateway.target, Self.mounting).answer()
            let denial = try gate.record("ANOM_ABEND") { $0["syscall"] == "mount" }
            #expect(denial.value("program") == "/usr/bin/perl", "\(denial)")
            let end = try gate.record("USER_END")
            #expect(denial["session"] == end["session"])
        }
    }

    @Test(.needs("perl"), .needsKernelRecords) func aCallThatFailedIsOnTheTrailAndLearnedFrom() throws {
        var setup = Gateway.Setup(rule("strict"))
        setup.audit = "kernel auto"
        try Gateway.with(setup) { gate throws in
            let answer = try Conversation.rexec(gate, as: Gateway.target, Self.mounting).answer()
            #expect(answer.output == "before\n-1\n", "\(answer)")
            let denial = try gate.record("USER_ERR") { $0["op"] == "denied" }
            #expect(denial["syscall"] == "mount", "\(denial)")
            // What no sandbox allows is told as that.
            let session = try #require(denial["session"])
            let words = ["learn", "--session", session, "--policy", gate.policyPath, "--state-directory", gate.state]
            let learned = try Child.run(Host.own("portcullis"), words)
            #expect(learned.outcome == .status(0) && learned.outText.contains("no sandbox allows it"), "\(learned)")
        }
    }

    @Test(.needs("perl"), .needsKernelRecords) func aCommandCannotFillTheTrailWithDenials() throws {
        var setup = Gateway.Setup(rule("strict"))
        setup.audit = "kernel auto"
        try Gateway.with(setup) { gate throws in
            let many = "/usr/bin/perl -e 'for (1..2000) { syscall(165,0,0,0,0,0) }'"
            _ = try Conversation.rexec(gate, as: Gateway.target, many).answer()
            let first = try gate.record("USER_ERR") { $0["op"] == "denied" && $0["syscall"] == "mount" }
            // The rest comes as one number, a little after the end.
            let rest = try gate.record("USER_ERR") { $0["op"] == "denied" && $0["count"] != nil }
            #expect(rest["session"] == first["session"] && rest["syscall"] == nil, "\(rest)")
            #expect(gate.trail.filter { $0["op"] == "denied" }.count == 2)
        }
    }

    /// Files and ports: the kernel tells of these only where auditing is on.
    @Test(
        .needsKernelRecords, .needsAuditing,
        .enabled(if: Host.landlock >= 7, "Landlock tells of refusals from ABI 7 on"))
    func aRefusedFileIsOnTheTrailAndLearnedFrom() throws {
        try Gateway.with(Gateway.Setup(rule("strict"))) { gate throws in
            // In the home, which is there in `strict`, and closed: what is not in the view is refused by nobody.
            let file = gate.home(Gateway.target) + "/a secret"
            try Files.write("x", to: file, mode: 0o644)
            _ = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/cat '\(file)'").answer()
            let denial = try gate.record("USER_ERR") { $0["op"] == "denied" && $0.value("file") == file }
            #expect(denial["access"] == "fs.read_file" && denial.value("program") == "/usr/bin/cat", "\(denial)")
            let session = try #require(denial["session"])
            let words = ["learn", "--session", session, "--policy", gate.policyPath, "--state-directory", gate.state]
            let learned = try Child.run(Host.own("portcullis"), words)
            #expect(learned.outText.contains("/a secret\""), "\(learned)")
        }
    }
}

extension Trait where Self == ConditionTrait {
    /// CAP_AUDIT_READ, in a kernel with audit.
    static var needsKernelRecords: Self {
        let line = Files.text("/proc/self/status").split(separator: "\n").first { $0.hasPrefix("CapEff:") } ?? ""
        let bits = UInt64(line.split(separator: "\t").last ?? "", radix: 16) ?? 0
        let isThere =
            Host.isRoot && bits >> 37 & 1 == 1 && FileManager.default.fileExists(atPath: "/proc/self/loginuid")
        return .enabled(if: isThere, "the kernel's audit records cannot be read here")
    }

    /// Auditing turned on (auditctl -e 1), which a test does not do.
    static var needsAuditing: Self {
        let status = Host.program("auditctl").flatMap { try? Child.run($0, ["-s"]).outText } ?? ""
        return .enabled(if: status.contains("enabled 1"), "auditing is off here: auditctl -e 1")
    }
}
