// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Core
internal import Glibc

/// The mounts of this process's namespace (proc(5), mountinfo), as they were when they were read.
///
/// One directory is seen in as many places as it is mounted in, and the directories above it differ from place to
/// place. Where it lies in its file system is the same in all of them.
struct MountTable {
    /// The most bytes of a table; a host with ten thousand mounts has about two million.
    private static let sizeLimit = 16 << 20

    /// Where something lies in its file system.
    struct Place: Hashable {
        /// The file system: its device in mountinfo, which is one for all subvolumes of a btrfs, unlike stat(2)'s.
        fileprivate var device: [UInt8]
        /// The components of the path from the file system's own root.
        fileprivate var components: [[UInt8]]

        /// Whether this is the other place, or a directory above it.
        func holds(_ other: Place) -> Bool {
            device == other.device && other.components.starts(with: components)
        }
    }

    private struct Mount {
        var id: UInt64
        var parent: UInt64
        var device: [UInt8]
        /// Which directory of the file system is its root; nil where that is not known.
        var root: [[UInt8]]?
        /// Where it is mounted.
        var point: [[UInt8]]
    }

    private var mounts: [UInt64: Mount] = [:]
    private var children: [UInt64: [UInt64]] = [:]

    /// Reads the table; nil where it cannot be read, or not be understood.
    static func read() -> MountTable? {
        guard let file = try? File.open("/proc/self/mountinfo", [.reading]),
            let bytes = try? file.readAll(limit: sizeLimit)
        else { return nil }
        return MountTable(bytes)
    }

    /// Takes mountinfo's bytes; nil where they are none.
    init?(_ bytes: [UInt8]) {
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let mount = Self.mount(line) else { return nil }
            mounts[mount.id] = mount
            children[mount.parent, default: []].append(mount.id)
        }
        guard !mounts.isEmpty else { return nil }
    }

    /// A line: `id parent device root point options… - type source options`.
    private static func mount(_ line: ArraySlice<UInt8>) -> Mount? {
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard fields.count >= 10, let id = number(fields[0]), let parent = number(fields[1]),
            let point = components(unescaped(fields[4])),
            let dash = fields[6...].firstIndex(where: { $0.elementsEqual("-".utf8) }), dash + 2 < fields.count
        else { return nil }
        var root = unescaped(fields[3])
        // NFS shows `/` for every mount of an export (fs/nfs/super.c); which directory it is the source says.
        if fields[dash + 1].starts(with: "nfs".utf8) {
            let source = unescaped(fields[dash + 2])
            let start = source.indices.first { source[$0...].starts(with: ":/".utf8) }
            root = start.map { Array(source[($0 + 1)...]) } ?? []
        }
        return Mount(id: id, parent: parent, device: Array(fields[2]), root: components(root), point: point)
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// Blanks, tabs, newlines, backslashes and number signs stand as `\` and three octal digits.
    static func unescaped(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// The components of an absolute path; nil for what is none (`net:[…]`), or leads above its root (`/..`).
    private static func components(_ path: [UInt8]) -> [[UInt8]]? {
        guard path.first == UInt8(ascii: "/") else { return nil }
        let parts = path.split(separator: UInt8(ascii: "/")).map { Array($0) }
        return parts.contains(Array("..".utf8)) ? nil : parts
    }

    // MARK: Places

    /// Where something open lies; nil where that is not known.
    func place(of descriptor: Descriptor) -> Place? {
        guard let (mount, below) = spot(of: descriptor), let root = mount.root else { return nil }
        return Place(device: mount.device, components: root + below)
    }

    /// Where something open lies, and where all that is mounted on it and below it does: what is there is reached from
    /// it. Nil where that is not known.
    func places(from descriptor: Descriptor) -> [Place]? {
        guard let (mount, below) = spot(of: descriptor), let root = mount.root else { return nil }
        var found = [Place(device: mount.device, components: root + below)]
        let here = mount.point + below
        var waiting = (children[mount.id] ?? []).filter { id in
            id != mount.id && (mounts[id]?.point.starts(with: here) ?? false)
        }
        var seen: Set<UInt64> = [mount.id]
        while let id = waiting.popLast() {
            guard seen.insert(id).inserted, let mount = mounts[id] else { continue }
            waiting += children[id] ?? []
            // What is not known of a mount could be any directory of its file system.
            found.append(Place(device: mount.device, components: mount.root ?? []))
        }
        return found
    }

    /// The mount that something open lies in, and the components of the path below its root.
    private func spot(of descriptor: Descriptor) -> (mount: Mount, below: [[UInt8]])? {
        var id: UInt64 = 0
        // SAFETY: the shim writes one number.
        guard unsafe portcullis_mount_of(descriptor.number, &id) == 0, let mount = mounts[id],
            let path = try? File.linkTarget("/proc/self/fd/\(descriptor.number)"),
            let parts = Self.components(path.bytes), parts.starts(with: mount.point)
        else { return nil }
        return (mount, Array(parts.dropFirst(mount.point.count)))
    }
}
