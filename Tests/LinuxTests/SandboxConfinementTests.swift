// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Linux
import Policy
import Seccomp
import Testing

/// A sandbox in which a shell runs: system paths to read and execute, one directory to write, no network.
func shellSandbox(writing path: String) -> Sandbox {
    var sandbox = smallSandbox(adding: [
        "access", "arch_prctl", "chdir", "dup2", "dup3", "execve", "exit_group", "faccessat", "faccessat2", "getcwd",
        "getdents64", "getegid", "geteuid", "getgid", "getpgrp", "getppid", "getrandom", "getrlimit", "kill", "lstat",
        "madvise", "mkdir", "mkdirat", "mremap", "open", "pipe", "pread64", "prlimit64", "pwrite64", "readlink",
        "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "rseq", "sched_getaffinity",
        "rt_sigsuspend", "set_robust_list", "set_tid_address", "stat", "statfs", "statx", "symlinkat", "sysinfo",
        "tgkill", "umask",
        "unlink", "unlinkat", "waitid", "writev", "getuid", "fadvise64", "ftruncate", "truncate",
    ])
    sandbox.read = [.absolute("/proc"), .absolute("/etc/passwd"), .absolute("/dev/urandom")]
    sandbox.write = [.absolute("/dev/null"), .absolute(ByteText(path))]
    sandbox.execute = [
        .absolute("/usr"), .absolute("/bin"), .absolute("/lib"), .absolute("/lib64"),
        .absolute("/etc/ld.so.cache"),
    ]
    return sandbox
}

/// Runs shell text as commands of a sandbox, whole or with a part of the confinement left out.
enum CommandRig {
    /// Shell text that succeeds for anybody, and must fail confined. `$D` is a directory that all can write, `$W` the
    /// one that the sandbox opens, `$P` a process of the target's outside.
    static let refused: [String] =
        [
            // By the ruleset.
            "echo x > $D/file", "echo x >> $D/there", "mkdir $D/directory", "ln -s x $D/link", "rm $D/there",
            "mv $W/moved $D/moved", "cat $D/there", "ls $D", "cat /etc/group", "truncate -s 1 $D/there",
            "$W/program",
            // By the filter.
            "chmod 600 $W/there", "touch -d 2000-01-01 $W/there", "mkfifo $W/fifo", "chgrp $(id -g) $W/there",
            "perl -e 'socket(S,2,1,0) or exit 1'", "perl -e 'socket(S,1,1,0) or exit 1'",
            "perl -e 'use Socket; socketpair(A,B,AF_UNIX,SOCK_DGRAM,0) or exit 1'",
            // io_uring_setup with nothing to set up: EFAULT, EINVAL or ENOSYS where it may be called.
            "perl -e 'syscall(425,0,0); exit($!==38||$!==14||$!==22?0:1)'",
        ] + signalling

    /// By the ruleset, where it has scopes: what is run here has no namespaces.
    static let signalling = Landlock.version() >= Landlock.scopeVersion ? ["kill -0 $P"] : []

    /// Shell text that works confined.
    static let permitted: [String] = [
        "true", "cat /etc/passwd", "ls /usr/bin", "echo x > $W/new && cat $W/new && rm $W/new", "echo x > /dev/null",
        "echo a | cat | grep -q a", "test $(id -u) -ge 0", "(exit 3); test $? = 3", "sleep 0.01 & wait",
        "perl -e 'use Socket; socketpair(A,B,AF_UNIX,SOCK_STREAM,0) or exit 1'",
        "grep -q 'NoNewPrivs:.1' /proc/self/status", "grep -q 'CapPrm:.0000000000000000' /proc/self/status",
        // The bounding set is emptied by root alone.
        "grep -q 'CapBnd:.0000000000000000' /proc/self/status || ! $ROOT",
        "test $(ulimit -c) = 0", "perl -e 'kill 9, $$; ' & wait $!; test $? = 137",
    ]

    private static func place() throws -> SandboxPlace {
        let place = try SandboxPlace()
        for name in ["open", "writable"] {
            let owner = geteuidIsRoot() ? nobody : nil
            try place.directory(name, mode: 0o777, owner: owner)
            for file in ["there", "moved", "program"] where name != "open" || file == "there" {
                try place.file(name + "/" + file, "#!/bin/sh\ntrue\n", mode: 0o777, owner: owner)
            }
        }
        return place
    }

