// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux

/// A trail's files, opened so that they are of one moment although the auditor may close a segment meanwhile.
struct TrailDirectory {
    /// The segments, the oldest first.
    let segments: [(path: String, reader: TrailFileReader)]

    /// How often the files are looked for again.
    private static let patience = 10

    /// The segments of a directory.
    init(_ path: String) throws {
        var patience = Self.patience
        while true {
            let before = try Self.segments(in: path)
            guard !before.isEmpty else {
                throw Failure(
                    description: "there is no \(path)/\(TrailSegment.liveName) "
                        + "(has a gateway run with this --state-directory?)")
            }
            do {
                let opened = try before.map { segment in
                    let file = path + "/" + segment.name
                    return (file, try TrailFileReader(file))
                }
                // A segment that was closed meanwhile has another name, and what has its old one is another file.
                if try Self.segments(in: path) == before {
                    segments = opened
                    return
                }
            } catch  where patience > 0 {
                // One that was there a moment ago.
            }
            guard patience > 0 else { throw Failure(description: "the files in \(path) change all the time") }
            patience -= 1
            Clock.sleep(milliseconds: 10)
        }
    }

    /// One file alone.
    init(file: String) throws {
        segments = [(file, try TrailFileReader(file))]
    }

    private static func segments(in path: String) throws -> [TrailSegment] {
        do throws(SystemError) {
            return TrailSegment.segments(among: try Directory.names(path))
        } catch {
            let hint = error.isNotFound ? " (has a gateway run with this --state-directory?)" : ""
            throw Failure(description: "cannot read the trail \(path)/\(TrailSegment.liveName): \(error.text)\(hint)")
        }
    }
}
