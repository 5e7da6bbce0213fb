// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core
internal import Glibc

/// What a confined session sees: an empty root in which there are the listed places, the links on the way to them, and
/// the session's own `/tmp`, `/proc` and `/dev`.
///
/// Places are opened in the host's tree, by the target's rights, and copied by descriptor: what a name means later
/// changes nothing. Where a place lies in another, it is there with the other; one that is written is mounted once
/// more. All of it is made before the session leaves the host's tree, and attached behind that.
struct SessionView {
    /// Something that the session sees.
    private struct Place {
        let descriptor: Descriptor
        let isDirectory: Bool
        /// Its path, without a link in it.
        let path: [UInt8]
        var isWritten: Bool
    }

    /// Where the session has something of its own, and nothing of the host's is seen.
    private let own: [[UInt8]]
    private var places: [Place] = []
    /// The links on the way to them.
    private var links: [SecureOpen.FollowedLink] = []
    /// The session's own home, attached nowhere, and where it goes.
    private var home: (copy: Descriptor, place: Place)?

    /// An empty one.
    ///
    /// - Parameter hasDevices: whether /dev is the session's own.
    init(hasDevices: Bool) {
        own = hasDevices ? Self.ownWithDevices : Self.ownAlways
    }

    private static let ownAlways = ["/tmp", "/proc"].map { Array($0.utf8) }
    private static let ownWithDevices = ownAlways + [Array("/dev".utf8)]

    // MARK: What is in it

    /// Whether a path, as it is written or without links, lies where the session has something of its own: what the host
    /// has there is not seen.
    func isOwn(_ path: [UInt8]) -> Bool {
        if let home, SecureOpen.isBelow(path, home.place.path) { return true }
        return own.contains { SecureOpen.isBelow(path, $0) }
    }

    /// Adds what is open at a path of the host's, and the links on the way to it.
    ///
    /// - Parameter isWritten: whether the session writes it: a read-only mount does not hold devices and sockets anyway.
    mutating func add(_ found: SecureOpen.Followed, isWritten: Bool) {
        for link in found.links where !links.contains(where: { $0.path == link.path }) { links.append(link) }
        if isOwn(found.path) { return }
        let isDirectory = found.status.kind == .directory
        let isMounted = isWritten && (isDirectory || found.status.kind == .regular)
        if let index = places.firstIndex(where: { $0.path == found.path }) {
            if isMounted { places[index].isWritten = true }
            return
        }
        places.append(
            Place(descriptor: found.place, isDirectory: isDirectory, path: found.path, isWritten: isMounted))
    }

    /// Puts a home of the session's own over an open one of the host's: nothing of that is seen, nor of what lies in it.
    mutating func cover(_ opened: Descriptor, by copy: Descriptor) throws(ConfinementError) {
        let path = try Self.path(of: opened)
        let isWritten = places.contains { $0.isWritten && SecureOpen.isBelow(path, $0.path) }
        places.removeAll { SecureOpen.isBelow($0.path, path) }
        guard !isOwn(path) else { return }
        if !isWritten { try Mounts.restrict(copy, [.readOnly]) }
        home = (copy, Place(descriptor: opened, isDirectory: true, path: path, isWritten: isWritten))
    }

    /// The path of something open, as the kernel has it.
    private static func path(of descriptor: Descriptor) throws(ConfinementError) -> [UInt8] {
        do {
            let path = try File.linkTarget("/proc/self/fd/\(descriptor.number)").bytes
            guard path.first == SecureOpen.rootPath.first else { throw SystemError(ENOENT, "readlink") }
            return path
        } catch {
            throw ConfinementError(.mounts, of: error)
        }
    }

    // MARK: Making it

    /// What was made in the host's tree, to be attached behind it.
    struct Made {
        fileprivate let root: Descriptor
        /// In the order in which they are attached, each with what has to be there.
        fileprivate var trees: [(path: [UInt8], copy: Descriptor, expected: SecureOpen.Identity?)] = []
    }

