// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core
internal import Glibc

/// A /dev of the session's own, with the devices that programs expect and no others.
///
/// The devices are the host's own, mounted one by one: making new ones would take CAP_MKNOD, which the gateway does not
/// have, and which a container's root often has not either.
struct PrivateDevices {
    /// Devices that say nothing of the host and change nothing of it.
    fileprivate static let devices = ["null", "zero", "full", "random", "urandom", "tty"]
    fileprivate static let links = [
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ]

    private let hasSharedMemory: Bool
    private let hasTerminals: Bool
    /// Whether it is what `CommonDevices` has, and nothing is to be made in it.
    let isCommon: Bool

    /// The /dev for a sandbox; nil where the sandbox names something below /dev that a private one has not, and so has
    /// the host's.
    init?(for sandbox: Sandbox) {
        // The first component below /dev of what is named there.
        var hasSharedMemory = false
        var hasTerminals = false
        for paths in [sandbox.read, sandbox.write, sandbox.execute] {
            for case .absolute(let path) in paths {
                let parts = path.bytes.split(separator: UInt8(ascii: "/"), maxSplits: 2)
                guard parts.count > 1, parts[0].elementsEqual("dev".utf8) else { continue }
                let isNamed = { (name: String) in parts[1].elementsEqual(name.utf8) }
                if isNamed("shm") {
                    hasSharedMemory = true
                } else if isNamed("pts") || isNamed("ptmx") {
                    hasTerminals = true
                } else if !Self.devices.contains(where: isNamed), !isNamed("log"),
                    !Self.links.contains(where: { isNamed($0.0) })
                {
                    return nil
                }
            }
        }
        self.hasSharedMemory = hasSharedMemory
        self.hasTerminals = hasTerminals
        isCommon =
            !hasSharedMemory && !hasTerminals
            && !sandbox.write.contains { $0 == .absolute("/dev") }
    }

    /// What is taken from the host's /dev.
    struct Copies {
        fileprivate var devices: [(name: String, tree: Descriptor)] = []
        fileprivate var log: ByteText?
        /// All of it, a copy of the `CommonDevices`; then there is nothing else.
        fileprivate var common: Descriptor?
        /// Whether nobody can write its names as they come.
        var isCommon: Bool { common != nil }
    }

    /// Copies the host's devices; nil where there are none. Comes before the host's /dev is out of sight.
    ///
    /// - Parameter common: a copy of the `CommonDevices`.
    func copies(_ common: Descriptor?) throws(ConfinementError) -> Copies? {
        // A gateway in a directory of its own may have none: then there is nothing to hide.
        guard case .open = try SecureOpen.place("/dev") else { return nil }
        if isCommon, let common { return Copies(common: common) }
        var copies = Copies()
        for name in Self.devices {
            // A gateway in a directory of its own may have fewer.
            guard case .open(let device) = try SecureOpen.place(ByteText("/dev/\(name)")),
                (try? File.status(device))?.kind == .other
            else { continue }
            copies.devices.append((name, try Mounts.copy(device, [.readOnly, .noSetuid])))
        }
        // Where the host's is a socket and no link, there is none.
        copies.log = try? File.linkTarget("/dev/log")
        return copies
    }

    /// Mounts it over /dev, in the session's own mount namespace, before the sandbox's places below it are opened.
    func mount(_ copies: Copies) throws(ConfinementError) {
        if let common = copies.common { return try Mounts.attach(common, over: Mounts.opened("/dev")) }
        try Mounts.names(at: "/dev")
        do {
            let directory = try File.open("/dev", .directory)
            for (name, tree) in copies.devices {
                let point = try File.open(name, below: directory, [.writing, .creating, .exclusive], mode: 0)
                try Mounts.attach(tree, over: point)
            }
            for (name, target) in Self.links { try File.makeLink(name, to: ByteText(target), below: directory) }
            if let log = copies.log { try File.makeLink("log", to: log, below: directory) }
            if hasSharedMemory { try File.makeDirectory("shm", below: directory, mode: 0o755) }
            if hasTerminals {
                try File.makeDirectory("pts", below: directory, mode: 0o755)
                try File.makeLink("ptmx", to: "pts/ptmx", below: directory)
            }
        } catch {
            throw ConfinementError(.mounts, of: error)
        }
        if hasSharedMemory { try Mounts.temporary(at: "/dev/shm") }
        if hasTerminals { try Mounts.terminals(at: "/dev/pts") }
    }
}

/// The /dev of most sandboxes, made once for all sessions and attached nowhere: each session mounts a copy of its mounts,
/// which takes a sixth of the time.
///
/// The names are in one tmpfs, which nobody can write: its mount is read-only, and so is every copy of it. Devices are in a
/// mount each, as in one that is made anew, and cut off from the host's.
public struct CommonDevices: Sendable {
    /// The mounts, until the last copy of the descriptor is closed.
    public let descriptor: Descriptor

    /// Takes them over from another process.
    public init(taking descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    /// Makes them, as root; nil where the kernel does not mount in what is attached nowhere, or copy it (before Linux 6.15),
    /// or there is no /dev: then each session makes its own.
    public static func make() -> CommonDevices? {
        guard let names = try? Mounts.detachedNames() else { return nil }
        do {
            for name in PrivateDevices.devices {
                guard case .open(let device) = try SecureOpen.place(ByteText("/dev/\(name)")),
                    try File.status(device).kind == .other
                else { continue }
                let copy = try Mounts.copy(device, [.readOnly, .noSetuid])
                try Mounts.makePrivate(copy)
                let point = try File.open(name, below: names, [.writing, .creating, .exclusive], mode: 0)
                try Mounts.attach(copy, over: point)
            }
            for (name, target) in PrivateDevices.links { try File.makeLink(name, to: ByteText(target), below: names) }
            // Where the host's is a socket and no link, there is none.
            if let log = try? File.linkTarget("/dev/log") { try File.makeLink("log", to: log, below: names) }
            try Mounts.restrict(names, [.readOnly, .noSetuid])
            let made = CommonDevices(taking: names)
            // As a session does it.
            _ = try made.copy()
            return made
        } catch {
            return nil
        }
    }

    /// A copy for one session; made in the mount namespace in which they were made, before the session's own.
    public func copy() throws(ConfinementError) -> Descriptor {
        try Mounts.copy(descriptor)
    }
}
