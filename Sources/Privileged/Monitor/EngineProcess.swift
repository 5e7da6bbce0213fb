// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// What the monitor freezes of a policy.
struct FrozenPolicy {
    var settings: Settings
    var sandboxes: [CompiledSandbox]
    var revision: Revision
    var rules: Int
    var warnings: String
    /// Seconds since 1970.
    var loaded: Int64
}

/// An engine, from its first byte to its end. Every load is a fresh one.
struct EngineProcess {
    /// How far a load is.
    enum State {
        /// Tables are coming in.
        case loading(Settings?, [CompiledSandbox])
        /// It answers.
        case ready
    }

    var helper: Helper
    var state = State.loading(nil, [])

    /// The process that opens its files; it is ended with the load.
    let loader: Int32

    init(helper: Helper, loader: Int32) {
        self.helper = helper
        self.loader = loader
    }

    /// What a report of an engine that loads comes to.
    enum Progress {
        case more
        case failed(diagnostics: String, errors: Int)
        case loaded(FrozenPolicy)
        /// The engine broke the protocol.
        case broken(String)
    }

    /// Takes a report in.
    ///
    /// TRUST: the engine may have been taken over by a policy text; its tables are bounded, in order and complete, or
    /// the load has failed.
    mutating func take(_ frame: [UInt8]) -> Progress {
        guard case .loading(var settings, var sandboxes) = state else { return .broken("spoke after its load") }
        let report: EngineReport
        do {
            report = try EngineReport(frame: frame)
        } catch {
            return .broken("\(error)")
        }
        switch report {
        case .failed(let diagnostics, let errors):
            return .failed(diagnostics: diagnostics, errors: errors)
        case .settings(let given):
            guard settings == nil else { return .broken("sent its settings twice") }
            settings = given
        case .sandbox(let index, let sandbox):
            guard index == sandboxes.count, index < FrameFormat.listLimit else {
                return .broken("sent sandboxes out of order")
            }
            sandboxes.append(sandbox)
        case .loaded(let revision, let rules, let count, let warnings):
            guard let settings, count == sandboxes.count else { return .broken("its tables are not complete") }
            state = .ready
            return .loaded(
                FrozenPolicy(
                    settings: settings, sandboxes: sandboxes, revision: revision, rules: rules, warnings: warnings,
                    loaded: Clock.wallMilliseconds() / 1_000))
        }
        state = .loading(settings, sandboxes)
        return .more
    }
}
