// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit show`: the records, one a line.
struct AuditShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show records of the trail.",
        discussion: """
            One line a record; the session's id is cut to eight digits. With --json, one object a line, with every field \
            in full. The chain is not checked: that is what verify does.

            EXAMPLES
              portcullis audit show --denied --since 1h
              portcullis audit show --from 10.20.0.0/16 --user backup --json
              portcullis audit show --session 0f3a99c1
            """)

    @OptionGroup var trail: TrailOptions
    @OptionGroup var filter: TrailFilter
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            var reader = try TrailFileReader(trail.path)
            var cutter = LineCutter()
            var output = Output()
            var pending: TrailEvent?
            var number = 0
            let check = try filter.prepared()
            if !format.isJSON { try output.line(output.coloured(TrailEvent.heading, .faint)) }
            let emit = { (event: TrailEvent, output: inout Output) throws in
                guard check.matches(event) else { return }
                try output.line(format.isJSON ? event.json.text : event.row(output))
            }
            while true {
                let piece = try reader.next()
                if piece.isEmpty { break }
                try cutter.take(piece) { bytes in
                    number += 1
                    guard let line = TrailLine(bytes), let entry = Entry(line: line) else {
                        complain(
                            "\(trail.path):\(number): not a record: \(ByteText(Array(bytes.prefix(80))).printable)")
                        return
                    }
                    let part = CommandPart(line: line)
                    if let part, part.number > 1, var whole = pending, whole.add(line, entry) {
                        pending = whole
                    } else {
                        if let event = pending { try emit(event, &output) }
                        pending = TrailEvent(line: line, entry: entry)
                    }
                    if part == nil || part?.number == part?.count, let event = pending {
                        try emit(event, &output)
                        pending = nil
                    }
                }
            }
            if let event = pending { try emit(event, &output) }
            if !cutter.rest.isEmpty {
                complain("\(trail.path):\(number + 1): the last record is torn: \(cutter.rest.count) bytes")
            }
            try output.flush()
        }
    }
}

/// Which records are meant; all that are given must be true.
struct TrailFilter: ParsableArguments {
    @Option(help: "Only this session: its id, or the first digits of it.")
    var session: String?

    @Option(help: "Only this account or remote user.")
    var user: String?

    @Option(help: "Only from this address or block.")
    var from: String?

    @Option(help: "Only since then: 90m, 12h, 2d, or 2026-11-20, 2026-11-20T22:00 in local time.")
    var since: String?

    @Flag(help: "Only refusals.")
    var denied = false

    /// The filter, with its words understood.
    struct Prepared {
        var session: String?
        var user: ByteText?
        var from: AddressBlock?
        var sinceMilliseconds: UInt64?
        var sinceLocal: String?
        var isDenied: Bool

        func matches(_ event: TrailEvent) -> Bool {
            let stamp = event.line.stamp
            if let session {
                guard let id = stamp.session, id.description.hasPrefix(session) else { return false }
            }
            if let user {
                guard event.line["acct"] == user || event.line["ruser"] == user else { return false }
            }
            if let from {
                guard let text = event.line["addr"], let address = IPAddress(ascii: text.bytes), from.contains(address)
                else { return false }
            }
            if let sinceMilliseconds, stamp.milliseconds < sinceMilliseconds { return false }
            if let sinceLocal {
                let seconds = Int64(clamping: stamp.milliseconds / 1_000)
                guard Clock.localText(seconds: seconds, format: "%Y-%m-%dT%H:%M:%S") >= sinceLocal else { return false }
            }
            return !isDenied || event.isRefusal
        }
    }

    /// Understands the words.
    func prepared() throws -> Prepared {
        var result = Prepared(isDenied: denied)
        if let session {
            guard let digits = Self.digits(ofSession: session) else {
                throw ValidationError("--session takes 1 to 32 hexadecimal digits, not '\(session)'.")
            }
            result.session = digits
        }
        result.user = user.map { ByteText($0) }
        if let from {
            guard let block = Self.block(from) else {
                throw ValidationError("--from takes an address or a block such as 10.20.0.0/16, not '\(from)'.")
            }
            result.from = block
        }
        if let since {
            if let age = Self.duration(since) {
                let now = UInt64(max(0, Clock.wallMilliseconds()))
                result.sinceMilliseconds = now > age ? now - age : 0
            } else if let moment = Self.moment(since) {
                result.sinceLocal = moment
            } else {
                throw ValidationError("--since takes 90m, 12h, 2d, 2026-11-20 or 2026-11-20T22:00, not '\(since)'.")
            }
        }
        return result
    }

    func validate() throws {
        _ = try prepared()
    }

    /// The first digits of a session's id, as records have them; nil for anything else.
    static func digits(ofSession text: String) -> String? {
        let digits = text.lowercased()
        let isHexadecimal = digits.utf8.allSatisfy { Hexadecimal.bytes([$0, $0]) != nil }
        return (1...32).contains(digits.utf8.count) && isHexadecimal ? digits : nil
    }

