// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What is wrong with a handshake. The client gets the one refusal; the trail gets the description.
public enum HandshakeError: Error, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The port field is not 0 to 5 ASCII digits, or its value is above 65535.
    case port
    /// The remote user's name is empty.
    case emptyRemoteUser
    /// The remote user's name has more than 32 bytes.
    case longRemoteUser
    /// The remote user's name has a byte that names do not have.
    case badRemoteUser
    /// The target's name is empty.
    case emptyTarget
    /// The target's name has more than 32 bytes.
    case longTarget
    /// The target's name has a byte that names do not have.
    case badTarget
    /// An RSH target is of the form `user/password` or `user@password`, as z/OS and z/VM clients send, and the service
    /// has no password field.
    case passwordInTarget
    /// The password has more than 128 bytes.
    case longPassword
    /// The command has more bytes than the service takes.
    case longCommand

    /// A short text of our own, without a byte of the client's.
    public var description: String {
        switch self {
        case .port: "port field is not 0 to 65535"
        case .emptyRemoteUser: "empty remote user"
        case .longRemoteUser: "remote user too long"
        case .badRemoteUser: "remote user has a byte that names do not have"
        case .emptyTarget: "empty user"
        case .longTarget: "user too long"
        case .badTarget: "user has a byte that names do not have"
        case .passwordInTarget: "user carries a password"
        case .longPassword: "password too long"
        case .longCommand: "command too long"
        }
    }
}
