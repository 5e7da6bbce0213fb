// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

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
        // No request has more: the further lines are not of one command.
        guard max(whole.commandLine.count, whole.program.count) <= ServiceSettings.commandLengthLimit else {
            return false
        }
        entry = .record(.command(whole))
        return true
    }

    /// Whether a request was refused here.
    var isRefusal: Bool { kind == .refused }

    /// What happened, in one word: the field `event` for programs, which the type alone does not tell.
    enum Kind: String, CaseIterable {
        case started = "service-started"
        case stopped = "service-stopped"
        case died = "service-died"
        case policyLoaded = "policy-loaded"
        case policyRejected = "policy-rejected"
        case verified
        case notVerified = "not-verified"
        case permitted
        case refused
        case commandStarted = "command-started"
        case commandEnded = "command-ended"
        case lost = "session-lost"
        case denied = "sandbox-denied"
        case killed = "sandbox-killed"
        case notice
        case trailNote = "trail-note"
    }

    /// What happened.
    var kind: Kind {
        switch entry {
        case .lostRequest: return .refused
        case .note: return .trailNote
        case .record(let record):
            switch record {
            case .serviceStart: return .started
            case .serviceStop(_, _, let isFailure): return isFailure ? .died : .stopped
            case .policyLoaded: return .policyLoaded
            case .policyRejected: return .policyRejected
            case .authentication(let check): return check.failure == nil ? .verified : .notVerified
            case .login(let login): return login.refusal == nil ? .permitted : .refused
            case .command: return .commandStarted
            case .end(let end):
                if case .lost = end.outcome { return .lost }
                return .commandEnded
            case .notice: return .notice
            case .denial(let denial): return denial.signal == nil ? .denied : .killed
            }
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
        let account = line["acct"].map { line.accountIsUnknown ? "?" : Shown.name($0) } ?? "-"
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

    /// What happened, for people, without who and when.
    var shortDetail: String {
        let detail = parts.detail
        return detail.count > Self.detailLimit ? detail.prefix(Self.detailLimit) + "…" : detail
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
            let grantors = ByteText(check.grantors).printable
            guard let failure = check.failure else {
                // Nobody proved anything.
                return (check.grantors == "guest-pool" ? "guest" : "verified", nil, grantors + detail)
            }
            return ("not verified", .bad, "\(grantors), \(failure.name)\(detail)")
        case .login(let login):
            let rule = login.rule.map { ByteText("\($0.name), \($0.place)").printable }
            let detail = login.detail.map { ": \($0.printable)" } ?? ""
            let by =
                (login.remoteUser.map { "by \(Shown.name($0)), " } ?? "")
                + (login.pool.map { "a guest of pool \(ByteText($0).printable), " } ?? "")
            guard let refusal = login.refusal else {
                return ("permitted", .good, ByteText(by + (rule ?? "")).text.map { $0 + detail } ?? "")
            }
            let times = login.count > 1 ? ", \(Shown.number(login.count)) times" : ""
            let command = login.command.map { "; command \(Shown.command($0))" } ?? ""
            return ("refused", .bad, by + refusal.name + (rule.map { " (\($0))" } ?? "") + times + detail + command)
        case .command(let command):
            return ("started", nil, "\(command.commandLine.printable)  [\(ByteText(command.sandbox).printable)]")
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
            ("type", .string(line.type.rawValue)), ("event", .string(kind.rawValue)),
            ("pid", .integer(stamp.sender.pid)),
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
