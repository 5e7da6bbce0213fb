// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// Proof that the engine permitted this request; launching spends it.
///
/// INVARIANT: only `EngineLink.decide` makes one, and a value that cannot be copied is spent once.
struct Permit: ~Copyable {
    let terms: Terms

    fileprivate init(_ terms: Terms) {
        self.terms = terms
    }
}

/// The session's channel to the engine: one ask, one answer; for a guest one after the other.
enum EngineLink {
    /// What the engine says.
    enum Answer: ~Copyable {
        case permitted(Permit)
        case denied(Denial)
        /// No engine, no answer, or an answer of another session or revision.
        case unavailable
    }

    /// Asks.
    ///
    /// TRUST: an answer counts only with this session's number and the revision whose tables were frozen with it.
    static func decide(_ request: Request, number: UInt64, revision: Revision, on descriptor: Descriptor) -> Answer {
        let channel = Channel(descriptor)
        do {
            try channel.send(DecisionAsk.decide(number: number, request: request).encoded())
            guard case .message(let message) = try channel.receive(limit: 4_096),
                case .decision(let answered, let revisionUsed, let decision) = try DecisionAnswer(frame: message.bytes),
                answered == number, revisionUsed == revision
            else { return .unavailable }
            switch decision {
            case .permit(let terms): return .permitted(Permit(terms))
            case .deny(let denial): return .denied(denial)
            }
        } catch {
            return .unavailable
        }
    }
}
