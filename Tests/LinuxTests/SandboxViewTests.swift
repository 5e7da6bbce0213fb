// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Linux
import Seccomp
import Testing

/// A session in its view, as root's gateway makes it; what it finds is said in an exit test.
enum ViewRig {
    /// Runs `look` as the target in a session's view, in namespaces of its own, before Landlock and the filter: what is
    /// not to be had there is not there.
    static func see(
        _ sandbox: Sandbox, home: String, as uid: UInt32 = nobody, before: () throws -> Void = {},
        while host: (Descriptor) throws -> Void = { _ in }, _ look: (Descriptor) throws -> Void
    ) throws {
        let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
        let confinement = try CommandConfinement(
            compiled, credentials: Credentials(uid: uid, gid: uid, groups: []), home: ByteText(home))
        let empty = try EmptyMounts.make()
        let (ready, told) = try Descriptor.pipe()
        let (gate, go) = try Descriptor.pipe()
        try before()
        switch try confinement.namespaces.fork() {
        case .child:
            try confinement.mount(in: empty)
            try confinement.drop()
            try told.writeAll([1])
            try look(gate)
            Linux.Process.exitNow(7)
        case .parent(let handle):
            promise(101, try ready.read(1) == [1])
            try host(go)
            _ = try? go.writeAll([1])
            promise(102, try ended(handle.pid) == .exited(7))
        }
    }

    /// Mounts something as mount(2) does; false where it cannot be.
    static func mount(_ source: String, _ target: String, _ flags: UInt, type: String? = nil) -> Bool {
        // SAFETY: all strings are C strings for the call.
        unsafe Glibc.mount(source, target, type, flags, nil) == 0
    }

    /// Makes a directory a mount of the host's, with flags, in a mount namespace of this process's own.
    static func makeMount(_ path: String, _ flags: UInt) throws {
        try Namespaces.mounts.unshare()
        try Mounts.makePrivate()
        promise(103, mount(path, path, 4_096 /* MS_BIND */))
        promise(104, mount("none", path, flags))
    }

    static func isThere(_ path: String) -> Bool { (try? File.linkStatus(path)) != nil }
    static func text(_ path: String) -> String? {
        (try? File.open(path, .reading).read(64)).map { String(decoding: $0, as: UTF8.self) }
    }
    static func names(_ path: String) -> [String]? { (try? Directory.names(path))?.compactMap(\.text) }
    static func changes(_ path: String) throws -> SystemCallTrial.Outcome {
        try SystemCallTrial().call(try number("fchmodat"), [-100, .text(path), 0o700])
    }

    static func place(owner: UInt32 = nobody) throws -> SandboxPlace {
        let place = try SandboxPlace(in: "/var/tmp")
        for name in [
            "home", "listed", "listed/sub", "listed/deep", "listed/deep/er", "target/deep", "target/beside", "other",
        ] {
            try place.directory(name, owner: owner)
        }
        for name in ["home/own", "listed/file", "listed/sub/file", "target/deep/file", "one", "other/file"] {
            try place.file(name, name, owner: owner)
        }
        try place.link("way", to: "target")
        try place.link("absolute", to: place.at("way/deep"))
        try place.link("listed/out", to: place.at("one"))
        try place.link("listed/dangling", to: place.at("other"))
        return place
    }
}

