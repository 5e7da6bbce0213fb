// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import HostTrustFiles
import Linux
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
        switch try Process.fork() {
        case .child:
            _ = Process.execute(
                Array(program.utf8), arguments: ([program] + arguments).map { Array($0.utf8) }, environment: [])
            Process.exitNow(127)
        case .parent(let pid):
            Children.reap(pid)
        }
    }

    /// What the files decide for alice at 10.0.0.1, who wants to be alice.
    func verdict(
        names: ServiceSettings.Names = .refuse, equiv: String? = nil, hosts: String? = nil
    ) throws -> TrustVerdict {
        let alice = try #require(UserName("alice"))
        let claim = HostTrust.Claim(
            peer: Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 1_023), remoteUser: alice, localUser: alice,
            isSuperuser: false, permitNamesRoot: false)
        let files = TrustFiles(
            names: names, hostsEquiv: ByteText(equiv ?? "\(root)/hosts.equiv"),
            hostsFile: ByteText(hosts ?? "\(root)/hosts"))
        // In a process of its own: the C library changes the ids of all threads, other tests' too.
        let (read, write) = try Descriptor.pipe()
        switch try Process.fork() {
        case .child:
            let verdict = files.verdict(
                claim, home: ByteText(home),
                credentials: Credentials(uid: Self.uid, gid: Self.gid, groups: [Self.gid]))
            try? write.writeAll([verdict.isTrusted ? 1 : 0] + Array(verdict.detail.utf8))
            Process.exitNow(0)
        case .parent(let pid):
            Children.reap(pid)
            let answer = try read.read(4_096)
            return TrustVerdict(
                isTrusted: answer.first == 1, detail: String(decoding: answer.dropFirst(), as: UTF8.self))
        }
    }
}

@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it gives files away")) struct TrustFilesTests {
    private static let line = "10.0.0.1 alice\n"

    @Test(arguments: [UInt32(0o600), 0o400, 0o644, 0o4600])
    func aFileOfTheTargetsAloneTrusts(mode: UInt32) throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: mode)
        let verdict = try home.verdict()
        #expect(verdict.isTrusted, "\(verdict.detail)")
        #expect(verdict.detail == ".rhosts:1")
    }

    @Test func aFileOfRootsThatTheTargetCanReadTrusts() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644, uid: 0)
        #expect(try home.verdict().isTrusted)
    }

    /// The file is opened with the target's rights: what the target cannot read it does not decide.
    @Test func aFileThatTheTargetCannotReadIsRejected() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o600, uid: 0)
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("rejected"), "\(verdict.detail)")
    }

    @Test(arguments: [UInt32(0o620), 0o602, 0o664, 0o666])
    func aFileThatOthersCanWriteIsRejected(mode: UInt32) throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: mode)
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("writable by group or others"), "\(verdict.detail)")
    }

    @Test func aFileOfSomebodyElsesIsRejected() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644, uid: 61_103)
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("belongs to uid 61103"), "\(verdict.detail)")
    }

    @Test(arguments: ["symbolic", "hard", "fifo", "directory", "device"])
    func whatIsNoPlainFileIsRejectedAndNotWaitedFor(kind: String) throws {
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
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("rejected"), "\(verdict.detail)")
    }

    @Test func aFileOver64KiBIsRejected() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line + String(repeating: "#\n", count: 32_768))
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("too many"), "\(verdict.detail)")
    }

    @Test(arguments: [UInt32(0o777), 0o770, 0o720])
    func aHomeThatOthersCanWriteRejectsTheFile(mode: UInt32) throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setMode(home.home, mode)
        let verdict = try home.verdict()
        #expect(!verdict.isTrusted)
        #expect(verdict.detail.contains("writable by group or others"), "\(verdict.detail)")
    }

    @Test func aHomeOfSomebodyElsesRejectsTheFile() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line, mode: 0o644)
        try File.setMode(home.home, 0o755)
        try File.setOwner(try File.open(home.home, [.directory]), uid: 61_103, gid: 0)
        #expect(try !home.verdict().isTrusted)
    }

    /// In a sticky directory of root's nobody but its owner can put another home in a home's place.
    @Test func aHomeInAStickyDirectoryIsItsOwners() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setMode(home.root, 0o1777)
        #expect(try home.verdict().isTrusted)
        try File.setMode(home.root, 0o777)
        #expect(try !home.verdict().isTrusted)
    }

    @Test func aStickyDirectoryOfRootsIsNobodysHome() throws {
        let home = try TestHome()
        try home.write(home.rhosts, Self.line)
        try File.setOwner(try File.open(home.home, [.directory]), uid: 0, gid: 0)
        try File.setMode(home.home, 0o1777)
        #expect(try !home.verdict().isTrusted)
        try File.setMode(home.home, 0o755)
        #expect(try home.verdict().isTrusted)
    }

    @Test func noFileIsNoRejection() throws {
        let home = try TestHome()
        #expect(try home.verdict().detail == "no hosts.equiv; no .rhosts")
    }

    @Test func aVetoOfEitherFileIsFinal() throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts.equiv", "-10.0.0.1\n", mode: 0o644, uid: 0)
        try home.write(home.rhosts, Self.line)
        #expect(try home.verdict().detail == "denied by hosts.equiv:1")
    }

    @Test func hostsEquivIsRootsAlone() throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts.equiv", Self.line, mode: 0o644, uid: 0)
        #expect(try home.verdict().isTrusted)
        try home.write("\(home.root)/hosts.equiv", Self.line, mode: 0o644)
        #expect(try !home.verdict().isTrusted)
        // Vetoes of a rejected file do not count either.
        try home.write("\(home.root)/hosts.equiv", "-10.0.0.1\n", mode: 0o664, uid: 0)
        try home.write(home.rhosts, Self.line)
        #expect(try home.verdict().isTrusted)
    }

    @Test func namesComeFromTheHostsFileWhereThePolicySaysSo() throws {
        let home = try TestHome()
        try home.write("\(home.root)/hosts", "10.0.0.1 build.example.org build\n", mode: 0o644, uid: 0)
        try home.write(home.rhosts, "BUILD alice\n")
        #expect(try home.verdict(names: .hostsFile).isTrusted)
        #expect(try !home.verdict(names: .refuse).isTrusted)
        // A hosts file that cannot be read resolves nothing: a negative name denies then.
        try home.write(home.rhosts, "-elsewhere\n10.0.0.1\n")
        #expect(try home.verdict(names: .hostsFile).detail == "denied by .rhosts:1")
        #expect(
            try home.verdict(names: .hostsFile, hosts: "/nonexistent").detail
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
    @Test func aFileThatIsSwappedMeanwhileNeverTrustsByTheOther() throws {
        let home = try TestHome()
        let evil = "\(home.home)/evil"
        try home.write(evil, Self.line, mode: 0o666)
        let swapper: Int32
        switch try Process.fork() {
        case .child:
            for _ in 0..<20_000 {
                try? home.write(home.rhosts, "10.0.0.9\n")
                try? File.rename(evil, to: home.rhosts)
                try? home.write(evil, Self.line, mode: 0o666)
            }
            Process.exitNow(0)
        case .parent(let pid): swapper = pid
        }
        for _ in 0..<500 { #expect(try !home.verdict().isTrusted) }
        Process.signal(swapper, Signals.Number.kill)
        Children.reap(swapper)
    }
}
