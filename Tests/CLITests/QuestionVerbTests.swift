// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// `portcullis who-can` and `what-can`, and what all questions have in common.
@Suite struct QuestionVerbTests {
    private let place: SitePolicy

    private static let policy = """
        securetcpip off
        service rexec { enable }
        service rsh {
            enable
            trust file "rhosts"
        }
        networks mainframes = { 10.20.0.0/16, 2001:db8:20::/48 }
        hours nights = { mon-fri 22:00-04:00 }
        permit dump: rexec from @mainframes as backup run { "/usr/bin/id", "/usr/bin/wc é" } during @nights sandbox standard
        permit uptime: rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime"
        permit ops: any from 10.0.0.0/8 by any as { backup, alice } run shell
        permit gone: rexec from 10.66.1.0/24 as backup run any
        forbid contractors: any from 10.66.0.0/16

        """

    init() throws {
        place = try SitePolicy(Self.policy)
    }

    private var site: String { place.path }

    private func ask(_ arguments: String...) throws -> CommandRun.Result {
        try CommandRun([arguments[0], "--policy", site] + arguments.dropFirst()).result()
    }

    private func rows(_ run: CommandRun.Result) throws -> [[String: Any]] {
        #expect(run.status == 0, "\(run.error)")
        return try #require(try run.json as? [[String: Any]])
    }

    // MARK: who-can

