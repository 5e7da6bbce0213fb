// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import PolicyLanguage
import Testing
import TrailCrypto

@testable import CLI

/// What the verbs say of guest pools.
@Suite struct GuestVerbTests {
    private let place: SitePolicy

    private static let policy = """
        service rexec { enable }
        pool visitors = { guest1, guest2 }
        pool lab = { daemon, nosuch-guest }
        permit tools: rexec from 10.1.0.0/16 as pool visitors run "/usr/bin/id *" sandbox home
        permit lab: rexec from 10.1.0.0/16 as pool lab run any
        permit ops: rexec from 10.1.0.0/16 as alice run any
        forbid one: any as guest1

        """

    init() throws {
        place = try SitePolicy(Self.policy)
    }

    private var site: String { place.path }

    private func explain(_ arguments: String...) throws -> CommandRun.Result {
        try CommandRun(
            ["explain", "--policy", site, "--service", "rexec", "--from", "10.1.2.3"] + arguments
        ).result()
    }

    @Test func explainGivesAGuestTheFirstAccountThatIsPermitted() throws {
        let given = try explain("--as", "guest", "--groups", "", "--", "/usr/bin/id")
        #expect(given.status == 0, "\(given)")
        #expect(given.output.contains("rexec from 10.1.2.3 as guest2, a guest of pool visitors"), "\(given.output)")
        let other = try explain("--as", "guest", "--groups", "", "--", "/usr/bin/env")
        #expect(other.output.contains("as nosuch-guest, a guest of pool lab"), "\(other.output)")
        let one = try explain("--as", "guest1", "--pool", "visitors", "--groups", "", "--", "/usr/bin/id")
        #expect(one.status == 3)
        #expect(one.output.contains("forbidden"))
        let system = try explain("--as", "daemon", "--pool", "lab", "--", "/usr/bin/env")
        #expect(system.status == 3)
        #expect(system.output.contains("daemon is an account of the system's, and no guest's"), "\(system.output)")
    }

    @Test func explainSaysWhyAPoolIsNotForWhoAsksForTheAccount() throws {
        let run = try explain("--as", "guest2", "--groups", "", "--", "/usr/bin/id")
        #expect(run.status == 3)
        #expect(run.output.contains("no-rule"))
        #expect(run.output.contains("as pool visitors"), "\(run.output)")
        #expect(run.output.contains("a pool is for guests, who ask for 'guest' without a password"), "\(run.output)")
    }

    @Test(arguments: [
        ["--as", "guest", "--pool", "nosuch"], ["--as", "alice", "--pool", "visitors"],
        ["--as", "guest1", "--pool", "lab"],
    ])
    func aPoolOrAnAccountOfItThatThereIsNotIsAUsageError(arguments: [String]) throws {
        let run = try CommandRun(
            ["explain", "--policy", site, "--service", "rexec", "--from", "10.1.2.3"] + arguments + ["--", "id"]
        ).result()
        #expect(run.status == 64, "\(run)")
        let rsh = ["explain", "--policy", site, "--service", "rsh", "--by", "a", "--from", "10.1.2.3"] + arguments
        #expect(try CommandRun(rsh + ["--", "id"]).result().status == 64)
    }

    @Test func whoCanAndWhatCanTellGuestsFromWhoHasAPassword() throws {
        let who = try CommandRun(
            ["who-can", "--policy", site, "--as", "guest", "--groups", "", "--", "/usr/bin/id"]
        ).result()
        let rows = who.output.split(separator: "\n").map { $0.split { $0 == " " }.joined(separator: " ") }
        #expect(rows.contains { $0.hasPrefix("tools rexec 10.1.0.0/16 any guest") }, "\(who)")
        #expect(rows.contains { $0.hasPrefix("lab rexec 10.1.0.0/16 any guest") })
        #expect(!who.output.contains("password") && !who.output.contains("ops"))
        let one = try CommandRun(
            ["who-can", "--policy", site, "--as", "guest1", "--pool", "visitors", "--groups", "", "--", "/usr/bin/id"]
        ).result()
        #expect(one.output.contains("left out: tools"), "\(one)")

        let what = try CommandRun(["what-can", "--policy", site, "--from", "10.1.2.3"]).result()
        let lines = what.output.split(separator: "\n").map { $0.split { $0 == " " }.joined(separator: " ") }
        #expect(lines.contains { $0.hasPrefix("tools rexec any guest pool visitors") }, "\(what)")
        #expect(lines.contains { $0.hasPrefix("ops rexec whoever has the password alice") })
    }

