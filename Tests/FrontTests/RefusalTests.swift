// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import NIOCore
import Testing

@testable import Front

/// How front refuses: the bytes, their order, their time, and the record.
@Suite struct RefusalTests {
    private static let rexecLine = Array("\u{1}Login incorrect.\n".utf8)
    private static let rshLine = Array("\u{1}Permission denied.\n".utf8)

    @Test(arguments: [
        ("66559\0u\0p\0c\0", "port field is not 0 to 65535"), ("\0\0p\0c\0", "empty user"),
        ("\0-froot\0p\0c\0", "user has a byte that names do not have"),
        ("\0\(String(repeating: "n", count: 33))\0p\0c\0", "user too long"),
        ("\0u\0\(String(repeating: "p", count: 129))\0c\0", "password too long"),
        ("\0u\0p\0\(String(repeating: "c", count: 4_097))\0", "command too long"),
        ("511\0u\0p\0c\0", "stderr port 511 is not permitted"), ("1023\0", "stderr port 1023 is not permitted"),
    ])
    func aMalformedHandshakeGetsTheOneLineAndARecord(_ stream: String, _ detail: String) throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rexec)
        try client.write(stream)
        #expect(try client.readToEnd() == Self.rexecLine)
        let record = try harness.record()
        #expect(record.refusal == .protocolError)
        #expect(record.detail == ByteText(detail))
        #expect(record.origin.service == .rexec)
        #expect(record.origin.address == IPAddress(v4: 0x7F00_0001))
        #expect(record.origin.port == (try Socket.local(client.socket).port))
        #expect(try harness.isQuiet(), "nothing is asked of the monitor")
    }

    @Test func aPasswordInAnRSHTargetReachesNoRecord() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0zos\0ibmuser/hunter2\0id\0")
        #expect(try client.readToEnd() == Self.rshLine)
        let record = try harness.record()
        #expect(record.account == "ibmuser")
        #expect(record.remoteUser == "zos")
        #expect(!"\(record)".contains("hunter2"))
    }

    @Test func anRSHClientFromAnUnreservedPortIsRefusedBeforeAByteIsRead() throws {
        let harness = try FrontHarness { $0.rsh.requiresReservedSourcePort = true }
        let client = try harness.client(.rsh)
        #expect(try client.readToEnd() == Self.rshLine, "nothing was sent")
        let record = try harness.record()
        #expect(record.refusal == .sourcePort)
        #expect(record.account == nil)
    }

    @Test(.enabled(if: Process.isRoot, "reserved ports need root"), arguments: [611, 1_022] as [UInt16])
    func anRSHClientFromAReservedPortIsHeard(_ port: UInt16) throws {
        let harness = try FrontHarness { $0.rsh.requiresReservedSourcePort = true }
        let client = try harness.client(.rsh, from: port)
        try client.write("\0a\0b\0id\0")
        #expect(try harness.handover().request().target == UserName("b"))
    }

    @Test(.enabled(if: Process.isRoot, "reserved ports need root"), arguments: [20, 511] as [UInt16])
    func abuse10PortsBelowTheReservedOnesAreRefused(_ port: UInt16) throws {
        let harness = try FrontHarness { $0.rsh.requiresReservedSourcePort = true }
        let client = try harness.client(.rsh, from: port)
        #expect(try client.readToEnd() == Self.rshLine)
        #expect(try harness.record().refusal == .sourcePort)
    }

    @Test func stderrAskedForWhereItIsOffIsAProtocolRefusal() throws {
        let harness = try FrontHarness { $0.rexec.offersStderrChannel = false }
        let client = try harness.client(.rexec)
        try client.write("40001\0u\0p\0c\0")
        #expect(try client.readToEnd() == Self.rexecLine)
        let record = try harness.record()
        #expect(record.refusal == .protocolError)
        #expect(record.account == nil)
        #expect(try harness.isQuiet())
    }

    @Test func aFailedConnectBackIsRefusedWithItsReason() throws {
        let harness = try FrontHarness()
        for reason in [Reason.limit, .protocolError] {
            let client = try harness.client(.rsh)
            try client.write("1022\0a\0b\0c\0")
            guard case (.connectBack(let connection, .rsh, 1_022), _) = try harness.ask() else {
                Issue.record("no ask")
                return
            }
            try harness.send(.connectBackFailed(connection: connection, reason: reason))
            #expect(try client.readToEnd() == Self.rshLine)
            #expect(try harness.record().refusal == reason)
        }
    }

    @Test(arguments: ["", "\0", "\0alice", "\0alice\0pw\0", "\0alice\0pw\0cat "])
    func aLateHandshakeIsRefusedAtTheDeadlineHoweverItDrips(_ stream: String) throws {
        let harness = try FrontHarness {
            $0.rexec.handshakeTimeout = 150
            // Were the refusal delayed, the test would not end.
            $0.refusal.delay = 86_400_000
        }
        let client = try harness.client(.rexec)
        for byte in stream.utf8 {
            try client.write([byte])
            Clock.sleep(milliseconds: 3)
        }
        #expect(try client.readToEnd() == Self.rexecLine)
        let record = try harness.record()
        #expect(record.refusal == .protocolError)
        #expect(record.detail == "handshake not complete in time")
        #expect(record.account == (stream.utf8.count > 1 ? "alice" : nil))
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    @Test func aByteNowAndThenDoesNotExtendTheDeadline() throws {
        let harness = try FrontHarness {
            $0.rsh.handshakeTimeout = 200
            $0.rsh.commandLength = 131_071
        }
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0")
        var answer: [UInt8]?
        for _ in 0..<10_000 where answer == nil {
            try? client.write("c")
            Clock.sleep(milliseconds: 5)
            answer = try Socket.receive(client.socket, limit: 100)
        }
        #expect(answer == Self.rshLine)
    }

    @Test func aRefusalOfTheSessionIsAnsweredAfterTheDelayWithTheSecondaryClosedFirst() throws {
        let harness = try FrontHarness { $0.refusal.delay = 100 }
        let client = try harness.client(.rexec)
        try client.write("40001\0u\0p\0c\0")
        guard case (.connectBack(let connection, _, _), _) = try harness.ask() else {
            Issue.record("no ask")
            return
        }
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let theirs = try Client(Socket.local(listener)).socket
        try FrontHarness.wait(listener)
        do {
            let ours = try #require(try Socket.accept(listener))
            try harness.send(.connectedBack(connection: connection), [ours])
        }
        do {
            let handover = try harness.handover()
            let start = Clock.monotonicMilliseconds()
            try handover.answer(.refuse(reason: .badCredentials))
            // Both ends at once would say when the session decided; here both come at the one time.
            try FrontHarness.wait(client.socket)
            #expect(Clock.monotonicMilliseconds() - start >= 50)
        }
        // The text is there, so the secondary was closed before.
        #expect(try Socket.receive(theirs, limit: 1)?.isEmpty == true)
        #expect(try client.readToEnd() == Self.rexecLine)
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    @Test func aSessionThatDiesIsARefusal() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        _ = try harness.handover()
        #expect(try client.readToEnd() == Self.rshLine)
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    @Test func aSessionThatBreaksItsProtocolIsARefusal() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        let handover = try harness.handover()
        try handover.channel.send([9, 9, 9])
        #expect(try client.readToEnd() == Self.rshLine)
    }

    @Test(arguments: [Reason.unavailable, .limit, .protocolError, .auditUnavailable])
    func aRequestForWhichThereIsNoSessionIsRefusedAndRecorded(_ reason: Reason) throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        let handover = try harness.handover()
        try harness.send(.rejected(connection: handover.connection, reason: reason))
        #expect(try client.readToEnd() == Self.rshLine)
        #expect(try harness.record().refusal == reason)
    }

    @Test func refusalsWhileThereIsNoAuditorAreRecordedByTheNext() throws {
        let harness = try FrontHarness()
        Socket.shutdownBoth(harness.auditor.descriptor)
        #expect(try harness.until { !$0.hasAuditor })
        for _ in 0..<3 {
            let client = try harness.client(.rexec)
            try client.write("x")
            #expect(try client.readToEnd() == Self.rexecLine)
        }
        let (auditor, records) = try Linux.Channel.pair()
        try harness.send(.auditor, [records.descriptor])
        let message = try #require(try FrontHarness.next(auditor, descriptors: 0))
        guard case .record(1, .login(let login)) = try RecordFrame(frame: message.bytes) else {
            Issue.record("no record")
            return
        }
        #expect(login.refusal == .protocolError)
        #expect(login.count == 3, "those of one source and reason are one record")
    }

    @Test func theTextIsNotLostToWhatTheClientStillSends() throws {
        let harness = try FrontHarness()
        for _ in 0..<10 {
            let client = try harness.client(.rexec)
            try client.write(Array("x".utf8) + [UInt8](repeating: 0, count: 60_000))
            #expect(try client.readToEnd() == Self.rexecLine)
        }
    }

    @Test func aRefusedClientThatGoesOnSendingIsCutOff() throws {
        var bounds = Front.Bounds.brief
        bounds.drainTime = .milliseconds(100)
        let harness = try FrontHarness(bounds: bounds)
        let client = try harness.client(.rexec)
        try client.write("x")
        #expect(try client.readToEnd() == Self.rexecLine)
        // It keeps its side open; front does not wait for it.
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    @Test func aHalfCloseInTheHandshakeIsRefusedWithTheText() throws {
        let harness = try FrontHarness()
        for stream in ["", "\0", "\0alice\0pw\0id"] {
            let client = try harness.client(.rexec)
            try client.write(stream)
            Socket.shutdownSending(client.socket)
            #expect(try client.readToEnd() == Self.rexecLine)
            let record = try harness.record()
            #expect(record.refusal == .protocolError)
            #expect(record.detail == "closed in the handshake")
        }
    }

    @Test func aResetInTheHandshakeIsRecordedAndForgotten() throws {
        let harness = try FrontHarness()
        do {
            let client = try harness.client(.rexec)
            try client.write("\0alice\0")
            #expect(try harness.until { $0.underWay.handshakes == 1 })
            Clock.sleep(milliseconds: 20)
            Socket.setReset(client.socket)
        }
        #expect(try harness.record().refusal == .protocolError)
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    @Test func aRefusedClientThatResetsIsForgotten() throws {
        let harness = try FrontHarness()
        do {
            let client = try harness.client(.rexec)
            try client.write("x")
            _ = try harness.record()
            Socket.setReset(client.socket)
        }
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }
}

/// How many there may be at once.
@Suite struct LimitTests {
    @Test func sessionsAreCountedFromHandOverToTheirEnd() throws {
        let harness = try FrontHarness { $0.rsh.sessions = 1 }
        let first = try harness.client(.rsh)
        try first.write("\0a\0b\0c\0")
        do {
            let handover = try harness.handover()
            #expect(try handover.release())
            let second = try harness.client(.rsh)
            try second.write("\0a\0b\0c\0")
            #expect(try second.readToEnd() == Array("\u{1}Permission denied.\n".utf8))
            let record = try harness.record()
            #expect(record.refusal == .limit)
            #expect(record.account == "b")
            // REXEC has places of its own.
            let other = try harness.client(.rexec)
            try other.write("\0a\0p\0c\0")
            _ = try harness.handover()
        }
        #expect(try harness.until { $0.underWay.sessions == 0 })
        let third = try harness.client(.rsh)
        try third.write("\0a\0b\0c\0")
        #expect(try harness.handover().service == .rsh)
    }

    @Test func sessionsOfOneSourceHaveALimitOfTheirOwn() throws {
        let harness = try FrontHarness { $0.rsh.sessionsPerSource = 2 }
        var held: [Handover] = []
        for _ in 0..<2 {
            let client = try harness.client(.rsh)
            try client.write("\0a\0b\0c\0")
            held.append(try harness.handover())
        }
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        #expect(try client.readToEnd() == Array("\u{1}Permission denied.\n".utf8))
        #expect(try harness.record().refusal == .limit)
    }

    @Test func handshakesOfOneSourceHaveALimitAndTheNextIsRefusedAtOnce() throws {
        var bounds = Front.Bounds.brief
        bounds.handshakesPerSource = 3
        let harness = try FrontHarness(bounds: bounds) { $0.refusal.delay = 86_400_000 }
        let idle = try (0..<3).map { _ in try harness.client(.rexec) }
        #expect(try harness.until { $0.underWay.handshakes == 3 })
        let client = try harness.client(.rexec)
        #expect(try client.readToEnd() == Array("\u{1}Login incorrect.\n".utf8))
        #expect(try harness.record().refusal == .limit)
        #expect(try harness.until { $0.underWay.connections == 3 })
        _ = idle.count
    }

    @Test func delayedRefusalsKeepTheirPlace() throws {
        var bounds = Front.Bounds.brief
        bounds.handshakes = 2
        let harness = try FrontHarness(bounds: bounds) { $0.refusal.delay = 86_400_000 }
        let refused = try (0..<2).map { _ in try harness.client(.rexec) }
        for client in refused { try client.write("x") }
        for _ in 0..<2 { #expect(try harness.record().refusal == .protocolError) }
        let client = try harness.client(.rsh)
        #expect(try client.readToEnd() == Array("\u{1}Permission denied.\n".utf8))
        #expect(try harness.record().refusal == .limit)
    }
}

/// What the monitor orders.
@Suite struct OrderTests {
    @Test func whenReleasedFrontHoldsNoCopyOfTheClientsSocket() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0b\0c\0")
        let channel = try runSession(harness)
        // The session's copies were the last ones: without front's help the client sees the end.
        #expect(try client.readToEnd() == Array("\0output".utf8))
        #expect(try harness.until { $0.underWay == (1, 0, 1) }, "the session has not ended")
        Socket.shutdownBoth(channel.descriptor)
        #expect(try harness.until { $0.underWay == (0, 0, 0) })
    }

    /// Takes a request, writes a command's output, lets go of the client, and keeps the session's channel alone.
    private func runSession(_ harness: FrontHarness) throws -> Linux.Channel {
        let handover = try harness.handover()
        #expect(try handover.release())
        _ = try Socket.send(handover.primary, Array("\0output".utf8)[...])
        return handover.channel
    }

    @Test func aReloadReplacesListenersAndTouchesNoConnection() throws {
        let harness = try FrontHarness()
        let old = try #require(harness.listeners[.rexec]?.endpoint)
        let client = try harness.client(.rexec)
        try client.write("\0alice\0")
        #expect(try harness.until { $0.underWay.handshakes == 1 })
        harness.settings.rexec.commandLength = 1
        try harness.listen(.rexec)
        try harness.configure()
        let fresh = try harness.client(.rexec)
        try fresh.write("\0u\0p\0id\0")
        #expect(try harness.record().detail == "command too long")
        try client.write("pw\0uptime\0")
        #expect(try harness.handover().request().command == "uptime", "the settings are those of its accept")
        #expect(throws: SystemError.self) { try Client(old) }
    }

    @Test func drainingAcceptsNoMoreAndFinishesWhatIsUnderWay() throws {
        let harness = try FrontHarness()
        let client = try harness.client(.rsh)
        try client.write("\0a\0")
        #expect(try harness.until { $0.underWay.handshakes == 1 })
        try harness.send(.drain)
        #expect(try harness.until { $0.listenerCount == 0 })
        try client.write("b\0id\0")
        #expect(try harness.handover().request().command == "id")
        try harness.configure()
        Clock.sleep(milliseconds: 20)
        #expect(try harness.until { $0.listenerCount == 0 })
    }

    @Test func whenTheMonitorIsGoneFrontEnds() throws {
        let harness = try FrontHarness()
        Socket.shutdownBoth(harness.monitor.descriptor)
        #expect(harness.ending() == "the monitor is gone")
    }

    @Test func ordersThatAreNoneEndFront() throws {
        let harness = try FrontHarness()
        try harness.monitor.send([77, 1])
        #expect(harness.ending()?.hasPrefix("the monitor's channel") == true)
    }

    @Test func listenersThatAreNoneEndFront() throws {
        let harness = try FrontHarness()
        let settings = FrontSettings(
            harness.settings,
            listeners: [
                FrontSettings.Listener(
                    service: .rsh, endpoint: Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 514))
            ])
        let (end, _) = try Linux.Channel.pair()
        try harness.send(.configure(settings: settings), [end.descriptor])
        #expect(harness.ending() == "the monitor sent listeners that are none")
    }
}
