// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing
import Wire

@Suite struct ClientHandshakeTests {
    @Test func thePortFieldIsDigitsOrNothing() {
        #expect(ClientHandshake.portField(nil) == [0])
        #expect(ClientHandshake.portField(0) == [0])
        #expect(ClientHandshake.portField(1_022) == bytes("1022\0"))
    }

    @Test(arguments: Service.allCases)
    func whatIsWrittenIsWhatTheServerReads(_ service: Service) throws {
        let stream =
            ClientHandshake.portField(40_000)
            + (try ClientHandshake.names(
                service, first: bytes("alice"), second: bytes("bob"), command: bytes("echo \u{E9}")))
        let outcome = read(service, stream)
        #expect(outcome.state == .complete)
        #expect(outcome.consumed == stream.count)
        #expect(outcome.port == 40_000)
        #expect(outcome.command == bytes("echo \u{E9}"))
        #expect(outcome.target == bytes(service == .rexec ? "alice" : "bob"))
        #expect(outcome.password == (service == .rexec ? bytes("bob") : nil))
    }

    @Test func aNULInAFieldIsNeverSent() {
        #expect(throws: ClientHandshake.EncodingError.containsNUL(.first)) {
            try ClientHandshake.names(.rsh, first: bytes("a\0root"), second: bytes("b"), command: bytes("id"))
        }
        #expect(throws: ClientHandshake.EncodingError.containsNUL(.second)) {
            try ClientHandshake.names(.rexec, first: bytes("a"), second: bytes("p\0"), command: bytes("id"))
        }
        #expect(throws: ClientHandshake.EncodingError.containsNUL(.command)) {
            try ClientHandshake.names(.rsh, first: bytes("a"), second: bytes("b"), command: bytes("id\0"))
        }
    }

    @Test func emptyNamesAndOverlongFieldsAreNeverSent() {
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 129)
        #expect(throws: ClientHandshake.EncodingError.empty(.first)) {
            try ClientHandshake.names(.rsh, first: [], second: bytes("b"), command: [])
        }
        #expect(throws: ClientHandshake.EncodingError.empty(.second)) {
            try ClientHandshake.names(.rsh, first: bytes("a"), second: [], command: [])
        }
        #expect(throws: Never.self) { try ClientHandshake.names(.rexec, first: bytes("a"), second: [], command: []) }
        #expect(throws: ClientHandshake.EncodingError.tooLong(.first)) {
            try ClientHandshake.names(.rsh, first: long, second: bytes("b"), command: [])
        }
        #expect(throws: ClientHandshake.EncodingError.tooLong(.second)) {
            try ClientHandshake.names(.rexec, first: bytes("a"), second: long, command: [])
        }
        #expect(throws: ClientHandshake.EncodingError.tooLong(.command)) {
            try ClientHandshake.names(
                .rsh, first: bytes("a"), second: bytes("b"), command: [UInt8](repeating: 1, count: 131_072))
        }
    }
}

@Suite struct ReplyReaderTests {
    private func reply(_ stream: [UInt8], pieces: Int = .max, ended: Bool = true) -> (ReplyReader.State, Int) {
        var reader = ReplyReader()
        var offset = 0
        while offset < stream.count, !reader.isDone {
            let end = pieces >= stream.count - offset ? stream.count : offset + pieces
            let part = stream[offset..<end]
            offset += reader.consume(part.span)
        }
        if ended { reader.end() }
        return (reader.state, offset)
    }

    @Test func anAcceptedAnswerIsOneByteAndOutputIsLeft() {
        let (state, taken) = reply(bytes("\0output\0"))
        #expect(state == .accepted)
        #expect(taken == 1)
    }

    @Test(arguments: [1, 2, 3, Int.max])
    func aRefusalIsItsLineWithoutTheNewline(_ pieces: Int) {
        let (state, taken) = reply(bytes("\u{1}Permission denied.\nmore"), pieces: pieces)
        #expect(state == .refused(ByteText("Permission denied.")))
        #expect(taken == 20)
    }

    @Test func aRefusalWithoutNewlineEndsWithTheConnection() {
        #expect(reply(bytes("\u{1}Login incorrect.")).0 == .refused(ByteText("Login incorrect.")))
        #expect(reply(bytes("\u{1}")).0 == .refused(ByteText("")))
    }

    /// Facts about peers, 1.2: inetutils rexec takes an end for success.
    @Test func anEndWithoutAnAnswerIsNoSuccess() {
        #expect(reply([]).0 == .closed)
    }

    /// Facts about peers, section 6, item 15.
    @Test func abuse15AMebibyteOfTextIsCut() {
        let (state, taken) = reply([1] + [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20))
        #expect(state == .refused(ByteText([UInt8](repeating: UInt8(ascii: "x"), count: 1_024))))
        #expect(taken == 1_025)
    }

    @Test(arguments: [2, 10, 255] as [UInt8])
    func anotherFirstByteIsNoAnswer(_ byte: UInt8) {
        #expect(reply([byte]).0 == .unexpectedStatus(byte))
    }

    @Test func nothingIsReadYet() {
        #expect(reply([], ended: false).0 == .awaitingStatus)
        #expect(reply([1, 65], ended: false).0 == .readingText)
    }
}
