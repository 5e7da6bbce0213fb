// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux
import TrailCrypto

/// `portcullis audit verify`: whether the trail is whole.
struct AuditVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that no record was changed, removed, added or moved.",
        discussion: """
            Every record carries a number and a SHA-256 chain over all records before it, and every minute (policy: \
            checkpoint) the trail's state is signed. Chain and checkpoints are checked over all segments; the first bad \
            line is named, and the exit status is 1.

            Whoever can write the files can also write new ones: what was kept on another host shows that. --key takes \
            the public key in STATE/audit/checkpoints.vkey, as it was when the trail began, or a later one that a \
            checkpoint named; --checkpoint a file with a checkpoint, as it stands beside the trail or in a syslog.

            Where keys were lost, a new run of keys begins, which is a fault until --key names one of its keys, too.

            With FILE one file of a trail is checked alone, or the directory of one.

            EXAMPLES
              portcullis audit verify
              portcullis audit verify --key gate.vkey --checkpoint /var/log/loghost/gate
            """)

    @OptionGroup var state: StateOptions

    @Argument(help: "A file of a trail to check alone, or a trail's directory.", completion: .file())
    var file: String?

    @OptionGroup var format: FormatOptions

    @Option(help: "A public key that was kept elsewhere, or a file with it: it must have signed; may be given again.")
    var key: [String] = []

    @Option(help: "A file with a checkpoint that was kept elsewhere; may be given again.", completion: .file())
    var checkpoint: [String] = []

    @Flag(help: "List the checkpoints, with what each covers.")
    var checkpoints = false

    /// Records between two lines of progress.
    private static let progressInterval = 250_000
    /// How often a last line without its end is looked at again: the auditor may be writing it.
    private static let patience = 10

    /// What was found.
    private struct Found {
        var verifier: TrailVerifier
        var segments = 0
        var fault: (path: String, fault: TrailFault)?
        var kept: KeptCheckpoints

        var isWhole: Bool { fault == nil && kept.isWhole }

        /// The last record that a checkpoint covers; nil where none does.
        var covered: UInt64? { verifier.marks[..<verifier.marksPassed].last?.position.sequence }

        /// The records that are there and that none covers.
        var uncovered: UInt64 {
            guard let first = verifier.first else { return 0 }
            return verifier.position.sequence - max(covered ?? 0, first - 1)
        }
    }

    func run() throws {
        try reporting {
            let directory = self.directory
            var progress = Progress(isShown: Terminal.isTerminal(StandardStreams.error) && !format.isJSON)
            // ORDER: the checkpoints first: what they cover is in the trail then.
            let kept = try KeptCheckpoints(
                in: directory, keys: key, kept: checkpoint, listed: checkpoints
            ) { progress.show($0, "checkpoint", every: 1_000) }
            var found = Found(verifier: TrailVerifier(digest: sha256), kept: kept)
            found.verifier.marks = kept.marks
            try check(&found, &progress)
            progress.end()
            try report(found)
            if !found.isWhole { throw ExitCode(1) }
        }
    }

    /// The trail's directory; nil where one file is looked at alone.
    private var directory: String? {
        guard let file else { return state.directory + "/audit" }
        return (try? File.status(file))?.kind == .directory ? file : nil
    }

    /// What is checked, for people.
    private var path: String { directory ?? file ?? "" }

    /// Checks segment by segment, as they are found; the trail ends with the live one as it then is.
    private func check(_ found: inout Found, _ progress: inout Progress) throws {
        var source = directory.map { TrailSource(directory: $0) } ?? TrailSource(files: [path])
        var last: TrailSource.Segment?
        do {
            while var segment = try source.next() {
                if last != nil { try found.verifier.startSegment() }
                last = segment
                // Nobody writes in a closed one any more; of a file that was named alone nobody knows.
                try check(&segment, mayGrow: segment.isLive || directory == nil, &found.verifier) {
                    progress.show($0, "record", every: Self.progressInterval)
                }
                // The one after a rotation has nothing yet.
                if found.verifier.lines > 0 || found.segments == 0 { found.segments += 1 }
                if segment.isLive { break }
            }
            try found.verifier.finishTrail()
        } catch let fault as TrailFault {
            found.fault = (last?.path ?? "", fault)
        }
    }

    private func check(
        _ segment: inout TrailSource.Segment, mayGrow: Bool, _ verifier: inout TrailVerifier, progress: (Int) -> Void
    ) throws {
        var patience = Self.patience
        while true {
            let piece = try segment.next()
            guard piece.isEmpty else {
                try verifier.take(piece)
                progress(verifier.records)
                continue
            }
            do throws(TrailFault) {
                return try verifier.finish()
            } catch {
                guard mayGrow, patience > 0, error.problem == .torn else { throw error }
                patience -= 1
                Clock.sleep(milliseconds: 50)
            }
        }
    }

    // MARK: What came out

    private func report(_ found: Found) throws {
        var output = Output()
        if format.isJSON {
            try output.line(json(found).text)
        } else {
            for row in found.kept.rows { try output.line(Self.text(of: row)) }
            for line in lines(found, output) { try output.line(line) }
        }
        try output.flush()
    }

    private func lines(_ found: Found, _ output: Output) -> [String] {
        var lines: [String] = []
        let verifier = found.verifier
        let bad = output.coloured("not whole", .bad)
        if let (path, fault) = found.fault {
            lines.append("\(path):\(fault.line): \(bad): \(fault)")
            switch verifier.records {
            case 0: lines.append("no record before it")
            case 1: lines.append("the record before it is whole")
            default: lines.append("the \(Shown.count(verifier.records, "record")) before it are whole")
            }
        }
        let notes = "\(path)/\(CheckpointFile.name)"
        for fault in found.kept.faults {
            lines.append("\(notes): \(bad): checkpoint \(Shown.number(fault.number)): \(fault)")
        }
        if found.kept.furtherFaults > 0 {
            lines.append("\(notes): \(bad): \(Shown.number(found.kept.furtherFaults)) more are not")
        }
        lines += found.kept.mismatches.map { "\(bad): \($0)" }
        if found.isWhole {
            let checkpoints = found.kept.count == 0 ? "" : ", " + Shown.count(found.kept.count, "checkpoint")
            lines.append(
                "checked \(Shown.count(verifier.records, "record")) in \(Shown.count(found.segments, "segment"))"
                    + "\(checkpoints): \(output.coloured("whole", .good))")
        }
        lines += Self.lines(of: found.kept.runs)
        if let first = verifier.first, first > 1 {
            lines.append("it begins with record \(Shown.number(first)): those before are not here")
        }
        if found.fault == nil, verifier.records > 0, directory != nil || !verifier.marks.isEmpty {
            let since = verifier.uncoveredSince.map { Shown.localTime(seconds: Int64(clamping: $0 / 1_000)) } ?? "?"
            switch (found.covered, found.uncovered) {
            case (_, 0): break
            case (nil, _): lines.append("no checkpoint covers a record yet: the oldest is of \(since)")
            case (_, 1): lines.append("the last record is not covered by a checkpoint yet: it is of \(since)")
            case (_, let count):
                lines.append(
                    "the last \(Shown.number(count)) records are not covered by a checkpoint yet: "
                        + "the oldest is of \(since)")
            }
        }
        lines += found.kept.notices
        lines += neighbours.setAside.map { "set aside earlier: \(ByteText($0).printable)" }
        lines += neighbours.strangers.map { "no file of a trail, and not looked at: \(ByteText($0).printable)" }
        return lines
    }

    /// What each run of keys covers, where keys were lost.
    private static func lines(of runs: [CheckpointRun]) -> [String] {
        guard runs.contains(where: \.isNew) else { return [] }
        var before: UInt64 = 0
        return runs.enumerated().map { index, run in
            let checkpoints =
                run.first == run.last
                ? "checkpoint \(Shown.number(run.first)) covers"
                : "checkpoints \(Shown.number(run.first)) to \(Shown.number(run.last)) cover"
            let alone = before > 0 ? ", alone those from \(Shown.number(before + 1)) on" : ""
            before = run.covered
            return "run \(index + 1) of keys: \(checkpoints) records 1 to \(Shown.number(run.covered))\(alone)"
                + (run.key.map { "; from key \($0)" } ?? "")
        }
    }

    private static func text(of row: KeptCheckpoints.Row) -> String {
        "checkpoint \(Shown.number(row.number)): records 1 to \(Shown.number(row.position.sequence)), "
            + "signed by key \(Hexadecimal.lower(row.keyID))"
    }

    private func json(_ found: Found) -> JSON {
        let verifier = found.verifier
        let isEmpty = verifier.records == 0
        var members: [(String, JSON)] = [
            ("whole", .bool(found.isWhole)), ("file", .string(found.fault?.path ?? path)),
            ("records", .integer(verifier.records)), ("segments", .integer(found.segments)),
            ("first", verifier.first.map { .integer($0) } ?? .null),
            ("last", isEmpty ? .null : .integer(verifier.position.sequence)),
            ("chain", isEmpty ? .null : .string(verifier.position.head.description)),
            ("line", found.fault.map { .integer($0.fault.line) } ?? .null),
            ("problem", .optional(found.fault?.fault.description)),
            ("checkpoints", .integer(found.kept.count)),
            ("covered", found.covered.map { .integer($0) } ?? .null), ("uncovered", .integer(found.uncovered)),
            (
                "uncoveredSince",
                verifier.uncoveredSince.map { .string(Shown.universalTime(milliseconds: $0)) } ?? .null
            ),
            ("firstKey", .optional(found.kept.firstKey?.description)),
            ("nextKey", .optional(found.kept.nextKey?.description)),
            ("badCheckpoint", found.kept.faults.first.map { .integer($0.number) } ?? .null),
            ("checkpointProblem", .optional(found.kept.faults.first?.description)),
            ("runs", .array(found.kept.runs.map(Self.json(of:)))),
            ("mismatches", .array(found.kept.mismatches.map { .string($0) })),
            ("notices", .array(found.kept.notices.map { .string($0) })),
            ("setAside", .array(neighbours.setAside.map { .string($0) })),
            ("strangers", .array(neighbours.strangers.map { .string($0) })),
        ]
        if checkpoints {
            let rows = found.kept.rows.map { row in
                JSON.object([
                    ("number", .integer(row.number)), ("last", .integer(row.position.sequence)),
                    ("chain", .string(row.position.head.description)),
                    ("key", .string(Hexadecimal.lower(row.keyID))),
                ])
            }
            members.append(("list", .array(rows)))
        }
        return .object(members)
    }

    private static func json(of run: CheckpointRun) -> JSON {
        .object([
            ("first", .integer(run.first)), ("last", .integer(run.last)), ("covered", .integer(run.covered)),
            ("key", .optional(run.key?.description)), ("new", .bool(run.isNew)),
        ])
    }

    /// What lies beside the trail: what the auditor found broken and moved out of the way, and what nobody knows, which
    /// may be a part of the trail that somebody gave another name.
    private var neighbours: (setAside: [String], strangers: [String]) {
        guard let directory else { return ([], []) }
        let names = ((try? Directory.names(directory)) ?? []).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        let path = { (name: ByteText) in directory + "/" + String(decoding: name.bytes, as: UTF8.self) }
        return (
            names.filter { TrailNeighbour(name: $0.bytes) == .setAside }.map(path),
            names.filter { TrailNeighbour(name: $0.bytes) == .stranger }.map(path)
        )
    }

    /// A line on a terminal that says how far it is.
    private struct Progress {
        let isShown: Bool
        private var shown = 0

        init(isShown: Bool) {
            self.isShown = isShown
        }

        mutating func show(_ count: Int, _ noun: String, every interval: Int) {
            // Records begin again where checkpoints ended.
            if count < shown { shown = 0 }
            guard isShown, count - shown >= interval else { return }
            shown = count
            try? StandardStreams.error.writeAll(Array("\rchecked \(Shown.count(count, noun)) …\u{1B}[K".utf8))
        }

        func end() {
            if isShown, shown > 0 { try? StandardStreams.error.writeAll(Array("\r\u{1B}[K".utf8)) }
        }
    }
}
