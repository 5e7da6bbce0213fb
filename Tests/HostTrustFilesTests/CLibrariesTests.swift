// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import HostTrustFiles
import Linux
import Testing
import Trust

/// A case on which the C libraries differ from each other or from us; a row of docs/host-trust.md's table.
struct LibraryCase: Sendable, CustomTestStringConvertible {
    /// What stands in the file, or what the file is.
    var situation: String
    /// Ours: `trusted` or `refused`, and why in a few words.
    var ours: String
    /// glibc 2.36, measured.
    var glibc: String
    /// By their sources.
    var freeBSD: String
    var netBSD: String
    var openBSD: String
    /// Asks us whether alice at 10.0.0.1 may be alice.
    var ask: @Sendable (TestHome) async throws -> Bool

    init(
        _ situation: String, _ ours: String, glibc: String, freeBSD: String, netBSD: String? = nil,
        openBSD: String? = nil, _ ask: @escaping @Sendable (TestHome) async throws -> Bool
    ) {
        self.situation = situation
        self.ours = ours
        self.glibc = glibc
        self.freeBSD = freeBSD
        self.netBSD = netBSD ?? freeBSD
        self.openBSD = openBSD ?? netBSD ?? freeBSD
        self.ask = ask
    }

    var testDescription: String { situation }
    var row: String { "| \(situation) | \(ours) | \(glibc) | \(freeBSD) | \(netBSD) | \(openBSD) |" }
}

/// Our answer to each case beside the C libraries', and the table of the documentation held to it.
@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it gives files away")) struct CLibrariesTests {
    @Test(arguments: LibraryCase.all) func ourAnswerIsAsTheTableHasIt(row: LibraryCase) async throws {
        #expect(row.ours.hasPrefix("trusted") != row.ours.hasPrefix("refused"))
        #expect(try await row.ask(TestHome()) == row.ours.hasPrefix("trusted"))
    }

    @Test func theTableOfTheDocumentationIsThisOne() throws {
        let parts = #filePath.split(separator: "/").dropLast(3)
        let path = "/" + parts.joined(separator: "/") + "/docs/host-trust.md"
        let bytes = try #require(try File.open(path, [.reading]).readAll(limit: 1 << 20))
        let rows = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
            .drop { !$0.hasPrefix("| case |") }.dropFirst(2).prefix { $0.hasPrefix("|") }
        let table = LibraryCase.all.map(\.row)
        #expect(Array(rows) == table, "it should be:\n\(table.joined(separator: "\n"))")
    }
}

extension LibraryCase {
    private static let line = "10.0.0.1 alice\n"

    /// A .rhosts, and perhaps a hosts.equiv, of these texts.
    private static func texts(
        _ rhosts: String?, equiv: String? = nil, names: ServiceSettings.Names = .refuse
    ) -> @Sendable (TestHome) async throws -> Bool {
        { home in
            if let rhosts { try home.write(home.rhosts, rhosts) }
            if let equiv { try home.write("\(home.root)/hosts.equiv", equiv, mode: 0o644, uid: 0) }
            return try await home.verdict(names: names).isTrusted
        }
    }

    /// A .rhosts that trusts, of this mode and owner.
    private static func file(_ mode: UInt32, uid: UInt32 = TestHome.uid) -> @Sendable (TestHome) async throws -> Bool {
        { home in
            try home.write(home.rhosts, line, mode: mode, uid: uid)
            return try await home.verdict().isTrusted
        }
    }

    /// A .rhosts that a program makes: `ln`, `mkfifo`.
    private static func made(by program: String, _ arguments: [String]) -> @Sendable (TestHome) async throws -> Bool {
        { home in
            try home.write("\(home.home)/other", line)
            try home.run("/usr/bin/\(program)", arguments.map { $0.replacing("HOME", with: home.home) })
            return try await home.verdict().isTrusted
        }
    }