    /// Runs shell text in a child that becomes a command as a session's child does, and says whether it succeeded.
    ///
    /// - Parameter uid: the target; nil keeps the ids.
    static func run(
        _ script: String, in directory: String, as uid: UInt32?, outside: Int32, filtered: Bool, ruled: Bool
    ) throws -> Bool {
        guard case .parent(let child) = try Linux.Process.fork() else {
            var sandbox = shellSandbox(writing: directory + "/writable")
            sandbox.requiredLandlock = 1
            let wasRoot = geteuidIsRoot()
            let target = try uid.map { Credentials(uid: $0, gid: $0, groups: []) } ?? Credentials.current()
            let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
            let confinement = try CommandConfinement(
                compiled, credentials: target, home: "/nonexistent", hasMounts: false)
            _ = try confinement.limit()
            try confinement.drop()
            if ruled { try confinement.restrict(nil) } else { try NoNewPrivileges.promise() }
            if filtered { try confinement.load() }
            becomeShell(
                "exec >/dev/null 2>&1; D=\(directory)/open; W=\(directory)/writable; P=\(outside); ROOT=\(wasRoot); \(script)"
            )
        }
        return try ended(child) == .exited(0)
    }

    /// Starts a process of the target's that no confinement holds.
    static func startOutside(as uid: UInt32?) throws -> Int32 {
        guard case .parent(let child) = try Linux.Process.fork() else {
            if let uid { try Credentials(uid: uid, gid: uid, groups: []).drop() }
            becomeShell("exec sleep 600")
        }
        return child
    }

    static func check(_ rows: [String], expecting: Bool, filtered: Bool, ruled: Bool, uid: UInt32?) throws -> [String] {
        let outside = try startOutside(as: uid)
        defer {
            kill(outside, SIGKILL)
            Children.reap(outside)
        }
        return try rows.filter { row in
            let place = try place()
            defer { withExtendedLifetime(place) {} }
            return try run(
                row, in: place.path, as: uid, outside: outside, filtered: filtered, ruled: ruled) != expecting
        }
    }

    static var target: UInt32? { geteuidIsRoot() ? nobody : nil }

    /// Ends the exit test's process, with the rows that went wrong on its stderr.
    static func finish(_ wrong: [String]) -> Never {
        for row in wrong { StandardError("test").say("went wrong: \(row)") }
        Linux.Process.exitNow(wrong.isEmpty ? 0 : 1)
    }

}

