// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing
import Wire

@Suite struct ServerHandshakeTests {
    @Test(arguments: Transcript.all)
    func whatClientsSendIsReadToItsLastNULAndNoFurther(_ transcript: Transcript) {
        let outcome = read(transcript.service, transcript.stream)
        #expect(outcome.state == .complete)
        #expect(outcome.consumed == transcript.length)
        #expect(outcome.port == transcript.port)
        #expect(outcome.remoteUser == transcript.remoteUser.map(bytes))
        #expect(outcome.target == bytes(transcript.target))
        #expect(outcome.password == transcript.password.map(bytes))
        #expect(outcome.command == bytes(transcript.command))
    }

    @Test(arguments: Transcript.all)
    func theOutcomeIsTheSameHoweverTheBytesAreCut(_ transcript: Transcript) {
        let whole = read(transcript.service, transcript.stream)
        for split in 1...transcript.stream.count {
            let rest = transcript.stream.count
            #expect(read(transcript.service, transcript.stream, pieces: [split, rest]) == whole)
        }
        for piece in 1...4 {
            #expect(read(transcript.service, transcript.stream, pieces: [piece]) == whole)
        }
    }

    @Test func thePortIsKnownBeforeAnyNameIsRead() {
        var handshake = ServerHandshake(service: .rsh, commandLimit: 100)
        let stream = bytes("1022\0alice\0bob\0id\0")
        #expect(consume(stream[...], &handshake) == 5)
        #expect(handshake.state == .awaitingConnectBack(port: 1022))
        #expect(consume(stream[5...], &handshake) == 0, "nothing is read while the client waits to be called")
        #expect(handshake.consumed == 5)
        handshake.connectedBack()
        #expect(handshake.state == .reading(.first))
        #expect(consume(stream[5...], &handshake) == 6)
        #expect(handshake.state == .reading(.second))
    }

    @Test func itStopsBehindEachFieldSoThatThePasswordCanLieInABufferOfItsOwn() {
        var handshake = ServerHandshake(service: .rexec, commandLimit: 100)
        let stream = bytes("\0alice\0secret\0id\0rest")
        var offset = 0
        var stops: [Int] = []
        while case .reading = handshake.state {
            offset += consume(stream[offset...], &handshake)
            stops.append(offset)
        }
        #expect(stops == [1, 7, 14, 17])
        #expect(handshake.head == 0..<14)
        #expect(handshake.password == 7..<13)
        #expect(handshake.command == 14..<16)
    }

    @Test(
        arguments: [
            ("\0", nil), ("0\0", nil), ("00000\0", nil), ("1\0", 1), ("00514\0", 514), ("65535\0", 65_535),
            ("1022\0", 1_022),
        ] as [(String, UInt16?)])
    func aPortIsNoneOrFiveDigits(_ field: String, _ port: UInt16?) {
        let outcome = read(.rexec, bytes(field + "u\0p\0c\0"))
        #expect(outcome.state == .complete)
        #expect(outcome.port == port)
    }

    /// Facts about peers, section 6, item 1: others wrap, skip or parse these into some port.
    @Test(arguments: [
        "66559\0", "65536\0", "99999\0", "+514\0", "-1\0", " 22\0", "22 \0", "0x202\0", "12a4\0", "00000000000514\0",
        "000000\0", "\u{661}\0", "1022\n\0",
    ])
    func abuse1PortFieldsThatAreNoPortAreProtocolErrors(_ field: String) {
        for service in Service.allCases {
            let outcome = read(service, bytes(field + "u\0p\0c\0"))
            #expect(outcome.state == .failed(.port))
            #expect(outcome.consumed <= 6)
            #expect(outcome.loggableTarget == nil)
        }
    }

    @Test func abuse1AMebibyteOfDigitsIsDecidedAtTheSixth() {
        let outcome = read(.rsh, [UInt8](repeating: UInt8(ascii: "1"), count: 1 << 20))
        #expect(outcome.state == .failed(.port))
        #expect(outcome.consumed == 6)
    }

