// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing
import Wire

/// What a handshake came to, with its fields as bytes.
struct Outcome: Equatable {
    var state: ServerHandshake.State
    var consumed: Int
    var port: UInt16?
    var remoteUser: [UInt8]?
    var target: [UInt8]?
    var password: [UInt8]?
    var command: [UInt8]?
    var loggableRemoteUser: [UInt8]?
    var loggableTarget: [UInt8]?
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Consumes a part of a stream; a span may not stand within an expectation.
func consume(_ part: ArraySlice<UInt8>, _ handshake: inout ServerHandshake) -> Int {
    handshake.consume(part.span)
}

/// Reads a stream in pieces whose sizes are given, over and over; calls back whenever that is asked for.
func read(
    _ service: Service, _ stream: [UInt8], pieces: [Int] = [Int.max], commandLimit: Int = 4_096,
    passwordField: Bool = false
) -> Outcome {
    var handshake = ServerHandshake(
        service: service, commandLimit: commandLimit, takesPasswordField: passwordField)
    var offset = 0
    var turn = 0
    var available = 0
    while true {
        if case .awaitingConnectBack = handshake.state { handshake.connectedBack() }
        guard case .reading = handshake.state else { break }
        if offset == available {
            guard available < stream.count, !pieces.isEmpty else { break }
            let piece = max(1, pieces[turn % pieces.count])
            available = piece >= stream.count - available ? stream.count : available + piece
            turn += 1
        }
        offset += consume(stream[offset..<available], &handshake)
    }
    let field = { (range: Range<Int>?) -> [UInt8]? in range.map { Array(stream[$0]) } }
    return Outcome(
        state: handshake.state, consumed: handshake.consumed, port: handshake.connectBackPort,
        remoteUser: field(handshake.remoteUser), target: field(handshake.target),
        password: field(handshake.password), command: field(handshake.command),
        loggableRemoteUser: field(handshake.loggableRemoteUser), loggableTarget: field(handshake.loggableTarget))
}

/// What clients really send, as facts about peers tell it: each with its stdin behind it.
struct Transcript: CustomTestStringConvertible {
    var client: String
    var service: Service
    var stream: [UInt8]
    var length: Int
    var port: UInt16?
    var remoteUser: String?
    var target: String
    var password: String?
    var command: String

    var testDescription: String { client }

    init(
        _ client: String, _ service: Service, _ handshake: String, stdin: String, port: UInt16?,
        remoteUser: String? = nil, target: String, password: String? = nil, command: String
    ) {
        self.client = client
        self.service = service
        stream = bytes(handshake) + bytes(stdin)
        length = handshake.utf8.count
        self.port = port
        self.remoteUser = remoteUser
        self.target = target
        self.password = password
        self.command = command
    }

    static let all: [Transcript] = [
        Transcript(
            "glibc rcmd without stderr", .rsh, "\0alice\0bob\0uptime\0", stdin: "", port: nil,
            remoteUser: "alice", target: "bob", command: "uptime"),
        Transcript(
            "glibc rcmd with stderr", .rsh, "1022\0alice\0bob\0cat > f\0", stdin: "line\n\0more\0", port: 1022,
            remoteUser: "alice", target: "bob", command: "cat > f"),
        Transcript(
            "rsh-redone, all in one write", .rsh, "1021\0root\0root\0id\0", stdin: "x", port: 1021,
            remoteUser: "root", target: "root", command: "id"),
        Transcript(
            "glibc rexec", .rexec, "\0backup\0s3cret\0dump 0uf - /home\0", stdin: "", port: nil,
            target: "backup", password: "s3cret", command: "dump 0uf - /home"),
        Transcript(
            "inetutils rexec -a", .rexec, "0\0alice\0pw\0cat\0", stdin: "in\u{0}put", port: nil,
            target: "alice", password: "pw", command: "cat"),
        Transcript(
            "inetutils rexec with stderr", .rexec, "45123\0alice\0pass word\0ls -l\0", stdin: "\0\0", port: 45123,
            target: "alice", password: "pass word", command: "ls -l"),
        Transcript(
            "Apache Commons Net RExecClient", .rexec, "\0u\0\0true\0", stdin: "", port: nil,
            target: "u", password: "", command: "true"),
        Transcript(
            "an empty command", .rsh, "\0a\0b\0\0", stdin: "\0", port: nil,
            remoteUser: "a", target: "b", command: ""),
    ]
}
