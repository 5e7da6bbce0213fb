// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// This process, and the ones that it makes.
public enum Process {
    /// Which side of a fork this is.
    public enum Side: Sendable {
        /// The new process.
        case child
        /// The one that forked, with the new one's id.
        case parent(Int32)
    }

    /// Forks. Sound only in a process with one thread: the child goes on in Swift.
    ///
    /// - Throws: where there is no new process; -1 never goes on as a process id.
    public static func fork() throws(SystemError) -> Side {
        let pid = Glibc.fork()
        guard pid >= 0 else { throw .last("fork") }
        return pid == 0 ? .child : .parent(pid)
    }

    /// Starts a process that has this one's memory until it executes a program or ends (vfork(2)); this one stands still
    /// meanwhile.
    ///
    /// Nothing is copied, and no page is faulted in a second time: for setting a command up this costs half of what a fork
    /// does. The ids, capabilities, limits, filters, directories, signals and descriptors of the new process are its own;
    /// what it writes to memory stays. One that is killed before it executes takes this process with it (status 125): it
    /// may have left anything half done. Where a change of ids would open the memory to other processes of the new uid
    /// (fs.suid_dumpable is 1), it is a fork after all, and both go on.
    ///
    /// Sound only in a process with one thread. `body` runs where no exclusive access to memory is in progress, and ends in
    /// `execute` or `exitNow`.
    ///
    /// - Returns: the new process's id.
    /// - Throws: where there is no new process.
    public static func startSharing(_ body: @escaping () -> Never) throws(SystemError) -> Int32 {
        var made: pid_t = -1
        let start = SharedStart(body)
        // SAFETY: `start` lives until the call has returned; what the new process has counted on it stays counted.
        let code = unsafe portcullis_process_share(
            { context in
                guard let context = unsafe context else { Process.exitNow(125) }
                // SAFETY: the context is the object that was passed below.
                unsafe Unmanaged<SharedStart>.fromOpaque(context).takeUnretainedValue().body()
            }, Unmanaged.passUnretained(start).toOpaque(), &made)
        withExtendedLifetime(start) {}
        try check(code, "vfork")
        return made
    }

    /// A closure that a C function can be given.
    private final class SharedStart {
        let body: () -> Never

        init(_ body: @escaping () -> Never) {
            self.body = body
        }
    }

    /// Ends this process at once: no exit handlers, no flushing.
    public static func exitNow(_ status: Int32) -> Never {
        _exit(status)
    }

    /// Replaces this program; returns only on failure.
    ///
    /// - Parameters:
    ///   - path: the program's absolute path.
    ///   - arguments: the argument vector, argv[0] first.
    ///   - environment: `NAME=VALUE` strings, all there is.
    public static func execute(_ path: [UInt8], arguments: [[UInt8]], environment: [[UInt8]]) -> SystemError {
        let flatten = { (strings: [[UInt8]]) in strings.map { $0 + [0] } }
        let texts = flatten(arguments)
        let variables = flatten(environment)
        let program = path + [0]
        // SAFETY: the strings are NUL-terminated and the lists nil-terminated, and all of them live until execve
        // returns, which it does only to fail.
        return unsafe withPointers(texts) { argv in
            unsafe withPointers(variables) { envp in
                unsafe program.withUnsafeBufferPointer { name in
                    unsafe name.withMemoryRebound(to: CChar.self) { name in
                        guard let name = name.baseAddress else { return SystemError(EFAULT, "execve") }
                        return SystemError(unsafe portcullis_program_execute(name, argv, envp), "execve")
                    }
                }
            }
        }
    }

    static func withPointers<Result>(
        _ strings: [[UInt8]], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        // (In a fork: no array of a type that is used nowhere else.)
        let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() {
            // SAFETY: the string is NUL-terminated; its copy is freed below, or replaced with the whole program.
            unsafe (pointers + index).initialize(to: string.withUnsafeBufferPointer { unsafe copy($0) })
        }
        // SAFETY: the last element of those allocated.
        unsafe (pointers + strings.count).initialize(to: nil)
        // SAFETY: the list lives for the call.
        let result = unsafe body(pointers)
        // SAFETY: every pointer but the last came from strdup, and free takes nil.
        for index in strings.indices { unsafe free(pointers[index]) }
        // SAFETY: allocated above, and nothing of it is used from here on.
        unsafe pointers.deallocate()
        return result
    }

