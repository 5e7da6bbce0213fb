// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import Logging
import Messages
import Policy
import PolicyLanguage
import Testing

@testable import EngineService

/// The engine between a monitor, a loader and sessions that the test plays. Only the program's own confinement is left
/// out, which would hold for the test's process too; Tests/LinuxTests holds it.
@Suite struct EngineTests {
    private static let policy = """
        service rexec { enable }
        sandbox backup extends standard { timeout 10m }
        permit backup: rexec from 10.0.0.0/8 as backup run "/usr/bin/id *" sandbox backup
        forbid contractors: any from 10.66.0.0/16
        """

    // MARK: Loading

    @Test func aLoadSendsSettingsThenSandboxesInOrderThenItsEnd() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        let reports = try stage.load()
        guard case .settings(let settings)? = reports.first else {
            Issue.record("the first report is \(String(describing: reports.first))")
            return
        }
        #expect(settings.serves(.rexec))
        #expect(!settings.serves(.rsh))
        let sandboxes = reports.compactMap { report -> (Int, CompiledSandbox)? in
            if case .sandbox(let index, let sandbox) = report { (index, sandbox) } else { nil }
        }
        #expect(sandboxes.map(\.0) == Array(0..<sandboxes.count))
        #expect(sandboxes.map(\.1.sandbox.name) == ["backup"])
        #expect(sandboxes.allSatisfy { !$0.1.filter.isEmpty })
        guard case .loaded(_, let rules, let count, _)? = reports.last else {
            Issue.record("the last report is \(String(describing: reports.last))")
            return
        }
        #expect(rules == 2)
        #expect(count == sandboxes.count)
        try stage.end()
    }

    @Test func aPolicyWithAnErrorIsReportedWithItsPlaceAndEndsTheEngine() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": "permt x: rexec"])
        let reports = try stage.load()
        guard case .failed(let diagnostics, let errors)? = reports.first, reports.count == 1 else {
            Issue.record("reports: \(reports)")
            return
        }
        #expect(errors == 1)
        #expect(diagnostics.hasPrefix("/etc/p/site.policy:1:1: error: "))
        #expect(diagnostics.contains("did you mean permit?"))
        try stage.end()
    }

    @Test func includesComeThroughTheLoader() throws {
        let stage = try Stage(files: [
            "/etc/p/site.policy": "service rexec { enable }\ninclude \"rules.d/*.policy\"",
            "rules.d/*.policy": "permit any-id: rexec from any as any run \"/usr/bin/id\"",
        ])
        let reports = try stage.load()
        guard case .loaded(_, let rules, _, _)? = reports.last else {
            Issue.record("reports: \(reports)")
            return
        }
        #expect(rules == 1)
        try stage.end()
    }

    @Test func aSandboxThatOpensTheStateDirectoryIsAnError() throws {
        let stage = try Stage(files: [
            "/etc/p/site.policy": """
            service rexec { enable }
            sandbox wide { read /var }
            permit x: rexec from any as any run any sandbox wide
            """
        ])
        let reports = try stage.load()
        guard case .failed(let diagnostics, _)? = reports.first else {
            Issue.record("reports: \(reports)")
            return
        }
        #expect(diagnostics.contains("/var/lib/portcullis"))
        try stage.end()
    }

    @Test func aLoaderThatEndsEarlyIsAFailedLoad() throws {
        let stage = try Stage(files: [:], loaderDies: true)
        let reports = try stage.load()
        guard case .failed? = reports.first else {
            Issue.record("reports: \(reports)")
            return
        }
        try stage.end()
    }

    // MARK: Answering

    @Test func aSessionGetsItsDecisionWithItsNumberAndTheRevision() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        let reports = try stage.load()
        guard case .loaded(let revision, _, _, _)? = reports.last else {
            Issue.record("reports: \(reports)")
            return
        }
        let session = try stage.session(7)
        try session.send(DecisionAsk.decide(number: 7, request: Self.request("10.1.1.1")).encoded())
        let answer = try Stage.answer(session)
        guard case .decision(let number, let answered, .permit(let terms))? = answer else {
            Issue.record("answer: \(String(describing: answer))")
            return
        }
        #expect(number == 7)
        #expect(answered == revision)
        #expect(terms.rule.name == "backup")
        #expect(terms.rule.place.description == "/etc/p/site.policy:3")
        let other = try stage.session(8)
        try other.send(DecisionAsk.decide(number: 8, request: Self.request("10.66.1.1")).encoded())
        guard case .decision(8, _, .deny(let denial))? = try Stage.answer(other) else {
            Issue.record("no denial")
            return
        }
        #expect(denial.reason == .forbidden)
        try stage.end()
    }

    @Test func aMalformedAskCostsOnlyItsOwnSessionItsChannel() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        _ = try stage.load()
        let bystander = try stage.session(1)
        let damaged: [[UInt8]] = [
            [1], [9, 9], [1, 1, 0], Array(repeating: 0xFF, count: 4_096),
            // Another session's number.
            DecisionAsk.decide(number: 99, request: Self.request("10.1.1.1")).encoded(),
            DecisionAsk.decide(number: 2, request: Self.request("10.1.1.1")).encoded() + [0],
        ]
        for frame in damaged {
            let session = try stage.session(2)
            try session.send(frame)
            guard case .closed = try session.receive(limit: 4_096) else {
                Issue.record("an answer to \(frame.prefix(8))")
                continue
            }
        }
        try bystander.send(DecisionAsk.decide(number: 1, request: Self.request("10.1.1.1")).encoded())
        #expect(try Stage.answer(bystander) != nil)
        try stage.end()
    }

    @Test func aSessionThatAsksTwiceIsAnsweredOnce() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        _ = try stage.load()
        let session = try stage.session(1)
        let ask = DecisionAsk.decide(number: 1, request: Self.request("10.1.1.1")).encoded()
        try session.send(ask)
        #expect(try Stage.answer(session) != nil)
        try? session.send(ask)
        guard case .closed = try session.receive(limit: 4_096) else {
            Issue.record("a second answer")
            return
        }
        try stage.end()
    }

    /// A guest's session asks for each account that it could be given, and for no more.
    @Test func aGuestsSessionIsAnsweredForEachAccountOfThePools() throws {
        let text = """
            service rexec { enable }
            pool one = { g1, g2 }
            pool two = { g3 }
            permit g: rexec from any as { pool one, pool two } run any
            """
        let stage = try Stage(files: ["/etc/p/site.policy": text])
        _ = try stage.load()
        let session = try stage.session(1)
        for (name, pool) in [("g1", "one"), ("g2", "one"), ("g3", "two")] {
            var request = Self.request("10.1.1.1")
            request.target = Account(
                name: try #require(UserName(name)), uid: 4_000, groups: [], isSystem: false, pool: pool)
            try session.send(DecisionAsk.decide(number: 1, request: request).encoded())
            guard case .decision(1, _, .permit(let terms))? = try Stage.answer(session) else {
                Issue.record("no permit for \(name)")
                return
            }
            #expect(terms.rule.name == "g")
        }
        guard case .closed = try session.receive(limit: 4_096) else {
            Issue.record("a fourth answer could come")
            return
        }
        // Who is no guest is answered once with pools, too.
        let other = try stage.session(2)
        let ask = DecisionAsk.decide(number: 2, request: Self.request("10.1.1.1")).encoded()
        try other.send(ask)
        #expect(try Stage.answer(other) != nil)
        guard case .closed = try other.receive(limit: 4_096) else {
            Issue.record("a second answer could come")
            return
        }
        try stage.end()
    }

    // MARK: Ending

    @Test func aDrainedEngineAnswersTheSessionsThatAreOpenAndEnds() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        _ = try stage.load()
        let session = try stage.session(1)
        try stage.monitor.send(EngineOrder.drain.encoded())
        try session.send(DecisionAsk.decide(number: 1, request: Self.request("10.1.1.1")).encoded())
        #expect(try Stage.answer(session) != nil)
        #expect(try stage.outcome() == "drained")
    }

    @Test func theEngineEndsWithTheMonitor() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        _ = try stage.load()
        _ = try stage.session(1)
        stage.closeMonitor()
        #expect(try stage.outcome() == "monitorGone")
    }

    @Test func anOrderThatIsNoneEndsTheEngine() throws {
        let stage = try Stage(files: ["/etc/p/site.policy": Self.policy])
        _ = try stage.load()
        try stage.monitor.send([1, 77])
        #expect(try stage.outcome() == "protocolError")
    }

    // MARK: The command line

    @Test(arguments: [
        [], ["policy"], ["[policy]", "--uid"], ["[policy]", "--uid", "0", "--gid", "5"],
        ["[policy]", "--uid", "5"], ["[policy]", "--state-directory", "relative"], ["[policy]", "--what", "x"],
    ])
    func aCommandLineOfNobodysIsRefused(_ arguments: [String]) {
        #expect(EngineOptions(arguments) == nil)
    }

    /// The variable takes the seed from every table of the process.
    @Test func anEngineWhoseTablesHaveNoSeedDoesNotStart() {
        #expect(EngineProgram.hasSeededHashing { _ in nil })
        #expect(EngineProgram.hasSeededHashing { $0 == "PATH" ? "/usr/bin:/bin" : nil })
        #expect(!EngineProgram.hasSeededHashing { $0 == "SWIFT_DETERMINISTIC_HASHING" ? "" : nil })
        #expect(!EngineProgram.hasSeededHashing { $0 == "SWIFT_DETERMINISTIC_HASHING" ? "1" : nil })
    }

    @Test func theMonitorsCommandLineIsRead() throws {
        let options = try #require(
            EngineOptions([
                "[policy]", "--uid", "900", "--gid", "901", "--state-directory", "/s", "--runtime-directory", "/r/",
                "--policy-directory", "/p",
            ]))
        #expect(options.identity.uid == 900)
        #expect(options.identity.gid == 901)
        #expect(options.directories == GuardedDirectories(state: "/s", runtime: "/r", policy: "/p"))
    }

    private static func request(_ source: String) -> Request {
        guard let address = IPAddress(source), let name = UserName("backup"),
            let time = LocalTime(weekday: 1, minute: 0)
        else { preconditionFailure("the test's own values") }
        return Request(
            service: .rexec, source: address, sourcePort: 1_024, remoteUser: nil,
            target: Account(name: name, uid: 34, groups: [], isSystem: true),
            command: .words(["id"], program: .init(path: "/usr/bin/id", resolvedPath: "/usr/bin/id")), time: time)
    }
}

