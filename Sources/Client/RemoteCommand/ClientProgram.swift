// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux

/// What `rexec` and `rsh` have in common: running a request with this process's own streams.
public struct ClientProgram: Sendable {
    /// The program's name, in what it says.
    public let name: String

    /// A program.
    public init(_ name: String) {
        self.name = name
    }

    /// Says something on stderr.
    public func say(_ text: String) {
        StandardError(name).say(text)
    }

    /// Opens a request and carries its bytes.
    ///
    /// - Parameters:
    ///   - request: what is opened; a password in it is erased when it was sent.
    ///   - input: what becomes the command's stdin; nil for none, which is an end of file at once.
    ///   - hint: what to say after a refusal.
    /// - Returns: the program's exit status: 0, or 1 where the other side refused or was not reached. The command's own
    ///   status is not carried by these protocols.
    public func run(_ request: RemoteRequest, input: Descriptor?, hint: String? = nil) -> Int32 {
        let connection: RemoteConnection
        do {
            connection = try request.open()
        } catch .refused(let text) {
            // The server's own line and nothing else, as these programs have always shown it.
            try? StandardStreams.error.writeAll(Array("\(text.isEmpty ? "refused" : text.printable)\n".utf8))
            if let hint { say(hint) }
            return 1
        } catch {
            say(error.description)
            // Some servers hang up on a caller from another port without a word.
            if let hint, case .brokenProtocol = error { say(hint) }
            return 1
        }
        // It was sent, and nobody needs it while the command runs.
        if case .rexec(_, let password) = request.identity { password.erase() }
        do {
            // With a secondary signals are the command's; without one they end this program as they always do. Those
            // that nohup(1) or a shell has this program ignore are nobody's.
            let signals = try connection.secondary.map { _ in
                try Signals(
                    [
                        Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.quit,
                        Signals.Number.terminate,
                    ], exceptIgnored: true)
            }
            var relay = Relay(
                connection, input: input, output: StandardStreams.output, errors: StandardStreams.error,
                signals: signals)
            let end = try relay.run()
            // A stdin that takes only writes is nohup's, and a terminal that is gone is known to be.
            if let error = relay.inputError, !error.isBadDescriptor, !error.isInputOutput {
                say("stdin: \(error.text)")
            }
            switch end {
            case .finished: return 0
            case .lost(let error):
                say("connection lost: \(error.text)")
                return 1
            case .interrupted(let signal): return 128 + signal
            }
        } catch {
            say("\(error)")
            return 1
        }
    }

    /// The user on whose behalf this process runs: its real uid's name.
    public var localUser: ByteText? {
        (try? Accounts.numbered(Process.userID))?.name
    }

    /// Gives up what a set-uid bit lent for the reserved ports.
    public static func dropLentRights() throws {
        guard Process.userID != Process.effectiveUserID else { return }
        let now = try Credentials.current()
        try Credentials(uid: Process.userID, gid: Process.groupID, groups: now.groups).drop()
    }
}
