// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// The permits that answer a question, as a table or as JSON.
struct PermitTable {
    /// A column: its heading, and what it says of a permit.
    struct Column {
        var heading: String
        var text: (PossiblePermit) -> String
    }

    let policy: Policy
    let answer: PossiblePermits

    // MARK: For people

    /// The most items of a clause, and the most forbids, that a line has.
    private static let itemLimit = 4
    /// The widest a column gets for the sake of one long entry.
    private static let widthLimit = 48

    /// Writes the table, or the sentence that stands for an empty one; then what forbids take from it.
    func write(_ own: [Column], ifEmpty sentence: String, to output: inout Output) throws {
        if answer.permits.isEmpty { try output.line(sentence) } else { try rows(own, to: &output) }
        for permit in answer.forbidden {
            try output.line("left out: \(Shown.rule(permit.rule.reference)), \(Self.forbidders(permit))")
        }
    }

    private func rows(_ own: [Column], to output: inout Output) throws {
        let columns =
            [Column(heading: "RULE") { $0.rule.name }, Column(heading: "SERVICE") { $0.services.name }] + own + [
                Column(heading: "DURING") { Self.list($0.rule.hours?.words ?? ["any time"]) },
                Column(heading: "SANDBOX") { sandbox(of: $0) },
                Column(heading: "AT") { Shown.place($0.rule.place) },
            ]
        let cells = answer.permits.map { permit in columns.map { $0.text(permit) } }
        let widths = columns.indices.map { index in
            let longest = cells.map { $0[index].count }.filter { $0 <= Self.widthLimit }.max() ?? 0
            return max(longest, columns[index].heading.count)
        }
        let line = { (cells: [String]) in
            let filled = zip(cells, widths).map { Shown.column($0, $1) }.joined(separator: "  ")
            return String(filled.reversed().drop { $0 == " " }.reversed())
        }
        try output.line(output.coloured(line(columns.map(\.heading)), .faint))
        for (permit, cells) in zip(answer.permits, cells) {
            try output.line(line(cells))
            if !permit.exceptions.isEmpty {
                try output.line(
                    "  except what \(Self.rules(permit.exceptions)) forbid\(permit.exceptions.count == 1 ? "s" : "")")
            }
            if permit.usesShell { try output.line("  by the account's shell") }
            if !permit.isProved { try output.line("  perhaps: the forbids are too many to be sure") }
        }
    }

    private func sandbox(of permit: PossiblePermit) -> String {
        policy.sandboxes.indices.contains(permit.rule.sandbox) ? policy.sandboxes[permit.rule.sandbox].name : "?"
    }

    private static func forbidders(_ permit: PossiblePermit) -> String {
        "all of which \(rules(permit.exceptions)) forbid\(permit.exceptions.count == 1 ? "s" : "")"
    }

    private static func rules(_ rules: [RuleReference]) -> String {
        let shown = rules.prefix(itemLimit).map { Shown.rule($0) }.joined(separator: ", ")
        return rules.count > itemLimit ? "\(shown) and \(Shown.number(rules.count - itemLimit)) more" : shown
    }

    /// Items of a clause on one line, safe for a terminal.
    static func list(_ items: [String]) -> String {
        let shown = ByteText(items.prefix(itemLimit).joined(separator: ", ")).printable
        return items.count > itemLimit ? "\(shown) and \(Shown.number(items.count - itemLimit)) more" : shown
    }

    // MARK: For programs

    /// An array with an object for each permit.
    func json(_ own: (PossiblePermit) -> [(String, JSON)]) -> JSON {
        .array(
            answer.permits.map { permit in
                .object(
                    [
                        ("rule", .string(permit.rule.name)), ("at", .string(permit.rule.place.description)),
                        ("service", .string(permit.services.name)),
                    ] + own(permit) + [
                        ("during", Self.json(permit.rule.hours?.words)), ("sandbox", .string(sandbox(of: permit))),
                        (
                            "except",
                            .array(
                                permit.exceptions.map {
                                    .object([("rule", .string($0.name)), ("at", .string($0.place.description))])
                                })
                        ),
                        ("proved", .bool(permit.isProved)),
                    ])
            })
    }

    /// The items of a clause as they are written; null for a clause that says nothing.
    static func json(_ items: [String]?) -> JSON {
        items.map { .array($0.map { .string($0) }) } ?? .null
    }
}
