// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// What portcullisd was asked to do on its command line.
public struct Options: Sendable, Hashable {
    /// The policy file.
    public var policy = "/etc/portcullis/portcullis.policy"
    /// The directory of the trail and of the credentials file.
    public var stateDirectory = "/var/lib/portcullis"
    /// The directory of the control socket.
    public var runtimeDirectory = "/run/portcullis"

    /// The defaults.
    public init() {}

    /// What a command line asks for.
    public enum Parsed: Sendable, Hashable {
        /// Serve.
        case serve(Options)
        /// Print this, and end well.
        case show(String)
        /// Print this, and end as a usage error (64).
        case wrong(String)
    }

    /// Reads the arguments after the program's name.
    public static func parse(_ arguments: [String]) -> Parsed {
        var options = Options()
        var rest = arguments[...]
        while let word = rest.popFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? ""
            switch name {
            case "--help", "-h":
                return .show(usage)
            case "--version":
                return .show("portcullisd \(version)")
            case "--policy", "--state-directory", "--runtime-directory":
                let given = parts.count > 1 ? String(parts[1]) : rest.popFirst()
                guard let value = given, !value.isEmpty else {
                    return .wrong("\(name) needs a path")
                }
                switch name {
                case "--policy": options.policy = value
                case "--state-directory": options.stateDirectory = value
                default: options.runtimeDirectory = value
                }
            default:
                return .wrong("unknown argument '\(ByteText(word).printable)'; try --help")
            }
        }
        return .serve(options)
    }

    /// The version of this gateway.
    public static let version = "0.1.0"

    private static let usage = """
        usage: portcullisd [--policy FILE] [--state-directory DIR] [--runtime-directory DIR]

        Serves REXEC and RSH as the policy permits, in the foreground, with its log on standard error.

          --policy FILE             the site's policy (/etc/portcullis/portcullis.policy)
          --state-directory DIR     the trail and the credentials file (/var/lib/portcullis)
          --runtime-directory DIR   the control socket (/run/portcullis)
          --version                 print the version
          --help                    print this

        SIGHUP loads the policy again; SIGTERM stops accepting, gives sessions 10 s, and ends.

        example: portcullisd --policy policy/demo.policy --state-directory /tmp/state --runtime-directory /tmp/run
        """
}
