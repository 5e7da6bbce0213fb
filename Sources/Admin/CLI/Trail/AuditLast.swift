// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit last`: the sessions, as last(1) has logins.
struct AuditLast: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "last",
        abstract: "List the sessions, the newest first.",
        discussion: """
            One line a session, as last(1) has them: account, service, the remote user, the address, from when to when and \
            how long, how it ended or why it was refused, the rule, the command. A refusal is a session too. Sessions that \
            were running at --since are listed too.

            EXAMPLES
              portcullis audit last --since today
              portcullis audit last --user backup -n 20
              portcullis audit last --denied --from 10.66.0.0/16 --json
            """)

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter

    @Option(
        name: [.customShort("n"), .customLong("count")],
        help: "The most sessions, the newest of them; 0 for all, which are kept in memory.")
    var count = 1_000

    @Flag(help: "As they ended, the oldest first; all of them, however many there are.")
    var oldestFirst = false

    @Flag(name: [.customShort("F"), .long], help: "Full times, with the year and seconds.")
    var fullTimes = false

    @Flag(name: [.customShort("w"), .long], help: "Whole commands, however wide the terminal is.")
    var wide = false

    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard count >= 0 else { throw ValidationError("--count takes a number from 0.") }
    }

    func run() throws {
        try reporting {
            let check = try filter.prepared()
            var reading = try TrailReading(trail.source)
            var sessions = SessionCollector()
            var newest = NewestSessions(count: count == 0 ? .max : count)
            var output = Output()
            let table = SessionTable(fullTimes: fullTimes, width: wide ? nil : output.width)
            var first: UInt64?
            if !format.isJSON { try output.line(output.coloured(table.heading, .faint)) }
            let show = { (session: TrailSession) throws in
                guard check.matches(session) else { return }
                guard oldestFirst else { return newest.add(session) }
                try output.line(format.isJSON ? session.json.text : table.row(session, output))
            }
            try reading.read { event in
                first = first ?? event.line.stamp.milliseconds
                try sessions.take(event, show)
            }
            try sessions.finish(show)
            for session in newest.sorted {
                try output.line(format.isJSON ? session.json.text : table.row(session, output))
            }
            if !format.isJSON, let first {
                try output.line("")
                try output.line("the trail begins \(table.time(first, long: true))")
                if newest.passedOver > 0 {
                    let earlier = "\(Shown.count(newest.passedOver, "earlier session"))"
                    try output.line("\(earlier) not shown: -n 0 or --oldest-first shows them")
                }
            }
            try output.flush()
        }
    }
}

/// Those sessions of many that began last.
private struct NewestSessions {
    private let count: Int
    private var sessions: [TrailSession] = []
    /// How many were not kept.
    private(set) var passedOver = 0

    init(count: Int) {
        self.count = count
    }

    mutating func add(_ session: TrailSession) {
        sessions.append(session)
        let (most, overflowed) = count.multipliedReportingOverflow(by: 2)
        if !overflowed, sessions.count >= most + 64 { cut() }
    }

    private mutating func cut() {
        guard sessions.count > count else { return }
        sessions = sorted
    }

    /// The newest first; of those that began together, the one that came last on the trail.
    var sorted: [TrailSession] {
        mutating get {
            let places = sessions.indices.sorted { (sessions[$0].began, $0) > (sessions[$1].began, $1) }
            passedOver += max(0, sessions.count - count)
            return places.prefix(count).map { sessions[$0] }
        }
    }
}

/// Sessions as lines of a table.
struct SessionTable {
    /// Whether times have a year and seconds.
    let fullTimes: Bool
    /// The columns of the terminal, at which commands are cut; nil where they are not.
    let width: Int?

    /// The most characters of a command where no terminal cuts it.
    private static let commandLimit = 400

    /// The names of the columns.
    var heading: String {
        let from = Shown.column("FROM", 15)
        let times = Shown.column("START - END (DURATION)", timesWidth)
        return "ACCOUNT   VIA    BY        \(from)  \(times)  RESULT     RULE OR REASON    COMMAND"
    }

    private var timesWidth: Int { fullTimes ? 54 : 35 }

    /// One line.
    func row(_ session: TrailSession, _ output: Output) -> String {
        let result = session.result
        let columns = [
            Shown.column(session.account.map(Shown.name) ?? "?", 8), Shown.column(session.service?.name ?? "-", 5),
            Shown.column(session.remoteUser.map(Shown.name) ?? "-", 8),
            Shown.column(session.address?.description ?? "-", 15), Shown.column(times(session), timesWidth),
        ]
        let start = columns.joined(separator: "  ")
        let rest = "  " + Shown.column(session.verdict, 16)
        let length = start.count + 2 + max(9, result.count) + rest.count + 2
        let limit = width.map { max(16, $0 - length) } ?? Self.commandLimit
        let command = session.shownCommand(limit: limit).map { "  " + $0 } ?? ""
        let line = start + "  " + output.coloured(Shown.column(result, 9), tone(session)) + rest + command
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private func tone(_ session: TrailSession) -> Output.Tone? {
        switch session.state {
        case .refused, .lost: .bad
        case .running: .good
        case .endless, .signalled: .doubtful
        case .exited: session.end?.limit != nil ? .doubtful : nil
        }
    }

    private func times(_ session: TrailSession) -> String {
        let start = time(session.began, long: fullTimes)
        switch session.state {
        case .refused: return start
        case .running: return start + "   still running"
        case .endless: return start + "   no end"
        case .exited, .signalled, .lost: break
        }
        let end =
            fullTimes ? time(session.finished, long: true) : text(session.finished, "%H:%M")
        guard let milliseconds = session.duration else { return "\(start) - \(end)" }
        return "\(start) - \(end) (\(Self.duration(milliseconds)))"
    }

    /// A local date and time.
    func time(_ milliseconds: UInt64, long: Bool) -> String {
        text(milliseconds, long ? "%Y-%m-%d %H:%M:%S" : "%a %b %e %H:%M")
    }

    private func text(_ milliseconds: UInt64, _ format: String) -> String {
        Clock.localText(seconds: Int64(clamping: milliseconds / 1_000), format: format)
    }

    /// `00:41:07`, and with days before it `2+00:41:07`, as last(1) has it.
    static func duration(_ milliseconds: UInt64) -> String {
        let seconds = milliseconds / 1_000
        let parts = [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60]
        let clock = parts.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
        return seconds < 86_400 ? clock : "\(seconds / 86_400)+\(clock)"
    }
}
