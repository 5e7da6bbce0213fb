// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// A request from its first record to its last, put together from what the trail says of it.
struct TrailSession {
    /// How it stands with it, as far as the trail goes.
    enum State: String, CaseIterable {
        /// It was refused.
        case refused
        /// Its command ended with a status.
        case exited
        /// A signal ended its command.
        case signalled
        /// The session died, so nobody knows how its command ended.
        case lost
        /// Its command runs, or is about to.
        case running
        /// The gateway stopped and started again, and the trail has no end of it.
        case endless = "no-end"
    }

    /// The most bytes of a command that are kept; `commandLength` says how many it has.
    static let commandLimit = 1_024

    /// Its id; nil for what front refused, which has none.
    var session: SessionID?
    /// The first record's time, in milliseconds since 1970.
    var began: UInt64
    /// The last record's.
    var finished: UInt64
    var service: Service?
    var address: IPAddress?
    var port: UInt16?
    /// The account; nil where it is not known.
    var account: ByteText?
    /// The remote user that an RSH client claimed.
    var remoteUser: ByteText?
    /// The guest pool.
    var pool: String?
    /// What vouched for it.
    var grantors: String?
    /// The rule that decided.
    var rule: RuleReference?
    /// The policy that decided.
    var revision: Revision?
    /// Why it was refused.
    var refusal: Reason?
    /// What was found besides, for people.
    var detail: ByteText?
    /// The first bytes of the command.
    var command: ByteText?
    /// How many bytes the command has.
    var commandLength = 0
    /// The path that was executed.
    var program: ByteText?
    var sandbox: String?
    /// When the command started, in milliseconds since 1970.
    var started: UInt64?
    /// The end record.
    var end: Record.End?
    /// What its sandbox denied.
    var denials = 0
    /// Records of something that a reader should know.
    var notices = 0
    /// How many requests it stands for: more than one only where refusals were too many to record one by one.
    var count = 1
    /// Whether the gateway stopped or started since its last record.
    var isOutlived = false

    init(session: SessionID?, began: UInt64) {
        self.session = session
        self.began = began
        finished = began
    }

    /// How it stands with it.
    var state: State {
        if refusal != nil { return .refused }
        switch end?.outcome {
        case .status: return .exited
        case .signal: return .signalled
        case .lost: return .lost
        case nil: return isOutlived ? .endless : .running
        }
    }

    /// Whether it was refused.
    var isRefused: Bool { refusal != nil }

    /// How long its command ran, in milliseconds; nil where that is not known.
    var duration: UInt64? {
        guard let end else { return nil }
        if case .lost = end.outcome { return nil }
        return end.milliseconds
    }

    /// Bytes of both directions, as the kernel told.
    var bytes: UInt64 {
        guard let end else { return 0 }
        let (two, overflowed) = end.bytesIn.addingReportingOverflow(end.bytesOut)
        let (all, carried) = two.addingReportingOverflow(end.bytesErr)
        return overflowed || carried ? .max : all
    }

    /// How it ended, in few words: `exit 0`, `SIGTERM`, `timeout`, `running`, `refused`.
    var result: String {
        switch state {
        case .refused: return "refused"
        case .running: return "running"
        case .endless: return "no end"
        case .lost: return "lost"
        case .exited, .signalled:
            guard let end else { return "?" }
            if let limit = end.limit { return "limit \(ByteText(limit).printable)" }
            switch end.outcome {
            case .status(let status): return "exit \(status)"
            case .signal(let number): return SignalName.of(number) ?? "signal \(number)"
            case .lost: return "lost"
            }
        }
    }

    /// The command for people, cut to a number of characters; nil where none is known.
    func shownCommand(limit: Int) -> String? {
        guard let command else { return nil }
        let text = command.printable
        let isWhole = command.count == commandLength
        if isWhole, text.utf8.count <= limit { return text }
        return String(text.prefix(max(0, limit - 1))) + "…"
    }

    /// The rule with its place, or the reason with the rule: what decided.
    var verdict: String {
        let name = rule.map { ByteText($0.name).printable }
        guard let refusal else { return name ?? "-" }
        let times = count > 1 ? ", \(Shown.number(count)) times" : ""
        return refusal.name + (name.map { " (\($0))" } ?? "") + times
    }

    /// One object for programs.
    var json: JSON {
        var status: JSON = .null
        var signal: JSON = .null
        switch end?.outcome {
        case .status(let number): status = .integer(number)
        case .signal(let number): signal = .integer(number)
        case .lost, nil: break
        }
        let hasCounts = end != nil && state != .lost
        let time = { (milliseconds: UInt64) in JSON.string(Shown.universalTime(milliseconds: milliseconds)) }
        return .object(
            [
                ("session", .optional(session?.description)), ("state", .string(state.rawValue)),
                ("began", time(began)), ("started", started.map(time) ?? .null),
                ("finished", state == .running ? .null : time(finished)), ("count", .integer(count)),
                ("service", .optional(service?.name)), ("from", .optional(address?.description)),
                ("port", port.map { .integer($0) } ?? .null),
            ] + JSON.members("by", remoteUser) + JSON.members("as", account) + [
                ("pool", .optional(pool)), ("grantors", .optional(grantors)),
                ("reason", .optional(refusal?.name)), ("rule", .optional(rule?.name)),
                ("at", .optional(rule?.place.description)), ("revision", .optional(revision?.description)),
            ] + JSON.members("detail", detail) + JSON.members("command", command) + [
                ("commandLength", command == nil ? .null : .integer(commandLength))
            ] + JSON.members("program", program) + [
                ("sandbox", .optional(sandbox)), ("status", status), ("signal", signal),
                ("limit", .optional(end?.limit)),
                ("ms", duration.map { .integer($0) } ?? .null),
                ("in", hasCounts ? .integer(end?.bytesIn ?? 0) : .null),
                ("out", hasCounts ? .integer(end?.bytesOut ?? 0) : .null),
                ("err", hasCounts ? .integer(end?.bytesErr ?? 0) : .null),
                ("denials", .integer(denials)), ("notices", .integer(notices)),
            ])
    }
}

extension JSON {
    /// A member with a stranger's bytes; a second one, `…Hex`, where no string can hold them.
    static func members(_ key: String, _ value: ByteText?) -> [(String, JSON)] {
        guard let value else { return [(key, .null)] }
        guard value.text == nil else { return [(key, .bytes(value))] }
        return [(key, .bytes(value)), (key + "Hex", .string(Hexadecimal.lower(value.bytes)))]
    }
}

/// The names of Linux's signals, the same numbers on x86 and ARM (signal(7)).
enum SignalName {
    private static let names = [
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
        "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",
        "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR",
        "SIGSYS",
    ]

    /// The name of a number; nil for real-time signals and others without a name.
    static func of(_ number: UInt8) -> String? {
        let index = Int(number) - 1
        return names.indices.contains(index) ? names[index] : nil
    }
}