    private static func copy(_ string: UnsafeBufferPointer<UInt8>) -> UnsafeMutablePointer<CChar>? {
        // SAFETY: UInt8 and CChar have the same layout, and the string is NUL-terminated.
        unsafe string.withMemoryRebound(to: CChar.self) { text in
            guard let base = text.baseAddress else { return nil }
            return unsafe strdup(base)
        }
    }

    /// This process's id.
    public static var id: Int32 { getpid() }

    /// The id of the process that made this one, or of whoever took it over.
    public static var parentID: Int32 { getppid() }

    /// The real user id.
    public static var userID: UInt32 { getuid() }

    /// The effective user id, which differs from the real one in a program with a set-uid bit.
    public static var effectiveUserID: UInt32 { geteuid() }

    /// The real group id.
    public static var groupID: UInt32 { getgid() }

    /// The processors that are online, at least one.
    public static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// Whether this process runs as root.
    public static var isRoot: Bool { geteuid() == 0 }

    /// What ps shows of this process; cut to the room that the kernel laid out at start.
    public static func setTitle(_ title: String) {
        // SAFETY: the string is NUL-terminated for the call.
        unsafe portcullis_title_set(title)
    }

    /// Has the kernel kill this process when its parent dies; lost at each change of credentials.
    public static func dieWithParent() throws(SystemError) {
        try check(portcullis_process_control(PR_SET_PDEATHSIG, UInt(SIGKILL)), "prctl")
    }

    /// Makes orphans of this process's descendants its children.
    public static func becomeSubreaper() throws(SystemError) {
        try check(portcullis_process_control(PR_SET_CHILD_SUBREAPER, 1), "prctl")
    }

    /// Keeps other processes of the same uid, and core files, away from this process's memory.
    public static func becomeUndumpable() throws(SystemError) {
        try check(portcullis_process_control(PR_SET_DUMPABLE, 0), "prctl")
    }

    /// Starts a session and process group of its own.
    public static func startSession() throws(SystemError) {
        guard setsid() >= 0 else { throw .last("setsid") }
    }

    /// Sends a signal to a process group of ours.
    ///
    /// INVARIANT: the group is that of a child that was not yet waited for; 0, 1 and negative numbers go nowhere.
    public static func signalGroup(_ group: Int32, _ signal: Int32) {
        guard group > 1 else { return }
        _ = killpg(group, signal)
    }

    /// Sends a signal to a child that was not yet waited for.
    public static func signal(_ pid: Int32, _ signal: Int32) {
        guard pid > 1 else { return }
        _ = kill(pid, signal)
    }

    /// The file mode creation mask; for a process of one thread, because it is set to be read.
    public static var umask: UInt32 {
        let mask = Glibc.umask(0o077)
        _ = Glibc.umask(mask)
        return UInt32(mask)
    }

    /// Sets the file mode creation mask.
    public static func setUmask(_ mask: UInt32) {
        _ = Glibc.umask(mode_t(mask))
    }

    /// Changes the working directory.
    public static func changeDirectory(_ path: [UInt8]) throws(SystemError) {
        let name = path + [0]
        // SAFETY: the string is NUL-terminated.
        let result = unsafe name.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { text in
                guard let base = text.baseAddress else { return Int32(-1) }
                return unsafe chdir(base)
            }
        }
        guard result == 0 else { throw .last("chdir") }
    }

    /// The number of threads of this process; nil where /proc does not say.
    public static func threadCount() -> Int? {
        try? Directory.names("/proc/self/task").count
    }

    /// A variable of this process's environment.
    public static func environmentVariable(_ name: String) -> String? {
        // SAFETY: the result is copied at once.
        guard let value = unsafe getenv(name) else { return nil }
        // SAFETY: getenv's result is NUL-terminated.
        return unsafe String(cString: value)
    }

    /// Sets or, with nil, removes a variable of this process's environment.
    public static func setEnvironmentVariable(_ name: String, _ value: String?) {
        if let value {
            // SAFETY: the strings are NUL-terminated for the call, which copies them.
            unsafe setenv(name, value, 1)
        } else {
            // SAFETY: as above.
            unsafe unsetenv(name)
        }
    }
}

