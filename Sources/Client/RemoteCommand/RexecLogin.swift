// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
import Wire

/// The user and password that `rexec` sends: from its options, from .netrc, or asked for at the terminal.
public struct RexecLogin {
    /// The account there.
    public let user: ByteText
    /// Its password.
    public let password: Secret

    /// Why there is none.
    public struct Failure: Error, Sendable {
        /// What to say; nil where the person has said it with a signal.
        public var text: String?
        /// The program's exit status.
        public var status: Int32
    }

    /// Finds them.
    ///
    /// - Parameters:
    ///   - program: who asks and says.
    ///   - host: the host as the person named it.
    ///   - user: the option's.
    ///   - password: the option's; `-` for a line of stdin, or for the question where that is a terminal.
    ///   - readsNetrc: whether .netrc may be read; the host's policy may forbid it too.
    public init(
        program: ClientProgram, host: ByteText, user: ByteText?, password: ByteText?, readsNetrc: Bool
    ) throws {
        var user = user
        var secret: Secret?
        if let password {
            let given = try Secret()
            if password != "-" {
                guard given.append(password.bytes) else { throw Self.tooLong }
                secret = given
            } else if !Terminal.isTerminal(StandardStreams.input) {
                switch try given.readLine(from: StandardStreams.input) {
                case .complete: secret = given
                case .closed: throw Failure(text: "no password on stdin", status: 1)
                case .refused:
                    throw Failure(text: "the password on stdin is too long, or has a NUL in it", status: 1)
                }
            }
            // A line of a terminal's would be shown while it is typed: it is asked for instead.
        }
        if readsNetrc, user == nil || password == nil, let path = Netrc.path {
            let found = Self.netrc(program, host: host, user: user, path: path)
            if user == nil { user = found?.login }
            if password == nil, let password = found?.password {
                let given = try Secret()
                guard given.append(password.bytes) else { throw Self.tooLong }
                secret = given
            }
        }
        self.user = try user ?? Self.askName(program, host: host)
        self.password = try secret ?? Self.askPassword(self.user, host: host)
        guard self.password.count <= Self.passwordLimit else { throw Self.tooLong }
    }

    /// The most bytes of a password that is sent.
    private static let passwordLimit = ClientHandshake.nameLimit

    private static var tooLong: Failure {
        Failure(text: "the password is longer than \(passwordLimit) bytes", status: 1)
    }

    private static func netrc(
        _ program: ClientProgram, host: ByteText, user: ByteText?, path: String
    ) -> Netrc.Credentials? {
        guard SecureTCPIPStatement.allowsNetrc() else {
            if (try? File.status(path)) != nil {
                program.say("\(path) is not read: securetcpip is on in \(SecureTCPIPStatement.policyPath)")
            }
            return nil
        }
        do {
            return try Netrc.credentials(
                host: host, login: user, path: path, localDomain: Resolver.ownDomain())
        } catch {
            program.say(error.description)
            return nil
        }
    }

    /// The question that rexec(3) has always asked; an empty answer is the name here.
    private static func askName(_ program: ClientProgram, host: ByteText) throws -> ByteText {
        let here = program.localUser
        guard Terminal.isPresent else {
            guard let here else { throw Failure(text: "no user: try -l USER", status: 1) }
            return here
        }
        let name = try asked { () throws(Terminal.Failure) in
            try Terminal.ask("Name (\(host.printable):\(here?.printable ?? "?")): ")
        }
        if !name.isEmpty { return name }
        guard let here else { throw Failure(text: "no user: try -l USER", status: 1) }
        return here
    }

    private static func askPassword(_ user: ByteText, host: ByteText) throws -> Secret {
        guard Terminal.isPresent else {
            throw Failure(text: "no password: try -p - with the password on stdin, or a .netrc", status: 1)
        }
        return try asked { () throws(Terminal.Failure) in
            try Terminal.askSecret("Password (\(host.printable):\(user.printable)): ")
        }
    }

    private static func asked<Answer>(_ question: () throws(Terminal.Failure) -> Answer) throws -> Answer {
        do {
            return try question()
        } catch .interrupted(let signal) {
            throw Failure(text: nil, status: 128 + signal)
        } catch .none {
            throw Failure(text: "no terminal to ask on", status: 1)
        } catch .noAnswer {
            throw Failure(text: "no answer", status: 1)
        } catch .tooLong {
            throw Failure(text: "the answer is longer than \(Terminal.lineLimit) bytes", status: 1)
        } catch .system(let error) {
            throw Failure(text: "\(error)", status: 1)
        }
    }
}
