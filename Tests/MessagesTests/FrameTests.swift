// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Messages
import TestSupport
import Testing

/// Frames cross from processes that may have been taken over: what is read is what was written, or nothing.
@Suite struct FrameTests {
    /// One frame of every kind, with each optional part there and absent.
    static let samples: [any Frame] = {
        let session = SessionID(bytes: Array(0..<16)) ?? SessionID(bytes: Array(repeating: 1, count: 16))
        guard let session, let user = UserName("alice"), let time = LocalTime(weekday: 3, minute: 1_439),
            let revision = Revision(bytes: Array(repeating: 0xAB, count: 32)), let v6 = IPAddress("2001:db8::1")
        else { return [] }
        let origin = Record.Origin(service: .rsh, address: v6, port: 1_022)
        let rule = RuleReference(name: "nightly", place: FilePlace(file: "site.policy", line: 48))
        var settings = Settings()
        settings.secureTCPIP.exceptions = [.rsh, .rhosts]
        settings.rexec.authentication = .file("credentials")
        settings.rsh.trust = .file("rhosts")
        settings.rsh.accountManagement = .none
        settings.rsh.takesPasswordField = true
        settings.pools = [
            GuestPool(name: "visitors", accounts: [user, .guest]), GuestPool(name: "others", accounts: [user]),
        ]
        var sandbox = Sandbox(name: "backup")
        sandbox.read = [.absolute("/usr"), .home("")]
        sandbox.systemCalls = ["read", "write"]
        sandbox.network = .tcpConnect([443, 8_443])
        sandbox.limits.cpu = 60
        sandbox.timeout = 600_000
        sandbox.environment = [Sandbox.EnvironmentVariable(name: "LANG", value: "C.UTF-8")]
        let compiled = CompiledSandbox(sandbox: sandbox, filter: Array(repeating: 6, count: 64))
        let account = Account(name: user, uid: 1_000, groups: ["wheel", "users"], isSystem: false)
        let request = Request(
            service: .rsh, source: v6, sourcePort: 1_022, remoteUser: user, target: account,
            command: .words(
                ["id", "-u"], program: RequestedCommand.Program(path: "/usr/bin/id", resolvedPath: "/usr/bin/id")),
            time: time)
        var guestRequest = request
        guestRequest.target.pool = "visitors"
        let records: [Record] = [
            .serviceStart(unit: "portcullisd"),
            .serviceStop(unit: "portcullis-front", reason: "signal 9", isFailure: true),
            .policyLoaded(revision: revision, file: "/etc/portcullis/portcullis.policy", rules: 23),
            .policyRejected(file: "x", errors: "x:1:1: error"),
            .authentication(
                Record.Authentication(
                    origin: origin, account: "alice", grantors: "rhosts", failure: .untrusted, detail: "no match")),
            .authentication(
                Record.Authentication(
                    origin: origin, account: "guest1", grantors: "guest-pool", failure: nil, detail: nil,
                    pool: "visitors")),
            .login(
                Record.Login(
                    origin: origin, account: nil, remoteUser: nil, refusal: .sourcePort, rule: nil, revision: nil)),
            .login(
                Record.Login(
                    origin: origin, account: "alice", remoteUser: "bob", refusal: nil, rule: rule, revision: revision,
                    detail: "x", count: 7)),
            .login(
                Record.Login(
                    origin: origin, account: "alice", remoteUser: "bob", refusal: .noRule, rule: nil,
                    revision: revision, command: Record.RefusedCommand(ByteText([0xFF, 0, 0x27])))),
            .login(
                Record.Login(
                    origin: origin, account: "alice", remoteUser: nil, refusal: .needsShell, rule: nil,
                    revision: revision,
                    command: Record.RefusedCommand(beginning: "id", of: 131_071))),
            .login(
                Record.Login(
                    origin: origin, account: "guest1", remoteUser: nil, refusal: nil, rule: rule, revision: revision,
                    pool: "visitors")),
            .command(
                Record.Command(
                    origin: origin, account: "alice", commandLine: ByteText([0xFF, 0x0A]), program: "/usr/bin/id",
                    argumentCount: 2, sandbox: "strict", limits: "rlimit+namespace")),
            .end(
                Record.End(
                    origin: origin, account: "alice", outcome: .signal(9), bytesIn: 1, bytesOut: 2, bytesErr: 3,
                    milliseconds: 4, limit: "timeout", leftovers: 5, droppedStderr: 6, ignoredSignals: 7)),
            .notice(Record.Notice(origin: origin, account: "alice", operation: "home", detail: "x")),
            .denial(Record.Denial(origin: origin, account: "alice", subject: .call(nil), signal: 31)),
            .denial(
                Record.Denial(
                    origin: origin, account: "alice", subject: .access("fs.make_reg", path: "/srv\n"),
                    program: "/bin/sh", count: 7)),
            .denial(Record.Denial(origin: origin, account: "alice", subject: .further, count: 12)),
        ]
        let frontSettings = FrontSettings(
            settings,
            listeners: [
                FrontSettings.Listener(service: .rexec, endpoint: Endpoint(address: v6, port: 512))
            ])
        let unverified = UnverifiedRequest(
            connection: 9, remoteUser: user, target: user, command: ByteText([1, 2, 255]), handshakeBytes: 30,
            hasPassword: false)
        let status = GatewayStatus(
            listeners: frontSettings.listeners, rshIsSecuredOff: true, revision: revision, policyFile: "x", rules: 1,
            loaded: 2, running: 3, requests: 4, refused: 5, lost: 6, sequence: 7, isDurable: true,
            helpers: [GatewayStatus.Helper(name: "front", pid: 12)])
        let sessionStatus = SessionStatus(
            session: session, pid: 3, service: nil, source: nil, target: "x", rule: "", command: "", started: 1)
        var frames: [any Frame] = [
            FrontAsk.ready, FrontAsk.connectBack(connection: 1, service: .rsh, port: 1_022),
            FrontAsk.handover(connection: 1, service: .rexec, hasSecondary: true),
            FrontOrder.configure(settings: frontSettings), FrontOrder.connectedBack(connection: 3),
            FrontOrder.connectBackFailed(connection: 3, reason: .limit),
            FrontOrder.rejected(connection: 4, reason: .unavailable), FrontOrder.drain, FrontOrder.auditor,
            RequestFrame.request(request: unverified), RequestFrame.released, RequestAnswer.release,
            RequestAnswer.refuse(reason: .untrusted), EngineOrder.session(number: 1), EngineOrder.drain,
            EngineReport.failed(diagnostics: "x", errors: 1), EngineReport.settings(settings: settings),
            EngineReport.sandbox(index: 0, sandbox: compiled),
            EngineReport.loaded(revision: revision, rules: 1, sandboxes: 1, warnings: ""), LoaderAsk.root,
            LoaderAsk.include(from: 0, pattern: "*.policy"), LoaderAnswer.file(name: "x"), LoaderAnswer.end,
            LoaderAnswer.refusal(name: "x", text: "y"), DecisionAsk.decide(number: 1, request: request),
            DecisionAsk.decide(number: 1, request: guestRequest),
            DecisionAnswer.decision(
                number: 1, revision: revision,
                decision: .permit(
                    Terms(rule: rule, sandbox: 2, usesShell: true, selfTrust: false, namesRoot: true))),
            DecisionAnswer.decision(
                number: 1, revision: revision, decision: .deny(Denial(reason: .forbidden, rule: rule))),
            AuditorOrder.configure(settings: settings.audit),
            AuditorOrder.session(session: session, pid: 3, hasStarted: true), AuditorOrder.recover,
            AuditorOrder.front(pid: 4), AuditorOrder.sessionLost(session: session, reason: .timeout),
            AuditorOrder.stop, AuditorOrder.rotate(number: 9), AuditorOrder.systemLog,
            AuditorReport.rotated(number: 9, failure: "full"), AuditorReport.checkpoint(sequence: 7),
            AuditorReport.needsSystemLog, AuditorReport.ready(sequence: 4, notices: ["a", "b"]),
            AuditorReport.durable(number: 1, sequence: 2), AuditorReport.failed(number: 1),
            AuditorReport.state(isDurable: false, sequence: 3, text: "disk full"),
            RecordFrame.identity(auid: 1_000, ses: 4), RecordAnswer.durable(number: 1),
            RecordAnswer.failed(number: 2),
            SessionReport.asked(service: .rsh, source: v6, target: "alice"),
            SessionReport.launched(rule: "x", command: "id"), SessionReport.refused(reason: .noRule),
            SessionReport.ended, SessionReport.unrecorded(reason: .limit), SessionReport.passwordCheck,
            SessionReport.passwordChecked, SessionOrder.terminate, SessionOrder.auditor, SessionOrder.passwordCheck,
            SpareOrder.serve(
                SessionAssignment(
                    session: session, number: 8, revision: revision, hasSecondary: true, hasNetwork: false)),
            ControlAsk.status,
            ControlAsk.sessions, ControlAsk.terminate(session: session), ControlAsk.reload, ControlAsk.rotate,
            ControlAnswer.status(status: status), ControlAnswer.session(session: sessionStatus), ControlAnswer.end,
            ControlAnswer.failure(text: "x"),
        ]
        frames += records.map { RecordFrame.record(number: 5, record: $0) }
        frames += records.map { AuditorOrder.record(number: 5, record: $0) }
        return frames
    }()