/// What a command finds when it runs confined.
@Suite struct `A confined command` {
    @Test func isRefusedWhatItsSandboxDoesNotOpen() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                CommandRig.finish(
                    try CommandRig.check(
                        CommandRig.refused, expecting: false, filtered: true, ruled: true, uid: CommandRig.target))
            }
        }
    }

    /// Without filter and ruleset every row succeeds: each of them was refused by the confinement.
    @Test func isRefusedByTheConfinementAndNothingElse() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                CommandRig.finish(
                    try CommandRig.check(
                        CommandRig.refused, expecting: true, filtered: false, ruled: false, uid: CommandRig.target))
            }
        }
    }

    @Test func needsBothFilterAndRuleset() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let withoutFilter = try CommandRig.check(
                    CommandRig.refused, expecting: false, filtered: false, ruled: true, uid: CommandRig.target)
                let withoutRuleset = try CommandRig.check(
                    CommandRig.refused, expecting: false, filtered: true, ruled: false, uid: CommandRig.target)
                promise(1, withoutFilter.count >= 8)
                promise(2, withoutRuleset.count >= 11 + CommandRig.signalling.count)
                promise(3, Set(withoutFilter).isDisjoint(with: withoutRuleset))
            }
        }
    }

    @Test func canDoItsWork() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                CommandRig.finish(
                    try CommandRig.check(
                        CommandRig.permitted, expecting: true, filtered: true, ruled: true, uid: CommandRig.target))
            }
        }
    }

    /// Outside `unconfined` a command has no capability, even as uid 0, and its files are the sandbox's alone.
    @Test(.enabled(if: geteuidIsRoot(), "a command as root needs root"))
    func hasNoRightsOfRootsEvenAsRoot() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let rows = [
                    "cat /etc/shadow", "echo x > /etc/portcullis-test", "chown 1 $W/there", "mount -t tmpfs x /mnt",
                    "chroot / true", "echo x > /proc/sys/kernel/hostname", "nice -n -5 true 2>&1 | grep -vq denied",
                ]
                let wrong = try CommandRig.check(
                    Array(rows.dropLast()), expecting: false, filtered: true, ruled: true, uid: 0)
                let status = ["grep -q 'CapEff:.0000000000000000' /proc/self/status && test $(id -u) = 0"]
                CommandRig.finish(
                    wrong + (try CommandRig.check(status, expecting: true, filtered: true, ruled: true, uid: 0)))
            }
        }
    }

    /// Each call of the way to a command made to fail in turn: the step says so, and nothing runs.
    @Test(
        .enabled(if: geteuidIsRoot(), "the whole way is root's"),
        arguments: [
            ("prlimit64", .limits), ("prctl", .capabilities), ("capset", .capabilities), ("setgroups", .credentials),
            ("setresgid", .credentials), ("setresuid", .credentials), ("landlock_create_ruleset", .landlock),
            ("landlock_add_rule", .landlock), ("landlock_restrict_self", .landlock), ("seccomp", .filter),
        ] as [(String, ConfinementError.Step)])
    func doesNotStartWhereAStepFails(name: String, step: ConfinementError.Step) async {
        let raw = step.rawValue
        await #expect(processExitsWith: .exitCode(0)) { [name = name as String, raw = raw as UInt8] in
            alone {
                var sandbox = shellSandbox(writing: "/tmp")
                sandbox.requiredLandlock = 1
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                let target = Credentials(uid: nobody, gid: nobody, groups: [7])
                // A filter without the one call stands in for a kernel that refuses it.
                var without = Sandbox(name: "without")
                without.systemCalls = SystemCallGroups.knownSystemCalls.filter { $0 != name }
                let confinement = try CommandConfinement(
                    compiled, credentials: target, home: "/nonexistent", hasMounts: false)
                try NoNewPrivileges.promise()
                try SeccompProgram(bytes: try SystemCallFilter.compile(without)).load()
                let failed = failure {
                    _ = try confinement.limit()
                    try confinement.drop()
                    try confinement.restrict(nil)
                    try confinement.load()
                }
                promise(1, failed?.step.rawValue == raw)
            }
        }
    }

    /// What a name means is the target's to change between a check and its use: the object that was opened counts.
    @Test(.enabled(if: geteuidIsRoot(), "only root reads another account's places"))
    func doesNotWriteItsHomeByAnotherName() async throws {
        let place = try SandboxPlace(in: "/var/tmp")
        try place.directory("home", mode: 0o755, owner: nobody)
        try place.directory("elsewhere", mode: 0o755, owner: nobody)
        let path = place.path
        try FileManager.default.createSymbolicLink(atPath: path + "/other", withDestinationPath: "home")
        await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
            alone {
                let home = ByteText(path + "/home")
                let target = Credentials(uid: nobody, gid: nobody, groups: [])
                func step(writing place: String, sparing sparesHome: Bool) throws -> ConfinementError.Step? {
                    let sandbox = shellSandbox(writing: path + place)
                    let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                    let confinement = try CommandConfinement(
                        compiled, credentials: target, home: home, sparesHome: sparesHome)
                    let empty = try EmptyMounts.make()
                    try Namespaces.mounts.unshare()
                    return failure { try confinement.mount(in: empty) }?.step
                }
                promise(1, try step(writing: "/other", sparing: true) == .landlock)
                promise(2, try step(writing: "/home", sparing: true) == .landlock)
                promise(3, try step(writing: "", sparing: true) == .landlock)
                promise(4, try step(writing: "/elsewhere", sparing: true) == nil)
            }
        }
    }

    @Test func doesNotStartWhereItsSandboxCannotBeHad() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var sandbox = shellSandbox(writing: "/tmp")
                let filter = try SystemCallFilter.compile(sandbox)
                let me = try Credentials.current()
                let unfiltered = CompiledSandbox(sandbox: sandbox, filter: [])
                promise(1, (try? CommandConfinement(unfiltered, credentials: me, home: "/")) == nil)
                sandbox.requiredLandlock = Landlock.version() + 1
                let compiled = CompiledSandbox(sandbox: sandbox, filter: filter)
                let failure = failure { try CommandConfinement(compiled, credentials: me, home: "/") }
                promise(2, failure == ConfinementError(.landlock, EOPNOTSUPP))
            }
        }
    }
}

