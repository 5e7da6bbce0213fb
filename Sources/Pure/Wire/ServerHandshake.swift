// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The server's side of a handshake, read a few bytes at a time and never beyond its last NUL.
///
/// ```
/// REXEC  [port]\0  user\0         password\0  command\0   stdin …
/// RSH    [port]\0  remote-user\0  target\0    command\0   stdin …
/// ```
///
/// With a password field an RSH target may be `target/password` or `target@password`, as z/OS and z/VM clients send it.
/// The first `/` or `@` ends the name, and everything after it, another `/` or `@` too, is the password: whichever of
/// the two a client's system uses, no byte of a password is taken for a name.
///
/// It holds none of the bytes: the caller keeps the stream's first `consumed` bytes in a buffer of its own, and gets
/// the fields as ranges of it, so that a password is in one place and can be wiped there. Whatever the client sends,
/// it holds a few numbers, and takes at most `lengthLimit` bytes. The outcome does not depend on how the bytes were
/// cut into segments.
///
/// TRUST: every byte is a stranger's. On `complete` the names obey `UserName`'s grammar and every field its limit;
/// nothing is verified.
public struct ServerHandshake: Sendable {
    /// The fields, in the order of the wire.
    public enum Field: UInt8, Sendable, Hashable, CaseIterable {
        case port
        /// RSH's remote user, REXEC's target.
        case first
        /// RSH's target, with a password field its password too; REXEC's password.
        case second
        case command
    }

    /// Where the handshake stands.
    public enum State: Sendable, Hashable {
        /// A field is under way.
        case reading(Field)
        /// The client waits to be called on this port and sends no names before; `connectedBack()` goes on.
        case awaitingConnectBack(port: UInt16)
        /// The last NUL was consumed; what follows is the command's stdin.
        case complete
        /// The handshake is malformed; nothing more is consumed.
        case failed(HandshakeError)
    }

    /// The most digits of a port.
    public static let portLimit = 5

    /// The most bytes of a password (z/OS pass phrases have 100).
    public static let passwordLimit = 128

    /// The most bytes that can come before the command, NULs included: what a buffer for them must hold.
    public static let headLimit = portLimit + 1 + 2 * (UserName.limit + 1) + passwordLimit + 1

    /// The protocol.
    public let service: Service

    /// The most bytes of the command, without its NUL.
    public let commandLimit: Int

    /// Whether an RSH target may carry a password; never in REXEC, which has a field for it.
    public let takesPasswordField: Bool

    /// Where it stands.
    public private(set) var state = State.reading(.port)

    /// How many bytes of the stream belong to the handshake as far as it was read.
    public private(set) var consumed = 0

    /// The port that the client asked to be called on, once that field is complete; nil where it asked for none.
    public private(set) var connectBackPort: UInt16?

    private var first: Range<Int> = 0..<0
    private var second: Range<Int> = 0..<0
    /// What stands behind the separator of an RSH target that carries a password.
    private var attached: Range<Int>?
    private var commandField: Range<Int> = 0..<0
    /// Where the field under way begins.
    private var start = 0
    private var portValue: UInt32 = 0
    /// What is wrong with the field under way; said at its end, so that the record can show the whole field.
    private var flaw: HandshakeError?
    /// Where the `/` or `@` of a target is, behind which a password may stand.
    private var suspect: Int?

    /// A handshake of a service whose command has at most `commandLimit` bytes.
    public init(service: Service, commandLimit: Int, takesPasswordField: Bool = false) {
        self.service = service
        self.takesPasswordField = takesPasswordField && service == .rsh
        self.commandLimit = min(max(commandLimit, 0), ServiceSettings.commandLengthLimit)
    }

    /// The most bytes that this handshake can consume.
    public var lengthLimit: Int { Self.headLimit + commandLimit + 1 }

    /// Consumes bytes of the stream, the first of which is number `consumed`, and says how many.
    ///
    /// It stops behind the NUL of the field under way, so that the caller can act between two fields; call it again
    /// with the rest while the state is `reading`. In any other state it consumes nothing. A malformed handshake
    /// stops behind the byte that decided it.
    public mutating func consume(_ bytes: Span<UInt8>) -> Int {
        guard case .reading(let field) = state else { return 0 }
        var taken = 0
        while taken < bytes.count {
            let byte = bytes[taken]
            // INVARIANT: every field ends or fails within its limit, so `consumed` stays below `lengthLimit`.
            taken += 1
            consumed += 1
            if byte == 0 {
                end(field)
                return taken
            }
            if let error = take(byte, of: field) {
                state = .failed(error)
                return taken
            }
        }
        return taken
    }

    /// Goes on to the names after the client was called on the port that it asked for.
    public mutating func connectedBack() {
        guard case .awaitingConnectBack = state else { return }
        state = .reading(.first)
    }

    // MARK: - Fields

    /// The claimed remote user: RSH's first field, once it is complete.
    public var remoteUser: Range<Int>? {
        service == .rsh && isPast(.first) ? first : nil
    }

    /// The target, once it is complete.
    public var target: Range<Int>? {
        switch service {
        case .rexec: isPast(.first) ? first : nil
        case .rsh: isPast(.second) ? second : nil
        }
    }