    private static func isRead<F: Frame & Equatable>(_ frame: F, from bytes: [UInt8]) -> Bool {
        (try? F(frame: bytes)) == frame
    }

    private static func reads<F: Frame>(_: F, _ bytes: [UInt8]) -> Bool {
        (try? F(frame: bytes)) != nil
    }

    @Test func everyFrameIsReadAsItWasWritten() throws {
        #expect(Self.samples.count > 50)
        for frame in Self.samples {
            let bytes = frame.encoded()
            #expect(bytes.count <= FrameFormat.limit)
            guard let equatable = frame as? any (Frame & Equatable) else {
                Issue.record("\(frame) cannot be compared")
                continue
            }
            let isRead = Self.isRead(equatable, from: bytes)
            #expect(isRead, "\(frame)")
        }
    }

    @Test func aFrameThatIsCutAnywhereIsRefused() {
        for frame in Self.samples {
            let bytes = frame.encoded()
            for length in 0..<bytes.count {
                let isRead = Self.reads(frame, Array(bytes.prefix(length)))
                #expect(!isRead, "\(frame) at \(length)")
            }
        }
    }

    @Test func aFrameWithSomethingBehindItIsRefused() {
        for frame in Self.samples {
            let isRead = Self.reads(frame, frame.encoded() + [0])
            #expect(!isRead)
        }
    }

