// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Rules that many tests use.
enum Rules {
    /// Anything without a shell, for the test's account.
    static let words =
        "permit words: any from 127.0.0.0/8 by any as \(Gateway.target) run any sandbox strict"

    /// Anything given to the account's shell.
    static func shell(_ sandbox: String = "strict") -> String {
        "permit shell: any from 127.0.0.0/8 by any as \(Gateway.target) run shell sandbox \(sandbox)"
    }
}
