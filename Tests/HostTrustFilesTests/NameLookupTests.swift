// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import TestSupport
import Testing
import Trust

@testable import HostTrustFiles

/// Names in trust files: forward, in their own time, and by a hosts file that is root's alone.
@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it gives files away, and has an /etc of its own"))
struct NameLookupTests {
    /// Whoever can write the hosts file can be any host in it.
    @Test(arguments: [(UInt32(0o644), UInt32(61_103)), (0o666, 0), (0o664, 0)])
    func aHostsFileOfOthersResolvesNothing(mode: UInt32, uid: UInt32) async throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts", "10.0.0.1 build\n10.0.0.2 other\n", mode: mode, uid: uid)
        try home.write(home.rhosts, "build\n")
        let verdict = try await home.verdict(names: .hostsFile)
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("\(home.root)/hosts rejected"), "\(verdict.detail)")
        try home.write(home.rhosts, "-other\n10.0.0.1\n")
        #expect(try await home.verdict(names: .hostsFile).detail.hasPrefix("denied by .rhosts:1; "))
        // Where no name stands, nobody looks.
        try home.write(home.rhosts, "10.0.0.1\n")
        #expect(try await home.verdict(names: .hostsFile).detail == ".rhosts:1")
    }

    @Test func aLinkInTheHostsFilesPlaceIsNotFollowed() async throws {
        let home = try TestHome()
        try home.write("\(home.root)/elsewhere", "10.0.0.1 build\n", mode: 0o644, uid: 0)
        try home.run("/usr/bin/ln", ["-s", "\(home.root)/elsewhere", "\(home.root)/hosts"])
        try home.write(home.rhosts, "build\n")
        #expect(try await !home.verdict(names: .hostsFile).isTrusted)
    }

    // MARK: - Name service

    /// What a request is told in an /etc where alice's .rhosts has this text, and after `prepare`; in an exit test.
    private static func verdict(
        _ rhosts: String, timeout: Int64, _ prepare: (PrivateHost) throws -> Void = { _ in }
    ) throws -> TrustVerdict {
        let answer = try inChild {
            let host = try PrivateHost()
            try host.write(Question(rhosts: rhosts))
            try prepare(host)
            let verdict = host.asksUs(Question(), TrustFiles(names: .dns, nameTimeout: timeout))
            let left = Children.ids().count
            return verdict.said + (left == 0 ? "" : "; \(left) processes were left")
        }
        return try TrustVerdict(said: answer)
    }

    @Test(
        arguments: [
            ("build\n", ".rhosts:1", true), ("other\n10.0.0.1\n", ".rhosts:2", true),
            ("-nosuch\n10.0.0.1\n", "denied by .rhosts:1", false), ("-other\n10.0.0.1\n", ".rhosts:2", true),
            ("nosuch\n", "no hosts.equiv; no line of .rhosts matches", false),
        ])
    func nameServiceIsAskedForward(rhosts: String, detail: String, trusted: Bool) async {
        await #expect(processExitsWith: .exitCode(0)) {
            [rhosts = rhosts as String, detail = detail as String, trusted = trusted as Bool] in
            let verdict = try NameLookupTests.verdict(rhosts, timeout: 5_000)
            #expect(verdict.isTrusted == trusted, "\(verdict)")
            // Some hosts' name service says that it did not answer where another knows of no such name.
            #expect(verdict.detail == detail || verdict.detail.hasPrefix(detail + "; "), "\(verdict.detail)")
        }
    }

    /// A name server that never answers: the resolver alone would wait for minutes.
    @Test(
        arguments: [
            ("a.example.org\nb.example.org\n10.0.0.1\n", ".rhosts:3; name service took too long", true),
            ("-a.example.org\n10.0.0.1\n", "denied by .rhosts:1; name service took too long", false),
        ])
    func aDeadNameServerIsNotWaitedForLongerThanTheDeadline(rhosts: String, detail: String, trusted: Bool) async {
        await #expect(processExitsWith: .exitCode(0)) {
            [rhosts = rhosts as String, detail = detail as String, trusted = trusted as Bool] in
            let verdict = try NameLookupTests.verdict(rhosts, timeout: 200) { host in
                try NameLookupTests.bindASilentServer()
                for name in ["resolv.conf", "nsswitch.conf"] { try? File.remove("/etc/\(name)") }
                try host.put("/etc/resolv.conf", "nameserver 127.53.77.1\noptions timeout:30 attempts:5\n")
                try host.put("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: dns\n")
            }
            #expect(verdict.isTrusted == trusted, "\(verdict)")
            #expect(verdict.detail == detail, "\(verdict)")
        }
    }

    /// A name server that never answers; it ends with the process that asks.
    private static func bindASilentServer() throws {
        let silent = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(53).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F35_4D01).bigEndian
        // SAFETY: the address is read for the call alone, with its own size; both tests' sockets share it.
        let code = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                var one: Int32 = 1
                _ = unsafe setsockopt(silent, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
                return unsafe bind(silent, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw SystemError(errno, "bind") }
    }

    // MARK: - The reply

    @Test func aReplySaysWhatTheResolverSaid() throws {
        let addresses = [IPAddress(v4: 0x0A00_0001), try #require(IPAddress("2001:db8::1"))]
        let endpoints = addresses.map { Endpoint(address: $0, port: 0) }
        #expect(NameReply.decoded(NameReply.encoded(.endpoints(endpoints))) == .addresses(addresses))
        #expect(NameReply.decoded(NameReply.encoded(.unknown)) == .unknown)
        #expect(NameReply.decoded(NameReply.encoded(.failed("x"))) == .failed)
        // The address that a line denies may be the one that was left out.
        let many = [Endpoint](repeating: endpoints[0], count: Resolver.addressLimit)
        #expect(NameReply.decoded(NameReply.encoded(.endpoints(many))) == .failed)
    }

    /// The child reads strangers' bytes, so that its own are a stranger's too.
    @Test(
        arguments: [
            [], [3], [0, 0], [1, 1], [2, 4], [2, 5] + [UInt8](repeating: 0, count: 16),
            [2, 4] + [UInt8](repeating: 1, count: 16), [2, 6] + [UInt8](repeating: 1, count: 15),
        ] as [[UInt8]])
    func aReplyThatIsNoneIsNotUsed(bytes: [UInt8]) {
        #expect(NameReply.decoded(bytes) == nil)
    }
}
