// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import PasswordHash
import Testing

@testable import Session

@Suite(.serialized) struct CredentialsFileTests {
    private static func secret(_ text: String) throws -> Secret {
        let secret = try Secret()
        #expect(secret.append(Array(text.utf8)))
        return secret
    }

    private static let hash = "$y$j9T$saltsaltsaltsaltsalts.$BmfCqvLKnc6RC1KWSbfRXbhhPVRsgTDUpqcnZhRPLy0"

    private static func answer(
        _ text: String?, mode: UInt32 = 0o600, user: String = "alice"
    ) throws -> CredentialsFile.Answer {
        let root = "/tmp/portcullis-test-\(Process.id)-\(UInt32.random(in: .min ... .max))"
        try File.makeDirectory(root, mode: 0o700)
        defer { Directory.removeTree(root) }
        if let text {
            let file = try File.open("\(root)/credentials", [.writing, .creating, .exclusive])
            try file.writeAll(Array(text.utf8))
            try File.setMode(file, mode)
        }
        return CredentialsFile(path: ByteText("\(root)/credentials")).verify(
            user: try #require(UserName(user)), password: try secret("canary"))
    }

    private func isUnusable(_ answer: CredentialsFile.Answer) -> Bool {
        if case .unusable = answer { true } else { false }
    }

    @Test func theAccountsOwnPasswordIsVerified() throws {
        let hash = try PasswordHash(hashing: try Self.secret("canary"))
        #expect(try Self.answer("alice:\(hash.text.printable)\n") == .verified)
        #expect(
            try Self.answer("alice:\(hash.text.printable)\n", user: "Alice") == .refused("no credentials for this user")
        )
    }

    @Test func aWrongPasswordAndAnUnknownUserAreRefused() throws {
        #expect(try Self.answer("alice:\(Self.hash)\n") == .refused("wrong password"))
        #expect(try Self.answer("bob:\(Self.hash)\n") == .refused("no credentials for this user"))
        #expect(try Self.answer("") == .refused("no credentials for this user"))
    }

    @Test(arguments: [UInt32(0o640), 0o604, 0o644, 0o660, 0o606])
    func aFileThatOthersHaveRightsOnIsNotUsed(mode: UInt32) throws {
        #expect(isUnusable(try Self.answer("alice:\(Self.hash)\n", mode: mode)))
    }

    @Test func noFileAndABrokenOneAreNotUsed() throws {
        #expect(isUnusable(try Self.answer(nil)))
        #expect(isUnusable(try Self.answer("alice\n")))
        #expect(isUnusable(try Self.answer("alice:plain\n")))
    }

    /// The processor time of a verification, in microseconds, in an exit test's process, which does nothing else.
    private static func cost(_ text: String?, user: String) throws -> Int {
        let before = clock()
        _ = try answer(text, user: user)
        return Int(clock() - before)
    }

    /// Processor time, not the clock's, of what was done before, so that no first time is in it; without the hash it would be
    /// a hundredth of the least.
    @Test func anUnknownUserAndAMissingFileCostAHashToo() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let line = "alice:\(CredentialsFileTests.hash)\n"
            _ = try CredentialsFileTests.cost(line, user: "alice")
            let wrong = try (0..<3).map { _ in try CredentialsFileTests.cost(line, user: "alice") }.min() ?? .max
            for (text, user) in [(line as String?, "bob"), ("", "alice"), (nil, "alice"), ("x", "alice")] {
                #expect(try CredentialsFileTests.cost(text, user: user) > wrong / 10, "\(text ?? "no file")")
            }
            let locked = "alice:!\(CredentialsFileTests.hash)\n"
            #expect(try CredentialsFileTests.cost(locked, user: "alice") > wrong / 10, "a locked account")
        }
    }
}
