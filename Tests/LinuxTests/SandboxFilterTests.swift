// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy
import Seccomp
import TestSupport
import Testing

/// A confined sandbox with what a small command calls.
func smallSandbox(
    network: Sandbox.Network = .off, onViolation: Sandbox.OnViolation = .errno, adding names: [String] = []
) -> Sandbox {
    var sandbox = Sandbox(name: "small")
    sandbox.systemCalls =
        [
            "brk", "clock_gettime", "clone", "close", "dup", "fcntl", "fork", "fstat", "futex", "getpid", "getuid",
            "ioctl", "lseek", "mmap", "mprotect", "munmap", "newfstatat", "openat", "personality", "pipe2", "poll",
            "prctl", "recvfrom", "recvmsg", "rt_sigaction", "rt_sigprocmask", "sendmmsg", "sendmsg", "sendto",
            "shutdown", "socketpair", "uname", "vfork", "wait4",
        ] + names
    sandbox.network = network
    sandbox.onViolation = onViolation
    return sandbox
}

func number(_ name: String) throws -> UInt32 {
    try #require(SystemCallFilter.number(of: name), "\(name) has no number here")
}

/// What a compiled filter says, by a second reading of the program.
@Suite struct `A filter's program` {
    static let networks: [Sandbox.Network] = [.off, .tcpConnect([443]), .on]

    @Test(arguments: networks)
    func allowsItsListAndRefusesEveryOtherCall(network: Sandbox.Network) throws {
        let sandbox = smallSandbox(network: network)
        let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
        let allowed = Set(SystemCallFilter.allowedNames(sandbox).compactMap(SystemCallFilter.number))
        let clone3 = try number("clone3")
        // Arguments that every check passes: AF_UNIX or AF_INET, SOCK_STREAM, no flag, no address.
        for candidate in UInt32(0)...1_100 where candidate != clone3 {
            var arguments: [UInt64] = [0, 0, 0, 0, 0, 0]
            if candidate == (try number("socket")) { arguments = [2, 1, 6, 0, 0, 0] }
            if candidate == (try number("socketpair")) { arguments = [1, 1, 0, 0, 0, 0] }
            let verdict = program.verdict(candidate, arguments)
            if allowed.contains(candidate) {
                #expect(verdict == .allow, "call \(candidate)")
            } else {
                #expect(verdict == SandboxProgram.eperm || verdict == SandboxProgram.enosys, "call \(candidate)")
            }
        }
    }