/// What is left of a helper.
@Suite struct `A helper` {
    @Test(.enabled(if: geteuidIsRoot(), "helpers drop their ids as root alone"))
    func hasItsOwnIdsAndNothingElse() async throws {
        let place = try SandboxPlace()
        try place.directory("own", owner: nobody)
        let path = place.path
        await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
            alone {
                let own = try File.open(path + "/own", .directory)
                // What the questions below take.
                let asking = ["getresuid", "getresgid", "getgroups", "setfsuid", "setfsgid", "setuid", "kill"]
                let filter = try SystemCallFilter.helper(
                    allowing: HelperCalls.runtime + HelperCalls.channels + HelperCalls.files + asking, threads: true,
                    onViolation: .errno)
                promise(1, (try? File.open("/etc/passwd", .reading)) != nil)
                try Confinement.enter(
                    uid: nobody, gid: nobody, directories: [(own, [.writing])], filter: filter)
                promise(2, try Credentials.current() == Credentials(uid: nobody, gid: nobody, groups: []))
                promise(3, (try? File.open("/etc/passwd", .reading)) == nil)
                promise(4, (try? File.open("/tmp", .directory)) == nil)
                promise(5, (try? File.open("trail", below: own, [.writing, .creating])) != nil)
                promise(6, Glibc.fork() == -1)
                promise(7, setuid(0) != 0 && kill(1, 0) != 0)
                promise(8, try NoNewPrivileges.isPromised())
            }
        }
        _ = place
    }

    @Test func confinesItselfAsAPlainUserToo() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                if geteuidIsRoot() { try Credentials(uid: nobody, gid: nobody, groups: []).drop() }
                let filter = try SystemCallFilter.helper(
                    allowing: HelperCalls.runtime + HelperCalls.files, onViolation: .errno)
                promise(1, (try? File.open("/etc/passwd", .reading)) != nil)
                try Confinement.enter(uid: nil, gid: nil, filter: filter)
                promise(2, (try? File.open("/etc/passwd", .reading)) == nil)
            }
        }
    }

    @Test func endsByAViolation() async {
        await #expect(processExitsWith: .signal(SIGSYS)) {
            alone {
                let filter = try SystemCallFilter.helper(allowing: HelperCalls.runtime + HelperCalls.channels)
                try Confinement.enter(uid: nil, gid: nil, filter: filter)
                _ = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            }
        }
    }

    /// The engine compiles filters after it has confined itself.
    @Test func compilesFiltersUnderItsOwn() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let filter = try SystemCallFilter.helper(allowing: HelperCalls.engine)
                try Confinement.enter(uid: nil, gid: nil, filter: filter)
                promise(1, try SystemCallFilter.compile(smallSandbox()).isEmpty == false)
            }
        }
    }

    @Test func doesNotRunWithAFilterThatIsNone() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                promise(1, (try? Confinement.enter(uid: nil, gid: nil, filter: [])) == nil)
                promise(2, (try? Confinement.enter(uid: 1, gid: nil, filter: [1, 2, 3])) == nil)
            }
        }
    }
}

/// Starts an init with a child in namespaces of their own, both with the writing end of a pipe.
func startTree() throws -> (ProcessHandle, Descriptor) {
    let (read, write) = try Descriptor.pipe()
    switch try Namespaces.session.fork() {
    case .child:
        if case .child = try Linux.Process.fork() {
            try write.writeAll([1])
        }
        while true { pause() }
    case .parent(let handle):
        return (handle, read)
    }
}

