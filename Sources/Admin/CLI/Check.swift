// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// `portcullis check`: whether a policy would be loaded, and what is doubtful in it.
struct CheckVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a policy: errors, and what is doubtful, on standard error.",
        discussion: """
            EXAMPLE
              portcullis check /etc/portcullis/portcullis.policy

            EXIT STATUS
              0 the gateway would load it, 1 it would not.
            """)

    @Argument(help: "The policy file; without it the gateway's own.") var file: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var runtime: RuntimeOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            let path = file ?? policy.file
            let directory = LocalPolicyFiles.directory(of: File.absolute(path))
            let local = try LocalPolicy(
                path,
                directories: GuardedDirectories(
                    state: ByteText(File.absolute(state.directory)),
                    runtime: ByteText(File.absolute(runtime.directory)), policy: ByteText(directory)),
                analyses: true)
            let insecure = Self.insecurity(path)
            let guests = try local.loaded.policy.map { try GuestLookup.warnings($0) } ?? []
            if format.isJSON {
                try Output.say(Self.json(path, local, insecure, guests).text)
            } else {
                try local.report()
                for text in guests { complain("warning: on this host \(text)") }
                if let insecure { complain("error: the gateway would not load this file: \(insecure)") }
                if insecure == nil, let good = local.loaded.policy {
                    let rules = Shown.count(good.rules.count, "rule")
                    try Output.say("\(path): \(rules), \(local.revision): good")
                }
            }
            guard local.loaded.policy != nil, insecure == nil else { throw ExitCode(1) }
        }
    }

    /// Why the gateway would not load a file of this owner and mode; nil where it would.
    private static func insecurity(_ path: String) -> String? {
        do throws(SecureOpen.Refusal) {
            _ = try SecureOpen.file(ByteText(File.absolute(path)))
            return nil
        } catch {
            return error.description
        }
    }

    private static func json(
        _ path: String, _ local: LocalPolicy, _ insecure: String?, _ guests: [String]
    ) -> JSON {
        .object([
            ("file", .string(path)), ("good", .bool(local.loaded.policy != nil && insecure == nil)),
            ("rules", local.loaded.policy.map { .integer($0.rules.count) } ?? .null),
            ("revision", local.loaded.policy == nil ? .null : .string(local.revision.description)),
            ("errors", .integer(local.loaded.errorCount)), ("warnings", .integer(local.loaded.warningCount)),
            ("insecure", .optional(insecure)), ("host", .array(guests.map { .string($0) })),
            ("diagnostics", .array(local.loaded.diagnostics.map(\.json))),
        ])
    }
}

extension Diagnostic {
    /// What is wrong, and where.
    var json: JSON {
        .object([
            ("severity", .string(severity.name)), ("file", .string(file)), ("line", .integer(line)),
            ("column", .integer(column)), ("message", .string(message)), ("hint", .optional(hint)),
        ])
    }
}
