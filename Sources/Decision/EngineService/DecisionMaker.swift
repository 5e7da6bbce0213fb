// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// What answers requests once a policy is loaded: the seam at which an index takes the place of the plain scan.
protocol DecisionMaker: Sendable {
    /// Decides one request; it cannot fail, and keeps nothing of it.
    func decide(_ request: Request) -> Decision
}

extension Policy: DecisionMaker {}
