// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// `portcullis check`, `explain`, `test` and `fmt`, as people run them.
@Suite struct PolicyVerbTests {
    private let place: SitePolicy

    private static let policy = """
        securetcpip off

        service rexec {
            enable
        }

        service rsh {
            enable
            trust file "rhosts"
        }

        networks mainframes = { 10.20.0.0/16 }
        commands dumps = { "/usr/sbin/dump 0uf - <path /home>", "/usr/bin/id" }

        permit nightly-dump: rexec from @mainframes as backup run @dumps sandbox standard
        permit uptime: rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime"
        forbid contractors: any from 10.66.0.0/16

        """

    init() throws {
        place = try SitePolicy(Self.policy)
    }

    private var site: String { place.path }

    private func explain(_ arguments: String...) throws -> CommandRun.Result {
        try CommandRun(["explain", "--policy", site] + arguments).result()
    }

    // MARK: check

    @Test func aGoodPolicyIsGood() throws {
        let run = try portcullis("check", site)
        #expect(run.status == 0)
        #expect(run.error.isEmpty)
        #expect(run.output.hasPrefix("\(site): 3 rules, sha256:"))
    }

    @Test func errorsAreOnStandardErrorWithLineAndCaret() throws {
        try place.write("bad.policy", "permit dump: rexec from 10.20.0.1/16 as backup run any\n")
        let run = try portcullis("check", place.directory + "/bad.policy")
        #expect(run.status == 1)
        #expect(run.output.isEmpty)
        #expect(
            run.error == """
                \(place.directory)/bad.policy:1:25: error: 10.20.0.1/16 has host bits set
                permit dump: rexec from 10.20.0.1/16 as backup run any
                                        ^~~~~~~~~~~~ did you mean 10.20.0.0/16?
                1 error; not loaded

                """)
    }

    @Test func checkHasJSON() throws {
        try place.write("bad.policy", "permt x")
        let run = try portcullis("check", "--json", place.directory + "/bad.policy")
        #expect(run.status == 1)
        let json = try #require(try run.json as? [String: Any])
        #expect(json["good"] as? Bool == false)
        #expect(json["errors"] as? Int == 1)
        let first = try #require((json["diagnostics"] as? [[String: Any]])?.first)
        #expect(first["line"] as? Int == 1)
        #expect(first["hint"] as? String == "did you mean permit?")
    }

    @Test func aFileThatOthersMayWriteIsNotLoadedAndCheckSaysSo() throws {
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: site)
        let run = try portcullis("check", site)
        #expect(run.status == 1)
        #expect(run.error.contains("is writable by group or others"))
    }

    @Test func aFileThatIsNotThereIsAFailureAndNoDefect() throws {
        let run = try portcullis("check", place.directory + "/none.policy")
        #expect(run.status == 1)
        #expect(run.error.contains("cannot read the policy"))
    }

    @Test func includesAreReadBesideTheFile() throws {
        try place.write("top.policy", "include \"rules.d/*.policy\"\n")
        try place.write("rules.d/b.policy", "forbid b: any\n")
        try place.write("rules.d/a.policy", "forbid a: any as root\n")
        let run = try portcullis("fmt", "--canonical", place.directory + "/top.policy")
        #expect(run.output == "forbid a: any as root\nforbid b: any\n")
        try place.write("out.policy", "include \"../site.policy\"\n")
        #expect(try portcullis("check", place.directory + "/out.policy").status == 1)
        try place.write("gone.policy", "include \"gone.d/x.policy\"\n")
        #expect(try portcullis("check", place.directory + "/gone.policy").status == 1)
    }

    @Test func anIncludeThatIsNoFileIsRefused() throws {
        try place.write("top.policy", "include \"pipe\"\n")
        try #require(unsafe mkfifo(place.directory + "/pipe", 0o600) == 0)
        let run = try portcullis("check", place.directory + "/top.policy")
        #expect(run.status == 1)
        #expect(run.error.contains("not a regular file"))
    }

    @Test func theNameOfAFileReachesATerminalInAPrintableForm() throws {
        let name = "\u{1B}]0;x\u{7}.policy"
        try place.write("top.policy", "include \"*x*\"\npermit all: rexec from any as alice run any\n")
        try place.write(name, "service rexec { enable }\npermit late: rexec from 10.1.1.1 as alice run any\nx\n")
        let bad = try portcullis("check", place.directory + "/top.policy")
        #expect(bad.status == 1)
        #expect(bad.error.contains("/\\x1b]0;x\\x07.policy:3:1: error:"))
        try place.write(name, "service rexec { enable }\npermit early: rexec from any as alice run any\n")
        let good = try portcullis("check", place.directory + "/top.policy")
        #expect(good.error.contains("/\\x1b]0;x\\x07.policy:2)"))
        let other = try portcullis("diff", place.directory + "/top.policy", site)
        for run in [bad, good, other] {
            #expect((run.output + run.error).utf8.allSatisfy { $0 == 0x0A || $0 >= 0x20 && $0 != 0x7F })
        }
    }

    // MARK: explain

    @Test func aPermitIsShownWithItsRuleItsPlaceAndItsSandbox() throws {
        let run = try explain(
            "--service", "rexec", "--from", "10.20.3.4", "--as", "backup", "--groups", "", "--",
            "/usr/sbin/dump 0uf - /home/x")
        #expect(run.status == 0)
        let lines = run.output.split(separator: "\n").map { String($0) }
        #expect(lines.first?.hasPrefix("permit  nightly-dump ") == true)
        #expect(lines.first?.hasSuffix(" \(site):15") == true)
        #expect(lines.dropFirst().first == "  rexec from 10.20.3.4 as backup")
        #expect(lines.contains("  runs  /usr/sbin/dump 0uf - /home/x        (4 words, no shell)"))
        #expect(lines.contains("  in    sandbox standard"))
        #expect(lines.last?.hasPrefix("  policy sha256:") == true)
    }

    @Test func explainsJSONIsAsTheContractHasIt() throws {
        let run = try explain(
            "--json", "--service", "rsh", "--from", "10.1.2.9:1023", "--by", "alice", "--as", "alice", "--groups",
            "users",
            "--", "/usr/bin/uptime")
        #expect(run.status == 3)
        let json = try #require(try run.json as? [String: Any])
        #expect(Set(json.keys) == ["decision", "reason", "rule", "at", "sandbox", "revision", "nearMisses"])
        #expect(json["decision"] as? String == "deny")
        #expect(json["reason"] as? String == "no-rule")
        #expect(json["rule"] is NSNull)
        #expect(json["at"] is NSNull)
        #expect(json["sandbox"] is NSNull)
        #expect((json["revision"] as? String)?.hasPrefix("sha256:") == true)
        let misses = try #require(json["nearMisses"] as? [[String: String]])
        #expect(misses == [["rule": "uptime", "clause": "from", "wanted": "10.1.2.3"]])
    }

    @Test func aPermitsJSONNamesRulePlaceAndSandbox() throws {
        let run = try explain(
            "--json", "--service", "rexec", "--from", "10.20.3.4", "--as", "backup", "--groups", "", "--", "/bin/id")
        #expect(run.status == 0)
        let json = try #require(try run.json as? [String: Any])
        #expect(json["decision"] as? String == "permit")
        #expect(json["reason"] is NSNull)
        #expect(json["rule"] as? String == "nightly-dump")
        #expect(json["at"] as? String == "\(site):15")
        #expect(json["sandbox"] as? String == "standard")
        #expect((json["nearMisses"] as? [Any])?.isEmpty == true)
    }

    @Test func whatNeedsAShellSaysWhere() throws {
        let run = try explain(
            "--service", "rexec", "--from", "10.20.3.4", "--as", "backup", "--groups", "", "--", "/usr/bin/id; id")
        #expect(run.status == 3)
        #expect(run.output.hasPrefix("deny    needs-shell\n"))
        #expect(run.output.contains("the ';' at column 12 needs a shell"))
        #expect(run.output.contains("nearest: nightly-dump would match without it"))
    }

    @Test func aForbidIsNamed() throws {
        let run = try explain(
            "--json", "--service", "rexec", "--from", "10.66.0.1", "--as", "backup", "--groups", "", "--", "/usr/bin/id"
        )
        let json = try #require(try run.json as? [String: Any])
        #expect(json["reason"] as? String == "forbidden")
        #expect(json["rule"] as? String == "contractors")
    }

    @Test func anAccountThatThisHostLacksIsUnknown() throws {
        let run = try explain(
            "--json", "--service", "rexec", "--from", "10.20.3.4", "--as", "no-such-account", "--", "/usr/bin/id")
        #expect(run.status == 3)
        #expect(try (run.json as? [String: Any])?["reason"] as? String == "unknown-user")
    }

    @Test func theRevisionIsTheDigestOfTheCanonicalText() throws {
        let canonical = try portcullis("fmt", "--canonical", site).output
        #expect(canonical == (try portcullis("fmt", site).output))
        try place.write("same.policy", "# a comment\n" + Self.policy.replacing("\n\n", with: "\n\n\n"))
        let one = try portcullis("check", "--json", site).json as? [String: Any]
        let other = try portcullis("check", "--json", place.directory + "/same.policy").json as? [String: Any]
        #expect(one?["revision"] as? String != nil)
        #expect(one?["revision"] as? String == other?["revision"] as? String)
    }

    @Test(arguments: [
        ["--service", "ftp", "--from", "10.0.0.1", "--as", "a", "--", "id"],
        ["--service", "rexec", "--from", "host", "--as", "a", "--", "id"],
        ["--service", "rexec", "--from", "10.0.0.1", "--as", "-a", "--", "id"],
        ["--service", "rexec", "--from", "10.0.0.1", "--as", "a", "--by", "b", "--", "id"],
        ["--service", "rexec", "--from", "10.0.0.1", "--as", "a", "--at", "noon", "--", "id"],
        ["--service", "rexec", "--from", "10.0.0.1", "--as", "a"], ["--from", "10.0.0.1", "--as", "a", "--", "id"],
    ])
    func aQuestionThatIsNoneIsAUsageError(_ arguments: [String]) throws {
        #expect(try CommandRun(["explain", "--policy", site] + arguments).result().status == 64)
    }

    // MARK: test

    @Test func policyTestsPassOrSayWhatThePolicySays() throws {
        try place.write("site.test", "expect permit nightly-dump: rexec from 10.20.0.5 as backup run \"id\"\n")
        let good = try portcullis("test", place.directory + "/site.test")
        #expect(good.status == 0)
        #expect(good.output == "1 test passed\n")
        try place.write("site.test", "\nexpect deny no-rule: rexec from 10.20.0.5 as backup run \"id\"\n")
        let bad = try portcullis("test", place.directory + "/site.test")
        #expect(bad.status == 1)
        #expect(
            bad.error.contains(
                "\(place.directory)/site.test:2: expected deny no-rule, and the policy says permit nightly-dump"))
        // Why the rule that was expected does not match, and where the one stands that does.
        let far = "expect permit uptime: rsh from 10.1.2.9 by alice as alice run \"uptime\""
        let near = "expect deny no-rule: rexec from 10.20.0.5 as backup run \"id\""
        try place.write("site.test", "\(far)\n\(near)\n")
        let both = try portcullis("test", site)
        #expect(
            both.error == """
                portcullis: \(place.directory)/site.test:1: expected permit uptime, and the policy says deny no-rule
                    \(far)
                    uptime would match from 10.1.2.3
                portcullis: \(place.directory)/site.test:2: expected deny no-rule, and the policy says permit nightly-dump (\(site):15)
                    \(near)
                portcullis: 0 tests passed, 2 failed

                """)
        let json = try #require(try portcullis("test", "--json", site).json as? [String: Any])
        let tests = try #require(json["tests"] as? [[String: Any]])
        #expect(tests.map { $0["actual"] as? String } == ["deny no-rule", "permit nightly-dump"])
        #expect(tests[0]["actualAt"] is NSNull)
        #expect(tests[1]["actualAt"] as? String == "\(site):15")
        try place.write("other.policy", "service rexec { enable }\n")
        let other = try portcullis(
            "test", "--policy", place.directory + "/other.policy", place.directory + "/site.test")
        #expect(other.error.contains("site.test:1: expected permit uptime, and the policy says deny service-disabled"))
        try place.write("site.test", "expct\n")
        #expect(try portcullis("test", place.directory + "/site.test").status == 1)
    }

    // MARK: fmt

    @Test func fmtChecksAndPrints() throws {
        #expect(try portcullis("fmt", "--check", site).status == 0)
        try place.write("loose.policy", "forbid   a:  any # why\n")
        let loose = place.directory + "/loose.policy"
        #expect(try portcullis("fmt", loose).output == "forbid a: any  # why\n")
        let check = try portcullis("fmt", "--check", loose)
        #expect(check.status == 1)
        #expect(check.output.isEmpty)
        #expect(check.error.contains("loose.policy:1: not in canonical form"))
        try place.write("bad.policy", "forbid\n")
        let bad = try portcullis("fmt", place.directory + "/bad.policy")
        #expect(bad.status == 1)
        #expect(bad.output.isEmpty)
        #expect(bad.error.hasSuffix("1 error; not formatted\n"))
    }

    @Test func fmtHasJSON() throws {
        try place.write("loose.policy", "forbid a: any\nforbid   b:  any # é\n")
        let loose = try portcullis("fmt", "--json", place.directory + "/loose.policy")
        #expect(loose.status == 0)
        let json = try #require(try loose.json as? [String: Any])
        #expect(json["text"] as? String == "forbid a: any\nforbid b: any  # é\n")
        #expect(json["canonical"] as? Bool == false)
        #expect(json["line"] as? Int == 2)
        let check = try portcullis("fmt", "--check", "--json", place.directory + "/loose.policy")
        #expect(check.status == 1)
        #expect((try check.json as? [String: Any])?["text"] is NSNull)
        try place.write("bad.policy", "forbid\n")
        let bad = try portcullis("fmt", "--json", place.directory + "/bad.policy")
        #expect(bad.status == 1)
        let object = try #require(try bad.json as? [String: Any])
        #expect(object["good"] as? Bool == false)
        #expect((object["diagnostics"] as? [Any])?.count == 1)
    }
}
