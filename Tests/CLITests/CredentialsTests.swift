// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import PasswordHash
import Testing

/// `portcullis credentials`: the file is replaced as a whole, is the owner's alone, and holds hashes.
@Suite struct CredentialsTests {
    private let state: TemporaryDirectory

    init() throws {
        state = try TemporaryDirectory()
    }

    private func run(_ arguments: String..., input: String = "") throws -> CommandRun.Result {
        try CommandRun(["credentials"] + arguments + ["--state-directory", state.path], input: input).result()
    }

    private func hash(of user: String) throws -> PasswordHash {
        let table = try CredentialTable(Array(state.read("credentials").utf8))
        let name = try #require(UserName(user))
        return try #require(table[name])
    }

    private func matches(_ user: String, _ password: String) throws -> Bool {
        let secret = try Secret()
        _ = secret.append(Array(password.utf8))
        return try hash(of: user).matches(secret)
    }

    private var mode: Int? {
        get throws {
            try FileManager.default.attributesOfItem(atPath: state.path + "/credentials")[.posixPermissions] as? Int
        }
    }

    @Test func aPasswordFromStandardInputIsHashedWithYescrypt() throws {
        let set = try run("set", "root", input: "correct horse\nsecond line\n")
        #expect(set.status == 0, "\(set.error)")
        #expect(set.output.isEmpty)
        #expect(state.read("credentials").hasPrefix("root:$y$"))
        #expect(try matches("root", "correct horse"))
        #expect(try !matches("root", "correct horse\n"))
        #expect(try mode == 0o600)
        #expect(!state.read("credentials").contains("horse"))
    }

    @Test func anotherSetReplacesAndOthersStay() throws {
        _ = try run("set", "alice", input: "one")
        _ = try run("set", "bob", input: "two")
        _ = try run("set", "alice", input: "three")
        #expect(try run("list").output == "alice\nbob\n")
        #expect(try matches("alice", "three"))
        #expect(try !matches("alice", "one"))
        #expect(try matches("bob", "two"))
        let list = try #require(try run("list", "--json").json as? [[String: String]])
        #expect(list == [["user": "alice"], ["user": "bob"]])
        #expect(try run("list", "bob").output == "bob\n")
        #expect(try run("list", "carol").status == 1)
    }

    @Test func commentsStay() throws {
        try state.write(Array("# the backup host\n".utf8), to: "credentials")
        _ = try run("set", "backup", input: "x")
        #expect(state.read("credentials").hasPrefix("# the backup host\nbackup:$y$"))
        #expect(try mode == 0o600)
    }

    @Test func removeTakesOneAccount() throws {
        _ = try run("set", "alice", input: "one")
        _ = try run("set", "bob", input: "two")
        #expect(try run("remove", "alice").status == 0)
        #expect(try run("list").output == "bob\n")
        let again = try run("remove", "alice")
        #expect(again.status == 1)
        #expect(again.error.contains("no account 'alice'"))
    }

    @Test func aLockedAccountCanBeRemoved() throws {
        _ = try run("set", "alice", input: "one")
        try state.write(Array((state.read("credentials") + "bob:!locked\n").utf8), to: "credentials")
        let remove = try run("remove", "bob")
        #expect(remove.status == 0, "\(remove.error)")
        #expect(try run("list").output == "alice\n")
    }

    @Test func aLockedAccountIsNotUnlockedWithoutAWord() throws {
        try state.write(Array("root:!locked\n".utf8), to: "credentials")
        let set = try run("set", "root", input: "one")
        #expect(set.status == 0)
        #expect(set.error.contains("'root' was locked in \(state.path)/credentials, and no longer is"))
        #expect(try matches("root", "one"))
        #expect(try run("set", "root", input: "two").error.isEmpty)
    }

    @Test(arguments: ["", "\n", String(repeating: "x", count: 129), "a\u{0}b"])
    func passwordsThatNoRequestCanCarryAreRefused(_ password: String) throws {
        let set = try run("set", "root", input: password)
        #expect(set.status == 1)
        #expect(!FileManager.default.fileExists(atPath: state.path + "/credentials"))
    }

