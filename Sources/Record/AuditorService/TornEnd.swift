// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux

/// The end of a file that a crash has torn: it is copied into a file of its own before it is cut off.
struct TornEnd {
    /// Where the file is.
    let directory: Descriptor
    /// The file's name.
    let file: String
    /// What stands behind its last whole record.
    let bytes: [UInt8]

    /// Copies the end, and cuts it off. However often this fails and is tried again, there is one copy.
    ///
    /// - Parameters:
    ///   - writer: the file, open for writing.
    ///   - size: its bytes before the torn ones.
    /// - Returns: the name of the copy.
    func setAside(_ writer: Descriptor, leaving size: Int64) throws(SystemError) -> String {
        let name = try copy()
        // ORDER: the copy is on disk before the original goes.
        try File.synchronize(directory)
        try File.truncate(writer, to: size)
        try File.synchronize(writer)
        return name
    }

    private func copy() throws(SystemError) -> String {
        if let copy = try existingCopy() { return copy }
        // What an attempt before has left there is no copy of anything.
        let unfinished = file + ".torn"
        try File.remove(unfinished, below: directory)
        let copy = try File.open(
            unfinished, below: directory, [.writing, .creating, .exclusive, .noFollow], mode: 0o600)
        do throws(SystemError) {
            try copy.writeAll(bytes)
            try File.synchronize(copy)
            let name = try Self.freeName(file + TrailNeighbour.torn, in: directory)
            try File.rename(unfinished, to: name, below: directory)
            return name
        } catch {
            try? File.remove(unfinished, below: directory)
            throw error
        }
    }

    /// The copy that an attempt before has made, where the original could not be cut.
    private func existingCopy() throws(SystemError) -> String? {
        for name in try Directory.names(directory) where name.bytes.starts(with: (file + TrailNeighbour.torn).utf8) {
            let name = String(decoding: name.bytes, as: UTF8.self)
            guard let copy = try? File.open(name, below: directory, [.reading, .noFollow, .nonBlocking]),
                let status = try? File.status(copy), status.kind == .regular, status.size == Int64(bytes.count),
                try File.read(copy, at: 0, limit: bytes.count + 1) == bytes
            else { continue }
            try File.synchronize(copy)
            return name
        }
        return nil
    }

    /// A name in a directory that nothing has: the stem and the time.
    static func freeName(_ stem: String, in directory: Descriptor) throws(SystemError) -> String {
        let taken = Set(try Directory.names(directory))
        let timed = "\(stem)\(Clock.wallMilliseconds() / 1_000)"
        var name = timed
        var count = 1
        while taken.contains(ByteText(name)) {
            count += 1
            name = "\(timed)-\(count)"
        }
        return name
    }
}
