// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The directories of the gateway: made where they are missing, and never followed through links.
struct Directories {
    let identities: Identities
    /// STATE/audit.
    let audit: Descriptor
    /// The lock that keeps a second gateway off the same state.
    let lock: Descriptor

    /// Makes and opens them.
    ///
    /// TRUST: on return every directory on the way to each is root's (as a plain user: that user's) and not writable by
    /// group or others, so that nobody else can put a link or another directory in its place.
    init(_ options: Options, log: StandardError) throws {
        // STATE is root's, 0711; only STATE/audit is the auditor's.
        let state = try Self.make(options.stateDirectory, mode: 0o711)
        _ = try Self.make(options.runtimeDirectory, mode: 0o755)
        let auditPath = "\(options.stateDirectory)/audit"
        identities = Identities(auditDirectory: auditPath, log: log)
        let isNew = try File.makeDirectory("audit", below: state, mode: 0o700)
        audit = try File.open("audit", below: state, [.directory, .noFollow])
        let status = try File.status(audit)
        if let auditor = identities.identities[.auditor], status.uid != auditor.uid {
            // A directory that holds a trail already is nobody's to give away but an administrator's.
            let isEmpty = try Directory.names(audit).isEmpty
            guard status.uid == 0, isNew || isEmpty else {
                throw StartError(
                    "\(auditPath) belongs to uid \(status.uid) and not to the auditor, uid \(auditor.uid): "
                        + "look at what it holds, then chown -R it to the auditor")
            }
            try File.setOwner(audit, uid: auditor.uid, gid: auditor.gid)
        }
        if status.mode & 0o077 != 0 { try File.setMode(audit, 0o700) }
        lock = try File.open("lock", below: state, [.writing, .creating, .noFollow], mode: 0o600)
        guard try File.lock(lock) else { throw StartError("another portcullisd uses \(options.stateDirectory)") }
    }

    private static func make(_ path: String, mode: UInt32) throws -> Descriptor {
        do {
            try File.makeDirectory(path, mode: mode)
        } catch {
            throw StartError("cannot make \(path): \(error.text)")
        }
        do {
            return try SecureOpen.directory(ByteText(path)).descriptor
        } catch {
            throw StartError(
                "cannot use \(path): \(error); it and every directory above it must be ours alone to write")
        }
    }
}

/// What keeps the gateway from starting.
struct StartError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
