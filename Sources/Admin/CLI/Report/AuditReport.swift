// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux
import Policy
import PolicyLanguage
import TrailCrypto

/// `portcullis audit report`: a page that a security officer reads.
struct AuditReport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Write a report of the trail as one HTML page.",
        discussion: """
            Logins over time by outcome, by source, account, rule and reason; bursts of refusals, the longest and largest \
            sessions, what sandboxes denied, what happened to the gateway. With --policy also the rules that were never \
            used, and the refused requests that a permit missed by one clause: accounts and programs are looked up on this \
            host, or with --no-lookup not at all.

            The page needs no network and no script, and can be printed. It is written as a whole, for its owner alone \
            (0600), and replaces an earlier report but, without --force, no other file, and no link.

            EXAMPLES
              portcullis audit report --html report.html --since this-month
              portcullis audit report --html report.html --policy /etc/portcullis/portcullis.policy
            """)

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter

    @Option(help: "The file that is written; - for standard output.", completion: .file())
    var html: String

    @Option(help: "The policy whose rules are held against the trail.", completion: .file())
    var policy: String?

    @Flag(name: .customLong("no-lookup"), help: "Look no account and no program up on this host.")
    var noLookup = false

    @Flag(help: "Replace a file that is no report.")
    var force = false

    func run() throws {
        try reporting {
            let file = ReportFile(path: html, isForced: force)
            try file.check()
            let check = try filter.prepared()
            var use = try policy.map { path in
                let local = try LocalPolicy(path)
                guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
                return PolicyUse(policy: policy, revision: local.revision, path: path, looksUp: !noLookup)
            }
            var reading = try TrailReading(trail.source)
            var findings = ReportFindings(zone: .ofThisHost)
            var sessions = SessionCollector()
            let add = { (session: TrailSession) in
                guard check.matches(session) else { return }
                findings.add(session)
                use?.add(session)
            }
            try reading.read { event in
                sessions.take(event, add)
                // What concerns no session is the gateway's: a user or an address cannot be asked of it.
                if check.matches(milliseconds: event.line.stamp.milliseconds) { findings.add(event) }
                if event.isRefusal, check.matches(event) { try use?.add(event) }
            }
            sessions.finish(add)
            let page = ReportPage(
                findings: findings, use: use,
                facts: ReportPage.Facts(
                    host: Resolver.ownName()?.printable ?? "this host",
                    moment: UInt64(max(0, Clock.wallMilliseconds())),
                    trail: trail.files.isEmpty ? trail.state.directory + "/audit" : trail.files.joined(separator: ", "),
                    filter: filter.words, records: reading.records, segments: reading.segments,
                    unreadable: reading.unreadable, lastSequence: reading.lastLine?.sequence,
                    lastChain: reading.lastLine?.head.description))
            try file.write(page.text(styleDigest: Self.digest(ReportStyle.sheet)))
            guard html != "-" else { return }
            try Output.say(
                "\(ByteText(html).printable): \(Shown.count(findings.statistics.total.requests, "request")), "
                    + "\(Shown.number(findings.statistics.total.refused)) refused")
        }
    }

    /// SHA-256 in base 64, as a content security policy names a style sheet.
    static func digest(_ sheet: StaticString) -> String {
        base64(sha256(Array(sheet.description.utf8)))
    }

    /// RFC 4648, section 4.
    static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        var rest = bytes[...]
        while !rest.isEmpty {
            let group = rest.prefix(3)
            rest = rest.dropFirst(3)
            var bits = 0
            for byte in group { bits = bits << 8 | Int(byte) }
            bits <<= (3 - group.count) * 8
            for place in 0..<4 {
                text.append(place <= group.count ? alphabet[bits >> (18 - 6 * place) & 63] : "=")
            }
        }
        return text
    }
}
