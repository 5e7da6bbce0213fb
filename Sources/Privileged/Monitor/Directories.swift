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

    init(_ options: Options, log: StandardError) throws {
        let state = options.stateDirectory
        // STATE is root's, 0711; only STATE/audit is the auditor's.
        try Self.make(state, mode: 0o711)
        try Self.make(options.runtimeDirectory, mode: 0o755)
        let auditPath = "\(state)/audit"
        identities = Identities(auditDirectory: auditPath, log: log)
        try File.makeDirectory(auditPath, mode: 0o700)
        audit = try File.open(auditPath, [.directory, .noFollow])
        let status = try File.status(audit)
        if let auditor = identities.identities[.auditor], status.uid != auditor.uid {
            guard status.uid == 0 else {
                throw StartError(
                    "\(auditPath) belongs to uid \(status.uid), neither root nor the auditor (\(auditor.uid)); "
                        + "look at it, then chown it")
            }
            try File.setOwner(audit, uid: auditor.uid, gid: auditor.gid)
        }
        if status.mode & 0o077 != 0 { try File.setMode(audit, 0o700) }
        lock = try File.open("\(state)/lock", [.writing, .creating, .noFollow], mode: 0o600)
        guard try File.lock(lock) else { throw StartError("another portcullisd uses \(state)") }
    }

    private static func make(_ path: String, mode: UInt32) throws {
        do {
            try File.makeDirectory(path, mode: mode)
        } catch {
            throw StartError("cannot make \(path): \(error.text)")
        }
        let directory: Descriptor
        do {
            directory = try File.open(path, [.directory])
        } catch {
            throw StartError("cannot open \(path): \(error.text)")
        }
        let status = try File.status(directory)
        guard status.uid == Process.userID || status.uid == 0 else {
            throw StartError("\(path) belongs to uid \(status.uid); it must be ours")
        }
        guard !status.isWritableByOthers else { throw StartError("\(path) is writable by group or others") }
    }
}

/// What keeps the gateway from starting.
struct StartError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
