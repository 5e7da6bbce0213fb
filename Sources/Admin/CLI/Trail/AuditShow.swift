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

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            var output = Output()
            let check = try filter.prepared()
            var reading = try TrailReading(trail.source, mayMatter: check.quickly)
            // No heading where there is nothing to read.
            var isFirst = !format.isJSON
            try reading.read { event in
                guard check.matches(event) else { return }
                if isFirst { try output.line(output.coloured(TrailEvent.heading, .faint)) }
                isFirst = false
                try output.line(format.isJSON ? event.json.text : event.row(output))
            }
            if isFirst { try output.line(output.coloured(TrailEvent.heading, .faint)) }
            try output.flush()
        }
    }
}