    @Test(arguments: ["a b", "", "-x", "a:b", "é", String(repeating: "x", count: 33)])
    func namesThatNoRequestCanCarryAreUsageErrors(_ name: String) throws {
        let set = try CommandRun(
            ["credentials", "set", "--state-directory", state.path, "--", name], input: "x"
        ).result()
        #expect(set.status == 64)
    }

    @Test func anUnknownAccountIsWarnedOf() throws {
        let set = try run("set", "no-such-account", input: "x")
        #expect(set.status == 0)
        #expect(set.error.contains("no account 'no-such-account'"))
    }

    /// A file that is not understood is not replaced by half of itself.
    @Test func aFileThatIsNotUnderstoodStaysAsItIs() throws {
        try state.write(Array("alice:plaintext\n".utf8), to: "credentials")
        let set = try run("set", "bob", input: "x")
        #expect(set.status == 1)
        #expect(set.error.contains("line 1"))
        #expect(!set.error.contains("plaintext"))
        #expect(state.read("credentials") == "alice:plaintext\n")
    }

    @Test func aLinkIsNotFollowed() throws {
        let elsewhere = try TemporaryDirectory()
        try elsewhere.write(Array("# theirs\n".utf8), to: "file")
        try FileManager.default.createSymbolicLink(
            atPath: state.path + "/credentials", withDestinationPath: elsewhere.path + "/file")
        #expect(try run("set", "bob", input: "x").status == 1)
        #expect(elsewhere.read("file") == "# theirs\n")
    }