    /// The whole of a command is as long as its beginning, at the least, and no longer than a command can be.
    @Test(arguments: [(0, false), (1, false), (2, true), (131_071, true), (131_072, false), (-1, false)])
    func aRefusedCommandHasTheLengthOfOne(_ length: Int, _ isRead: Bool) {
        let login = Record.Login(
            origin: Record.Origin(service: .rsh, address: nil, port: 1_022), account: "alice", remoteUser: nil,
            refusal: .noRule, rule: nil, revision: nil, command: Record.RefusedCommand("id"))
        var bytes = RecordFrame.record(number: 1, record: .login(login)).encoded()
        // The length stands before the count of requests and the pool that there is not.
        let place = bytes.count - 17
        for byte in 0..<8 { bytes[place + byte] = UInt8(truncatingIfNeeded: Int64(length) >> (8 * Int64(byte))) }
        #expect(((try? RecordFrame(frame: bytes)) != nil) == isRead)
    }

    /// The settings of a policy are one frame, however many accounts its pools have.
    @Test func asManyAccountsAsPoolsMayHaveFitIntoAFrame() throws {
        var settings = Settings()
        for number in 0..<GuestPool.accountLimit {
            let name = try #require(UserName(String(repeating: "g", count: 28) + String(number)))
            let pool = String(repeating: "p", count: RuleReference.nameLimit - 4) + String(number)
            settings.pools.append(GuestPool(name: pool, accounts: [name]))
        }
        let frame = EngineReport.settings(settings: settings).encoded()
        #expect(frame.count <= FrameFormat.limit / 4 * 3)
        #expect(try EngineReport(frame: frame) == .settings(settings: settings))
    }

    @Test func aFrameOfAnotherVersionIsRefused() {
        for frame in Self.samples {
            var bytes = frame.encoded()
            bytes[0] = FrameFormat.version + 1
            let isRead = Self.reads(frame, bytes)
            #expect(!isRead)
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func noBytesMakeReadingTrap(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for frame in Self.samples {
            let bytes = frame.encoded()
            for _ in 0..<200 {
                var damaged = bytes
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
                _ = Self.reads(frame, damaged)
            }
        }
    }

    @Test func aCountThatPromisesMoreThanTheFrameHoldsCostsNothing() {
        // A list of 8,192 rule names in a frame of a few bytes.
        let bytes: [UInt8] = [FrameFormat.version, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x20, 0, 0]
        #expect((try? AuditorReport(frame: bytes)) == nil)
    }
}
