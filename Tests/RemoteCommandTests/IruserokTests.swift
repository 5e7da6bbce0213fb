// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import HostTrustFiles
import Linux
import Testing
import Trust

@testable import RemoteCommand

/// The grammar and the decision are in TrustTests, the files in HostTrustFilesTests: here is the call.
@Suite struct IruserokTests {
    private static let peer = Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 0)

    /// Asks with files below a directory, as whoever the tests run as, and so with no change of ids.
    private func verdict(
        _ peer: Endpoint = peer, superuser: Bool = false, remoteUser: ByteText = "alice",
        localUser: ByteText = "alice", uid: UInt32? = nil, name: ByteText? = nil, equiv: String? = nil,
        rhosts: String? = nil
    ) throws -> TrustVerdict {
        let directory = try TestDirectory()
        if let rhosts { _ = try directory.file(".rhosts", Array(rhosts.utf8)) }
        var equivPath = "/nonexistent/hosts.equiv"
        if let equiv { equivPath = try directory.file("hosts.equiv", Array(equiv.utf8)) }
        let entry = AccountEntry(
            name: name ?? localUser, uid: uid ?? Process.userID, gid: Process.groupID, home: ByteText(directory.path),
            shell: "/bin/sh")
        return iruserok(
            peer, superuser: superuser, remoteUser: remoteUser, localUser: localUser,
            files: TrustFiles(names: .refuse, hostsEquiv: ByteText(equivPath))
        ) { _ in
            entry
        }
    }

    /// The tests' own account is root's or a person's: what uid 0 is denied is asked as the superuser then.
    private let isRoot = Process.isRoot

    @Test(arguments: ["10.0.0.1 alice\n", "10.0.0.1\n"])
    func theOwnFileTrusts(rhosts: String) throws {
        let verdict = try verdict(superuser: isRoot, rhosts: rhosts)
        #expect(verdict.isTrusted, "\(verdict.detail)")
        #expect(verdict.detail == ".rhosts:1")
    }

    @Test func theSixthVersionOfTheInternetTrustsToo() throws {
        let address = try #require(IPAddress("2001:db8::1"))
        let peer = Endpoint(address: address, port: 0)
        #expect(try verdict(peer, superuser: isRoot, rhosts: "2001:db8::1 alice\n").isTrusted)
        #expect(try !verdict(peer, superuser: isRoot, rhosts: "2001:db8::2 alice\n").isTrusted)
    }

    @Test func theSuperuserSkipsHostsEquiv() throws {
        let verdict = try verdict(superuser: true, equiv: "10.0.0.1 alice\n")
        #expect(!verdict.isTrusted)
        #expect(verdict.detail == "no .rhosts")
    }

    /// glibc 2.36 reads hosts.equiv for root where the caller forgets the flag.
    @Test func uidZeroIsNeverTrustedWithoutTheFlag() throws {
        let verdict = try verdict(uid: 0, equiv: "10.0.0.1 alice\n", rhosts: "10.0.0.1 alice\n")
        #expect(!verdict.isTrusted)
    }

    /// glibc 2.36 takes an empty remote user for one that `HOST +` trusts.
    @Test(arguments: ["", "-froot", "a/b", "al ice"] as [ByteText])
    func aNameThatNobodyHasIsNotTrusted(name: ByteText) throws {
        #expect(try !verdict(superuser: isRoot, remoteUser: name, rhosts: "10.0.0.1 alice\n").isTrusted)
        #expect(try !verdict(superuser: isRoot, localUser: name, rhosts: "10.0.0.1 alice\n").isTrusted)
    }

    @Test func anAccountWhoseNameDiffersIsAnotherAccount() throws {
        let verdict = try verdict(superuser: isRoot, name: "Alice", rhosts: "10.0.0.1 alice\n")
        #expect(verdict.detail == "no such local user")
    }

    @Test func anAccountThatIsNotThereIsNotTrusted() {
        let verdict = iruserok(
            IPAddress(v4: 0x0A00_0001), superuser: false, remoteUser: "alice", localUser: "portcullis-nobody")
        #expect(!verdict.isTrusted)
        #expect(verdict.detail == "no such local user")
    }

    @Test(.enabled(if: !Process.isRoot, "root may be anybody"))
    func anotherUsersFileIsNotReadWithoutTheRightToBeThatUser() throws {
        let verdict = try verdict(uid: Process.userID + 1, rhosts: "10.0.0.1 alice\n")
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("rejected"))
    }
}
