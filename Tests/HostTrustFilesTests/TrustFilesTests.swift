// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import HostTrustFiles
import Linux
import TestSupport
import Testing
import Trust

/// A directory of root's below /tmp with a home in it that belongs to an account of no name.
final class TestHome {
    static let uid: UInt32 = 61_101
    static let gid: UInt32 = 61_102

    let root: String
    var home: String { "\(root)/home" }
    var rhosts: String { "\(home)/.rhosts" }

    init() throws {
        root = "/tmp/portcullis-test-\(Process.id)-\(UInt32.random(in: .min ... .max))"
        try File.makeDirectory(root, mode: 0o755)
        try File.setMode(root, 0o755)
        try File.makeDirectory(home, mode: 0o700)
        try File.setOwner(try File.open(home, [.directory]), uid: Self.uid, gid: Self.gid)
    }

    deinit { Directory.removeTree(root) }

    /// Writes a file and gives it away.
    func write(_ path: String, _ text: String, mode: UInt32 = 0o600, uid: UInt32 = uid) throws {
        let file = try File.open(path, [.writing, .creating, .truncating, .noFollow])
        try file.writeAll(Array(text.utf8))
        try File.setOwner(file, uid: uid, gid: uid == 0 ? 0 : Self.gid)
        try File.setMode(file, mode)
    }

    /// Runs a program of the system's with paths.
    func run(_ program: String, _ arguments: [String]) throws {
        #expect(try runProgram(program, arguments) == .exited(0))
    }

    /// What the files decide for alice at 10.0.0.1, who wants to be alice.
    func verdict(
        names: ServiceSettings.Names = .refuse, equiv: String? = nil, hosts: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> TrustVerdict {
        let result = await #expect(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent], sourceLocation: sourceLocation
        ) {
            [root = root as String, names = names.rawValue as UInt8, equiv = equiv as String?, hosts = hosts as String?]
            in
            let names = try #require(ServiceSettings.Names(rawValue: names))
            let verdict = try TestHome.verdict(below: root, names: names, equiv: equiv, hosts: hosts)
            try StandardStreams.output.writeAll(Array(verdict.said.utf8))
        }
        let answer = try #require(result, sourceLocation: sourceLocation).standardOutputContent
        return try TrustVerdict(said: String(decoding: answer, as: UTF8.self))
    }

    /// The same within an exit test: in a process of its own, because the C library changes the ids of all threads.
    static func verdict(
        below root: String, names: ServiceSettings.Names = .refuse, equiv: String? = nil, hosts: String? = nil
    ) throws -> TrustVerdict {
        let alice = try #require(UserName("alice"))
        let claim = HostTrust.Claim(
            peer: Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 1_023), remoteUser: alice, localUser: alice,
            isSuperuser: false, permitNamesRoot: false)
        let files = TrustFiles(
            names: names, hostsEquiv: ByteText(equiv ?? "\(root)/hosts.equiv"),
            hostsFile: ByteText(hosts ?? "\(root)/hosts"))
        let answer = try inChild {
            let verdict = files.verdict(
                claim, home: ByteText("\(root)/home"), credentials: Credentials(uid: uid, gid: gid, groups: [gid]))
            return verdict.said
        }
        return try TrustVerdict(said: answer)
    }
}

/// A verdict as a forked child says it.
extension TrustVerdict {
    struct NotSaid: Error { var text: String }

    var said: String { (isTrusted ? "+" : "-") + detail }

    /// Anything but what `said` says is no refusal, but a child that did not judge.
    init(said text: String) throws {
        guard let first = text.first, first == "+" || first == "-" else { throw NotSaid(text: text) }
        self.init(isTrusted: first == "+", detail: String(text.dropFirst()))
    }
}

