// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis test`: policy tests.
struct TestVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Run policy tests: each FILE.test beside its FILE.policy.",
        discussion: """
            A line of a test file states a request and what is expected of the policy:
              expect permit uptime: rsh from 10.1.2.3:1023 by alice as alice run "uptime"
              expect deny no-rule: rexec from 10.1.0.9 as bob run "id" at 2026-11-20T23:30

            EXAMPLE
              portcullis test policy/*.test
            """)

    @Argument(help: "Test files; without any, the one beside the policy.") var files: [String] = []
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            guard let now = Clock.localTime() else { throw Failure(description: "the local time is not known") }
            let chosen = files.isEmpty ? [Self.stem(policy.file) + ".test"] : files
            var results: [(test: PolicyTest, failure: String?)] = []
            var isGood = true
            for file in chosen {
                guard file.hasSuffix(".test") else {
                    throw Failure(description: "\(file): a test file is FILE.test beside FILE.policy", status: 64)
                }
                guard let found = try Self.results(file, now: now) else {
                    isGood = false
                    continue
                }
                results += found
            }
            let failed = results.filter { $0.failure != nil }
            isGood = isGood && failed.isEmpty
            if format.isJSON {
                try Output.say(Self.json(results, isGood: isGood).text)
            } else {
                for (test, failure) in failed { complain("\(test.place): \(failure ?? "")") }
                let summary = "\(Shown.count(results.count - failed.count, "test")) passed"
                if failed.isEmpty, isGood {
                    try Output.say(summary)
                } else {
                    complain("\(summary), \(failed.count) failed")
                }
            }
            guard isGood else { throw ExitCode(1) }
        }
    }

    /// Each test of a file with what failed; nil where the tests or their policy cannot be read, and that was told.
    private static func results(_ file: String, now: LocalTime) throws -> [(test: PolicyTest, failure: String?)]? {
        let source: SourceFile
        do throws(SystemError) {
            source = try LocalFile.read(file)
        } catch {
            throw Failure(description: "cannot read \(file): \(error.text)")
        }
        let tests = PolicyTestFile(source, now: now)
        let isTerminal = Output.hasColour(on: StandardStreams.error)
        let told = tests.diagnostics.map { DiagnosticText.text($0, coloured: isTerminal) }.joined()
        try? StandardStreams.error.writeAll(Array(told.utf8))
        let local = try LocalPolicy(stem(file) + ".policy")
        guard try local.report(quietly: true), let policy = local.loaded.policy, tests.diagnostics.isEmpty else {
            return nil
        }
        return tests.tests.map { ($0, $0.failure(under: policy)) }
    }

    /// A path without the suffix of a policy or a test.
    private static func stem(_ path: String) -> String {
        for suffix in [".test", ".policy"] where path.hasSuffix(suffix) { return String(path.dropLast(suffix.count)) }
        return path
    }

    private static func json(_ results: [(test: PolicyTest, failure: String?)], isGood: Bool) -> JSON {
        .object([
            ("good", .bool(isGood)),
            ("passed", .integer(results.filter { $0.failure == nil }.count)),
            ("failed", .integer(results.filter { $0.failure != nil }.count)),
            (
                "tests",
                .array(
                    results.map { test, failure in
                        .object([
                            ("at", .string(test.place.description)), ("expected", .string(test.expectation.text)),
                            ("failure", .optional(failure)),
                        ])
                    })
            ),
        ])
    }
}
