// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit stats`: what the sessions come to.
struct AuditStatistics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Count the sessions: by outcome, source, account, rule and reason.",
        discussion: """
            A request counts once, from its first record to its last; refusals that were recorded together count each. \
            Sessions that were running at --since are counted too.

            EXAMPLES
              portcullis audit stats --since this-week
              portcullis audit stats --from 10.20.0.0/16 --top 5
              portcullis audit stats --since yesterday --until today --json
            """)

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter
    @Option(help: "The most lines of each table; 0 for all.") var top = 10
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard top >= 0 else { throw ValidationError("--top takes a number from 0.") }
    }

    func run() throws {
        try reporting {
            let check = try filter.prepared()
            var reading = try TrailReading(trail.source)
            var sessions = SessionCollector()
            var statistics = TrailStatistics()
            let add = { (session: TrailSession) in
                if check.matches(session) { statistics.add(session) }
            }
            try reading.read { event in sessions.take(event, add) }
            sessions.finish(add)
            var output = Output()
            if format.isJSON {
                try output.line(json(statistics, reading).text)
            } else {
                let table = StatisticsTable(statistics: statistics, top: top == 0 ? .max : top)
                for line in table.lines(reading, output) { try output.line(line) }
            }
            try output.flush()
        }
    }

    private func json(_ statistics: TrailStatistics, _ reading: TrailReading) -> JSON {
        let most = top == 0 ? Int.max : top
        let time = { (milliseconds: UInt64?) in JSON.optional(milliseconds.map(Shown.universalTime)) }
        return .object([
            ("requests", .integer(statistics.total.requests)), ("refused", .integer(statistics.total.refused)),
            ("first", time(statistics.first)), ("last", time(statistics.last)),
            ("in", .integer(statistics.bytesIn)), ("out", .integer(statistics.bytesOut)),
            ("err", .integer(statistics.bytesErr)), ("ms", .integer(statistics.milliseconds)),
            ("longestMs", .integer(statistics.longest)), ("denials", .integer(statistics.denials)),
            (
                "outcomes",
                .object(
                    TrailStatistics.Outcome.allCases.map { outcome in
                        (outcome.rawValue, .integer(statistics.outcomes[outcome] ?? 0))
                    })
            ),
            (
                "services",
                .object(Service.allCases.map { ($0.name, .integer(statistics.services[$0] ?? 0)) })
            ),
            (
                "reasons",
                .object(
                    Reason.allCases.compactMap { reason in
                        statistics.reasons[reason].map { (reason.name, JSON.integer($0)) }
                    })
            ),
            ("sources", tally(statistics.sources, most, TrailStatistics.name) { .optional($0?.description) }),
            ("accounts", tally(statistics.targets, most, TrailStatistics.name) { $0.map { .bytes($0) } ?? .null }),
            ("rules", tally(statistics.rules, most, TrailStatistics.name) { .optional($0) }),
            ("records", .integer(reading.records)), ("segments", .integer(reading.segments)),
            ("unreadableLines", .integer(reading.unreadable)),
        ])
    }

    private func tally<Key>(
        _ tally: Tally<Key>, _ most: Int, _ name: (Key) -> String, _ value: (Key) -> JSON
    ) -> JSON {
        let rows = tally.most(most, name: name).map { row in
            JSON.object([
                ("name", value(row.key)), ("requests", .integer(row.count.requests)),
                ("refused", .integer(row.count.refused)), ("bytes", .integer(row.count.bytes)),
            ])
        }
        return .object([
            ("distinct", .integer(tally.distinct)), ("notCountedApart", .integer(tally.others.requests)),
            ("most", .array(rows)),
        ])
    }
}

/// The tables of `stats` for people.
private struct StatisticsTable {
    let statistics: TrailStatistics
    let top: Int

    private static let nameWidth = 26
    private static let nameLimit = 60
    /// What stands before a bar.
    private static let barColumn = nameWidth + 33
    private static let barLimit = 40

