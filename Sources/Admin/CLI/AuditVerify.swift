// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Crypto
import Linux

/// `portcullis audit verify`: whether the trail is whole.
struct AuditVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that no record was changed, removed, added or moved.",
        discussion: """
            Every record carries a number and a SHA-256 chain over all records before it. The first bad line is named, and \
            the exit status is 1. Whoever can write the file can also write a new chain: keep the chain of the last \
            record, which --json prints, somewhere else.

            EXAMPLE
              portcullis audit verify --state-directory /var/lib/portcullis
            """)

    @OptionGroup var trail: TrailOptions
    @OptionGroup var format: FormatOptions

    /// Records between two lines of progress.
    private static let progressInterval = 1_000_000
    /// How often a last line without its end is looked at again: the auditor may be writing it.
    private static let patience = 10

    func run() throws {
        try reporting {
            var reader = try TrailFileReader(trail.path)
            var verifier = TrailVerifier(digest: sha256)
            var fault: TrailFault?
            var shown = 0
            let showsProgress = Terminal.isTerminal(StandardStreams.error) && !format.isJSON
            do throws(TrailFault) {
                try check(&reader, &verifier) { lines in
                    guard showsProgress, lines - shown >= Self.progressInterval else { return }
                    shown = lines
                    try? StandardStreams.error.writeAll(Array("\rchecked \(Shown.number(lines)) records …".utf8))
                }
            } catch {
                fault = error
            }
            if shown > 0 { try? StandardStreams.error.writeAll(Array("\r\u{1B}[K".utf8)) }
            try report(verifier, fault)
            if fault != nil { throw ExitCode(1) }
        }
    }

    private func check(
        _ reader: inout TrailFileReader, _ verifier: inout TrailVerifier, progress: (Int) -> Void
    ) throws(TrailFault) {
        var patience = Self.patience
        while true {
            let piece: [UInt8]
            do {
                piece = try reader.next()
            } catch {
                throw TrailFault(line: verifier.lines + 1, problem: .notARecord)
            }
            guard piece.isEmpty else {
                try verifier.take(piece)
                progress(verifier.lines)
                continue
            }
            do throws(TrailFault) {
                return try verifier.finish()
            } catch {
                guard patience > 0 else { throw error }
                patience -= 1
                Clock.sleep(milliseconds: 50)
            }
        }
    }

    private func report(_ verifier: TrailVerifier, _ fault: TrailFault?) throws {
        var output = Output()
        let aside = setAside
        if format.isJSON {
            let isEmpty = verifier.position == .start
            try output.line(
                JSON.object([
                    ("whole", .bool(fault == nil)), ("file", .string(trail.path)),
                    ("records", .integer(verifier.lines)), ("segments", .integer(1)),
                    ("last", isEmpty ? .null : .integer(verifier.position.sequence)),
                    ("chain", isEmpty ? .null : .string(verifier.position.head.description)),
                    ("line", fault.map { .integer($0.line) } ?? .null),
                    ("problem", .optional(fault?.description)),
                    ("setAside", .array(aside.map { .string($0) })),
                ]).text)
        } else {
            if let fault {
                let name = "\(trail.path):\(fault.line)"
                try output.line("\(name): \(output.coloured("not whole", .bad)): \(fault)")
                let good =
                    verifier.lines == 0
                    ? "no record before it" : "the \(Shown.count(verifier.lines, "record")) before it are whole"
                try output.line(verifier.lines == 1 ? "the record before it is whole" : good)
            } else {
                let whole = output.coloured("whole", .good)
                try output.line("checked \(Shown.count(verifier.lines, "record")) in 1 segment: \(whole)")
            }
            for name in aside { try output.line("set aside earlier: \(ByteText(name).printable)") }
        }
        try output.flush()
    }

    /// What the auditor found broken and moved out of the way, beside the gateway's own trail.
    private var setAside: [String] {
        guard trail.file == nil else { return [] }
        let directory = trail.state.directory + "/audit"
        let prefixes = ["trail.log.broken-", "trail.log.torn-"].map { Array($0.utf8) }
        let names = (try? Directory.names(directory)) ?? []
        return names.filter { name in prefixes.contains { name.bytes.starts(with: $0) } }
            .map { directory + "/" + String(decoding: $0.bytes, as: UTF8.self) }
    }
}

/// SHA-256, for the chain.
@Sendable func sha256(_ bytes: [UInt8]) -> [UInt8] {
    Array(SHA256.hash(data: bytes))
}