    @Test func abuse1NULsAloneAreAnEmptyName() {
        #expect(read(.rexec, [0, 0, 0, 0]).state == .failed(.emptyTarget))
        #expect(read(.rsh, [0, 0, 0, 0]).state == .failed(.emptyRemoteUser))
        #expect(read(.rsh, bytes("\0a\0\0")).state == .failed(.emptyTarget))
    }

    @Test func abuse1APortWithoutNULGoesOnWaiting() {
        let outcome = read(.rexec, bytes("1022"), pieces: [1])
        #expect(outcome.state == .reading(.port))
        #expect(outcome.consumed == 4)
    }

    @Test(arguments: [1, 15, 16, 17, 32])
    func abuse6NamesOfUpToThirtyTwoBytesAreTaken(_ length: Int) {
        let name = String(repeating: "n", count: length)
        #expect(read(.rexec, bytes("\0\(name)\0p\0c\0")).target == bytes(name))
        let outcome = read(.rsh, bytes("\0\(name)\0\(name)\0c\0"))
        #expect(outcome.remoteUser == bytes(name))
        #expect(outcome.target == bytes(name))
    }

    @Test(arguments: [33, 34, 1 << 20])
    func abuse6LongerNamesAreDecidedAtTheThirtyThirdByte(_ length: Int) {
        let name = [UInt8](repeating: UInt8(ascii: "n"), count: length)
        let user = read(.rexec, [0] + name + [0])
        #expect(user.state == .failed(.longTarget))
        #expect(user.consumed == 34)
        #expect(user.loggableTarget == Array(name.prefix(32)))
        #expect(read(.rsh, [0] + name + [0]).state == .failed(.longRemoteUser))
        let target = read(.rsh, bytes("\0a\0") + name + [0])
        #expect(target.state == .failed(.longTarget))
        #expect(target.consumed == 36)
        #expect(target.loggableRemoteUser == bytes("a"))
    }

    @Test func abuse6APasswordHasAtMostOneHundredAndTwentyEightBytes() {
        let longest = [UInt8](repeating: 0xFF, count: 128)
        #expect(read(.rexec, bytes("\0u\0") + longest + bytes("\0c\0")).password == longest)
        let outcome = read(.rexec, bytes("\0u\0") + longest + [1, 0])
        #expect(outcome.state == .failed(.longPassword))
        #expect(outcome.consumed == 3 + 129)
        #expect(outcome.password == nil)
        #expect(outcome.loggableTarget == bytes("u"))
    }

    @Test(arguments: [0, 1, 4_096, 131_071])
    func abuse6ACommandHasAtMostTheServicesBytes(_ limit: Int) {
        let longest = [UInt8](repeating: UInt8(ascii: "c"), count: limit)
        #expect(read(.rsh, bytes("\0a\0b\0") + longest + [0], commandLimit: limit).command == longest)
        let outcome = read(.rsh, bytes("\0a\0b\0") + longest + bytes("c\0"), commandLimit: limit)
        #expect(outcome.state == .failed(.longCommand))
        #expect(outcome.consumed == 5 + limit + 1)
    }

    @Test func abuse6NoSettingLetsACommandBeLongerThanTheKernelTakes() {
        let handshake = ServerHandshake(service: .rsh, commandLimit: .max)
        #expect(handshake.commandLimit == 131_071)
        #expect(ServerHandshake(service: .rsh, commandLimit: -1).commandLimit == 0)
    }

    @Test func abuse6AFloodBeforeTheNamesIsNotRead() {
        let flood = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        #expect(read(.rsh, flood).consumed == 1)
        #expect(read(.rsh, [0] + flood).consumed == 34)
    }

    @Test func abuse7ANULInTheCommandEndsItAndTheRestIsStdin() {
        let outcome = read(.rsh, bytes("\0a\0b\0id\0; reboot\0"))
        #expect(outcome.command == bytes("id"))
        #expect(outcome.consumed == 8)
    }

