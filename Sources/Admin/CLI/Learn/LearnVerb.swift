// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import PolicyLanguage

/// `portcullis learn`: the smallest sandbox that a command needed.
struct LearnVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "learn",
        abstract: "Print the smallest sandbox that a command needs, ready to paste into a policy.",
        discussion: """
            The command runs here and now, as you and without the gateway, and what it does is done. Each of its system calls \
            is looked at before it is made. One word is taken as a client would send it, and goes to your shell where it \
            needs one; several are the program and its arguments. Its standard output goes to standard error, for the \
            sandbox is printed on standard output; with --output it stays where it is.

            With --session nothing runs: the sandbox of a recorded session is printed, with what the kernel reported as denied \
            there added to it.

            What was learned is one run's: read the notes behind the sandbox, and try it on the real thing.

            EXAMPLES
              portcullis learn -- tar cf /var/backups/data.tar /srv/data
              portcullis learn --output dump.policy -- 'sort </srv/in | uniq -c'
              portcullis learn --session 0f3a99c1

            EXIT STATUS
              0 learned, whatever the command's own status (a note has it), 1 not run, or nothing to learn from.
            """)

    @Option(help: "The sandbox's name; by default learned-PROGRAM.") var name: String?
    @Flag(name: .customLong("name-calls"), help: "Name each system call that was made, instead of the usual groups.")
    var namesCalls = false
    @Option(help: "Write the sandbox to this file, and leave the command's standard output alone.") var output: String?
    @Option(help: "A recorded session: its id, or the first digits of it.") var session: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var runtime: RuntimeOptions
    @OptionGroup var format: FormatOptions
    @Option(help: "With --session: a trail to read instead of the gateway's own.", completion: .file())
    var trail: String?
    @Argument(parsing: .postTerminator, help: "The command.") var command: [String] = []

    func validate() throws {
        guard (session == nil) != command.isEmpty else {
            throw ValidationError("Either a command after '--', or --session ID.")
        }
        guard session != nil || trail == nil else { throw ValidationError("--trail goes with --session.") }
        guard session == nil || !namesCalls else {
            throw ValidationError("--name-calls goes with a command: a session's calls are not recorded.")
        }
        if let name, !Self.isName(name) {
            throw ValidationError("A sandbox's name is [a-z][a-z0-9-]{0,62}, and no built-in one's, not '\(name)'.")
        }
        if let session, TrailFilter.digits(ofSession: session) == nil {
            throw ValidationError("--session takes 1 to 32 hexadecimal digits, not '\(session)'.")
        }
    }

    func run() throws {
        try reporting {
            let lesson: Lesson
            if let session {
                lesson = try SessionLesson(self, session: session).lesson()
            } else {
                lesson = try CommandLesson(command, name: name, namesCalls: namesCalls, keepsOutput: output != nil)
                    .lesson()
            }
            try lesson.say(directories: directories, isJSON: format.isJSON, to: output)
        }
    }

    /// What no sandbox of this host's gateway may open.
    private var directories: GuardedDirectories {
        let policyDirectory = LocalPolicyFiles.directory(of: File.absolute(policy.file))
        return GuardedDirectories(
            state: ByteText(File.absolute(state.directory)), runtime: ByteText(File.absolute(runtime.directory)),
            policy: ByteText(policyDirectory))
    }

    /// Whether the language takes a name for a sandbox of the site's.
    static func isName(_ name: String) -> Bool {
        let isLower = { (byte: UInt8) in (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
        let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        guard (1...63).contains(name.utf8.count), let first = name.utf8.first, isLower(first) else { return false }
        guard !builtIn.contains(name) else { return false }
        return name.utf8.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
    }

    private static let builtIn: Set<String> = ["strict", "standard", "home", "unconfined"]
}
