// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import TestSupport
import Testing

@testable import CLI

/// `audit last`, `stats`, `export` and `follow` on trails of our own, in one segment and in several.
@Suite struct TrailReadingTests {
    private let state: TemporaryDirectory
    private static let trail = GeneratedTrail(sessions: 300)

    init() throws {
        state = try TemporaryDirectory()
        try state.write(Self.trail.text, to: "audit/trail.log")
    }

    /// Cuts the trail into segments, as a rotation leaves them.
    private func rotate(_ parts: Int) throws {
        let lines = Self.trail.text.split(separator: UInt8(ascii: "\n"))
        let size = lines.count / parts + 1
        for part in 0..<parts {
            let own = lines.dropFirst(part * size).prefix(size)
            let number = String(part * size + 1)
            let name =
                part == parts - 1
                ? "trail.log" : "trail.log." + String(repeating: "0", count: 12 - number.count) + number
            try state.write(Array(own.joined(separator: [10])) + [10], to: "audit/" + name)
        }
    }

    private func audit(_ arguments: [String], environment: [String: String] = [:]) throws -> CommandRun.Result {
        try CommandRun(["audit"] + arguments + ["--state-directory", state.path], environment: environment).result()
    }

    private func objects(_ run: CommandRun.Result) throws -> [[String: Any]] {
        try run.output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    // MARK: What is shown

    /// Words of the line are decoded, too: whoever writes one could otherwise write to the terminal.
    @Test(arguments: ["sandbox=", "grantors="])
    func noWordOfALineReachesTheTerminalAsItIs(field: String) throws {
        var text = String(decoding: Self.trail.text, as: UTF8.self)
        let parts = text.split(separator: " ").filter { $0.hasPrefix(field) }
        guard let word = parts.first else { return }
        text = text.replacing(" \(word)", with: " \(field)x%1B]0;pwn%07%0Aforged")
        try state.write(Array(text.utf8), to: "audit/trail.log")
        for arguments in [["show"], ["last", "-n", "0"], ["stats"]] {
            let run = try audit(arguments)
            #expect(!run.output.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" }, "\(arguments)")
            #expect(!run.output.contains("\nforged"), "\(arguments)")
        }
    }

    // MARK: Segments

    @Test(arguments: [["show"], ["last", "-n", "0"], ["stats"], ["export", "--json"], ["export", "--sessions"]])
    func severalSegmentsAreReadAsOne(_ arguments: [String]) throws {
        let one = try audit(arguments)
        #expect(one.status == 0, "\(one.error)")
        try rotate(4)
        // What is beside them is not of them.
        try state.write(Array("no record\n".utf8), to: "audit/trail.log.broken-1795212781")
        try state.write(Array("no record\n".utf8), to: "audit/trail.log.0001")
        try state.write(Array("no record\n".utf8), to: "audit/trail.log.00000000000x")
        let several = try audit(arguments)
        #expect(several.output.replacing("4 segments", with: "1 segment") == one.output)
        #expect(several.error.isEmpty && several.status == 0)
    }

    /// Also while the live segment is missing for a moment, and by the directory that they are in.
    @Test func rotatedSegmentsAloneAreATrail() throws {
        try rotate(3)
        try FileManager.default.removeItem(atPath: state.path + "/audit/trail.log")
        let run = try audit(["stats", "--json"])
        #expect(run.status == 0)
        let json = try #require(try run.json as? [String: Any])
        #expect(json["segments"] as? Int == 2)
        let named = try portcullis("audit", "stats", "--json", state.path + "/audit")
        #expect(named.output == run.output)
    }

    /// A rotation between the opening of the one segment and the other loses nothing and gives nothing twice.
    @Test func aRotationWhileItIsReadLosesNothing() throws {
        try rotate(3)
        let directory = state.path + "/audit"
        var source = TrailSource(directory: directory)
        let first = try #require(try source.next())
        #expect(first.path.hasSuffix("trail.log.000000000001") && !first.isLive)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        let second = try #require(try source.next())
        #expect(second.path.hasSuffix(names[2]))
        // Two rotations before the live one is asked for.
        try FileManager.default.moveItem(
            atPath: directory + "/trail.log", toPath: directory + "/trail.log.000000000900")
        try state.write([], to: "audit/trail.log")
        try FileManager.default.moveItem(
            atPath: directory + "/trail.log", toPath: directory + "/trail.log.000000000950")
        try state.write([], to: "audit/trail.log")
        var rest: [String] = []
        while let segment = try source.next() { rest.append(String(segment.path.dropFirst(directory.count + 1))) }
        #expect(rest == ["trail.log.000000000900", "trail.log.000000000950", "trail.log"])
        // And one after it was given as the live one.
        try FileManager.default.moveItem(
            atPath: directory + "/trail.log", toPath: directory + "/trail.log.000000000960")
        #expect(try source.next() == nil)
        try state.write([], to: "audit/trail.log")
        #expect(try source.next()?.isLive == true)
        #expect(try source.next() == nil)
    }

    @Test(
        arguments: [
            ("trail.log.000000000001", 1), ("trail.log.999999999999", 999_999_999_999),
            ("trail.log.1000000000000", 1_000_000_000_000), ("trail.log.0000000000001", nil),
            ("trail.log.00000000001", nil), ("trail.log", nil), ("trail.log.", nil), ("trail.log.00000000001x", nil),
            ("trail.log.torn-000000000001", nil), ("trail.log.99999999999999999999", nil),
            ("xtrail.log.000000000001", nil),
        ] as [(String, UInt64?)])
    func segmentsAreKnownByTheirNames(_ name: String, _ number: UInt64?) {
        #expect(TrailSegment(name: Array(name.utf8))?.first == number)
    }

    // MARK: last

    @Test func lastHasOneLineASessionTheNewestFirst() throws {
        let run = try audit(["last", "-n", "0"])
        let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        #expect(lines.first?.hasPrefix("ACCOUNT   VIA    BY        FROM ") == true)
        #expect(lines.count == Self.trail.sessions + 3)
        #expect(lines.last == "the trail begins 2026-10-26 00:00:00")
        #expect(lines.dropLast(2).filter { $0.contains("  refused    ") }.count == Self.trail.refused)
        let times = try objects(try audit(["last", "-n", "0", "--json"])).compactMap { $0["began"] as? String }
        #expect(times == times.sorted(by: >))
        #expect(times.count == Self.trail.sessions)
    }

    @Test func lastSaysFromWhenToWhenAndHowItEnded() throws {
        let run = try audit(["last", "--user", "backup", "--until", "2026-10-28"])
        let line = try #require(run.output.split(separator: "\n").first { $0.contains("exit 0") })
        #expect(
            line.firstMatch(
                of:
                    /^backup    rexec  -         10\.20\.3\.\d+ +[A-Z][a-z]{2} Oct 2\d \d\d:\d\d - \d\d:\d\d \(00:\d\d:\d\d\)  exit 0     nightly-dump      \/usr\/sbin\/dump 0uf - \/home\/x$/
            ) != nil, "\(line)")
        let full = try audit(["last", "--user", "backup", "--until", "2026-10-28", "--full-times"])
        #expect(full.output.contains(/2026-10-2\d \d\d:\d\d:\d\d - 2026-10-2\d \d\d:\d\d:\d\d \(00:/), "\(full.output)")
    }

