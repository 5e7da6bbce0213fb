// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import PasswordHash

/// The credentials file: `user:crypt-hash` lines that `authenticate file` verifies passwords against.
struct CredentialsFile {
    /// What a verification found.
    enum Answer: Sendable, Hashable {
        /// The password is the account's.
        case verified
        /// It is not, or the account has none; with what the record says.
        case refused(String)
        /// The file cannot be used; with what the record says.
        case unusable(String)
    }

    /// Where it lies; absolute.
    let path: ByteText

    /// Verifies a password, with the work of one hash whatever the answer: an account that is not in the file, and a
    /// file that cannot be used, take as long as a wrong password.
    ///
    /// The file must be a regular one of root's (as a plain user: that user's), mode 0600 or less, on a way of theirs,
    /// all checked on the open descriptor.
    func verify(user: UserName, password: Secret) -> Answer {
        let table: CredentialTable
        do {
            table = try read()
        } catch {
            PasswordHash.spend(on: password, like: nil)
            return .unusable("credentials file: \(error)")
        }
        guard let hash = table[user] else {
            PasswordHash.spend(on: password, like: table.anyHash)
            return .refused("no credentials for this user")
        }
        do {
            return try hash.matches(password) ? .verified : .refused("wrong password")
        } catch {
            return .unusable("crypt: \(error)")
        }
    }

    private func read() throws -> CredentialTable {
        let opened = try SecureOpen.file(path)
        guard opened.mode & 0o077 == 0 else { throw SessionFileError("group or others have rights on it") }
        guard let bytes = try opened.descriptor.readAll(limit: CredentialTable.sizeLimit) else {
            throw SessionFileError("more than \(CredentialTable.sizeLimit) bytes")
        }
        return try CredentialTable(bytes)
    }
}

/// A check of a file that failed, in our own words.
struct SessionFileError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
