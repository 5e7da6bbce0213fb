// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// A directory with a policy in it, for verbs that are asked about one.
struct SitePolicy {
    private let place: TemporaryDirectory

    init(_ policy: String) throws {
        place = try TemporaryDirectory()
        try write("site.policy", policy)
    }

    /// The directory.
    var directory: String { place.path }
    /// The policy's path.
    var path: String { place.path + "/site.policy" }

    /// Writes a file that the gateway would take: nobody else may write it.
    func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }

    /// The same, of bytes that are no text.
    func write(_ name: String, _ bytes: [UInt8]) throws {
        try place.write(bytes, to: name)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: place.path + "/" + name)
    }
}
