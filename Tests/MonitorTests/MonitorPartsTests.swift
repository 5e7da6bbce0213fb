// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import Testing

@testable import Monitor

/// The monitor's small parts, without processes.
@Suite struct MonitorPartsTests {
    @Test func optionsAreReadInBothForms() {
        var wanted = Options()
        wanted.policy = "p"
        wanted.stateDirectory = "s"
        #expect(Options.parse(["--policy", "p", "--state-directory=s"]) == .serve(wanted))
        #expect(Options.parse([]) == .serve(Options()))
    }

    @Test(arguments: [["--policy"], ["--policy", ""], ["x"], ["--nonsense"], ["--runtime-directory"]])
    func aWrongCommandLineIsAUsageError(arguments: [String]) {
        guard case .wrong = Options.parse(arguments) else {
            Issue.record("\(arguments) was taken")
            return
        }
    }

    @Test func aSessionSaysEachThingOnceAndInOrder() throws {
        var table = SessionTable()
        let number = table.number()
        let session = try #require(SessionID(bytes: Array(repeating: 1, count: 16)))
        let (ours, _) = try Channel.pair()
        let end = try Descriptor.pipe().read
        table.add(
            SessionTable.Entry(
                number: number, session: session, process: ProcessHandle(pid: 1, descriptor: end),
                outbox: Outbox(ours), started: 0, startedWall: 0, deadline: 5))
        var refused: UInt64 = 0
        func take(_ report: SessionReport) -> Bool { table.take(report.encoded(), from: number, refused: &refused) }
        #expect(!take(.ended), "nothing was launched")
        let asked = take(.asked(service: .rsh, source: nil, target: "alice"))
        #expect(asked)
        let launched = take(.launched(rule: "x", command: "id"))
        #expect(launched)
        #expect(!take(.launched(rule: "y", command: "id")), "once is enough")
        #expect(!take(.refused(reason: .noRule)), "what runs was not refused")
        #expect(table.nextDeadline == nil, "a launched session has no deadline")
        let ended = take(.ended)
        #expect(ended)
        #expect(!take(.ended))
        #expect(!table.take([1, 99], from: number, refused: &refused), "no frame")
        #expect(refused == 0)
    }

    @Test func aProcessThatReadsNothingNeverMakesTheMonitorWait() throws {
        let (ours, theirs) = try Channel.pair()
        var outbox = Outbox(ours)
        var sent = 0
        while outbox.send(FrontOrder.drain) { sent += 1 }
        #expect(outbox.isWaiting)
        #expect(sent > Outbox.limit, "some went, and the bound's worth waits")
        for _ in 0..<sent where outbox.isWaiting {
            _ = try theirs.receive(limit: 64, waiting: false)
            let isThere = outbox.flush()
            #expect(isThere)
        }
        #expect(!outbox.isWaiting, "what waited went when there was room")
    }

    /// An engine that was taken over by a policy text can send tables; they are whole and in order, or the load fails.
    @Test func tablesOutOfOrderFailTheLoad() throws {
        let (ours, _) = try Channel.pair()
        let end = try Descriptor.pipe().read
        func fresh() -> EngineProcess {
            EngineProcess(
                helper: Helper(
                    kind: .engine, process: ProcessHandle(pid: 1, descriptor: end), outbox: Outbox(ours), started: 0),
                loader: 0)
        }
        let sandbox = CompiledSandbox(sandbox: Sandbox(name: "x"), filter: Array(repeating: 0, count: 8))
        let loaded = EngineReport.loaded(revision: .none, rules: 1, sandboxes: 1, warnings: "")
        func isBroken(_ reports: [EngineReport]) -> Bool {
            var engine = fresh()
            for report in reports.dropLast() { _ = engine.take(report.encoded()) }
            guard let last = reports.last, case .broken = engine.take(last.encoded()) else { return false }
            return true
        }
        #expect(isBroken([.sandbox(index: 1, sandbox: sandbox)]))
        #expect(isBroken([.settings(settings: Settings()), .settings(settings: Settings())]))
        #expect(isBroken([loaded]))
        #expect(isBroken([.settings(settings: Settings()), loaded]), "a sandbox is missing")
        let whole: [EngineReport] = [.settings(settings: Settings()), .sandbox(index: 0, sandbox: sandbox), loaded]
        #expect(!isBroken(whole))
        #expect(isBroken(whole + [loaded]), "nothing follows a load")
    }

    // MARK: Connecting back

    /// Trust reflection (facts: abuse 3): a connect-back to a service that believes reserved ports is never made.
    @Test(arguments: [UInt16(0), 20, 511, 512, 513, 514, 515, 543, 544, 873, 990, 1_024, 65_535])
    func anRSHClientIsNotCalledBackOnAForbiddenPort(port: UInt16) throws {
        let (client, server, listener) = try connection()
        var connectBacks = ConnectBack()
        guard case .refused = connectBacks.start(connection: 1, service: .rsh, port: port, primary: server) else {
            Issue.record("port \(port) was called")
            return
        }
        _ = (client, listener)
    }

    @Test func whatIsNoConnectionIsNotCalledBack() throws {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        var connectBacks = ConnectBack()
        for descriptor in [listener, try Descriptor.pipe().read] {
            guard case .refused = connectBacks.start(connection: 1, service: .rexec, port: 5_000, primary: descriptor)
            else {
                Issue.record("it was called")
                return
            }
        }
    }

    @Test func aClientIsCalledBackFromTheAddressThatItCalled() throws {
        let (client, server, listener) = try connection()
        let waiting = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let port = try Socket.local(waiting).port
        var connectBacks = ConnectBack()
        let socket: Descriptor
        switch connectBacks.start(connection: 7, service: .rexec, port: port, primary: server) {
        case .connected(let made): socket = made
        case .underWay(let number):
            let attempt = connectBacks.finish(number)
            socket = try #require(attempt).socket
        case .refused(let reason):
            Issue.record("refused as \(reason.name)")
            return
        }
        #expect(try Socket.local(socket).address == Socket.local(server).address)
        _ = (client, listener)
    }

    private func connection() throws -> (client: Descriptor, server: Descriptor, listener: Descriptor) {
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let client = try Socket.open(.v4)
        let place = try Socket.local(listener)
        // Non-blocking: it is under way, and the accept below says that it came.
        try? Socket.connect(client, to: place)
        var entries = [Poll.Entry(listener)]
        try Poll.wait(&entries, milliseconds: 5_000)
        let server = try #require(try Socket.accept(listener))
        return (client, server, listener)
    }
}
