// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Linux
import Seccomp
import Testing

/// An empty home of the session's own over the target's, as a guest has it.
@Suite(.enabled(if: geteuidIsRoot(), "needs root")) struct `A private home` {
    /// A way of root's: below /tmp, a sticky directory, a session sees its own /tmp.
    private static func place() throws -> SandboxPlace {
        let place = try SandboxPlace(in: "/run")
        try place.directory("home", mode: 0o755, owner: nobody)
        try place.file("home/before", owner: nobody)
        return place
    }

    @Test(arguments: [true, false]) func isEmptyAndItsAccountsAloneAndGoneWithTheSession(written: Bool) async throws {
        let place = try Self.place()
        let path = place.path
        await #expect(processExitsWith: .exitCode(0)) { [path = path as String, written = written as Bool] in
            alone {
                var sandbox = Sandbox(name: "s")
                sandbox.read = [.home("")]
                if written { sandbox.write = [.home("")] }
                let home = path + "/home"
                let target = Credentials(uid: nobody, gid: nobody, groups: [])
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                let confinement = try CommandConfinement(
                    compiled, credentials: target, home: ByteText(home), hasPrivateHome: true)
                let empty = try EmptyMounts.make()
                switch try Namespaces.session.fork() {
                case .child:
                    let rules = try confinement.mount(in: empty)
                    try confinement.drop()
                    try confinement.restrict(rules)
                    let status = try File.status(home)
                    promise(1, status.mode & 0o7777 == 0o700 && status.uid == nobody && status.gid == nobody)
                    promise(2, try Directory.names(home).isEmpty)
                    let made = try? File.open(home + "/new", [.writing, .creating])
                    promise(3, (made != nil) == written)
                    promise(4, !written || (try? Directory.names(home)) == ["new"])
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    promise(5, try ended(handle.pid) == .exited(7))
                    promise(6, try Directory.names(home) == ["before"])
                    promise(7, try File.status(home).mode & 0o7777 == 0o755)
                }
            }
        }
        _ = place
    }

    /// Root lays it over nothing but the account's own directory, where nobody else can put another in its place.
    @Test(arguments: ["writable", "roots", "link", "missing", "file", "sticky/home", "open/home"])
    func isRefusedOverWhatIsNotTheAccountsOwn(name: String) async throws {
        let place = try Self.place()
        try place.directory("writable", mode: 0o777, owner: nobody)
        try place.directory("roots")
        try place.link("link", to: "/usr")
        try place.file("file", owner: nobody)
        try place.directory("open", mode: 0o777)
        try place.directory("open/home", owner: nobody)
        try place.directory("sticky", mode: 0o1777)
        try place.directory("sticky/home", owner: nobody)
        let path = place.path + "/" + name
        await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
            alone {
                let sandbox = Sandbox(name: "s")
                let target = Credentials(uid: nobody, gid: nobody, groups: [])
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                let confinement = try CommandConfinement(
                    compiled, credentials: target, home: ByteText(path), hasPrivateHome: true)
                let empty = try EmptyMounts.make()
                switch try Namespaces.session.fork() {
                case .child:
                    // An entry of a sticky directory is its owner's: nobody else can put another in its place.
                    let error = failure { try confinement.mount(in: empty) }
                    promise(1, error?.step == (path.hasSuffix("sticky/home") ? nil : .mounts))
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    promise(2, try ended(handle.pid) == .exited(7))
                }
            }
        }
        _ = place
    }

    @Test func isNothingThatAnUnconfinedCommandHas() throws {
        var sandbox = Sandbox(name: "u")
        sandbox.isConfined = false
        let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
        let target = Credentials(uid: nobody, gid: nobody, groups: [])
        #expect(throws: ConfinementError(.mounts, EPERM)) {
            _ = try CommandConfinement(compiled, credentials: target, home: "/home/x", hasPrivateHome: true)
        }
    }
}
