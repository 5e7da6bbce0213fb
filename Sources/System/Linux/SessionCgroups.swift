// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core
internal import Glibc

/// The control groups of a gateway's sessions (cgroup v2; cgroups(7)): one each, below a directory of the gateway's own.
///
/// What is in a group ends with one write (cgroup.kill, Linux 5.14), whoever its parent is and whatever namespace it is in.
/// Where the hierarchy has the controllers for it, a group also bounds the memory and the processes of all that is in it.
public struct SessionCgroups: Sendable, Hashable {
    /// What groups can bound here.
    public struct Bounds: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt8

        /// Wraps bits.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// Memory of all processes together (memory.max).
        public static let memory = Bounds(rawValue: 1)
        /// Processes and threads (pids.max).
        public static let processes = Bounds(rawValue: 2)

        /// Each, with the controller that it takes.
        static let controllers: [(bound: Bounds, name: String)] = [(.memory, "memory"), (.processes, "pids")]
    }

    /// The gateway's own directory, absolute.
    let path: String
    /// What the groups can bound.
    public let bounds: Bounds

    /// Makes the group of a session.
    ///
    /// - Parameter session: a number that no other session of this gateway has.
    /// - Throws: step `cgroup`.
    public func make(session: UInt64) throws(ConfinementError) -> SessionCgroup {
        let path = self.path(of: session)
        do throws(SystemError) {
            guard try File.makeDirectory(path, mode: 0o700) else { throw SystemError(EEXIST, "mkdir") }
            return SessionCgroup(
                path: path, bounds: bounds, descriptor: try File.open(path, [.directory, .reading]))
        } catch {
            throw ConfinementError(.cgroup, error.code)
        }
    }

    /// Ends what is left in a session's group, and removes it; for who outlives the session.
    ///
    /// - Returns: whether it is gone; else something in it takes its time, and it is to be asked again.
    /// - Throws: where it will not go, however often it is asked.
    public func clear(session: UInt64) throws(SystemError) -> Bool {
        let path = self.path(of: session)
        // Mostly the session has done it, and this is the one call.
        if try Self.remove(path) { return true }
        SessionCgroup.write("1", to: path + "/cgroup.kill")
        if let group = try? File.open(path, [.directory, .noFollow]) { CgroupTree.removeGroups(below: group) }
        return try Self.remove(path)
    }

    /// Removes a group; false where something is in it.
    static func remove(_ path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try File.removeDirectory(path)
            return true
        } catch {
            guard error.isBusy else { throw error }
            return false
        }
    }

    private func path(of session: UInt64) -> String { "\(path)/\(session)" }
}

/// Groups that a command has made in its own: as uid 0 in `unconfined` it can.
enum CgroupTree {
    /// How deep below a group others are looked for, and how many are removed in one go: whoever makes more makes them for
    /// nothing else, and they are removed in the next one.
    static let depthLimit = 32
    static let countLimit = 1_000

    /// Removes the groups below one, the deepest first. What has processes stays, and what it lies in.
    static func removeGroups(below group: Descriptor) {
        var left = countLimit
        removeGroups(below: group, depth: 0, left: &left)
    }

    private static func removeGroups(below group: Descriptor, depth: Int, left: inout Int) {
        guard depth < depthLimit, hasGroups(group), let names = try? Directory.names(group) else { return }
        for name in names {
            // Most names are files of the group's own.
            guard let below = try? File.open(name.bytes, below: group, [.directory, .noFollow]) else { continue }
            guard left > 0 else { return }
            left -= 1
            removeGroups(below: below, depth: depth + 1, left: &left)
            try? File.removeDirectory(name, below: group)
        }
    }

    /// Whether there are groups below one: mostly there are none, and this is the one file that is read.
    static func hasGroups(_ group: Descriptor) -> Bool {
        guard let bytes = try? File.open("cgroup.stat", below: group, .reading).read(4_096) else { return true }
        return SessionCgroup.count("nr_descendants", in: String(decoding: bytes, as: UTF8.self)) != 0
    }
}