/// How a process ended.
public enum ExitStatus: Sendable, Hashable {
    /// With a status, 0 to 255.
    case exited(UInt8)
    /// By a signal.
    case signalled(UInt8)

    init?(code: Int32, status: Int32) {
        switch code {
        case 1: self = .exited(UInt8(truncatingIfNeeded: status))  // CLD_EXITED
        case 2, 3: self = .signalled(UInt8(truncatingIfNeeded: status))  // CLD_KILLED, CLD_DUMPED
        default: return nil
        }
    }
}

/// A process that cannot be mistaken for another one that got its number.
public struct ProcessHandle: Sendable {
    /// The process id.
    public let pid: Int32
    /// The pidfd, readable when the process has ended.
    public let descriptor: Descriptor

    /// Opens a handle for a child that was not yet waited for.
    public init(pid: Int32) throws(SystemError) {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_pidfd_open(pid, &made), "pidfd_open")
        self.pid = pid
        descriptor = Descriptor(owning: made)
    }

    /// Takes a pidfd that came with the process.
    public init(pid: Int32, descriptor: Descriptor) {
        self.pid = pid
        self.descriptor = descriptor
    }

    /// Sends a signal; one to a process that has ended goes nowhere.
    public func signal(_ number: Int32) {
        _ = portcullis_pidfd_signal(descriptor.number, number)
    }

    /// The processor time that the process itself has used, in milliseconds; nil where it cannot be told.
    ///
    /// INVARIANT: the process is a child that was not yet waited for, or its number may be another's.
    public var processorMilliseconds: Int64? {
        var clock: clockid_t = 0
        var time = timespec()
        // SAFETY: both calls write one local each.
        guard unsafe clock_getcpuclockid(pid, &clock) == 0, unsafe clock_gettime(clock, &time) == 0 else { return nil }
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// How the process ended; nil while it runs. After the first answer its number may be another's.
    public func reap() -> ExitStatus? {
        status(leaving: false)
    }

    /// How the process ended, leaving it to be waited for again.
    public func peek() -> ExitStatus? {
        status(leaving: true)
    }

    private func status(leaving: Bool) -> ExitStatus? {
        var code: Int32 = 0
        var status: Int32 = 0
        // SAFETY: the shim writes two ints.
        guard unsafe portcullis_pidfd_wait(descriptor.number, leaving ? 1 : 0, &code, &status) == 0 else { return nil }
        return ExitStatus(code: code, status: status)
    }
}

/// Waiting for any child: an init's or a subreaper's business.
public enum Children {
    /// A child that has ended.
    public struct Ended: Sendable {
        /// Its process id, free for others once it was waited for without `leaving`.
        public var pid: Int32
        /// How it ended.
        public var status: ExitStatus
    }

    /// A child that has ended; nil where none has, or there is none.
    public static func wait(leaving: Bool, blocking: Bool = false) -> Ended? {
        var pid: pid_t = 0
        var code: Int32 = 0
        var status: Int32 = 0
        // SAFETY: the shim writes three ints.
        let failure = unsafe portcullis_child_wait(&pid, &code, &status, leaving ? 1 : 0, blocking ? 1 : 0)
        guard failure == 0, pid > 0, let how = ExitStatus(code: code, status: status) else { return nil }
        return Ended(pid: pid, status: how)
    }

    /// The children of this process, ended ones included; nil entries of /proc are passed over.
    public static func ids() -> [Int32] {
        guard let file = try? File.open("/proc/thread-self/children", [.reading]),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return [] }
        return bytes.split(separator: UInt8(ascii: " ")).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }

    /// Ends every child but one and waits for them, round after round: in a subreaper, or in a namespace's init, orphans
    /// come to this process as its children, so that all that they started is reached.
    ///
    /// - Returns: how many there were.
    public static func endAll(but spared: Int32) -> Int {
        var ended = 0
        for _ in 0..<1_000 {
            let children = ids().filter { $0 != spared }
            if children.isEmpty { break }
            for child in children {
                Process.signal(child, Signals.Number.kill)
                reap(child)
                ended += 1
            }
        }
        return ended
    }

    /// Takes a child's end if it has ended; false while it runs.
    public static func reapNow(_ pid: Int32) -> Bool {
        guard pid > 1 else { return false }
        var status: Int32 = 0
        // SAFETY: waitpid writes one int.
        return unsafe waitpid(pid, &status, WNOHANG) == pid
    }

    /// Waits for a child that was killed, so that it is gone on return.
    public static func reap(_ pid: Int32) {
        guard pid > 1 else { return }
        var status: Int32 = 0
        // SAFETY: waitpid writes one int.
        while unsafe waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }
}

