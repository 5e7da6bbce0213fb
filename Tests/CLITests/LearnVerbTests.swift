// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Testing
import TrailCrypto

@testable import CLI

/// `portcullis learn`.
@Suite struct LearnVerbTests {
    private func learned(_ arguments: String..., input: String = "") throws -> [String: Any] {
        let result = try CommandRun(["learn", "--json", "--"] + arguments, input: input).result()
        #expect(result.status == 0, "\(result)")
        return try #require(try result.json as? [String: Any])
    }

    @Test func theSandboxIsOnStandardOutputAndTheCommandsOnStandardError() throws {
        let result = try portcullis("learn", "--", "echo", "hello  there")
        #expect(result.status == 0 && result.error == "hello  there\n", "\(result)")
        #expect(result.output.contains("\nsandbox learned-echo extends strict {\n"))
        #expect(result.output.contains("# It ended with exit status 0"))
        #expect(result.output.contains("# What this could not see:"))
    }

    @Test func withAFileTheCommandKeepsItsOutput() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path + "/x"
        let result = try CommandRun(["learn", "--output", file, "--name", "mine", "--", "cat"], input: "in").result()
        #expect(result.status == 0 && result.output == "in", "\(result)")
        #expect(directory.read("x").contains("sandbox mine extends strict {"))
    }

    /// One word is what a client would send, and goes to a shell where it needs one; several are what they are.
    @Test func aWordIsACommandStringAndSeveralAreArguments() throws {
        #expect(try portcullis("learn", "--", "echo 'a  b'").error == "a  b\n")
        #expect(try portcullis("learn", "--", "echo a | tr a b").error == "b\n")
        #expect(try portcullis("learn", "--", "echo", "a | tr a b").error == "a | tr a b\n")
    }

    @Test func howItEndedIsInWordsAndNoFailureOfLearning() throws {
        let failed = try learned("exit 3;")
        #expect((failed["ended"] as? [String: Any])?["status"] as? Int == 3)
        #expect((failed["notes"] as? [String])?.contains { $0.contains("the command failed (exit status 3)") } == true)
        let killed = try learned("kill -KILL $$")
        #expect((killed["ended"] as? [String: Any])?["signal"] as? Int == 9)
    }

    @Test func whatCannotBeRunIsSaid() throws {
        let result = try portcullis("learn", "--", "/nonexistent/program")
        #expect(result.status == 1 && result.output.isEmpty, "\(result)")
        #expect(result.error == "portcullis: /nonexistent/program: not a program that can be executed\n")
        #expect(try portcullis("learn", "--", "no-such-program-here").error.contains("not found in PATH"))
        for wrong in [
            ["learn"], ["learn", "--session", "12", "--", "x"], ["learn", "--session", "xyz"],
            ["learn", "--name", "strict", "--", "true"], ["learn", "--name", "A", "--", "true"],
        ] {
            #expect(try CommandRun(wrong).result().status == 64, "\(wrong)")
        }
    }

    @Test func filesAreOpenedAsTheyAreUsed() throws {
        let directory = try TemporaryDirectory()
        // Not below /tmp, which a sandbox has to itself.
        let place = "/var/tmp/" + URL(fileURLWithPath: directory.path).lastPathComponent
        try FileManager.default.createDirectory(atPath: place + "/made", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: place) }
        for file in ["read", "written", "run"] {
            try Data("#!/bin/sh\nexit 0\n".utf8).write(to: URL(fileURLWithPath: "\(place)/\(file)"))
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: place + "/run")
        let json = try learned(
            "cat \(place)/read && echo x >>\(place)/written && \(place)/run && touch \(place)/made/new && ls \(place)/none; true"
        )
        let text = try #require(json["sandbox"] as? String)
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        let item = { (word: String) in lines.first { $0.hasPrefix(word + " ") } ?? "" }
        #expect(item("read").hasSuffix(" \(place)/read"), "\(text)")
        #expect(item("write") == "write /dev/null \(place)/made \(place)/written", "\(text)")
        #expect(item("execute").hasSuffix(" \(place)/run"), "\(text)")
        #expect(!text.contains("none"))
    }

    /// In a session of root's gateway a link that no listed place has is not there.
    @Test func aNameWithALinkIsListedAsItWasUsed() throws {
        let directory = try TemporaryDirectory()
        let place = "/var/tmp/" + URL(fileURLWithPath: directory.path).lastPathComponent
        let manager = FileManager.default
        try manager.createDirectory(atPath: place + "/real/deep", withIntermediateDirectories: true)
        defer { try? manager.removeItem(atPath: place) }
        try Data("x".utf8).write(to: URL(fileURLWithPath: place + "/real/deep/file"))
        try manager.createSymbolicLink(atPath: place + "/two", withDestinationPath: "one")
        try manager.createSymbolicLink(atPath: place + "/one", withDestinationPath: place + "/real/deep")
        let json = try learned("cat \(place)/two/../deep/./file \(place)//two/file; touch \(place)/one/new")
        let text = try #require(json["sandbox"] as? String)
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        let item = { (word: String) in lines.first { $0.hasPrefix(word + " ") } ?? "" }
        #expect(item("read").hasSuffix("/dev/urandom \(place)/two"), "\(text)")
        #expect(item("write") == "write /dev/null \(place)/one \(place)/real/deep", "\(text)")
        // What is asked of a link itself.
        let asked = try learned("/usr/bin/readlink", place + "/two")
        #expect(
            (asked["notes"] as? [String])?.contains { $0.contains("asked for ") && $0.contains(place + "/two") }
                == true,
            "\(asked)")
    }

    @Test(
        arguments: [
            "readlink", "readlinkat", "getxattr", "lgetxattr", "listxattr", "llistxattr", "inotify_add_watch",
            "name_to_handle_at",
        ])
    func whatIsAskedOfAPathIsLookedAt(call: String) {
        #expect(PathArgument.of(call).count == 1)
        #expect(PathArgument.calls.contains(call))
    }

    /// What no sandbox allows fails here as it does there, so the command goes the same way.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/unshare"), "unshare is not installed"))
    func whatNoSandboxAllowsFailsAndIsSaid() throws {
        let json = try learned("/usr/bin/unshare", "-U", "/bin/true")
        #expect((json["ended"] as? [String: Any])?["status"] as? Int == 1)
        #expect(json["forbiddenCalls"] as? [String] == ["unshare"])
        #expect(
            (json["notes"] as? [String])?.contains { $0.contains("no sandbox allows") && $0.contains("unshare") }
                == true)
    }

    @Test func whatIsLeftRunningIsEnded() throws {
        let json = try learned("sleep 1000 & sleep 1000 & true")
        #expect(json["leftovers"] as? Int == 2)
    }

    @Test func eachCallIsNamedWhereThatIsAsked() throws {
        let result = try portcullis("learn", "--name-calls", "--", "true")
        #expect(result.output.contains("syscalls allow "), "\(result)")
        #expect(!result.output.contains("@system-service") && result.output.contains("mmap"))
    }

    // MARK: Sessions

    private static let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
    private static let session = SessionID(bytes: Array(repeating: 0xA1, count: 16))
    private static let policy = """
        sandbox data extends standard {
            read /usr /lib /lib64 /bin /etc /srv/data
        }
        service rsh {
            enable
            trust rule
        }
        permit all: rsh from 10.0.0.0/8 by any as alice run any sandbox data
        """

    /// A trail of one session with some denials, beside a policy.
    private func site(_ denials: [Record.Denial.Subject], sandbox: String = "data") throws -> TemporaryDirectory {
        let directory = try TemporaryDirectory()
        var records: [Record] = [
            .login(
                Record.Login(
                    origin: Self.origin, account: "alice", remoteUser: "bob", refusal: nil,
                    rule: RuleReference(name: "all", place: FilePlace(file: "p", line: 1)), revision: Revision.none)),
            .command(
                Record.Command(
                    origin: Self.origin, account: "alice", commandLine: "/bin/work", program: "/bin/work",
                    argumentCount: 1, sandbox: sandbox)),
        ]
        records += denials.map { .denial(Record.Denial(origin: Self.origin, account: "alice", subject: $0)) }
        var chain = Chain(after: .start, digest: sha256)
        var text: [UInt8] = []
        let sender = Sender(pid: 1, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")
        for record in records {
            chain.append(
                .record(record), Stamp(milliseconds: 1_795_212_781_237, session: Self.session, sender: sender),
                to: &text)
        }
        try directory.write(text, to: "audit/trail.log")
        try directory.write(Array(Self.policy.utf8), to: "p.policy")
        return directory
    }

    private func learn(_ site: TemporaryDirectory, _ digits: String = "a1a1") throws -> CommandRun.Result {
        try CommandRun([
            "learn", "--session", digits, "--state-directory", site.path, "--policy", site.path + "/p.policy",
        ]).result()
    }

    @Test func aSessionsSandboxIsExtendedByWhatWasDenied() throws {
        let result = try learn(
            site([
                .access("fs.read_file", path: "/opt/a b/x"), .access("fs.make_reg", path: "/var/spool/x"),
                .call("mincore"),
                .call("mount"),
            ]))
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("sandbox learned-data extends data {"))
        #expect(
            result.output.contains("read /usr /lib /lib64 /bin /etc /srv/data \"/opt/a b/x\"\n"), "\(result.output)")
        #expect(result.output.contains(" /var/spool/x\n"))
        #expect(result.output.contains("mincore"))
        #expect(result.output.contains("# * mount was denied: no sandbox allows it"))
    }

    @Test func whereNothingWasDeniedThatIsSaid() throws {
        let none = try learn(site([]))
        #expect(none.status == 1 && none.error.contains("the trail has no denials of session a1a1"), "\(none)")
        let untold = try learn(site([.call(nil)]))
        #expect(untold.status == 1 && untold.error.contains("does not say what was denied"), "\(untold)")
        let unknown = try learn(site([]), "b2")
        #expect(unknown.status == 1 && unknown.error.contains("has no session b2"), "\(unknown)")
        let gone = try learn(site([.call("mincore")], sandbox: "gone"))
        #expect(gone.status == 1 && gone.error.contains("has no sandbox 'gone'"), "\(gone)")
    }
}
