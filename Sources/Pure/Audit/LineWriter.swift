// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The limits of the trail's text.
public enum TrailFormat {
    /// The most bytes of a line, its newline included: ausearch cuts at 8,969.
    public static let lineLimit = 8_192

    /// What the end of a line takes at most: the quote, `seq`, `prev`, `chain` and the newline.
    static let endLimit = "' seq=18446744073709551615 prev= chain=\n".utf8.count + 2 * ChainHead.size

    /// The most characters of `exe`.
    static let executableLimit = 1_026
    /// The most characters of an account's or remote user's name: 256 bytes in hexadecimal, or 512 as they are.
    static let nameLimit = 514
    /// The most bytes of a bare word before encoding, which triples them at most.
    static let wordLimit = 256
    /// The most characters of a policy's file name.
    static let fileLimit = 2_050
    /// The most characters of `program` in one line.
    static let programLimit = 2_050
    /// What a list of cut fields takes at most.
    static let cutLimit = " cut=acct,ruser,exe,program,file,errors,cmd".utf8.count
    /// What the length of a command that was cut takes at most.
    static let commandLengthLimit = " cmdlen=".utf8.count + 20
    /// The characters that a refusal's detail leaves for its command.
    static let refusedCommandRoom = 1_024
    /// What the number of a part takes at most.
    static let partLimit = " part=99999/99999".utf8.count
}

/// Writes one entry's lines in auditd's grammar, up to and with `seq`.
///
/// What a client sent stands behind the fields that auditd's tools look for, since they take the first they find.
struct LineWriter {
    /// The number of lines: more than one only where a command is long.
    let parts: Int

    private let type: RecordType
    private let stamp: Stamp
    /// From `op=` to the last field that every line has.
    private let common: [UInt8]
    private let command: CommandText?

    /// A command's pieces.
    private struct CommandText {
        let program: [UInt8]
        let programIsHexadecimal: Bool
        let programPiece: Int
        let commandLine: [UInt8]
        let commandLineIsHexadecimal: Bool
        let commandLinePiece: Int
    }

    init(entry: Entry, stamp: Stamp) {
        type = entry.type
        self.stamp = stamp
        var fields = FieldWriter(room: TrailFormat.lineLimit - TrailFormat.endLimit - Self.prefixLimit)
        fields.write(entry, stamp)
        common = fields.finish()

        guard case .record(.command(let record)) = entry else {
            command = nil
            parts = 1
            return
        }
        let room =
            TrailFormat.lineLimit - TrailFormat.endLimit - TrailFormat.partLimit - Self.prefixLimit - common.count
            - " program= cmd=".utf8.count
        let program = record.program.bytes
        let commandLine = record.commandLine.bytes
        let programRoom = min(FieldText.length(program), TrailFormat.programLimit)
        let programIsHexadecimal = FieldText.needsHexadecimal(program)
        let commandLineIsHexadecimal = FieldText.needsHexadecimal(commandLine)
        let text = CommandText(
            program: program, programIsHexadecimal: programIsHexadecimal,
            programPiece: Self.piece(room: programRoom, programIsHexadecimal),
            commandLine: commandLine, commandLineIsHexadecimal: commandLineIsHexadecimal,
            commandLinePiece: Self.piece(room: room - programRoom, commandLineIsHexadecimal))
        command = text
        parts = max(
            1, Self.pieces(program.count, of: text.programPiece),
            Self.pieces(commandLine.count, of: text.commandLinePiece))
    }

    /// What stands before the fields, at its longest.
    private static let prefixLimit =
        "type= msg=audit(.:): pid= uid= auid= ses= msg='".utf8.count + "SERVICE_START".utf8.count + 5 * 11 + 2 * 20 + 3

    private static func piece(room: Int, _ isHexadecimal: Bool) -> Int {
        max(1, isHexadecimal ? room / 2 : room - 2)
    }

    private static func pieces(_ count: Int, of size: Int) -> Int {
        (count + size - 1) / size
    }