    @Test func whoCanIsATableWithSetsByName() throws {
        let run = try ask("who-can", "--as", "backup", "--groups", "", "--", "/usr/bin/id")
        #expect(run.status == 0)
        #expect(
            run.output == """
                RULE  SERVICE  FROM         BY                        DURING    SANDBOX   AT
                dump  rexec    @mainframes  whoever has the password  @nights   standard  \(site):9
                ops   any      10.0.0.0/8   any                       any time  strict    \(site):11
                  except what contractors (\(site):13) forbids
                  by the account's shell
                left out: gone (\(site):12), all of which contractors (\(site):13) forbids

                """)
    }

    @Test func whoCanHasJSONWithTheSameFacts() throws {
        let rows = try rows(ask("who-can", "--json", "--as", "backup", "--groups", "", "--", "/usr/bin/id"))
        #expect(rows.map { $0["rule"] as? String } == ["dump", "ops"])
        #expect(rows[0]["from"] as? [String] == ["@mainframes"])
        #expect(rows[0]["by"] is NSNull)
        #expect(rows[0]["during"] as? [String] == ["@nights"])
        #expect(rows[0]["at"] as? String == "\(site):9")
        #expect(rows[1]["during"] is NSNull)
        #expect(rows[1]["shell"] as? Bool == true)
        #expect((rows[1]["except"] as? [[String: String]])?.first?["rule"] == "contractors")
    }

    @Test func optionsNarrowTheAnswer() throws {
        let day = try rows(
            ask("who-can", "--json", "--as", "backup", "--groups", "", "--at", "2026-11-20T12:00", "--", "/usr/bin/id"))
        #expect(day.map { $0["rule"] as? String } == ["ops"])
        let rsh = try rows(
            ask("who-can", "--json", "--as", "alice", "--groups", "", "--service", "rsh", "--", "/usr/bin/uptime"))
        #expect(rsh.map { $0["rule"] as? String } == ["uptime", "ops"])
        #expect(rsh.map { $0["service"] as? String } == ["rsh", "rsh"])
        #expect(rsh[0]["by"] as? [String] == ["alice"])
        let own = try rows(
            ask("what-can", "--json", "--by", "alice", "--from", "10.1.2.3", "--as", "alice", "--groups", ""))
        #expect(own.map { $0["rule"] as? String } == ["uptime", "ops"])
    }

    @Test(arguments: [
        (["--as", "bob", "--groups", "", "--", "/usr/bin/id"], "nobody: no permit lets anybody run this as bob\n"),
        (
            ["--as", "bob", "--groups", "", "--", "id; id"],
            "nobody: the ';' at column 3 needs a shell, and no permit with `run shell` is for bob\n"
        ),
        (
            ["--as", "no-such-account", "--", "id"],
            "nobody: this host has no account no-such-account; with --groups it would be an ordinary one\n"
        ),
        (
            ["--as", "bob", "--groups", "", "--", "./\u{1B}[2J"],
            "nobody: the '[' at column 4 needs a shell, and no permit with `run shell` is for bob\n"
        ),
        (
            ["--as", "bob", "--groups", "", "--", "./\u{1B}"],
            "nobody: './\\x1b' is no absolute path without '.' and '..'; no permit lets anybody run this as bob\n"
        ),
    ])
    func nobodyIsAnAnswerInWords(_ arguments: [String], _ sentence: String) throws {
        let run = try CommandRun(["who-can", "--policy", site] + arguments).result()
        #expect(run.status == 0)
        #expect(run.output == sentence)
        let json = try CommandRun(["who-can", "--json", "--policy", site] + arguments).result()
        #expect(json.status == 0)
        #expect(json.output == "[]\n")
    }

    @Test func aServiceThatIsOffIsSaid() throws {
        try place.write("site.policy", Self.policy.replacing("securetcpip off", with: "securetcpip on"))
        let run = try ask("what-can", "--by", "alice", "--from", "10.1.2.3", "--service", "rsh")
        #expect(run.output == "nothing: securetcpip has rsh off; `securetcpip on except rsh` gives it back\n")
    }

    // MARK: what-can

    @Test func whatCanSaysThatRexecAsksForAPassword() throws {
        let run = try ask("what-can", "--by", "alice", "--from", "10.1.2.3")
        #expect(run.status == 0)
        #expect(
            run.output == """
                RULE    SERVICE  BY                               AS             RUN              DURING    SANDBOX  AT
                uptime  rsh      alice                            same           /usr/bin/uptime  any time  strict   \(site):10
                ops     any      alice, whoever has the password  backup, alice  shell            any time  strict   \(site):11

                """)
        let rows = try rows(ask("what-can", "--json", "--by", "mallory", "--from", "2001:db8:20::1"))
        #expect(rows.count == 1)
        #expect(rows[0]["password"] as? Bool == true)
        #expect(rows[0]["by"] is NSNull)
        #expect(rows[0]["as"] as? [String] == ["backup"])
        #expect(rows[0]["run"] as? [String] == ["/usr/bin/id", "/usr/bin/wc é"].map { $0.replacing("é", with: "'é'") })
    }

    @Test func nothingIsAnAnswerInWords() throws {
        let run = try ask("what-can", "--by", "alice", "--from", "192.0.2.1")
        #expect(run.status == 0)
        #expect(run.output == "nothing: no permit is for alice at 192.0.2.1\n")
        #expect(try ask("what-can", "--json", "--from", "192.0.2.1").output == "[]\n")
        let forbidden = try ask("what-can", "--from", "10.66.1.1")
        #expect(forbidden.output.hasPrefix("nothing: what permits anything is forbidden\nleft out: ops ("))
    }

    @Test func noByteOfAPolicyReachesATerminalRaw() throws {
        let run = try ask("what-can", "--from", "10.20.0.1", "--service", "rexec")
        #expect(run.output.contains("\\xc3\\xa9"))
        #expect(run.output.utf8.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) })
        try place.write("\u{1B}[2J.policy", Self.policy)
        for arguments in [
            ["who-can", "--as", "alice", "--groups", "", "--", "/usr/bin/uptime"],
            ["what-can", "--from", "10.1.2.3"],
            [
                "explain", "--service", "rsh", "--from", "10.1.2.3", "--by", "alice", "--as", "alice", "--groups", "",
                "--",
                "/usr/bin/uptime",
            ],
        ] {
            let policy = ["--policy", place.directory + "/\u{1B}[2J.policy"]
            let hostile = try CommandRun([arguments[0]] + policy + arguments.dropFirst()).result()
            #expect(hostile.output.contains("\\x1b[2J.policy"))
            // The one character of ours that is not ASCII stands in a short revision.
            let output = hostile.output.replacing("…", with: "")
            #expect(output.utf8.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) })
        }
    }

    // MARK: explain

    private func explain(_ arguments: String...) throws -> CommandRun.Result {
        try CommandRun(["explain", "--policy", site, "--service", "rexec"] + arguments).result()
    }

    @Test func aNearMissSaysWhatDiffers() throws {
        let hours = try explain(
            "--from", "2001:db8:20::1", "--as", "backup", "--groups", "", "--at", "2026-11-20T12:00", "--",
            "/usr/bin/id")
        #expect(hours.output.contains("  nearest: dump would match after 22:00 (mon-fri 22:00-04:00)"))
        let run = try explain(
            "--from", "2001:db8:20::1", "--as", "backup", "--groups", "", "--at", "2026-11-20T23:00", "--",
            "/usr/bin/id -u")
        #expect(run.output.contains("  nearest: dump would match for /usr/bin/id"))
        #expect(!run.output.contains("  nearest: dump would match for /usr/bin/id,"))
        #expect(run.output.contains("\n           but argument 1 '-u' is too many\n"))
    }

    @Test func whatMissesByTwoClausesIsSaidWhereNothingIsNearer() throws {
        let run = try explain(
            "--from", "10.21.1.1", "--as", "carol", "--groups", "", "--at", "2026-11-20T23:00", "--", "/usr/bin/uptime")
        #expect(run.output.contains("  nearest: ops would match as backup, alice"))
        try place.write(
            "site.policy",
            Self.policy.replacing("10.0.0.0/8 by any as { backup, alice }", with: "192.0.2.1 by any as bob"))
        let far = try explain(
            "--from", "10.21.1.1", "--as", "carol", "--groups", "", "--at", "2026-11-20T23:00", "--", "/usr/bin/uptime")
        #expect(far.output.contains(" and "))
        let json = try explain(
            "--json", "--from", "10.21.1.1", "--as", "carol", "--groups", "", "--at", "2026-11-20T23:00", "--",
            "/usr/bin/uptime")
        #expect(((try json.json as? [String: Any])?["nearMisses"] as? [Any])?.isEmpty == true)
    }

    @Test func aForbidThatOverrulesIsNamedWithThePermitThatItOverrules() throws {
        let run = try explain("--from", "10.66.1.1", "--as", "backup", "--groups", "", "--", "/usr/bin/id")
        #expect(run.output.contains("\n  without it ops (\(site):11) would permit this\n"))
        #expect(!run.output.contains("nearest:"))
        let neither = try explain("--from", "10.66.1.1", "--as", "carol", "--groups", "", "--", "/usr/bin/id")
        #expect(neither.output.contains("\n  without it no permit would match either\n"))
        #expect(neither.output.contains("           but contractors (\(site):13) forbids that\n"))
    }

    @Test func aSecondForbidThatMatchesIsNamedInPlaceOfAPermit() throws {
        try place.write("site.policy", Self.policy + "forbid backups: rexec as backup\n")
        let both = try explain("--from", "10.66.1.1", "--as", "backup", "--groups", "", "--", "/usr/bin/id")
        #expect(both.output.contains("\n  without it backups (\(site):14) would forbid this too\n"))
        #expect(!both.output.contains("would permit"))
        try place.write("site.policy", Self.policy.replacing("service rexec { enable }", with: ""))
        let off = try explain("--from", "10.66.1.1", "--as", "backup", "--groups", "", "--", "/usr/bin/id")
        #expect(off.output.contains("; then contractors (\(site):13) would forbid this too\n"))
        #expect(!off.output.contains("would permit"))
    }

    @Test func anAccountThatIsHereStaysWhatItIsWithOtherGroups() throws {
        // daemon is a system account on every Debian, which `any` leaves out.
        try place.write("site.policy", "service rexec { enable }\npermit wide: rexec from any as any run any\n")
        for groups in [[], ["--groups", "users"]] {
            let run = try CommandRun(
                ["explain", "--policy", site, "--service", "rexec", "--from", "10.1.1.1", "--as", "daemon"] + groups
                    + ["--", "/usr/bin/id"]
            ).result()
            #expect(run.status == 3, "\(groups)")
        }
    }

    @Test func anRSHRequestHasARemoteUser() throws {
        let run = try ask("explain", "--service", "rsh", "--from", "10.1.2.3", "--as", "alice", "--", "/usr/bin/uptime")
        #expect(run.status == 64)
        #expect(run.error.contains("--by"))
    }

    // MARK: Every verb

    @Test(arguments: ["check", "explain", "test", "fmt", "who-can", "what-can", "replay"])
    func helpHasAnExampleAndWrongUsageIs64(_ verb: String) throws {
        let help = try portcullis(verb, "--help")
        #expect(help.status == 0)
        #expect(help.output.contains("EXAMPLE"))
        #expect(help.output.contains("  portcullis \(verb) "))
        let wrong = try portcullis(verb, "--no-such-option\u{1B}[2J")
        #expect(wrong.status == 64)
        #expect(wrong.output.isEmpty)
        #expect(wrong.error.utf8.allSatisfy { $0 == 0x0A || $0 == 0x09 || (0x20...0x7E).contains($0) })
    }

    @Test(arguments: [
        ["who-can", "--as", "a"], ["who-can", "--", "id"], ["who-can", "--as", "-", "--", "id"],
        ["who-can", "--as", "a", "--at", "noon", "--", "id"], ["who-can", "--as", "a", "--service", "ssh", "--", "id"],
        ["what-can", "--by", "a"], ["what-can", "--from", "host"], ["what-can", "--from", "10.0.0.1", "--groups", "a"],
        ["what-can", "--from", "10.0.0.1", "--by", "a", "--service", "rexec"],
        ["what-can", "--from", "10.0.0.1", "--by", "a b"], ["replay"],
    ])
    func aQuestionThatIsNoneIsAUsageError(_ arguments: [String]) throws {
        let run = try CommandRun(arguments).result()
        #expect(run.status == 64, "\(arguments): \(run.output) \(run.error)")
    }
}
