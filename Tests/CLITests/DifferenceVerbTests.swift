// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// `portcullis diff`, as people run it.
@Suite struct DifferenceVerbTests {
    private let place: TemporaryDirectory

    private static let policy = """
        securetcpip off
        service rexec { enable }
        service rsh {
            enable
            trust file "rhosts"
        }
        networks mainframes = { 10.20.0.0/16 }
        permit nightly: rexec from @mainframes as backup run "/usr/bin/dump <path /home>" during mon-fri 22:00-24:00
        permit uptime: rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime"
        permit all: rexec from 10.1.0.0/16 as alice run shell sandbox standard
        forbid contractors: any from 10.66.0.0/16

        """

    init() throws {
        place = try TemporaryDirectory()
    }

    private func difference(_ new: String, _ options: String...) throws -> CommandRun.Result {
        try place.write(Array(Self.policy.utf8), to: "old.policy")
        try place.write(Array(new.utf8), to: "new.policy")
        return try CommandRun(["diff"] + options + [place.path + "/old.policy", place.path + "/new.policy"]).result()
    }

    @Test("the same policy in other words and another order is the same")
    func theSamePolicyIsTheSame() throws {
        let lines = Self.policy.split(separator: "\n").map { String($0) }
        let run = try difference("# moved\n" + (lines.dropLast(4) + lines.suffix(4).reversed()).joined(separator: "\n"))
        #expect(run.status == 0)
        #expect(run.error.isEmpty)
        #expect(run.output.hasSuffix("no request is decided differently\n"))
    }

    @Test("each rule that differs has its places, a request and both decisions")
    func eachRuleThatDiffersHasAWitness() throws {
        let new = Self.policy.replacing("10.20.0.0/16", with: "10.21.0.0/16").replacing(
            "permit uptime", with: "permit up")
        let run = try difference(new)
        #expect(run.status == 1)
        let lines = run.output.split(separator: "\n").map { String($0) }
        let nightly = try #require(lines.firstIndex { $0.hasPrefix("changed  nightly") })
        #expect(lines[nightly].hasSuffix("old.policy:8 → \(place.path)/new.policy:8"))
        #expect(
            lines[(nightly + 1)...].prefix(3) == [
                "  rexec from 10.21.0.0 as backup run \"/usr/bin/dump /home/file\" at 2026-11-23T22:00",
                "    before  deny no-rule", "    after   permit nightly in sandbox strict",
            ])
        let removed = try #require(lines.firstIndex { $0.hasPrefix("removed  uptime") })
        #expect(lines[removed + 1] == "  decides no request differently")
    }

    @Test("a forbid of commands that changes nothing is told with links left aside")
    func linksAreLeftAside() throws {
        let alone = try difference(
            Self.policy + "forbid rest: rsh from 10.66.1.1\nforbid id: rexec from 10.66.0.0/16 run \"/usr/bin/x\"\n")
        #expect(alone.status == 0)
        let lines = alone.output.split(separator: "\n").map { String($0) }
        let rest = try #require(lines.firstIndex { $0.hasPrefix("added    rest") })
        #expect(lines[rest + 1] == "  decides no request differently")
        let id = try #require(lines.firstIndex { $0.hasPrefix("added    id") })
        #expect(lines[id + 1] == "  decides no request differently, links aside")
        #expect(alone.output.hasSuffix("no request is decided differently, links aside\n"))
    }

    @Test("settings that differ are told in a policy's words, and make a difference alone")
    func settingsThatDifferAreTold() throws {
        let run = try difference(Self.policy.replacing("trust file \"rhosts\"", with: "trust rule"))
        #expect(run.status == 1)
        #expect(run.output == "service rsh: trust  file \"rhosts\" → rule\nonly settings differ\n")
        let off = try difference(Self.policy.replacing("securetcpip off", with: "securetcpip on"))
        #expect(off.output.hasPrefix("securetcpip  off → on\nservice rsh  on → off\n"))
        #expect(off.output.contains("    before  permit uptime in sandbox strict\n    after   deny service-disabled\n"))
    }

    @Test("the JSON says whether the policies are the same, and why not")
    func theJSONSaysWhyNot() throws {
        let run = try difference(Self.policy.replacing("run shell sandbox standard", with: "run any"), "--json")
        #expect(run.status == 1)
        let json = try #require(try run.json as? [String: Any])
        #expect(json["same"] as? Bool == false)
        #expect((json["settings"] as? [Any])?.isEmpty == true)
        let rows = try #require(json["rules"] as? [[String: Any]])
        #expect(rows.map { $0["rule"] as? String } == ["all"])
        #expect(rows.first?["change"] as? String == "changed")
        #expect(rows.first?["outcome"] as? String == "different")
        #expect((rows.first?["before"] as? [String: Any])?["sandbox"] as? String == "standard")
    }

    @Test("a policy with an error is told as check tells it, and a missing argument is wrong usage")
    func errorsAreTold() throws {
        let run = try difference("permt x")
        #expect(run.status == 1)
        #expect(run.output.isEmpty)
        #expect(run.error.contains("new.policy:1:1: error:"))
        #expect(try portcullis("diff", place.path + "/old.policy").status == 64)
    }
}