/// An engine in a thread of its own, with the test as its monitor and a loader of given texts in another.
private final class Stage {
    let monitor: Channel
    /// On which the engine's thread says how it ended.
    private let ended: Channel

    init(files: [String: String], loaderDies: Bool = false) throws {
        let (ours, theirs) = try Channel.pair()
        let (asks, answers) = try Channel.pair()
        let (ended, end) = try Channel.pair()
        monitor = ours
        self.ended = ended
        Thread { try? Self.serve(answers, files, dies: loaderDies) }.start()
        Thread {
            var word = "failed"
            if let outcome = try? Self.engine(theirs, asks) { word = outcome }
            try? end.send(Array(word.utf8))
        }.start()
    }

    private static func engine(_ monitor: Channel, _ loader: Channel) throws -> String {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let load = PolicyLoad(
            compile: { _ in [6, 0, 0, 0, 0, 0, 0, 0] },
            directories: GuardedDirectories(state: "/var/lib/portcullis", runtime: "/run/portcullis"))
        guard var engine = try EngineProgram.start(monitor, loader: loader, load, log) else { return "not loaded" }
        return "\(try engine.run())"
    }

    /// Plays the loader until the engine's end is closed.
    private static func serve(_ channel: Channel, _ files: [String: String], dies: Bool) throws {
        guard !dies else { return Socket.shutdownBoth(channel.descriptor) }
        while case .message(let message) = try channel.receive(limit: 65_536) {
            let name: String
            switch try LoaderAsk(frame: message.bytes) {
            case .root: name = "/etc/p/site.policy"
            case .include(_, let pattern): name = pattern.text ?? ""
            }
            if let text = files[name] {
                let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
                let file = try File.open(path, [.writing, .creating, .exclusive])
                try file.writeAll(Array(text.utf8))
                let read = try File.open(path, [.reading])
                try File.remove(path)
                try channel.send(LoaderAnswer.file(name: name).encoded(), descriptors: [read])
            }
            try channel.send(LoaderAnswer.end.encoded())
        }
    }

