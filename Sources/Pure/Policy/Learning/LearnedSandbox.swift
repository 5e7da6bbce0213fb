// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The smallest sandbox, in the words of the policy language, that allows what was observed.
///
/// It extends another one: each item is nil where that has enough. The rules by which paths are put together are in
/// docs/sandboxes.md, "Learning".
public struct LearnedSandbox: Sendable, Hashable {
    /// More files than this of one directory are the directory.
    public static let filesLimit = 8

    /// The sandbox that it extends.
    public var base: String
    /// The items `read`, `write` and `execute`, whole: an item replaces the inherited one.
    public var read: [Sandbox.Path]?
    /// See `read`.
    public var write: [Sandbox.Path]?
    /// See `read`.
    public var execute: [Sandbox.Path]?
    /// `syscalls allow`, with groups.
    public var allowed: [String]?
    /// `syscalls deny`.
    public var denied: [String] = []
    /// The network.
    public var network: Sandbox.Network?
    /// Limits, with headroom.
    public var limits: Sandbox.Limits?
    /// Milliseconds of wall time, in whole minutes, with headroom.
    public var timeout: Int?
    /// `path`; nil where the default does.
    public var searchPath: [ByteText]?
    /// What a reader should know of it: what was left out, and why. Without control bytes.
    public var notes: [String] = []

    /// Works the sandbox out, as an extension of `strict`.
    ///
    /// - Parameter namesCalls: name each system call that was made, instead of the groups that `strict` allows.
    public init(_ seen: Observations, namesCalls: Bool = false) {
        base = SandboxDefinition.defaultName
        timeout = Self.timeout(seen.resources.milliseconds)
        limits = Self.limits(seen.resources)
        takePaths(seen)
        takeCalls(seen, namesCalls: namesCalls)
        takeNetwork(seen.network)
        searchPath = seen.searchPath
    }

    // MARK: Paths

    private mutating func takePaths(_ seen: Observations) {
        guard let strict = SandboxDefinition.builtIn("strict")?.base else { return }
        var paths = LearnedPaths(home: seen.home, extending: strict)
        // In one order, so that the notes are the same each time.
        for (path, use) in seen.paths.sorted(by: { $0.key.bytes.lexicographicallyPrecedes($1.key.bytes) }) {
            paths.take(path, use)
        }
        take(paths, extending: strict, seen.names, homeLinks: seen.homeLinks)
    }

    private mutating func take(
        _ taken: LearnedPaths, extending sandbox: Sandbox, _ names: [Observations.Name: Observations.Use] = [:],
        homeLinks: Set<ByteText> = []
    ) {
        var paths = taken
        paths.reduce()
        paths.name(names, homeLinks: homeLinks)
        paths.noteUnseen()
        notes += paths.notes
        let fresh = paths.rights
        let item = { (inherited: [Sandbox.Path], right: LearnedPaths.Right) -> [Sandbox.Path]? in
            let more = fresh[right] ?? []
            guard !more.isEmpty else { return nil }
            return inherited + more.sorted { $0.lexicographicallyPrecedes($1) }.map { paths.item($0) }
        }
        read = item(sandbox.read, .read)
        write = item(sandbox.write, .write)
        execute = item(sandbox.execute, .execute)
    }

    // MARK: System calls

    private mutating func takeCalls(_ seen: Observations, namesCalls: Bool) {
        guard let strict = SandboxDefinition.builtIn("strict") else { return }
        let wanted = Self.nameable(seen.systemCalls)
        let (known, unknown) = (
            wanted.filter { SystemCallGroups.isKnown($0) }, wanted.filter { !SystemCallGroups.isKnown($0) }
        )
        if !unknown.isEmpty {
            notes.append(
                "made system calls that the policy language has no name for: \(unknown.sorted().joined(separator: ", "))"
            )
        }
        if namesCalls {
            let named = known.isEmpty ? ["exit"] : known.sorted()
            allowed = named
        } else {
            let most = SandboxDefinition.expanded(strict.allowed)
            let change = known.intersection(strict.denied)
            let more = known.subtracting(most).sorted()
            if !change.isEmpty || !more.isEmpty {
                allowed = strict.allowed + more
                denied = change.isEmpty ? strict.denied : []
            }
        }
        let never = seen.forbidden.sorted()
        if !never.isEmpty {
            notes.append(
                "made calls that no sandbox allows, and was answered as in one: \(never.joined(separator: ", "))")
        }
    }

    /// What the network item alone decides on, and no list names.
    private static let networkCalls: Set<String> = ["socket", "connect", "bind", "listen", "accept", "accept4"]

    /// The calls of a set that a sandbox's list can give or take.
    private static func nameable(_ calls: Set<String>) -> Set<String> {
        calls.subtracting(SystemCallGroups.never).subtracting(SystemCallGroups.launch).subtracting(networkCalls)
    }

    private mutating func takeNetwork(_ seen: Observations.Network) {
        if !seen.further.isEmpty {
            network = .on
            for what in seen.further.sorted() { notes.append("network on, because it \(what)") }
        } else if !seen.ports.isEmpty {
            network = .tcpConnect(seen.ports.sorted())
        }
    }

    // MARK: Limits