/// Namespaces of a session.
@Suite(.enabled(if: geteuidIsRoot(), "namespaces are made by root alone")) struct `A session's namespace` {
    @Test func hasProcessesAndTmpOfItsOwn() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let name = "/tmp/portcullis-namespace-\(getpid())"
                switch try Namespaces.session.fork() {
                case .child:
                    promise(1, getpid() == 1)
                    try Mounts.makePrivate()
                    try Mounts.temporary(options: "mode=1777,size=1048576,nr_inodes=16")
                    try Mounts.processes()
                    promise(2, try Directory.names("/tmp").isEmpty)
                    promise(3, (try? File.open(name, [.writing, .creating])) != nil)
                    promise(4, (try? File.open("/proc/2", .directory)) == nil)
                    promise(11, (try? File.open("/proc/1", .directory)) != nil)
                    // Nothing of a stranger's making: no device, no setuid.
                    let null: [SystemCallTrial.Argument] = [-100, "/tmp/null", 0o020666, 0x103]
                    promise(5, try SystemCallTrial().call(try number("mknodat"), null) == .returned(0))
                    promise(6, (try? File.open("/tmp/null", .reading)) == nil)
                    // No more than its size.
                    let large = try File.open("/tmp/large", [.writing, .creating])
                    promise(7, (try? large.writeAll([UInt8](repeating: 0, count: 2 << 20))) == nil)
                    Linux.Process.exitNow(7)
                case .parent(let handle):
                    var status: Linux.ExitStatus?
                    while status == nil {
                        status = handle.reap()
                        usleep(1_000)
                    }
                    promise(8, status == .exited(7))
                    promise(9, (try? File.open(name, .reading)) == nil)
                    promise(10, (try? File.open("/proc/\(getpid())", .directory)) != nil)
                    Linux.Process.exitNow(0)
                }
            }
        }
    }

    /// Landlock governs no modes, owners, times and attributes; read-only mounts do, without filter or ruleset.
    @Test func changesNoModesOutsideOfWhatItWrites() async throws {
        let place = try SandboxPlace(in: "/var/tmp")
        try place.directory("home", owner: nobody)
        try place.directory("home/sub", owner: nobody)
        try place.directory("elsewhere", owner: nobody)
        for name in ["home/file", "home/sub/file", "elsewhere/file"] { try place.file(name, owner: nobody) }
        // What a former session of the target's may have planted.
        try place.link("home/planted", to: place.at("elsewhere"))
        let path = place.path
        for mounted in [true, false] {
            await #expect(processExitsWith: .exitCode(0)) { [path = path as String, mounted = mounted as Bool] in
                alone {
                    var sandbox = Sandbox(name: "s")
                    sandbox.read = [.home("")]
                    sandbox.write = [.home("/sub"), .home("/planted"), .absolute("/tmp"), .absolute("/dev/null")]
                    let target = Credentials(uid: nobody, gid: nobody, groups: [])
                    let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
                    let confinement = try CommandConfinement(
                        compiled, credentials: target, home: ByteText(path + "/home"))
                    let empty = try EmptyMounts.make()
                    switch try Namespaces.session.fork() {
                    case .child:
                        if mounted { try confinement.mount(in: empty) } else { try Mounts.makePrivate() }
                        try confinement.drop()
                        func changes(_ name: String) throws -> SystemCallTrial.Outcome {
                            try SystemCallTrial().call(try number("fchmodat"), [-100, .text(path + name), 0o600])
                        }
                        let held = mounted ? SystemCallTrial.Outcome.failed(EROFS) : .returned(0)
                        promise(1, try changes("/home/file") == held)
                        // Not a name of it is there.
                        promise(2, try changes("/elsewhere/file") == (mounted ? .failed(ENOENT) : .returned(0)))
                        promise(3, try changes("/home/sub/file") == .returned(0))
                        promise(4, (try? File.open(path + "/home/sub/new", [.writing, .creating])) != nil)
                        promise(5, (try? File.open("/dev/null", .writing)) != nil)
                        promise(6, (try? File.open("/tmp/portcullis-new", [.writing, .creating])) != nil)
                        promise(7, !mounted || (try? Directory.names("/tmp").count) == 1)
                        if !mounted { try File.remove("/tmp/portcullis-new") }
                        Linux.Process.exitNow(7)
                    case .parent(let handle):
                        promise(8, try ended(handle.pid) == .exited(7))
                        // The host's own mounts are as they were.
                        promise(9, (try? File.open(path + "/new", [.writing, .creating])) != nil)
                    }
                }
            }
        }
        _ = place
    }

    @Test func endsWithItsInit() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let (handle, read) = try startTree()
                promise(1, try read.read(1) == [1])
                handle.signal(SIGKILL)
                promise(2, try ended(handle.pid) == .signalled(UInt8(SIGKILL)))
                // The end of the pipe: nobody in the namespace holds its other side any more.
                promise(3, try read.read(1).isEmpty)
            }
        }
    }

    @Test func failsForAPlainUserAndForksNothing() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                try Credentials(uid: nobody, gid: nobody, groups: []).drop()
                promise(1, failure { try Namespaces.session.fork() } == ConfinementError(.namespaces, EPERM))
                promise(3, (try? Mounts.makePrivate()) == nil)
            }
        }
    }
}