@Suite(.enabled(if: geteuidIsRoot(), "a session has a view as root alone")) struct `A session's view` {
    @Test(arguments: [nobody, 0]) func hasTheListedPathsAndTheHomeAndNothingElse(uid: UInt32) async throws {
        let place = try ViewRig.place(owner: uid)
        await #expect(processExitsWith: .exitCode(0)) { [path = place.path as String, uid = uid as UInt32] in
            alone {
                var sandbox = Sandbox(name: "s")
                sandbox.read = [
                    .absolute(ByteText(path + "/listed")), .absolute(ByteText(path + "/way/deep")),
                    .absolute(ByteText(path + "/absolute/file")), .absolute(ByteText(path + "/missing")),
                ]
                sandbox.execute = [.absolute(ByteText(path + "/one")), .absolute("/usr"), .absolute("/bin")]
                sandbox.write = [.absolute("/tmp"), .absolute(ByteText(path + "/listed/sub"))]
                let beside = ViewRig.names("/") ?? []
                try ViewRig.see(sandbox, home: path + "/home", as: uid) { _ in
                    let isLink = (try? File.linkTarget("/bin")) != nil
                    promise(1, beside.count > 8 && ViewRig.names("/") == ["bin", "dev", "proc", "tmp", "usr", "var"])
                    promise(2, !isLink || ViewRig.isThere("/bin/sh"))
                    promise(3, ViewRig.names("/var") == ["tmp"])
                    let name = path.split(separator: "/").last.map(String.init) ?? ""
                    promise(4, ViewRig.names("/var/tmp") == [name])
                    promise(5, ViewRig.names(path) == ["absolute", "home", "listed", "one", "target", "way"])
                    promise(6, ViewRig.names(path + "/target") == ["deep"])
                    // By the name that the policy wrote, and by that which links lead to.
                    promise(7, ViewRig.text(path + "/way/deep/file") == "target/deep/file")
                    promise(8, ViewRig.text(path + "/target/deep/file") == "target/deep/file")
                    promise(9, ViewRig.text(path + "/absolute/file") == "target/deep/file")
                    promise(10, ViewRig.text(path + "/one") == "one" && ViewRig.text(path + "/listed/out") == "one")
                    promise(11, ViewRig.text(path + "/home/own") == "home/own")
                    promise(12, !ViewRig.isThere(path + "/other") && !ViewRig.isThere("/etc"))
                    promise(13, !ViewRig.isThere(path + "/listed/dangling/file"))
                    // What it writes is written, and nothing else; setuid root's neither.
                    promise(14, try ViewRig.changes(path + "/listed/sub/file") == .returned(0))
                    promise(15, (try? File.open(path + "/listed/sub/new", [.writing, .creating])) != nil)
                    for held in ["/listed/file", "/home/own", "/one", "/target/deep/file", "/listed", "/home", ""] {
                        promise(16, try ViewRig.changes(path + held) == .failed(EROFS))
                    }
                    promise(17, (try? File.makeDirectory("/new", mode: 0o700)) == nil)
                    promise(18, (try? File.makeDirectory("/var/new", mode: 0o700)) == nil)
                    // Up from the home, and by the kernel's links.
                    try Linux.Process.changeDirectory(Array((path + "/home").utf8))
                    promise(19, !ViewRig.isThere("../other") && ViewRig.isThere("../one"))
                    let up = String(repeating: "../", count: 30)
                    promise(
                        20, !ViewRig.isThere(up + "etc") && !ViewRig.isThere(up + "run") && ViewRig.isThere(up + "usr"))
                    promise(21, !ViewRig.isThere("/proc/self/root/etc") && !ViewRig.isThere("/proc/1/root/etc"))
                    promise(22, !ViewRig.isThere("/proc/self/cwd/../other"))
                    promise(23, File.resolved(Array(".".utf8)) == Array((path + "/home").utf8))
                    // Each descriptor that is a directory, and what is mounted.
                    for number in 0..<256 {
                        promise(24, !ViewRig.isThere("/proc/self/fd/\(number)/etc"))
                    }
                    let own = ["/dev", "/proc", "/tmp", "/usr", path]
                    let table = try File.open("/proc/self/mountinfo", .reading).readAll(limit: 1 << 20) ?? []
                    for line in String(decoding: table, as: UTF8.self).split(separator: "\n") {
                        let fields = line.split(separator: " ")
                        promise(25, fields[4] == "/" || own.contains { fields[4].hasPrefix($0) })
                        let options = fields[5].split(separator: ",")
                        promise(26, options.contains("nosuid"))
                        promise(27, options.contains("ro") == !(fields[4] == "/tmp" || fields[4].hasSuffix("/sub")))
                    }
                }
                // The host's own is as it was.
                promise(28, ViewRig.names("/") == beside)
            }
        }
        _ = place
    }

    /// A policy cannot name it, and it is no account's home.
    @Test func isNeverTheHostsTree() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var sandbox = Sandbox(name: "s")
                sandbox.read = [.absolute("/usr"), .home("")]
                sandbox.write = [.home("")]
                try ViewRig.see(sandbox, home: "/") { _ in
                    promise(1, ViewRig.names("/") == ["dev", "proc", "tmp", "usr"])
                    promise(2, (try? File.makeDirectory("/new", mode: 0o700)) == nil)
                }
                sandbox.read.append(.absolute("/"))
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                let confinement = try CommandConfinement(
                    compiled, credentials: Credentials(uid: nobody, gid: nobody, groups: []), home: "/nonexistent")
                let empty = try EmptyMounts.make()
                promise(3, failure { try confinement.mount(in: empty) } == ConfinementError(.landlock, ELOOP))
            }
        }
    }

    /// A home that is none, the root, or where the session has something of its own.
    @Test(arguments: ["/", "/nonexistent", "/dev", "/proc", "/tmp", "/tmp/below", "/usr", "/etc/passwd"])
    func isMadeWhateverTheHomeIs(home: String) async throws {
        await #expect(processExitsWith: .exitCode(0)) { [home = home as String] in
            alone {
                var sandbox = Sandbox(name: "s")
                sandbox.read = [.absolute("/usr")]
                try ViewRig.see(sandbox, home: home) { _ in
                    promise(1, ViewRig.isThere("/usr/bin/env") && !ViewRig.isThere("/var") && !ViewRig.isThere("/run"))
                    promise(2, ViewRig.isThere("/etc") == (home == "/etc/passwd"))
                    promise(3, home == "/nonexistent" || home == "/tmp/below" || ViewRig.isThere(home))
                    promise(4, ViewRig.names("/tmp") == [])
                }
            }
        }
    }

    /// What the target may not reach it does not see either, and what lies in what it writes is written.
    @Test func hasNoMoreThanTheTargetReaches() async throws {
        let place = try ViewRig.place()
        try place.directory("closed", mode: 0o700)
        try place.directory("closed/in", mode: 0o777)
        await #expect(processExitsWith: .exitCode(0)) { [path = place.path as String] in
            alone {
                var sandbox = Sandbox(name: "s")
                sandbox.read = [.absolute(ByteText(path + "/closed/in")), .absolute(ByteText(path + "/listed/sub"))]
                sandbox.write = [.absolute(ByteText(path + "/listed")), .absolute(ByteText(path + "/listed/deep/er"))]
                try ViewRig.see(sandbox, home: path + "/home") { _ in
                    promise(1, !ViewRig.isThere(path + "/closed"))
                    promise(2, try ViewRig.changes(path + "/listed/sub/file") == .returned(0))
                    // One mount: what lies in another is no border for names.
                    try File.rename(path + "/listed/file", to: path + "/listed/deep/er/moved")
                }
            }
        }
        _ = place
    }

    /// A host whose mounts are shared: what it mounts later arrives, and nothing of a session's arrives there.
    @Test func hearsOfTheHostsMountsAndTheHostNothingOfIts() async throws {
        let place = try ViewRig.place()
        await #expect(processExitsWith: .exitCode(0)) { [path = place.path as String] in
            alone {
                try ViewRig.makeMount(path + "/listed", 1 << 20 /* MS_SHARED */)
                func table() throws -> [UInt8]? {
                    try File.open("/proc/self/mountinfo", .reading).readAll(limit: 1 << 20)
                }
                let before = try table()
                var sandbox = Sandbox(name: "s")
                sandbox.read = [.absolute(ByteText(path + "/listed"))]
                sandbox.write = [.absolute(ByteText(path + "/listed/sub"))]
                try ViewRig.see(
                    sandbox, home: path + "/home",
                    while: { _ in
                        promise(3, try table() == before)
                        promise(4, ViewRig.mount("late", path + "/listed/deep", 0, type: "tmpfs"))
                        try File.makeDirectory(path + "/listed/deep/arrived", mode: 0o755)
                    }
                ) { gate in
                    _ = try gate.read(1)
                    promise(6, ViewRig.isThere(path + "/listed/deep/arrived"))
                }
            }
        }
        _ = place
    }

    /// What the host's mount does not permit no session does.
    @Test func keepsWhatTheHostsMountForbids() async throws {
        let place = try ViewRig.place()
        await #expect(processExitsWith: .exitCode(0)) { [path = place.path as String] in
            alone {
                // MS_BIND, and with MS_REMOUNT MS_RDONLY and MS_NOEXEC.
                try ViewRig.makeMount(path + "/listed", 4_096 | 1 | 8 | 32)
                var sandbox = Sandbox(name: "s")
                sandbox.write = [.absolute(ByteText(path + "/listed"))]
                try ViewRig.see(sandbox, home: path + "/home") { _ in
                    promise(3, try ViewRig.changes(path + "/listed/file") == .failed(EROFS))
                    let table = try File.open("/proc/self/mountinfo", .reading).readAll(limit: 1 << 20) ?? []
                    let lines = String(decoding: table, as: UTF8.self).split(separator: "\n")
                    promise(4, lines.contains { $0.contains(path + "/listed ro,nosuid,noexec") })
                }
            }
        }
        _ = place
    }

    /// A command that may write a directory can put a link where its sandbox names something below it, and so can an account
    /// on whose way a name lies: the next session must not follow it.
    @Test func isNotWidenedByALinkThatSomebodyPlanted() async throws {
        let place = try ViewRig.place()
        try place.link("listed/root", to: "/")
        try place.link("listed/etc", to: "/etc")
        try place.link("listed/within", to: "sub")
        try place.link("home/up", to: "..")
        try place.directory("home/out", owner: nobody)
        try place.link("home/out/up", to: "..")
        try place.link("theirs", to: "one")
        try place.link("state", to: "other")
        try place.link("whole", to: "/")
        await #expect(processExitsWith: .exitCode(0)) { [path = place.path as String] in
            alone {
                // SAFETY: the path is a C string for the call.
                promise(1, unsafe lchown(path + "/theirs", 1, 1) == 0)
                let target = Credentials(uid: nobody, gid: nobody, groups: [])
                let at = { (name: String) in Sandbox.Path.absolute(ByteText(path + "/" + name)) }
                func confinement(_ change: (inout Sandbox) -> Void) throws -> CommandConfinement {
                    var sandbox = Sandbox(name: "s")
                    // It is asked for by a plain user, too.
                    sandbox.requiredLandlock = 1
                    change(&sandbox)
                    return try CommandConfinement(
                        CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox)),
                        credentials: target, home: ByteText(path + "/home"),
                        closed: [ClosedDirectory(ByteText(path + "/other"))])
                }
                func refused() throws -> [CommandConfinement] {
                    [
                        try confinement { ($0.write, $0.execute) = ([at("listed")], [at("listed/root")]) },
                        try confinement { $0.write = [at("listed"), at("listed/etc")] },
                        try confinement { $0.write = [at("listed/etc"), at("listed")] },
                        try confinement { $0.write = [.home("/out"), .home("/out/up")] },
                        try confinement { $0.read = [at("theirs")] },
                        try confinement { $0.read = [at("state")] },
                        try confinement { $0.read = [at("state/file")] },
                        try confinement { $0.read = [at("whole")] },
                    ]
                }
                let within = { (sandbox: inout Sandbox) in
                    (sandbox.write, sandbox.execute) = ([at("listed")], [at("listed/within")])
                }
                let empty = try EmptyMounts.make()
                for (number, one) in try refused().enumerated() {
                    let found = failure { try one.mount(in: empty) }
                    promise(Int32(10 + number), found == ConfinementError(.landlock, ELOOP))
                }
                // And a plain user's, who has no view.
                try confinement(within).drop()
                for (number, one) in try refused().enumerated() {
                    let found = failure { try one.restrict() }
                    promise(Int32(20 + number), found == ConfinementError(.landlock, ELOOP))
                }
                promise(30, failure { try confinement(within).restrict() } == nil)
            }
        }
        _ = place
    }

    @Test func isNotToBeHadWithoutAnEmptyPlaceForIt() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let sandbox = Sandbox(name: "s")
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                let confinement = try CommandConfinement(
                    compiled, credentials: Credentials(uid: nobody, gid: nobody, groups: []), home: "/nonexistent")
                promise(1, failure { try confinement.mount(in: nil) } == ConfinementError(.mounts, EOPNOTSUPP))
                // Where nothing can be made, nothing is.
                try Credentials(uid: nobody, gid: nobody, groups: []).drop()
                promise(2, failure { try EmptyMounts.make() } == ConfinementError(.namespaces, EPERM))
            }
        }
    }
}
