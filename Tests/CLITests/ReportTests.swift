// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import FoundationXML
import TestSupport
import Testing

@testable import CLI

/// `portcullis audit report`: the page is well-formed, holds no stranger's markup, loads nothing, and says what happened.
@Suite struct ReportTests {
    private let place: TemporaryDirectory

    init() throws {
        place = try TemporaryDirectory()
        try place.write(Array(GeneratedTrail.policy.utf8), to: "site.policy")
    }

    private func report(_ trail: GeneratedTrail, _ arguments: [String] = []) throws -> String {
        try place.write(trail.text, to: "audit/trail.log")
        let run = try portcullis(
            "audit", "report", "--html", place.path + "/report.html", "--state-directory", place.path, "--no-lookup",
            arguments: arguments)
        #expect(run.status == 0, "\(run.error)")
        return place.read("report.html")
    }

    private var policy: [String] { ["--policy", place.path + "/site.policy"] }

    @Test(arguments: [(0, false), (3, false), (300, false), (300, true)])
    func thePageIsWellFormedAndLoadsNothing(sessions: Int, hostile: Bool) throws {
        for arguments in [[], policy] {
            let text = try report(GeneratedTrail(sessions: sessions, hostile: hostile), arguments)
            let page = try Page(text)
            #expect(page.root == "html")
            let allowed: Set<String> = [
                "html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "div", "p",
                "h1", "h2",
                "dl", "dt", "dd", "span", "ul", "li", "a", "code", "figure", "svg", "desc", "defs", "pattern", "rect",
                "line",
                "text", "g", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
            ]
            #expect(page.names.isSubset(of: allowed), "\(page.names.subtracting(allowed))")
            // No script, no handler, no style beside the sheet, and no address but places in the page.
            #expect(page.attributes.keys.allSatisfy { !$0.hasPrefix("on") && $0 != "style" && $0 != "src" })
            #expect((page.attributes["href"] ?? []).allSatisfy { $0.hasPrefix("#") })
            #expect((page.attributes["fill"] ?? []).allSatisfy { $0 == "url(#hatch)" })
            let rule = try #require(page.attributes["content"]?.first { $0.contains("default-src") })
            #expect(
                rule
                    == "default-src 'none'; style-src 'sha256-\(AuditReport.digest(ReportStyle.sheet))'; base-uri 'none'; "
                    + "form-action 'none'")
            #expect(text.contains("<style>\(ReportStyle.sheet)</style>"))
            #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x7F })
            let targets = Set(page.attributes["id"] ?? [])
            #expect((page.attributes["href"] ?? []).allSatisfy { targets.contains(String($0.dropFirst())) })
            #expect(page.attributes["id"]?.count == targets.count, "an id stands twice")
        }
    }

    @Test func whatClientsChoseIsTextAndNothingElse() throws {
        let text = try report(GeneratedTrail(sessions: 400, hostile: true), policy)
        #expect(text.utf8.allSatisfy { $0 == 10 || $0 >= 0x20 })
        for raw in ["<script", "<img", "onload=\"", "]]>", "<!-- ", "\u{202E}", "\u{9B}", "\u{1B}"] where raw != "<!-- "
        {
            #expect(!text.contains(raw), "\(raw)")
        }
        #expect(text.components(separatedBy: "<!--").count == 2)
        #expect(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"))
        #expect(text.contains("\\xe2\\x80\\xaetxt.exe"))
    }

    @Test(
        arguments: [
            ("<b> & \"x\" 'y'", "&lt;b&gt; &amp; &quot;x&quot; &#39;y&#39;"), ("a\nb", "a\nb"),
            ("\u{1B}[2J", "\\u{1b}[2J"),
            ("\u{202E}x\u{2066}\u{200F}", "\\u{202e}x\\u{2066}\\u{200f}"), ("é – ×", "é – ×"), ("\u{0}", "\\u{0}"),
            ("\u{FFFE}\u{E000}\u{2028}", "\\u{fffe}\\u{e000}\\u{2028}"), ("]]>", "]]&gt;"),
        ])
    func markupEscapesWhateverIsNotPlainText(_ words: String, _ wanted: String) {
        #expect(Markup.escaped(words) == wanted)
    }

    @Test func thePageSaysWhatHappened() throws {
        let trail = GeneratedTrail(sessions: 300)
        let page = try Page(try report(trail, policy))
        #expect(page.figures["Requests"]?.hasPrefix("315") == true)
        #expect(page.figures["Refused"]?.hasPrefix("\(trail.refused)") == true)
        let sections = page.sections
        #expect(sections["policy"]?.contains("retired") == true && sections["policy"]?.contains("contractors") == true)
        #expect(sections["policy"]?.contains("nightly-dump") == false)
        #expect(sections["misses"]?.contains("from 10.20.0.0/16") == true)
        #expect(sections["misses"]?.contains("without what needs a shell") == true)
        #expect(sections["bursts"]?.contains("203.0.113.66") == true)
        #expect(sections["bursts"]?.contains("bad-credentials 15") == true)
        #expect(sections["events"]?.contains("portcullis-engine: signal-11") == true)
        #expect(sections["events"]?.contains("policy rejected") == true)
        #expect(sections["denials"]?.contains("system call mount") == true)
        #expect(sections["rules"]?.contains("(no rule)") == true)
        // The chart's table has what the chart has.
        #expect(page.title.contains("audit report of "))
        #expect(sections["time"]?.contains("26 Oct 2026") == true)
    }

    @Test func whatFiltersLeaveOutIsNotOnThePage() throws {
        let trail = GeneratedTrail(sessions: 300)
        let text = try report(trail, ["--from", "203.0.113.0/24", "--since", "2026-11-01"])
        let page = try Page(text)
        #expect(page.figures["Requests"]?.hasPrefix("15") == true)
        #expect(text.contains("Only: from 203.0.113.0/24, since 2026-11-01"))
        #expect(!text.contains("10.1.2.3"))
        let none = try Page(try report(trail, ["--from", "192.0.2.1"]))
        #expect(none.figures["Requests"]?.hasPrefix("0") == true)
    }

    @Test func standardOutputTakesThePageToo() throws {
        try place.write(GeneratedTrail(sessions: 3).text, to: "trail.log")
        let run = try portcullis("audit", "report", "--html", "-", place.path + "/trail.log")
        #expect(run.status == 0 && run.output.hasPrefix(ReportFile.beginning) && run.error.isEmpty)
        _ = try Page(run.output)
    }

    @Test func aPolicyThatIsNoneStopsTheReport() throws {
        try place.write(Array("permit".utf8), to: "bad.policy")
        try place.write([], to: "trail.log")
        let run = try portcullis(
            "audit", "report", "--html", place.path + "/report.html", "--policy", place.path + "/bad.policy",
            place.path + "/trail.log")
        #expect(run.status == 1 && run.error.contains("bad.policy:1"))
        #expect(!FileManager.default.fileExists(atPath: place.path + "/report.html"))
    }

    // MARK: The file

    private func write(_ name: String, _ arguments: [String] = []) throws -> CommandRun.Result {
        try place.write(GeneratedTrail(sessions: 3).text, to: "trail.log")
        return try portcullis(
            "audit", "report", "--html", place.path + "/" + name, place.path + "/trail.log", arguments: arguments)
    }

    private func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: place.path + "/" + name)[.posixPermissions] as? Int
    }

    private var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: place.path).sorted() }
    }

    @Test func aReportIsForItsOwnerAloneAndReplacesAReport() throws {
        #expect(try write("r.html").status == 0)
        #expect(try mode("r.html") == 0o600)
        let first = place.read("r.html")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: place.path + "/r.html")
        #expect(try write("r.html", ["--denied"]).status == 0)
        #expect(place.read("r.html") != first)
        #expect(try mode("r.html") == 0o600)
        #expect(try names == ["r.html", "site.policy", "trail.log"], "nothing is left over")
    }

    @Test func nothingElseIsReplacedWithoutForce() throws {
        try place.write(Array("mine".utf8), to: "notes.html")
        let run = try write("notes.html")
        #expect(run.status == 1 && run.error.contains("is no report of portcullis") && run.error.contains("--force"))
        #expect(place.read("notes.html") == "mine")
        #expect(try write("notes.html", ["--force"]).status == 0)
        #expect(place.read("notes.html").hasPrefix(ReportFile.beginning))
    }

    /// Neither with --force: who may write the directory could have put the link there.
    @Test(arguments: [[], ["--force"]]) func noLinkIsFollowedAndNoneReplaced(_ arguments: [String]) throws {
        try place.write(Array("precious".utf8), to: "target")
        try FileManager.default.createSymbolicLink(
            atPath: place.path + "/r.html", withDestinationPath: place.path + "/target")
        let run = try write("r.html", arguments)
        #expect(run.status == 1 && run.error.contains("is a link"))
        #expect(place.read("target") == "precious")
        let dangling = place.path + "/d.html"
        try FileManager.default.createSymbolicLink(atPath: dangling, withDestinationPath: place.path + "/nothing")
        #expect(try write("d.html", arguments).status == 1)
        #expect(!FileManager.default.fileExists(atPath: place.path + "/nothing"))
    }

    @Test func whatIsNoFileIsRefusedBeforeTheTrailIsRead() throws {
        for name in ["audit-directory/", "missing/r.html", ".", ".."] {
            let run = try write(name)
            #expect([1, 64].contains(run.status), "\(name)")
        }
        try FileManager.default.createDirectory(atPath: place.path + "/folder", withIntermediateDirectories: false)
        let run = try write("folder", ["--force"])
        #expect(run.status == 1 && run.error.contains("not a regular file"))
    }

    // MARK: Parts

    @Test(arguments: [
        (0, 1, 1), (1, 1, 1), (5, 5, 1), (6, 6, 2), (18, 20, 5), (101, 150, 50), (100, 100, 20),
        (99_999, 100_000, 20_000), (250_001, 300_000, 100_000),
    ])
    func theScaleIsRound(_ most: Int, _ limit: Int, _ step: Int) {
        let scale = LoginChart.scale(most)
        #expect(scale.limit == limit && scale.step == step)
        #expect(LoginChart.scale(.max / 2).limit >= .max / 2)
    }

    @Test func theHistogramKeepsEveryCountAndGrowsCoarse() throws {
        var histogram = LoginHistogram()
        var random = SeededGenerator(seed: 3)
        let first = try #require(CivilTime(year: 1971, month: 1, day: 1)).seconds
        for _ in 0..<30_000 {
            let moment = CivilTime(seconds: first + Int64.random(in: 0..<2_900_000_000, using: &random))
            histogram.add(moment, .refused, 1)
        }
        let chart = histogram.chart(columns: 96)
        #expect(chart.unit == .year && chart.columns.count <= 96)
        #expect(chart.columns.reduce(0) { $0 + $1.total } == 30_000)
    }

    @Test(
        arguments: [
            (1, LoginHistogram.Unit.hour, 1), (48, .hour, 48), (97, .day, 5), (24 * 90, .day, 90),
            (24 * 200, .week, 29),
            (24 * 1_000, .month, 33),
        ])
    func theChartHasNoGapsAndNotTooManyColumns(_ hours: Int64, _ unit: LoginHistogram.Unit, _ columns: Int) throws {
        var histogram = LoginHistogram()
        let start = try #require(CivilTime(year: 2026, month: 1, day: 1))
        histogram.add(start, .succeeded, 2)
        histogram.add(CivilTime(seconds: start.seconds + (hours - 1) * 3_600), .refused, 3)
        let chart = histogram.chart(columns: 96)
        #expect(chart.unit == unit && chart.columns.count == columns)
        #expect(chart.columns.first?.counts[0] == 2 && chart.columns.last?.counts[3] == 3)
    }

    /// A stretch begins where its number says, whatever the unit.
    @Test func everyUnitsStretchBeginsWithinItself() {
        for unit in LoginHistogram.Unit.allCases {
            for hour in stride(from: Int64(0), to: 1_000_000, by: 1_237) {
                let number = unit.number(ofHour: hour)
                #expect(unit.number(ofHour: unit.firstHour(of: number)) == number)
                #expect(unit.firstHour(of: number) <= hour)
                #expect(unit.firstHour(of: number + 1) > hour)
            }
        }
    }

    @Test func burstsAreToldApart() {
        var bursts = RefusalBursts()
        func refuse(_ source: String, at seconds: UInt64, count: Int = 1) {
            var session = TrailSession(session: nil, began: seconds * 1_000)
            session.address = IPAddress(source)
            session.refusal = .badCredentials
            session.count = count
            bursts.add(session)
        }
        for second in 0..<UInt64(12) { refuse("10.0.0.1", at: second * 50) }
        for second in 0..<UInt64(9) { refuse("10.0.0.2", at: second) }
        for second in 0..<UInt64(20) { refuse("10.0.0.1", at: 10_000 + second) }
        refuse("10.0.0.3", at: 20_000, count: 500)
        let found = bursts.largest(5)
        #expect(found.map(\.count) == [500, 20, 12])
        #expect(found.map { $0.source?.description } == ["10.0.0.3", "10.0.0.1", "10.0.0.1"])
        #expect(found[2].last - found[2].first == 550_000)
        #expect(bursts.count == 3)
    }

    @Test(
        arguments: [([], ""), ([0x66], "Zg=="), ([0x66, 0x6F], "Zm8="), (Array("foobar".utf8), "Zm9vYmFy")]
            as [([UInt8], String)])
    func base64IsTheStandards(_ bytes: [UInt8], _ text: String) {
        #expect(AuditReport.base64(bytes) == text)
    }
}