    @Test func noChangeIsLostWhenTwoComeAtOnce() throws {
        let runs = try (0..<6).map {
            try CommandRun(["credentials", "set", "user\($0)", "--state-directory", state.path], input: "x")
        }
        for run in runs { #expect(try run.result().status == 0) }
        #expect(try run("list").output.split(separator: "\n").sorted() == (0..<6).map { "user\($0)" })
    }

    @Test func setsAndRemovalsAtOnceLoseNothing() throws {
        for user in 0..<3 { _ = try run("set", "old\(user)", input: "x") }
        let runs = try (0..<3).flatMap { user in
            [
                try CommandRun(["credentials", "set", "new\(user)", "--state-directory", state.path], input: "x"),
                try CommandRun(["credentials", "remove", "old\(user)", "--state-directory", state.path]),
            ]
        }
        for run in runs { #expect(try run.result().status == 0) }
        #expect(try run("list").output.split(separator: "\n").sorted() == ["new0", "new1", "new2"])
    }

    // MARK: What was cut off, and what is hostile

    /// Whenever a change is killed, the file is the old one or the new one.
    @Test func aKilledChangeLeavesAWholeFile() throws {
        _ = try run("set", "alice", input: "one")
        for delay in 0..<12 {
            let change = try CommandRun(["credentials", "set", "bob", "--state-directory", state.path], input: "two")
            usleep(UInt32(delay) * 4_000)
            change.kill()
            _ = try change.result()
            let table = try CredentialTable(Array(state.read("credentials").utf8))
            #expect([["alice"], ["alice", "bob"]].contains(table.names.map(\.description)))
            #expect(try mode == 0o600)
        }
        #expect(try matches("alice", "one"))
        #expect(try run("set", "bob", input: "three").status == 0)
        #expect(try matches("bob", "three"))
    }

    @Test func whatACutOffChangeLeftIsNeitherUsedNorFollowed() throws {
        let elsewhere = try TemporaryDirectory()
        try elsewhere.write(Array("theirs\n".utf8), to: "file")
        _ = try run("set", "alice", input: "one")
        try FileManager.default.createSymbolicLink(
            atPath: state.path + "/credentials.new", withDestinationPath: elsewhere.path + "/file")
        #expect(try run("set", "bob", input: "two").status == 0)
        #expect(elsewhere.read("file") == "theirs\n")
        try state.write(Array("mallory:half a li".utf8), to: "credentials.new")
        #expect(try run("set", "carol", input: "three").status == 0)
        #expect(try run("list").output == "alice\nbob\ncarol\n")
        #expect(!FileManager.default.fileExists(atPath: state.path + "/credentials.new"))
    }

    @Test(arguments: ["credentials", "credentials.lock"])
    func aFifoInItsPlaceHoldsNobodyUp(name: String) throws {
        try #require(unsafe mkfifo(state.path + "/" + name, 0o600) == 0)
        let set = try run("set", "bob", input: "x")
        #expect(set.status == 1)
        #expect(!set.error.contains("defect"))
    }

    @Test func aLockThatIsALinkIsNotFollowed() throws {
        let elsewhere = try TemporaryDirectory()
        try FileManager.default.createSymbolicLink(
            atPath: state.path + "/credentials.lock", withDestinationPath: elsewhere.path + "/made")
        #expect(try run("set", "bob", input: "x").status == 1)
        #expect(!FileManager.default.fileExists(atPath: elsewhere.path + "/made"))
    }

    @Test func aDirectoryThatOthersCanWriteIsNotUsed() throws {
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: state.path)
        let set = try run("set", "bob", input: "x")
        #expect(set.status == 1)
        #expect(set.error.contains("is writable by group or others"))
        #expect(!FileManager.default.fileExists(atPath: state.path + "/credentials"))
    }

    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives a file away"))
    func aFileOfAnothersIsNeitherReadNorReplaced() throws {
        _ = try run("set", "alice", input: "one")
        let before = state.read("credentials")
        let file = try File.open(state.path + "/credentials", [.reading])
        try File.setOwner(file, uid: 61_105, gid: 0)
        let set = try run("set", "bob", input: "x")
        #expect(set.status == 1)
        #expect(set.error.contains("belongs to uid 61105"))
        #expect(try run("list").status == 1)
        #expect(state.read("credentials") == before)
    }

    @Test func aPasswordIsNeverTakenFromTheArguments() throws {
        let set = try run("set", "bob", "canary", input: "x")
        #expect(set.status == 64)
        #expect(!FileManager.default.fileExists(atPath: state.path + "/credentials"))
    }

    // MARK: At a terminal

    /// A run on a terminal of its own, which util-linux's script makes.
    private final class TerminalRun {
        private let process = Foundation.Process()
        private let input = Pipe()
        private let output = Pipe()
        private(set) var seen = ""

        init(_ command: String) throws {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/script")
            process.arguments = ["--quiet", "--return", "--command", command, "/dev/null"]
            process.standardInput = input
            process.standardOutput = output
            try process.run()
        }

        /// Waits until something stands there, or the end.
        func wait(for text: String) {
            while !seen.contains(text) {
                let part = output.fileHandleForReading.availableData
                guard !part.isEmpty else { return }
                seen += String(decoding: part, as: UTF8.self)
            }
        }

        func type(_ text: String) throws {
            try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        }

        func end() throws -> Int32 {
            seen += String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
            return process.terminationStatus
        }
    }

    private func atTerminal(_ first: String, _ second: String) throws -> (status: Int32, seen: String) {
        let own = try #require(File.resolved(Array("/proc/self/exe".utf8)).flatMap { ByteText($0).text })
        let program = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("portcullis").path
        let run = try TerminalRun("'\(program)' credentials set root --state-directory '\(state.path)'")
        // The prompt is printed when the echo is off.
        run.wait(for: "Password for root: ")
        try run.type(first + "\n")
        run.wait(for: "Once more: ")
        try run.type(second + "\n")
        return (try run.end(), run.seen)
    }

    @Test(.enabled(if: File.isExecutable(Array("/usr/bin/script".utf8)), "needs script, of bsdutils"))
    func aPasswordThatIsTypedIsNotShown() throws {
        let run = try atTerminal("correct horse", "correct horse")
        #expect(run.status == 0, "\(run.seen)")
        #expect(!run.seen.contains("horse"))
        #expect(try matches("root", "correct horse"))
    }

    @Test(.enabled(if: File.isExecutable(Array("/usr/bin/script".utf8)), "needs script, of bsdutils"))
    func twoPasswordsThatDifferChangeNothing() throws {
        let run = try atTerminal("correct horse", "correct house")
        #expect(run.status == 1)
        #expect(run.seen.contains("the two passwords differ"))
        #expect(!FileManager.default.fileExists(atPath: state.path + "/credentials"))
    }
}
