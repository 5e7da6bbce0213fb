// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// Rules that many tests use.
enum Rules {
    /// Anything without a shell, for the test's account.
    static let words =
        "permit words: any from 127.0.0.0/8 by any as \(Gateway.target) run any sandbox strict"

    /// Anything given to the account's shell; where a plain user's shell runs nothing, to sh.
    static func shell(_ sandbox: String = "strict") -> String {
        let what = Host.hasShell ? "shell" : "\"/usr/bin/sh -c *\""
        return "permit shell: any from 127.0.0.0/8 by any as \(Gateway.target) run \(what) sandbox \(sandbox)"
    }

    /// The same rules as a plain user's gateway can have them here: where Landlock is older than it needs for a built-in
    /// sandbox, with one that says in words that less will do.
    static func asPlainUser(_ rules: String, _ sandbox: String = "strict") -> String {
        guard Host.landlock < 6 else { return rules }
        return "sandbox less extends \(sandbox) {\n    require landlock 1\n}\n"
            + rules.replacingOccurrences(of: "sandbox \(sandbox)", with: "sandbox less")
    }
}
