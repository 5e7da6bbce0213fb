// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// Finds the sessions whose command started and of whose end the trail says nothing: what a crash cut off.
public struct OpenSessions: Sendable {
    /// A session without an end.
    public struct Session: Sendable, Hashable {
        /// Its id.
        public var session: SessionID
        /// Whose process it was.
        public var sender: Sender
        /// Where the request came from.
        public var origin: Record.Origin
        /// The account that the command ran as.
        public var account: ByteText
    }

    /// The most sessions that are remembered; more are not looked for.
    public static let limit = 65_536

    private var open: [SessionID: (order: UInt64, session: Session)] = [:]

    /// None yet.
    public init() {}

    /// Looks at a line, without its newline; the lines come in their order.
    public mutating func take(_ line: ArraySlice<UInt8>) {
        guard ["type=USER_CMD ", "type=USER_END ", "type=USER_LOGIN "].contains(where: { line.starts(with: $0.utf8) }),
            let line = TrailLine(line), let id = line.stamp.session, let entry = Entry(line: line)
        else { return }
        switch entry {
        case .record(.command(let command)):
            guard open[id] != nil || open.count < Self.limit else { return }
            let session = Session(
                session: id, sender: line.stamp.sender, origin: command.origin, account: command.account)
            open[id] = (line.sequence, session)
        case .record(.end):
            open[id] = nil
        case .record(.login(let login)) where login.refusal != nil:
            // The launch failed after the start had been recorded.
            open[id] = nil
        default:
            break
        }
    }

    /// The sessions without an end, in the order in which their commands started.
    public var sessions: [Session] {
        open.values.sorted { $0.order < $1.order }.map(\.session)
    }
}
