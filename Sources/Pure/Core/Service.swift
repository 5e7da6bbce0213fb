// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// One of the two protocols that the gateway speaks.
public enum Service: UInt8, Sendable, Hashable, CaseIterable {
    /// REXEC, 512/tcp: user name and password.
    case rexec = 1
    /// RSH, 514/tcp: the remote user's name, believed because of the address it comes from.
    case rsh = 2

    /// The word for it in policies, records and messages.
    public var name: String {
        switch self {
        case .rexec: "rexec"
        case .rsh: "rsh"
        }
    }

    /// The service of a word, if it is one.
    public init?(name: String) {
        switch name {
        case "rexec": self = .rexec
        case "rsh": self = .rsh
        default: return nil
        }
    }
}
