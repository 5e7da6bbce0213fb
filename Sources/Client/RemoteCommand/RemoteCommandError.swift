// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
public import Wire

/// Why a remote command could not be started.
public enum RemoteCommandError: Error, Sendable {
    /// There is no such host, or it has no address of the family that was asked for.
    case unknownHost(ByteText)
    /// Name service did not answer.
    case nameService(ByteText, String)
    /// All reserved ports are in use: rresvport(3)'s EAGAIN.
    case portsInUse
    /// This process may not bind a reserved port: rresvport(3)'s EACCES.
    case portsNotPermitted
    /// No address of the host could be connected to; what each of them said.
    case notConnected([(endpoint: Endpoint, error: SystemError)])
    /// A field of this protocol's request cannot be sent.
    case field(ClientHandshake.EncodingError, of: Service)
    /// The server did not call back on the port for stderr in time.
    case notCalledBack
    /// The server did not answer in time.
    case noAnswer
    /// The server refused, with its text: a stranger's bytes, without the newline.
    case refused(ByteText)
    /// The server broke the protocol.
    case brokenProtocol(String)
    /// `RemoteRequest.whenBound` failed.
    case whenBound(any Error)
    /// A call failed.
    case system(SystemError)

    /// What the C function of the same name would have left in errno; nil where it has no number for it.
    public var systemError: SystemError? {
        switch self {
        case .portsInUse: .noneFree("rresvport")
        case .portsNotPermitted: .notPermitted("rresvport")
        case .notConnected(let attempts): attempts.last?.error
        case .notCalledBack, .noAnswer: .timedOut("poll")
        case .system(let error): error
        case .unknownHost, .nameService, .field, .refused, .brokenProtocol, .whenBound: nil
        }
    }
}

extension RemoteCommandError: CustomStringConvertible {
    /// One line for people, safe on a terminal; a refusal is the server's text alone, as rsh has always shown it.
    public var description: String {
        switch self {
        case .unknownHost(let host): "\(host.printable): unknown host"
        case .nameService(let host, let text): "\(host.printable): \(text)"
        case .portsInUse: "all reserved ports are in use"
        case .portsNotPermitted:
            "no reserved port may be bound: that needs root, or the capability cap_net_bind_service"
        case .notConnected(let attempts):
            attempts.map { "connect to \($0.endpoint): \($0.error.text)" }.joined(separator: "; ")
        case .field(.containsNUL(let field), of: let service): "the \(field.name(in: service)) has a NUL in it"
        case .field(.empty(let field), of: let service): "the \(field.name(in: service)) is empty"
        case .field(.tooLong(let field), of: let service):
            "the \(field.name(in: service)) is longer than \(field.limit) bytes"
        case .notCalledBack: "the server did not call back on the port for stderr"
        case .noAnswer: "the server did not answer in time"
        case .refused(let text): text.printable
        case .brokenProtocol(let text): text
        case .whenBound(let error): "\(error)"
        case .system(let error): error.description
        }
    }
}

extension ServerHandshake.Field {
    /// What people call it.
    fileprivate func name(in service: Service) -> String {
        switch self {
        case .port: "port"
        case .first: service == .rsh ? "local user's name" : "user's name"
        case .second: service == .rsh ? "remote user's name" : "password"
        case .command: "command"
        }
    }

    /// The most bytes that a client sends in it.
    fileprivate var limit: Int {
        self == .command ? ServiceSettings.commandLengthLimit : ClientHandshake.nameLimit
    }
}
