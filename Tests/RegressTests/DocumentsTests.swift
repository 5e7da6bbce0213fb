// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// What README and the policies in this tree say is true of the programs as they are.
@Suite("Documents and policies", .needsBuild)
struct DocumentsTests {
    /// The first block of README that holds rules.
    private var readmePolicy: String {
        let blocks = Files.text(Host.package + "/README.md").components(separatedBy: "```")
        return blocks.first { $0.contains("permit ") && $0.contains("service ") } ?? ""
    }

    /// Runs a program on a copy of a policy, in a folder that it accepts.
    private func with(policy text: String, _ body: (String) throws -> Void) throws {
        let base = Host.isRoot ? "/run" : NSTemporaryDirectory()
        let folder = base + "/portcullis-documents-" + UUID().uuidString
        Files.makeDirectory(folder, mode: 0o700)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Files.write(text, to: folder + "/a.policy", mode: 0o600)
        try body(folder + "/a.policy")
    }

    @Test func theReadmesPolicyIsGoodAndDecidesAsItSays() throws {
        try with(policy: readmePolicy) { path in
            let check = try Child.run(Host.own("portcullis"), ["check", path])
            #expect(check.outcome == .status(0), "\(check)")
            func explain(_ command: String) throws -> Child.Result {
                let words = ["--service", "rexec", "--from", "10.20.3.4", "--as", "backup", "--groups", "backup"]
                return try Child.run(Host.own("portcullis"), ["explain", "--policy", path] + words + ["--", command])
            }
            let refused = try explain("/usr/sbin/dump 0uf - /etc; id")
            #expect(refused.outcome == .status(3))
            #expect(refused.outText.contains("needs-shell"), "\(refused)")
            #expect(try explain("/usr/sbin/dump 0uf - /home/x").outcome == .status(0))
        }
    }

    /// The names of the policies in policy/, each with its `.test`.
    private static let policies: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: Host.package + "/policy")) ?? []
        return files.filter { $0.hasSuffix(".policy") }.map { String($0.dropLast(7)) }.sorted()
    }()

    @Test(arguments: policies)
    func aPolicyOfThisTreeIsGoodFormattedAndPassesItsTests(name: String) throws {
        let folder = Host.package + "/policy/"
        try with(policy: Files.text(folder + name + ".policy")) { path in
            let check = try Child.run(Host.own("portcullis"), ["check", path])
            // The accounts of a pool are the site's, and not this host's.
            let ownWarnings = "\(check)".replacingOccurrences(of: "warning: on this host", with: "")
            #expect(check.outcome == .status(0) && !ownWarnings.contains("warning"), "\(check)")
            let format = try Child.run(Host.own("portcullis"), ["fmt", "--check", path])
            #expect(format.outcome == .status(0), "\(format)")
            let test = path.replacingOccurrences(of: ".policy", with: ".test")
            try Files.write(Files.text(folder + name + ".test"), to: test, mode: 0o600)
            let result = try Child.run(Host.own("portcullis"), ["test", test])
            #expect(result.outcome == .status(0), "\(result)")
        }
    }

    @Test func thereAreExamplesForFiveKindsOfSite() {
        let sites = ["aix-estate", "backup-host", "eda-farm", "mainframe-bridge", "vxworks-boards"]
        #expect(Set(sites + ["demo", "portcullis"]) == Set(Self.policies))
    }

    @Test(arguments: ["portcullis", "rexec", "rsh"])
    func helpEndsWellAndShowsAnExample(program: String) throws {
        let help = try Child.run(Host.own(program), ["--help"])
        #expect(help.outcome == .status(0), "\(help)")
        #expect(help.outText.uppercased().contains("EXAMPLE"), "\(help)")
    }
}

/// The manual pages.
@Suite("Manual pages") struct ManualPagesTests {
    private static let pages: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: Host.package + "/packaging/man")) ?? []
        return files.sorted()
    }()

    @Test(.needs("mandoc"), arguments: pages)
    func mandocFindsNothingToSay(page: String) throws {
        let lint = try Child.run(
            Host.program("mandoc") ?? "mandoc",
            ["-T", "lint", "-W", "warning", Host.package + "/packaging/man/" + page])
        #expect(lint.outcome == .status(0) && lint.outText.isEmpty, "\(lint)")
    }
}
