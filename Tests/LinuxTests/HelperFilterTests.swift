// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Seccomp
import Testing

/// The filters that front, engine and auditor load, compiled as they compile them, and tried from within.
@Suite struct `A helper's filter` {
    /// A helper by its name: its list, and whether it makes threads.
    static func calls(_ name: String) -> (list: [String], threads: Bool) {
        switch name {
        case "front": (HelperCalls.front, true)
        case "engine": (HelperCalls.engine, false)
        default: (HelperCalls.auditor, false)
        }
    }

    static func filter(_ name: String) throws -> [UInt8] {
        let (list, threads) = calls(name)
        return try SystemCallFilter.helper(allowing: list, threads: threads)
    }

    private static let sigsys = SystemCallTrial.Outcome.killed(31)

    /// Files, network, processes, privileges, other processes and the machine: what a helper that was taken over would
    /// want, each as a call that fails of itself, if at all, without harm.
    private static let wanted: [(String, [SystemCallTrial.Argument])] = [
        ("socket", [2, 1, 0]), ("socket", [1, 1, 0]), ("socket", [16, 3, 0]), ("connect", [-1, 0, 0]),
        ("bind", [-1, 0, 0]),
        ("fork", []), ("vfork", []), ("execve", [0, 0, 0]), ("execveat", [-1, 0, 0, 0, 0]), ("kill", [0, 0]),
        ("pidfd_open", [1, 0]), ("pidfd_send_signal", [-1, 0, 0, 0]), ("ptrace", [-1, 0, 0, 0]),
        ("process_vm_readv", [1, 0, 0, 0, 0, 0]), ("setuid", [0]), ("setresuid", [0, 0, 0]), ("setgid", [0]),
        ("setgroups", [0, 0]), ("capset", [0, 0]), ("mount", [0, 0, 0, 0, 0]), ("umount2", ["", 0]), ("chroot", [""]),
        ("unshare", [0]), ("setns", [-1, 0]), ("io_uring_setup", [0, 0]), ("bpf", [-1, 0, 0]),
        ("perf_event_open", [0, 0, 0, 0, 0]), ("keyctl", [-1, 0, 0, 0, 0]), ("userfaultfd", [0]), ("acct", [""]),
        ("init_module", [0, 0, 0]), ("shmget", [0, 0, 0]), ("msgctl", [-1, 0, 0]),
        ("personality", [0]), ("setrlimit", [-1, 0]), ("chmod", ["", 0]), ("chown", ["", 0, 0]), ("symlink", ["", ""]),
        ("link", ["", ""]), ("mknod", ["", 0, 0]), ("chdir", [""]),
    ]
    private static let files: [(String, [SystemCallTrial.Argument])] = [
        ("open", ["", 0]), ("openat", [-100, "", 0]), ("stat", ["", 0]), ("unlink", [""]), ("rename", ["", ""]),
        ("mkdirat", [-100, "", 0]), ("readlink", ["", 0, 0]),
    ]

    /// Without the filter none of these ends a process: it is the filter that does.
    @Test func theTriedCallsEndNobodyWithoutIt() throws {
        for (name, arguments) in Self.wanted + Self.files {
            guard let call = SystemCallFilter.number(of: name), name != "vfork" else { continue }
            let outcome = try SystemCallTrial().call(call, arguments)
            #expect(outcome != Self.sigsys, "\(name)")
        }
    }

    @Test(arguments: ["front", "engine", "auditor"])
    func endsAHelperThatTriesMore(name: String) throws {
        let filter = try Self.filter(name)
        let tried = Self.wanted + (name == "auditor" ? [] : Self.files)
        for (call, arguments) in tried {
            guard let number = SystemCallFilter.number(of: call) else { continue }
            #expect(try SystemCallTrial(filter: filter).call(number, arguments) == Self.sigsys, "\(name): \(call)")
        }
        // The control: what each has to do works.
        #expect(try SystemCallTrial(filter: filter).call(try number("getpid")) != Self.sigsys)
    }

    /// Call by call, as the filter's program reads: nothing on the list ends it, and nothing else is let through. (What
    /// is held to its arguments, as clone is, and newer than what is known is an error instead.)
    @Test(arguments: ["front", "engine", "auditor"])
    func allowsItsListAndNothingElse(name: String) throws {
        let (list, _) = Self.calls(name)
        let program = SandboxProgram(try Self.filter(name))
        let allowed = Set(list.compactMap(SystemCallFilter.number))
        for candidate in UInt32(0)...1_100 {
            let verdict = program.verdict(candidate)
            if allowed.contains(candidate) {
                #expect(verdict != .kill, "call \(candidate)")
            } else {
                let isError = [SandboxProgram.eperm, SandboxProgram.enosys].contains(verdict)
                #expect(verdict == .kill || isError, "call \(candidate)")
            }
        }
    }

    /// What Landlock leaves of files and addresses, with the filter aside: nothing below any path, no TCP.
    @Test func landlockRefusesFilesByItself() throws {
        let ruleset = try LandlockRuleset(network: .tcpConnect([]))
        let trial = SystemCallTrial(ruleset: ruleset)
        #expect(try trial.call(try number("openat"), [-100, "/etc/passwd", 0]) == .failed(13))
        #expect(try trial.call(try number("openat"), [-100, "/", 0x1_0000]) == .failed(13))
        #expect(try trial.call(try number("mkdirat"), [-100, "/tmp/portcullis-never", 0o700]) == .failed(13))
    }
}