    @Test func lastKeepsTheNewestAndSaysHowManyItLeftOut() throws {
        let all = try audit(["last", "-n", "0"]).output.split(separator: "\n")
        let few = try audit(["last", "-n", "7"]).output.split(separator: "\n")
        #expect(few.prefix(8) == all.prefix(8))
        #expect(few.count == 10)
        #expect(few.last == "\(Self.trail.sessions - 7) earlier sessions not shown: -n 0 or --oldest-first shows them")
        let reversed = try audit(["last", "--oldest-first"]).output.split(separator: "\n")
        #expect(reversed.count == all.count && Set(reversed) == Set(all))
    }

    @Test(
        arguments: [
            ["--denied"], ["--denied", "--from", "203.0.113.0/24"], ["--user", "build"], ["--session", "0"],
            ["--since", "2026-11-04", "--until", "2026-11-05"],
        ])
    func lastStatsAndSessionsMeanTheSame(_ arguments: [String]) throws {
        let last = try objects(try audit(["last", "-n", "0", "--json"] + arguments))
        let exported = try objects(try audit(["export", "--sessions"] + arguments))
        let stats = try #require(try audit(["stats", "--json"] + arguments).json as? [String: Any])
        #expect(!last.isEmpty)
        #expect(last.count == exported.count && stats["requests"] as? Int == last.count)
        if arguments == ["--denied"] { #expect(last.count == Self.trail.refused) }
    }

    /// A session is of the time that it ran in.
    @Test func sinceHasWhatWasRunningThen() throws {
        let all = try objects(try audit(["last", "-n", "0", "--json"]))
        let long = try #require(all.first { ($0["ms"] as? Int ?? 0) > 600_000 })
        let (began, finished) = (try #require(long["began"] as? String), try #require(long["finished"] as? String))
        let id = try #require(long["session"] as? String)
        for (since, isThere) in [(began, true), (finished, true), ("2026-11-14T23:59:59Z", false)] {
            let run = try audit(["last", "--json", "--session", id, "--since", since])
            #expect(run.output.isEmpty == !isThere, "\(since)")
        }
        #expect(try audit(["last", "--json", "--session", id, "--until", began]).output.isEmpty)
    }

    // MARK: stats

    @Test func statsAddUp() throws {
        let run = try audit(["stats", "--json", "--top", "0"])
        let json = try #require(try run.json as? [String: Any])
        let requests = try #require(json["requests"] as? Int)
        #expect(requests == Self.trail.sessions)
        #expect(json["refused"] as? Int == Self.trail.refused)
        for key in ["outcomes", "services"] {
            let counts = try #require(json[key] as? [String: Int])
            #expect(counts.values.reduce(0, +) == requests, "\(key)")
        }
        #expect((json["reasons"] as? [String: Int])?.values.reduce(0, +) == Self.trail.refused)
        for key in ["sources", "accounts", "rules"] {
            let table = try #require(json[key] as? [String: Any])
            let rows = try #require(table["most"] as? [[String: Any]])
            #expect(rows.compactMap { $0["requests"] as? Int }.reduce(0, +) == requests, "\(key)")
            #expect(rows.compactMap { $0["refused"] as? Int }.reduce(0, +) == Self.trail.refused, "\(key)")
            #expect(table["distinct"] as? Int == rows.count)
        }
        let sessions = try objects(try audit(["export", "--sessions"]))
        #expect(json["out"] as? Int == sessions.compactMap { $0["out"] as? Int }.reduce(0, +))
        #expect(json["ms"] as? Int == sessions.compactMap { $0["ms"] as? Int }.reduce(0, +))
    }

    @Test func statsArePleasantToRead() throws {
        let run = try audit(["stats", "--top", "2"])
        let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[0].hasPrefix("requests  315, "))
        #expect(lines[1].hasPrefix("from      2026-10-2"))
        for heading in ["OUTCOME", "SOURCE", "ACCOUNT", "RULE", "REASON"] {
            #expect(lines.contains { $0.hasPrefix(heading + " ") && $0.hasSuffix("REQUESTS      %     REFUSED") })
        }
        #expect(lines.contains { $0.hasPrefix("  and ") && $0.hasSuffix(" more") })
        // No terminal: no bars, no colours.
        #expect(run.output.utf8.allSatisfy { $0 == 10 || (0x20...0x7E).contains($0) })
    }

    @Test func nothingOnTheTrailIsNoFailure() throws {
        try state.write([], to: "audit/trail.log")
        #expect(try audit(["stats"]).output == "no requests; 0 records in 1 segment read\n")
        #expect(try audit(["export", "--json"]).output.isEmpty)
        #expect(try audit(["last", "--json"]).output.isEmpty)
        #expect(try audit(["stats", "--since", "now", "--json"]).status == 0)
    }

    // MARK: export

    @Test func exportGoesOnWhereItEnded() throws {
        let all = try objects(try audit(["export", "--json"]))
        let numbers = all.compactMap { $0["seq"] as? Int }
        #expect(numbers == Array(1...numbers.count))
        let rest = try objects(try audit(["export", "--json", "--after", String(numbers.count - 3)]))
        #expect(rest.compactMap { $0["seq"] as? Int } == Array(numbers.suffix(3)))
        let kinds = Set(all.compactMap { $0["event"] as? String })
        #expect(kinds.isSubset(of: Set(TrailEvent.Kind.allCases.map(\.rawValue))))
        #expect(kinds.isSuperset(of: ["permitted", "refused", "command-started", "command-ended", "policy-loaded"]))
    }

    @Test func whatCannotBeReadIsNamedAndExportSaysSo() throws {
        try state.write(Array("hello\n".utf8) + Self.trail.text + Array("type=USER_".utf8), to: "audit/trail.log")
        let run = try audit(["export", "--json"])
        #expect(run.status == 1)
        #expect(run.error.contains("trail.log:1: not a record: hello"))
        #expect(run.error.contains("the last record is torn: 10 bytes"))
        #expect(try objects(run).count > 300)
        let stats = try #require(try audit(["stats", "--json"]).json as? [String: Any])
        #expect(stats["unreadableLines"] as? Int == 2)
    }

    @Test(arguments: [
        ["export", "--after", "1", "--sessions"], ["last", "-n", "-1"], ["stats", "--top", "x"], ["report"],
    ])
    func wrongUsageIsTold(_ arguments: [String]) throws {
        let run = try audit(arguments)
        #expect(run.status == 64)
        #expect(run.output.isEmpty)
    }
}

/// `audit follow`, with a trail that grows and is rotated under it.
@Suite struct AuditFollowTests {
    private let state: TemporaryDirectory
    private let lines: [[UInt8]]