    @Test(arguments: [
        "caf\u{E9}", "a\nb", "a\u{1B}[2Jb", "%n%n%s", "a b", "a\tb", "\u{7F}", "a\u{202E}b", "a\rb", "a;b", "a%s",
    ])
    func abuse7BytesThatNamesDoNotHaveAreRefusedInEveryName(_ name: String) {
        let user = read(.rexec, bytes("\0\(name)\0p\0c\0"))
        #expect(user.state == .failed(.badTarget))
        #expect(user.loggableTarget == bytes(name), "the record shows the whole name, escaped")
        #expect(read(.rsh, bytes("\0\(name)\0b\0c\0")).state == .failed(.badRemoteUser))
        #expect(read(.rsh, bytes("\0a\0\(name)\0c\0")).state == .failed(.badTarget))
    }

    @Test func abuse7EveryByteButNULPassesInTheCommandAndInThePassword() {
        let all = (1...255).map { UInt8($0) }
        #expect(read(.rsh, bytes("\0a\0b\0") + all + [0]).command == all)
        let password = Array(all.prefix(128))
        #expect(read(.rexec, bytes("\0a\0") + password + bytes("\0c\0")).password == password)
        let rest = Array(all.suffix(127))
        #expect(read(.rexec, bytes("\0a\0") + rest + bytes("\0c\0")).password == rest)
    }

    @Test(arguments: ["-froot", "..", "/etc", "a/b", "+", "@ng", "#x", ".x", "$x", "root ", " root", "a,b", "a:b"])
    func abuse8NamesThatAreNoNamesAreRefused(_ name: String) {
        #expect(read(.rexec, bytes("\0\(name)\0p\0c\0")).state == .failed(.badTarget))
        #expect(read(.rsh, bytes("\0\(name)\0b\0c\0")).state == .failed(.badRemoteUser))
        guard case .failed(let error) = read(.rsh, bytes("\0a\0\(name)\0c\0")).state else {
            Issue.record("accepted")
            return
        }
        #expect(error == .badTarget || error == .passwordInTarget)
    }

    @Test(arguments: ["root", "ROOT", "u$", "a.b-c_d", "0", "_x", "DOMAIN$"])
    func abuse8NamesOfTheGrammarPassAsTheyAre(_ name: String) {
        #expect(read(.rsh, bytes("\0\(name)\0\(name)\0c\0")).target == bytes(name))
    }

    @Test func abuse8AnAtSignIsPartOfNamesButNotOfAnRSHTarget() {
        #expect(read(.rexec, bytes("\0u@example.org\0p\0c\0")).target == bytes("u@example.org"))
        #expect(read(.rsh, bytes("\0u@host\0b\0c\0")).remoteUser == bytes("u@host"))
        #expect(read(.rsh, bytes("\0a\0u@host\0c\0")).state == .failed(.passwordInTarget))
    }

    @Test(arguments: [
        "ibmuser/hunter2", "ibmuser@hunter2", "ibmuser/hunter2@x", "ibmuser@hunter2/x", "ibmuser//", "ibmuser/",
        "ibmuser/hunter2hunter2hunter2hunter2hunter2",
    ])
    func aPasswordInAnRSHTargetIsRefusedAndNeverShown(_ field: String) {
        let outcome = read(.rsh, bytes("\0a\0\(field)\0c\0"))
        #expect(outcome.state == .failed(.passwordInTarget))
        #expect(outcome.loggableTarget == bytes("ibmuser"))
        #expect(outcome.target == nil)
    }

    @Test func ofATargetThatIsAllPasswordNothingIsShown() {
        #expect(read(.rsh, bytes("\0a\0/hunter2\0c\0")).loggableTarget == nil)
        #expect(read(.rsh, bytes("\0a\0@hunter2\0c\0")).loggableTarget == nil)
        #expect(read(.rexec, bytes("\0u/hunter2\0c\0")).loggableTarget == bytes("u"))
    }