    /// Appends a line up to and with `seq`.
    func append(part: Int, sequence: UInt64, to line: inout [UInt8]) {
        line.append(contentsOf: "type=".utf8)
        line.append(contentsOf: type.rawValue.utf8)
        line.append(contentsOf: " msg=audit(".utf8)
        FieldText.append(stamp.milliseconds / 1_000, to: &line)
        line.append(UInt8(ascii: "."))
        let fraction = String(stamp.milliseconds % 1_000)
        line.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: 3 - fraction.utf8.count))
        line.append(contentsOf: fraction.utf8)
        line.append(UInt8(ascii: ":"))
        FieldText.append(sequence, to: &line)
        line.append(contentsOf: "): pid=".utf8)
        FieldText.append(stamp.sender.pid, to: &line)
        line.append(contentsOf: " uid=".utf8)
        FieldText.append(stamp.sender.uid, to: &line)
        line.append(contentsOf: " auid=".utf8)
        FieldText.append(stamp.sender.auid, to: &line)
        line.append(contentsOf: " ses=".utf8)
        FieldText.append(stamp.sender.ses, to: &line)
        line.append(contentsOf: " msg='".utf8)
        appendMessage(part: part, to: &line)
        line.append(contentsOf: "' seq=".utf8)
        FieldText.append(sequence, to: &line)
    }

    /// Appends what stands between the quotes of `msg='…'`: the whole text of a message to the kernel.
    func appendMessage(part: Int, to line: inout [UInt8]) {
        line.append(contentsOf: common)
        if let command { append(command, part: part, to: &line) }
    }

    private func append(_ command: CommandText, part: Int, to line: inout [UInt8]) {
        if parts > 1 {
            line.append(contentsOf: " part=".utf8)
            FieldText.append(part + 1, to: &line)
            line.append(UInt8(ascii: "/"))
            FieldText.append(parts, to: &line)
        }
        let program = command.program.dropFirst(part * command.programPiece).prefix(command.programPiece)
        if part == 0 || !program.isEmpty {
            line.append(contentsOf: " program=".utf8)
            FieldText.append(program, hexadecimal: command.programIsHexadecimal, to: &line)
        }
        let piece = command.commandLine.dropFirst(part * command.commandLinePiece).prefix(command.commandLinePiece)
        if part == 0 || !piece.isEmpty {
            line.append(contentsOf: " cmd=".utf8)
            FieldText.append(piece, hexadecimal: command.commandLineIsHexadecimal, to: &line)
        }
    }
}

/// Collects the fields between the quotes of `msg='…'`.
private struct FieldWriter {
    private var bytes: [UInt8] = []
    private var cut: [String] = []
    /// The most bytes of all fields together.
    private let room: Int

    init(room: Int) {
        self.room = room - TrailFormat.cutLimit
        bytes.reserveCapacity(512)
    }

    mutating func write(_ entry: Entry, _ stamp: Stamp) {
        switch entry {
        case .record(.serviceStart(let unit)):
            begin("start", account: nil, origin: nil, isSuccess: true, stamp)
            word("unit", unit)
        case .record(.serviceStop(let unit, let reason, let isFailure)):
            begin("stop", account: nil, origin: nil, isSuccess: !isFailure, stamp)
            word("unit", unit)
            word("reason", reason)
        case .record(.policyLoaded(let revision, let file, let rules)):
            begin("load-policy", account: nil, origin: nil, isSuccess: true, stamp)
            word("revision", revision.description)
            number("rules", rules)
            untrusted("file", file.bytes, limit: TrailFormat.fileLimit)
        case .record(.policyRejected(let file, let errors)):
            begin("load-policy", account: nil, origin: nil, isSuccess: false, stamp)
            untrusted("file", file.bytes, limit: TrailFormat.fileLimit)
            untrusted("errors", errors.bytes)
        case .record(.authentication(let record)):
            begin(
                "authentication", account: .some(record.account), origin: record.origin,
                isSuccess: record.failure == nil, stamp)
            word("grantors", record.grantors)
            if let failure = record.failure { word("reason", failure.name) }
            if let pool = record.pool { word("pool", pool) }
            detail(record.detail, isSuccess: record.failure == nil)
        case .record(.login(let record)):
            login(record, stamp)
        case .record(.command(let record)):
            begin("command", account: .some(record.account), origin: record.origin, isSuccess: true, stamp)
            word("sandbox", record.sandbox)
            if let limits = record.limits { word("limits", limits) }
            number("argc", record.argumentCount)
        case .record(.end(let record)):
            end(record, stamp)
        case .record(.notice(let record)):
            begin(record.operation, account: .some(record.account), origin: record.origin, isSuccess: false, stamp)
            detail(record.detail, isSuccess: false)
        case .record(.denial(let record)):
            denial(record, stamp)
        case .lostRequest(let reason):
            begin("login", account: .some(nil), origin: nil, isSuccess: false, stamp)
            word("reason", reason.name)
        case .note(let note):
            begin(note.subject.rawValue, account: nil, origin: nil, isSuccess: false, stamp)
            detail(note.detail, isSuccess: false)
        }
    }

