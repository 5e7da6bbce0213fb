// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Testing
import TrailCrypto

@testable import CLI

/// `portcullis replay` on trails that the Audit zone wrote.
@Suite struct ReplayTests {
    private let place: TemporaryDirectory

    private static let policy = """
        securetcpip off
        service rexec { enable }
        service rsh {
            enable
            trust file "rhosts"
        }
        permit uptime: rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime *"
        permit shells: rexec from 10.1.0.0/16 as bob run shell sandbox standard
        forbid contractors: any from 10.66.0.0/16

        """

    private static let origin = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)
    private static let rexec = Record.Origin(service: .rexec, address: IPAddress("10.1.7.7"), port: 40_000)
    /// 2026-11-20 22:13:01.237 UTC.
    private static let moment: UInt64 = 1_795_212_781_237

    private static func session(_ number: UInt8) -> SessionID? { SessionID(bytes: Array(repeating: number, count: 16)) }

    private static func rule(_ name: String) -> RuleReference {
        RuleReference(name: name, place: FilePlace(file: "old.policy", line: 7))
    }

    private static func login(
        _ origin: Record.Origin, as account: ByteText?, by user: ByteText? = nil, _ refusal: Reason? = nil,
        rule: String? = nil, isDecided: Bool = true, command: ByteText? = nil, count: Int = 1
    ) -> Entry {
        .record(
            .login(
                Record.Login(
                    origin: origin, account: account, remoteUser: user, refusal: refusal, rule: rule.map(Self.rule),
                    revision: isDecided && count == 1 ? Revision(bytes: Array(repeating: 7, count: 32)) : nil,
                    command: command.map { Record.RefusedCommand($0) }, count: count)))
    }

    private static func command(
        _ origin: Record.Origin, as account: ByteText, _ line: ByteText, _ program: ByteText, _ count: Int,
        _ sandbox: String
    ) -> Entry {
        .record(
            .command(
                Record.Command(
                    origin: origin, account: account, commandLine: line, program: program, argumentCount: count,
                    sandbox: sandbox)))
    }

    private static func end(_ origin: Record.Origin, as account: ByteText) -> Entry {
        .record(
            .end(
                Record.End(
                    origin: origin, account: account, outcome: .status(0), bytesIn: 0, bytesOut: 1, bytesErr: 0,
                    milliseconds: 12, limit: nil, leftovers: 0)))
    }

    /// Longer than a line, and nothing that a terminal should get.
    private static let long = ByteText("/usr/bin/uptime '\u{1B}]0;x\u{7}" + String(repeating: "é", count: 6_000) + "'")

    /// Two permitted requests under way at once, one by the account's shell, and refusals of every kind.
    private static var entries: [(Entry, SessionID?)] {
        [
            (.record(.serviceStart(unit: "portcullisd")), nil),
            (login(origin, as: "alice", by: "alice", rule: "uptime"), session(1)),
            (login(rexec, as: "bob", rule: "shells"), session(2)),
            (command(origin, as: "alice", long, "/usr/bin/uptime", 2, "strict"), session(1)),
            (command(rexec, as: "bob", "id; id", "/usr/bin/bash", 3, "standard"), session(2)),
            (end(rexec, as: "bob"), session(2)), (end(origin, as: "alice"), session(1)),
            (login(origin, as: "alice", by: "mallory", .noRule), session(3)),
            (login(origin, as: "alice", by: "alice", .needsShell), session(4)),
            (login(origin, as: "alice", by: "alice", .noRule), session(5)),
            (login(origin, as: nil, .noRule, count: 3), nil),
            (login(origin, as: nil, .protocolError, isDecided: false), nil),
            (login(rexec, as: "bob", .badCredentials, isDecided: false), session(6)),
            (login(rexec, as: "bob", rule: "shells"), session(7)),
            (login(rexec, as: "bob", .sandboxUnavailable, isDecided: false), session(7)),
        ]
    }

    init() throws {
        place = try TemporaryDirectory()
        try write("trail.log", Self.entries)
        try write("new.policy", Self.policy)
    }

    private func write(_ name: String, _ text: String) throws {
        try place.write(Array(text.utf8), to: name)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: place.path + "/" + name)
    }

    private func write(_ name: String, _ entries: [(Entry, SessionID?)]) throws {
        var chain = Chain(after: .start, digest: sha256)
        let sender = Sender(pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
        var text: [UInt8] = []
        for (index, (entry, session)) in entries.enumerated() {
            let stamp = Stamp(
                milliseconds: Self.moment + UInt64(index) * 60_000, session: session, sender: sender)
            chain.append(entry, stamp, to: &text)
        }
        try place.write(text, to: name)
    }

    private func replay(_ trails: [String] = ["trail.log"], _ arguments: String...) throws -> CommandRun.Result {
        let paths = trails.map { place.path + "/" + $0 }
        let policy = place.path + "/new.policy"
        return try CommandRun(["replay", "--no-lookup", "--policy", policy] + arguments + paths).result()
    }

    private func object(_ run: CommandRun.Result) throws -> [String: Any] {
        #expect(run.output.utf8.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) })
        return try #require(try run.json as? [String: Any])
    }

    @Test func whatIsDecidedAlikeIsCountedAndNothingElseIsShown() throws {
        let run = try replay()
        #expect(run.status == 0, "\(run.error)")
        #expect(run.error.isEmpty)
        #expect(
            run.output == """
                9 requests, 0 differ, 5 could not be decided
                  1: permitted, but no start is on this trail
                  3: one record of several requests, which differ
                  1: refused then, and perhaps permitted now: the command, or its program then, is not known
                not replayed: 2 refused outside the policy (bad-credentials 1, protocol 1)
                the policy alone decided: passwords, trust files and PAM were not asked

                """)
    }

    @Test func aPermitThatIsGoneDiffers() throws {
        try write("new.policy", Self.policy.replacing("from 10.1.2.3 by", with: "from 10.1.2.4 by"))
        let run = try replay()
        #expect(run.status == 1)
        let lines = run.output.split(separator: "\n")
        #expect(
            lines[0].hasPrefix(
                "2026-11-20 22:14:01  rsh from 10.1.2.3 by alice as alice: /usr/bin/uptime '\\x1b]0;x\\x07\\xc3\\xa9"))
        #expect(lines[1] == "    permit uptime (old.policy:7), sandbox strict -> deny no-rule")
        #expect(run.output.contains("\n9 requests, 1 differs, 4 could not be decided\n"))
        #expect(run.output.utf8.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) })
    }

    @Test func aForbidThatIsNewIsNamed() throws {
        try write("new.policy", Self.policy + "forbid bobs: rexec as bob\n")
        let run = try replay()
        #expect(run.status == 1)
        #expect(run.output.contains(": id; id\n"))
        #expect(
            run.output.contains(
                "    permit shells (old.policy:7), sandbox standard -> deny forbidden bobs (\(place.path)/new.policy:10)\n"
            ))
    }

    @Test func anotherSandboxDiffersAndAnotherNameDoesNot() throws {
        try write("new.policy", Self.policy.replacing("permit uptime", with: "permit load"))
        let renamed = try replay()
        #expect(renamed.status == 0)
        #expect(renamed.output.contains("  1 decided alike by another rule, or for another reason\n"))
        try write("new.policy", Self.policy.replacing("sandbox standard", with: "sandbox home"))
        let run = try replay()
        #expect(run.status == 1)
        #expect(run.output.contains("sandbox standard -> permit shells (\(place.path)/new.policy:8), sandbox home"))
    }

    @Test func aRefusalForAShellIsDecidedWithoutItsCommand() throws {
        try write("new.policy", Self.policy + "permit all: rsh from 10.0.0.0/8 by alice as alice run shell\n")
        let run = try replay()
        #expect(run.status == 1)
        #expect(run.output.contains("rsh from 10.1.2.3 by alice as alice: a command that is not recorded\n"))
        #expect(run.output.contains("    deny needs-shell -> permit all (\(place.path)/new.policy:10)"))
    }

    @Test func aRefusalThatSomeCommandWouldChangeIsShownOnAsking() throws {
        let run = try replay(["trail.log"], "--undecided")
        #expect(run.status == 0)
        #expect(
            run.output.contains(
                "    deny no-rule -> perhaps permit uptime (\(place.path)/new.policy:7), if the command is theirs\n"))
    }

    /// Each refusal, the permit of the new policy that it is held against, and what comes out; nil for alike.
    @Test(
        arguments: [
            (.noRule, nil, "uptime -p", #"run "/usr/bin/uptime -p""#, "deny no-rule -> permit new"),
            (.noRule, nil, "uptime -s", #"run "/usr/bin/uptime -p""#, nil),
            (.noRule, nil, "/usr/bin/uptime 'it''s'", #"run "/usr/bin/uptime *""#, "deny no-rule -> permit new"),
            (.needsShell, nil, "id; id", "run shell", "deny needs-shell -> permit new"),
            (.needsShell, nil, "id; id", "run any", nil),
            (
                .forbidden, "evil", "env A=b", #"run "/usr/bin/env *""#,
                "deny forbidden evil (old.policy:7) -> permit new"
            ),
            // Nothing was found then, whatever is there today.
            (.commandNotFound, nil, "uptime -p", #"run "/usr/bin/uptime -p""#, nil),
            (.commandNotFound, nil, "uptime -p", "run shell", "deny command-not-found -> permit new"),
            (.serviceDisabled, nil, "rcp -f x", "run any", "deny service-disabled -> permit new"),
        ] as [(Reason, String?, ByteText, String, String?)])
    func aRefusalIsDecidedByItsCommand(
        _ reason: Reason, _ rule: String?, _ command: ByteText, _ run: String, _ outcome: String?
    ) throws {
        try write(
            "trail.log",
            [(Self.login(Self.rexec, as: "carol", reason, rule: rule, command: command), Self.session(9))])
        try write("new.policy", Self.policy + "permit new: rexec from 10.1.7.7 as carol \(run)\n")
        let found = try replay()
        #expect(
            found.output.contains("1 request, \(outcome == nil ? "0 differ" : "1 differs"), 0 could not be decided\n"))
        #expect(found.status == (outcome == nil ? 0 : 1))
        guard let outcome else { return }
        let lines = found.output.split(separator: "\n")
        #expect(lines[0].hasSuffix("  rexec from 10.1.7.7 as carol: \(command.printable)"))
        #expect(lines[1].hasPrefix("    \(outcome) (\(place.path)/new.policy:10), sandbox "))
    }

    /// A flood of one request is decided for all; of several, and of what was cut, nobody knows.
    @Test func aCommandThatIsNotWholeIsNotDecided() throws {
        let policy = Self.policy + "permit new: rexec from 10.1.7.7 as carol run \"/usr/bin/uptime *\"\n"
        try write("new.policy", policy)
        let long = ByteText(Array("/usr/bin/uptime ".utf8) + Array(repeating: 0x20, count: 131_055))
        try write(
            "trail.log",
            [
                (Self.login(Self.rexec, as: "carol", .noRule, command: long), Self.session(1)),
                (Self.login(Self.rexec, as: "carol", .noRule), Self.session(2)),
                (Self.login(Self.rexec, as: "dave", .noRule, command: long), Self.session(3)),
                (Self.login(Self.rexec, as: "carol", .noRule, command: "uptime -p", count: 4), nil),
                (Self.login(Self.rexec, as: nil, .noRule, command: "uptime -p", count: 5), nil),
            ])
        let run = try replay()
        #expect(run.status == 1)
        #expect(run.output.contains(": uptime -p, 4 times\n    deny no-rule -> permit new"))
        #expect(
            run.output.contains(
                "12 requests, 4 differ, 7 could not be decided\n  5: one record of several requests, which differ\n"
                    + "  2: refused then, and perhaps permitted now: the command, or its program then, is not known\n"))
        let shown = try replay(["trail.log"], "--undecided")
        #expect(shown.output.contains("… (131,071 bytes)\n    deny no-rule -> perhaps permit new"))
        let json = try object(replay(["trail.log"], "--undecided", "--json"))
        let commands = (json["differences"] as? [[String: Any]])?.map { $0["command"] as? String }
        #expect(commands == [nil, nil, "uptime -p"])
    }

    @Test func jsonIsOneObjectWhateverIsFound() throws {
        let same = try object(replay(["trail.log"], "--json"))
        #expect((same["differences"] as? [Any])?.isEmpty == true)
        #expect(same["requests"] as? Int == 9)
        #expect(same["differ"] as? Int == 0)
        #expect((same["refusedOutsideThePolicy"] as? [String: Int]) == ["protocol": 1, "bad-credentials": 1])
        try write("new.policy", Self.policy.replacing("from 10.1", with: "from 10.2"))
        let run = try replay(["trail.log"], "--json")
        #expect(run.status == 1)
        let other = try object(run)
        let differences = try #require(other["differences"] as? [[String: Any]])
        #expect(differences.count == 2)
        let first = differences.first { $0["as"] as? String == "alice" }
        #expect((first?["command"] as? String)?.utf8.elementsEqual(Self.long.bytes) == true)
        #expect((first?["recorded"] as? [String: Any])?["rule"] as? String == "uptime")
        #expect((first?["now"] as? [String: Any])?["reason"] as? String == "no-rule")
        #expect((first?["now"] as? [String: Any])?["sandbox"] is NSNull)
        try place.write([], to: "empty.log")
        let empty = try object(replay(["empty.log"], "--json"))
        #expect(empty["requests"] as? Int == 0)
    }

    @Test func aRequestMayBeginOnOneTrailAndGoOnInTheNext() throws {
        let lines = place.read("trail.log").split(separator: "\n", omittingEmptySubsequences: true)
        try place.write(Array((lines.prefix(4).joined(separator: "\n") + "\n").utf8), to: "trail.log.1")
        try place.write(Array((lines.dropFirst(4).joined(separator: "\n") + "\n").utf8), to: "rest.log")
        #expect(try replay(["trail.log.1", "rest.log"]).output == replay().output)
        let rest = try replay(["rest.log"])
        #expect(rest.output.contains("  2: the decision is not on this trail\n"))
    }

    @Test func whatIsNoRecordIsNamedWithoutItsBytes() throws {
        try place.write(Array("hello \u{1B}[2J\n".utf8) + Array(place.read("trail.log").utf8.dropLast(9)), to: "mixed")
        let run = try replay(["mixed"])
        #expect(run.status == 0)
        #expect(run.error.contains("mixed:1: not a record: hello \\\\x1b[2J\n"))
        #expect(run.error.contains("the last record is torn"))
        #expect(run.error.utf8.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) })
    }

    /// Sums of such numbers must not trap, nor parts without end be gathered.
    @Test func numbersThatNoGatewayWritesAreNoRecord() throws {
        let line = place.read("trail.log").split(separator: "\n").first { $0.contains("reason=no-rule") }
        let huge =
            try #require(line).replacing("reason=no-rule", with: "reason=no-rule count=9223372036854775807") + "\n"
        try place.write(Array((huge + huge).utf8), to: "huge.log")
        let run = try replay(["huge.log"])
        #expect(run.status == 0)
        #expect(run.error.contains("huge.log:2: not a record"))
    }

    /// Of more requests under way than are kept the first are given up, each at the cost of one.
    @Test func aTrailOfStartsThatNeverCameIsReadInOnePass() throws {
        var text = ""
        let line = try #require(place.read("trail.log").split(separator: "\n").first { $0.contains("rule=uptime") })
        let session = try #require(line.range(of: #" session=[0-9a-f]{32}"#, options: .regularExpression))
        for number in 0..<70_000 {
            let digits = String(number, radix: 16)
            let id = String(repeating: "0", count: 32 - digits.count) + digits
            text += line.replacingCharacters(in: session, with: " session=\(id)") + "\n"
        }
        try place.write(Array(text.utf8), to: "open.log")
        let run = try replay(["open.log"])
        #expect(run.output.contains("70,000: permitted, but no start is on this trail"), "\(run.output)")
    }

    /// `bash -c id` has three words whether the account's shell ran it or not.
    @Test func whatCouldHaveBeenTheShellsIsNotCalledDifferent() throws {
        let policy = Self.policy + "permit sh: rexec from 10.1.7.7 as carol run shell sandbox standard\n"
        try write("new.policy", policy)
        try write(
            "trail.log",
            [
                (Self.login(Self.rexec, as: "carol", rule: "sh"), Self.session(1)),
                (Self.command(Self.rexec, as: "carol", "bash -c id", "/usr/bin/bash", 3, "standard"), Self.session(1)),
            ])
        let run = try replay()
        #expect(run.status == 0, "\(run.output)")
        #expect(run.output.contains("1 request, 0 differ"))
    }

    @Test func anAccountThatThisHostLacksIsSaid() throws {
        let text = place.read("trail.log").replacing("acct=\"bob\"", with: "acct=\"nobody-has-it\"")
        try place.write(Array(text.utf8), to: "other.log")
        let run = try CommandRun(["replay", "--policy", place.path + "/new.policy", place.path + "/other.log"]).result()
        #expect(run.output.contains(": this host has no such account"))
    }

    @Test func aTrailThatIsMissingIsToldBeforeAnythingElse() throws {
        let run = try replay(["trail.log", "none.log"])
        #expect(run.status == 1)
        #expect(run.output.isEmpty)
        #expect(run.error.contains("cannot read the trail \(place.path)/none.log"))
        #expect(try portcullis("replay").status == 64)
    }
}
