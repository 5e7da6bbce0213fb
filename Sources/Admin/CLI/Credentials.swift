// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import PasswordHash

/// `portcullis credentials`: the passwords of REXEC requests, where the policy says `authenticate file`.
struct CredentialsVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "credentials",
        abstract: "Keep the credentials file.",
        discussion: """
            STATE/credentials holds a line for each account, with a yescrypt hash of its password. Only root, or the user \
            that the gateway runs as, can read it.

            EXAMPLE
              portcullis credentials set backup
            """,
        subcommands: [Set.self, Remove.self, List.self])

    /// Sets a password.
    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Set an account's password.",
            discussion: """
                The password is asked for on the terminal, twice, without showing it; where standard input is no terminal, \
                it is the first line there.

                EXAMPLE
                  portcullis credentials set backup < /root/backup.password
                """)

        @OptionGroup var file: CredentialsFileOptions
        @Argument(help: "The account.") var user: String

        func validate() throws {
            _ = try CredentialsFile.userName(user)
        }

        func run() throws {
            try reporting {
                let name = try CredentialsFile.userName(user)
                // An account that the host does not know is refused whatever its password.
                if case .success(nil) = Result(catching: { try Accounts.named(name) }) {
                    complain("warning: this host has no account '\(name)': its requests are refused as unknown-user")
                }
                let hash = try hash(for: name)
                var wasLocked = false
                try CredentialsFile(file.path).change { table in
                    wasLocked = table.isLocked(name)
                    table[name] = hash
                }
                if wasLocked { complain("warning: '\(name)' was locked in \(file.path), and no longer is") }
            }
        }

        private func hash(for name: UserName) throws -> PasswordHash {
            guard Terminal.isTerminal(StandardStreams.input) else {
                let secret = try Secret()
                switch try secret.readLine(from: StandardStreams.input) {
                case .complete: return try Self.checkedHash(secret)
                case .closed: throw Failure(description: "no password on standard input")
                case .refused: throw Failure(description: "the password on standard input is too long or holds a NUL")
                }
            }
            let first: Secret
            let second: Secret
            do throws(Terminal.Failure) {
                first = try Terminal.askSecret("Password for \(name): ")
                second = try Terminal.askSecret("Once more: ")
            } catch {
                switch error {
                case .interrupted(let signal): throw ExitCode(128 + signal)
                case .noAnswer: throw Failure(description: "no password: nothing was changed")
                case .tooLong: throw Failure(description: "the password is too long: nothing was changed")
                case .none: throw Failure(description: "no terminal to ask on: give the password on standard input")
                case .system(let error): throw error
                }
            }
            let hash = try Self.checkedHash(first)
            // Compared by the hash, so that no copy of a password is made.
            guard try hash.matches(second) else {
                throw Failure(description: "the two passwords differ: nothing was changed")
            }
            return hash
        }

        /// The most bytes of a password that a request carries (wire.md, Limits).
        private static let limit = 128

        private static func checkedHash(_ secret: Secret) throws -> PasswordHash {
            guard !secret.isEmpty else {
                throw Failure(description: "an empty password opens nothing: nothing was changed")
            }
            guard secret.count <= limit else {
                throw Failure(description: "a REXEC password has at most \(limit) bytes: nothing was changed")
            }
            return try PasswordHash(hashing: secret)
        }
    }

    /// Removes an account.
    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove an account.",
            discussion: """
                EXAMPLE
                  portcullis credentials remove backup
                """)

        @OptionGroup var file: CredentialsFileOptions
        @Argument(help: "The account.") var user: String

        func validate() throws {
            _ = try CredentialsFile.userName(user)
        }

        func run() throws {
            try reporting {
                let name = try CredentialsFile.userName(user)
                try CredentialsFile(file.path).change { table in
                    // A locked account has no hash, and is there all the same.
                    guard table.names.contains(name) else {
                        throw Failure(description: "\(file.path): no account '\(name)'")
                    }
                    table[name] = nil
                }
            }
        }
    }

    /// Lists the accounts.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the accounts; never their hashes.",
            discussion: """
                EXAMPLE
                  portcullis credentials list --json
                """)

        @OptionGroup var file: CredentialsFileOptions
        @OptionGroup var format: FormatOptions
        @Argument(help: "Only this account.") var user: String?

        func validate() throws {
            _ = try user.map { try CredentialsFile.userName($0) }
        }

        func run() throws {
            try reporting {
                let wanted = try user.map { try CredentialsFile.userName($0) }
                let names = try CredentialsFile(file.path).table().names.filter { wanted == nil || $0 == wanted }
                var output = Output()
                if format.isJSON {
                    try output.line(JSON.array(names.map { .object([("user", .string($0.description))]) }).text)
                } else {
                    for name in names { try output.line(name.description) }
                }
                try output.flush()
                if let wanted, names.isEmpty { throw Failure(description: "\(file.path): no account '\(wanted)'") }
            }
        }
    }
}