    init() throws {
        state = try TemporaryDirectory()
        let trail = GeneratedTrail(sessions: 40)
        lines = trail.text.split(separator: UInt8(ascii: "\n")).map { Array($0) + [10] }
        try state.write(Array(lines[..<20].joined()), to: "audit/trail.log")
    }

    private func append(_ range: Range<Int>) throws {
        let handle = try #require(FileHandle(forWritingAtPath: state.path + "/audit/trail.log"))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(lines[range].joined()))
        try handle.close()
    }

    private func numbers(_ follower: FollowRun, _ count: Int) throws -> [Int] {
        try follower.lines(count).map { line in
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            return try #require(object["seq"] as? Int)
        }
    }

    @Test func newRecordsComeOverRotationsOnceEachAndInOrder() throws {
        let follower = try FollowRun(["audit", "follow", "--json", "-n", "3", "--state-directory", state.path])
        #expect(try numbers(follower, 3) == [18, 19, 20])
        try append(20..<24)
        #expect(try numbers(follower, 4) == [21, 22, 23, 24])
        // A record before the rotation, one after it, and a second rotation before anybody looks.
        let directory = state.path + "/audit"
        try append(24..<26)
        try FileManager.default.moveItem(
            atPath: directory + "/trail.log", toPath: directory + "/trail.log.000000000001")
        try state.write(Array(lines[26..<28].joined()), to: "audit/trail.log")
        try FileManager.default.moveItem(
            atPath: directory + "/trail.log", toPath: directory + "/trail.log.000000000027")
        try state.write(Array(lines[28..<29].joined()), to: "audit/trail.log")
        #expect(try numbers(follower, 5) == [25, 26, 27, 28, 29])
        // Half a line is waited for.
        let half = lines[29].count / 2
        let handle = try #require(FileHandle(forWritingAtPath: directory + "/trail.log"))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(lines[29][..<half]))
        Thread.sleep(forTimeInterval: 0.5)
        try handle.write(contentsOf: Data(lines[29][half...]))
        try handle.close()
        #expect(try numbers(follower, 1) == [30])
        #expect(try follower.interrupt() == "")
    }

