// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import TestSupport
import Testing
import TrailCrypto

@testable import CLI

/// A trail as a busy gateway would write it, the same for the same seed: sessions of several machines, refusals, a burst of
/// guesses, denials, restarts, policies.
struct GeneratedTrail {
    /// The lines.
    private(set) var text: [UInt8] = []
    /// How many sessions there are, what front refused included.
    private(set) var sessions = 0
    private(set) var refused = 0

    /// The policy that decides it; two of its rules decide nothing.
    static let policy = """
        policy 1
        securetcpip on except rsh
        service rexec { enable
            listen 127.0.0.1:5512
            authenticate file "credentials" }
        service rsh { enable
            listen 127.0.0.1:5514
            trust rule
            account none }
        permit nightly-dump: rexec from 10.20.0.0/16 as backup run "/usr/sbin/dump 0uf - <path /home>"
        permit uptime: rsh from 10.1.2.3 by any as alice run "/usr/bin/uptime"
        permit compile: rsh from 10.30.0.0/16 by any as build run "/usr/bin/make *"
        permit report: rexec from 10.40.0.9 as report run "/usr/bin/report --daily"
        permit retired: rexec from 10.99.0.0/24 as backup run "/usr/bin/true"
        forbid no-root: any as root
        forbid contractors: any from 10.66.0.0/16 as alice

        """

