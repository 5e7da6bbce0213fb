// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// RUNTIME/guests: a lock for each account of the pools, by its uid, so that two names of one account are one place.
///
/// A place is held by an open file: it comes back when its session's process ends, however that is. The empty files stay.
struct GuestPlaces {
    private static let name = "guests"

    private let directory: Descriptor

    /// Makes the directory where it is missing, and opens it.
    ///
    /// TRUST: on return it is root's (as a plain user: that user's) and nobody else can reach it, so that no account can
    /// take a place, nor put another file into one.
    init(runtimeDirectory: String) throws {
        let runtime = try SecureOpen.directory(ByteText(runtimeDirectory)).descriptor
        try File.makeDirectory(Self.name, below: runtime, mode: 0o700)
        directory = try File.open(Self.name, below: runtime, [.directory, .noFollow])
        let status = try File.status(directory)
        guard status.uid == Process.effectiveUserID, status.mode & 0o077 == 0 else {
            throw SessionError("\(runtimeDirectory)/\(Self.name) is not ours alone")
        }
    }

    /// Whether an account was ever a guest's, or kept from guests, since the runtime directory is there.
    static func mayBeTaken(_ uid: UInt32, runtimeDirectory: String) -> Bool {
        do {
            _ = try File.status("\(runtimeDirectory)/\(name)/\(uid)")
            return true
        } catch {
            return !error.isNotFound
        }
    }

    /// Takes an account's place; nil where somebody has it. Letting go of the descriptor gives it back.
    ///
    /// - Parameter shared: with other sessions that share it, and with no guest.
    func take(_ uid: UInt32, shared: Bool = false) throws -> Descriptor? {
        let file = try File.open("\(uid)", below: directory, [.writing, .creating, .noFollow], mode: 0o600)
        return try File.lock(file, shared: shared) ? file : nil
    }
}
