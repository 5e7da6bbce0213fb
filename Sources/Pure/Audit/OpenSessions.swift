// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What a trail says of sessions that it does not see end: those that a crash cut off, and those that run.
///
/// The auditor keeps one of each line that it writes; one that starts makes it of the trail that is there
/// (`OpenSessions+Kept.swift`). It looks at many lines in little time: only those of sessions that stay open are read in
/// full.
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

        /// A session.
        public init(session: SessionID, sender: Sender, origin: Record.Origin, account: ByteText) {
            self.session = session
            self.sender = sender
            self.origin = origin
            self.account = account
        }
    }

    /// The most sessions that have started a command and no end.
    public static let limit = 65_536
    /// The sessions without a command that are remembered at least, and those with a last word.
    public static let memory = 16_384

    struct Found: Sendable {
        /// The place of its command's start among all lines; nil before it.
        var started: Int?
        var lines: [[UInt8]]
    }

    var open: [[UInt8]: Found] = [:]
    var complete = RecentSet<[UInt8]>(limit: memory)
    /// How many of the open ones have started.
    private var started = 0
    /// Those that had not started when they were seen first, the oldest first.
    private var undecided: [[UInt8]] = []
    private var count = 0

    /// None yet.
    public init() {}

    /// The types of the lines that sessions have.
    private static let types = [
        "type=USER_AUTH ", "type=USER_LOGIN ", "type=USER_CMD ", "type=USER_END ", "type=USER_ERR ",
        "type=ANOM_ABEND ",
    ]

    /// Looks at whole lines, each with its newline, in their order.
    ///
    /// - Returns: what is behind the last newline.
    @discardableResult
    public mutating func take(lines text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = text
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            take(rest[..<newline])
            rest = rest[newline...].dropFirst()
        }
        return rest
    }

    /// Looks at a line, without its newline; the lines come in their order.
    public mutating func take(_ line: ArraySlice<UInt8>) {
        guard Self.types.contains(where: { line.starts(with: $0.utf8) }) else { return }
        // No value before `res=` holds a blank, so the first one is the field.
        guard let result = Self.after(" res=", in: line) else { return }
        let rest = result.drop { $0 != UInt8(ascii: " ") }
        let key = " session=".utf8
        guard rest.starts(with: key) else { return }
        let id = Array(rest.dropFirst(key.count).prefix(2 * SessionID.size))
        guard id.count == 2 * SessionID.size else { return }
        count += 1
        let isRefusal = line.starts(with: "type=USER_LOGIN ".utf8) && result.starts(with: "failed ".utf8)
        // A refusal after a start says that the launch failed, and an end follows it.
        if line.starts(with: "type=USER_END ".utf8) || isRefusal && open[id]?.started == nil {
            forget(id)
            complete.insert(id)
            return
        }
        guard !complete.contains(id) else { return }
        take(line, of: id, isStart: line.starts(with: "type=USER_CMD ".utf8))
    }

    private mutating func take(_ line: ArraySlice<UInt8>, of id: [UInt8], isStart: Bool) {
        // Taken out and put back, so that its lines are not copied.
        let known = open.removeValue(forKey: id)
        var found = known ?? Found(started: nil, lines: [])
        if isStart, found.started == nil {
            // More than there can be at once: the first are kept.
            guard started < Self.limit else { return }
            found.started = count
            started += 1
        }
        found.lines.append(Array(line))
        open[id] = found
        guard known == nil, found.started == nil else { return }
        undecided.append(id)
        guard undecided.count > 2 * Self.memory else { return }
        for old in undecided.prefix(Self.memory) where open[old]?.started == nil { open[old] = nil }
        undecided.removeFirst(Self.memory)
    }

    private mutating func forget(_ id: [UInt8]) {
        if open.removeValue(forKey: id)?.started != nil { started -= 1 }
    }

    /// The sessions that started a command and have no end, in the order in which they started.
    public var sessions: [Session] {
        let started = open.values.compactMap { found in found.started.map { (order: $0, found: found) } }
        return started.sorted { $0.order < $1.order }.compactMap { Self.session($0.found) }
    }

    /// A session that started a command and has no end; nil where it is none.
    public func session(_ id: SessionID) -> Session? {
        guard let found = open[Self.key(id)], found.started != nil else { return nil }
        return Self.session(found)
    }

    private static func session(_ found: Found) -> Session? {
        let start = found.lines.first { $0.starts(with: "type=USER_CMD ".utf8) }
        guard let start, let line = TrailLine(start[...]), let id = line.stamp.session,
            case .record(.command(let command)) = Entry(line: line)
        else { return nil }
        return Session(session: id, sender: line.stamp.sender, origin: command.origin, account: command.account)
    }

    /// The records of a session that has no last word yet; a long command is whole, or is not among them.
    public func records(of session: SessionID) -> [Record] {
        var records: [Record] = []
        var partial: (next: Int, command: Record.Command)?
        for text in open[Self.key(session)]?.lines ?? [] {
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

    /// Whether the trail has a session's last word: its end, or its refusal before a start.
    public func isComplete(_ session: SessionID) -> Bool {
        complete.contains(Self.key(session))
    }

    /// Forgets a session that is gone; one that started a command is not forgotten before its end is on the trail.
    public mutating func leave(_ session: SessionID) {
        let key = Self.key(session)
        if open[key]?.started == nil { open[key] = nil }
    }

    static func key(_ session: SessionID) -> [UInt8] { Array(session.description.utf8) }

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
