// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import Seccomp
import Testing

/// Ends an exit test's process where a promise does not hold; 64 and its number are the status.
func promise(_ number: Int32, _ holds: Bool) {
    if !holds { Linux.Process.exitNow(number + 64) }
}

/// Runs an exit test's body in a forked child, which has one thread as a session has, and ends as the child ended.
///
/// In the test's own process the C library changes ids in all threads and stops where they disagree, and the thread
/// that others see may be gone.
func alone(_ body: () throws -> Void) -> Never {
    do {
        guard case .parent(let child) = try Linux.Process.fork() else {
            do {
                try body()
            } catch {
                StandardError("test").say("threw \(error)")
                Linux.Process.exitNow(63)
            }
            Linux.Process.exitNow(0)
        }
        switch try ended(child) {
        case .exited(let status): Linux.Process.exitNow(Int32(status))
        case .signalled(let signal):
            Signals.reset()
            kill(getpid(), Int32(signal))
            // Another thread may be the one that takes it.
            sleep(5)
        }
    } catch {
        StandardError("test").say("threw \(error)")
    }
    Linux.Process.exitNow(62)
}

/// Waits for a child.
func ended(_ child: Int32) throws -> Linux.ExitStatus {
    let handle = try ProcessHandle(pid: child)
    while true {
        if let status = handle.reap() { return status }
        usleep(1_000)
    }
}

/// The step of confinement that fails, or nil where none does.
func failure<Result>(_ body: () throws -> Result) -> ConfinementError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? ConfinementError
    }
}

/// Runs shell text in place of this process, and ends it with the shell's status.
func becomeShell(_ script: String) -> Never {
    // The test runner's threads block signals, and a shell that inherits that waits for its children in vain.
    Signals.reset()
    _ = Linux.Process.execute(
        Array("/usr/bin/sh".utf8), arguments: [Array("sh".utf8), Array("-c".utf8), Array(script.utf8)],
        environment: [Array("PATH=/usr/bin:/bin".utf8)])
    Linux.Process.exitNow(101)
}

