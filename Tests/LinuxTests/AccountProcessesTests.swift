// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux
import TestSupport
import Testing

/// Which processes run as an account, and their end.
@Suite(.enabled(if: geteuidIsRoot(), "needs root")) struct AccountProcessesTests {
    /// An account of nobody's, and of no other test's.
    private static func uid(_ number: UInt32) -> UInt32 { 900_000_000 + UInt32(getpid()) * 8 + number }

    private static func spawn(as uid: UInt32, _ script: String) throws -> pid_t {
        try spawnProgram(
            "/usr/bin/setpriv",
            ["--reuid=\(uid)", "--regid=\(uid)", "--clear-groups", "--", "/bin/sh", "-c", script])
    }

    @Test func allOfAnAccountAreSeenAndEndedAndNobodyElses() throws {
        let (mine, other) = (Self.uid(0), Self.uid(1))
        #expect(try AccountProcesses.ids(of: mine).isEmpty)
        let first = try Self.spawn(as: mine, "sleep 600 & sleep 600 & wait")
        let bystander = try Self.spawn(as: other, "exec sleep 600")
        defer {
            kill(bystander, SIGKILL)
            Children.reap(bystander)
        }
        while try AccountProcesses.ids(of: mine).count < 3 { usleep(10_000) }
        while try AccountProcesses.ids(of: other) != [bystander] { usleep(10_000) }
        #expect(try AccountProcesses.ids(of: mine).contains(first))
        // What has ended runs nothing, though nobody has waited for it.
        #expect(try AccountProcesses.end(of: mine))
        #expect(try AccountProcesses.ids(of: mine).isEmpty)
        Children.reap(first)
        #expect(try AccountProcesses.ids(of: other) == [bystander])
    }

    /// Where processes that run for certain are not seen, nobody knows what else is hidden.
    @Test func aHostThatHidesProcessesSaysNothing() throws {
        #expect(throws: SystemError(EACCES, "/proc")) {
            _ = try AccountProcesses.ids(of: Self.uid(2), besides: [Self.uid(3)])
        }
        #expect(try AccountProcesses.ids(of: Self.uid(2), besides: [0, Self.uid(3)]).isEmpty)
    }

    /// It is gone whenever it is looked at, and its child is in no list yet.
    @Test func whatForksAndEndsInTurnIsNotMissed() throws {
        let mine = Self.uid(4)
        let stop = "/tmp/portcullis-test-\(getpid())-stop"
        defer { try? File.remove(stop) }
        let script = "exec perl -e 'for (1..500000) { last if -e $ARGV[0]; exit if fork }' \(stop)"
        // It has forked when it has ended.
        let first = try Self.spawn(as: mine, script)
        Children.reap(first)
        for _ in 0..<20 {
            do throws(SystemError) {
                #expect(try !AccountProcesses.ids(of: mine).isEmpty)
            } catch {
                #expect(error.code == EAGAIN, "\(error)")
            }
        }
        try File.open(stop, [.writing, .creating, .exclusive]).writeAll([])
        while (try? AccountProcesses.ids(of: mine).isEmpty) != true { usleep(10_000) }
    }

    @Test(arguments: [0, 1, 999] as [UInt32]) func nothingOfTheSystemsIsEnded(uid: UInt32) throws {
        #expect(try !AccountProcesses.end(of: uid))
    }
}