    private static func limits(_ seen: Observations.Resources) -> Sandbox.Limits {
        var limits = Sandbox.Limits()
        limits.cpu = max(10, rounded(fourfold(seen.processorMilliseconds) / 1_000 &+ 1))
        limits.memory = max(256 << 20, rounded(fourfold(seen.addressSpace)))
        // Before Linux 6.14, and for a plain user, the kernel counts every process of the account, not of the session.
        limits.processes = min(4_194_304, max(64, rounded(fourfold(seen.tasks))))
        limits.files = min(1_048_576, max(64, rounded(twofold(seen.descriptors))))
        limits.fileSize = max(16 << 20, rounded(fourfold(seen.fileSize)))
        return limits
    }

    private static func fourfold(_ value: UInt64) -> UInt64 { value > 1 << 58 ? 1 << 60 : value * 4 }
    private static func twofold(_ value: UInt64) -> UInt64 { value > 1 << 58 ? 1 << 60 : value * 2 }

    /// The next power of two.
    private static func rounded(_ value: UInt64) -> UInt64 {
        var power: UInt64 = 1
        while power < value, power < 1 << 60 { power <<= 1 }
        return power
    }

    /// The longest time that the language takes, 366 days, in minutes.
    private static let longest: UInt64 = 366 * 24 * 60

    /// Ten times what it took, in whole minutes.
    private static func timeout(_ milliseconds: UInt64) -> Int {
        Int(min(milliseconds / 6_000 + 1, longest)) * 60_000
    }
}

// MARK: - From denials

/// What a sandbox refused, as the trail has it.
public enum RecordedDenial: Sendable, Hashable {
    /// A system call, by its name or, where it has none, its number.
    case call(String)
    /// An access, in Landlock's words (`fs.read_file`, `net.connect_tcp:443`; several with commas), and its path.
    case access(String, path: ByteText?)
}

extension LearnedSandbox {
    /// The sandbox that was in force, with what it refused added to it.
    ///
    /// - Parameters:
    ///   - sandbox: the one in force, resolved.
    ///   - denials: what it refused.
    ///   - home: the home of the account that the command ran as; nil where it is not known.
    public init(extending sandbox: Sandbox, denials: [RecordedDenial], home: ByteText?) {
        base = sandbox.name
        var paths = LearnedPaths(home: home, extending: sandbox)
        var calls: Set<String> = []
        var ports: Set<UInt16> = []
        for denial in denials {
            switch denial {
            case .call(let name):
                takeDenied(call: name, &calls)
            case .access(let words, let path):
                for word in words.split(separator: "+") { takeDenied(access: String(word), path, &paths, &ports) }
            }
        }
        take(paths, extending: sandbox)
        if !ports.isEmpty {
            switch sandbox.network {
            case .on: break
            case .off: network = .tcpConnect(ports.sorted())
            case .tcpConnect(let known): network = .tcpConnect(Set(known).union(ports).sorted())
            }
        }
        guard !calls.isEmpty else { return }
        (allowed, denied) = Self.groups(of: calls.union(sandbox.systemCalls))
    }

    /// Whether nothing was added.
    public var addsNothing: Bool {
        read == nil && write == nil && execute == nil && allowed == nil && network == nil && limits == nil
            && timeout == nil && searchPath == nil
    }

    private mutating func takeDenied(call name: String, _ calls: inout Set<String>) {
        let text = ByteText(name).printable
        if Self.networkCalls.contains(name) {
            notes.append("\(text) was denied: `network tcp-connect PORTS` or `network on` gives it")
        } else if SystemCallGroups.never.contains(name) {
            notes.append("\(text) was denied: no sandbox allows it")
        } else if SystemCallGroups.isKnown(name) {
            calls.insert(name)
        } else {
            notes.append("the system call \(text) was denied, which the policy language has no name for")
        }
    }

    private mutating func takeDenied(
        access: String, _ path: ByteText?, _ paths: inout LearnedPaths, _ ports: inout Set<UInt16>
    ) {
        let parts = access.split(separator: ":", maxSplits: 1)
        let use: Observations.Use
        switch parts.first ?? "" {
        case "net.connect_tcp" where parts.count == 2:
            if let port = UInt16(parts[1]), port > 0 { ports.insert(port) }
            return
        case "fs.read_file": use = .read
        case "fs.read_dir": use = .listed
        case "fs.execute": use = .executed
        case "fs.write_file", "fs.truncate", "fs.ioctl_dev": use = .written
        case let word where word.hasPrefix("fs.make_") || word.hasPrefix("fs.remove_") || word == "fs.refer":
            use = .changed
        default:
            notes.append("\(ByteText(access).printable) was denied: no word of a sandbox gives that alone")
            return
        }
        if let path { paths.take(path, use) }
    }

    /// The most calls that are taken from a group rather than named one by one.
    private static let denialsOfGroup = 24

    /// Names for a set of calls: groups that are in it whole, the large one less a few, and what is left by name.
    private static func groups(of calls: Set<String>) -> (allowed: [String], denied: [String]) {
        let wanted = nameable(calls)
        let members = { (group: String) in nameable(Set(SystemCallGroups.members(of: group) ?? [])) }
        var allowed: [String] = []
        var covered: Set<String> = []
        var denied: [String] = []
        let large = "@system-service"
        let lacking = members(large).subtracting(wanted)
        if lacking.count <= denialsOfGroup {
            allowed.append(large)
            covered = members(large)
            denied = lacking.sorted()
        }
        for group in SystemCallGroups.names.sorted(by: { (members($0).count, $1) > (members($1).count, $0) }) {
            let inside = members(group)
            guard !inside.isEmpty, inside.isSubset(of: wanted), !inside.isSubset(of: covered) else { continue }
            allowed.append(group)
            covered.formUnion(inside)
        }
        return (allowed + wanted.subtracting(covered).sorted(), denied)
    }
}