/// Dropping and borrowing identities, and what is left of a process that did.
@Suite(.enabled(if: geteuidIsRoot(), "identities are changed by root alone")) struct `An identity` {
    @Test func aDropCannotBeUndone() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let target = Credentials(uid: nobody, gid: nobody, groups: [nobody, 7])
                try target.drop()
                promise(1, getuid() == nobody && geteuid() == nobody && getgid() == nobody && getegid() == nobody)
                promise(2, try Credentials.current() == Credentials(uid: nobody, gid: nobody, groups: [7, nobody]))
                promise(3, setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0 && setegid(0) != 0)
                promise(4, try CapabilitySets.current() == CapabilitySets(effective: 0, permitted: 0, inheritable: 0))
                promise(5, (try? File.open("/etc/shadow", .reading)) == nil)
                try target.verifyDropped()
            }
        }
    }

    /// The attempt to undo is what verifies a drop: with a capability left it succeeds, and that is an error.
    @Test func aDropThatCanBeUndoneIsFound() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let target = Credentials(uid: nobody, gid: nobody, groups: [])
                try target.drop(keepingCapabilities: true)
                // What KEEPCAPS kept is permitted, not effective: nobody can take it back into effect, so make it so.
                try CapabilitySets.current().makeEffective()
                promise(1, failure { try target.verifyDropped() } == ConfinementError(.verification, EPERM))
            }
        }
    }

    @Test func noIdOfAllOnesIsTaken() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                for target in [
                    Credentials(uid: .max, gid: 1, groups: []), Credentials(uid: 1, gid: .max, groups: []),
                ] {
                    promise(1, (try? target.drop()) == nil)
                    promise(2, (try? target.borrowed { 0 }) == nil)
                }
                promise(3, getuid() == 0 && geteuid() == 0 && getgid() == 0)
            }
        }
    }

    @Test func aDropToMoreGroupsThanThereCanBeFails() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let groups = (0..<70_000).map { UInt32($0) }
                promise(1, (try? Credentials(uid: nobody, gid: nobody, groups: groups).drop()) == nil)
            }
        }
    }

    @Test func aPlainUserDropsToItselfAlone() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                try Credentials(uid: nobody, gid: nobody, groups: []).drop()
                try Credentials(uid: nobody, gid: nobody, groups: []).drop()
                promise(1, (try? Credentials(uid: 1, gid: nobody, groups: []).drop()) == nil)
                promise(2, (try? Credentials(uid: nobody, gid: 1, groups: []).drop()) == nil)
                promise(3, (try? Credentials(uid: nobody, gid: nobody, groups: [1]).drop()) == nil)
                promise(4, (try? Credentials(uid: nobody, gid: nobody, groups: []).borrowed { 1 }) == 1)
                promise(5, (try? Credentials(uid: 0, gid: 0, groups: []).borrowed { 1 }) == nil)
            }
        }
    }

    @Test func aBorrowedIdentityReadsAsTheTargetAndIsGivenBack() async throws {
        let place = try SandboxPlace()
        try place.file("roots", "x", mode: 0o600)
        try place.file("theirs", "x", mode: 0o600, owner: nobody)
        let path = place.path
        await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
            alone {
                let before = try Credentials.current()
                let target = Credentials(uid: nobody, gid: nobody, groups: [nobody])
                let seen = try target.borrowed {
                    promise(1, getuid() == 0 && geteuid() == nobody && getegid() == nobody)
                    promise(2, (try? File.open(path + "/roots", .reading)) == nil)
                    promise(3, (try? File.open(path + "/theirs", .reading)) != nil)
                    return try Credentials.current()
                }
                promise(4, seen == target)
                promise(5, try Credentials.current() == before)
                promise(6, (try? File.open(path + "/roots", .reading)) != nil)
                // Given back where the body throws, too.
                promise(7, (try? target.borrowed { throw ConfinementError(.limits, 1) }) == nil)
                promise(8, try Credentials.current() == before && geteuid() == 0 && getegid() == 0)
                promise(9, try CapabilitySets.current().effective != 0)
            }
        }
        _ = place
    }

    /// With the real uid the target's, the target could signal and trace us; with the effective one alone it cannot.
    @Test func theTargetCanNeitherSignalNorTraceWhoBorrowsItsIdentity() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let kill = try number("kill")
                let ptrace = try number("ptrace")
                let me = SystemCallTrial.Argument.number(UInt64(getpid()))
                let theirs = SystemCallTrial(uid: nobody)
                // The child does the asking: the trial's process has to be root to become the target.
                let (ready, started) = try Descriptor.pipe()
                let (release, done) = try Descriptor.pipe()
                if case .parent = try Linux.Process.fork() {
                    try Credentials(uid: nobody, gid: nobody, groups: []).borrowed {
                        try started.writeAll([1])
                        promise(1, try release.read(1) == [2])
                    }
                    return
                }
                promise(2, try ready.read(1) == [1])
                promise(3, try theirs.call(kill, [me, 0]) == .failed(EPERM))
                promise(4, try theirs.call(ptrace, [16, me, 0, 0]) == .failed(EPERM))
                try done.writeAll([2])
            }
        }
        // The trial can tell: the target does signal a process that is its own.
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                try Credentials(uid: nobody, gid: nobody, groups: []).drop()
                let me = SystemCallTrial.Argument.number(UInt64(getpid()))
                promise(1, try SystemCallTrial().call(try number("kill"), [me, 0]) == .returned(0))
            }
        }
    }

    @Test func capabilitiesGoAndDoNotComeBack() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                try Capabilities.dropBounding()
                promise(1, try Capabilities.boundingHolds() == false)
                try Capabilities.drop()
                promise(2, try CapabilitySets.current() == CapabilitySets(effective: 0, permitted: 0, inheritable: 0))
                promise(3, getuid() == 0)
                // uid 0 gets nothing back at execve.
                becomeShell(
                    "grep -q 'CapPrm:.0000000000000000' /proc/self/status && ! chown 1 /proc/self/fd 2>/dev/null")
            }
        }
        // The probe can tell: without the drop, uid 0 has capabilities after execve.
        await #expect(processExitsWith: .exitCode(1)) {
            alone {
                becomeShell("grep -q 'CapPrm:.0000000000000000' /proc/self/status")
            }
        }
    }

    @Test func aHelperKeepsTheOneCapabilityThatItNeeds() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let audit: Set<Capability> = [.auditWrite]
                let had = try CapabilitySets.current().permitted & (1 << 29)
                try Capabilities.dropBounding(keeping: audit)
                try Credentials(uid: nobody, gid: nobody, groups: []).drop(keepingCapabilities: true)
                try Capabilities.drop(keeping: audit)
                promise(
                    1, try CapabilitySets.current() == CapabilitySets(effective: had, permitted: had, inheritable: 0))
                promise(2, try Capabilities.boundingHolds(moreThan: audit) == false)
                try Credentials(uid: nobody, gid: nobody, groups: []).verifyDropped()
            }
        }
    }
}

/// Resource limits are lowered and never raised.
@Suite struct `A limit` {
    @Test func isSetAndReadBack() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var limits = Sandbox.Limits()
                limits.cpu = 7
                limits.files = 33
                limits.fileSize = 4_096
                limits.processes = 5
                let shortfalls = try ResourceLimits.apply(limits)
                promise(1, shortfalls.isEmpty)
                promise(2, try ResourceLimits.current(.cpu) == (7, 8))
                promise(3, try ResourceLimits.current(.files) == (33, 33))
                promise(4, try ResourceLimits.current(.fileSize) == (4_096, 4_096))
                promise(5, try ResourceLimits.current(.processes) == (5, 5))
                promise(6, try ResourceLimits.current(.core) == (0, 0))
            }
        }
    }

    /// Where CAP_SYS_RESOURCE is missing a hard limit cannot be raised: what could not be had is said.
    @Test func thatCannotBeHadIsSaid() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var low = Sandbox.Limits()
                low.files = 64
                promise(1, try ResourceLimits.apply(low).isEmpty)
                var high = Sandbox.Limits()
                high.files = 4_096
                high.cpu = .max
                let shortfalls = try ResourceLimits.apply(high)
                promise(2, shortfalls == [ResourceLimits.Shortfall(resource: .files, asked: 4_096, had: 64)])
                promise(3, try ResourceLimits.current(.files) == (64, 64))
            }
        }
    }

    @Test func ofCPUTimeEndsByItsOwnSignal() async {
        await #expect(processExitsWith: .signal(SIGXCPU)) {
            alone {
                var limits = Sandbox.Limits()
                limits.cpu = 1
                try ResourceLimits.apply(limits)
                Signals.reset()
                while true {}
            }
        }
    }
}
