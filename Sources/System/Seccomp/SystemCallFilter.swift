// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CSeccomp
public import Core

/// A filter that could not be compiled.
public enum SystemCallFilterError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The filter has more instructions than the kernel takes.
    case tooLong

    /// For logs.
    public var description: String { "system-call filter: more than 4096 instructions" }
}

/// Compiles system-call filters: names in, which libseccomp knows the numbers of, a classic BPF program for seccomp(2) out.
///
/// Every filter ends the process at a call of a foreign architecture or of x32, and answers ENOSYS to clone3 (its
/// flags lie in memory, where no filter looks; the C library falls back to clone) and to every number newer than what
/// this build knows (a program falls back, and nothing unknown is permitted).
public enum SystemCallFilter {
    // MARK: Commands

    /// What no sandbox ever allows: each gets round the filter or Landlock, reaches into other processes, or changes
    /// what the whole machine sees. `unconfined` refuses these too.
    public static let never: [String] = [
        // Get round the filter: their requests come through memory that no filter sees.
        "io_uring_setup", "io_uring_enter", "io_uring_register",
        // Programs, events and faults in the kernel's hands.
        "bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie",
        // Other processes.
        "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
        // Keyrings outlive the session.
        "add_key", "keyctl", "request_key",
        // Mounts and namespaces.
        "mount", "umount", "umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
        "mount_setattr", "open_tree_attr", "pivot_root", "setns", "unshare",
        // Files by handle: no path, and so no rule of Landlock.
        "open_by_handle_at",
        // The kernel itself.
        "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
        "query_module", "get_kernel_syms", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old", "nfsservctl", "uselib",
        "_sysctl", "sysfs", "ustat",
    ]

    /// What no confined sandbox allows besides: the host's clock, name, swap, accounting and root. And POSIX queues by
    /// name: Landlock lets none be opened, but does not see that one is made, which stays, or removed.
    public static let neverConfined: [String] = [
        "acct", "adjtimex", "chroot", "clock_adjtime", "clock_settime", "mq_open", "mq_unlink", "quotactl",
        "quotactl_fd", "reboot",
        "setdomainname", "sethostname", "settimeofday", "stime", "swapoff", "swapon", "syslog", "vhangup",
    ]

    /// What every filter for a command allows, so that it can start, be told that it may not, and end.
    public static let floor: [String] = [
        "close", "execve", "exit", "exit_group", "read", "restart_syscall", "rt_sigreturn", "write",
    ]

    /// Calls that only the network item of a sandbox gives or takes.
    private static let opening = ["socket", "connect", "bind", "listen", "accept", "accept4"]
    /// Calls that use a socket, whoever opened it.
    private static let using = [
        "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto",
        "setsockopt", "shutdown", "socketpair",
    ]

    /// Compiles a sandbox's filter.
    ///
    /// Confined: the names of `systemCalls` that this architecture has, and `floor`, without `never` and
    /// `neverConfined`; everything else is answered with EPERM or ends the process, as `onViolation` says. The
    /// network item alone decides on socket, connect, bind, listen and accept. Unconfined: everything but `never`.
    ///
    /// - Returns: the program, at most `CompiledSandbox.filterLimit` bytes.
    public static func compile(_ sandbox: Sandbox) throws(SystemCallFilterError) -> [UInt8] {
        let refusal: FilterProgram.Action = sandbox.onViolation == .kill ? .killProcess : .refuse
        var answers =
            sandbox.isConfined
            ? Answers(otherwise: refusal, answered: allowedNames(sandbox), with: .allow)
            : Answers(otherwise: .allow, answered: deniedNames(sandbox), with: refusal)
        holdArguments(of: sandbox, &answers, refusal: refusal)
        return try answers.compiled()
    }

    /// The names that a sandbox's filter allows beyond doubt, sorted: for documents and diagnostics. Empty for
    /// `unconfined`, which allows all but `never`.
    public static func allowedNames(_ sandbox: Sandbox) -> [String] {
        guard sandbox.isConfined else { return [] }
        var names = Set(sandbox.systemCalls + floor)
        switch sandbox.network {
        case .off: break
        case .tcpConnect: names.formUnion(["socket", "connect"] + using)
        case .on: names.formUnion(opening + using)
        }
        names.subtract(deniedNames(sandbox))
        return names.filter { number(of: $0) != nil }.sorted()
    }