    @Test func itWaitsForATrailThatIsNotThereYet() throws {
        let empty = try TemporaryDirectory()
        let follower = try FollowRun(["audit", "follow", "--json", "--state-directory", empty.path])
        Thread.sleep(forTimeInterval: 0.3)
        try empty.write(Array(lines[..<2].joined()), to: "audit/trail.log")
        #expect(try numbers(follower, 2) == [1, 2])
        _ = try follower.interrupt()
    }

    @Test func filtersAndSinceHoldForWhatIsThereAndWhatComes() throws {
        let follower = try FollowRun(
            ["audit", "follow", "--json", "--since", "2026-01-01", "--user", "backup", "--state-directory", state.path])
        try append(20..<lines.count)
        let wanted = try lines.enumerated().filter { _, bytes in
            let line = try #require(TrailLine(bytes.dropLast()[...]))
            return line["acct"] == "backup"
        }.map { $0.offset + 1 }
        #expect(wanted.count > 4)
        #expect(try numbers(follower, wanted.count) == wanted)
        _ = try follower.interrupt()
    }

    /// `follow | head` ends with head, though no further record comes.
    @Test func itEndsWhenNobodyReadsAnyMore() throws {
        let follower = try FollowRun(["audit", "follow", "--state-directory", state.path])
        #expect(try follower.lines(1).first?.hasPrefix("TIME") == true)
        follower.closeOutput()
        follower.waitUntilExit()
        #expect(!follower.isRunning)
    }
}

/// A run of `portcullis` whose output is read while it goes on.
final class FollowRun {
    private let process = Foundation.Process()
    private let output = Pipe()
    private let error = Pipe()
    private var rest: [UInt8] = []

    init(_ arguments: [String]) throws {
        // What a shell starts in the background ignores SIGINT, and so would what it starts.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["--default-signal=INT", try CommandRun.program().path] + arguments
        process.environment = ["TZ": "UTC", "LC_ALL": "C"]
        process.standardOutput = output
        process.standardError = error
        process.standardInput = FileHandle.nullDevice
        try process.run()
    }

    deinit {
        if process.isRunning { process.terminate() }
    }

    /// The next lines, waiting for them.
    func lines(_ count: Int) throws -> [String] {
        var found: [String] = []
        while found.count < count {
            if let newline = rest.firstIndex(of: 10) {
                found.append(String(decoding: rest[..<newline], as: UTF8.self))
                rest.removeSubrange(...newline)
                continue
            }
            let data = output.fileHandleForReading.availableData
            try #require(!data.isEmpty, "it ended after \(found)")
            rest += data
        }
        return found
    }

    /// Interrupts it, and gives what it said on standard error.
    func interrupt() throws -> String {
        process.interrupt()
        process.waitUntilExit()
        return String(decoding: try error.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    }

    func closeOutput() { try? output.fileHandleForReading.close() }
    func waitUntilExit() { process.waitUntilExit() }
    var isRunning: Bool { process.isRunning }
}