    /// 2026-10-26 00:00 UTC, a Monday.
    static let start: UInt64 = 1_792_972_800_000
    static let sender = Sender(pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
    private static let revision = Revision(bytes: Array(repeating: 0x5F, count: 32)) ?? .none

    private struct Moment {
        var time: UInt64
        var entry: Entry
        var session: SessionID?
    }

    private var moments: [Moment] = []
    private var random: SeededGenerator

    /// - Parameters:
    ///   - count: how many sessions.
    ///   - days: over how many days they are spread.
    ///   - start: from when on, in milliseconds since 1970.
    ///   - hostile: whether what clients choose is as nasty as can be.
    init(
        sessions count: Int, days: UInt64 = 20, start: UInt64 = Self.start, seed: UInt64 = 1, hostile: Bool = false
    ) {
        random = SeededGenerator(seed: seed)
        let day: UInt64 = 86_400_000
        add(start, .record(.serviceStart(unit: "portcullisd")))
        add(start + 10, .record(.policyLoaded(revision: Self.revision, file: "portcullis.policy", rules: 7)))
        for index in 0..<count {
            var time = start + 60_000 + UInt64.random(in: 0..<max(1, days * day - 120_000), using: &random)
            // Most of them by day.
            if Int.random(in: 0..<4, using: &random) > 0 {
                time = time - time % day + UInt64.random(in: 7 * 3_600_000..<19 * 3_600_000, using: &random)
            }
            session(at: max(time, start + 60_000), index, hostile: hostile)
        }
        if count >= 100 {
            for index in 0..<(count / 20) { guess(at: start + 9 * day + 7_200_000 + UInt64(index) * 900, index) }
            add(start + 5 * day, .record(.serviceStop(unit: "portcullis-engine", reason: "signal-11", isFailure: true)))
            add(
                start + 5 * day + 60_000,
                .record(.policyRejected(file: "site.policy", errors: "site.policy:12:27: error: has host bits set")))
            add(
                start + 6 * day,
                .note(Entry.Note(subject: .tornLine, detail: "the last line was torn: 211 bytes were set aside")))
        }
        write()
    }

    private mutating func add(_ time: UInt64, _ entry: Entry, _ session: SessionID? = nil) {
        moments.append(Moment(time: time, entry: entry, session: session))
    }

    private mutating func id() -> SessionID? {
        SessionID(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    private static let kinds:
        [(service: Service, source: String, user: String?, account: String, rule: String, cmd: String)] = [
            (.rexec, "10.20.3.", nil, "backup", "nightly-dump", "/usr/sbin/dump 0uf - /home/x"),
            (.rsh, "10.1.2.3", "alice", "alice", "uptime", "/usr/bin/uptime"),
            (.rsh, "10.30.7.", "ci", "build", "compile", "/usr/bin/make -j4 all"),
            (.rexec, "10.40.0.9", nil, "report", "report", "/usr/bin/report --daily"),
        ]

    /// Text that tries everything: markup, terminal sequences, records, directions of writing, bytes that are no UTF-8.
    static let hostileTexts: [[UInt8]] = [
        Array("</td></table><script>alert(1)</script>".utf8),
        Array("\" onload=\"alert(1)\" x='<img src=x onerror=alert(1)>".utf8),
        Array("\u{1B}]0;owned\u{7}\u{1B}[2J\u{1B}[31m".utf8), Array("\u{202E}txt.exe\u{2066}\u{200F}".utf8),
        Array("a\ntype=USER_LOGIN msg=audit(1.000:9): pid=1 uid=0 auid=0 ses=0 msg='op=login res=success'".utf8),
        [0xFF, 0xFE, 0xC0, 0x80, 0xED, 0xA0, 0x80], Array("%n%s%x &amp; &lt; ]]> --> <!--".utf8),
        Array("x' res=success addr=6.6.6.6 acct=\"root\"".utf8), [0x9B, 0x33, 0x31, 0x6D], [0],
    ]

    private mutating func session(at time: UInt64, _ index: Int, hostile: Bool) {
        sessions += 1
        let kind = Self.kinds[Int.random(in: 0..<Self.kinds.count, using: &random)]
        let source =
            kind.source.hasSuffix(".") ? kind.source + "\(Int.random(in: 1...40, using: &random))" : kind.source
        let origin = Record.Origin(
            service: kind.service, address: IPAddress(source), port: UInt16.random(in: 512...1_023, using: &random))
        let text = hostile ? ByteText(Self.hostileTexts[index % Self.hostileTexts.count]) : nil
        let account = text ?? ByteText(kind.account)
        let user = kind.user.map { text ?? ByteText($0) }
        let command = text.map { ByteText(Array("/bin/sh ".utf8) + $0.bytes) } ?? ByteText(kind.cmd)
        let rule = RuleReference(name: kind.rule, place: FilePlace(file: "portcullis.policy", line: 11))
        let session = id()
        if kind.service == .rexec {
            add(
                time,
                .record(
                    .authentication(
                        Record.Authentication(
                            origin: origin, account: account, grantors: "credentials-file", failure: nil, detail: nil))),
                session)
        }
        var login = Record.Login(
            origin: origin, account: account, remoteUser: user, refusal: nil, rule: rule, revision: Self.revision)
        let fate = Int.random(in: 0..<100, using: &random)
        if fate < 8 {
            refused += 1
            login.rule = nil
            login.refusal = fate < 3 ? .noRule : fate < 5 ? .needsShell : .forbidden
            login.command = Record.RefusedCommand(fate < 3 ? command : ByteText(command.bytes + Array("; id".utf8)))
            if fate >= 5 {
                login.rule = RuleReference(name: "no-root", place: FilePlace(file: "portcullis.policy", line: 15))
                login.account = text ?? "root"
            } else if fate < 3 {
                login.origin.address = IPAddress("10.21.9.\(Int.random(in: 1...9, using: &random))")
            }
            return add(time + 4, .record(.login(login)), session)
        }
        add(time + 4, .record(.login(login)), session)
        let words = command.bytes.split(separator: 0x20)
        add(
            time + 6,
            .record(
                .command(
                    Record.Command(
                        origin: origin, account: account, commandLine: command,
                        program: ByteText(Array(words.first ?? [])), argumentCount: words.count, sandbox: "strict"))),
            session)
        if fate == 8 {
            add(
                time + 7,
                .record(
                    .denial(
                        Record.Denial(
                            origin: origin, account: account, subject: .call("mount"), program: text ?? "/usr/bin/make")
                    )),
                session)
        }
        // The last few are running still.
        if index % 997 == 996 { return }
        let ran = UInt64.random(in: 5...(kind.rule == "nightly-dump" ? 2_400_000 : 20_000), using: &random)
        let outcome: Record.Outcome = fate < 12 ? .status(1) : fate == 12 ? .signal(15) : .status(0)
        let end = Record.End(
            origin: origin, account: account, outcome: outcome, bytesIn: UInt64.random(in: 0...4_000, using: &random),
            bytesOut: UInt64.random(in: 0...(kind.rule == "nightly-dump" ? 4_000_000_000 : 60_000), using: &random),
            bytesErr: fate < 12 ? 120 : 0, milliseconds: ran, limit: fate == 13 ? "timeout" : nil, leftovers: 0)
        add(time + 6 + ran, .record(.end(end)), session)
    }

    private mutating func guess(at time: UInt64, _ index: Int) {
        sessions += 1
        refused += 1
        let names = ["root", "admin", "oracle", "test", "backup", "sys"]
        add(
            time,
            .record(
                .login(
                    Record.Login(
                        origin: Record.Origin(service: .rexec, address: IPAddress("203.0.113.66"), port: 40_000),
                        account: ByteText(names[index % names.count]), remoteUser: nil, refusal: .badCredentials,
                        rule: nil, revision: nil))),
            id())
    }

    private mutating func write() {
        moments.sort { $0.time < $1.time }
        var chain = Chain(after: .start, digest: sha256)
        text.reserveCapacity(moments.count * 420)
        for moment in moments {
            chain.append(
                moment.entry, Stamp(milliseconds: moment.time, session: moment.session, sender: Self.sender), to: &text)
        }
        moments = []
    }
}

/// The generator as a tool: a trail of any length for benchmarks, and for a look at a report of it (docs/testing.md).
@Suite struct GeneratedTrailTests {
    private static let path = ProcessInfo.processInfo.environment["PORTCULLIS_TRAIL"]
    private static let count = ProcessInfo.processInfo.environment["PORTCULLIS_TRAIL_SESSIONS"].flatMap { Int($0) }
    private static let isHostile = ProcessInfo.processInfo.environment["PORTCULLIS_TRAIL_HOSTILE"] != nil

    @Test(.enabled(if: path != nil, "PORTCULLIS_TRAIL names no file to write"))
    func aTrailIsWrittenWhereItIsWanted() throws {
        let path = try #require(Self.path)
        let trail = GeneratedTrail(sessions: Self.count ?? 200, hostile: Self.isHostile)
        try Data(trail.text).write(to: URL(fileURLWithPath: path))
        try Data(GeneratedTrail.policy.utf8).write(to: URL(fileURLWithPath: path + ".policy"))
    }

    /// What other tests lean on: it verifies, and each line is read.
    @Test(arguments: [false, true]) func aGeneratedTrailIsOne(hostile: Bool) throws {
        let trail = GeneratedTrail(sessions: 300, hostile: hostile)
        var verifier = TrailVerifier(digest: sha256)
        try verifier.take(trail.text)
        try verifier.finish()
        #expect(verifier.lines > 900)
        let lines = trail.text.split(separator: UInt8(ascii: "\n"))
        #expect(lines.allSatisfy { TrailLine($0).flatMap { Entry(line: $0) } != nil })
    }
}