    /// The reports of the load, to its end.
    func load() throws -> [EngineReport] {
        var reports: [EngineReport] = []
        while case .message(let message) = try monitor.receive(limit: FrameFormat.limit) {
            let report = try EngineReport(frame: message.bytes)
            reports.append(report)
            switch report {
            case .failed, .loaded: return reports
            default: continue
            }
        }
        return reports
    }

    /// A session's own end of a channel whose other end the engine has.
    func session(_ number: UInt64) throws -> Channel {
        let (ours, theirs) = try Channel.pair()
        try monitor.send(EngineOrder.session(number: number).encoded(), descriptors: [theirs.descriptor])
        return ours
    }

    static func answer(_ session: Channel) throws -> DecisionAnswer? {
        guard case .message(let message) = try session.receive(limit: FrameFormat.limit) else { return nil }
        return try DecisionAnswer(frame: message.bytes)
    }

    func closeMonitor() {
        Socket.shutdownBoth(monitor.descriptor)
    }

    /// How the engine ended, in the word of its `End`.
    func outcome() throws -> String {
        guard case .message(let message) = try ended.receive(limit: 256) else { return "gone" }
        return String(decoding: message.bytes, as: UTF8.self)
    }

    func end() throws {
        closeMonitor()
        _ = try outcome()
    }
}
