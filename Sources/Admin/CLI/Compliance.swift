// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux

/// `portcullis compliance`: the items of STIG and CIS that speak of what the gateway does, judged on this host.
struct ComplianceVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compliance",
        abstract: "Judge this host by the STIG and CIS items on remote execution, host trust and audit.",
        discussion: """
            Each item is met, not met, met by a compensating control that is named, or not checked, with what was looked \
            at and how to mend it. The state of files, packages, units and sockets is judged, and the policy; nothing is \
            changed. docs/compliance.md explains each item.

            EXAMPLE
              portcullis compliance --benchmark 'CIS Debian 12'

            EXIT STATUS
              0 each item is met or met by a compensating control, 1 one is not, or could not be checked.
            """)

    @Option(
        name: .customLong("benchmark"),
        help: "Only what this benchmark asks for, by the beginning of its name, such as CIS or 'STIG RHEL 9'.")
    var benchmark: String?
    @OptionGroup var policy: PolicyOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reporting {
            var report = ComplianceReport(
                items: ComplianceItems(
                    ComplianceEvidence(host: try LocalHost.own(), policy: HostPolicy(policy.file))
                ).all)
            if let benchmark {
                guard let asked = report.items(of: benchmark) else {
                    let names = Set(report.items.flatMap { $0.references.map(\.benchmark) }).sorted()
                    throw ValidationError("no benchmark is called that: \(names.joined(separator: ", "))")
                }
                report.items = asked
            }
            var output = Output()
            if format.isJSON {
                try output.line(report.json.text)
            } else {
                for line in report.lines(output) { try output.line(line) }
            }
            try output.flush()
            guard report.isMet else { throw ExitCode(1) }
        }
    }
}

/// An item of a benchmark, judged.
struct ComplianceItem {
    /// An id as its benchmark writes it.
    struct Reference: Hashable {
        /// The benchmark.
        var benchmark: String
        /// The id.
        var id: String
    }

    /// How it was judged.
    enum State: Hashable {
        case met
        case notMet
        /// What the item forbids is there, but this control does what the item is for.
        case compensated(String)
        /// Why it could not be judged.
        case notChecked(String)

        /// The words for it.
        var name: String {
            switch self {
            case .met: "met"
            case .notMet: "not met"
            case .compensated: "met by compensating control"
            case .notChecked: "not checked"
            }
        }
    }

    /// The ids of all benchmarks that ask for it.
    var references: [Reference]
    /// What it asks for, in our own words.
    var title: String
    /// How it was judged.
    var state: State
    /// What was looked at and found.
    var evidence: [String]
    /// What to do where it is not met.
    var mend: String?

    /// Whether nothing has to be done.
    var isMet: Bool {
        switch state {
        case .met, .compensated: true
        case .notMet, .notChecked: false
        }
    }
}

/// The items, and how they are shown.
struct ComplianceReport {
    var items: [ComplianceItem]

    /// What the benchmarks ask for whose names begin so, in any case of letters, without the ids of others; nil where
    /// none is called that.
    func items(of benchmark: String) -> [ComplianceItem]? {
        let wanted = benchmark.lowercased()
        let chosen = items.compactMap { item -> ComplianceItem? in
            var item = item
            item.references.removeAll { !$0.benchmark.lowercased().hasPrefix(wanted) }
            return item.references.isEmpty ? nil : item
        }
        return chosen.isEmpty ? nil : chosen
    }

    /// Whether each item is met.
    var isMet: Bool { items.allSatisfy(\.isMet) }

    /// The report for people.
    func lines(_ output: Output) -> [String] {
        var lines: [String] = []
        for item in items {
            let tone: Output.Tone =
                switch item.state {
                case .met: .good
                case .compensated: .doubtful
                case .notMet, .notChecked: .bad
                }
            lines.append(output.coloured(item.state.name, tone) + ": " + item.title)
            var benchmarks: [String] = []
            for reference in item.references where !benchmarks.contains(reference.benchmark) {
                benchmarks.append(reference.benchmark)
            }
            for benchmark in benchmarks {
                let ids = item.references.filter { $0.benchmark == benchmark }.map(\.id)
                lines.append("    " + output.coloured("\(benchmark): \(ids.joined(separator: ", "))", .faint))
            }
            switch item.state {
            case .compensated(let control): lines.append("    control: \(control)")
            case .notChecked(let why): lines.append("    not checked: \(why)")
            case .met, .notMet: break
            }
            lines += item.evidence.map { "    found: \($0)" }
            if let mend = item.mend, !item.isMet { lines.append("    mend: \(mend)") }
        }
        let counts = [
            ("met", items.filter { $0.state == .met }.count),
            ("by compensating control", items.filter { $0.isMet && $0.state != .met }.count),
            ("not met", items.filter { $0.state == .notMet }.count),
            ("not checked", items.filter { !$0.isMet && $0.state != .notMet }.count),
        ]
        let shown = counts.filter { $0.1 > 0 }.map { "\(Shown.number($0.1)) \($0.0)" }.joined(separator: ", ")
        lines.append(output.coloured("\(Shown.count(items.count, "item")): \(shown)", isMet ? .good : .bad))
        return lines
    }

    /// The report for programs.
    var json: JSON {
        .object([
            ("met", .bool(isMet)),
            (
                "items",
                .array(
                    items.map { item in
                        var control: String?
                        var reason: String?
                        switch item.state {
                        case .compensated(let text): control = text
                        case .notChecked(let text): reason = text
                        case .met, .notMet: break
                        }
                        return .object([
                            ("id", .optional(item.references.first?.id)),
                            (
                                "ids",
                                .array(
                                    item.references.map {
                                        .object([("benchmark", .string($0.benchmark)), ("id", .string($0.id))])
                                    })
                            ),
                            ("title", .string(item.title)), ("state", .string(item.state.name)),
                            ("control", .optional(control)), ("notChecked", .optional(reason)),
                            ("evidence", .array(item.evidence.map { .string($0) })),
                            ("mend", item.isMet ? .null : .optional(item.mend)),
                        ])
                    })
            ),
        ])
    }
}
