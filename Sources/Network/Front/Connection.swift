// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import NIOCore
import Wire

/// The settings of one service as they were when a connection was accepted: a reload touches no connection.
final class Terms: Sendable {
    /// The service.
    let service: Service
    /// Its limits.
    let limits: FrontSettings.Limits
    /// After which a refusal is answered.
    let refusalDelay: TimeAmount

    init(_ service: Service, _ settings: FrontSettings) {
        self.service = service
        limits = settings[service]
        refusalDelay = .milliseconds(Int64(settings.refusalDelay))
    }
}

/// One client, from accept until its session has ended or its refusal is answered.
///
/// Confined to the event loop. 20,000 of them may stand and wait, so it holds a few words and, only while there is
/// something in them, the handshake's bytes.
final class Connection {
    /// Where a connection stands. Its client's socket is read in `reading` alone, and by nobody in the others.
    enum Phase {
        /// The handshake is being read; the channel has the socket.
        case reading
        /// Four connect-backs to this source are under way; this one's turn comes.
        case awaitingTurn
        /// The monitor was asked to connect back.
        case callingBack
        /// A session has the request.
        case deciding
        /// A session has the client; front holds nothing of it but the count.
        case released
        /// The refusal waits for its time.
        case delaying
        /// The refusal was written; what the client still sends is read and thrown away.
        case draining
        /// Nothing is left of the client; its session may not have ended.
        case gone
    }

    /// Front's number of it.
    let id: UInt64
    /// The settings that it was accepted under.
    let terms: Terms
    /// The client's address and port, as the kernel told at accept.
    let source: Endpoint
    /// When it was accepted.
    let accepted: NIODeadline

    /// Where it stands.
    var phase = Phase.reading
    /// The handshake as far as it was read.
    var handshake: ServerHandshake
    /// The handshake's bytes before the command: the one place where the password is.
    var head: WipedBytes?
    /// The command's bytes.
    var command: [UInt8] = []

    /// The channel while it has the socket, the number of the socket there, and the handler that tells of it.
    var channel: (any NIOCore.Channel)?
    var socketNumber: Int32 = -1
    var handler: HandshakeHandler?
    /// The client's socket, where the channel does not have it alone.
    var primary: Descriptor?
    /// The connect-back's socket.
    var secondary: Descriptor?
    /// Front's end of the request's channel, until the session's is closed.
    var session: Linux.Channel?

    /// The next moment at which something happens by itself: the deadline, the refusal, the end of draining.
    var alarm: NIOScheduledCallback?
    /// When the handshake ended; refusals are counted from it.
    var handshakeEnded: NIODeadline?
    /// The client has closed its side.
    var inputEnded = false
    /// Whether it holds a handshake's place, and a session's.
    var holdsHandshakePlace = false
    var holdsSessionPlace = false

    init(id: UInt64, terms: Terms, source: Endpoint, accepted: NIODeadline) {
        self.id = id
        self.terms = terms
        self.source = source
        self.accepted = accepted
        handshake = ServerHandshake(
            service: terms.service, commandLimit: terms.limits.commandLength,
            takesPasswordField: terms.limits.takesPasswordField)
    }

    /// The service.
    var service: Service { terms.service }

    /// Forgets the handshake's bytes, the password's first.
    func wipe() {
        head?.wipe()
        head = nil
        command = []
    }

    /// A part of the head, as a copy: names, never the password.
    func claim(_ part: Range<Int>?) -> ByteText? {
        guard let part, let head, part.upperBound <= head.count else { return nil }
        return ByteText(head.copy(part))
    }
}

// MARK: - Reading

extension Connection {
    /// How a read of the socket ended.
    enum Progress {
        /// There is nothing more for now.
        case waiting
        /// The handshake has come to a point at which front acts.
        case stopped
        /// The client has closed its side.
        case ended
        /// The connection is lost.
        case lost
    }

    /// Takes the one byte that the channel read.
    ///
    /// NIO 2.101 has no way to be told that a socket is readable without reading it, and at a client's half-close reads
    /// all there is, wanted or not. So its receive buffer has one byte: while the handshake is not complete, that byte
    /// belongs to it. All others are looked at first and then taken exactly.
    func take(_ byte: UInt8) {
        guard case .reading(let field) = handshake.state else { return }
        var taken = 0
        if field == .command {
            command.append(byte)
            let part = command[(command.count - 1)...]
            taken = handshake.consume(part.span)
        } else {
            let place = handshake.consumed
            let head = ensureHead()
            guard place < head.count else { return }
            head[place] = byte
            taken = head.read(place..<(place + 1)) { handshake.consume($0) }
        }
        assert(taken == 1, "a handshake that is being read takes a byte")
    }

    /// Reads on from the socket, and never a byte beyond the handshake.
    ///
    /// - Parameters:
    ///   - socket: the socket's number.
    ///   - scratch: room to look at a command's bytes; wiped on return.
    func readOn(from socket: Int32, scratch: WipedBytes) -> Progress {
        while case .reading(let field) = handshake.state {
            do {
                let progress = field == .command ? try readCommand(socket, scratch) : try readHead(socket)
                guard let progress else { continue }
                return progress
            } catch {
                return .lost
            }
        }
        return .stopped
    }

    private func ensureHead() -> WipedBytes {
        if let head { return head }
        let made = WipedBytes(count: ServerHandshake.headLimit)
        head = made
        return made
    }

    /// Reads fields before the command into the head, where they stay; nil where there may be more.
    private func readHead(_ socket: Int32) throws(SystemError) -> Progress? {
        let head = ensureHead()
        let start = handshake.consumed
        // INVARIANT: the fields before the command, whole or failed, fit in the head.
        guard start < head.count else { return .lost }
        guard let seen = try head.receive(from: socket, at: start, limit: head.count - start, peeking: true) else {
            return .waiting
        }
        guard seen > 0 else { return .ended }
        var offset = start
        while case .reading(let field) = handshake.state, field != .command, offset < start + seen {
            offset += head.read(offset..<(start + seen)) { handshake.consume($0) }
        }
        // The rest of what was seen may be stdin, or a command's: it stays on the socket.
        var place = start
        while place < offset {
            guard let got = try head.receive(from: socket, at: place, limit: offset - place), got > 0 else {
                return .lost
            }
            place += got
        }
        return nil
    }

    /// Reads the command; nil where there may be more.
    private func readCommand(_ socket: Int32, _ scratch: WipedBytes) throws(SystemError) -> Progress? {
        defer { scratch.wipe() }
        let limit = min(scratch.count, handshake.lengthLimit - handshake.consumed)
        guard limit > 0 else { return .lost }
        guard let seen = try scratch.receive(from: socket, at: 0, limit: limit, peeking: true) else { return .waiting }
        guard seen > 0 else { return .ended }
        let mine = scratch.read(0..<seen) { handshake.consume($0) }
        var place = 0
        while place < mine {
            guard let got = try scratch.receive(from: socket, at: place, limit: mine - place), got > 0 else {
                return .lost
            }
            place += got
        }
        command += scratch.copy(0..<mine)
        return nil
    }
}