    @Test(
        arguments: [
            ("ibmuser/hunter2", "ibmuser", "hunter2"), ("ibmuser@hunter2", "ibmuser", "hunter2"),
            ("ibmuser/hunter2@x", "ibmuser", "hunter2@x"), ("ibmuser@hunter2/x", "ibmuser", "hunter2/x"),
            ("ibmuser//", "ibmuser", "/"), ("ibmuser/", "ibmuser", ""), ("ibmuser@", "ibmuser", ""),
            ("a/ pass phrase\n", "a", " pass phrase\n"), ("ibmuser", "ibmuser", nil),
        ] as [(String, String, String?)])
    func aPasswordFieldEndsTheNameAtItsFirstSeparator(_ field: String, _ target: String, _ password: String?) {
        let stream = bytes("1022\0a@b\0\(field)\0id\0stdin")
        let outcome = read(.rsh, stream, passwordField: true)
        #expect(outcome.state == .complete)
        #expect(outcome.remoteUser == bytes("a@b"))
        #expect(outcome.target == bytes(target))
        #expect(outcome.loggableTarget == bytes(target))
        #expect(outcome.password == password.map(bytes))
        #expect(outcome.command == bytes("id"))
        #expect(stream.count - outcome.consumed == 5)
        for piece in 1...4 { #expect(read(.rsh, stream, pieces: [piece], passwordField: true) == outcome) }
    }

    @Test func aPasswordFieldIsOfRSHAlone() {
        #expect(read(.rexec, bytes("\0u/x\0p\0c\0"), passwordField: true).state == .failed(.badTarget))
        let outcome = read(.rexec, bytes("\0u@x\0p/q\0c\0"), passwordField: true)
        #expect(outcome.target == bytes("u@x"))
        #expect(outcome.password == bytes("p/q"))
    }

    @Test(
        arguments: [
            ("/hunter2", .emptyTarget, nil), ("@hunter2", .emptyTarget, nil), ("", .emptyTarget, nil),
            ("-x/hunter2", .badTarget, "-x"), ("a b/hunter2", .badTarget, "a b"),
            (String(repeating: "n", count: 33) + "/hunter2", .longTarget, String(repeating: "n", count: 32)),
            ("ibmuser/" + String(repeating: "p", count: 129), .longPassword, "ibmuser"),
        ] as [(String, HandshakeError, String?)])
    func aPasswordFieldThatIsNoneIsRefusedAndNeverShown(_ field: String, _ error: HandshakeError, _ shown: String?) {
        let outcome = read(.rsh, bytes("\0a\0\(field)\0c\0"), passwordField: true)
        #expect(outcome.state == .failed(error))
        #expect(outcome.loggableTarget == shown.map(bytes))
        #expect(outcome.target == nil)
        #expect(outcome.password == nil)
    }

    @Test func theLongestNameAndPasswordFieldFitInTheHead() {
        let name = String(repeating: "n", count: 32)
        let password = [UInt8](repeating: 0xFF, count: 128)
        let stream = bytes("65535\0\(name)\0\(name)/") + password + bytes("\0c\0")
        let outcome = read(.rsh, stream, passwordField: true)
        #expect(outcome.state == .complete)
        #expect(outcome.password == password)
        #expect(outcome.consumed == ServerHandshake.headLimit + 2)
    }

    @Test func ofAHandshakeThatIsLateTheRecordShowsWhatWasReadAndNoPassword() {
        let late = read(.rsh, bytes("\0alice\0bob/hun"))
        #expect(late.state == .reading(.second))
        #expect(late.loggableRemoteUser == bytes("alice"))
        #expect(late.loggableTarget == bytes("bob"))
        let rexec = read(.rexec, bytes("\0alice\0hunter2"))
        #expect(rexec.loggableTarget == bytes("alice"))
        #expect(rexec.loggableRemoteUser == nil)
    }

    @Test func aFailedHandshakeConsumesNothingMore() {
        var handshake = ServerHandshake(service: .rsh, commandLimit: 10)
        #expect(consume(bytes("x")[...], &handshake) == 1)
        #expect(consume(bytes("y")[...], &handshake) == 0)
        handshake.connectedBack()
        #expect(handshake.state == .failed(.port))
    }
}

@Suite struct ServerHandshakeProperties {
    /// Bytes that lead deep into the grammar more often than uniform ones.
    private static let alphabet = bytes("\0\0\0\0a0_./@-$ 9\n") + [0xFF, 0x80, 1]

