// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Seccomp
import Testing

@testable import Linux

/// What the kernel does under a ruleset, and does not without it.
@Suite(.enabled(if: Landlock.version() > 0, "this kernel has no Landlock"))
struct `Under a ruleset` {
    static let eacces = SystemCallTrial.Outcome.failed(13)

    let place: SandboxPlace
    let ruleset: LandlockRuleset

    init() throws {
        place = try SandboxPlace()
        for name in ["readable", "writable", "executable", "closed"] {
            try place.directory(name)
            // No program at all: execve says ENOEXEC where it may, and the trial can go on to tell.
            try place.file(name + "/file", "\u{1}\u{2}", mode: 0o755)
        }
        ruleset = try LandlockRuleset(network: .tcpConnect([]))
        #expect(try ruleset.allow(.reading, at: place.bytes("readable")) == .added)
        #expect(try ruleset.allow(.writing, at: place.bytes("writable")) == .added)
        #expect(try ruleset.allow(.executing, at: place.bytes("executable")) == .added)
    }

    private func text(_ name: String) -> SystemCallTrial.Argument {
        .text(place.at(name))
    }

    /// Tries a call outside and under the ruleset.
    private func compare(
        _ name: String, _ arguments: [SystemCallTrial.Argument]
    ) throws -> (free: SystemCallTrial.Outcome, held: SystemCallTrial.Outcome) {
        let call = try number(name)
        // Under the ruleset first: without it the call may change what it works on.
        let held = try SystemCallTrial(ruleset: ruleset).call(call, arguments)
        return (try SystemCallTrial().call(call, arguments), held)
    }

    private func expectRefused(_ name: String, _ arguments: [SystemCallTrial.Argument], _ comment: Comment) throws {
        let (free, held) = try compare(name, arguments)
        #expect(held == Self.eacces, comment)
        #expect(free != Self.eacces, "without the ruleset: \(comment)")
    }

    private func expectWorks(_ name: String, _ arguments: [SystemCallTrial.Argument], _ comment: Comment) throws {
        guard case .returned = try compare(name, arguments).held else {
            Issue.record(comment)
            return
        }
    }

    private static let cwd: SystemCallTrial.Argument = -100

    @Test func readingIsWhereItIsAllowed() throws {
        for name in ["readable", "writable", "executable"] {
            try expectWorks("openat", [Self.cwd, text(name + "/file"), 0, 0], "read in \(name)")
            try expectWorks("openat", [Self.cwd, text(name), 0o200000, 0], "list \(name)")
        }
        try expectRefused("openat", [Self.cwd, text("closed/file"), 0, 0], "read in closed")
        try expectRefused("openat", [Self.cwd, text("closed"), 0o200000, 0], "list closed")
        try expectRefused("openat", [Self.cwd, "/etc/passwd", 0, 0], "read /etc/passwd")
    }

    @Test func writingIsWhereItIsAllowed() throws {
        try expectWorks("openat", [Self.cwd, text("writable/file"), 1, 0], "write in writable")
        try expectWorks("openat", [Self.cwd, text("writable/new"), 0o101, 0o600], "make in writable")
        try expectWorks("mkdirat", [Self.cwd, text("writable/directory"), 0o700], "mkdir in writable")
        for name in ["readable", "executable", "closed"] {
            try expectRefused("openat", [Self.cwd, text(name + "/file"), 1, 0], "write in \(name)")
            try expectRefused("openat", [Self.cwd, text(name + "/new"), 0o101, 0o600], "make in \(name)")
            try expectRefused("mkdirat", [Self.cwd, text(name + "/directory"), 0o700], "mkdir in \(name)")
            try expectRefused("symlinkat", ["x", Self.cwd, text(name + "/link")], "link in \(name)")
            try expectRefused("unlinkat", [Self.cwd, text(name + "/new"), 0], "unlink in \(name)")
            if ruleset.version >= 3 { try expectRefused("truncate", [text(name + "/file"), 1], "truncate in \(name)") }
        }
    }

