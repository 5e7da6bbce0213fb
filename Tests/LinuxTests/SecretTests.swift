// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Testing

@Suite struct SecretTests {
    @Test func aSecretArrivesInOneMessageAndIsErased() throws {
        let (ours, theirs) = try Channel.pair()
        try theirs.send(Array("canary".utf8))
        let secret = try Secret()
        #expect(try secret.receive(from: ours) == .complete)
        #expect(secret.copyOfBytes() == Array("canary".utf8))
        secret.erase()
        #expect(secret.isEmpty)
        #expect(secret.copyOfBytes().isEmpty)
    }

    @Test func oneNULAtTheEndIsNotPartOfItAndOneWithinRefuses() throws {
        let (ours, theirs) = try Channel.pair()
        let secret = try Secret()
        try theirs.send(Array("x\0".utf8))
        #expect(try secret.receive(from: ours) == .complete)
        #expect(secret.copyOfBytes() == Array("x".utf8))
        try theirs.send(Array("x\0y".utf8))
        #expect(try secret.receive(from: ours) == .refused)
        #expect(secret.isEmpty)
    }

    /// An empty password is one that came: where nothing came, nobody has left it empty.
    @Test func anEmptySecretIsAMessageAndTheOtherSidesEndIsNone() throws {
        let (ours, theirs) = try Channel.pair()
        let secret = try Secret()
        try theirs.send([0])
        #expect(try secret.receive(from: ours) == .complete)
        #expect(secret.isEmpty)
        try theirs.send([])
        #expect(try secret.receive(from: ours) == .closed)
        Socket.shutdownBoth(theirs.descriptor)
        #expect(try secret.receive(from: ours) == .closed)
    }

    @Test func aMessageOverTheLimitLeavesNothing() throws {
        let (ours, theirs) = try Channel.pair()
        let secret = try Secret()
        try theirs.send([UInt8](repeating: 65, count: Secret.limit + 1))
        #expect(try secret.receive(from: ours) == .refused)
        #expect(secret.isEmpty)
        try theirs.send([UInt8](repeating: 65, count: Secret.limit))
        #expect(try secret.receive(from: ours) == .complete)
        #expect(secret.count == Secret.limit)
        #expect(!secret.append(1))
    }

    @Test func aLineIsReadAndNotOneByteAfterIt() throws {
        let (read, write) = try Descriptor.pipe()
        try write.writeAll(Array("first\nsecond".utf8))
        let secret = try Secret()
        #expect(try secret.readLine(from: read) == .complete)
        #expect(secret.copyOfBytes() == Array("first".utf8))
        #expect(try read.read(64) == Array("second".utf8))
    }
}