    /// Whatever is listed, every number finds its own answer: lists with few neighbours have more steps than one jump passes.
    @Test(arguments: 0..<40 as Range<UInt64>) func answersEachNumberAsTheListSays(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let known = SystemCallGroups.knownSystemCalls
        var sandbox = Sandbox(name: "random")
        // From every other call to a few, or runs of them.
        let share = [2, 3, 7, 40].randomElement(using: &random) ?? 2
        sandbox.systemCalls = known.enumerated().compactMap { index, name in
            (seed < 4 ? index % 2 == Int(seed % 2) : Int.random(in: 0..<share, using: &random) == 0) ? name : nil
        }
        sandbox.isConfined = seed % 5 != 3
        sandbox.network = sandbox.isConfined ? Self.networks.randomElement(using: &random) ?? .off : .on
        let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
        #expect(program.count <= SeccompProgram.instructionLimit)
        let clone3 = try number("clone3")
        let allowed = Set(SystemCallFilter.allowedNames(sandbox).compactMap(SystemCallFilter.number))
        let denied = Set(SystemCallFilter.never.compactMap(SystemCallFilter.number))
        // Each passes the checks of its call.
        let passing: [UInt32: [UInt64]] = [
            try number("socket"): [2, 1, 6], try number("socketpair"): [1, 1], try number("ioctl"): [0, 0x5401],
        ]
        for candidate in UInt32(0)...1_100 {
            let isKnown = SystemCallFilter.name(of: candidate) != nil
            let isAllowed = sandbox.isConfined ? allowed.contains(candidate) : !denied.contains(candidate)
            let expected =
                !isKnown || candidate == clone3
                ? SandboxProgram.enosys : isAllowed ? SandboxProgram.Verdict.allow : SandboxProgram.eperm
            let found = program.verdict(candidate, passing[candidate] ?? [])
            #expect(found == expected, "call \(candidate)")
        }
        for candidate in [UInt32(1_101), 0x3FFF_FFFF] { #expect(program.verdict(candidate) == SandboxProgram.enosys) }
    }

    @Test(arguments: [Sandbox.OnViolation.errno, .kill])
    func endsTheProcessForForeignArchitecturesAndX32(onViolation: Sandbox.OnViolation) throws {
        for isConfined in [true, false] {
            var sandbox = smallSandbox(onViolation: onViolation)
            sandbox.isConfined = isConfined
            let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
            for architecture in SandboxProgram.foreignArchitectures {
                for call in UInt32(0)...600 {
                    let call = SandboxProgram.Call(number: call, architecture: architecture)
                    #expect(program.verdict(call) == .kill)
                }
            }
            #if arch(x86_64)
            for call in UInt32(0)...600 { #expect(program.verdict(call | 0x4000_0000) == .kill) }
            #expect(program.verdict(.max) != .allow)
            #endif
        }
    }

    @Test func answersClone3AndNewerCallsAsUnknownEvenWhereOthersKill() throws {
        for isConfined in [true, false] {
            var sandbox = smallSandbox(onViolation: .kill, adding: ["clone3"])
            sandbox.isConfined = isConfined
            let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
            #expect(program.verdict(try number("clone3")) == SandboxProgram.enosys)
            for call in [UInt32(480), 500, 600, 1_000, 0x1000_0000, 0x3FFF_FFFF] {
                #expect(program.verdict(call) == SandboxProgram.enosys)
            }
        }
    }

    @Test(arguments: [
        "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "ptrace", "bpf",
        "mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "setns", "unshare", "userfaultfd",
        "process_vm_readv", "process_vm_writev", "perf_event_open", "kexec_load", "kexec_file_load",
        "open_by_handle_at", "pidfd_getfd", "init_module", "finit_module",
    ])
    func neverAllowsWhatNoSandboxMayEvenIfListed(name: String) throws {
        for isConfined in [true, false] {
            var sandbox = smallSandbox(adding: [name])
            sandbox.isConfined = isConfined
            let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
            guard let call = SystemCallFilter.number(of: name) else { continue }
            #expect(program.verdict(call) == SandboxProgram.eperm)
        }
    }

    @Test(arguments: ["openat", "socket", "chmod", "kill", "chroot", "reboot", "socketpair", "execve", "setuid"])
    func unconfinedAllowsWhatACommandMayNeed(name: String) throws {
        var sandbox = Sandbox(name: "unconfined")
        sandbox.isConfined = false
        sandbox.network = .on
        guard let call = SystemCallFilter.number(of: name) else { return }
        #expect(SandboxProgram(try SystemCallFilter.compile(sandbox)).verdict(call) == .allow)
    }

    /// The kernel looks at 32 bits of a request: one with more in the upper half passed snapd's filter (CVE-2019-7303).
    @Test(arguments: [UInt64(0x5412), 0x541C, 0x1_0000_5412, 0xFFFF_FFFF_0000_5412, 0x7_0000_541C])
    func noSpellingOfARequestTypesIntoATerminal(request: UInt64) throws {
        for isConfined in [true, false] {
            var sandbox = smallSandbox()
            sandbox.isConfined = isConfined
            let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
            #expect(program.verdict(try number("ioctl"), [0, request]) == SandboxProgram.eperm)
            #expect(program.verdict(try number("ioctl"), [0, 0x5413]) == .allow)
        }
    }

    @Test func attributesAreChangedOnlyWhereTheListHasThem() throws {
        let call = try number("ioctl")
        let without = SandboxProgram(try SystemCallFilter.compile(smallSandbox()))
        let with = SandboxProgram(try SystemCallFilter.compile(smallSandbox(adding: ["fsetxattr"])))
        for request in [UInt64(0x4008_6602), 0x4004_6602, 0x401C_5820] {
            #expect(without.verdict(call, [0, request]) == SandboxProgram.eperm)
            #expect(with.verdict(call, [0, request]) == .allow)
        }
    }

    @Test(arguments: [
        UInt64(0x0002_0000), 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x8000,
        0x1_0002_0011,
    ])
    func cloneMakesNoNamespaceAndNoChildOfTheSession(flag: UInt64) throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox()))
        #expect(program.verdict(try number("clone"), [flag | 17]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("clone"), [17]) == .allow)
        #expect(program.verdict(try number("clone"), [0x003D_0F00]) == .allow)
    }

    @Test func personalityIsAskedForAndNotWeakened() throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox()))
        let call = try number("personality")
        for harmless in [UInt64(0), 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF] {
            #expect(program.verdict(call, [harmless]) == .allow)
        }
        for other in [UInt64(0x40_0000), 0x4_0000, 0x10_0000, 6] {
            #expect(program.verdict(call, [other]) == SandboxProgram.eperm)
        }
    }

    /// Landlock scopes signals, and not the limits of another process of the same uid: a plain user's gateway is one.
    @Test func limitsAreThoseOfTheProcessItself() throws {
        let sandbox = smallSandbox(adding: ["prlimit64"])
        let program = SandboxProgram(try SystemCallFilter.compile(sandbox))
        let call = try number("prlimit64")
        // What the kernel looks at are 32 bits.
        for itself in [UInt64(0), 1 << 32] { #expect(program.verdict(call, [itself, 7]) == .allow) }
        for other in [UInt64(1), 4_711, 0xFFFF_FFFF] {
            #expect(program.verdict(call, [other, 7]) == SandboxProgram.eperm)
        }
    }

    /// What `portcullis learn` says no sandbox allows must be what every filter refuses, and nothing else.
    @Test(arguments: [
        ("clone", [UInt64(0x1000_0000)], true), ("clone", [0x8000], true), ("clone", [17], false),
        ("ioctl", [0, 0x5412], true), ("ioctl", [0, 0x1_0000_541C], true), ("ioctl", [0, 0x5413], false),
        ("ioctl", [0, 0x4008_6602], false), ("personality", [0x40_0000], true), ("personality", [0xFFFF_FFFF], false),
        ("prlimit64", [4_711], true), ("prlimit64", [1 << 32], false), ("openat", [1], false), ("no_call", [1], false),
    ])
    func refusesAlwaysWhatNoWordsAllow(name: String, first: [UInt64], isRefused: Bool) throws {
        let arguments = first + Array(repeating: 0, count: 6 - first.count)
        #expect(SystemCallFilter.isAlwaysRefused(name, arguments) == isRefused)
        guard let call = SystemCallFilter.number(of: name) else { return }
        let widest = smallSandbox(network: .on, adding: ["fsetxattr", "prlimit64"])
        let program = SandboxProgram(try SystemCallFilter.compile(widest))
        #expect(program.verdict(call, arguments) == (isRefused ? SandboxProgram.eperm : .allow))
    }

    @Test(arguments: ["socket", "connect", "bind", "listen", "accept", "accept4"])
    func networkOffOpensNoSocketEvenIfListed(name: String) throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox(adding: [name])))
        for domain in UInt64(0)...46 {
            #expect(program.verdict(try number(name), [domain, 1, 0]) == SandboxProgram.eperm)
        }
    }

    /// sendto(MSG_FASTOPEN) connects without connect(2), past Landlock's TCP rules (measured on Linux 6.18).
    @Test(arguments: [Sandbox.Network.off, .tcpConnect([443])])
    func nothingConnectsBySending(network: Sandbox.Network) throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox(network: network)))
        let fastOpen: UInt64 = 0x2000_0000
        #expect(program.verdict(try number("sendto"), [0, 0, 0, 0x4000]) == .allow)
        #expect(program.verdict(try number("sendto"), [0, 0, 0, fastOpen]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("sendto"), [0, 0, 0, 1 << 32 | fastOpen | 0x40]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("sendto"), [0, 0, 0, 0, 0x1000, 16]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("sendto"), [0, 0, 0, 0, 0x1_0000_0000, 16]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("sendmsg"), [0, 0, fastOpen]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("sendmsg"), [0, 0, 0x4000]) == .allow)
        #expect(program.verdict(try number("sendmmsg"), [0, 0, 1, fastOpen]) == SandboxProgram.eperm)
    }

    /// A datagram socket pair can send to any path without connect(2).
    @Test(arguments: [Sandbox.Network.off, .tcpConnect([443])])
    func socketPairsAreUnixStreamsAlone(network: Sandbox.Network) throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox(network: network)))
        let call = try number("socketpair")
        #expect(program.verdict(call, [1, 1]) == .allow)
        #expect(program.verdict(call, [1, 0x8_0801]) == .allow)
        #expect(program.verdict(call, [1, 5]) == .allow)
        for (domain, type) in [(1, 2), (1, 3), (2, 1), (10, 1), (16, 3), (30, 1)] as [(UInt64, UInt64)] {
            #expect(program.verdict(call, [domain, type]) == SandboxProgram.eperm)
        }
    }

    @Test func tcpConnectOpensTCPAndNothingElse() throws {
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox(network: .tcpConnect([443]))))
        let call = try number("socket")
        for domain in [UInt64(2), 10] {
            for type in [UInt64(1), 0x8_0801] {
                for `protocol` in [UInt64(0), 6] {
                    #expect(program.verdict(call, [domain, type, `protocol`]) == .allow)
                }
                for `protocol` in [UInt64(132), 262, 256] {
                    #expect(program.verdict(call, [domain, type, `protocol`]) == SandboxProgram.eperm)
                }
            }
            for type in [UInt64(2), 3, 5] { #expect(program.verdict(call, [domain, type, 0]) == SandboxProgram.eperm) }
        }
        for domain in [UInt64(1), 16, 17, 40, 43, 0x1_0000_0001] {
            #expect(program.verdict(call, [domain, 1, 0]) == SandboxProgram.eperm)
        }
        #expect(program.verdict(try number("connect")) == .allow)
        for name in ["bind", "listen", "accept4"] {
            #expect(program.verdict(try number(name)) == SandboxProgram.eperm)
        }
    }

    @Test func helpersMakeThreadsAndNoProcesses() throws {
        let bytes = try SystemCallFilter.helper(
            allowing: HelperCalls.runtime + ["fork", "vfork", "execve", "clone", "ioctl"], threads: true)
        let program = SandboxProgram(bytes)
        #expect(program.verdict(try number("clone"), [0x003D_0F00]) == .allow)
        #expect(program.verdict(try number("clone"), [17]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("clone3")) == SandboxProgram.enosys)
        for name in ["fork", "vfork", "execve", "execveat", "socket", "connect", "bind", "openat", "kill", "ptrace"] {
            guard let call = SystemCallFilter.number(of: name) else { continue }
            #expect(program.verdict(call) == .kill)
        }
        #expect(program.verdict(try number("mmap"), [0, 4_096, 3]) == .allow)
        #expect(program.verdict(try number("mmap"), [0, 4_096, 5]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("mprotect"), [0, 4_096, 4]) == SandboxProgram.eperm)
        #expect(program.verdict(try number("ioctl"), [1, 0x5421]) == .allow)
        #expect(program.verdict(try number("ioctl"), [1, 0x5412]) == SandboxProgram.eperm)
    }

    @Test func namesThatThisMachineLacksAreLeftOut() throws {
        let names = ["no_such_call", "", "a\u{0}b", "s390_runtime_instr", "getpid"]
        let program = SandboxProgram(try SystemCallFilter.compile(smallSandbox(adding: names)))
        #expect(program.verdict(try number("getpid")) == .allow)
    }

    @Test func fitsTheKernelWithEveryCallThereIs() throws {
        let every = (UInt32(0)...500).compactMap { $0 }
        var sandbox = smallSandbox(network: .tcpConnect([443]))
        sandbox.systemCalls += SystemCallFilter.never + SystemCallFilter.neverConfined
        let bytes = try SystemCallFilter.compile(sandbox)
        #expect(bytes.count <= CompiledSandbox.filterLimit)
        #expect(every.count == 501)
        _ = try SeccompProgram(bytes: bytes)
    }
}