    @Test func nothingIsMovedOut() throws {
        try place.file("writable/moved")
        let arguments = [Self.cwd, text("writable/moved"), Self.cwd, text("readable/moved"), 0]
        let (free, held) = try compare("renameat2", arguments)
        // EACCES where the other directory may not be written, EXDEV where rights would be gained.
        #expect(held == Self.eacces || held == .failed(18))
        #expect(free == .returned(0))
    }

    @Test func executingIsWhereItIsAllowed() throws {
        let arguments: [SystemCallTrial.Argument] = [text("executable/file"), 0, 0]
        #expect(try compare("execve", arguments).held == .failed(8))
        for name in ["readable", "writable", "closed"] {
            try expectRefused("execve", [text(name + "/file"), 0, 0], "execute in \(name)")
        }
    }

    @Test(.enabled(if: geteuidIsRoot(), "making devices needs root"))
    func noDeviceIsMadeEvenWhereWritingIsAllowed() throws {
        try expectRefused("mknodat", [Self.cwd, text("writable/null"), 0o020666, 0x103], "make a character device")
        try expectRefused("mknodat", [Self.cwd, text("writable/disk"), 0o060666, 0x700], "make a block device")
    }

    @Test(.enabled(if: Landlock.version() >= Landlock.networkVersion, "TCP needs Landlock 4"))
    func tcpIsForThePortsNamed() throws {
        let tcp = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let descriptor = Descriptor(owning: tcp)
        // sockaddr_in, 127.0.0.1, ports that nobody listens on.
        func address(_ port: UInt16) -> SystemCallTrial.Argument {
            .bytes([2, 0, UInt8(port >> 8), UInt8(port & 0xFF), 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        let number: SystemCallTrial.Argument = .number(UInt64(descriptor.number))
        try expectRefused("connect", [number, address(1), 16], "connect")
        try expectRefused("bind", [number, address(0), 16], "bind")
        let some = try LandlockRuleset(network: .tcpConnect([1]))
        #expect(
            try SystemCallTrial(ruleset: some).call(try self.number("connect"), [number, address(1), 16]) != Self.eacces
        )
        #expect(
            try SystemCallTrial(ruleset: some).call(try self.number("connect"), [number, address(2), 16]) == Self.eacces
        )
        #expect(
            try SystemCallTrial(ruleset: some).call(try self.number("bind"), [number, address(0), 16]) == Self.eacces)
        let open = try LandlockRuleset(network: .open)
        #expect(
            try SystemCallTrial(ruleset: open).call(try self.number("connect"), [number, address(2), 16]) != Self.eacces
        )
    }

    private func number(_ name: String) throws -> UInt32 { try LinuxTests.number(name) }

    @Test(.enabled(if: Landlock.version() >= Landlock.scopeVersion, "scopes need Landlock 6"))
    func noSignalLeaves() throws {
        let arguments: [SystemCallTrial.Argument] = [.number(UInt64(getpid())), 0]
        let (free, held) = try compare("kill", arguments)
        #expect(free == .returned(0))
        #expect(held == .failed(1))
    }

    @Test(.enabled(if: Landlock.version() >= Landlock.scopeVersion, "scopes need Landlock 6"))
    func noAbstractSocketOfOthersIsReached() throws {
        let listener = Descriptor(owning: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        let client = Descriptor(owning: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        let name = [UInt8(1), 0, 0] + Array("portcullis-test-\(getpid())".utf8)
        // The child shares the socket: what it binds is bound.
        try perform("bind", [.number(UInt64(listener.number)), .bytes(name), .number(UInt64(name.count))])
        try #require(listen(listener.number, 1) == 0)
        let arguments: [SystemCallTrial.Argument] = [
            .number(UInt64(client.number)), .bytes(name), .number(UInt64(name.count)),
        ]
        #expect(try compare("connect", arguments).held == .failed(1))
        let other = Descriptor(owning: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        let again: [SystemCallTrial.Argument] = [
            .number(UInt64(other.number)), .bytes(name), .number(UInt64(name.count)),
        ]
        let open = try LandlockRuleset(network: .open)
        #expect(try SystemCallTrial(ruleset: open).call(try number("connect"), again) == .returned(0))
    }

    @Test func whatDoesNotExistIsLeftOut() throws {
        #expect(try ruleset.allow(.reading, at: place.bytes("nothing/here")) == .missing(ENOENT))
        #expect(try ruleset.allow(.reading, at: place.bytes("readable/file/x")) == .missing(ENOTDIR))
        #expect(throws: ConfinementError.self) { try ruleset.allow(.reading, at: "relative") }
        #expect(throws: ConfinementError.self) { try ruleset.allow(.reading, at: "/etc\u{0}/x") }
    }

    /// The home is the target's own: a link planted there in one session must not open the machine to the next.
    @Test func aLinkThatLeadsOutOfTheHomeIsLeftOut() throws {
        try place.directory("home/inside")
        try place.file("home/inside/file")
        try place.link("home/out", to: place.at("closed"))
        try place.link("home/up", to: "../closed")
        try place.link("home/root", to: "/")
        try place.link("home/good", to: "inside")
        var sandbox = Sandbox(name: "s")
        sandbox.write = ["/out", "/up", "/root", "/.."].map { .home($0) }
        sandbox.read = [.home("/good")]
        let places = try SandboxPlaces(sandbox, home: place.bytes("home"), uid: getuid(), closed: [])
        #expect(places.entries.map(\.name) == [place.bytes("home/good")])
        for entry in places.entries { try ruleset.allow(entry.rights, below: #require(entry.place)) }
        try expectRefused("openat", [Self.cwd, text("closed/file"), 0, 0], "read through a planted link")
        try expectWorks("openat", [Self.cwd, text("home/inside/file"), 0, 0], "read through a link that stays")
    }

    @Test func aRuleForAFileTakesWhatAFileCanHave() throws {
        try place.file("single")
        #expect(try ruleset.allow(.writing, at: place.bytes("single")) == .added)
        try expectWorks("openat", [Self.cwd, text("single"), 2, 0], "write one file")
    }

    @Test func aKernelWithLessIsRefusedNotWeakened() throws {
        #expect(throws: ConfinementError(.landlock, EOPNOTSUPP)) {
            try LandlockRuleset(network: .open, required: Landlock.version() + 1)
        }
        #expect(throws: ConfinementError(.landlock, EOPNOTSUPP)) {
            try LandlockRuleset(network: .tcpConnect([443]), limit: 3)
        }
        for version in 1...min(Landlock.version(), 7) {
            let old = try LandlockRuleset(network: .tcpConnect([]), limit: version)
            #expect(old.version == version)
            let held = try SystemCallTrial(ruleset: old).call(
                try number("openat"), [Self.cwd, text("closed/file"), 0, 0])
            #expect(held == Self.eacces, "at ABI \(version)")
        }
    }

    @Test func sandboxesKnowWhatTheyNeed() throws {
        let me = try Credentials.current()
        func isRefused(_ sandbox: Sandbox) -> Bool {
            let compiled = CompiledSandbox(sandbox: sandbox, filter: [6, 0, 0, 0, 0, 0, 0xFF, 0x7F])
            return failure { try CommandConfinement(compiled, credentials: me, home: "/") }
                == ConfinementError(.landlock, EOPNOTSUPP)
        }
        var sandbox = Sandbox(name: "s")
        sandbox.requiredLandlock = Landlock.version()
        #expect(!isRefused(sandbox))
        sandbox.requiredLandlock = Landlock.version() + 1
        #expect(isRefused(sandbox))
        sandbox.isConfined = false
        #expect(isRefused(sandbox))
    }

    /// As a plain user nothing else keeps signals within, and truncate(2) and ioctl(2) from what is only read.
    @Test func lessThanAPlainUserNeedsIsSaidInWords() {
        var sandbox = Sandbox(name: "s")
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: true) == 1)
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: false) == Landlock.scopeVersion)
        sandbox.requiredLandlock = 2
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: false) == 2)
        sandbox.network = .tcpConnect([80])
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: false) == Landlock.networkVersion)
        sandbox.requiredLandlock = 0
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: true) == Landlock.networkVersion)
        sandbox.isConfined = false
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: false) == 0)
        sandbox.requiredLandlock = 7
        #expect(Confinement.requiredLandlock(sandbox, hasMounts: true) == 7)
    }
}