    @Test(arguments: [1, 2, 3] as [UInt64])
    func ofAnyBytesTheOutcomeIsBoundedConsistentAndTheSameHoweverTheyAreCut(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for round in 0..<3_000 {
            let service = Service.allCases.randomElement(using: &generator) ?? .rsh
            let limit = Int.random(in: 0...60, using: &generator)
            let biased = Bool.random(using: &generator)
            let field = Bool.random(using: &generator)
            let stream = (0..<Int.random(in: 0...200, using: &generator)).map { _ in
                biased
                    ? Self.alphabet[Int.random(in: 0..<Self.alphabet.count, using: &generator)]
                    : UInt8.random(in: 0...255, using: &generator)
            }
            let whole = read(service, stream, commandLimit: limit, passwordField: field)
            let pieces = (0..<5).map { _ in Int.random(in: 1...20, using: &generator) }
            let cut = read(service, stream, pieces: pieces, commandLimit: limit, passwordField: field)
            #expect(whole == cut, "seed \(seed) round \(round)")
            check(whole, of: stream, service, limit, "seed \(seed) round \(round)")
        }
    }

    private func check(_ outcome: Outcome, of stream: [UInt8], _ service: Service, _ limit: Int, _ place: Comment) {
        #expect(outcome.consumed <= min(stream.count, ServerHandshake.headLimit + limit + 1), place)
        for shown in [outcome.loggableTarget, outcome.loggableRemoteUser].compactMap({ $0 }) {
            #expect((1...UserName.limit).contains(shown.count), place)
        }
        if let shown = outcome.loggableTarget {
            #expect(!shown.contains(UInt8(ascii: "/")), place)
            #expect(service == .rexec || !shown.contains(UInt8(ascii: "@")), place)
        }
        switch outcome.state {
        case .complete:
            #expect(stream[outcome.consumed - 1] == 0, place)
            #expect(stream.prefix(outcome.consumed).count { $0 == 0 } == 4, place)
            #expect(outcome.target.flatMap { UserName(bytes: $0) } != nil, place)
            #expect(outcome.remoteUser.map { UserName(bytes: $0) != nil } ?? (service == .rexec), place)
            #expect((outcome.password?.count ?? 0) <= 128, place)
            #expect((outcome.command?.count ?? .max) <= limit, place)
        case .reading, .awaitingConnectBack:
            #expect(outcome.consumed == stream.count, place)
            #expect(outcome.command == nil, place)
        case .failed:
            #expect(outcome.command == nil, place)
        }
    }

    /// The naive reading: split at NULs, then check whole fields.
    @Test(arguments: [11, 12] as [UInt64])
    func itAgreesWithANaiveReadingOfWholeFields(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let ports = ["", "0", "1022", "65535", "65536", "x", "000000", "7"]
        let names = ["a", "bob", "-x", "", "u@h", "u/p", String(repeating: "n", count: 32), "a b", "_", "9.$-"]
        let commands = ["", "id", "0123456789", "0123456789a"]
        for round in 0..<2_000 {
            let service = Service.allCases.randomElement(using: &generator) ?? .rsh
            let port = ports.randomElement(using: &generator) ?? ""
            let first = names.randomElement(using: &generator) ?? ""
            let second = names.randomElement(using: &generator) ?? ""
            let command = commands.randomElement(using: &generator) ?? ""
            let stream = bytes("\(port)\0\(first)\0\(second)\0\(command)\0stdin")
            let isPort = port.utf8.count <= 5 && (port.isEmpty || UInt16(port) != nil)
            let isSecond =
                service == .rexec || (UserName(second) != nil && !second.utf8.contains(UInt8(ascii: "@")))
            let accepted = isPort && UserName(first) != nil && isSecond && command.utf8.count <= 10
            let outcome = read(service, stream, commandLimit: 10)
            #expect((outcome.state == .complete) == accepted, "seed \(seed) round \(round)")
            guard service == .rsh else { continue }
            let parts = second.split(maxSplits: 1, omittingEmptySubsequences: false) { "/@".contains($0) }
            let isTarget = UserName(String(parts.first ?? "")) != nil
            let other = read(.rsh, stream, commandLimit: 10, passwordField: true)
            let taken = isPort && UserName(first) != nil && isTarget && command.utf8.count <= 10
            #expect((other.state == .complete) == taken, "seed \(seed) round \(round)")
            let password = taken && parts.count > 1 ? bytes(String(parts[1])) : nil
            #expect(!taken || other.password == password, "seed \(seed) round \(round)")
        }
    }
}
