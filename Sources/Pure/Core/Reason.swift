// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Why a request was refused. The client is never told; the trail always is.
///
/// Raw values cross process boundaries; names stand in records and in policy tests.
public enum Reason: UInt8, Sendable, Hashable, CaseIterable {
    // Decided by the engine, in the order in which they are looked for.
    case serviceDisabled = 1
    case forbidden = 2
    case needsShell = 3
    case commandNotFound = 4
    case noRule = 5

    // Found by the session.
    case unknownUser = 6
    case untrusted = 7
    case badCredentials = 8
    case accountRefused = 9
    case sandboxUnavailable = 10
    case auditUnavailable = 11
    case timeout = 12
    case unavailable = 13

    // Found by front.
    case sourcePort = 14
    case limit = 15
    case penalty = 16
    case protocolError = 17

    /// The word for it, as policy tests, records and tables write it.
    public var name: String {
        switch self {
        case .serviceDisabled: "service-disabled"
        case .forbidden: "forbidden"
        case .needsShell: "needs-shell"
        case .commandNotFound: "command-not-found"
        case .noRule: "no-rule"
        case .unknownUser: "unknown-user"
        case .untrusted: "untrusted"
        case .badCredentials: "bad-credentials"
        case .accountRefused: "account-refused"
        case .sandboxUnavailable: "sandbox-unavailable"
        case .auditUnavailable: "audit-unavailable"
        case .timeout: "timeout"
        case .unavailable: "unavailable"
        case .sourcePort: "source-port"
        case .limit: "limit"
        case .penalty: "penalty"
        case .protocolError: "protocol"
        }
    }

    /// The reason of a word, if it is one.
    public init?(name: String) {
        guard let reason = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = reason
    }
}