    private static func deniedNames(_ sandbox: Sandbox) -> [String] {
        let network: [String] =
            switch sandbox.network {
            case .off: opening
            case .tcpConnect: ["bind", "listen", "accept", "accept4"]
            case .on: []
            }
        return never + network + (sandbox.isConfined ? neverConfined : [])
    }

    /// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
    private static let cloneNamespaces: UInt32 = 0x7E02_0000
    /// CLONE_PARENT: a child that the session would have to wait for.
    private static let cloneParent: UInt32 = 0x8000
    /// MSG_FASTOPEN: connects without connect(2), past Landlock's TCP rules.
    private static let fastOpen: UInt32 = 0x2000_0000
    /// TIOCSTI types into a terminal, TIOCLINUX pastes into a console: both speak for somebody else.
    private static let terminalRequests: [UInt32] = [0x5412, 0x541C]
    /// FS_IOC_SETFLAGS, FS_IOC_SETVERSION (64 and 32 bits) and FS_IOC_FSSETXATTR change attributes: chattr(1). A confined
    /// sandbox lets ioctl make them where it has `fsetxattr`.
    public static let attributeRequests: [UInt32] = [
        0x4008_6602, 0x4004_6602, 0x4008_7602, 0x4004_7602, 0x401C_5820,
    ]

    /// What the arguments of a call are held to in every confined sandbox, whatever its words say; nil where nothing is.
    private static func commonCheck(_ name: String) -> FilterProgram.Check? {
        switch name {
        case "clone": .without(0, bits: cloneNamespaces | cloneParent)
        case "ioctl": .noneOf(1, terminalRequests)
        // PER_LINUX, PER_LINUX32, each with UNAME26, and the question. Others weaken the process's own defences.
        case "personality": .oneOf(0, mask: .max, [0, 8, 0x2_0000, 0x2_0008, .max])
        // One's own limits alone: no scope of Landlock's keeps those of other processes of the same uid.
        case "prlimit64": .oneOf(0, mask: .max, [0])
        default: nil
        }
    }

    /// Whether no confined sandbox lets a call pass with these arguments, whatever its words say.
    ///
    /// - Parameter arguments: all six.
    public static func isAlwaysRefused(_ name: String, _ arguments: [UInt64]) -> Bool {
        commonCheck(name).map { !$0.passes(arguments) } ?? false
    }

    /// What the arguments of a command's calls are held to.
    private static func holdArguments(
        of sandbox: Sandbox, _ answers: inout Answers, refusal: FilterProgram.Action
    ) {
        func hold(_ name: String, _ checks: FilterProgram.Check...) {
            answers.hold(name, to: checks, else: refusal)
        }
        for name in ["clone", "ioctl"] + (sandbox.isConfined ? ["personality", "prlimit64"] : []) {
            if let check = commonCheck(name) { hold(name, check) }
        }
        if sandbox.isConfined, !sandbox.systemCalls.contains("fsetxattr") {
            hold("ioctl", .noneOf(1, attributeRequests))
        }
        guard sandbox.network != .on else { return }
        // A datagram socket of AF_UNIX can send to any path without connect; stream and seqpacket ones cannot.
        hold("socketpair", .oneOf(0, mask: .max, [1]), .oneOf(1, mask: 0xF, [1, 5]))
        hold("sendto", .without(3, bits: fastOpen), .zero(4))
        hold("sendmsg", .without(2, bits: fastOpen))
        hold("sendmmsg", .without(3, bits: fastOpen))
        if case .tcpConnect = sandbox.network {
            // AF_INET and AF_INET6, SOCK_STREAM, TCP: Landlock's rules know no MPTCP, SCTP or SMC.
            hold("socket", .oneOf(0, mask: .max, [2, 10]), .oneOf(1, mask: 0xF, [1]), .oneOf(2, mask: .max, [0, 6]))
        }
    }

    // MARK: Helpers

