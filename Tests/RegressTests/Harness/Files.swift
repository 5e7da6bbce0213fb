// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// Files with exactly the owner and mode that a test is about.
enum Files {
    static func makeDirectory(_ path: String, mode: mode_t, owner: uid_t? = nil) {
        // SAFETY: the path is a string of ours, passed for the call alone.
        unsafe mkdir(path, 0o700)
        set(path, mode: mode, owner: owner)
    }

    static func write(_ text: String, to path: String, mode: mode_t, owner: uid_t? = nil) throws {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        set(path, mode: mode, owner: owner)
    }

    static func set(_ path: String, mode: mode_t, owner: uid_t? = nil) {
        // SAFETY: as above.
        unsafe chmod(path, mode)
        if let owner { setOwner(path, owner) }
    }

    static func setOwner(_ path: String, _ owner: uid_t) {
        // SAFETY: as above.
        unsafe chown(path, owner, owner)
    }

    static func remove(_ path: String) {
        // SAFETY: as above.
        unsafe unlink(path)
    }

    static func link(_ path: String, to target: String) {
        // SAFETY: as above.
        unsafe symlink(target, path)
    }

    static func read(_ path: String) -> [UInt8] { Array(FileManager.default.contents(atPath: path) ?? Data()) }
    static func text(_ path: String) -> String { String(decoding: read(path), as: UTF8.self) }

    /// The permission bits of a path; nil where there is nothing.
    static func mode(_ path: String) -> Int? {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return (attributes?[.posixPermissions] as? NSNumber)?.intValue
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}