@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it gives files away")) struct TrustFilesTests {
    private static let line = "10.0.0.1 alice\n"

    @Test(arguments: [UInt32(0o600), 0o400, 0o644, 0o4600])
    func aFileOfTheTargetsAloneTrusts(mode: UInt32) async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: mode)
        let verdict = try await home.verdict()
        #expect(verdict.isTrusted, "\(verdict.detail)")
        #expect(verdict.detail == ".rhosts:1")
    }

    @Test func aFileOfRootsThatTheTargetCanReadTrusts() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644, uid: 0)
        #expect(try await home.verdict().isTrusted)
    }

    /// The file is opened with the target's rights: what the target cannot read it does not decide.
    @Test func aFileThatTheTargetCannotReadIsRejected() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o600, uid: 0)
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("rejected"), "\(verdict.detail)")
    }

    @Test(arguments: [UInt32(0o620), 0o602, 0o664, 0o666])
    func aFileThatOthersCanWriteIsRejected(mode: UInt32) async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: mode)
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("writable by group or others"), "\(verdict.detail)")
    }

    @Test func aFileOfSomebodyElsesIsRejected() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644, uid: 61_103)
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("belongs to uid 61103"), "\(verdict.detail)")
    }

    @Test(arguments: ["symbolic", "hard", "fifo", "directory", "device"])
    func whatIsNoPlainFileIsRejectedAndNotWaitedFor(kind: String) async throws {
        let home = try TestHome()
        let other = "\(home.home)/other"
        try home.write(other, Self.line)
        switch kind {
        case "symbolic": try home.run("/usr/bin/ln", ["-s", other, home.rhosts])
        case "hard": try home.run("/usr/bin/ln", [other, home.rhosts])
        case "fifo": try home.run("/usr/bin/mkfifo", [home.rhosts])
        case "device": try home.run("/usr/bin/mknod", [home.rhosts, "c", "1", "3"])
        default: try home.run("/usr/bin/mkdir", [home.rhosts])
        }
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("rejected"), "\(verdict.detail)")
    }

    @Test func aFileOver64KiBIsRejected() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line + String(repeating: "#\n", count: 32_768))
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("too many"), "\(verdict.detail)")
    }

    @Test(arguments: [UInt32(0o777), 0o770, 0o720])
    func aHomeThatOthersCanWriteRejectsTheFile(mode: UInt32) async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setMode(home.home, mode)
        let verdict = try await home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("writable by group or others"), "\(verdict.detail)")
    }

    @Test func aHomeOfSomebodyElsesRejectsTheFile() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644)
        try File.setMode(home.home, 0o755)
        try File.setOwner(try File.open(home.home, [.directory]), uid: 61_103, gid: 0)
        #expect(try await !home.verdict().isTrusted)
    }

    /// In a sticky directory of root's nobody but its owner can put another home in a home's place.
    @Test func aHomeInAStickyDirectoryIsItsOwners() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setMode(home.root, 0o1777)
        #expect(try await home.verdict().isTrusted)
        try File.setMode(home.root, 0o777)
        #expect(try await !home.verdict().isTrusted)
    }

    @Test func aStickyDirectoryOfRootsIsNobodysHome() async throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setOwner(try File.open(home.home, [.directory]), uid: 0, gid: 0)
        try File.setMode(home.home, 0o1777)
        #expect(try await !home.verdict().isTrusted)
        try File.setMode(home.home, 0o755)
        #expect(try await home.verdict().isTrusted)
    }

    @Test func noFileIsNoRejection() async throws {
        let home = try TestHome()
        #expect(try await home.verdict().detail == "no hosts.equiv; no .rhosts")
    }

    @Test func aVetoOfEitherFileIsFinal() async throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts.equiv", "-10.0.0.1\n", mode: 0o644, uid: 0)
        try home.write(home.rhosts, Self.line)
        #expect(try await home.verdict().detail == "denied by hosts.equiv:1")
    }

    @Test func hostsEquivIsRootsAlone() async throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts.equiv", Self.line, mode: 0o644, uid: 0)
        #expect(try await home.verdict().isTrusted)
        try home.write("\(home.root)/hosts.equiv", Self.line, mode: 0o644)
        #expect(try await !home.verdict().isTrusted)
        // Vetoes of a rejected file do not count either.
        try home.write("\(home.root)/hosts.equiv", "-10.0.0.1\n", mode: 0o664, uid: 0)
        try home.write(home.rhosts, Self.line)
        #expect(try await home.verdict().isTrusted)
    }

    @Test func namesComeFromTheHostsFileWhereThePolicySaysSo() async throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts", "10.0.0.1 build.example.org build\n", mode: 0o644, uid: 0)
        try home.write(home.rhosts, "BUILD alice\n")
        #expect(try await home.verdict(names: .hostsFile).isTrusted)
        #expect(try await !home.verdict(names: .refuse).isTrusted)
        // A hosts file that cannot be read resolves nothing: a negative name denies then.
        try home.write(home.rhosts, "-elsewhere\n10.0.0.1\n")
        #expect(try await home.verdict(names: .hostsFile).detail == "denied by .rhosts:1")
        #expect(
            try await home.verdict(names: .hostsFile, hosts: "/nonexistent").detail
                == "denied by .rhosts:1; no /nonexistent")
    }

    @Test func theCentralFileIsHeldToHostsEquivsChecks() throws {
        let home = try TestHome()
        let alice = try #require(UserName("alice"))
        let claim = HostTrust.Claim(
            peer: Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 1_023), remoteUser: alice, localUser: alice,
            isSuperuser: false, permitNamesRoot: false)
        let path = "\(home.root)/rhosts"
        let files = TrustFiles(names: .refuse)
        try home.write(path, "10.0.0.1 alice alice\n", mode: 0o644, uid: 0)
        #expect(files.verdict(claim, central: ByteText(path)).isTrusted)
        try home.write(path, "10.0.0.1 alice alice\n", mode: 0o646, uid: 0)
        #expect(!files.verdict(claim, central: ByteText(path)).isTrusted)
        try home.write(path, "10.0.0.1 alice alice\n", mode: 0o644)
        #expect(!files.verdict(claim, central: ByteText(path)).isTrusted)
        for path in ["relative", "/", "/nonexistent/x", ""] {
            #expect(!files.verdict(claim, central: ByteText(path)).isTrusted)
        }
    }

    /// The file is swapped between checks and reading again and again: what is read is what was checked.
    @Test func aFileThatIsSwappedMeanwhileNeverTrustsByTheOther() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let home = try TestHome()
            let evil = "\(home.home)/evil"
            try home.write(evil, TrustFilesTests.line, mode: 0o666)
            let swapper = try ForkedChild {
                for _ in 0..<20_000 {
                    try? home.write(home.rhosts, "10.0.0.9\n")
                    try? File.rename(evil, to: home.rhosts)
                    try? home.write(evil, TrustFilesTests.line, mode: 0o666)
                }
                return ""
            }
            for _ in 0..<500 {
                let verdict = try TestHome.verdict(below: home.root)
                try #require(!verdict.isTrusted, "\(verdict.detail)")
            }
            withExtendedLifetime(home) { swapper.kill() }
        }
    }
}