    private mutating func login(_ record: Record.Login, _ stamp: Stamp) {
        begin(
            "login", account: .some(record.account), origin: record.origin, isSuccess: record.refusal == nil, stamp)
        if let refusal = record.refusal { word("reason", refusal.name) }
        if let rule = record.rule {
            word("rule", rule.name)
            key("at")
            FieldText.appendWord(rule.place.file.utf8.prefix(RuleReference.fileLimit), to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            FieldText.append(rule.place.line, to: &bytes)
        }
        if let revision = record.revision { word("revision", revision.description) }
        if let pool = record.pool { word("pool", pool) }
        if record.count != 1 { number("count", min(record.count, Record.Login.countLimit)) }
        if let user = record.remoteUser { untrusted("ruser", user.bytes, limit: TrailFormat.nameLimit) }
        detail(
            record.detail, isSuccess: record.refusal == nil,
            leaving: record.command == nil ? 0 : TrailFormat.refusedCommandRoom)
        guard let command = record.command else { return }
        let kept = untrusted("cmd", command.text.bytes, leaving: TrailFormat.commandLengthLimit)
        guard kept < command.length else { return }
        number("cmdlen", command.length)
        // What came cut is cut, too, where the line has room for it.
        if kept == command.text.bytes.count { cut.append("cmd") }
    }

    private mutating func end(_ record: Record.End, _ stamp: Stamp) {
        var isSuccess = true
        if case .lost = record.outcome { isSuccess = false }
        begin("end", account: .some(record.account), origin: record.origin, isSuccess: isSuccess, stamp)
        switch record.outcome {
        case .status(let status):
            number("status", status)
        case .signal(let signal):
            number("signal", signal)
        case .lost(let reason):
            // Nobody counted what the session would have.
            word("reason", "lost")
            word("cause", reason)
            return
        }
        number("in", record.bytesIn)
        number("out", record.bytesOut)
        number("err", record.bytesErr)
        number("ms", record.milliseconds)
        if let limit = record.limit { word("limit", limit) }
        if let leftovers = record.leftovers { number("leftovers", leftovers) }
        if record.droppedStderr != 0 { number("err-dropped", record.droppedStderr) }
        if record.ignoredSignals != 0 { number("signals-ignored", record.ignoredSignals) }
    }

    private mutating func denial(_ record: Record.Denial, _ stamp: Stamp) {
        begin(
            Record.Denial.operation, account: .some(record.account), origin: record.origin, isSuccess: false, stamp)
        if let signal = record.signal { number("sig", signal) }
        if record.count != 1 { number("count", min(record.count, Record.Denial.countLimit)) }
        var path: ByteText?
        switch record.subject {
        case .call(let name): word("syscall", name ?? "")
        case .access(let access, let object):
            word("access", access)
            path = object
        case .further: break
        }
        if let program = record.program { untrusted("program", program.bytes, limit: TrailFormat.programLimit) }
        if let path { untrusted("file", path.bytes) }
    }

    /// The fields that every line has, in libaudit's order; an account of nil inside is one that is not known.
    private mutating func begin(
        _ operation: String, account: ByteText??, origin: Record.Origin?, isSuccess: Bool, _ stamp: Stamp
    ) {
        bytes.append(contentsOf: "op=".utf8)
        FieldText.appendWord(operation.utf8.prefix(TrailFormat.wordLimit), to: &bytes)
        if let account {
            if let name = account {
                // The bare question mark is taken: it says that the name is not known.
                let isTaken = name.bytes == [UInt8(ascii: "?")]
                untrusted("acct", name.bytes, limit: TrailFormat.nameLimit, alwaysHexadecimal: isTaken)
            } else {
                literal(" acct=\"?\"")
            }
        }
        untrusted("exe", stamp.sender.executable.bytes, limit: TrailFormat.executableLimit)
        literal(" hostname=? addr=")
        literal(origin?.address?.description ?? "?")
        literal(" terminal=")
        literal(origin?.service.name ?? "?")
        literal(isSuccess ? " res=success" : " res=failed")
        if let session = stamp.session { word("session", session.description) }
        if let origin {
            word("service", origin.service.name)
            number("port", origin.port)
        }
    }

    /// What was found: the file that vouched, or what went wrong.
    private mutating func detail(_ detail: ByteText?, isSuccess: Bool, leaving room: Int = 0) {
        guard let detail else { return }
        untrusted(isSuccess ? "file" : "errors", detail.bytes, leaving: room)
    }

    private mutating func literal(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func key(_ key: String) {
        bytes.append(UInt8(ascii: " "))
        bytes.append(contentsOf: key.utf8)
        bytes.append(UInt8(ascii: "="))
    }

    private mutating func number(_ name: String, _ value: some BinaryInteger) {
        key(name)
        FieldText.append(value, to: &bytes)
    }

    private mutating func word(_ name: String, _ value: String) {
        key(name)
        FieldText.appendWord(value.utf8.prefix(TrailFormat.wordLimit), to: &bytes)
    }

    /// Writes untrusted text, cut to what is left of the line, and to a limit of its own; returns how many bytes of it.
    @discardableResult
    private mutating func untrusted(
        _ name: String, _ value: [UInt8], limit: Int = .max, leaving: Int = 0, alwaysHexadecimal: Bool = false
    ) -> Int {
        key(name)
        let isHexadecimal = alwaysHexadecimal || FieldText.needsHexadecimal(value)
        let characters = max(2, min(limit, room - bytes.count - leaving))
        let most = isHexadecimal ? characters / 2 : characters - 2
        if value.count > most { cut.append(name) }
        let kept = value.prefix(most)
        // Nothing at all has no hexadecimal form.
        FieldText.append(kept, hexadecimal: isHexadecimal && !kept.isEmpty, to: &bytes)
        return kept.count
    }

    /// The fields, and which of them were cut.
    consuming func finish() -> [UInt8] {
        if !cut.isEmpty { word("cut", cut.joined(separator: "+")) }
        return bytes
    }
}
