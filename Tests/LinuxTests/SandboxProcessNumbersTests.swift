// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Seccomp
import Testing

@testable import Linux

/// The highest process number is the whole host's before Linux 6.14: it is touched on no such kernel.
@Suite struct `Process numbers` {
    @Test(arguments: [
        ("6.14.0", true), ("6.14", true), ("6.18.44-fc-v657", true), ("7.0.0-rc1", true), ("10.1", true),
        ("6.13.12", false), ("6.9.0", false), ("6.1.0-28-amd64", false), ("5.15.0", false), ("4.18.0-553.el8", false),
        ("6", false), ("", false), ("linux-6.18", false), ("v6.18", false),
    ]) func areANamespacesOwnFromLinux614On(release: String, expected: Bool) {
        #expect(ProcessNumbers.isNewEnough(release) == expected)
    }

    @Test(.enabled(if: geteuidIsRoot() && ProcessNumbers.canBeBounded(), "needs root and Linux 6.14"))
    func boundTheNamespaceAndLeaveTheHosts() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let before = try File.open("/proc/sys/kernel/pid_max", .reading).read(64)
                switch try Namespaces.session.fork() {
                case .child:
                    try Mounts.makePrivate()
                    try Mounts.processes()
                    try ProcessNumbers.bound(to: 3)
                    var made = 0
                    while made < 10, case .parent? = try? Linux.Process.fork() { made += 1 }
                    // A child ends the loop too.
                    if getpid() != 1 {
                        pause()
                    }
                    promise(1, made == 3)
                    promise(4, ProcessNumbers.areAllTaken(of: 3) && !ProcessNumbers.areAllTaken(of: 4))
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    promise(2, try ended(handle.pid) == .exited(7))
                    promise(3, try File.open("/proc/sys/kernel/pid_max", .reading).read(64) == before)
                }
            }
        }
    }

    /// What is not a new namespace's is not bounded: it could be the host's.
    @Test(.enabled(if: geteuidIsRoot() && ProcessNumbers.canBeBounded(), "needs root and Linux 6.14"))
    func areNotBoundedTwice() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                switch try Namespaces.session.fork() {
                case .child:
                    try Mounts.makePrivate()
                    try Mounts.processes()
                    try ProcessNumbers.bound(to: 30)
                    promise(1, failure { try ProcessNumbers.bound(to: 3_000) }?.step == .limits)
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    promise(2, try ended(handle.pid) == .exited(7))
                }
            }
        }
    }
}

/// The network in which nothing is.
@Suite(.enabled(if: geteuidIsRoot(), "namespaces are made by root alone")) struct `An empty network` {
    @Test func isJoinedAndTheMakerStaysWhereItWas() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let own = try File.linkTarget("/proc/self/ns/net")
                let network = try EmptyNetwork.make()
                promise(1, try File.linkTarget("/proc/self/ns/net") == own)
                switch try Namespaces([]).fork() {
                case .child:
                    try network.join()
                    promise(2, try File.linkTarget("/proc/self/ns/net") != own)
                    // Two lines of headings, and loopback, which every network has, and which is down: no address.
                    let table = try File.open("/proc/self/net/dev", .reading).read(4_096)
                    promise(3, table.split(separator: UInt8(ascii: "\n")).count == 3)
                    promise(5, try File.open("/proc/self/net/if_inet6", .reading).read(4_096).isEmpty)
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    promise(4, try ended(handle.pid) == .exited(7))
                }
            }
        }
    }
}
