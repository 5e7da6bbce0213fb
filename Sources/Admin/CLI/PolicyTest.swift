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

            Here no account and no program is looked up: nobody is a system account, root alone has uid 0, groups are those \
            that the line says, and a first word without '/' is /usr/bin/WORD.

            EXAMPLE
              portcullis test policy/*.test

            EXIT STATUS
              0 all passed, 1 not.
            """)

    @Argument(help: "Test files, each beside its policy; without any, the one beside the gateway's policy.")
    var files: [String] = []
    @Option(help: "The policy to test instead of the one beside each file.") var policy: String?
    @OptionGroup var format: FormatOptions

    /// A test, and what the policy made of it.
    private struct Result {
        var test: PolicyTest
        var explanation: Explanation
        /// nil where it is what was expected.
        var failure: String?
        /// The statement's first line.
        var line: String
    }

    func run() throws {
        try reporting {
            guard let now = Clock.localTime() else { throw Failure(description: "the local time is not known") }
            let chosen = files.isEmpty ? [policy ?? PolicyOptions.gateway] : files
            var results: [Result] = []
            var isGood = true
            for file in chosen {
                guard file.hasSuffix(".test") || file.hasSuffix(".policy") else {
                    throw Failure(description: "\(file): a test file is FILE.test beside FILE.policy", status: 64)
                }
                let stem = Self.stem(file)
                guard let found = try Self.results(stem + ".test", policy: policy ?? stem + ".policy", now: now) else {
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
                for result in failed { Self.tell(result) }
                let summary = "\(Shown.count(results.count - failed.count, "test")) passed"
                if isGood {
                    try Output.say(summary)
                } else {
                    complain("\(summary), \(Shown.number(failed.count)) failed")
                }
            }
            guard isGood else { throw ExitCode(1) }
        }
    }

    /// What was expected, what the policy says and where; the line; and why the permit that was expected does not match.
    private static func tell(_ result: Result) {
        let place = result.explanation.decision.rule.map { " (\($0.place))" } ?? ""
        complain("\(result.test.place): \(result.failure ?? "")\(place)")
        var lines = [result.line]
        if case .permit(let name) = result.test.expectation {
            let misses = (result.explanation.nearMisses + result.explanation.closest).filter { $0.rule.name == name }
            if !misses.isEmpty {
                lines.append("\(name) would match \(misses.map(\.condition).joined(separator: " and "))")
                lines += misses.compactMap(\.difference).map { "but \($0)" }
            }
        }
        let text = lines.map { "    \(ByteText($0).printable)\n" }.joined()
        try? StandardStreams.error.writeAll(Array(text.utf8))
    }

    /// Each test of a file with what came of it; nil where the tests or their policy cannot be read, and that was told.
    private static func results(_ file: String, policy path: String, now: LocalTime) throws -> [Result]? {
        let source: SourceFile
        do throws(SystemError) {
            source = try LocalFile.read(file)
        } catch {
            throw Failure(description: "cannot read the tests \(file): \(error.text)")
        }
        let tests = PolicyTestFile(source, now: now)
        let isTerminal = Output.hasColour(on: StandardStreams.error)
        let told = tests.diagnostics.map { DiagnosticText.text($0, coloured: isTerminal) }.joined()
        try? StandardStreams.error.writeAll(Array(told.utf8))
        let local = try LocalPolicy(path)
        guard try local.report(quietly: true), let policy = local.loaded.policy, tests.diagnostics.isEmpty else {
            return nil
        }
        let lines = source.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return tests.tests.map { test in
            let index = test.place.line - 1
            return Result(
                test: test, explanation: policy.explain(test.request), failure: test.failure(under: policy),
                line: lines.indices.contains(index) ? String(decoding: lines[index], as: UTF8.self) : "")
        }
    }

    /// A path without the suffix of a policy or a test.
    private static func stem(_ path: String) -> String {
        for suffix in [".test", ".policy"] where path.hasSuffix(suffix) { return String(path.dropLast(suffix.count)) }
        return path
    }

    private static func json(_ results: [Result], isGood: Bool) -> JSON {
        .object([
            ("good", .bool(isGood)),
            ("passed", .integer(results.filter { $0.failure == nil }.count)),
            ("failed", .integer(results.filter { $0.failure != nil }.count)),
            (
                "tests",
                .array(
                    results.map { result in
                        let decision = result.explanation.decision
                        return .object([
                            ("at", .string(result.test.place.description)),
                            ("expected", .string(result.test.expectation.text)),
                            ("actual", .string(PolicyTest.text(decision))),
                            ("actualAt", .optional(decision.rule?.place.description)),
                            ("failure", .optional(result.failure)),
                        ])
                    })
            ),
        ])
    }
}

extension Decision {
    /// The permit or the forbid that decided.
    var rule: RuleReference? {
        switch self {
        case .permit(let terms): terms.rule
        case .deny(let denial): denial.rule
        }
    }
}