    /// What the policy alone cannot say: whether this host's accounts can be given.
    @Test func checkWarnsOfAccountsThatThisHostCannotGive() throws {
        let run = try portcullis("check", site)
        #expect(run.status == 0)
        #expect(run.error.contains("warning: on this host pool 'lab': 'daemon' is an account of the system's (uid 1)"))
        #expect(run.error.contains("pool 'lab': 'nosuch-guest' is no account of this host"), "\(run.error)")
        let json = try #require(try portcullis("check", "--json", site).json as? [String: Any])
        #expect((json["host"] as? [String])?.count == 4)
        #expect(json["good"] as? Bool == true)
    }

    /// Who is in a group, a host alone knows.
    @Test func aGroupThatReachesAPoolByRSHIsWarnedOf() throws {
        let text = """
            securetcpip off
            service rexec { enable }
            service rsh { enable }
            pool visitors = { guest1, guest2 }
            permit tools: rexec from 10.1.0.0/16 as pool visitors run any
            permit staff: any from 10.1.0.0/16 by any as { alice, %staff } run any
            permit others: rsh from 10.1.0.0/16 by any as %others run any
            permit password: rexec from 10.1.0.0/16 as %staff run any

            """
        let warnings = { (text: String, isSystem: Bool) throws in
            try place.write("groups.policy", text)
            let policy = try #require(try LocalPolicy(place.directory + "/groups.policy").loaded.policy)
            return GuestLookup.groupWarnings(policy) { name in
                Account(name: name, uid: 1_500, groups: ["staff", ByteText("\(name)")], isSystem: isSystem)
            }
        }
        let found = try warnings(text, false)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("'staff' reaches 'guest1' of pool 'visitors' by rsh, as one of %staff") == true)
        #expect(try warnings(text, true).isEmpty)
        #expect(try warnings(text + "forbid f: rsh as { guest1, guest2 }\n", false).isEmpty)
        let second = try warnings(text + "forbid f: any as guest1\n", false)
        #expect(second.first?.contains("'guest2'") == true)
        #expect(try warnings(text + "forbid f: rsh from 10.2.0.0/16 as { guest1, guest2 }\n", false).count == 1)
        #expect(try warnings(text.replacingOccurrences(of: "rsh { enable }", with: "rsh { }"), false).isEmpty)
    }

    // MARK: The trail

    private static let origin = Record.Origin(service: .rexec, address: IPAddress("10.1.7.7"), port: 40_000)

    private func writeTrail(refused: Bool) throws {
        let rule = RuleReference(name: "tools", place: FilePlace(file: "old.policy", line: 7))
        let revision = Revision(bytes: Array(repeating: 7, count: 32))
        let entries: [Record] =
            refused
            ? [
                .login(
                    Record.Login(
                        origin: Self.origin, account: "guest9", remoteUser: nil, refusal: .noRule, rule: nil,
                        revision: revision, command: Record.RefusedCommand("/usr/bin/id"), pool: "old"))
            ]
            : [
                .authentication(
                    Record.Authentication(
                        origin: Self.origin, account: "guest2", grantors: "guest-pool", failure: nil, detail: nil,
                        pool: "visitors")),
                .login(
                    Record.Login(
                        origin: Self.origin, account: "guest2", remoteUser: nil, refusal: nil, rule: rule,
                        revision: revision, pool: "visitors")),
                .command(
                    Record.Command(
                        origin: Self.origin, account: "guest2", commandLine: "/usr/bin/id", program: "/usr/bin/id",
                        argumentCount: 1, sandbox: "home")),
            ]
        var chain = Chain(after: .start, digest: sha256)
        let sender = Sender(pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
        var text: [UInt8] = []
        for record in entries {
            let stamp = Stamp(
                milliseconds: 1_795_212_781_237, session: SessionID(bytes: Array(repeating: 3, count: 16)),
                sender: sender)
            chain.append(.record(record), stamp, to: &text)
        }
        try place.write("trail.log", text)
    }

    private func replay(_ policy: String) throws -> String {
        try place.write("new.policy", policy)
        return try CommandRun(
            ["replay", "--no-lookup", "--policy", place.directory + "/new.policy", place.directory + "/trail.log"]
        ).result().output
    }

    @Test func auditShowTellsAGuestFromWhoProvedSomething() throws {
        try writeTrail(refused: false)
        let run = try CommandRun(["audit", "show", place.directory + "/trail.log"]).result()
        let lines = run.output.split(separator: "\n")
        #expect(lines.contains { $0.contains("guest2") && $0.contains("guest-pool, of pool visitors") }, "\(run)")
        #expect(!run.output.contains("verified"))
        #expect(lines.contains { $0.contains("permitted") && $0.contains("a guest of pool visitors, tools") })
    }

    @Test func aGuestIsReplayedAsThePolicyWouldGiveAnAccount() throws {
        try writeTrail(refused: false)
        #expect(try replay(Self.policy).hasPrefix("1 request, 0 differ"))
        // Another pool, other accounts: a guest is a guest.
        let renamed = """
            service rexec { enable }
            pool none = { g8 }
            pool guests = { g9 }
            permit tools: rexec from 10.1.0.0/16 as pool guests run "/usr/bin/id" sandbox home
            permit other: rexec from 10.9.0.0/16 as pool none run any

            """
        #expect(try replay(renamed).hasPrefix("1 request, 0 differ"))
        let without = "service rexec { enable }\npermit all: rexec from any as any run any sandbox home\n"
        let lost = try replay(without)
        #expect(lost.contains("as guest2, a guest of pool visitors: /usr/bin/id"), "\(lost)")
        #expect(lost.contains("-> deny no-rule"))
        let all = "forbid two: any as { guest2, daemon, nosuch-guest }\n"
        #expect(try replay(Self.policy + all).contains("-> deny forbidden two"))
        // What one pool does not permit another may, by whichever account.
        #expect(try replay(Self.policy + "forbid two: any as guest2\n").contains("-> permit lab"))
        #expect(try replay(Self.policy + "forbid two: any as { guest2, daemon }\n").contains("-> permit lab"))
        // An account that is forbidden leaves the others of its pool.
        let other = Self.policy.replacingOccurrences(of: "forbid one: any as guest1", with: "forbid one: any as guest2")
        #expect(try replay(other).hasPrefix("1 request, 0 differ"))
    }

    /// What was given to a guest was given by its pool, although one before it is asked first when it has an account free.
    @Test func whatAPoolGaveIsReplayedAgainstThatPool() throws {
        try writeTrail(refused: false)
        let earlier = "pool before = { g8 }\n" + Self.policy
        let rule = "permit before: rexec from any as pool before run any sandbox strict\n"
        #expect(try replay(earlier + rule).hasPrefix("1 request, 0 differ"))
        // By its name, where no pool has the account any more.
        let others = (earlier + rule).replacingOccurrences(of: "{ guest1, guest2 }", with: "{ guest7 }")
        #expect(try replay(others).hasPrefix("1 request, 0 differ"))
        // A refusal was every pool's.
        try writeTrail(refused: true)
        #expect(try replay(earlier + rule).contains("-> permit before"))
    }

    @Test func aGuestThatWasRefusedIsAskedOfEveryPool() throws {
        try writeTrail(refused: true)
        // guest1 is forbidden, guest2 is not.
        #expect(try replay(Self.policy).contains("deny no-rule -> permit tools"))
        let lab = Self.policy.replacingOccurrences(of: "any as guest1", with: "any as { guest1, guest2, daemon }")
        #expect(try replay(lab).contains("deny no-rule -> permit lab"))
        let none = Self.policy.replacingOccurrences(
            of: "permit lab: rexec from 10.1.0.0/16", with: "permit lab: rexec from 10.9.0.0/16"
        )
        .replacingOccurrences(of: "permit tools: rexec from 10.1.0.0/16", with: "permit tools: rexec from 10.9.0.0/16")
        #expect(try replay(none).hasPrefix("1 request, 0 differ"))
    }
}
