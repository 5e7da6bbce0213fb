// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What front read from a client: claims in the right form, of which nothing is verified.
///
/// The password is not part of it: it travels in a message of its own, straight into memory that is zeroed.
public struct UnverifiedRequest: Sendable, Hashable {
    /// Front's number of the connection.
    public var connection: UInt64
    /// The remote user that an RSH client claims to act for; nil in REXEC.
    public var remoteUser: UserName?
    /// The account that is asked for.
    public var target: UserName
    /// The command, as it was sent.
    public var command: ByteText
    /// The bytes that the handshake took from the primary.
    public var handshakeBytes: UInt32
    /// Whether a password message follows: in REXEC always, in RSH where the target carried one.
    public var hasPassword: Bool

    /// A request.
    public init(
        connection: UInt64, remoteUser: UserName?, target: UserName, command: ByteText, handshakeBytes: UInt32,
        hasPassword: Bool
    ) {
        self.connection = connection
        self.remoteUser = remoteUser
        self.target = target
        self.command = command
        self.handshakeBytes = handshakeBytes
        self.hasPassword = hasPassword
    }
}

extension UnverifiedRequest: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        connection = try reader.integer()
        remoteUser = try reader.optionalField()
        target = try reader.field()
        command = try reader.bytes(limit: FieldLimit.command)
        handshakeBytes = try reader.integer()
        hasPassword = try reader.flag()
    }

    func write(to writer: inout FrameWriter) {
        writer.integer(connection)
        writer.field(remoteUser)
        writer.field(target)
        writer.bytes(command)
        writer.integer(handshakeBytes)
        writer.flag(hasPassword)
    }
}