/// The control group of one session.
public struct SessionCgroup: Sendable {
    let path: String
    /// What it can bound.
    public let bounds: SessionCgroups.Bounds
    /// The group, for `Namespaces.fork`.
    public let descriptor: Descriptor

    /// Bounds what is in it, as far as there are the controllers.
    ///
    /// - Parameters:
    ///   - memory: the most bytes of all processes together, files in a tmpfs of theirs included; nothing of it is swapped.
    ///   - processes: the most processes and threads, the session's init not counted.
    public func bound(memory: UInt64?, processes: UInt64?) throws(ConfinementError) {
        do throws(SystemError) {
            if bounds.contains(.memory), let memory {
                try set("memory.max", memory)
                // Where the kernel counts swap: a limit that only moves what is over it is none.
                do throws(SystemError) { try set("memory.swap.max", 0) } catch  where error.isNotFound {}
            }
            if bounds.contains(.processes), let processes {
                let (sum, overflow) = processes.addingReportingOverflow(1)
                try set("pids.max", overflow ? processes : sum)
            }
        } catch {
            throw ConfinementError(.cgroup, error.code)
        }
    }

    private func set(_ name: String, _ value: UInt64) throws(SystemError) {
        try File.open(name, below: descriptor, .writing).writeAll(Array(String(value).utf8))
    }

    /// Moves the calling process into it: where it could not be started there (clone3(2)), which is a hundred times faster.
    public func enter() throws(ConfinementError) {
        do throws(SystemError) {
            try File.open("cgroup.procs", below: descriptor, .writing).writeAll([UInt8(ascii: "0")])
        } catch {
            throw ConfinementError(.cgroup, error.code)
        }
    }

    /// Ends everything that is in it. What is being forked there ends too.
    public func kill() {
        try? File.open("cgroup.kill", below: descriptor, .writing).writeAll([UInt8(ascii: "1")])
    }

    /// Whether the kernel has ended a process in it for memory.
    public var hasEndedForMemory: Bool {
        bounds.contains(.memory) && (events("memory.events", "oom_kill") ?? 0) > 0
    }

    /// Whether the kernel has refused it a process or thread, because it had all that it may.
    ///
    /// Before Linux 6.11, which counts apart what a group's own limit refuses (pids.events.local), also where a group above it
    /// had all.
    public var hasBeenRefusedProcesses: Bool {
        guard bounds.contains(.processes), (events("pids.events.local", "max") ?? events("pids.events", "max") ?? 0) > 0
        else { return false }
        // Without a limit of its own it was one above it.
        return (try? File.open("pids.max", below: descriptor, .reading).read(64)).map { $0.first != UInt8(ascii: "m") }
            ?? false
    }

    private func events(_ file: String, _ name: String) -> UInt64? {
        guard let bytes = try? File.open(file, below: descriptor, .reading).read(4_096) else { return nil }
        return Self.count(name, in: String(decoding: bytes, as: UTF8.self))
    }

    /// A number by its name, in a file of such lines; nil where it has none.
    static func count(_ name: String, in text: String) -> UInt64? {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return UInt64(words[1]) }
        }
        return nil
    }

    /// Removes it, when everything in it has ended.
    ///
    /// - Parameter milliseconds: how long to wait for that; what was killed may still be on its way out.
    /// - Returns: whether it is gone.
    @discardableResult
    public func remove(within milliseconds: Int64) -> Bool {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while true {
            // What is not busy and does not go will not go later.
            guard let isGone = try? SessionCgroups.remove(path) else { return false }
            if isGone { return true }
            guard Clock.monotonicMilliseconds() < end else { return false }
            CgroupTree.removeGroups(below: descriptor)
            Clock.sleep(milliseconds: 1)
        }
    }

    static func write(_ text: String, to path: String) {
        try? File.open(path, .writing).writeAll(Array(text.utf8))
    }
}

/// The gateway's own directory among the control groups; it stays this gateway's while the value lives.
public struct GatewayCgroup: Sendable {
    /// What each gateway's directory begins with.
    private static let prefix = "portcullis-sessions-"
    /// Where the gateway itself goes where a group with processes may have no controllers for those below it.
    private static let own = "portcullis-gateway"

