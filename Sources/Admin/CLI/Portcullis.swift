// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import ArgumentParser

/// The program `portcullis`: what an administrator types.
public struct Portcullis: ParsableCommand {
    /// The version of the programs.
    public static let version = "0.1.0"

    /// The verbs.
    public static let configuration = CommandConfiguration(
        commandName: "portcullis",
        abstract: "Policy, trail, credentials and state of a Portcullis gateway.",
        discussion: """
            Portcullis answers REXEC and RSH clients, and runs nothing that its policy does not permit.

            EXAMPLES
              portcullis check /etc/portcullis/portcullis.policy
              portcullis explain --service rsh --from 10.1.2.3 --by alice --as alice -- uptime
              portcullis audit show --denied --since 1h
              portcullis status

            EXIT STATUS
              0 good or permitted, 1 not good, 3 denied, 4 the gateway does not run, 64 wrong usage, 70 a defect of ours.
            """,
        version: "portcullis \(version)",
        groupedSubcommands: [
            CommandGroup(
                name: "Policy",
                subcommands: [
                    CheckVerb.self, ExplainVerb.self, TestVerb.self, FormatVerb.self, DifferenceVerb.self,
                    WhoCanVerb.self, WhatCanVerb.self, ReplayVerb.self, LearnVerb.self,
                ]),
            CommandGroup(
                name: "Trail", subcommands: [AuditVerb.self]),
            CommandGroup(
                name: "Accounts", subcommands: [CredentialsVerb.self]),
            CommandGroup(
                name: "This host", subcommands: [TrustVerb.self, SecureTCPIPVerb.self, ComplianceVerb.self]),
            CommandGroup(
                name: "Running gateway",
                subcommands: [StatusVerb.self, SessionsVerb.self, TerminateVerb.self, ReloadVerb.self]),
        ])

    /// The program with no verb, which prints its help.
    public init() {}
}

/// Where the gateway keeps its trail and credentials.
struct StateOptions: ParsableArguments {
    /// As portcullisd's.
    @Option(name: .customLong("state-directory"), help: "The gateway's state directory.")
    var directory = "/var/lib/portcullis"
}

/// Where the running gateway has its control socket.
struct RuntimeOptions: ParsableArguments {
    /// As portcullisd's.
    @Option(name: .customLong("runtime-directory"), help: "The gateway's runtime directory.")
    var directory = "/run/portcullis"
}

/// Which policy is meant.
struct PolicyOptions: ParsableArguments {
    /// As portcullisd's.
    @Option(name: .customLong("policy"), help: "The policy file.")
    var file = PolicyOptions.gateway

    /// The gateway's own.
    static let gateway = "/etc/portcullis/portcullis.policy"
}

/// Whether a program or a person reads the output.
struct FormatOptions: ParsableArguments {
    /// JSON instead of text.
    @Flag(name: .customLong("json"), help: "Print JSON.")
    var isJSON = false
}
