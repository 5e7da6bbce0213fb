// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PasswordHash
import Testing

/// A secret of a text.
func secret(_ text: String) throws -> Secret {
    let secret = try Secret()
    #expect(secret.append(Array(text.utf8)))
    return secret
}

@Suite struct PasswordHashTests {
    @Test func whatIsHashedHereIsYescryptAndMatchesItsPasswordAlone() throws {
        let hash = try PasswordHash(hashing: try secret("correct horse"))
        #expect(hash.text.printable.hasPrefix("$y$j9T$"))
        #expect(try hash.matches(try secret("correct horse")))
        #expect(try !hash.matches(try secret("correct horsf")))
        #expect(try !hash.matches(try secret("correct hors")))
        #expect(try !hash.matches(try secret("")))
        let again = try PasswordHash(hashing: try secret("correct horse"))
        #expect(again != hash, "the salt is fresh")
    }

    /// Hashes that other programs made of "secret" (openssl passwd -6 and -5, mkpasswd -m bcrypt).
    @Test(arguments: [
        "$6$saltsalt$MY3pAKAkPQVn4jOHgdeRQPBHpuTNwaVmsi1Ax2EL5gTMcGvVQmRhk2zPJZ1kqVcVFGo9lrfgzDCEMnZxWSQYB/"
    ])
    func aHashOfAnotherRecommendedMethodIsTaken(text: String) throws {
        #expect(PasswordHash(ByteText(text)) != nil)
    }

    @Test(arguments: [
        "", "*", "!", "!$y$j9T$x$y", "x", "ab1cdefghijkl", "secret", "$", "$1$salt$x y", "$y$j9T$a:b", "$nosuch$x$y",
    ])
    func whatIsNoSoundHashIsNotTaken(text: String) {
        #expect(PasswordHash(ByteText(text)) == nil)
    }

    /// A setting that crypt(3) did not take would cost nothing, and tell who has an account.
    @Test func anAccountWithoutAHashCostsAHashToo() throws {
        let password = try secret("canary")
        #expect(PasswordHash.spend(on: password, like: nil))
        #expect(PasswordHash.spend(on: password, like: try PasswordHash(hashing: password)))
    }

    /// libcrypt maps a hash's memory through this program's own mmap, which asks for huge pages: where it does not, each hash
    /// takes half as long again, and nothing else would say so.
    @Test func aHashIsComputedInMemoryThatWasAdvised() throws {
        let before = PasswordHash.advisedMemories
        #expect(PasswordHash.spend(on: try secret("canary"), like: nil))
        #expect(PasswordHash.advisedMemories > before)
    }

    @Test func anEmptyPasswordIsNeitherHashedNorMatched() throws {
        #expect(throws: SystemError.self) { try PasswordHash(hashing: try secret("")) }
    }

    @Test func aPasswordOverTheLimitOfCryptIsAnErrorAndNoMatch() throws {
        let long = try secret(String(repeating: "x", count: 600))
        #expect(throws: SystemError.self) { try PasswordHash(hashing: long) }
    }

    @Test func aPasswordIsBytesAndNotText() throws {
        let composed = try secret("caf\u{E9}")
        let decomposed = try secret("cafe\u{301}")
        let hash = try PasswordHash(hashing: composed)
        #expect(try hash.matches(composed))
        #expect(try !hash.matches(decomposed))
    }
}

@Suite struct CredentialTableTests {
    private static let hash = "$y$j9T$saltsaltsaltsaltsalts.$BmfCqvLKnc6RC1KWSbfRXbhhPVRsgTDUpqcnZhRPLy0"

    @Test func aTableIsReadAndWrittenAsItWas() throws {
        let text = "# our users\n\nalice:\(Self.hash)\nbob:\(Self.hash)\n"
        var table = try CredentialTable(Array(text.utf8))
        #expect(table.names.map(\.description) == ["alice", "bob"])
        #expect(table.bytes == Array(text.utf8))
        let bob = try #require(UserName("bob"))
        let carol = try #require(UserName("carol"))
        #expect(table[bob] != nil)
        #expect(table[carol] == nil)
        table[carol] = table[bob]
        table[bob] = nil
        #expect(
            String(decoding: table.bytes, as: UTF8.self) == "# our users\n\nalice:\(Self.hash)\ncarol:\(Self.hash)\n")
    }

    @Test(arguments: [
        ("alice\n", 1, CredentialTableError.Problem.noColon), ("#x\n-froot:\(hash)\n", 2, .userName),
        ("al ice:\(hash)\n", 1, .userName), (":\(hash)\n", 1, .userName), ("alice:\n", 1, .hash),
        ("alice:plain\n", 1, .hash), ("alice:\(hash)\r\n", 1, .hash), ("alice:\(hash):0\n", 1, .hash),
        ("alice:\(hash)\nalice:\(hash)\n", 2, .repeated),
    ])
    func aLineThatIsNotUnderstoodRejectsTheFile(text: String, line: Int, problem: CredentialTableError.Problem) {
        let error = #expect(throws: CredentialTableError.self) { try CredentialTable(Array(text.utf8)) }
        #expect(error?.line == line)
        #expect(error?.problem == problem)
    }

    @Test func aLockedAccountHasNoPasswordAndLocksNobodyElse() throws {
        let text = "alice:!\(Self.hash)\nbob:*\ncarol:\(Self.hash)\n"
        var table = try CredentialTable(Array(text.utf8))
        #expect(table.bytes == Array(text.utf8))
        #expect(table.names.map(\.description) == ["alice", "bob", "carol"])
        let alice = try #require(UserName("alice"))
        let carol = try #require(UserName("carol"))
        #expect(table[alice] == nil)
        table[alice] = table[carol]
        #expect(table[alice] != nil)
        #expect(table.names.count == 3)
        table[alice] = nil
        #expect(table.names.count == 2)
    }

    @Test func namesThatLookAlikeAreDifferentAccounts() throws {
        let table = try CredentialTable(Array("Alice:\(Self.hash)\n".utf8))
        #expect(table[try #require(UserName("alice"))] == nil)
    }
}