    func lines(_ reading: TrailReading, _ output: Output) -> [String] {
        let bar = Bar(output, from: Self.barColumn, limit: Self.barLimit)
        var lines: [String] = []
        let total = statistics.total
        let records = "\(Shown.count(reading.records, "record")) in \(Shown.count(reading.segments, "segment"))"
        guard total.requests > 0, let first = statistics.first, let last = statistics.last else {
            return ["no requests; \(records) read"]
        }
        let span = Shown.span(milliseconds: last - first)
        lines.append(
            "requests  \(Shown.number(total.requests)), \(Shown.number(total.refused)) refused; \(records) read")
        lines.append("from      \(Self.time(first)) to \(Self.time(last)) (\(span))")
        lines.append(
            "bytes     in \(Shown.number(statistics.bytesIn)), out \(Shown.number(statistics.bytesOut)), "
                + "err \(Shown.number(statistics.bytesErr))")
        lines.append(
            "ran       \(Shown.span(milliseconds: statistics.milliseconds)) in all, the longest "
                + Shown.span(milliseconds: statistics.longest))
        if statistics.denials > 0 {
            lines.append("denied    \(Shown.number(statistics.denials)) by sandboxes")
        }
        if reading.unreadable > 0 {
            lines.append("unread    \(Shown.count(reading.unreadable, "line")) that are no records")
        }
        let outcomes = TrailStatistics.Outcome.allCases.compactMap { outcome in
            statistics.outcomes[outcome].map { (outcome.rawValue, $0, outcome == .refused ? $0 : 0) }
        }
        lines += table("OUTCOME", outcomes.sorted { $0.1 > $1.1 }, 0, bar, output)
        lines += table("SOURCE", statistics.sources, TrailStatistics.name, bar, output)
        lines += table("ACCOUNT", statistics.targets, TrailStatistics.name, bar, output)
        lines += table("RULE", statistics.rules, TrailStatistics.name, bar, output)
        let reasons = Reason.allCases.compactMap { reason in
            statistics.reasons[reason].map { (reason.name, $0, $0) }
        }
        if !reasons.isEmpty { lines += table("REASON", reasons.sorted { $0.1 > $1.1 }, 0, bar, output) }
        return lines
    }

    private func table<Key>(
        _ heading: String, _ tally: Tally<Key>, _ name: (Key) -> String, _ bar: Bar, _ output: Output
    ) -> [String] {
        let rows = tally.most(top, name: name).map { (name($0.key), $0.count.requests, $0.count.refused) }
        var lines = table(heading, rows, max(0, tally.distinct - rows.count), bar, output)
        if tally.others.requests > 0 {
            lines.append("  \(Shown.number(tally.others.requests)) requests of further ones are not counted apart")
        }
        return lines
    }

    private func table(
        _ heading: String, _ rows: [(name: String, requests: Int, refused: Int)], _ further: Int, _ bar: Bar,
        _ output: Output
    ) -> [String] {
        let most = rows.map(\.requests).max() ?? 0
        let head =
            Shown.column(heading, Self.nameWidth) + Self.right("REQUESTS", 12) + Self.right("%", 7)
            + Self.right("REFUSED", 12)
        var lines = ["", output.coloured(head, .faint)]
        for row in rows {
            let name = row.name.count > Self.nameLimit ? row.name.prefix(Self.nameLimit - 1) + "…" : row.name[...]
            // In floating point, so that no product overflows.
            let percent = Double(row.requests) * 100 / Double(max(1, statistics.total.requests))
            let text =
                Shown.column(String(name), Self.nameWidth) + Self.right(Shown.number(row.requests), 12)
                + Self.right(Self.tenths(percent), 7)
                + Self.right(row.refused == 0 ? "-" : Shown.number(row.refused), 12)
            let drawn = name.count <= Self.nameWidth ? bar.text(row.requests, of: most) : ""
            lines.append(drawn.isEmpty ? text : text + "  " + drawn)
        }
        if further > 0 { lines.append("  and \(Shown.number(further)) more") }
        return lines
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    private static func time(_ milliseconds: UInt64) -> String {
        Shown.localTime(seconds: Int64(clamping: milliseconds / 1_000))
    }
}

/// A bar as wide as a number, where the terminal has room for it.
private struct Bar {
    private let width: Int
    private let block: Character

    init(_ output: Output, from column: Int, limit: Int) {
        let room = (output.width ?? 0) - column - 2
        width = room >= 10 ? min(room, limit) : 0
        block = Output.takesUnicode ? "█" : "#"
    }

    func text(_ amount: Int, of most: Int) -> String {
        guard width > 0, most > 0, amount > 0 else { return "" }
        let cells = Double(amount) / Double(most) * Double(width)
        return String(repeating: block, count: max(1, Int(cells.rounded())))
    }
}