/// What the kernel does under a filter, and does not without it.
@Suite struct `Under a filter` {
    static let eperm = SystemCallTrial.Outcome.failed(1)
    static let sigsys = SystemCallTrial.Outcome.killed(31)

    /// Each row is refused with EPERM under the filter and with something else, or nothing, without it.
    static let refused: [(String, [SystemCallTrial.Argument])] = [
        ("socket", [2, 1, 0]), ("socket", [1, 1, 0]), ("socket", [16, 3, 0]), ("socketpair", [1, 2, 0, .bytes([0])]),
        ("connect", [-1, 0, 0]), ("bind", [-1, 0, 0]), ("listen", [-1, 1]), ("accept", [-1, 0, 0]),
        ("accept4", [-1, 0, 0, 0]), ("sendto", [-1, 0, 0, 0x2000_0000, 0, 0]), ("sendto", [-1, 0, 0, 0, "x", 1]),
        ("ioctl", [-1, 0x5412, 0]), ("ioctl", [-1, 0x1_0000_5412, 0]), ("ioctl", [-1, 0x541C, 0]),
        ("clone", [0x1000_0011, 0, 0, 0, 0]), ("unshare", [0x1000_0000]), ("io_uring_setup", [0, 0]),
        ("keyctl", [-1, 0, 0, 0, 0]), ("ptrace", [-1, 0, 0, 0]), ("bpf", [-1, 0, 0]),
        ("process_vm_readv", [0, 0, 0, 0, 0, 0]), ("userfaultfd", [-1]), ("personality", [0x40_0000]),
        ("chmod", ["/nonexistent", 0]), ("chown", ["/nonexistent", 0, 0]), ("setuid", [-1]),
        ("open_by_handle_at", [-1, 0, 0]), ("mount", ["", "/nonexistent", "", 0, 0]),
    ]

