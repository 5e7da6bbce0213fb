// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc

/// A client that the tests write themselves, byte by byte.
struct Conversation {
    /// What a client got, until both connections ended or the time was over.
    struct Answer: CustomStringConvertible {
        /// The first byte on the primary, if there was any.
        var status: UInt8? { primary.first }
        /// Everything on the primary.
        var primary: [UInt8] = []
        /// Everything on the secondary.
        var secondary: [UInt8] = []
        var primaryEnd = Socket.End.stillOpen
        var secondaryEnd = Socket.End.stillOpen
        /// Milliseconds from the last byte sent to the first byte back.
        var wait: Int?

        var isAccepted: Bool { status == 0 }
        /// What follows the status byte.
        var output: String { String(decoding: primary.dropFirst(), as: UTF8.self) }
        var errorOutput: String { String(decoding: secondary, as: UTF8.self) }
        var description: String {
            "primary \(ByteText(primary)) \(primaryEnd), secondary \(ByteText(secondary)) \(secondaryEnd)"
        }
    }

    let primary: Socket
    let secondary: Socket?
    private let sent: Int

    /// Opens a conversation and says the handshake.
    ///
    /// - Parameters:
    ///   - fields: what follows the port field, without the NULs: three names.
    ///   - separately: whether a stderr connection is asked for, and waited for before the names, as rcmd(3) does.
    ///   - trailing: bytes that arrive in the same segment as the handshake.
    init(
        _ service: Service, of gate: Gateway, fields: [[UInt8]], separately: Bool = false, trailing: [UInt8] = [],
        from source: IPAddress? = nil
    ) throws {
        let peer = gate.endpoint(service)
        if service == .rsh, gate.isRoot {
            primary = try Socket.connectReserved(to: peer, from: source)
        } else {
            primary = try Socket.connect(to: peer, from: source)
        }
        let names = fields.flatMap { $0 + [0] } + trailing
        if separately {
            let reserved: UInt16? = service == .rsh ? nil : 0
            let listener = try Socket.listen(on: primary.local.address, port: reserved)
            primary.send("\(try listener.local.port)\0")
            secondary = try listener.accept()
            guard secondary != nil else { throw HarnessError(description: "the gateway did not connect back") }
            primary.send(names)
        } else {
            primary.send([0] + names)
            secondary = nil
        }
        sent = Moment.now
    }

    static func rsh(
        _ gate: Gateway, by user: String = "alice", as target: String, _ command: String, separately: Bool = false,
        trailing: String = "", from source: IPAddress? = nil
    ) throws -> Conversation {
        try Conversation(
            .rsh, of: gate, fields: [user, target, command].map { Array($0.utf8) }, separately: separately,
            trailing: Array(trailing.utf8), from: source)
    }

    static func rexec(
        _ gate: Gateway, as target: String, password: String = Gateway.password, _ command: String,
        separately: Bool = false, trailing: String = "", from source: IPAddress? = nil
    ) throws -> Conversation {
        try Conversation(
            .rexec, of: gate, fields: [target, password, gate.line(command)].map { Array($0.utf8) },
            separately: separately,
            trailing: Array(trailing.utf8), from: source)
    }

    /// A guest of a pool, who has no password unless one is given.
    static func guest(_ gate: Gateway, password: String = "", _ command: String) throws -> Conversation {
        try .rexec(gate, as: "guest", password: password, command, separately: true)
    }

    /// A guest's answer once an account is free again: a session goes on for a moment when its client is let go.
    static func answerWhenFree(_ gate: Gateway, _ command: String) throws -> Answer {
        var answer = try guest(gate, command).answer()
        let last = Moment.now + 60_000
        while !answer.isAccepted, try gate.lastReason() == "limit", Moment.now < last {
            answer = try guest(gate, command).answer()
        }
        return answer
    }

    /// Reads both connections to their ends.
    func answer(within milliseconds: Int = 20_000) -> Answer {
        var answer = Answer()
        if secondary == nil { answer.secondaryEnd = .endOfFile }
        let deadline = Moment.now + milliseconds
        while Moment.now < deadline {
            var open: [Socket] = []
            if answer.primaryEnd == .stillOpen { open.append(primary) }
            if answer.secondaryEnd == .stillOpen, let secondary { open.append(secondary) }
            guard !open.isEmpty else { break }
            let ready = Socket.wait(for: open, within: deadline - Moment.now)
            for (socket, isReady) in zip(open, ready) where isReady {
                let isPrimary = socket === primary
                let bytes = socket.receive()
                let end: Socket.End = bytes.map { $0.isEmpty ? .endOfFile : .stillOpen } ?? .reset
                if isPrimary {
                    if answer.wait == nil { answer.wait = Moment.now - sent }
                    answer.primary += bytes ?? []
                    answer.primaryEnd = end
                } else {
                    answer.secondary += bytes ?? []
                    answer.secondaryEnd = end
                }
            }
        }
        return answer
    }
}
