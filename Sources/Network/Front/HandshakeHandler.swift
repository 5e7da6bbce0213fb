// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import NIOCore

/// Tells front what happens on a client's channel while the handshake is read.
///
/// Front takes the socket away from the channel by duplicating it and closing the channel at once: from then on the
/// handler tells nothing.
final class HandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let front: Front
    private let terms: Terms
    /// The connection, once it was admitted and as long as the channel is its.
    private var connection: Connection?

    /// A handler for a channel that was just accepted, or, with a connection, for one that goes on with it.
    init(front: Front, terms: Terms, connection: Connection? = nil) {
        self.front = front
        self.terms = terms
        self.connection = connection
    }

    /// Tells nothing any more.
    func letGo() {
        connection = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        if let connection {
            front.resumed(connection, on: context.channel, self)
        } else {
            connection = front.accepted(context.channel, terms, self)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard let connection, let byte = buffer.readInteger(as: UInt8.self) else { return }
        front.read(byte, on: connection)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let connection, case ChannelEvent.inputClosed? = event as? ChannelEvent else { return }
        front.inputEnded(connection)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        lost()
    }

    func channelInactive(context: ChannelHandlerContext) {
        lost()
    }

    private func lost() {
        guard let connection else { return }
        self.connection = nil
        front.lost(connection)
    }
}

/// Reads what a refused client still sends and throws it away, so that the close is no reset and the text is not lost.
final class DrainHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let front: Front
    private let connection: UInt64
    private var left: Int

    init(front: Front, connection: UInt64, limit: Int) {
        self.front = front
        self.connection = connection
        left = limit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        left -= unwrapInboundIn(data).readableBytes
        if left <= 0 { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        front.drained(connection)
    }
}
