// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import TestSupport
import Testing

@testable import CLI

/// `portcullis trust check`: each file is judged as the gateway judges it, and each line is explained.
@Suite(.serialized, .enabled(if: Linux.Process.isRoot, "needs root: it gives files away")) struct TrustCheckTests {
    private let fake: FakeHost
    private static let reading = PolicyChoice(except: [.rsh, .rhosts], enabled: [.rsh])

    init() throws {
        fake = try FakeHost()
        try fake.addAccount("bob")
    }

    /// A line of a report's JSON.
    private struct Line: Decodable {
        var line: Int
        var text: String
        var effect: String
        var meaning: String?
        var problem: String?
        var shadowedBy: Int?
        var warnings: [String]
    }

    private struct FileReport: Decodable {
        var path: String
        var account: String?
        var state: String
        var reason: String?
        var lines: [Line]
    }

    private struct Report: Decodable {
        var acceptable: Bool
        var reads: String
        var files: [FileReport]
    }

    /// What is reported as JSON, and as lines of text.
    private func reported(_ choice: PolicyChoice, names: [String]? = nil) async throws -> [String] {
        let result = await #expect(processExitsWith: .exitCode(0), observing: [\.standardOutputContent]) {
            [parts = fake.parts as FakeHost.Parts, choice = choice as PolicyChoice, names = names as [String]?] in
            let policy = try choice.policy
            let text = try inChild {
                let report = TrustReport(host: parts.host, policy: policy, names: names)
                return report.json.text + "\u{0}" + report.lines(Output()).joined(separator: "\n")
            }
            try StandardStreams.output.writeAll(Array(text.utf8))
        }
        return try output(of: result).split(separator: "\u{0}", omittingEmptySubsequences: false).map(String.init)
    }

    private func report(_ policy: PolicyChoice = reading, names: [String]? = nil) async throws -> Report {
        let text = try #require(try await reported(policy, names: names).first)
        return try JSONDecoder().decode(Report.self, from: Data(text.utf8))
    }

    private func text(_ policy: PolicyChoice = reading) async throws -> String {
        try #require(try await reported(policy).last)
    }

    private func rhosts(_ text: String, mode: Int = 0o600) throws {
        try fake.write("/home/bob/.rhosts", text, mode: mode)
        try fake.give("/home/bob/.rhosts")
    }

    @Test func eachLineSaysWhatItGrants() async throws {
        try fake.write("/etc/hosts.equiv", "# ours\n10.1.2.3\n10.1.2.4 alice\n")
        try rhosts("10.1.2.3 alice\n-10.1.2.5\n10.1.2.5 carol\n2001:db8::1\n")
        let report = try await report()
        #expect(report.acceptable)
        #expect(report.reads == "hosts.equiv and .rhosts are read; names refuse")
        #expect(report.files.map(\.path) == ["/etc/hosts.equiv", "/home/bob/.rhosts"])
        #expect(report.files.map(\.state) == ["accepted", "accepted"])
        let host = try #require(report.files.first)
        #expect(host.lines.map(\.line) == [2, 3])
        #expect(
            host.lines.map(\.meaning) == [
                "trusts each account's namesake at 10.1.2.3", "trusts alice at 10.1.2.4 as any account but uid 0",
            ])
        #expect(host.lines.map(\.warnings.count) == [0, 1])
        let own = try #require(report.files.last)
        #expect(own.account == "bob")
        #expect(own.lines.map(\.effect) == ["trusts", "denies", "shadowed", "trusts"])
        #expect(own.lines.map(\.shadowedBy) == [nil, nil, 2, nil])
        #expect(own.lines.first?.meaning == "trusts alice at 10.1.2.3 as bob")
        let text = try await text()
        #expect(text.contains("     1  trusts alice at 10.1.2.3 as bob"))
        #expect(text.contains("the policy must permit the request besides"))
    }

    @Test(arguments: [
        ("10.1.2.3\n+\n", "line 2: '+' is never honoured"), ("+@hosts\n", "line 1: netgroups are never honoured"),
        ("build alice\n", "line 1: a host name where the policy says 'names refuse'"),
        ("012.1.2.3\n", "line 1: an address that is not in canonical form"),
        ("10.1.2.3 \u{1B}]0;owned\u{7}\n", "line 1: a control byte"),
    ])
    func aLineThatRejectsTheFileIsNamed(text: String, reason: String) async throws {
        try rhosts(text)
        let report = try await report()
        #expect(!report.acceptable)
        let file = try #require(report.files.first)
        #expect(file.state == "rejected")
        #expect(file.reason == reason)
        #expect(file.lines.allSatisfy { $0.effect == "rejected" || $0.effect == "void" })
        #expect(try await !self.text().utf8.contains(0x1B))
    }

    @Test func namesAreTakenWhereThePolicyResolvesThem() async throws {
        try rhosts("build alice\n")
        try fake.write("/etc/hosts", "10.1.2.3 build\n")
        let policy = PolicyChoice(except: [.rsh, .rhosts], enabled: [.rsh], names: .hostsFile)
        let report = try await report(policy)
        #expect(report.acceptable)
        #expect(report.files.first?.lines.first?.warnings == ["who answers for that name decides"])
        #expect(report.files.map(\.path) == ["/home/bob/.rhosts", "/etc/hosts"])
    }

    @Test func theFileThatResolvesNamesIsJudgedAsTrustFilesAre() async throws {
        let policy = PolicyChoice(except: [.rsh, .rhosts], enabled: [.rsh], names: .hostsFile)
        #expect(try await report(policy).files.first?.reason == "not there")
        try fake.write("/etc/hosts", "10.1.2.3 build\n", mode: 0o666)
        let report = try await report(policy)
        #expect(!report.acceptable)
        #expect(report.files.first?.state == "rejected")
        #expect(try await text(policy).contains("no name in a trust file is resolved"))
        // Where no name is resolved it does not matter.
        #expect(try await self.report().files.isEmpty)
    }

    @Test(arguments: [UInt32(0o620), 0o602, 0o666])
    func aFileThatOthersCanWriteIsRejected(mode: UInt32) async throws {
        try rhosts("10.1.2.3\n", mode: Int(mode))
        let report = try await report()
        #expect(report.files.first?.reason == "is writable by group or others")
        #expect(report.files.first?.lines.isEmpty == true)
        #expect(!report.acceptable)
    }

    @Test func aFileOfAnothersIsRejected() async throws {
        try rhosts("10.1.2.3\n", mode: 0o644)
        try fake.give("/home/bob/.rhosts", uid: FakeHost.uid + 1)
        #expect(try await report().files.first?.reason == "belongs to uid \(FakeHost.uid + 1)")
    }

    @Test func aFileWithASecondNameIsRejected() async throws {
        try rhosts("10.1.2.3\n")
        try FileManager.default.linkItem(
            atPath: fake.place.path + "/home/bob/.rhosts", toPath: fake.place.path + "/home/bob/other")
        #expect(try await report().files.first?.reason == "has 2 links")
    }

    @Test func aFileOverTheLimitIsRejected() async throws {
        try rhosts(String(repeating: "#\n", count: 40_000))
        #expect(try await report().files.first?.reason?.contains("80000 bytes") == true)
    }

    @Test func aHomeThatOthersCanWriteRejectsItsFile() async throws {
        try rhosts("10.1.2.3\n")
        try fake.setMode("/home/bob", 0o775)
        #expect(try await report().files.first?.reason?.hasSuffix("is writable by group or others") == true)
    }

    /// A link in a home leads nobody to what its owner may not read.
    @Test func aLinkIsNotFollowed() async throws {
        try fake.write("/root/secret", "10.1.2.3 canary\n", mode: 0o600)
        try fake.link("/home/bob/.rhosts", to: fake.place.path + "/root/secret")
        let report = try await report()
        #expect(report.files.first?.state == "rejected")
        #expect(try await !text().contains("canary"))
    }

    @Test func aFileThatOnlyRootCanReadInAHomeStaysUnread() async throws {
        try fake.write("/home/bob/.rhosts", "10.1.2.3 canary\n", mode: 0o600)
        let report = try await report()
        #expect(report.files.first?.state == "rejected")
        #expect(try await !text().contains("canary"))
    }

    /// Its own account may not enter the home: the gateway cannot read the file, and it is there all the same.
    @Test func aFileInAHomeThatItsAccountMayNotEnterIsTold() async throws {
        try rhosts("10.1.2.3 canary\n")
        try fake.give("/home/bob", uid: 0)
        try fake.setMode("/home/bob", 0o700)
        let file = try #require(try await report().files.first)
        #expect(file.state == "rejected")
        #expect(file.reason?.contains("Permission denied") == true)
        #expect(try await !text().contains("canary"))
    }

    @Test func whatIsNotAskedForAndAbsentIsNotTold() async throws {
        #expect(try await report().files.isEmpty)
        #expect(try await report().acceptable)
        #expect(try await report(names: ["bob"]).files.map(\.state) == ["absent"])
    }

    @Test func sshdsFilesAreDangerous() async throws {
        try fake.write("/etc/ssh/shosts.equiv", "10.1.2.3\n")
        try fake.write("/home/bob/.shosts", "10.1.2.3\n")
        let report = try await report()
        #expect(report.files.map(\.state) == ["dangerous", "dangerous"])
        #expect(!report.acceptable)
    }

    @Test func theCentralFileIsJudgedByItsOwnGrammar() async throws {
        try fake.write("/etc/portcullis/rhosts", "10.1.2.3 alice bob\n")
        let path = ByteText(fake.place.path + "/etc/portcullis/rhosts")
        let policy = PolicyChoice(except: [.rsh], enabled: [.rsh], trust: .file(path))
        #expect(try await report(policy).files.first?.lines.first?.meaning == "trusts alice at 10.1.2.3 as bob")
        try fake.write("/etc/portcullis/rhosts", "10.1.2.3 alice\n")
        #expect(try await report(policy).files.first?.reason == "line 1: too few fields")
        try fake.remove("/etc/portcullis/rhosts")
        #expect(try await report(policy).files.first?.state == "rejected")
    }

    @Test(arguments: [
        (PolicyChoice(enabled: [.rsh]), "none is read: securetcpip is on"),
        (PolicyChoice(secureTCPIP: false), "none is read: service rsh is disabled"),
        (
            PolicyChoice(except: [.rsh], enabled: [.rsh]),
            "none is read: securetcpip is on without 'except rhosts'"
        ),
        (
            PolicyChoice(except: [.rsh], enabled: [.rsh], trust: .rule),
            "none is read: trust rule, the permit itself is the trust"
        ),
        (PolicyChoice(secureTCPIP: false, enabled: [.rsh]), "hosts.equiv and .rhosts are read; names refuse"),
    ])
    func itSaysWhetherThePolicyReadsAnyOfIt(policy: PolicyChoice, reads: String) async throws {
        #expect(try await report(policy).reads == reads)
    }
}

/// The verb as people run it, on this host.
@Suite struct TrustCheckVerbTests {
    @Test func helpHasAnExample() throws {
        let help = try portcullis("trust", "check", "--help")
        #expect(help.status == 0)
        #expect(help.output.contains("portcullis trust check --all"))
    }

    @Test(arguments: [["alice", "--all"], ["-x"], ["a b"], ["--no-such"]])
    func whatCannotBeMeantIsAUsageError(arguments: [String]) throws {
        #expect(try CommandRun(["trust", "check"] + arguments).result().status == 64)
    }

    @Test func anUnknownAccountIsAnError() throws {
        let run = try portcullis("trust", "check", "no-such-account")
        #expect(run.status == 1)
        #expect(run.error.contains("no account 'no-such-account'"))
    }

    @Test func jsonIsOneObject() throws {
        let run = try portcullis("trust", "check", "root", "--json", "--policy", "/nonexistent/policy")
        let report = try #require(try run.json as? [String: Any])
        #expect(report["policyProblem"] is String)
        #expect(report["acceptable"] as? Bool == (run.status == 0))
    }
}
