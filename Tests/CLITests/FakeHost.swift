// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import TestSupport
import Testing

@testable import CLI

/// A host below a directory of the test's own: files, accounts, sockets and the processes that hold them.
final class FakeHost {
    static let uid: UInt32 = 61_103
    static let gid: UInt32 = 61_104

    /// What makes up the host, in a form that an exit test can be handed: reading as an account changes the ids of all
    /// threads, and so is done in a process of its own.
    struct Parts: Codable, Sendable {
        var root: String
        /// Names and homes.
        var accounts: [[String]] = []

        var host: LocalHost {
            let entries = accounts.compactMap { account -> AccountEntry? in
                guard account.count == 2 else { return nil }
                return AccountEntry(
                    name: ByteText(account[0]), uid: FakeHost.uid, gid: FakeHost.gid, home: ByteText(account[1]),
                    shell: "/bin/sh")
            }
            return LocalHost(root: root, accounts: entries, superuser: Linux.Process.effectiveUserID)
        }
    }

    let place: TemporaryDirectory
    private(set) var parts: Parts

    init() throws {
        place = try TemporaryDirectory()
        parts = Parts(root: place.path)
        try setMode("", 0o755)
        try write("/proc/net/tcp", Self.tableHeading)
        try write("/proc/net/udp", Self.tableHeading)
    }

    var host: LocalHost { parts.host }

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
        parts.accounts.append([name, home])
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

/// What an exit test has written on its standard output.
func output(of result: ExitTest.Result?) throws -> String {
    String(decoding: try #require(result).standardOutputContent, as: UTF8.self)
}

/// The arguments of `policySettings`, in a form that an exit test can be handed.
struct PolicyChoice: Codable, Sendable {
    private var isOn: Bool
    private var exceptions: [UInt8]
    private var enabled: [UInt8]
    private var trustedFile: String?
    private var trustsByRule: Bool
    private var names: UInt8

    init(
        secureTCPIP: Bool = true, except: Set<SecureTCPIP.Exception> = [], enabled: Set<Service> = [],
        trust: ServiceSettings.Trust = .rhosts, names: ServiceSettings.Names = .refuse
    ) {
        isOn = secureTCPIP
        exceptions = except.map(\.rawValue)
        self.enabled = enabled.map(\.rawValue)
        if case .file(let path) = trust { trustedFile = path.printable }
        trustsByRule = trust == .rule
        self.names = names.rawValue
    }

    var policy: HostPolicy {
        get throws {
            let trust = trustedFile.map { .file(ByteText($0)) } ?? (trustsByRule ? .rule : ServiceSettings.Trust.rhosts)
            return policySettings(
                secureTCPIP: isOn,
                except: Set(try exceptions.map { try #require(SecureTCPIP.Exception(rawValue: $0)) }),
                enabled: Set(try enabled.map { try #require(Service(rawValue: $0)) }), trust: trust,
                names: try #require(ServiceSettings.Names(rawValue: names)))
        }
    }
}
