// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
internal import Glibc

/// What /proc tells of a thread that waits for an answer.
public enum ObservedProcess {
    /// The most memory that its address space had, in bytes; and how many descriptors its table holds.
    public struct Size: Sendable, Hashable {
        /// Peak of the address space, which RLIMIT_AS limits.
        public var addressSpace: UInt64
        /// Room of the descriptor table, which grows in powers of two and is never less than what was in use.
        public var descriptors: UInt64
    }

    /// Its size; nil where it is gone.
    public static func size(of thread: Int32) -> Size? {
        guard let file = try? File.open("/proc/\(thread)/status", [.reading]),
            let bytes = try? file.readAll(limit: 65_536)
        else { return nil }
        var size = Size(addressSpace: 0, descriptors: 0)
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            // Kibibytes of an address space are far below what overflows.
            if let value = number(line, "VmPeak:") { size.addressSpace = value &* 1_024 }
            if let value = number(line, "FDSize:") { size.descriptors = value }
        }
        return size
    }

    private static func number(_ line: ArraySlice<UInt8>, _ key: String) -> UInt64? {
        guard line.starts(with: key.utf8) else { return nil }
        let digits = line.dropFirst(key.utf8.count).drop { !(48...57).contains($0) }.prefix { (48...57).contains($0) }
        return UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// The files that it has mapped for execution: after execve its program, and the interpreters that the kernel put
    /// before it.
    public static func executableFiles(of thread: Int32) -> [ByteText] {
        guard let file = try? File.open("/proc/\(thread)/maps", [.reading]),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return [] }
        var paths: [ByteText] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count == 6, fields[1].dropFirst(2).first == UInt8(ascii: "x"),
                fields[5].first == UInt8(ascii: "/")
            else { continue }
            let path = ByteText(Array(fields[5]))
            if !paths.contains(path) { paths.append(path) }
        }
        return paths
    }

    /// How many tasks a process and its descendants have, threads among them.
    ///
    /// - Parameter limit: no more than this many are counted.
    public static func tasks(below process: Int32, limit: Int = 100_000) -> Int {
        var count = 0
        var waiting = [process]
        while let next = waiting.popLast(), count < limit {
            guard let threads = try? Directory.names("/proc/\(next)/task") else { continue }
            count += threads.count
            for thread in threads {
                guard let name = thread.text,
                    let file = try? File.open("/proc/\(next)/task/\(name)/children", [.reading]),
                    let bytes = try? file.readAll(limit: 1 << 20)
                else { continue }
                waiting += bytes.split(separator: UInt8(ascii: " ")).compactMap {
                    Int32(String(decoding: $0, as: UTF8.self))
                }
            }
        }
        return count
    }

    /// The process that a thread belongs to; nil where it is gone.
    public static func process(of thread: Int32) -> Int32? {
        guard let file = try? File.open("/proc/\(thread)/status", [.reading]),
            let bytes = try? file.readAll(limit: 65_536)
        else { return nil }
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            if let value = number(line, "Tgid:") { return Int32(exactly: value) }
        }
        return nil
    }

    /// A path of a thread's as an absolute one, its links not yet resolved; nil where nothing says where it starts.
    ///
    /// - Parameter directory: the descriptor that it is relative to; nil for the working directory.
    public static func absolute(_ path: ByteText, of thread: Int32, below directory: Int32? = nil) -> ByteText? {
        if path.bytes.first == UInt8(ascii: "/") {
            // Its own /proc/self is not ours.
            return ByteText(ownProc(path.bytes, thread))
        }
        let link = directory.map { "/proc/\(thread)/fd/\($0)" } ?? "/proc/\(thread)/cwd"
        guard let start = try? File.linkTarget(link), start.bytes.first == UInt8(ascii: "/") else { return nil }
        if path.isEmpty { return start }
        return ByteText(start.bytes + (start.bytes.last == UInt8(ascii: "/") ? [] : [UInt8(ascii: "/")]) + path.bytes)
    }

    private static func ownProc(_ path: [UInt8], _ thread: Int32) -> [UInt8] {
        for own in ["/proc/self", "/proc/thread-self"] where path.starts(with: own.utf8) {
            let rest = path.dropFirst(own.utf8.count)
            if rest.isEmpty || rest.first == UInt8(ascii: "/") { return Array("/proc/\(thread)".utf8) + rest }
        }
        return path
    }

    /// What a path leads to.
    public struct Place: Sendable, Hashable {
        /// The path, all links resolved; of what does not exist, with its last name as it stands.
        public var path: ByteText
        /// What is there; nil for nothing.
        public var kind: FileStatus.Kind?
        /// Its size in bytes.
        public var size: Int64
        /// Its mode bits.
        public var mode: UInt32
    }

    /// Resolves a path; nil where not even the directory that it would lie in exists.
    ///
    /// - Parameter followsLast: whether a link in the last place is followed.
    public static func place(_ path: ByteText, followsLast: Bool = true) -> Place? {
        if followsLast, let whole = File.resolved(path.bytes) {
            return described(ByteText(whole))
        }
        var bytes = path.bytes[...]
        while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes = bytes.dropLast() }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        let name = bytes[slash...].dropFirst()
        let above = bytes[..<slash].isEmpty ? [UInt8(ascii: "/")] : Array(bytes[..<slash])
        let special = [[], Array(".".utf8), Array("..".utf8)].contains { name.elementsEqual($0) }
        guard !special, let directory = File.resolved(above) else { return nil }
        let slashEnd: [UInt8] = directory.last == UInt8(ascii: "/") ? [] : [UInt8(ascii: "/")]
        return described(ByteText(directory + slashEnd + name))
    }

    /// A link on the way of a path.
    public struct Link: Sendable, Hashable {
        /// Where it is, the links before it resolved.
        public var link: ByteText
        /// Its path with what is still to come, up to the first `..`.
        public var path: ByteText
        /// Whether no `..` is to come.
        public var isWhole: Bool
    }

    /// The links that an absolute path is resolved by, in their order, the one in the last place among them.
    ///
    /// What the links of /proc lead to is no path, and is not followed.
    public static func links(on path: ByteText) -> [Link] {
        let slash = UInt8(ascii: "/")
        var found: [Link] = []
        var here: [UInt8] = []
        // The next component last.
        var rest = Array(path.bytes.split(separator: slash).reversed())
        while let part = rest.popLast() {
            if part.elementsEqual(".".utf8) { continue }
            if part.elementsEqual("..".utf8) {
                here = Array(here[..<(here.lastIndex(of: slash) ?? 0)])
                continue
            }
            here += [slash] + part
            guard let target = File.link(here) else { continue }
            guard found.count < SecureOpen.linkLimit, !here.starts(with: "/proc/".utf8) else { break }
            let further = rest.reversed().filter { !$0.elementsEqual(".".utf8) }
            let plain = further.prefix { !$0.elementsEqual("..".utf8) }
            found.append(
                Link(
                    link: ByteText(here), path: ByteText(plain.reduce(here) { $0 + [slash] + $1 }),
                    isWhole: plain.count == further.count))
            here = target.first == slash ? [] : Array(here[..<(here.lastIndex(of: slash) ?? 0)])
            rest += target.split(separator: slash).reversed()
        }
        return found
    }

    private static func described(_ path: ByteText) -> Place {
        var place = Place(path: path, kind: nil, size: 0, mode: 0)
        if let status = try? File.status(path.bytes, followingLast: false) {
            place.kind = status.kind
            place.size = status.size
            place.mode = status.mode
        }
        return place
    }
}
