// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// System calls that our own helpers need: the whole list of each, and the groups that it is put together of.
public enum HelperCalls {
    /// Front: it uses what it is given. There is no socket, connect, bind or open among them.
    ///
    /// `listen` is NIO's, on listeners that are bound and listen already.
    public static let front = runtime + channels + connections + threads + ["listen"]

    /// The engine: it reads files that are open, and speaks on channels that are open.
    public static let engine = runtime + channels

    /// The auditor: it has files, of which Landlock leaves those below its directory.
    public static let auditor = runtime + channels + files

    /// Memory, signals to oneself, clocks and the end: what the C library and Swift's runtime call in any program.
    public static let runtime: [String] = [
        "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "exit", "exit_group", "futex", "getegid", "geteuid",
        "getgid", "getpid", "getppid", "getrandom", "gettid", "gettimeofday", "getuid", "madvise", "mmap", "mprotect",
        "mremap", "munmap", "nanosleep", "prlimit64", "getrlimit", "restart_syscall", "rseq", "rt_sigaction",
        "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "set_robust_list", "sigaltstack",
        "sysinfo", "tgkill", "time", "uname",
    ]

    /// Making threads; `SystemCallFilter.helper(threads: true)` adds them.
    public static let threads: [String] = [
        "clone", "clone3", "get_robust_list", "membarrier", "prctl", "sched_getparam", "sched_getscheduler",
        "sched_setaffinity", "set_tid_address",
    ]

    /// Reading, writing, waiting on and closing what is open: channels, the log, pipes.
    public static let channels: [String] = [
        "close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait",
        "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "fcntl", "fstat", "getsockopt", "ioctl", "lseek",
        "newfstatat", "pipe2", "poll", "ppoll", "read", "readv", "recvfrom", "recvmsg", "sendmsg", "sendto",
        "setsockopt", "shutdown", "signalfd4", "socketpair", "statx", "timerfd_create", "timerfd_gettime",
        "timerfd_settime", "write", "writev",
    ]

    /// Using connections that others have opened, and accepting on listeners that others have bound.
    public static let connections: [String] = [
        "accept", "accept4", "getpeername", "getsockname", "pread64", "recvmmsg", "sendmmsg",
    ]

    /// Files below a directory: the trail.
    public static let files: [String] = [
        "access", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchmod", "fdatasync", "flock", "fsync",
        "ftruncate", "getcwd", "getdents64", "linkat", "lstat", "mkdirat", "open", "openat", "pread64", "pwrite64",
        "pwritev", "readlink", "readlinkat", "rename", "renameat", "renameat2", "stat", "statfs", "fstatfs",
        "unlink", "unlinkat",
    ]
}