    private static func block(_ text: String) -> AddressBlock? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        guard parts.count == 2, let last = parts.last else { return AddressBlock(address) }
        return Int(last).flatMap { AddressBlock(base: address, prefixLength: $0) }
    }

    /// Milliseconds of `90m` and the like.
    static func duration(_ text: String) -> UInt64? {
        let units: [Character: UInt64] = ["s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        guard let unit = text.last.flatMap({ units[$0] }), text.count <= 10, let count = UInt64(text.dropLast()) else {
            return nil
        }
        return count.multipliedReportingOverflow(by: unit).partialValue
    }

    /// A local date and time in full, comparable as text.
    static func moment(_ text: String) -> String? {
        let whole = "0000-00-00T00:00:00"
        let given = text.map { $0 == " " ? "T" : $0 }
        guard [10, 16, 19].contains(given.count) else { return nil }
        for (character, form) in zip(given, whole) {
            guard form == "0" ? ("0"..."9").contains(character) : character == form else { return nil }
        }
        return String(given) + whole.dropFirst(given.count)
    }
}

/// A record as it is shown: one line of the trail, or the several lines of one long command.
struct TrailEvent {
    /// The first line; with a long command's whole text.
    private(set) var line: TrailLine
    private(set) var entry: Entry

    init(line: TrailLine, entry: Entry) {
        self.line = line
        self.entry = entry
    }

    /// Adds a further line of the same command; false where it is none.
    mutating func add(_ next: TrailLine, _ nextEntry: Entry) -> Bool {
        guard next.stamp == line.stamp, case .record(.command(var whole)) = entry,
            case .record(.command(let part)) = nextEntry
        else { return false }
        whole.commandLine.bytes += part.commandLine.bytes
        whole.program.bytes += part.program.bytes
        entry = .record(.command(whole))
        return true
    }

    /// Whether a request was refused here.
    var isRefusal: Bool {
        switch entry {
        case .record(.login(let login)): login.refusal != nil
        case .lostRequest: true
        default: false
        }
    }

    /// The most characters of what was found or run, for people.
    private static let detailLimit = 400

    /// The names of the columns.
    static let heading =
        "TIME                 SESSION   ACCOUNT   VIA    FROM             EVENT        WHAT"

    /// One line for people.
    func row(_ output: Output) -> String {
        let (event, tone, detail) = parts
        let session = line.stamp.session.map { String($0.description.prefix(8)) } ?? "-"
        let account = line["acct"].map { line.accountIsUnknown ? "?" : $0.printable } ?? "-"
        let via = line["terminal"].map { $0.isEmpty ? "-" : $0.printable } ?? "-"
        let from = line["addr"].map { $0.isEmpty ? "-" : $0.printable } ?? "-"
        let time = Shown.localTime(seconds: Int64(clamping: line.stamp.milliseconds / 1_000))
        let text = detail.count > Self.detailLimit ? detail.prefix(Self.detailLimit) + "…" : detail[...]
        let columns = [
            Shown.column(time, 19), Shown.column(session, 8), Shown.column(account, 8), Shown.column(via, 5),
            Shown.column(from, 15), output.coloured(Shown.column(event, 11), tone), String(text),
        ]
        return columns.joined(separator: "  ")
    }

    private var parts: (event: String, tone: Output.Tone?, detail: String) {
        switch entry {
        case .record(let record):
            return parts(of: record)
        case .lostRequest(let reason):
            return ("refused", .bad, "\(reason.name): the session died before its request was known")
        case .note(let note):
            return (note.subject.rawValue, .doubtful, note.detail.printable)
        }
    }

