// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// Finds the sessions whose command started and of whose end the trail says nothing: what a crash cut off.
///
/// It looks at many lines in little time: only those of sessions that stay open are read in full.
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

    private var open: [[UInt8]: (order: Int, line: [UInt8])] = [:]
    private var complete: Set<[UInt8]> = []
    private var count = 0

    /// None yet.
    public init() {}

    /// Looks at a line, without its newline; the lines come in their order.
    public mutating func take(_ line: ArraySlice<UInt8>) {
        let isCommand = line.starts(with: "type=USER_CMD ".utf8)
        guard isCommand || line.starts(with: "type=USER_END ".utf8) || line.starts(with: "type=USER_LOGIN ".utf8) else {
            return
        }
        // No value before `res=` holds a blank, so the first one is the field.
        guard let result = Self.after(" res=", in: line) else { return }
        let isFailure = result.starts(with: "failed ".utf8)
        let rest = result.drop { $0 != UInt8(ascii: " ") }
        let key = " session=".utf8
        guard rest.starts(with: key) else { return }
        let id = Array(rest.dropFirst(key.count).prefix(2 * SessionID.size))
        guard id.count == 2 * SessionID.size else { return }
        count += 1
        if isCommand {
            guard open[id] == nil, open.count < Self.limit else { return }
            open[id] = (count, Array(line))
        } else if isFailure || line.starts(with: "type=USER_END ".utf8) {
            // A refusal after a start says that the launch failed.
            open[id] = nil
            if complete.count < Self.limit { complete.insert(id) }
        }
    }

    /// The sessions without an end, in the order in which their commands started.
    public var sessions: [Session] {
        open.values.sorted { $0.order < $1.order }.compactMap { found in
            guard let line = TrailLine(found.line[...]), let id = line.stamp.session,
                case .record(.command(let command)) = Entry(line: line)
            else { return nil }
            return Session(session: id, sender: line.stamp.sender, origin: command.origin, account: command.account)
        }
    }

    /// Whether the trail has a session's last word: its end, or its refusal.
    public func isComplete(_ session: SessionID) -> Bool {
        complete.contains(Array(session.description.utf8))
    }

    private static func after(_ key: String, in line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var rest = line
        while let blank = rest.firstIndex(of: UInt8(ascii: " ")) {
            rest = rest[blank...]
            if rest.starts(with: key.utf8) { return rest.dropFirst(key.utf8.count) }
            rest = rest.dropFirst()
        }
        return nil
    }
}
