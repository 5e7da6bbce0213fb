// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages
import Testing

@testable import Session

/// The session's parts that need no second process.
@Suite struct SessionPartsTests {
    @Test(arguments: [Linux.ExitStatus.exited(0), .exited(255), .signalled(9)])
    func anEndIsReportedAsItWas(status: Linux.ExitStatus) throws {
        for (leftovers, isFull) in [(0, false), (1, true), (70_000, false)] {
            let sent = Supervisor.Report.encode(status, leftovers: leftovers, hasNoProcessLeft: isFull)
            let read = try #require(Supervisor.Report.decode(sent))
            #expect(read.status == status)
            #expect(read.leftovers == leftovers)
            #expect(read.hasNoProcessLeft == isFull)
        }
    }

    @Test(
        arguments: [
            [], [1], [9, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 2], [1, 0, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]])
    func whatIsNoReportIsNoEnd(bytes: [UInt8]) {
        #expect(Supervisor.Report.decode(bytes) == nil)
    }

    /// Shellshock's road (CVE-2014-6271) and the loader's: no module and no sandbox adds these.
    @Test(arguments: [
        "HOME", "PATH", "SHELL", "IFS", "ENV", "BASH_ENV", "LD_PRELOAD", "LD_", "BASH_FUNC_x", "REMOTE_USER",
        "PORTCULLIS_SESSION", "", "A-B", "1A", "A=B", "A B", "GLIBC_TUNABLES", "PERL5OPT",
    ])
    func noVariableOverridesWhatIsBuilt(name: String) {
        #expect(!RequestSession.mayAdd(ByteText(name)))
    }

    @Test(arguments: ["LANG", "LC_ALL", "XDG_RUNTIME_DIR", "_x", "TZ", "KRB5CCNAME"])
    func anOrdinaryVariableIsAdded(name: String) {
        #expect(RequestSession.mayAdd(ByteText(name)))
    }

    @Test func aServiceIsKnownByTheAddressThatWasCalled() throws {
        let one = IPAddress(v4: 0x7F00_0001)
        let two = IPAddress(v4: 0x7F00_0002)
        let input = SessionInput(
            session: try #require(SessionID(bytes: Array(repeating: 0, count: 16))), number: 1, settings: Settings(),
            listeners: [
                FrontSettings.Listener(service: .rexec, endpoint: Endpoint(address: IPAddress(v4: 0), port: 512)),
                FrontSettings.Listener(service: .rsh, endpoint: Endpoint(address: two, port: 512)),
            ], sandboxes: [], revision: .none, stateDirectory: "", runtimeDirectory: "", policyDirectory: "",
            gatewayUIDs: [], hasSecondary: false, monitorPID: 1)
        #expect(input.service(at: Endpoint(address: one, port: 512)) == .rexec)
        #expect(input.service(at: Endpoint(address: two, port: 512)) == .rsh, "the very address comes first")
        #expect(input.service(at: Endpoint(address: one, port: 514)) == nil)
        #expect(input.service(at: Endpoint(address: IPAddress(v6: 1), port: 512)) == nil, "0.0.0.0 is no IPv6")
    }

    // MARK: The trail

    private static let record = Record.serviceStart(unit: "x")

    private func answer(_ auditor: Channel, _ answer: (UInt64) -> RecordAnswer) throws {
        guard case .message(let message) = try auditor.receive(limit: FrameFormat.limit),
            case .record(let number, _) = try RecordFrame(frame: message.bytes)
        else {
            Issue.record("no record came")
            return
        }
        try auditor.send(answer(number).encoded())
    }

    @Test func aRecordIsDurableWhenTheAuditorSaysSo() throws {
        let (ours, auditor) = try Channel.pair()
        var link = TrailLink(ours.descriptor)
        link.send(Self.record)
        #expect(!link.isSettled)
        try answer(auditor) { .durable(number: $0) }
        let isDurable = link.settle()
        #expect(isDurable)
    }

    @Test func aRecordThatCannotBeWrittenIsNoStart() throws {
        let (ours, auditor) = try Channel.pair()
        var link = TrailLink(ours.descriptor)
        link.send(Self.record)
        try answer(auditor) { .failed(number: $0) }
        let isDurable = link.settle()
        #expect(!isDurable)
    }

    @Test func anAuditorThatIsGoneIsNoStartEither() throws {
        let (ours, auditor) = try Channel.pair()
        var link = TrailLink(ours.descriptor)
        link.send(Self.record)
        Socket.shutdownBoth(auditor.descriptor)
        let isDurable = link.settle()
        #expect(!isDurable)
    }

    @Test func anotherAuditorGetsWhatHasNoAnswer() throws {
        let (first, dead) = try Channel.pair()
        var link = TrailLink(first.descriptor)
        link.identify(auid: 1_000, ses: 4)
        link.send(Self.record)
        link.send(Self.record)
        Socket.shutdownBoth(dead.descriptor)
        let isDurable = link.settle()
        #expect(!isDurable)
        let (second, fresh) = try Channel.pair()
        link.resume(second.descriptor)
        guard case .message(let message) = try fresh.receive(limit: 256) else {
            Issue.record("nothing came")
            return
        }
        #expect(try RecordFrame(frame: message.bytes) == .identity(auid: 1_000, ses: 4))
        try answer(fresh) { .durable(number: $0) }
        try answer(fresh) { .durable(number: $0) }
        let isDurableNow = link.settle()
        #expect(isDurableNow)
    }

    // MARK: The engine

    private static func request() throws -> Request {
        let name = try #require(UserName("alice"))
        return Request(
            service: .rexec, source: IPAddress(v4: 1), sourcePort: 1, remoteUser: nil,
            target: Account(name: name, uid: 1, groups: [], isSystem: false), command: .needsShell(firstWord: nil),
            time: try #require(LocalTime(weekday: 0, minute: 0)))
    }

    private func isPermitted(_ answer: DecisionAnswer?) throws -> Bool {
        let (ours, engine) = try Channel.pair()
        if let answer { try engine.send(answer.encoded()) } else { Socket.shutdownSending(engine.descriptor) }
        switch EngineLink.decide(try Self.request(), number: 5, revision: .none, on: ours.descriptor) {
        case .permitted: return true
        case .denied: return false
        case .unavailable: return false
        }
    }

    @Test func onlyAnAnswerToThisAskOfThisRevisionPermits() throws {
        let rule = RuleReference(name: "x", place: FilePlace(file: "f", line: 1))
        let decision = Decision.permit(
            Terms(rule: rule, sandbox: 0, usesShell: false, selfTrust: false, namesRoot: false))
        let other = try #require(Revision(bytes: Array(repeating: 1, count: 32)))
        #expect(try isPermitted(.decision(number: 5, revision: .none, decision: decision)))
        #expect(try !isPermitted(.decision(number: 6, revision: .none, decision: decision)))
        #expect(try !isPermitted(.decision(number: 5, revision: other, decision: decision)))
        #expect(try !isPermitted(.decision(number: 5, revision: .none, decision: .deny(Denial(reason: .noRule)))))
        #expect(try !isPermitted(nil))
    }
}