    @Test(arguments: refused)
    func theKernelRefusesAndWithoutItDoesNot(name: String, arguments: [SystemCallTrial.Argument]) throws {
        guard let call = SystemCallFilter.number(of: name) else { return }
        let filter = try SystemCallFilter.compile(smallSandbox())
        #expect(try SystemCallTrial(filter: filter).call(call, arguments) == Self.eperm)
        // Passes vacuously where the kernel itself says EPERM: as root it does not.
        let free = try SystemCallTrial().call(call, arguments)
        if geteuidIsRoot() { #expect(free != Self.eperm, "\(name) is refused without the filter too") }
    }

    @Test(arguments: refused)
    func aViolationEndsTheProcessWhereItShall(name: String, arguments: [SystemCallTrial.Argument]) throws {
        guard let call = SystemCallFilter.number(of: name) else { return }
        let filter = try SystemCallFilter.compile(smallSandbox(onViolation: .kill))
        #expect(try SystemCallTrial(filter: filter).call(call, arguments) == Self.sigsys)
    }

    @Test(
        arguments: [
            ("getpid", []), ("socketpair", [1, 1, 0, .bytes([])]), ("personality", [0xFFFF_FFFF]),
            ("clone", [17, 0, 0, 0, 0]), ("openat", [-100, "/dev/null", 0, 0]), ("uname", [.bytes([])]),
        ] as [(String, [SystemCallTrial.Argument])])
    func whatACommandNeedsWorks(name: String, arguments: [SystemCallTrial.Argument]) throws {
        let filter = try SystemCallFilter.compile(smallSandbox(onViolation: .kill))
        guard case .returned = try SystemCallTrial(filter: filter).call(try number(name), arguments) else {
            Issue.record("\(name) does not work")
            return
        }
    }

    @Test func clone3DoesNotExist() throws {
        let filter = try SystemCallFilter.compile(smallSandbox(onViolation: .kill))
        #expect(try SystemCallTrial(filter: filter).call(try number("clone3"), [0, 0]) == .failed(38))
        #expect(try SystemCallTrial().call(try number("clone3"), [0, 0]) != .failed(38))
    }

    #if arch(x86_64)
    @Test func i386EndsTheProcess() throws {
        let getpidOf386: UInt32 = 20
        let filter = try SystemCallFilter.compile(smallSandbox())
        guard case .returned = try SystemCallTrial().call(getpidOf386, by: .int80) else { return }
        #expect(try SystemCallTrial(filter: filter).call(getpidOf386, by: .int80) == Self.sigsys)
    }

    @Test func x32EndsTheProcessWhetherTheKernelKnowsItOrNot() throws {
        let filter = try SystemCallFilter.compile(smallSandbox())
        let call = try number("getpid") | 0x4000_0000
        #expect(try SystemCallTrial(filter: filter).call(call) == Self.sigsys)
        #expect(try SystemCallTrial().call(call) != Self.sigsys)
    }
    #endif

    @Test func unconfinedStillRefusesWhatNoCommandNeeds() throws {
        var sandbox = Sandbox(name: "unconfined")
        sandbox.isConfined = false
        sandbox.network = .on
        let trial = SystemCallTrial(filter: try SystemCallFilter.compile(sandbox))
        for (name, arguments) in [
            ("io_uring_setup", [0, 0]), ("keyctl", [-1, 0]), ("ptrace", [-1, 0, 0, 0]), ("bpf", [-1, 0, 0]),
            ("unshare", [0x1000_0000]), ("mount", ["", "/nonexistent", "", 0, 0]), ("ioctl", [-1, 0x5412, 0]),
        ] as [(String, [SystemCallTrial.Argument])] {
            #expect(try trial.call(try number(name), arguments) == Self.eperm, "\(name)")
        }
        guard case .returned = try trial.call(try number("socket"), [1, 1, 0]) else {
            Issue.record("an unconfined command has no socket")
            return
        }
    }

    @Test func aProgramThatIsNoneIsNotLoaded() throws {
        for bytes in [[], [1, 2, 3], [UInt8](repeating: 0, count: 8 * 4_097)] as [[UInt8]] {
            #expect(throws: ConfinementError.self) { try SeccompProgram(bytes: bytes) }
        }
        // Whole instructions, and nonsense: the kernel refuses it, and nothing would run.
        #expect(throws: ConfinementError(.filter, 22)) {
            try SystemCallTrial(filter: [UInt8](repeating: 0xEE, count: 16)).call(try number("getpid"))
        }
    }
}
