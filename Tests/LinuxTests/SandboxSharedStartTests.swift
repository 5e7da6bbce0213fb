// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Testing

@testable import Linux

/// A process that has its parent's memory until it executes a program.
@Suite struct `A start with shared memory` {
    /// What the tests' processes write, to be seen by the other one.
    private final class Board {
        var text = ""
    }

    @Test func theParentStandsStillUntilTheProgramRuns() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let board = Board()
                let gate = try Descriptor.pipe()
                // Opens the gate later, from a process of its own.
                guard case .parent(let opener) = try Linux.Process.fork() else {
                    usleep(50_000)
                    try gate.write.writeAll([1])
                    Linux.Process.exitNow(0)
                }
                let pid = try Linux.Process.startSharing {
                    board.text += "started "
                    _ = try? gate.read.read(1)
                    board.text += "opened"
                    becomeShell("exit 5")
                }
                // The memory is one: what it wrote is here, and all of it, because nobody else ran meanwhile.
                promise(1, board.text == "started opened")
                promise(2, try ended(pid) == .exited(5))
                promise(3, try ended(opener) == .exited(0))
            }
        }
    }

    /// Ids, limits, directory, signals and descriptors are a process's, not its memory's.
    @Test func nothingButMemoryIsShared() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                try Linux.Process.changeDirectory(Array("/usr".utf8))
                let limit = try ResourceLimits.current(.files)
                let kept = try Descriptor.pipe()
                let pid = try Linux.Process.startSharing {
                    try? Linux.Process.changeDirectory(Array("/".utf8))
                    Linux.Process.setUmask(0o077)
                    _ = try? ResourceLimits.lower(.files, to: 16, grace: 0)
                    try? NoNewPrivileges.promise()
                    Descriptor.closeAll(from: 3)
                    Linux.Process.exitNow(4)
                }
                promise(1, try ended(pid) == .exited(4))
                promise(2, try File.linkTarget("/proc/self/cwd") == "/usr")
                promise(3, Linux.Process.umask != 0o077)
                promise(4, try ResourceLimits.current(.files) == limit)
                promise(5, try !NoNewPrivileges.isPromised())
                try kept.write.writeAll([1])
                promise(6, try kept.read.read(1) == [1])
            }
        }
    }

    /// One that could not execute has ended between two steps, and its parent has to say so.
    @Test func aProgramThatDoesNotExistEndsTheChildAlone() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let pid = try Linux.Process.startSharing {
                    let failure = Linux.Process.execute(Array("/nonexistent".utf8), arguments: [], environment: [])
                    Linux.Process.exitNow(failure.isNotFound ? 127 : 1)
                }
                promise(1, try ended(pid) == .exited(127))
            }
        }
    }

    /// One that was killed may have left the memory in the middle of anything: nobody goes on with it.
    @Test func whoeverIsKilledBeforeTheProgramTakesItsParentAlong() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                guard case .parent(let parent) = try Linux.Process.fork() else {
                    _ = try Linux.Process.startSharing {
                        kill(getpid(), SIGKILL)
                        Linux.Process.exitNow(0)
                    }
                    Linux.Process.exitNow(3)
                }
                promise(1, try ended(parent) == .exited(125))
            }
        }
    }

    /// A program that is killed has memory of its own.
    @Test func aProgramThatIsKilledDoesNot() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let pid = try Linux.Process.startSharing { becomeShell("kill -9 $$") }
                promise(1, try ended(pid) == .signalled(UInt8(SIGKILL)))
            }
        }
    }
}
