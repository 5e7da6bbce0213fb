// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Puts paths that were used together into the few that a policy names.
struct LearnedPaths {
    /// An item of a sandbox.
    enum Right: Hashable, CaseIterable {
        case read
        case write
        case execute
    }

    private let home: [UInt8]?
    private let base: Sandbox
    /// What is to be opened beyond what the sandbox that is extended opens.
    private(set) var rights: [Right: Set<[UInt8]>] = [:]
    /// What was left out, and why.
    private(set) var notes: [String] = []
    /// What was asked for and nothing more.
    private var asked: Set<[UInt8]> = []
    /// Links that a session sees because a name in which they are followed is listed.
    private var links: Set<[UInt8]> = []

    init(home: ByteText?, extending base: Sandbox) {
        // A home of `/` or `/var` would be no home but half the machine.
        self.home = home.flatMap { Self.depth($0.bytes) >= 1 && $0.bytes != Array("/".utf8) ? $0.bytes : nil }
        self.base = base
    }

    // MARK: Taking

    /// Adds a path with what was done with it.
    mutating func take(_ path: ByteText, _ use: Observations.Use) {
        guard AbsolutePath.isPlain(path), path.count <= 4_096 else { return }
        let bytes = AbsolutePath.withoutLastSlash(path).bytes
        guard use != .asked else {
            asked.insert(bytes)
            return
        }
        guard path.text != nil, !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            return note("used \(path.printable), which a policy cannot name")
        }
        let wanted = Self.rights(for: use)
        if let place = kept(bytes, wanted) {
            for right in wanted where !isOpen(place, right) { rights[right, default: []].insert(place) }
        }
    }

    private static func rights(for use: Observations.Use) -> Set<Right> {
        var wanted: Set<Right> = []
        if !use.isDisjoint(with: [.read, .listed]) { wanted.insert(.read) }
        if !use.isDisjoint(with: [.written, .changed]) { wanted.insert(.write) }
        if use.contains(.executed) { wanted.insert(.execute) }
        if wanted.contains(.write) { wanted.remove(.read) }
        return wanted
    }

    /// The path that is to be opened for a path; nil where none is, which a note says.
    private mutating func kept(_ path: [UInt8], _ wanted: Set<Right>) -> [UInt8]? {
        if Self.isBeneath(path, "/proc") || Self.isBeneath(path, "/sys") {
            guard wanted.contains(.write) else { return path }
            note("wrote \(Self.shown(path)): no sandbox is given that")
            return nil
        }
        if path == Array("/".utf8) {
            let what = wanted.contains(.write) ? "made or removed names in" : "listed"
            note("\(what) /: not given, for it would open everything")
            return nil
        }
        if Self.isTerminal(path) {
            note("used a terminal (\(Self.shown(path))): a command of the gateway has none")
            return nil
        }
        // A sandbox's /tmp is its own, whichever part of it is named.
        return Self.isBeneath(path, "/tmp") ? Array("/tmp".utf8) : path
    }

    private static func isTerminal(_ path: [UInt8]) -> Bool {
        isBeneath(path, "/dev/pts") || path == Array("/dev/tty".utf8) || path == Array("/dev/console".utf8)
            || path == Array("/dev/ptmx".utf8)
    }

    private mutating func note(_ text: String) {
        // A command that uses a thousand such files is told once, with the first few.
        guard notes.count < Self.notesLimit, !notes.contains(text) else { return }
        notes.append(text)
    }

    private static let notesLimit = 16

    private static func shown(_ path: [UInt8]) -> String { ByteText(path).printable }

    /// Whether the sandbox that is extended opens a path for this.
    private func isOpen(_ path: [UInt8], _ right: Right) -> Bool {
        let opened: [Sandbox.Path] =
            switch right {
            case .read: base.read + base.execute + base.write
            case .write: base.write
            case .execute: base.execute
            }
        return opened.contains { item in
            switch item {
            case .absolute(let directory):
                return AbsolutePath.isBeneath(ByteText(path), directory)
            case .home(let rest):
                return home.map { AbsolutePath.isBeneath(ByteText(path), ByteText($0 + rest.bytes)) } ?? false
            }
        }
    }

    // MARK: Reducing

    /// Replaces many files by their directory, and drops what another path opens anyway.
    mutating func reduce() {
        dropCovered()
        for right in Right.allCases {
            // Each round makes paths shorter, so it ends.
            while let directory = crowded(rights[right] ?? []) {
                rights[right] = (rights[right] ?? []).filter { !Self.isBelow($0, directory) }
                rights[right]?.insert(directory)
            }
        }
        dropCovered()
    }

    // MARK: Names

    /// Adds the names by which paths were used, where a link in them would not be there for a session of root's gateway:
    /// one that lies in no listed place. None opens more than what it leads to. Comes after `reduce`.
    ///
    /// - Parameter homeLinks: links that are there with the home.
    mutating func name(_ names: [Observations.Name: Observations.Use], homeLinks: Set<ByteText>) {
        links.formUnion(homeLinks.map(\.bytes))
        let sorted = names.sorted { one, other in
            let (first, second) = (one.key.links.map(\.path.bytes), other.key.links.map(\.path.bytes))
            return first.lexicographicallyPrecedes(second) { $0.lexicographicallyPrecedes($1) }
        }
        let (listed, known) = (rights, links)
        for (name, use) in sorted {
            guard let first = hidden(name, listed, but: known) else { continue }
            for right in Self.rights(for: use) {
                if let path = path(first, of: name, right, listed) { list(path, right, name) }
            }
        }
        // ORDER: what was only asked for is there with the links of what was opened.
        for (name, _) in sorted {
            guard let first = hidden(name, listed, but: links) else { continue }
            if let (path, right) = path(first, asking: name.end.bytes, listed) {
                list(path, right, name)
            } else {
                asked.insert(first.path.bytes)
            }
        }
    }

    private mutating func list(_ path: [UInt8], _ right: Right, _ name: Observations.Name) {
        rights[right, default: []].insert(path)
        links.formUnion(name.links.map(\.link.bytes))
    }

    /// The first link of a name that a session does not see; nil where it sees all, or no policy can name it.
    private func hidden(
        _ name: Observations.Name, _ listed: [Right: Set<[UInt8]>], but known: Set<[UInt8]>
    ) -> Observations.Name.Link? {
        let first = name.links.first { link in
            let path = link.link.bytes
            let own = ["/proc", "/dev", "/tmp"].map { Array($0.utf8) } + (home.map { [$0] } ?? [])
            return !known.contains(path) && !own.contains { Self.isBeneath(path, $0) } && !isOpen(path, .read)
                && !Right.allCases.contains { Self.place(of: path, in: listed[$0]) != nil }
        }
        guard let first, AbsolutePath.isPlain(first.path), first.path.count <= 4_096, first.path.text != nil,
            !first.path.bytes.contains(where: { $0 < 0x20 || $0 == 0x7F })
        else { return nil }
        return first
    }

    /// A name for what was opened: of the directory, where that is listed instead; nil where nothing of it is given.
    private func path(
        _ link: Observations.Name.Link, of whole: Observations.Name, _ right: Right, _ listed: [Right: Set<[UInt8]>]
    ) -> [UInt8]? {
        let end = whole.end.bytes
        // Of a /tmp of its own there is no other name.
        guard !Self.isBeneath(end, "/tmp") else { return nil }
        let places = [right] + (right == .read ? [.write, .execute] : [])
        guard let place = places.lazy.compactMap({ Self.place(of: end, in: listed[$0]) }).first else {
            return isOpen(end, right) ? link.path.bytes : nil
        }
        let rest = end.dropFirst(place.count)
        let name = link.path.bytes
        // Without its last components a name leads to the directory only where no link is among them.
        let isSame =
            [link, whole.links.last ?? link].allSatisfy { $0.path.count - $0.link.count >= rest.count }
            && name.suffix(rest.count).elementsEqual(rest)
        return isSame ? Array(name.dropLast(rest.count)) : name
    }

    /// A name by which there is what was asked for, with what it opens anyway; nil where that is not there itself.
    private func path(
        _ link: Observations.Name.Link, asking end: [UInt8], _ listed: [Right: Set<[UInt8]>]
    ) -> ([UInt8], Right)? {
        if Self.isBeneath(end, "/tmp") { return nil }
        if isOpen(end, .read) || Right.allCases.contains(where: { Self.place(of: end, in: listed[$0]) != nil }) {
            return (link.path.bytes, .read)
        }
        for right in Right.allCases {
            let below = (listed[right] ?? []).filter { Self.isBelow($0, end) && !Self.isBeneath($0, "/tmp") }
            guard let first = below.min(by: { $0.lexicographicallyPrecedes($1) }) else { continue }
            return (link.path.bytes + first.dropFirst(Self.depth(end) == 0 ? 0 : end.count), right)
        }
        return nil
    }

    /// The listed place that a path is, or lies in; nil for none.
    private static func place(of path: [UInt8], in places: Set<[UInt8]>?) -> [UInt8]? {
        guard let places else { return nil }
        var next: [UInt8]? = path
        while let here = next {
            if places.contains(here) { return here }
            next = above(here)
        }
        return nil
    }

    /// Says what was asked for and will not be there: a session of root's gateway sees the listed paths, the directories
    /// above them, the home, and its own /proc, /dev and /tmp. Comes after `reduce`.
    mutating func noteUnseen() {
        let own = ["/proc", "/dev", "/tmp"].map { Array($0.utf8) } + (home.map { [$0] } ?? [])
        let named = Right.allCases.reduce(into: own) { $0 += rights[$1] ?? [] }
        let unseen = asked.filter { path in
            !named.contains { Self.isBeneath(path, $0) || Self.isBeneath($0, path) } && !isShown(path)
                && !links.contains(path)
        }.sorted { $0.lexicographicallyPrecedes($1) }
        guard !unseen.isEmpty else { return }
        let more = unseen.count > Self.unseenLimit ? " and \(unseen.count - Self.unseenLimit) more" : ""
        note(
            "asked for \(unseen.prefix(Self.unseenLimit).map(Self.shown).joined(separator: ", "))\(more) without opening "
                + "it: not to be seen in a session of root's gateway, but where read names it")
    }

    private static let unseenLimit = 4

    /// Whether what the sandbox that is extended names lies above a path, or below it.
    private func isShown(_ path: [UInt8]) -> Bool {
        (base.read + base.write + base.execute).contains { item in
            guard case .absolute(let named) = item else { return false }
            return Self.isBeneath(path, named) || Self.isBeneath(named.bytes, path)
        }
    }

    /// A directory of which more than `LearnedSandbox.filesLimit` entries are named, the deepest first; nil for none.
    private func crowded(_ paths: Set<[UInt8]>) -> [UInt8]? {
        var count: [[UInt8]: Int] = [:]
        for path in paths {
            guard let above = Self.above(path), isMeaningful(above) else { continue }
            count[above, default: 0] += 1
        }
        let many = count.filter { $0.value > LearnedSandbox.filesLimit }.keys
        return many.min { one, other in
            let (first, second) = (Self.depth(one), Self.depth(other))
            return first == second ? one.lexicographicallyPrecedes(other) : first > second
        }
    }

    /// Whether a directory may stand for what lies in it: not the root, one of its own directories, or the home.
    private func isMeaningful(_ directory: [UInt8]) -> Bool {
        guard Self.depth(directory) >= 2 else { return false }
        guard let home else { return true }
        // Nor what the home lies in.
        return !Self.isBeneath(home, directory)
    }

    /// Drops what a path above it opens, for the same or for more.
    private mutating func dropCovered() {
        for right in Right.allCases {
            guard let paths = rights[right] else { continue }
            // What is written or executed can be read.
            let wider = right == .read ? (rights[.write] ?? []).union(rights[.execute] ?? []) : []
            let openers = paths.union(wider)
            rights[right] = paths.filter { path in
                guard !wider.contains(path) else { return false }
                var above = Self.above(path)
                while let directory = above {
                    if openers.contains(directory) { return false }
                    above = Self.above(directory)
                }
                return true
            }
        }
    }

    /// A path as a policy names it.
    func item(_ path: [UInt8]) -> Sandbox.Path {
        guard let home, Self.isBeneath(path, ByteText(home)) else { return .absolute(ByteText(path)) }
        return .home(ByteText(Array(path.dropFirst(home.count))))
    }

    // MARK: Paths

    private static func isBeneath(_ path: [UInt8], _ directory: ByteText) -> Bool {
        AbsolutePath.isBeneath(ByteText(path), directory)
    }

    private static func isBeneath(_ path: [UInt8], _ directory: [UInt8]) -> Bool {
        AbsolutePath.isBeneath(ByteText(path), ByteText(directory))
    }

    private static func isBelow(_ path: [UInt8], _ directory: [UInt8]) -> Bool {
        path != directory && isBeneath(path, directory)
    }

    /// The directory that a path lies in; nil for the root.
    private static func above(_ path: [UInt8]) -> [UInt8]? {
        guard path.count > 1, let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return slash == 0 ? [UInt8(ascii: "/")] : Array(path[..<slash])
    }

    /// How many names a path has: 0 for the root.
    private static func depth(_ path: [UInt8]) -> Int {
        path == [UInt8(ascii: "/")] ? 0 : path.count { $0 == UInt8(ascii: "/") }
    }
}
