// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

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
}