    /// The password, once its field is complete: REXEC's second field, or what an RSH target carries; it may be empty.
    /// Its NUL follows it.
    public var password: Range<Int>? {
        guard isPast(.second) else { return nil }
        return service == .rexec ? second : attached
    }

    /// The command, once it is complete; it may be empty.
    public var command: Range<Int>? {
        isPast(.command) ? commandField : nil
    }

    /// The bytes that come before the command's first, once the field before it is complete.
    public var head: Range<Int>? {
        isPast(.second) ? 0..<commandField.lowerBound : nil
    }

    /// What a record may show of the remote user: what was read of the field, at most 32 bytes.
    public var loggableRemoteUser: Range<Int>? {
        service == .rsh ? loggable(.first, first) : nil
    }

    /// What a record may show of the target: what was read of the field, at most 32 bytes, and nothing from a `/`
    /// on, nor in RSH from an `@` on, because a password stands there.
    public var loggableTarget: Range<Int>? {
        switch service {
        case .rexec: loggable(.first, first)
        case .rsh: loggable(.second, second)
        }
    }

    private func isPast(_ field: Field) -> Bool {
        switch state {
        case .reading(let current): field.rawValue < current.rawValue
        case .awaitingConnectBack: field == .port
        case .complete: true
        case .failed: field.rawValue < failedField.rawValue
        }
    }

    /// The field in which a failed handshake failed.
    private var failedField = Field.port

    private func loggable(_ field: Field, _ complete: Range<Int>) -> Range<Int>? {
        var range: Range<Int>
        switch state {
        case .reading(let current) where current == field:
            range = start..<consumed
        case .failed where failedField == field:
            // The byte that decided it is not shown: it is the field's NUL, or one too many.
            range = start..<max(start, consumed - 1)
        default:
            guard isPast(field) else { return nil }
            range = complete
        }
        range = range.prefix(UserName.limit)
        if let suspect { range = range.clamped(to: 0..<suspect) }
        return range.isEmpty ? nil : range
    }

    // MARK: - Bytes

    /// Takes a byte that is not NUL; an error ends the handshake at once.
    private mutating func take(_ byte: UInt8, of field: Field) -> HandshakeError? {
        let length = consumed - start
        failedField = field
        switch field {
        case .port:
            guard length <= Self.portLimit, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else {
                return .port
            }
            // INVARIANT: at most five digits, so at most 99,999.
            portValue = portValue * 10 + UInt32(byte - UInt8(ascii: "0"))
            return nil
        case .first:
            return takeName(byte, length: length, isTarget: service == .rexec)
        case .second:
            switch service {
            case .rexec: return length > Self.passwordLimit ? .longPassword : nil
            case .rsh:
                guard takesPasswordField, let suspect else { return takeName(byte, length: length, isTarget: true) }
                return consumed - 1 - suspect > Self.passwordLimit ? .longPassword : nil
            }
        case .command:
            return length > commandLimit ? .longCommand : nil
        }
    }

    /// Takes a name's byte. A bad byte is only noted, so that the record shows the whole name.
    private mutating func takeName(_ byte: UInt8, length: Int, isTarget: Bool) -> HandshakeError? {
        let carriesPassword =
            isTarget && suspect == nil
            && (byte == UInt8(ascii: "/") || (service == .rsh && byte == UInt8(ascii: "@")))
        if carriesPassword { suspect = consumed - 1 }
        if carriesPassword && takesPasswordField { return nil }
        if carriesPassword && service == .rsh {
            flaw = .passwordInTarget
        } else if flaw == nil && !(length == 1 ? UserName.canStart(with: byte) : UserName.canContinue(with: byte)) {
            flaw = isTarget ? .badTarget : .badRemoteUser
        }
        guard length > UserName.limit else { return nil }
        return flaw == .passwordInTarget ? flaw : isTarget ? .longTarget : .longRemoteUser
    }

    /// Ends a field at its NUL, which is consumed.
    private mutating func end(_ field: Field) {
        let range = start..<(consumed - 1)
        failedField = field
        switch field {
        case .port:
            guard portValue <= UInt32(UInt16.max) else { return state = .failed(.port) }
            let port = UInt16(portValue)
            connectBackPort = port == 0 ? nil : port
            state = port == 0 ? .reading(.first) : .awaitingConnectBack(port: port)
        case .first:
            first = range
            let isTarget = service == .rexec
            state = endName(range, isTarget: isTarget, next: .second)
        case .second:
            second = range
            commandField = consumed..<consumed
            switch service {
            case .rexec: state = .reading(.command)
            case .rsh:
                if takesPasswordField, let suspect {
                    second = start..<suspect
                    attached = (suspect + 1)..<range.upperBound
                }
                state = endName(second, isTarget: true, next: .command)
            }
        case .command:
            commandField = range
            state = .complete
        }
        if case .failed = state { return }
        start = consumed
    }

    private func endName(_ range: Range<Int>, isTarget: Bool, next: Field) -> State {
        if let flaw { return .failed(flaw) }
        guard !range.isEmpty else { return .failed(isTarget ? .emptyTarget : .emptyRemoteUser) }
        return .reading(next)
    }
}
