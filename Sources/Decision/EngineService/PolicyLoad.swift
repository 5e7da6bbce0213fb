// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Crypto
import Linux
import Messages
import Policy
import PolicyLanguage
import Seccomp

/// A policy that is ready to decide, with the tables that the monitor freezes.
struct LoadedPolicy {
    var settings: Settings
    var sandboxes: [CompiledSandbox]
    var revision: Revision
    var ruleCount: Int
    var warnings: String
    /// Decides; nothing can fail here.
    var decide: (Request) -> Decision
}

/// One load: files from the loader, text to rules, sandboxes to filters.
struct PolicyLoad {
    /// What a load comes to.
    enum Outcome {
        case loaded(LoadedPolicy)
        case failed(diagnostics: String, errors: Int)
    }

    private let loader: Channel

    init(_ loader: Channel) {
        self.loader = loader
    }

    func run() -> Outcome {
        .failed(diagnostics: "no language yet", errors: 1)
    }
}