    /// Compiles the filter of a helper: the names listed and nothing else.
    ///
    /// With `threads`, clone makes threads and never a process. Memory never becomes executable, a socket pair is
    /// AF_UNIX, nothing connects by MSG_FASTOPEN, and ioctl is for blocking, close-on-exec and counting alone: of a call
    /// that is listed these are answered with EPERM always.
    ///
    /// - Parameters:
    ///   - names: system calls; those that this architecture lacks are left out.
    ///   - threads: allows what making threads takes.
    ///   - onViolation: what any other call does.
    public static func helper(
        allowing names: [String], threads: Bool = false, onViolation: Sandbox.OnViolation = .kill
    ) throws(SystemCallFilterError) -> [UInt8] {
        let refusal: FilterProgram.Action = onViolation == .kill ? .killProcess : .refuse
        var list = names
        if threads { list += HelperCalls.threads }
        let denied = Set(never + neverConfined + ["execve", "execveat", "fork", "vfork"])
        list.removeAll(where: denied.contains)
        var answers = Answers(otherwise: refusal, answered: list, with: .allow)
        func hold(_ name: String, _ checks: FilterProgram.Check...) {
            answers.hold(name, to: checks, else: .refuse)
        }
        // CLONE_VM, CLONE_SIGHAND and CLONE_THREAD.
        hold("clone", .with(0, bits: 0x1_0900), .without(0, bits: cloneNamespaces))
        hold("mmap", .without(2, bits: 4))  // PROT_EXEC
        hold("mprotect", .without(2, bits: 4))
        hold("pkey_mprotect", .without(2, bits: 4))
        hold("socketpair", .oneOf(0, mask: .max, [1]))
        hold("sendto", .without(3, bits: fastOpen))
        hold("sendmsg", .without(2, bits: fastOpen))
        hold("sendmmsg", .without(3, bits: fastOpen))
        // TCGETS (isatty), FIONREAD, FIONBIO, FIONCLEX and FIOCLEX.
        hold("ioctl", .oneOf(1, mask: .max, [0x5401, 0x541B, 0x5421, 0x5450, 0x5451]))
        return try answers.compiled()
    }

    // MARK: Numbers and bytes

    /// This build's own architecture, as the kernel's audit records and filters name it (AUDIT_ARCH_…).
    public static var nativeArchitecture: UInt32 { portcullis_filter_architecture() }

    /// The number of a system call on this architecture, or nil.
    public static func number(of name: String) -> UInt32? {
        guard !name.utf8.contains(0) else { return nil }
        // SAFETY: the C string lives for the call.
        let number = unsafe portcullis_call_number(name)
        return UInt32(exactly: number)
    }

    /// The name of a system call of this architecture, or nil: x32's numbers have none, nor has what is newer than this
    /// build's libseccomp.
    public static func name(of number: UInt32) -> String? {
        guard let number = Int32(exactly: number) else { return nil }
        var name = [CChar](repeating: 0, count: nameLimit)
        // SAFETY: the buffer lives for the call, with the length that is passed.
        guard unsafe portcullis_call_name(number, &name, name.count) == 0 else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// No system call has a longer name.
    private static let nameLimit = 64

    /// No architecture here has a call above this.
    private static let highestNumber = 1_023

    /// Numbers that this build knows a call for, up to the highest.
    private static let known = (0...highestNumber).map { portcullis_call_is_known(Int32($0)) != 0 }

    /// What a filter answers, by number.
    private struct Answers {
        private var answers: [FilterProgram.Answer]

        /// The same answer to all calls that this build knows but some, and what every filter says.
        init(otherwise: FilterProgram.Action, answered names: [String], with action: FilterProgram.Action) {
            answers = known.map { .always($0 ? otherwise : .unknown) }
            for name in names { answer(name, action) }
            answer("clone3", .unknown)
        }

        private mutating func answer(_ name: String, _ action: FilterProgram.Action) {
            guard let number = number(of: name), answers.indices.contains(Int(number)) else { return }
            answers[Int(number)] = .always(action)
        }

        /// Holds to checks a call that is allowed; all must pass, with those that it is held to already.
        mutating func hold(_ name: String, to checks: [FilterProgram.Check], else action: FilterProgram.Action) {
            guard let number = number(of: name), answers.indices.contains(Int(number)) else { return }
            let further = checks.map { FilterProgram.Refusal(check: $0, action: action) }
            switch answers[Int(number)] {
            case .always(.allow): answers[Int(number)] = .checked(further)
            // Refused anyway.
            case .always: break
            case .checked(let before): answers[Int(number)] = .checked(before + further)
            }
        }

        func compiled() throws(SystemCallFilterError) -> [UInt8] {
            let program = FilterProgram(
                architecture: nativeArchitecture, answers: answers, further: .always(.unknown),
                hasX32: portcullis_filter_has_x32() != 0)
            let bytes = program.assembled()
            guard bytes.count <= CompiledSandbox.filterLimit else { throw .tooLong }
            return bytes
        }
    }
}