    /// Makes the root with its names, and the copies of the places. As root, still in the host's tree.
    func make() throws(ConfinementError) -> Made {
        let outermost = places.filter { place in
            !places.contains { $0.path.count < place.path.count && SecureOpen.isBelow(place.path, $0.path) }
        }
        var made = Made(root: try Mounts.detachedRoot())
        var names: [[UInt8]] = []
        do {
            for path in own { try Self.makeDirectory(path, below: made.root, &names) }
            for place in outermost {
                try Self.makePoint(for: place, below: made.root, &names)
                made.trees.append((place.path, try Self.copy(place), nil))
            }
            for link in links
            where !(outermost.map(\.path) + own).contains(where: { SecureOpen.isBelow(link.path, $0) }) {
                try Self.makeWay(to: link.path, below: made.root, &names)
                try File.makeLink(link.path.dropFirst(), to: link.target, below: made.root)
            }
            for place in places where place.isWritten && !outermost.contains(where: { $0.path == place.path }) {
                // What lies in a place that is written is written with it.
                let isCovered = places.contains { other in
                    other.isWritten && other.path.count < place.path.count && SecureOpen.isBelow(place.path, other.path)
                }
                if !isCovered { made.trees.append((place.path, try Self.copy(place), try Self.identity(of: place))) }
            }
            if let home {
                let isInside = outermost.contains { SecureOpen.isBelow(home.place.path, $0.path) }
                if !isInside { try Self.makePoint(for: home.place, below: made.root, &names) }
                let expected = isInside ? try Self.identity(of: home.place) : nil
                made.trees.append((home.place.path, home.copy, expected))
            }
        } catch {
            throw ConfinementError(.mounts, of: error)
        }
        return made
    }

    private static func copy(_ place: Place) throws(ConfinementError) -> Descriptor {
        try Mounts.copy(place.descriptor, place.isWritten ? [.noSetuid] : [.readOnly, .noSetuid])
    }

    private static func identity(of place: Place) throws(ConfinementError) -> SecureOpen.Identity {
        guard let identity = SecureOpen.identity(of: place.descriptor) else { throw ConfinementError(.mounts, EIO) }
        return identity
    }

    /// Makes what a place is mounted on.
    private static func makePoint(for place: Place, below root: Descriptor, _ names: inout [[UInt8]]) throws {
        if place.isDirectory {
            try makeDirectory(place.path, below: root, &names)
        } else {
            try makeWay(to: place.path, below: root, &names)
            _ = try File.open(
                Array(place.path.dropFirst()), below: root, [.writing, .creating, .exclusive], mode: 0)
        }
    }

    private static func makeDirectory(_ path: [UInt8], below root: Descriptor, _ names: inout [[UInt8]]) throws {
        if names.contains(path) { return }
        try makeWay(to: path, below: root, &names)
        try File.makeDirectory(path.dropFirst(), below: root, mode: 0o755)
        names.append(path)
    }

    /// Makes the directories above a path.
    private static func makeWay(to path: [UInt8], below root: Descriptor, _ names: inout [[UInt8]]) throws {
        guard let last = path.lastIndex(of: UInt8(ascii: "/")), last > 0 else { return }
        try makeDirectory(Array(path[..<last]), below: root, &names)
    }
}

extension SessionView.Made {
    /// Leaves the host's tree for a mount namespace of the session's own, in which there is this view and nothing else.
    ///
    /// - Throws: step `mounts`, also where what lies in a place was replaced since it was opened.
    func enter(_ empty: EmptyMounts) throws(ConfinementError) {
        try empty.join()
        try Namespaces.mounts.unshare()
        try Mounts.attach(root, over: Mounts.opened("/"))
        try Mounts.enter(root)
        for tree in trees {
            guard case .open(let point) = try SecureOpen.place(ByteText(Array(tree.path.dropFirst())), inside: root),
                tree.expected == nil || SecureOpen.identity(of: point) == tree.expected
            else { throw ConfinementError(.mounts, ESTALE) }
            try Mounts.attach(tree.copy, over: point)
        }
    }

    /// Nothing more is made in its root.
    func close() throws(ConfinementError) {
        try Mounts.restrict(root, [.readOnly])
    }
}