    /// Another request than alice's from 10.0.0.1.
    private static func request(
        _ text: String, from address: String = "10.0.0.1", scope: UInt32 = 0, by remote: String = "alice"
    ) -> @Sendable (TestHome) async throws -> Bool {
        { _ in
            // A remote user without a name is none: there is no request to judge.
            guard let remoteUser = UserName(remote) else { return false }
            let alice = try #require(UserName("alice"))
            let claim = HostTrust.Claim(
                peer: Endpoint(address: try #require(IPAddress(address)), port: 1_023, scope: scope),
                remoteUser: remoteUser, localUser: alice, isSuperuser: false, permitNamesRoot: false)
            var source = HostTrust.Source.rejected("")
            if let file = try? TrustFile(Array(text.utf8), names: .refuse) { source = .file(file) }
            let lookup = HostTrust.Lookup(
                addresses: { _ in .unknown }, interfaceIndex: { $0 == "eth0" ? 2 : nil }, localDomain: nil)
            return HostTrust.decide(claim, hostsEquiv: .absent, rhosts: source, lookup: lookup).isTrusted
        }
    }

    static let all: [LibraryCase] = [
        LibraryCase(
            "hosts.equiv of another owner", "refused", glibc: "refused", freeBSD: "trusted: no check"
        ) { home in
            try home.write("\(home.root)/hosts.equiv", line, mode: 0o644)
            return try await home.verdict().isTrusted
        },
        LibraryCase(
            "hosts.equiv that others can write", "refused", glibc: "refused", freeBSD: "trusted: no check"
        ) { home in
            try home.write("\(home.root)/hosts.equiv", line, mode: 0o646, uid: 0)
            return try await home.verdict().isTrusted
        },
        LibraryCase("`.rhosts` 0400", "trusted", glibc: "trusted", freeBSD: "trusted", file(0o400)),
        LibraryCase("`.rhosts` 04644", "trusted", glibc: "trusted", freeBSD: "trusted", file(0o4644)),
        LibraryCase("root's, 0644", "trusted", glibc: "trusted", freeBSD: "trusted", file(0o644, uid: 0)),
        LibraryCase(
            "root's, 0600", "refused: read as the user", glibc: "refused", freeBSD: "trusted: read as root",
            netBSD: "refused", file(0o600, uid: 0)),
        LibraryCase(
            "root's, 0640, of root's group", "refused: with the user's groups", glibc: "trusted: with root's groups",
            freeBSD: "trusted: read as root", netBSD: "refused", openBSD: "trusted: with root's groups",
            file(0o640, uid: 0)),
        LibraryCase("`.rhosts` 0602", "refused", glibc: "refused", freeBSD: "refused", file(0o602)),
        LibraryCase("`.rhosts` 0664", "refused", glibc: "refused", freeBSD: "refused", file(0o664)),
        LibraryCase("another user's", "refused", glibc: "refused", freeBSD: "refused", file(0o644, uid: 61_103)),
        LibraryCase(
            "a symbolic link", "refused", glibc: "refused", freeBSD: "refused",
            made(by: "ln", ["-s", "HOME/other", "HOME/.rhosts"])),
        LibraryCase(
            "a symbolic link, put there between lstat and open", "refused: one descriptor", glibc: "trusted",
            freeBSD: "trusted", made(by: "ln", ["-s", "HOME/other", "HOME/.rhosts"])),
        LibraryCase(
            "a hard link", "refused", glibc: "refused", freeBSD: "trusted",
            made(by: "ln", ["HOME/other", "HOME/.rhosts"])),
        LibraryCase(
            "a FIFO", "refused, at once", glibc: "refused", freeBSD: "waits", made(by: "mkfifo", ["HOME/.rhosts"])),
        LibraryCase(
            "a home that all can write", "refused", glibc: "trusted", freeBSD: "trusted"
        ) { home in
            try home.write(home.rhosts, line)
            try File.setMode(home.home, 0o777)
            return try await home.verdict().isTrusted
        },
        LibraryCase(
            "a blank before the host, then a good line", "refused: the file", glibc: "refused: stops there",
            freeBSD: "trusted", texts(" 10.0.0.2\n" + line)),
        LibraryCase(
            "`host #c`", "trusted: a comment", glibc: "refused: user `#c`", freeBSD: "refused: user `#c`",
            texts("10.0.0.1 #c\n")),
        LibraryCase(
            "`host user #c`", "trusted", glibc: "trusted", freeBSD: "trusted", texts("10.0.0.1 alice #c\n")),
        LibraryCase(
            "`#` before a host", "refused: a comment", glibc: "refused: a comment", freeBSD: "refused: a comment",
            netBSD: "refused: a name", openBSD: "refused: a comment", texts("#10.0.0.1\n")),
        LibraryCase(
            "a last line without newline", "trusted", glibc: "trusted", freeBSD: "refused: skipped",
            texts("10.0.0.1 alice")),
        LibraryCase(
            "CRLF", "trusted", glibc: "trusted", freeBSD: "refused: user `alice\\r`",
            openBSD: "refused: the file", texts("10.0.0.1 alice\r\n")),
        LibraryCase(
            "NUL after a good line", "refused: the file", glibc: "trusted: cut there",
            freeBSD: "refused: the next line too", openBSD: "refused: the file",
            texts("10.0.0.1 alice\u{0}\n")),
        LibraryCase(
            "`+host`", "refused: the file", glibc: "refused: a name", freeBSD: "trusted", texts("+10.0.0.1\n")),
        LibraryCase(
            "`host +user`", "refused: the file", glibc: "refused: a name", freeBSD: "trusted",
            texts("10.0.0.1 +alice\n")),
        LibraryCase(
            "a bare `-`, then `+ +`", "refused: the file", glibc: "trusted", freeBSD: "refused",
            texts("-\n+ +\n")),
        LibraryCase(
            "`-host` in hosts.equiv, `.rhosts` trusts", "refused: final", glibc: "trusted", freeBSD: "trusted",
            texts(line, equiv: "-10.0.0.1\n")),
        LibraryCase(
            "`host -user` in hosts.equiv, `.rhosts` trusts", "refused: final", glibc: "trusted",
            freeBSD: "trusted", texts(line, equiv: "10.0.0.1 -alice\n")),
        LibraryCase(
            "`+@NetGroup`", "refused: the file", glibc: "refused: never matches",
            freeBSD: "refused: never matches", texts("+@NetGroup\n" + line.replacing("10.0.0.1", with: "10.0.0.2"))),
        LibraryCase(
            "`+@net` that has the host", "refused: the file", glibc: "refused: compared with `-`",
            freeBSD: "trusted: by an unproven name", netBSD: "trusted: by a proven name", texts("+@net\n")),
        LibraryCase("`012.0.0.1`", "refused: the file", glibc: "10.0.0.1", freeBSD: "10.0.0.1", texts("012.0.0.1\n")),
        LibraryCase("`10.1`", "refused: the file", glibc: "10.0.0.1", freeBSD: "10.0.0.1", texts("10.1\n")),
        LibraryCase(
            "`0x0a000001`", "refused: the file", glibc: "10.0.0.1", freeBSD: "10.0.0.1", texts("0x0a000001\n")),
        LibraryCase(
            "`167772161`", "refused: the file", glibc: "10.0.0.1", freeBSD: "10.0.0.1", texts("167772161\n")),
        LibraryCase(
            "a v4-mapped peer, an IPv4 line", "trusted", glibc: "refused", freeBSD: "trusted",
            netBSD: "not applicable",
            request(line, from: "::ffff:10.0.0.1")),
        LibraryCase(
            "a v4-mapped line", "refused: the file", glibc: "trusted", freeBSD: "not known", netBSD: "not applicable",
            texts("::ffff:10.0.0.1\n")),
        LibraryCase(
            "`fe80::1%eth0`, from there", "trusted", glibc: "refused: scope lost", freeBSD: "trusted",
            request("fe80::1%eth0\n", from: "fe80::1", scope: 2)),
        LibraryCase(
            "`fe80::1%eth0`, from another interface", "refused", glibc: "refused", freeBSD: "refused",
            request("fe80::1%eth0\n", from: "fe80::1", scope: 3)),
        LibraryCase(
            "an unknown address family", "refused: cannot be asked", glibc: "trusted, with no file at all",
            freeBSD: "refused", netBSD: "not known"
        ) { _ in
            // An address is IPv4 or IPv6 by its type: what is neither never becomes one.
            IPAddress("x25:1") != nil
        },
        LibraryCase(
            "an empty remote user, `host +`", "refused", glibc: "trusted", freeBSD: "trusted",
            request("10.0.0.1 +\n", by: "")),
        LibraryCase(
            "`host Alice` for alice", "refused", glibc: "refused", freeBSD: "refused", texts("10.0.0.1 Alice\n")),
        LibraryCase(
            "`BUILD`, with `names hosts-file`", "trusted", glibc: "trusted", freeBSD: "trusted"
        ) { home in
            try home.write("\(home.root)/hosts", "10.0.0.1 build\n", mode: 0o644, uid: 0)
            try home.write(home.rhosts, "BUILD\n")
            return try await home.verdict(names: .hostsFile).isTrusted
        },
        LibraryCase(
            "`hostA alice`, `-hostB mallory`: mallory at hostA", "refused", glibc: "refused",
            freeBSD: "trusted: state kept", netBSD: "refused",
            request("10.0.0.1 alice\n-10.0.0.2 mallory\n", by: "mallory")),
        LibraryCase(
            "`hostZ +`, `hostA -bob`: mallory at hostA", "refused: the file", glibc: "refused",
            freeBSD: "trusted: state kept", netBSD: "refused",
            request("10.0.0.9 +\n10.0.0.1 -bob\n", by: "mallory")),
        LibraryCase("`+`", "refused: the file", glibc: "trusted", freeBSD: "trusted", texts("+\n")),
        LibraryCase(
            "`NO_PLUS`, then a good line", "refused: the file", glibc: "trusted: a name", freeBSD: "trusted: a name",
            texts("NO_PLUS\n" + line)),
    ]
}
