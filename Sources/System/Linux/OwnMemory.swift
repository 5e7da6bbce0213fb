// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Glibc

/// The memory of a process that was forked and waits for its work.
///
/// After a fork each first touch of a page is a fault: of a page of data, which is copied then, and of one of code, which is
/// mapped. A process that waits can have both done before it is asked for anything.
public enum OwnMemory {
    /// A mapping, and what is done ahead with it.
    struct Range: Hashable {
        let start: UInt
        let count: Int
        /// Whether its pages are made this process's own, as the first write would; or only mapped, as a read would.
        let isWritten: Bool
    }

    /// The largest mapping whose pages are copied ahead, in bytes: heap, stack, and the variables of libraries. A program's
    /// own variables are more, and nearly all of them are never written.
    static let writtenLimit = 512 << 10
    /// The largest mapping of code that is mapped ahead, in bytes.
    static let codeLimit = 16 << 20

    /// Copies and maps ahead what this process will use, as far as the kernel can (MADV_POPULATE_READ and
    /// MADV_POPULATE_WRITE, Linux 5.14). Where it cannot, the faults come when they come.
    public static func populate() {
        guard let file = try? File.open("/proc/self/maps", .reading),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return }
        for range in ranges(bytes) {
            // SAFETY: the advice changes no byte of any mapping; a range that is none is an error of the call's.
            unsafe madvise(
                UnsafeMutableRawPointer(bitPattern: range.start), range.count,
                range.isWritten ? 23 /* MADV_POPULATE_WRITE */ : 22 /* MADV_POPULATE_READ */)
        }
    }

    /// The mappings of a text in the form of /proc/PID/maps (proc_pid_maps(5)) that are worth it.
    static func ranges(_ maps: [UInt8]) -> [Range] {
        maps.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
            guard fields.count >= 2 else { return nil }
            let ends = fields[0].split(separator: UInt8(ascii: "-")).map {
                UInt(String(decoding: $0, as: UTF8.self), radix: 16)
            }
            guard ends.count == 2, let start = ends[0], let end = ends[1], start < end,
                let count = Int(exactly: end - start)
            else { return nil }
            switch String(decoding: fields[1], as: UTF8.self) {
            case "rw-p": return count <= writtenLimit ? Range(start: start, count: count, isWritten: true) : nil
            case "r-xp": return count <= codeLimit ? Range(start: start, count: count, isWritten: false) : nil
            default: return nil
            }
        }
    }
}
