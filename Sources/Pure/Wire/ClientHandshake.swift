// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The client's side of a handshake: what rcmd(3) and rexec(3) write.
///
/// A client that wants a stderr channel writes the port, waits until it was called, and only then writes the names:
/// a server need not read further before it has connected back.
public struct ClientHandshake: Sendable {
    /// Why a field cannot be sent.
    public enum EncodingError: Error, Sendable, Hashable {
        /// It holds a NUL, which would end it and shift every field after it.
        case containsNUL(ServerHandshake.Field)
        /// It is empty where the protocol needs a name.
        case empty(ServerHandshake.Field)
        /// It is longer than any server takes.
        case tooLong(ServerHandshake.Field)
    }

    /// The most bytes of a name that are sent; servers differ, and the longest that is documented is 128 (Interix).
    public static let nameLimit = 128

    /// The port field: `1022\0`, or an empty one where stderr shall come on the primary.
    public static func portField(_ port: UInt16?) -> [UInt8] {
        guard let port, port != 0 else { return [0] }
        return Array(String(port).utf8) + [0]
    }

    /// The three fields after the port, in one piece.
    ///
    /// - Parameters:
    ///   - first: RSH's remote user, REXEC's user.
    ///   - second: RSH's target, REXEC's password, which may be empty.
    ///   - command: the command; whoever holds the result holds the password, and wipes it.
    public static func names(
        _ service: Service, first: [UInt8], second: [UInt8], command: [UInt8]
    ) throws(EncodingError) -> [UInt8] {
        guard !first.isEmpty else { throw .empty(.first) }
        guard service == .rexec || !second.isEmpty else { throw .empty(.second) }
        guard first.count <= nameLimit else { throw .tooLong(.first) }
        guard second.count <= max(nameLimit, ServerHandshake.passwordLimit) else { throw .tooLong(.second) }
        guard command.count <= ServiceSettings.commandLengthLimit else { throw .tooLong(.command) }
        guard !first.contains(0) else { throw .containsNUL(.first) }
        guard !second.contains(0) else { throw .containsNUL(.second) }
        guard !command.contains(0) else { throw .containsNUL(.command) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(first.count + second.count + command.count + 3)
        for field in [first, second, command] {
            bytes += field
            bytes.append(0)
        }
        return bytes
    }
}