    /// The groups below it.
    public let sessions: SessionCgroups
    /// The group that it is in.
    private let base: String
    /// What was changed there, to be taken back.
    private let change: Change
    /// Locked: a directory that nobody has locked is a dead gateway's.
    private let lock: Descriptor

    /// What the making of it changed in the group that the gateway was in.
    struct Change: Hashable {
        /// The controllers that it gave to the groups below.
        var given: SessionCgroups.Bounds = []
        /// This process went to a group of its own below.
        var hasMoved = false
    }

    /// Makes it, as root, below the control group that this process is in, and removes those that dead gateways left there
    /// with what is in them.
    ///
    /// - Returns: nil where there is no cgroup v2, or one that is older than cgroup.kill (Linux 5.14).
    /// - Throws: where there is one, and it cannot be written.
    public static func make() throws(SystemError) -> GatewayCgroup? {
        guard let group = text(of: "/proc/self/cgroup"), let mounts = text(of: "/proc/self/mountinfo", limit: 16 << 20),
            var base = place(of: group, among: mounts)
        else { return nil }
        if base.hasSuffix("/" + own) { base.removeLast(own.utf8.count + 1) }
        removeDead(in: base)
        var change = Change()
        let bounds = share(base, &change)
        while true {
            let name = try Random.bytes(8).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
            let path = "\(base)/\(prefix)\(name)"
            // Nobody else may open it: who holds its lock would pass for a gateway that lives.
            guard try File.makeDirectory(path, mode: 0o700) else { continue }
            // Another gateway that starts may find it before it is locked, and take it for a dead one's.
            guard let directory = try? File.open(path, [.directory, .reading]), try File.lock(directory),
                (try? File.status(path)) != nil
            else {
                try? File.removeDirectory(path)
                continue
            }
            guard (try? File.status(path + "/cgroup.kill")) != nil else {
                try? File.removeDirectory(path)
                takeBack(change, in: base)
                return nil
            }
            // Below a group that shares threads out no process can be started.
            guard text(of: path + "/cgroup.type") == "domain\n" else {
                try? File.removeDirectory(path)
                takeBack(change, in: base)
                throw SystemError(EOPNOTSUPP, "cgroup.type")
            }
            let given = bounds.isEmpty ? [] : give(bounds, below: path)
            return GatewayCgroup(
                sessions: SessionCgroups(path: path, bounds: given), base: base, change: change, lock: directory)
        }
    }

    /// Ends what is in it, removes it, and takes back what was changed for it. The gateway's other processes have ended.
    public func remove() {
        Self.remove(sessions.path, lock)
        Self.takeBack(change, in: base)
    }

    /// - Parameter group: the same, open.
    private static func remove(_ path: String, _ group: Descriptor) {
        SessionCgroup.write("1", to: path + "/cgroup.kill")
        for _ in 0..<200 {
            CgroupTree.removeGroups(below: group)
            guard (try? SessionCgroups.remove(path)) == false else { return }
            Clock.sleep(milliseconds: 5)
        }
    }

    /// Takes controllers back where no group but the gateway's own can depend on them, and goes back.
    private static func takeBack(_ change: Change, in base: String) {
        guard change != Change(), let group = try? File.open(base, .directory),
            !names(base).contains(where: { $0 != own && (try? File.open($0, below: group, .directory)) != nil })
        else { return }
        for (bound, name) in SessionCgroups.Bounds.controllers where change.given.contains(bound) {
            SessionCgroup.write("-" + name, to: base + "/cgroup.subtree_control")
        }
        guard change.hasMoved else { return }
        SessionCgroup.write("0", to: base + "/cgroup.procs")
        // Helpers that were killed may still be on their way out.
        for _ in 0..<20 {
            guard (try? SessionCgroups.remove("\(base)/\(own)")) == false else { return }
            Clock.sleep(milliseconds: 5)
        }
    }

