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

/// Pages that say which test holds what name tests that there are.
@Suite("Tests that documents name") struct NamedTestsTests {
    /// Every function, suite and file below Tests, by name.
    private static let names: Set<String> = {
        let folder = Host.package + "/Tests"
        let paths = (FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] ?? [])
        var names = Set(paths.flatMap { $0.split(whereSeparator: { "/.".contains($0) }).map(String.init) })
        for path in paths where path.hasSuffix(".swift") {
            let words = Files.text(folder + "/" + path).split { !$0.isLetter && !$0.isNumber && $0 != "_" }
            for (before, name) in zip(words, words.dropFirst()) where ["func", "struct", "class"].contains(before) {
                names.insert(String(name))
            }
        }
        return names
    }()

    /// The words of the last column of a page's tables that can only be tests: sentences in backticks, and suites.
    static func tests(namedIn text: String) -> [(name: String, isWhole: Bool, line: Int)] {
        var found: [(String, Bool, Int)] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard line.hasPrefix("| "), let last = line.split(separator: "|").last(where: { $0.contains { $0 != " " } })
            else { continue }
            // A row of docs/escapes.md is a technique's name.
            let cell = last.replacingOccurrences(of: #"rows? .*"#, with: "", options: .regularExpression)
            for (index, part) in cell.components(separatedBy: "`").enumerated() {
                if index % 2 == 1 {
                    guard !part.contains("-"), !part.contains("/") else { continue }
                    found.append((part.replacingOccurrences(of: "…", with: ""), !part.hasSuffix("…"), number + 1))
                } else {
                    let words = part.split { !$0.isLetter }.map(String.init)
                    found += words.filter { $0.hasSuffix("Tests") }.map { ($0, true, number + 1) }
                }
            }
        }
        return found
    }

    @Test func theThreatModelNamesTestsThatThereAre() {
        let tests = Self.tests(namedIn: Files.text(Host.package + "/docs/threat-model.md"))
        #expect(tests.count > 70)
        for test in tests {
            let isThere = Self.names.contains { test.isWhole ? $0 == test.name : $0.hasPrefix(test.name) }
            #expect(isThere, "docs/threat-model.md:\(test.line): there is no test \(test.name)")
        }
    }

    /// Rows of docs/escapes.md that the promises lean on.
    @Test func theTechniquesThatAPromiseNamesHaveRows() {
        let page = Files.text(Host.package + "/docs/threat-model.md")
        let part =
            page.components(separatedBy: "### Confinement, promise by promise").last?
            .components(separatedBy: "\n## ").first ?? ""
        let table = EscapeTable()
        let names = part.components(separatedBy: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        let techniques = names.filter { $0.contains("-") && !["self-trust"].contains($0) }
        #expect(techniques.count > 12)
        for technique in techniques {
            let name = technique.replacingOccurrences(of: "…", with: "")
            #expect(
                table.rows.contains { $0.name == name || name.hasSuffix("-") && $0.name.hasPrefix(name) },
                "\(technique)")
        }
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
