// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// `portcullis audit`: the trail, for people.
struct AuditVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Read, verify and rotate the trail.",
        discussion: """
            The trail is STATE/audit/trail.log, in the grammar of auditd: ausearch -if and aureport -if read it, too.

            EXAMPLES
              portcullis audit last --since today
              portcullis audit show --user backup --since 2d
              portcullis audit report --html report.html --policy /etc/portcullis/portcullis.policy
            """,
        subcommands: [
            AuditShow.self, AuditLast.self, AuditFollow.self, AuditStatistics.self, AuditReport.self,
            AuditExport.self, AuditVerify.self, AuditRotate.self,
        ])
}

/// Which trail is meant.
struct TrailOptions: ParsableArguments {
    @OptionGroup var state: StateOptions

    @Argument(help: "A trail to read instead of the gateway's own.", completion: .file())
    var file: String?

    /// The trail's path.
    var path: String { file ?? state.directory + "/audit/trail.log" }
}

/// Reads a file in pieces.
struct TrailFileReader {
    /// Bytes that are read at once.
    private static let pieceSize = 1 << 20

    private let file: Descriptor
    private var offset: Int64 = 0

    init(_ path: String) throws {
        do throws(SystemError) {
            file = try File.open(path, [.reading, .nonBlocking])
            guard try File.status(file).kind == .regular else {
                throw SystemError(22 /* EINVAL */, "not a regular file")
            }
        } catch {
            let hint = error.isNotFound ? " (has a gateway run with this --state-directory?)" : ""
            throw Failure(description: "cannot read the trail \(path): \(error.text)\(hint)")
        }
    }

    /// The next bytes; empty at the end, which a trail that is being written has again and again.
    mutating func next() throws -> [UInt8] {
        let piece = try File.read(file, at: offset, limit: Self.pieceSize)
        offset += Int64(piece.count)
        return piece
    }
}

/// Cuts pieces into lines; a line that is longer than any record is given in parts, which no record parses from.
struct LineCutter {
    private var partial: [UInt8] = []

    mutating func take(_ piece: [UInt8], _ body: (ArraySlice<UInt8>) throws -> Void) rethrows {
        var rest = piece[...]
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if partial.isEmpty {
                try body(rest[..<newline])
            } else {
                partial.append(contentsOf: rest[..<newline])
                let line = partial
                partial.removeAll(keepingCapacity: true)
                try body(line[...])
            }
            rest = rest[newline...].dropFirst()
        }
        partial.append(contentsOf: rest)
        if partial.count > TrailFormat.lineLimit {
            let line = partial
            partial.removeAll(keepingCapacity: true)
            try body(line[...])
        }
    }

    /// What follows the last newline.
    var rest: [UInt8] { partial }
}