    private static func removeDead(in base: String) {
        for name in names(base) where name.hasPrefix(prefix) {
            let path = "\(base)/\(name)"
            guard let directory = try? File.open(path, [.directory, .reading]),
                (try? File.lock(directory)) == true
            else { continue }
            remove(path, directory)
        }
    }

    private static func names(_ path: String) -> [String] {
        ((try? Directory.names(path)) ?? []).compactMap(\.text)
    }

    // MARK: Controllers

    /// Has a group share out what controllers it has; a group that has processes of its own may not (the root aside), and
    /// this process goes elsewhere where it is the only one.
    private static func share(_ base: String, _ change: inout Change) -> SessionCgroups.Bounds {
        let has = controllers(base + "/cgroup.controllers")
        let before = controllers(base + "/cgroup.subtree_control").intersection(has)
        guard before != has, let ids = text(of: base + "/cgroup.procs") else { return before }
        let processes = ids.split(separator: "\n").map { Int32($0) }
        // ORDER: nothing is given before its processes are out. The kernel would give `pids` all the same, and have the group
        // share its processes' threads with those below, in which no process could be started then (cgroup.type).
        if !processes.isEmpty, !isRoot(base) {
            let place = "\(base)/\(own)"
            guard processes == [Process.id], (try? File.makeDirectory(place, mode: 0o700)) != nil,
                (try? File.open(place + "/cgroup.procs", .writing).writeAll([UInt8(ascii: "0")])) != nil
            else { return before }
            change.hasMoved = true
        }
        let given = give(has, below: base)
        change.given = given.subtracting(before)
        return given
    }

    /// The root of the hierarchy alone has no type.
    private static func isRoot(_ path: String) -> Bool {
        (try? File.status(path + "/cgroup.type")) == nil
    }

    /// Gives controllers to the groups below one, and says which they have then.
    private static func give(_ bounds: SessionCgroups.Bounds, below path: String) -> SessionCgroups.Bounds {
        let place = path + "/cgroup.subtree_control"
        for (bound, name) in SessionCgroups.Bounds.controllers
        where bounds.contains(bound) && !controllers(place).contains(bound) {
            SessionCgroup.write("+" + name, to: place)
        }
        return controllers(place).intersection(bounds)
    }

    private static func controllers(_ path: String) -> SessionCgroups.Bounds {
        let names = (text(of: path) ?? "").split(whereSeparator: { $0 == " " || $0 == "\n" })
        var bounds: SessionCgroups.Bounds = []
        for (bound, name) in SessionCgroups.Bounds.controllers where names.contains(Substring(name)) {
            bounds.insert(bound)
        }
        return bounds
    }

    private static func text(of path: String, limit: Int = 65_536) -> String? {
        guard let bytes = try? File.open(path, .reading).readAll(limit: limit) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: Where it is

    /// Where this process's group of the one hierarchy (`0::PATH`) is mounted; nil where it is not.
    ///
    /// - Parameters:
    ///   - group: /proc/self/cgroup.
    ///   - mounts: /proc/self/mountinfo.
    static func place(of group: String, among mounts: String) -> String? {
        guard let line = group.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else { return nil }
        let own = line.dropFirst(3).split(separator: "/")
        // Above the root that this namespace sees.
        guard !own.contains("..") else { return nil }
        var found: String?
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard fields.count >= 10, let dash = fields.dropFirst(6).firstIndex(of: "-"), dash + 1 < fields.count,
                fields[dash + 1] == "cgroup2"
            else { continue }
            let root = MountTable.unescaped(fields[3])?.split(separator: "/") ?? []
            guard let point = MountTable.unescaped(fields[4]), own.starts(with: root) else { continue }
            // The last one lies over the others, where they are mounted in the same place.
            found = ([point == "/" ? "" : point] + own.dropFirst(root.count).map(String.init)).joined(separator: "/")
        }
        return found
    }
}

extension MountTable {
    /// A field of mountinfo as text; nil where it is none.
    fileprivate static func unescaped(_ field: Substring) -> String? {
        String(validating: unescaped(Array(field.utf8)[...]), as: UTF8.self)
    }
}
