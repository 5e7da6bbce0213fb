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
    public func clear(session: UInt64) -> Bool {
        Self.clear(path(of: session))
    }

    static func clear(_ path: String) -> Bool {
        // Mostly the session has done it, and this is the one call.
        if (try? File.removeDirectory(path)) != nil { return true }
        SessionCgroup.write("1", to: path + "/cgroup.kill")
        return (try? File.removeDirectory(path)) != nil
    }

    private func path(of session: UInt64) -> String { "\(path)/\(session)" }
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
        guard bounds.contains(.memory),
            let bytes = try? File.open("memory.events", below: descriptor, .reading).read(4_096)
        else { return false }
        return Self.memoryKills(String(decoding: bytes, as: UTF8.self)) > 0
    }

    /// How many processes were ended, by the text of memory.events.
    static func memoryKills(_ text: String) -> UInt64 {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "oom_kill" { return UInt64(words[1]) ?? 0 }
        }
        return 0
    }

    /// Removes it, when everything in it has ended.
    ///
    /// - Parameter milliseconds: how long to wait for that; what was killed may still be on its way out.
    /// - Returns: whether it is gone.
    @discardableResult
    public func remove(within milliseconds: Int64) -> Bool {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while (try? File.removeDirectory(path)) == nil {
            guard Clock.monotonicMilliseconds() < end else { return false }
            Clock.sleep(milliseconds: 1)
        }
        return true
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
    /// Locked: a directory that nobody has locked is a dead gateway's.
    private let lock: Descriptor

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
        let bounds = share(base)
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
                return nil
            }
            let given = bounds.isEmpty ? [] : give(bounds, below: path)
            return GatewayCgroup(sessions: SessionCgroups(path: path, bounds: given), lock: directory)
        }
    }

    /// Ends what is in it, and removes it.
    public func remove() {
        Self.remove(sessions.path)
    }

    private static func remove(_ path: String) {
        SessionCgroup.write("1", to: path + "/cgroup.kill")
        for _ in 0..<200 {
            var isEmpty = true
            for name in names(path) where UInt64(name) != nil {
                if !SessionCgroups.clear("\(path)/\(name)") { isEmpty = false }
            }
            if isEmpty, (try? File.removeDirectory(path)) != nil { return }
            Clock.sleep(milliseconds: 5)
        }
    }

    private static func removeDead(in base: String) {
        for name in names(base) where name.hasPrefix(prefix) {
            let path = "\(base)/\(name)"
            guard let directory = try? File.open(path, [.directory, .reading]),
                (try? File.lock(directory)) == true
            else { continue }
            remove(path)
        }
    }

    private static func names(_ path: String) -> [String] {
        ((try? Directory.names(path)) ?? []).compactMap(\.text)
    }

    // MARK: Controllers

    /// Has a group share out what controllers it has; a group that has processes of its own may not (the root aside), and
    /// this process goes elsewhere where it is the only one.
    private static func share(_ base: String) -> SessionCgroups.Bounds {
        let has = controllers(base + "/cgroup.controllers")
        guard !has.isEmpty else { return [] }
        let given = give(has, below: base)
        if given == has { return given }
        guard text(of: base + "/cgroup.procs")?.split(separator: "\n").map({ Int32($0) }) == [Process.id],
            (try? File.makeDirectory("\(base)/\(own)", mode: 0o700)) != nil
        else { return given }
        SessionCgroup.write("0", to: "\(base)/\(own)/cgroup.procs")
        return give(has, below: base)
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
