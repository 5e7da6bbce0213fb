// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// Compares rules with each other and with the settings, and warns.
struct Analyst {
    let policy: Policy
    let spans: [Span]
    var sink: DiagnosticSink

    init(policy: Policy, spans: [Span], sink: DiagnosticSink) {
        self.policy = policy
        self.spans = spans
        self.sink = sink
    }

    mutating func run() {
    }
}
