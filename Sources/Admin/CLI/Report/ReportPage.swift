// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Policy

/// The page of a report: made from findings alone, so that the same findings give the same page.
struct ReportPage {
    /// What the head and the foot say.
    struct Facts {
        /// The host that it was made on.
        var host: String
        /// When, in milliseconds since 1970.
        var moment: UInt64
        /// What was read.
        var trail: String
        /// The filters, in words.
        var filter: [String]
        var records: Int
        var segments: Int
        /// Lines that are no records.
        var unreadable: Int
        var lastSequence: UInt64?
        var lastChain: String?
    }

    let findings: ReportFindings
    let use: PolicyUse?
    let facts: Facts

    /// The most columns of the chart.
    private static let columnLimit = 96
    /// The most lines of a table of sources, accounts or rules.
    private static let rowLimit = 15
    /// The most lines of the tables of rules and near misses.
    private static let ruleLimit = 200
    private static let missLimit = 20
    /// The most characters of a command.
    private static let commandLimit = 160

    private var statistics: TrailStatistics { findings.statistics }

    /// The page.
    ///
    /// - Parameter styleDigest: SHA-256 of the style sheet in base 64, the one thing that the page lets itself load.
    func text(styleDigest: String) -> String {
        var page = Markup()
        page.doctype()
        page.comment("portcullis audit report")
        page.element("html", ["lang": "en", "xmlns": "http://www.w3.org/1999/xhtml"]) { page in
            page.element("head") { page in
                page.empty("meta", ["charset": "utf-8"])
                page.empty(
                    "meta",
                    [
                        "http-equiv": "Content-Security-Policy",
                        "content":
                            "default-src 'none'; style-src 'sha256-\(styleDigest)'; base-uri 'none'; form-action 'none'",
                    ])
                page.empty("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
                page.empty("meta", ["name": "referrer", "content": "no-referrer"])
                page.empty("meta", ["name": "robots", "content": "noindex"])
                page.empty("meta", ["name": "generator", "content": "portcullis \(Portcullis.version)"])
                page.element("title", "Portcullis: audit report of \(facts.host)")
                page.style(ReportStyle.sheet)
            }
            page.element("body") { page in
                head(&page)
                page.element("main") { page in
                    summary(&page)
                    if statistics.total.requests > 0 {
                        overTime(&page)
                        outcomes(&page)
                        tallies(&page)
                    }
                    policy(&page)
                    bursts(&page)
                    sessions(&page)
                    denials(&page)
                    events(&page)
                }
                foot(&page)
            }
        }
        return page.text
    }

    // MARK: Head and foot

    private func head(_ page: inout Markup) {
        page.element("header") { page in
            page.element("p", ["class": "kicker"], "Portcullis · audit report")
            page.element("h1", Self.foreign(facts.host))
            page.element("p") { page in
                guard let first = statistics.first, let last = statistics.last else {
                    return page.write("No requests are on this trail.")
                }
                page.write("\(Self.time(first)) to \(Self.time(last))")
                page.write(" (\(Shown.span(milliseconds: last - first)))")
                page.write(", local time")
            }
            if !facts.filter.isEmpty {
                page.element("p", "Only: " + facts.filter.joined(separator: ", "))
            }
        }
    }

    private func foot(_ page: inout Markup) {
        page.element("footer") { page in
            page.element("p") { page in
                page.write("Made by portcullis \(Portcullis.version) on \(Self.time(facts.moment)) from ")
                page.element("code", Self.foreign(facts.trail))
                page.write(
                    ": \(Shown.count(facts.records, "record")) in \(Shown.count(facts.segments, "segment"))"
                        + (facts.unreadable > 0
                            ? ", and \(Shown.count(facts.unreadable, "line")) that are no records" : "")
                        + ".")
            }
            if let sequence = facts.lastSequence, let chain = facts.lastChain {
                page.element("p") { page in
                    page.write("The last record is number \(Shown.number(sequence)), with the chain ")
                    page.element("code", Self.foreign(chain))
                    page.write(". This page does not prove that the trail is whole: ")
                    page.element("code", "portcullis audit verify")
                    page.write(" does.")
                }
            }
            page.element(
                "p",
                "A request counts once, and refusals that were recorded together count each. Text that clients chose is "
                    + "printable ASCII; any other byte is \\xHH, and a backslash is doubled.")
        }
    }

    // MARK: Summary

    private func summary(_ page: inout Markup) {
        let total = statistics.total
        let ran = total.requests - total.refused
        page.element("dl", ["class": "figures"]) { page in
            Self.figure("Requests", Shown.number(total.requests), "\(statistics.sources.distinct) sources", &page)
            Self.figure("Permitted", Shown.number(ran), Self.share(ran, of: total.requests), &page)
            Self.figure("Refused", Shown.number(total.refused), Self.share(total.refused, of: total.requests), &page)
            Self.figure(
                "Commands ran", Shown.span(milliseconds: statistics.milliseconds),
                "longest \(Shown.span(milliseconds: statistics.longest))", &page)
            Self.figure(
                "To clients", Self.size(statistics.bytesOut, statistics.bytesErr),
                "from them \(Self.size(statistics.bytesIn, 0))", &page)
            Self.figure("Sandbox denials", Shown.number(statistics.denials), nil, &page)
        }
        page.element("section", ["id": "look"]) { page in
            page.element("h2", "What to look at")
            let points = points
            if points.isEmpty { page.element("p", "Nothing on this trail stands out.") }
            if !points.isEmpty {
                page.element("ul", ["class": "look"]) { page in
                    for point in points {
                        page.element("li") { page in
                            if let place = point.place {
                                page.element("a", ["href": "#\(place)"], point.text)
                            } else {
                                page.write(point.text)
                            }
                        }
                    }
                }
            }
        }
    }

    /// What somebody should look at, the gravest first; with the section that tells more.
    private var points: [(text: String, place: String?)] {
        var points: [(String, String?)] = []
        let bad = findings.events.filter(\.isBad).count
        if facts.unreadable > 0 {
            points.append(
                (
                    "\(Shown.count(facts.unreadable, "line")) of the trail are no records: run portcullis audit verify",
                    nil
                ))
        }
        if bad > 0 {
            points.append(
                (
                    "\(Shown.count(bad, "event")) of the gateway: helpers that died, policies that were rejected, or trouble "
                        + "with the trail", "events"
                ))
        }
        let lost = (statistics.outcomes[.lost] ?? 0) + (statistics.outcomes[.endless] ?? 0)
        if lost > 0 { points.append(("\(Shown.count(lost, "session")) without a known end", "outcomes")) }
        if findings.bursts.count > 0 {
            points.append(("\(Shown.count(findings.bursts.count, "burst")) of refusals from one source", "bursts"))
        }
        if let failures = statistics.reasons[.badCredentials], failures > 0 {
            points.append(("\(Shown.number(failures)) refused for bad credentials", "outcomes"))
        }
        if let failures = statistics.reasons[.auditUnavailable], failures > 0 {
            points.append(("\(Shown.number(failures)) refused because the trail could not be written", "outcomes"))
        }
        if let limited = statistics.outcomes[.limited], limited > 0 {
            points.append(("\(Shown.count(limited, "command")) ended by a limit", "outcomes"))
        }
        if statistics.denials > 0 {
            points.append(("\(Shown.count(statistics.denials, "denial")) by sandboxes", "denials"))
        }
        if let use {
            if !use.unused.isEmpty {
                points.append(("\(Shown.count(use.unused.count, "rule")) of the policy decided nothing", "policy"))
            }
            let misses = use.most(.max).reduce(0) { $0 + $1.count }
            if misses > 0 {
                points.append(
                    ("\(Shown.count(misses, "refused request")) that a permit missed by one clause", "misses"))
            }
        }
        return points
    }

    // MARK: Charts and tables

    private func overTime(_ page: inout Markup) {
        page.element("section", ["id": "time"]) { page in
            page.element("h2", "Logins over time")
            let chart = findings.histogram.chart(columns: Self.columnLimit)
            page.element("p", "Requests a \(chart.unit.name), by how they came out.")
            LoginChart(unit: chart.unit, columns: chart.columns).write(to: &page)
        }
        // Of less than two days the chart above says it.
        guard let first = statistics.first, let last = statistics.last, last - first >= 172_800_000 else { return }
        page.element("section", ["id": "week"]) { page in
            page.element("h2", "Hours of the week")
            page.element("p", "Requests by the hour in which they began, in local time; the stronger, the more.")
            WeekChart(hours: findings.week).write(to: &page)
        }
    }

    private func outcomes(_ page: inout Markup) {
        page.element("section", ["id": "outcomes"]) { page in
            page.element("div", ["class": "pair"]) { page in
                page.element("div") { page in
                    page.element("h2", "Outcomes")
                    let rows = TrailStatistics.Outcome.allCases.compactMap { outcome in
                        statistics.outcomes[outcome].map { count in
                            Row(
                                name: outcome.rawValue, requests: count, refused: outcome == .refused ? count : 0,
                                style: LoginHistogram.Series(outcome).styleClass)
                        }
                    }
                    table("Outcome", rows.sorted { $0.requests > $1.requests }, &page)
                }
                page.element("div") { page in
                    page.element("h2", "Reasons of refusals")
                    let rows = Reason.allCases.compactMap { reason in
                        statistics.reasons[reason].map { count in
                            Row(name: reason.name, requests: count, refused: count, style: "refused")
                        }
                    }
                    if rows.isEmpty {
                        page.element("p", ["class": "note"], "Nothing was refused.")
                    } else {
                        table("Reason", rows.sorted { $0.requests > $1.requests }, &page)
                    }
                }
            }
        }
    }

    private func tallies(_ page: inout Markup) {
        page.element("section", ["id": "sources"]) { page in
            page.element("h2", "Sources")
            tally("Address", statistics.sources, TrailStatistics.name, &page)
        }
        page.element("section", ["id": "accounts"]) { page in
            page.element("h2", "Accounts")
            tally("Account", statistics.targets, TrailStatistics.name, &page)
        }
        page.element("section", ["id": "rules"]) { page in
            page.element("h2", "Rules that decided")
            page.element(
                "p", "A request without a rule was refused because no permit matched it, or before a rule was asked.")
            tally("Rule", statistics.rules, TrailStatistics.name, &page)
        }
    }

    private struct Row {
        var name: String
        var requests: Int
        var refused: Int
        /// The class of its bar; permitted and refused apart where there is none.
        var style: String?
        var bytes: UInt64?
    }

    private func tally<Key>(
        _ heading: String, _ tally: Tally<Key>, _ name: (Key) -> String, _ page: inout Markup
    ) {
        let rows = tally.most(Self.rowLimit, name: name).map { row in
            Row(
                name: name(row.key), requests: row.count.requests, refused: row.count.refused, style: nil,
                bytes: row.count.bytes)
        }
        table(heading, rows, &page)
        let further = tally.distinct - rows.count
        if further > 0 {
            page.element(
                "p", ["class": "note"],
                "\(Shown.number(further)) more are not shown"
                    + (tally.others.requests > 0
                        ? ", and \(Shown.number(tally.others.requests)) requests of still others are not counted apart."
                        : "."))
        }
    }

    private func table(_ heading: String, _ rows: [Row], _ page: inout Markup) {
        let most = rows.map(\.requests).max() ?? 0
        let hasBoth = rows.contains { $0.style == nil }
        Self.table(
            [(heading, false), ("Requests", true), ("Share", true)]
                + (hasBoth ? [("Refused", true), ("Bytes", true)] : []) + [("", false)], &page
        ) { page in
            for row in rows {
                page.element("tr") { page in
                    page.element("th", ["scope": "row"], row.name)
                    page.element("td", ["class": "number"], Shown.number(row.requests))
                    page.element("td", ["class": "number"], Self.share(row.requests, of: statistics.total.requests))
                    if hasBoth {
                        page.element("td", ["class": "number"], row.refused == 0 ? "–" : Shown.number(row.refused))
                        page.element("td", ["class": "number"], Self.size(row.bytes ?? 0, 0))
                    }
                    page.element("td", ["class": "bar"]) { page in
                        Self.bar(row, most, &page)
                    }
                }
            }
        }
    }

    private static func bar(_ row: Row, _ most: Int, _ page: inout Markup) {
        guard most > 0 else { return }
        page.element(
            "svg", ["viewBox": "0 0 1000 10", "preserveAspectRatio": "none", "aria-hidden": "true"]
        ) { page in
            let width = { (amount: Int) in
                amount == 0 ? 0 : max(3, Int((Double(amount) / Double(most) * 1_000).rounded()))
            }
            if let style = row.style {
                page.empty(
                    "rect", ["class": style, "x": "0", "y": "0", "width": "\(width(row.requests))", "height": "10"])
                return
            }
            let permitted = width(row.requests - row.refused)
            if permitted > 0 {
                page.empty("rect", ["class": "ran", "x": "0", "y": "0", "width": "\(permitted)", "height": "10"])
            }
            if row.refused > 0 {
                page.empty(
                    "rect",
                    [
                        "class": "refused", "x": "\(permitted)", "y": "0",
                        "width": "\(min(width(row.refused), max(3, 1_000 - permitted)))", "height": "10",
                    ])
            }
        }
    }

    // MARK: The policy

    private func policy(_ page: inout Markup) {
        page.element("section", ["id": "policy"]) { page in
            page.element("h2", "Rules never used")
            guard let use else {
                page.element("p") { page in
                    page.write("No policy was given: ")
                    page.element("code", "--policy FILE")
                    page.write(
                        " tells which of its rules decided nothing, and which refusals a permit missed by little.")
                }
                return
            }
            let unused = use.unused
            page.element("p") { page in
                page.write("Of the \(Shown.count(use.policy.rules.count, "rule")) of ")
                page.element("code", Self.foreign(use.path))
                page.write(" (\(Shown.short(use.revision))), \(Shown.number(unused.count)) decided no request")
                page.write(facts.filter.isEmpty ? " on this trail." : " among those that this page is about.")
                page.write(" Rules are told by their names, whatever policy was in force.")
            }
            if !unused.isEmpty {
                Self.table([("Rule", false), ("Effect", false), ("Place", false)], &page) { page in
                    for rule in unused.prefix(Self.ruleLimit) {
                        page.element("tr") { page in
                            page.element("th", ["scope": "row"], Self.foreign(rule.name))
                            page.element("td", rule.effect.name)
                            page.element("td", Shown.place(rule.place))
                        }
                    }
                }
                let further = unused.count - Self.ruleLimit
                if further > 0 { page.element("p", ["class": "note"], "\(Shown.number(further)) more are not shown.") }
            }
            if use.unknownRules.distinct > 0 {
                page.element(
                    "p", ["class": "note"],
                    "Rules that decided and that this policy does not have: "
                        + use.unknownRules.most(Self.missLimit) { $0 }.map { Self.foreign($0.key) }
                        .joined(separator: ", ")
                        + ".")
            }
        }
        guard let use else { return }
        page.element("section", ["id": "misses"]) { page in
            page.element("h2", "Refused, and nearly permitted")
            page.element("p") { page in
                page.write(
                    "Requests that were refused and that a permit of this policy would match if one clause did. "
                        + "\(Shown.number(use.examined)) were asked about")
                if use.permittedNow > 0 {
                    page.write(", of which this policy would permit \(Shown.number(use.permittedNow)) as they are")
                }
                page.write(
                    use.notExamined > 0
                        ? "; \(Shown.number(use.notExamined)) were not: their commands are not on the trail as a whole, or "
                            + "there were too many different ones." : ".")
                page.write(" Passwords, trust files and PAM were not asked.")
            }
            let misses = use.most(Self.missLimit)
            guard !misses.isEmpty else { return page.element("p", "There are none.") }
            Self.table(
                [("Rule", false), ("Would match", false), ("Requests", true), ("The last of them", false)], &page
            ) { page in
                for miss in misses {
                    page.element("tr") { page in
                        page.element("th", ["scope": "row"]) { page in
                            page.write(Self.foreign(miss.rule.name))
                        }
                        page.element("td", Self.foreign(miss.condition))
                        page.element("td", ["class": "number"], Shown.number(miss.count))
                        page.element("td") { page in
                            Self.example(miss.example, &page)
                        }
                    }
                }
            }
        }
    }

    private static func example(_ request: RecordedRequest, _ page: inout Markup) {
        let by = request.remoteUser.map { " by \($0.description)" } ?? ""
        page.write(
            foreign(
                "\(time(request.milliseconds)), \(request.service.name) from \(request.source)\(by) as \(request.target): "
            ))
        guard case .refused(_, _, let command?) = request.outcome else { return }
        page.element("span", ["class": "command"], cut(command.text.printable))
    }

    // MARK: Bursts and sessions

    private func bursts(_ page: inout Markup) {
        page.element("section", ["id": "bursts"]) { page in
            page.element("h2", "Bursts of refusals")
            page.element(
                "p",
                "A source that was refused at least \(RefusalBursts.threshold) times, with no more than a minute between "
                    + "two refusals.")
            let largest = findings.bursts.largest(ReportFindings.listLimit)
            guard !largest.isEmpty else { return page.element("p", "There were none.") }
            Self.table(
                [
                    ("Source", false), ("From", false), ("For", true), ("Refusals", true), ("Accounts", true),
                    ("Reasons", false),
                ], &page
            ) { page in
                for burst in largest {
                    page.element("tr") { page in
                        page.element("th", ["scope": "row"], TrailStatistics.name(burst.source))
                        page.element("td", ["class": "when"], Self.time(burst.first))
                        page.element(
                            "td", ["class": "number"], Shown.duration(milliseconds: burst.last - burst.first))
                        page.element("td", ["class": "number"], Shown.number(burst.count))
                        page.element(
                            "td", ["class": "number"],
                            Shown.number(burst.accounts.count)
                                + (burst.accounts.count == RefusalBursts.Burst.accountLimit ? "+" : ""))
                        let reasons = burst.reasons.sorted { ($0.value, $1.key.rawValue) > ($1.value, $0.key.rawValue) }
                        page.element(
                            "td",
                            reasons.map { "\($0.key.name) \(Shown.number($0.value))" }.joined(separator: ", "))
                    }
                }
            }
            let further = findings.bursts.count - largest.count
            if further > 0 { page.element("p", ["class": "note"], "\(Shown.number(further)) more are not shown.") }
        }
    }

    private func sessions(_ page: inout Markup) {
        page.element("section", ["id": "sessions"]) { page in
            page.element("h2", "Longest sessions")
            list(findings.longest.values, "Ran", { Shown.duration(milliseconds: $0) }, &page)
        }
        page.element("section", ["id": "largest"]) { page in
            page.element("h2", "Largest sessions")
            page.element("p", "By the bytes of both directions, as the kernel told them.")
            list(findings.largest.values, "Bytes", { Self.size($0, 0) }, &page)
        }
    }

    private func list(
        _ sessions: [(value: TrailSession, amount: UInt64)], _ heading: String, _ shown: (UInt64) -> String,
        _ page: inout Markup
    ) {
        guard !sessions.isEmpty else { return page.element("p", "There were none.") }
        Self.table(
            [
                (heading, true), ("Began", false), ("Account", false), ("From", false), ("Rule", false),
                ("Result", false),
                ("Command", false),
            ], &page
        ) { page in
            for (session, amount) in sessions {
                page.element("tr") { page in
                    page.element("td", ["class": "number"], shown(amount))
                    page.element("td", ["class": "when"], Self.time(session.began))
                    page.element("td", session.account.map(Shown.name) ?? "?")
                    page.element("td", session.address?.description ?? "?")
                    page.element("td", session.rule.map { Self.foreign($0.name) } ?? "–")
                    page.element("td", ["class": "when"], session.result)
                    page.element("td", ["class": "command"], session.shownCommand(limit: Self.commandLimit) ?? "–")
                }
            }
        }
    }

    // MARK: Denials and events

    private func denials(_ page: inout Markup) {
        page.element("section", ["id": "denials"]) { page in
            page.element("h2", "Denied by sandboxes")
            let rows = findings.denials.most(Self.rowLimit) { $0.what }
            guard !rows.isEmpty else { return page.element("p", "The trail has no denials.") }
            Self.table([("What", false), ("Times", true), ("It", false)], &page) { page in
                for row in rows {
                    page.element("tr") { page in
                        page.element("th", ["scope": "row"], Self.foreign(row.key.what))
                        page.element("td", ["class": "number"], Shown.number(row.count.requests))
                        page.element("td", row.key.isEnding ? "ended the process" : "failed")
                    }
                }
            }
        }
    }

    private func events(_ page: inout Markup) {
        page.element("section", ["id": "events"]) { page in
            page.element("h2", "The gateway")
            page.element(
                "p",
                "Starts and stops, policies that came into force or were rejected, and what the auditor said of the trail."
            )
            let events = findings.events.suffix(ReportFindings.eventLimit)
            guard !events.isEmpty else { return page.element("p", "There was nothing.") }
            Self.table([("When", false), ("What", false), ("", false)], &page) { page in
                for event in events {
                    page.element("tr") { page in
                        page.element("td", ["class": "when"], Self.time(event.moment))
                        page.element("td", ["class": event.isBad ? "when bad" : "when"], event.kind.words)
                        page.element("td", ["class": "command"], Self.cut(event.text))
                    }
                }
            }
            let further = findings.eventCount - events.count
            if further > 0 {
                page.element("p", ["class": "note"], "\(Shown.number(further)) earlier ones are not shown.")
            }
        }
    }

    // MARK: Parts

    private static func figure(_ name: String, _ value: String, _ more: String?, _ page: inout Markup) {
        page.element("div") { page in
            page.element("dt", name)
            page.element("dd") { page in
                page.write(value)
                if let more { page.element("span", ["class": "more"], more) }
            }
        }
    }

    private static func table(
        _ headings: [(name: String, isNumber: Bool)], _ page: inout Markup, _ rows: (inout Markup) -> Void
    ) {
        page.element("div", ["class": "scroll"]) { page in
            page.element("table") { page in
                page.element("thead") { page in
                    page.element("tr") { page in
                        for heading in headings {
                            if heading.name.isEmpty {
                                page.element("td", "")
                            } else if heading.isNumber {
                                page.element("th", ["scope": "col", "class": "number"], heading.name)
                            } else {
                                page.element("th", ["scope": "col"], heading.name)
                            }
                        }
                    }
                }
                page.element("tbody", [:], rows)
            }
        }
    }

    /// Text that may come from a stranger, as it is shown everywhere.
    private static func foreign(_ text: String) -> String {
        ByteText(text).printable
    }

    private static func cut(_ text: String) -> String {
        text.count > commandLimit ? text.prefix(commandLimit - 1) + "…" : text
    }

    private static func time(_ milliseconds: UInt64) -> String {
        Shown.localTime(seconds: Int64(clamping: milliseconds / 1_000))
    }

    private static func size(_ one: UInt64, _ other: UInt64) -> String {
        let (sum, overflowed) = one.addingReportingOverflow(other)
        let bytes = overflowed ? UInt64.max : sum
        return bytes < 1_024 ? "\(bytes) B" : Shown.size(bytes)
    }

    private static func share(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "–" }
        let tenths = Int((Double(part) / Double(whole) * 1_000).rounded())
        if tenths == 0, part > 0 { return "< 0.1 %" }
        return "\(tenths / 10).\(tenths % 10) %"
    }
}

extension TrailEvent.Kind {
    /// The words for what happened to the gateway.
    fileprivate var words: String {
        switch self {
        case .started: "started"
        case .stopped: "stopped"
        case .died: "died"
        case .policyLoaded: "policy in force"
        case .policyRejected: "policy rejected"
        case .trailNote: "the trail"
        default: rawValue
        }
    }
}
