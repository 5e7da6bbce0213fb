// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// A kernel that has less than a sandbox is made of: the request is refused, and nothing runs with less.
///
/// Escapes/without.c answers in the kernel's place; docs/sandboxes.md, "Where the kernel has less", has what comes of each.
@Suite("What the kernel lacks", .needsBuild, .needsCompiler)
struct MissingPartsTests {
    /// What is missing, and whether a confined command runs all the same.
    private static let rooted: [(part: String, runs: Bool)] = [
        ("nothing", true), ("namespaces", false), ("networks", false), ("setns", false), ("mount", false),
        ("open_tree", false), ("mount_setattr", false), ("move_mount", false), ("fsopen", false), ("chroot", false),
        ("an empty place for mounts", false), ("limits", false), ("the bounding set", false),
        ("capabilities", false), ("no_new_privs", false), ("Landlock", false), ("a rule of Landlock", false),
        ("a domain of Landlock", false), ("filter", false),
        // Namespaces hold what they would hold.
        ("the scopes of Landlock", true),
        // The init goes to its group itself; and where there are no groups to be seen, there is nothing to hide.
        ("clone3", true), ("clone3 for a filter", true), ("cgroup namespaces", true),
        // Where others could write the memory of the command's process, it is a copy of the init's.
        ("closed memory", true),
    ]
    /// Of a plain user's, for whom there is less to be missing.
    private static let plain: [(part: String, runs: Bool)] = [
        ("nothing", true), ("limits", false), ("no_new_privs", false), ("Landlock", false),
        ("the scopes of Landlock", false), ("a rule of Landlock", false), ("a domain of Landlock", false),
        ("filter", false),
    ]

    private static let cases: [(part: String, asRoot: Bool, runs: Bool)] =
        (Host.isRoot ? rooted.map { ($0.part, true, $0.runs) } : []) + plain.map { ($0.part, false, $0.runs) }

    @Test(arguments: cases) func whatTheKernelLacksIsRefusedAndNotLeftOut(part: String, asRoot: Bool, runs: Bool) throws
    {
        // Where the kernel itself has no scopes, the others' sandbox does without in words.
        let isLess = !asRoot && Host.landlock < 6 && part != "the scopes of Landlock"
        try ask(without: part, asRoot: asRoot, requiring: isLess ? 1 : nil, runs: runs)
    }

    /// The ABI without the scopes: 5, or this kernel's own where it is older.
    private static let older = min(Host.landlock, 5)

    /// As a plain user nothing else holds what the newer parts of Landlock do.
    @Test(arguments: [(older, true), (older - 1, true), (older + 1, false)])
    func aPlainUsersSandboxRunsWithNoLessThanThePolicySays(version: Int, runs: Bool) throws {
        try ask(without: "the scopes of Landlock", asRoot: false, requiring: version, runs: runs)
    }

    /// The gateway of a kernel that is without them says so at its start.
    @Test func aPlainUsersGatewaySaysWhatItsSandboxesNeed() throws {
        try with(without: "the scopes of Landlock", asRoot: false, requiring: nil) { gate, _ in
            #expect(gate.log.contains("Landlock has ABI \(Self.older), and without root a confined sandbox needs 6"))
        }
    }

    private func ask(without part: String, asRoot: Bool, requiring version: Int?, runs: Bool) throws {
        try with(without: part, asRoot: asRoot, requiring: version) { gate, account in
            let answer = try Conversation.rexec(gate, as: account, "/usr/bin/id -u").answer()
            #expect(answer.isAccepted == runs, "\(answer)")
            if runs {
                #expect(UInt32(answer.output.dropLast()) != nil, "\(answer)")
            } else {
                #expect(try gate.lastReason() == "sandbox-unavailable")
            }
        }
    }

    private func with(
        without part: String, asRoot: Bool, requiring version: Int?, _ body: (Gateway, String) throws -> Void
    ) throws {
        let base = Host.isRoot ? "/run" : FileManager.default.temporaryDirectory.path
        let folder = base + "/portcullis-lack-" + UUID().uuidString
        Files.makeDirectory(folder, mode: 0o755)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let library = folder + "/without.so"
        try Data(try EscapeGround.programs.get().without).write(to: URL(fileURLWithPath: library))
        Files.set(library, mode: 0o755)
        let account = asRoot ? "alice" : Host.isRoot ? "nobody" : NSUserName()
        var setup = Gateway.Setup(
            (version.map { "sandbox less extends strict {\n    require landlock \($0)\n}\n" } ?? "")
                + "permit any: rexec from 127.0.0.0/8 as \(account) run any "
                + "sandbox \(version == nil ? "strict" : "less")")
        setup.asNobody = Host.isRoot && !asRoot
        setup.environment = ["LD_PRELOAD": library, "PORTCULLIS_WITHOUT": "lack " + part]
        try Gateway.with(setup) { gate throws in try body(gate, account) }
    }
}
