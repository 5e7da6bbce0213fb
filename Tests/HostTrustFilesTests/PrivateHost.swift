// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import HostTrustFiles
import Linux
import Trust

/// An /etc of this process's own, in a mount namespace of its own: nothing is left behind, and nobody else sees it.
final class PrivateHost {
    static let alice = Credentials(uid: 61_121, gid: 61_122, groups: [61_122])
    private static let root = Credentials(uid: 0, gid: 0, groups: [0])
    private let files: [ServiceSettings.Names: TrustFiles] = [
        .refuse: TrustFiles(names: .refuse), .hostsFile: TrustFiles(names: .hostsFile),
    ]

    /// Changes the calling process: a forked child of the test's.
    init() throws {
        try Namespaces.mounts.unshare()
        try Mounts.makePrivate()
        try Mounts.temporary(at: "/etc")
        try File.setMode("/etc", 0o755)
        try put("/etc/passwd", "root:x:0:0::/etc/root:/bin/sh\nalice:x:61121:61122::/etc/alice:/bin/sh\n")
        try put("/etc/group", "root:x:0:\nalice:x:61122:\n")
        try put("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nnetgroup: files\n")
        try put("/etc/hosts", "10.0.0.1 build\n2001:db8::1 build\n10.0.0.2 other\n")
        try put("/etc/netgroup", "ng (10.0.0.1,alice,)\n")
        try File.makeDirectory("/etc/root", mode: 0o755)
        try File.makeDirectory("/etc/alice", mode: 0o755)
        try File.setOwner(
            try File.open("/etc/alice", [.directory]), uid: Self.alice.uid, gid: Self.alice.gid)
    }

    /// Writes a file of that /etc.
    func put(_ path: String, _ text: String, mode: UInt32 = 0o644, owner: Credentials = root) throws {
        let file = try File.open(path, [.writing, .creating, .exclusive, .noFollow], mode: mode)
        try file.writeAll(Array(text.utf8))
        try File.setOwner(file, uid: owner.uid, gid: owner.gid)
        try File.setMode(file, mode)
    }

    private func home(_ question: Question) -> String { "/etc/\(question.localUser)" }

    /// Lays the question's files out.
    func write(_ question: Question) throws {
        let owner = question.isSuperuser ? Self.root : Self.alice
        let home = home(question)
        for path in ["/etc/hosts.equiv", "\(home)/.rhosts", "\(home)/second"] { try? File.remove(path) }
        try File.setMode(home, question.oddity == .openHome ? 0o777 : 0o755)
        if let equiv = question.equiv { try put("/etc/hosts.equiv", equiv) }
        guard let rhosts = question.rhosts else { return }
        let path = "\(home)/.rhosts"
        switch question.oddity {
        case .none, .openHome: try put(path, rhosts, owner: owner)
        case .writable: try put(path, rhosts, mode: 0o664, owner: owner)
        case .foreign: try put(path, rhosts, owner: Credentials(uid: 61_123, gid: 61_123, groups: []))
        case .linked:
            try put(path, rhosts, owner: owner)
            guard unsafe link(path, "\(home)/second") == 0 else { throw SystemError(errno, "link") }
        }
    }

    /// iruserok_af(3).
    func asksTheCLibrary(_ question: Question) -> Bool {
        let superuser: Int32 = question.isSuperuser ? 1 : 0
        let count = question.address.family == .v4 ? 4 : 16
        let bytes = (0..<count).reversed().map { UInt8(truncatingIfNeeded: question.address.value >> ($0 * 8)) }
        let family = question.address.family == .v4 ? AF_INET : AF_INET6
        // SAFETY: the address has as many bytes as the family's, and the names end in NUL for the call.
        return unsafe iruserok_af(
            bytes, superuser, question.remoteUser, question.localUser, sa_family_t(family)) == 0
    }

    /// Ours.
    func asksUs(_ question: Question, _ given: TrustFiles? = nil) -> TrustVerdict {
        guard let remote = UserName(question.remoteUser), let local = UserName(question.localUser),
            let files = given ?? files[question.names]
        else { return TrustVerdict(isTrusted: false, detail: "the test's own names") }
        let claim = HostTrust.Claim(
            peer: Endpoint(address: question.address, port: 1_023), remoteUser: remote, localUser: local,
            isSuperuser: question.isSuperuser, permitNamesRoot: true)
        return files.verdict(
            claim, home: ByteText(home(question)), credentials: question.isSuperuser ? Self.root : Self.alice)
    }
}
