// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit follow`: records as they come, as tail -F.
struct AuditFollow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "follow",
        abstract: "Show records as they come, until it is interrupted.",
        discussion: """
            As `show`, with the last ten records first (-n says how many; with --since, all since then). It goes on over \
            rotations, and waits where there is no trail yet.

            EXAMPLES
              portcullis audit follow
              portcullis audit follow --denied --from 10.20.0.0/16
              portcullis audit follow --since 1h --json
            """)

    @OptionGroup var trail: TrailPlaces
    @OptionGroup var filter: TrailFilter

    @Option(name: [.customShort("n"), .customLong("lines")], help: "How many records that are there already.")
    var lines = 10

    @OptionGroup var format: FormatOptions

    /// How often it is looked whether there is more, in milliseconds.
    private static let interval: Int32 = 200

    func validate() throws {
        guard (0...1_000_000).contains(lines) else { throw ValidationError("--lines takes 0 to 1000000.") }
        guard trail.files.count <= 1 else { throw ValidationError("One trail is followed at a time.") }
    }

    /// The trail; a live segment that was named is followed over its rotations, too.
    private static func source(_ trail: TrailPlaces) -> TrailSource {
        guard let file = trail.files.first, file.split(separator: "/").last.map(String.init) == TrailSegment.liveName
        else { return trail.source }
        return TrailSource(directory: LocalPolicyFiles.directory(of: File.absolute(file)))
    }

    func run() throws {
        try reporting {
            let check = try filter.prepared()
            var following = try TrailFollowing(
                Self.source(trail), backward: filter.since == nil, mayMatter: check.quickly)
            var output = Output()
            let show = { (event: TrailEvent, output: inout Output) throws in
                try output.line(format.isJSON ? event.json.text : event.row(output))
            }
            if !format.isJSON { try output.line(output.coloured(TrailEvent.heading, .faint)) }
            var last: [TrailEvent] = []
            try following.advance { event in
                guard check.matches(event) else { return }
                guard filter.since == nil else { return try show(event, &output) }
                last.append(event)
                if last.count > 2 * lines + 1_000 { last.removeFirst(last.count - lines) }
            }
            for event in last.suffix(lines) { try show(event, &output) }
            last = []
            while true {
                try output.flush()
                var entries = [Poll.Entry(StandardStreams.output, reading: false)]
                try Poll.wait(&entries, milliseconds: Self.interval)
                // Nobody reads any more: there may be no record for a long time to notice it by.
                if entries[0].isHangup { throw ExitCode(1) }
                try following.advance { event in
                    if check.matches(event) { try show(event, &output) }
                }
            }
        }
    }
}

/// A trail that grows and is rotated while it is read.
struct TrailFollowing {
    /// How far back from a live segment's end it begins.
    private static let window: Int64 = 4 << 20

    private var source: TrailSource
    private let mayMatter: ((ArraySlice<UInt8>) -> Bool)?
    private var segment: TrailSource.Segment?
    private var cutter = LineCutter()
    private var joiner = CommandJoiner()
    /// Whether the next line is one that the window begins within.
    private var isWithinLine = false

    /// - Parameters:
    ///   - source: what is followed.
    ///   - backward: whether it begins near the end of what there is, and not at its beginning.
    ///   - mayMatter: says quickly of a line whether it is of any interest.
    init(_ source: TrailSource, backward: Bool, mayMatter: ((ArraySlice<UInt8>) -> Bool)?) throws {
        self.source = source
        self.mayMatter = mayMatter
        try source.check()
        guard backward else { return }
        while let next = try self.source.nextOrNone() {
            segment = next
            if next.isLive { break }
        }
        isWithinLine = try segment?.skip(toLast: Self.window) ?? false
    }

    /// Reads what there is by now, and gives each record.
    mutating func advance(_ body: (TrailEvent) throws -> Void) throws {
        while true {
            try read(body)
            guard let next = try source.nextOrNone() else { return }
            // What was written before the other one came belongs before it.
            try read(body)
            if let segment, !cutter.rest.isEmpty {
                complain("\(segment.path): the last record is torn: \(cutter.rest.count) bytes")
            }
            segment = next
            cutter = LineCutter()
            isWithinLine = false
        }
    }

    private mutating func read(_ body: (TrailEvent) throws -> Void) throws {
        while let piece = try segment?.next(), !piece.isEmpty {
            let path = segment?.path ?? ""
            var joiner = self.joiner
            var isWithinLine = self.isWithinLine
            let mayMatter = self.mayMatter
            try cutter.take(piece) { bytes in
                if isWithinLine {
                    isWithinLine = false
                    return
                }
                if let mayMatter, !mayMatter(bytes) { return }
                guard let line = TrailLine(bytes), let entry = Entry(line: line) else {
                    complain("\(path): not a record: \(ByteText(Array(bytes.prefix(80))).printable)")
                    return
                }
                try joiner.take(line, entry, body)
            }
            self.joiner = joiner
            self.isWithinLine = isWithinLine
        }
    }
}

extension TrailSource {
    /// As `next`, and nil, too, where there is no trail at all yet.
    mutating func nextOrNone() throws -> Segment? {
        isEmpty ? nil : try next()
    }
}
