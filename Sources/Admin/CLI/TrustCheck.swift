// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux

/// `portcullis trust`: host equivalence on this host.
struct TrustVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "What the trust files of this host grant.",
        subcommands: [TrustCheck.self])
}

/// `portcullis trust check`: every trust file, judged as the gateway judges it.
struct TrustCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say for each line of each trust file what it grants, or why it is rejected.",
        discussion: """
            hosts.equiv, .rhosts in each account's home, and the central file of `trust file`, opened and read by the rules \
            of docs/host-trust.md; .shosts and shosts.equiv, which the gateway never reads, are pointed out. A line says who \
            is trusted; the policy must permit the request besides.

            Without USER: every account as root, the caller's own as a plain user. A file that only its owner can read is \
            judged by root, or by its owner.

            EXAMPLE
              portcullis trust check --all
              portcullis trust check alice --json

            EXIT STATUS
              0 every file is accepted, 1 a file is rejected, dangerous or could not be judged.
            """)

    @Argument(help: "The accounts.") var users: [String] = []
    @Flag(help: "Every account that name service lists.") var all = false
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard users.isEmpty || !all else { throw ValidationError("Give accounts or --all, not both.") }
        for user in users { _ = try CredentialsFile.userName(user) }
    }

    func run() throws {
        try reporting {
            let report = TrustReport(
                host: LocalHost(root: "", accounts: try accounts()), policy: HostPolicy(policy.file),
                names: users.isEmpty ? nil : users)
            var output = Output()
            if format.isJSON {
                try output.line(report.json.text)
            } else {
                for line in report.lines(output) { try output.line(line) }
            }
            try output.flush()
            guard report.isAcceptable else { throw ExitCode(1) }
        }
    }

    private func accounts() throws -> [AccountEntry] {
        guard users.isEmpty else {
            return try users.map { user in
                guard let entry = try Accounts.named(try CredentialsFile.userName(user)) else {
                    throw Failure(description: "this host has no account '\(user)'")
                }
                return entry
            }
        }
        if all || Linux.Process.isRoot { return try Accounts.all() }
        return try [Accounts.numbered(Linux.Process.effectiveUserID)].compactMap(\.self)
    }
}