/// Which credentials file is meant.
struct CredentialsFileOptions: ParsableArguments {
    @OptionGroup var state: StateOptions

    @Option(help: "The file, where the policy names another one; a relative name lies in the state directory.")
    var file = "credentials"

    /// The file's path.
    var path: String { file.hasPrefix("/") ? file : state.directory + "/" + file }
}

/// The credentials file: read as the gateway reads it, and replaced as a whole.
struct CredentialsFile {
    let path: String

    init(_ path: String) {
        self.path = path
    }

    /// An account's name in the grammar of the wire.
    static func userName(_ text: String) throws -> UserName {
        guard let name = UserName(text) else {
            throw ValidationError(
                "'\(ByteText(text).printable)' is no user name: 1 to 32 letters, digits and '. - $ @ _', not starting with '. - $ @'."
            )
        }
        return name
    }

    /// The accounts; none where there is no file.
    func table() throws -> CredentialTable {
        try table(in: try openDirectory())
    }

    private func table(in directory: Descriptor) throws -> CredentialTable {
        let opened: SecureOpen.Opened
        do throws(SecureOpen.Refusal) {
            opened = try SecureOpen.file(
                named: ByteText(name), in: directory, trusting: SecureOpen.trusted(),
                limit: CredentialTable.sizeLimit)
        } catch {
            if case .failed(let code) = error.reason, SystemError(code, "open").isNotFound { return CredentialTable() }
            throw Failure(description: "the gateway would not use \(path): \(error)")
        }
        if opened.mode & 0o077 != 0 { complain("warning: \(path) was open to others, until the next change") }
        guard let bytes = try opened.descriptor.readAll(limit: CredentialTable.sizeLimit) else {
            throw Failure(description: "\(path): more than \(CredentialTable.sizeLimit) bytes")
        }
        do throws(CredentialTableError) {
            return try CredentialTable(bytes)
        } catch {
            throw Failure(description: "\(path): \(error)")
        }
    }

    /// How long another change is waited for.
    private static let patience = 100

    /// Changes the table: no reader ever sees half of it, and no other change is lost.
    ///
    /// All names are those of one directory that was opened once and checked: whoever could put another in its place
    /// meanwhile gains nothing.
    func change(_ body: (inout CredentialTable) throws -> Void) throws {
        do {
            let directory = try openDirectory()
            let lock = try lock(in: directory)
            // The lock ends with the last use of its descriptor.
            try withExtendedLifetime(lock) {
                var table = try table(in: directory)
                try body(&table)
                try replace(by: table.bytes, in: directory)
            }
        } catch let error as SystemError {
            throw Failure(description: "cannot change \(path): \(error)")
        }
    }

    /// Waits for the lock, and holds it as long as its descriptor lives.
    private func lock(in directory: Descriptor) throws -> Descriptor {
        let lock = try File.open(
            name + ".lock", below: directory, [.writing, .creating, .noFollow, .nonBlocking], mode: 0o600)
        let status = try File.status(lock)
        guard status.kind == .regular, SecureOpen.trusted().contains(status.uid) else {
            throw Failure(description: "\(path).lock is not a regular file of root's or your own: nothing was changed")
        }
        var patience = Self.patience
        while try !File.lock(lock) {
            guard patience > 0 else { throw Failure(description: "\(path) is being changed by somebody else") }
            patience -= 1
            Clock.sleep(milliseconds: 100)
        }
        return lock
    }

    private func replace(by bytes: [UInt8], in directory: Descriptor) throws(SystemError) {
        let temporary = name + ".new"
        // Under the lock, what is there is left over from a change that was cut off.
        try File.remove(temporary, below: directory)
        let file = try File.open(
            temporary, below: directory, [.writing, .creating, .exclusive, .noFollow], mode: 0o600)
        try File.setMode(file, 0o600)
        try file.writeAll(bytes)
        // ORDER: the new file is on disk before it takes the name.
        try File.synchronize(file)
        try File.rename(temporary, to: name, below: directory)
        try File.synchronize(directory)
    }

    /// The directory, which nobody but root or the caller can write, nor any on its way.
    private func openDirectory() throws -> Descriptor {
        let directory = LocalPolicyFiles.directory(of: File.absolute(path))
        let checked: SecureOpen.Opened
        do throws(SecureOpen.Refusal) {
            checked = try SecureOpen.directory(ByteText(directory))
        } catch {
            let hint: String
            if case .failed = error.reason { hint = " (is --state-directory right?)" } else { hint = "" }
            throw Failure(description: "the gateway would not use \(path): \(error)\(hint)")
        }
        // That one can only be passed through; this one can be synchronised.
        return try File.open(".", below: checked.descriptor, [.reading, .directory])
    }

    /// The last component of the path.
    private var name: String {
        path.split(separator: "/").last.map { String($0) } ?? path
    }
}
