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
    private static let devices = ["null", "zero", "full", "random", "urandom", "tty"]
    private static let links = [
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ]

    private let hasSharedMemory: Bool
    private let hasTerminals: Bool

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
    }

    /// Mounts it over /dev. Comes after `Mounts.makePrivate`, and before the sandbox's places are opened.
    func mount() throws(ConfinementError) {
        // A gateway in a directory of its own may have none: then there is nothing to hide.
        guard case .open = try SecureOpen.place("/dev") else { return }
        var copies: [(name: String, tree: Descriptor)] = []
        for name in Self.devices {
            // A gateway in a directory of its own may have fewer.
            guard case .open(let device) = try SecureOpen.place(ByteText("/dev/\(name)")),
                (try? File.status(device))?.kind == .other
            else { continue }
            copies.append((name, try Mounts.copy(device)))
        }
        // Where the host's is a socket and no link, there is none.
        let log = try? File.linkTarget("/dev/log")
        try Mounts.names(at: "/dev")
        do {
            let directory = try File.open("/dev", .directory)
            for (name, tree) in copies {
                let point = try File.open(name, below: directory, [.writing, .creating, .exclusive], mode: 0)
                try Mounts.attach(tree, over: point)
            }
            for (name, target) in Self.links { try File.makeLink(name, to: ByteText(target), below: directory) }
            if let log { try File.makeLink("log", to: log, below: directory) }
            if hasSharedMemory { try File.makeDirectory("shm", below: directory, mode: 0o755) }
            if hasTerminals {
                try File.makeDirectory("pts", below: directory, mode: 0o755)
                try File.makeLink("ptmx", to: "pts/ptmx", below: directory)
            }
        } catch {
            throw error as? ConfinementError ?? ConfinementError(.mounts, (error as? SystemError)?.code ?? EINVAL)
        }
        if hasSharedMemory { try Mounts.temporary(at: "/dev/shm") }
        if hasTerminals { try Mounts.terminals(at: "/dev/pts") }
    }
}
