// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The file that a report is written to: as a whole or not at all, for its owner alone, and over nothing that is not a
/// report.
struct ReportFile {
    /// The path as it was named; `-` is standard output.
    let path: String
    /// Whether any regular file may be replaced.
    let isForced: Bool

    /// How a report begins: what is looked for before one is replaced.
    static let beginning = "<!DOCTYPE html>\n<!-- portcullis audit report -->\n"

    /// Says whether the report could be written there, before the trail is read; nothing is changed.
    func check() throws {
        guard path != "-" else { return }
        try checkName()
        _ = try directory()
    }

    /// Writes the report.
    func write(_ text: String) throws {
        guard path != "-" else {
            do throws(SystemError) {
                return try StandardStreams.output.writeAll(Array(text.utf8))
            } catch {
                throw Failure(description: "cannot write the report: \(error)")
            }
        }
        do {
            let directory = try directory()
            // A name of nobody else's, so that two at once disturb each other only by who is the last.
            let temporary = ".\(name.prefix(100)).\(Hexadecimal.lower(try Random.bytes(8)))"
            let file = try File.open(
                temporary, below: directory, [.writing, .creating, .exclusive, .noFollow], mode: 0o600)
            do {
                try File.setMode(file, 0o600)
                try file.writeAll(Array(text.utf8))
                // ORDER: the report is on disk before it takes the name.
                try File.synchronize(file)
                try checkName()
                try File.rename(temporary, to: name, below: directory)
            } catch {
                try? File.remove(temporary, below: directory)
                throw error
            }
            // Some file systems cannot synchronise a directory; the report is there all the same.
            try? File.synchronize(directory)
        } catch let error as SystemError {
            throw Failure(description: "cannot write \(path): \(error)")
        }
    }

    /// What has the name already is a report, or may be replaced.
    private func checkName() throws {
        guard !name.isEmpty, name != ".", name != "..", !path.hasSuffix("/") else {
            throw Failure(description: "'\(path)' names no file", status: 64)
        }
        let status: FileStatus
        do throws(SystemError) {
            status = try File.linkStatus(path)
        } catch {
            if error.isNotFound { return }
            throw Failure(description: "cannot write \(path): \(error)")
        }
        switch status.kind {
        case .regular:
            guard !isForced, !isReport else { return }
            throw Failure(
                description: "\(path) is there and is no report of portcullis: nothing was written; "
                    + "--force replaces it")
        case .link:
            throw Failure(description: "\(path) is a link, which is not followed: nothing was written")
        case .directory, .fifo, .other:
            throw Failure(description: "\(path) is not a regular file: nothing was written; --html - prints the report")
        }
    }

    private var isReport: Bool {
        guard let file = try? File.open(path, [.reading, .nonBlocking, .noFollow]),
            let found = try? File.read(file, at: 0, limit: Self.beginning.utf8.count)
        else { return false }
        return found.elementsEqual(Self.beginning.utf8)
    }

    private func directory() throws -> Descriptor {
        let directory = LocalPolicyFiles.directory(of: File.absolute(path))
        do throws(SystemError) {
            return try File.open(directory, [.directory])
        } catch {
            throw Failure(description: "cannot write \(path): \(directory): \(error.text)")
        }
    }

    /// The last component of the path.
    private var name: String {
        path.split(separator: "/").last.map { String($0) } ?? ""
    }
}