/// A page as an XML parser reads it.
private final class Page: NSObject, XMLParserDelegate {
    private(set) var root: String?
    private(set) var names: Set<String> = []
    private(set) var attributes: [String: [String]] = [:]
    /// The texts of the sections, by their ids.
    private(set) var sections: [String: String] = [:]
    /// The figures at the top, by what they are called.
    private(set) var figures: [String: String] = [:]
    private(set) var title = ""
    private var path: [String] = []
    private var section: String?
    private var term = ""

    init(_ text: String) throws {
        super.init()
        let parser = XMLParser(data: Data(text.utf8))
        parser.shouldResolveExternalEntities = false
        parser.delegate = self
        guard parser.parse() else {
            throw Malformed(line: parser.lineNumber, why: parser.parserError?.localizedDescription ?? "?")
        }
    }

    struct Malformed: Error {
        var line: Int
        var why: String
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes found: [String: String]
    ) {
        root = root ?? name
        names.insert(name)
        path.append(name)
        for (key, value) in found { attributes[key, default: []].append(value) }
        if name == "section" { section = found["id"] }
        if name == "dt" { term = "" }
    }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
        path.removeLast()
        if name == "section" { section = nil }
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
        if let section { sections[section, default: ""] += text }
        if path.last == "title", path.contains("head") { title += text }
        if path.last == "dt" { term += text }
        if path.contains("dd") { figures[term, default: ""] += text }
    }
}

/// As `portcullis(_:)`, with further arguments.
private func portcullis(_ words: String..., arguments: [String]) throws -> CommandRun.Result {
    try CommandRun(words + arguments).result()
}