/// Signals as something to read.
///
/// The signals are blocked while the value lives, and then no longer, where they were not before. A mask is a thread's:
/// make the value and let it go on one thread, one that other threads do not share the signals with. A value that is let
/// go of elsewhere leaves the masks as they are. A signal that came and was not read has its effect when the value goes.
public struct Signals: Sendable {
    /// The signals of a session's and a monitor's life.
    public enum Number {
        /// Hang up.
        public static let hangup = SIGHUP
        /// Interrupt.
        public static let interrupt = SIGINT
        /// Quit.
        public static let quit = SIGQUIT
        /// Kill.
        public static let kill = SIGKILL
        /// A timer of the process's own.
        public static let alarm = SIGALRM
        /// The program's own first.
        public static let user1 = SIGUSR1
        /// The program's own second.
        public static let user2 = SIGUSR2
        /// A stop from the keyboard.
        public static let stop = SIGTSTP
        /// A read from the terminal in the background.
        public static let backgroundRead = SIGTTIN
        /// A write to the terminal in the background.
        public static let backgroundWrite = SIGTTOU
        /// Terminate.
        public static let terminate = SIGTERM
        /// A child ended.
        public static let child = SIGCHLD
        /// A write that nobody reads.
        public static let pipe = SIGPIPE
        /// A bad system call.
        public static let systemCall = SIGSYS
        /// CPU time is used up.
        public static let cpu = SIGXCPU
        /// A file grew over its limit.
        public static let fileSize = SIGXFSZ
    }

    /// Readable when one of the signals has come.
    public let descriptor: Descriptor
    private let blocked: Blocked?

    /// Signals that one thread has blocked for a value.
    private final class Blocked: Sendable {
        private let mask: UInt64
        private let thread = portcullis_thread_id()

        init(_ mask: UInt64) {
            self.mask = mask
        }

        deinit {
            // A forked process is another thread too: what it wants blocked is its own affair.
            if portcullis_thread_id() == thread { portcullis_signals_unblock(mask) }
        }
    }

    /// Blocks the signals and makes them readable.
    ///
    /// - Parameters:
    ///   - numbers: the signals, each from 1 to 31.
    ///   - exceptIgnored: leave out those that are ignored now, as nohup(1) and shells without job control leave them to
    ///     their programs: blocked, they would be queued and read all the same.
    ///   - forGood: keep them blocked when this value goes.
    public init(
        _ numbers: [Int32], exceptIgnored: Bool = false, forGood: Bool = false
    ) throws(SystemError) {
        let mask = numbers.reduce(UInt64(0)) {
            exceptIgnored && Self.isIgnored($1) ? $0 : $0 | 1 << UInt64($1 - 1)
        }
        var made: Int32 = -1
        var added: UInt64 = 0
        // SAFETY: the shim writes one integer each.
        try check(unsafe portcullis_signals_open(mask, &added, &made), "signalfd")
        descriptor = Descriptor(owning: made)
        blocked = forGood ? nil : Blocked(added)
    }

    /// Takes a descriptor over that another value made, which keeps its signals blocked.
    public init(taking descriptor: Descriptor) {
        self.descriptor = descriptor
        blocked = nil
    }

    /// The next signal; nil where none has come.
    public func next() -> Int32? {
        let number = portcullis_signals_read(descriptor.number)
        return number == 0 ? nil : number
    }

    /// Whether this process ignores a signal.
    public static func isIgnored(_ number: Int32) -> Bool {
        portcullis_signal_is_ignored(number) != 0
    }

    /// Ignores a signal in this process.
    public static func ignore(_ number: Int32) {
        portcullis_signal_ignore(number)
    }

    /// Gives every signal its default action and blocks none, as a command expects.
    public static func reset() {
        portcullis_signals_reset()
    }
}
