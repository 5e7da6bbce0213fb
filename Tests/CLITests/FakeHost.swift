// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import Testing

@testable import CLI

/// A host below a directory of the test's own: files, accounts, sockets and the processes that hold them.
final class FakeHost {
    static let uid: UInt32 = 61_103
    static let gid: UInt32 = 61_104

    let place: TemporaryDirectory
    var accounts: [AccountEntry] = []

    init() throws {
        place = try TemporaryDirectory()
        try setMode("", 0o755)
        try write("/proc/net/tcp", Self.tableHeading)
        try write("/proc/net/udp", Self.tableHeading)
    }

    var host: LocalHost { LocalHost(root: place.path, accounts: accounts, superuser: Linux.Process.effectiveUserID) }

    // MARK: Files

    func write(_ path: String, _ text: String, mode: Int = 0o644) throws {
        try place.write(Array(text.utf8), to: String(path.dropFirst()))
        try setMode(path, mode)
    }

    func remove(_ path: String) throws {
        try FileManager.default.removeItem(atPath: place.path + path)
    }

    func setMode(_ path: String, _ mode: Int) throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: place.path + path)
    }

    /// A link; an absolute target of the host's is told as this process sees it.
    func link(_ path: String, to target: String) throws {
        let url = URL(fileURLWithPath: place.path + path)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: url.path, withDestinationPath: target)
    }

    // MARK: Accounts

    /// An account with a home of its own; root's where the test is not root.
    func addAccount(_ name: String, home: String? = nil) throws {
        let home = home ?? "/home/\(name)"
        try FileManager.default.createDirectory(
            atPath: place.path + home, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        try give(home)
        accounts.append(
            AccountEntry(
                name: ByteText(name), uid: Self.uid, gid: Self.gid, home: ByteText(home), shell: "/bin/sh"))
    }

    /// Gives a file to the accounts' uid.
    func give(_ path: String, uid: UInt32 = uid) throws {
        let file = try File.open(place.path + path, [.reading, .nonBlocking])
        try File.setOwner(file, uid: uid, gid: Self.gid)
    }

    // MARK: Sockets

    private static let tableHeading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"

    /// A socket that waits at a port, on 127.0.0.1 where nothing else is said, and who holds it.
    func listen(
        _ port: UInt16, inode: Int, pid: Int32?, program: String = "/usr/sbin/in.rshd", address: String = "0100007F",
        transport: WaitingSocket.Transport = .tcp
    ) throws {
        let text = String(port, radix: 16, uppercase: true)
        let digits = String(repeating: "0", count: 4 - text.count) + text
        let state = transport == .tcp ? "0A" : "07"
        let line =
            "   0: \(address):\(digits) 00000000:0000 \(state) 00000000:00000000 00:00000000 00000000 0 0 \(inode) 1 0 100"
        let table = "proc/net/\(transport.rawValue)"
        try write("/" + table, place.read(table) + line + "\n")
        if let pid { try hold(inode, pid: pid, program: program) }
    }

    /// A process of root's that holds a socket; it calls itself sshd. A program of the host's is below its directory.
    func hold(_ inode: Int, pid: Int32, program: String) throws {
        try write("/proc/\(pid)/comm", "sshd\n")
        try link("/proc/\(pid)/exe", to: host.exists(program) ? place.path + program : program)
        try link("/proc/\(pid)/fd/4", to: "socket:[\(inode)]")
    }

    /// The gateway's programs, where packaging puts them.
    func installGateway() throws {
        try write("/usr/sbin/portcullisd", "the monitor\n", mode: 0o755)
        try write("/usr/lib/portcullis/portcullis-front", "the front\n", mode: 0o755)
    }
}

/// Runs work that takes on other ids in a process of its own: the C library changes the ids of all threads.
func inChild(_ work: () throws -> String) throws -> String {
    let (read, write) = try Descriptor.pipe()
    switch try Linux.Process.fork() {
    case .child:
        let text: String
        do { text = try work() } catch { text = "failed: \(error)" }
        try? write.writeAll(Array(text.utf8))
        Linux.Process.exitNow(0)
    case .parent(let pid):
        Children.reap(pid)
        return String(decoding: try read.read(65_536), as: UTF8.self)
    }
}

/// A policy's settings.
func policySettings(
    secureTCPIP: Bool = true, except: Set<SecureTCPIP.Exception> = [], enabled: Set<Service> = [],
    trust: ServiceSettings.Trust = .rhosts, names: ServiceSettings.Names = .refuse
) -> HostPolicy {
    var settings = Settings()
    settings.secureTCPIP.isOn = secureTCPIP
    settings.secureTCPIP.exceptions = except
    for service in enabled { settings[service].isEnabled = true }
    settings.rsh.trust = trust
    settings.rsh.names = names
    return HostPolicy(path: "/etc/portcullis/portcullis.policy", settings: settings)
}
