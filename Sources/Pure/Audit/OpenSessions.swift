// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What the end of a trail says of sessions that it does not see end: those that a crash cut off, and those that run.
///
/// It looks at many lines in little time: only those of sessions that stay open are read in full.
public struct OpenSessions: Sendable {
    /// A session that started a command and has no end.
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

    private struct Found: Sendable {
        /// The place of its command's start among all lines; nil before it.
        var started: Int?
        var lines: [[UInt8]]
    }

    private var open: [[UInt8]: Found] = [:]
    private var complete: Set<[UInt8]> = []
    private var count = 0

    /// None yet.
    public init() {}

    /// The types of the lines that sessions have.
    private static let types = [
        "type=USER_AUTH ", "type=USER_LOGIN ", "type=USER_CMD ", "type=USER_END ", "type=USER_ERR ",
        "type=ANOM_ABEND ",
    ]

    /// Looks at a line, without its newline; the lines come in their order.
    public mutating func take(_ line: ArraySlice<UInt8>) {
        guard Self.types.contains(where: { line.starts(with: $0.utf8) }) else { return }
        // No value before `res=` holds a blank, so the first one is the field.
        guard let result = Self.after(" res=", in: line) else { return }
        let isFailure = result.starts(with: "failed ".utf8)
        let rest = result.drop { $0 != UInt8(ascii: " ") }
        let key = " session=".utf8
        guard rest.starts(with: key) else { return }
        let id = Array(rest.dropFirst(key.count).prefix(2 * SessionID.size))
        guard id.count == 2 * SessionID.size else { return }
        count += 1
        if line.starts(with: "type=USER_END ".utf8) || isFailure && line.starts(with: "type=USER_LOGIN ".utf8) {
            // A refusal after a start says that the launch failed.
            open[id] = nil
            if complete.count < Self.limit { complete.insert(id) }
            return
        }
        guard !complete.contains(id), open[id] != nil || open.count < Self.limit else { return }
        var found = open.removeValue(forKey: id) ?? Found(started: nil, lines: [])
        if line.starts(with: "type=USER_CMD ".utf8) { found.started = found.started ?? count }
        found.lines.append(Array(line))
        open[id] = found
    }

    /// The sessions that started a command and have no end, in the order in which they started.
    public var sessions: [Session] {
        let started = open.values.compactMap { found in found.started.map { (order: $0, lines: found.lines) } }
        return started.sorted { $0.order < $1.order }.compactMap { found in
            let start = found.lines.first { $0.starts(with: "type=USER_CMD ".utf8) }
            guard let start, let line = TrailLine(start[...]), let id = line.stamp.session,
                case .record(.command(let command)) = Entry(line: line)
            else { return nil }
            return Session(session: id, sender: line.stamp.sender, origin: command.origin, account: command.account)
        }
    }

    /// The records of a session that has no last word yet; a long command is whole, or is not among them.
    public func records(of session: SessionID) -> [Record] {
        var records: [Record] = []
        var partial: (next: Int, command: Record.Command)?
        for text in open[Array(session.description.utf8)]?.lines ?? [] {
            guard let line = TrailLine(text[...]), case .record(let record)? = Entry(line: line) else { continue }
            guard case .command(let command) = record, let part = CommandPart(line: line) else {
                records.append(record)
                continue
            }
            if part.number == 1 {
                partial = (2, command)
            } else if var whole = partial, whole.next == part.number {
                whole.command.commandLine.bytes += command.commandLine.bytes
                whole.command.program.bytes += command.program.bytes
                whole.next += 1
                partial = whole
            }
            if part.number == part.count, let whole = partial, whole.next == part.count + 1 {
                records.append(.command(whole.command))
            }
        }
        return records
    }

    /// Whether the trail has a session's last word: its end, or its refusal.
    public func isComplete(_ session: SessionID) -> Bool {
        complete.contains(Array(session.description.utf8))
    }

    /// Forgets the lines of sessions without a last word, once all of them are accounted for.
    public mutating func forgetOpen() {
        open = [:]
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