    private func parts(of record: Record) -> (String, Output.Tone?, String) {
        switch record {
        case .serviceStart(let unit):
            return ("up", nil, ByteText(unit).printable)
        case .serviceStop(let unit, let reason, let isFailure):
            return (isFailure ? "died" : "stopped", isFailure ? .bad : nil, ByteText("\(unit): \(reason)").printable)
        case .policyLoaded(let revision, let file, let rules):
            return ("policy", nil, "\(Shown.short(revision)), \(Shown.count(rules, "rule")), \(file.printable)")
        case .policyRejected(let file, let errors):
            let first = errors.bytes.prefix { $0 != UInt8(ascii: "\n") }
            return ("bad policy", .bad, "\(file.printable): \(ByteText(Array(first)).printable)")
        case .authentication(let check):
            let pool = check.pool.map { ", of pool \(ByteText($0).printable)" } ?? ""
            let detail = pool + (check.detail.map { ": \($0.printable)" } ?? "")
            guard let failure = check.failure else {
                // Nobody proved anything.
                return (check.grantors == "guest-pool" ? "guest" : "verified", nil, check.grantors + detail)
            }
            return ("not verified", .bad, "\(check.grantors), \(failure.name)\(detail)")
        case .login(let login):
            let rule = login.rule.map { ByteText("\($0.name), \($0.place)").printable }
            let detail = login.detail.map { ": \($0.printable)" } ?? ""
            let by =
                (login.remoteUser.map { "by \($0.printable), " } ?? "")
                + (login.pool.map { "a guest of pool \(ByteText($0).printable), " } ?? "")
            guard let refusal = login.refusal else {
                return ("permitted", .good, ByteText(by + (rule ?? "")).text.map { $0 + detail } ?? "")
            }
            let times = login.count > 1 ? ", \(Shown.number(login.count)) times" : ""
            let command = login.command.map { "; command \(Shown.command($0))" } ?? ""
            return ("refused", .bad, by + refusal.name + (rule.map { " (\($0))" } ?? "") + times + detail + command)
        case .command(let command):
            return ("started", nil, "\(command.commandLine.printable)  [\(command.sandbox)]")
        case .end(let end):
            return parts(of: end)
        case .notice(let notice):
            return (ByteText(notice.operation).printable, .doubtful, notice.detail.printable)
        case .denial(let denial):
            return (denial.signal == nil ? "denied" : "killed", .bad, Self.words(for: denial))
        }
    }

    /// A denial in plain words.
    static func words(for denial: Record.Denial) -> String {
        let program = denial.program.map { " by \($0.printable)" } ?? ""
        let times = denial.count > 1 ? ", \(Shown.number(denial.count)) times" : ""
        switch denial.subject {
        case .call(nil):
            return "by SIGSYS: a system call that the sandbox does not allow, or the command's own kill(2)" + times
        case .call(let name?):
            return "the system call \(ByteText(name).printable)\(program): not in the sandbox" + times
        case .access(let access, let path):
            let object = path.map { " \($0.printable)" } ?? ""
            return "\(ByteText(access).printable)\(object)\(program): not in the sandbox" + times
        case .further:
            return "\(Shown.number(denial.count)) more, not recorded one by one"
        }
    }

    private func parts(of end: Record.End) -> (String, Output.Tone?, String) {
        let event: String
        switch end.outcome {
        case .status(let status): event = "exit \(status)"
        case .signal(let signal): event = "signal \(signal)"
        case .lost(let reason): return ("lost", .bad, "the session died: \(ByteText(reason).printable)")
        }
        var detail =
            "\(Shown.duration(milliseconds: end.milliseconds)); bytes in \(Shown.number(end.bytesIn)), "
            + "out \(Shown.number(end.bytesOut)), err \(Shown.number(end.bytesErr))"
        if let limit = end.limit { detail += "; limit \(ByteText(limit).printable)" }
        if let leftovers = end.leftovers, leftovers > 0 {
            detail += "; \(Shown.count(leftovers, "process")) left over".replacing("processs", with: "processes")
        }
        if end.droppedStderr > 0 { detail += "; \(Shown.number(end.droppedStderr)) of stderr dropped" }
        if end.ignoredSignals > 0 { detail += "; \(Shown.count(end.ignoredSignals, "signal")) ignored" }
        return (event, nil, detail)
    }

    /// Keys whose values are numbers.
    private static let numbers: Set<String> = [
        "port", "argc", "count", "rules", "status", "signal", "in", "out", "err", "ms", "leftovers", "err-dropped",
        "signals-ignored", "cmdlen", "sig",
    ]

    /// Everything, under the keys that the line has.
    var json: JSON {
        let stamp = line.stamp
        var members: [(String, JSON)] = [
            ("seq", .integer(line.sequence)), ("time", .string(Shown.universalTime(milliseconds: stamp.milliseconds))),
            ("type", .string(line.type.rawValue)), ("pid", .integer(stamp.sender.pid)),
            ("uid", .integer(stamp.sender.uid)),
            ("auid", stamp.sender.auid == .max ? .null : .integer(stamp.sender.auid)),
            ("ses", stamp.sender.ses == .max ? .null : .integer(stamp.sender.ses)),
        ]
        for field in line.fields where field.key != "part" {
            var value = field.value
            if case .record(.command(let command)) = entry {
                if field.key == "cmd" { value = command.commandLine }
                if field.key == "program" { value = command.program }
            }
            if field.key == "acct", line.accountIsUnknown {
                members.append((field.key, .null))
            } else if value.isEmpty, !field.isUntrusted {
                members.append((field.key, .null))
            } else if Self.numbers.contains(field.key), let digits = value.text, UInt64(digits) != nil {
                members.append((field.key, .number(digits)))
            } else {
                members.append((field.key, .bytes(value)))
            }
            // What no JSON string can hold is there byte for byte as well.
            if field.isUntrusted, value.text == nil {
                members.append((field.key + "Hex", .string(Hexadecimal.lower(value.bytes))))
            }
        }
        members.append(("chain", .string(line.head.description)))
        return .object(members)
    }
}
