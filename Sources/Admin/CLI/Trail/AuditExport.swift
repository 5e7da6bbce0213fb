// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit export`: the records for a program that collects them.
struct AuditExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print records as JSON Lines, for a log collector.",
        discussion: """
            One object a line, ASCII alone: every field of a record under its own key, decoded; `event` says in one word \
            what happened. A long command is whole in one object. Text that is not UTF-8 has \\xHH in its string, and its \
            bytes in hexadecimal under KEYHex. portcullis-audit(8) has the keys.

            With --after, only records behind that number: what a collector took last, so that each run takes what is new. \
            With --sessions, one object a session, when it is over, instead of one a record.

            EXAMPLES
              portcullis audit export --json --since yesterday
              portcullis audit export --json --after 164903
              portcullis audit export --json --sessions --denied

            EXIT STATUS
              0 everything was printed, 1 there were lines that are no records, which standard error names.
            """)

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter

    @Option(help: "Only records whose number (seq) is greater.")
    var after: UInt64?

    @Flag(help: "One object a session.")
    var sessions = false

    @Flag(name: .customLong("json"), help: "JSON Lines, which is the only form.")
    var isJSON = false

    func validate() throws {
        guard after == nil || !sessions else {
            throw ValidationError("--after counts records, and goes with no --sessions.")
        }
    }

    func run() throws {
        try reporting {
            let check = try filter.prepared()
            var output = Output()
            var reading = try TrailReading(trail.source, mayMatter: sessions ? nil : check.quickly)
            if sessions {
                var collector = SessionCollector()
                let print = { (session: TrailSession) throws in
                    if check.matches(session) { try output.line(session.json.text) }
                }
                try reading.read { event in try collector.take(event, print) }
                try collector.finish(print)
            } else {
                let last = after ?? 0
                try reading.read { event in
                    guard event.line.sequence > last, check.matches(event) else { return }
                    try output.line(event.json.text)
                }
            }
            try output.flush()
            if reading.unreadable > 0 { throw ExitCode(1) }
        }
    }
}
