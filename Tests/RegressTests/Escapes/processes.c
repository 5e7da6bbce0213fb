// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Into other processes, and past the end of the session.
#include "escape.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

// MARK: - Reading and changing them

static struct outcome ptrace_child(void) {
    return tried(ptrace(PTRACE_SEIZE, waiting_child(), 0, 0));
}

static struct outcome ptrace_init(void) {
    return tried(ptrace(PTRACE_SEIZE, 1, 0, 0));
}

static struct outcome ptrace_outsider(void) {
    return tried(ptrace(PTRACE_SEIZE, given_number("victim"), 0, 0));
}

static char memory[8];

static struct outcome process_vm_write(void) {
    struct iovec part = {memory, sizeof memory};
    return tried(process_vm_writev(waiting_child(), &part, 1, &part, 1, 0));
}

static struct outcome process_vm_read(void) {
    struct iovec part = {memory, sizeof memory};
    return tried(process_vm_readv(waiting_child(), &part, 1, &part, 1, 0));
}

static struct outcome process_advise(void) {
    int victim = (int)syscall(SYS_pidfd_open, waiting_child(), 0);
    struct iovec part = {memory, sizeof memory};
    return reached(syscall(SYS_process_madvise, victim, &part, 1, 20 /* MADV_COLD */, 0));
}

static struct outcome file_of_process(int pid, const char *name, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return tried(open(path, flags));
}

static struct outcome proc_mem_outsider(void) {
    return file_of_process(given_number("victim"), "mem", O_RDWR);
}

static struct outcome proc_mem_read_outsider(void) {
    return file_of_process(given_number("victim"), "mem", O_RDONLY);
}

static struct outcome proc_mem_init(void) {
    return file_of_process(1, "mem", O_RDWR);
}

static struct outcome proc_environ_outsider(void) {
    return file_of_process(given_number("victim"), "environ", O_RDONLY);
}

// Its standard error is a pipe, as a command's is: what another session's command says, and its client waits for.
static struct outcome proc_stderr_outsider(void) {
    return file_of_process(given_number("victim"), "fd/2", O_RDONLY | O_NONBLOCK);
}

// The root directory of a process outside: a way to files that no path of the sandbox's leads to.
static struct outcome proc_root_outsider(void) {
    return file_of_process(given_number("victim"), "root/etc", O_RDONLY | O_DIRECTORY);
}

static struct outcome proc_root_init(void) {
    return file_of_process(1, "root/etc", O_RDONLY | O_DIRECTORY);
}

static struct outcome pidfd_getfd_child(void) {
    int victim = (int)syscall(SYS_pidfd_open, waiting_child(), 0);
    return tried(syscall(SYS_pidfd_getfd, victim, 0, 0));
}

static struct outcome kcmp_self(void) {
    return tried(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, 1));
}

// MARK: - Signals and limits

// SIGCONT: it harms nobody who is not stopped.
static struct outcome signal_outsider(void) {
    return tried(kill(given_number("victim"), SIGCONT));
}

static struct outcome signal_gateway(void) {
    return tried(kill(given_number("gateway"), SIGCONT));
}

// As root process 1; as a plain user a process of that user's.
static struct outcome signal_init(void) {
    return tried(kill(session_init, SIGCONT));
}

// What process 1 of a namespace does not handle does not reach it from within: so that this ends nothing.
static struct outcome kill_init(void) {
    if (session_init != 1)
        return signal_init();
    return tried(kill(1, SIGKILL));
}

static struct outcome queue_signal_outsider(void) {
    return tried(sigqueue(given_number("victim"), SIGCONT, (union sigval){0}));
}

static struct outcome pidfd_signal_outsider(void) {
    int victim = (int)syscall(SYS_pidfd_open, given_number("victim"), 0);
    if (victim < 0)
        return blocked(errno);
    return tried(syscall(SYS_pidfd_send_signal, victim, SIGCONT, 0, 0));
}

// A signal that the kernel sends later, on our behalf: to the owner of a descriptor, when it can be read.
static struct outcome owner_signal_outsider(void) {
    int ends[2];
    if (pipe(ends) < 0 || fcntl(ends[0], F_SETOWN, given_number("victim")) < 0)
        return blocked(errno);
    fcntl(ends[0], F_SETSIG, SIGUSR1);
    fcntl(ends[0], F_SETFL, O_ASYNC);
    if (write(ends[1], "x", 1) != 1)
        return blocked(errno);
    // The victim says in a file that it came.
    for (int i = 0; i < 30; i++) {
        if (access(beneath(given("open"), "signalled"), F_OK) == 0)
            return worked();
        usleep(10000);
    }
    return blocked(EPERM);
}

static struct outcome limit_outsider(void) {
    struct rlimit limit;
    if (syscall(SYS_prlimit64, given_number("victim"), RLIMIT_NOFILE, NULL, &limit) < 0)
        return blocked(errno);
    return tried(syscall(SYS_prlimit64, given_number("victim"), RLIMIT_NOFILE, &limit, NULL));
}

static struct outcome schedule_outsider(void) {
    return tried(setpriority(PRIO_PROCESS, (id_t)given_number("victim"), 1));
}

// MARK: - What outlives the session

// The name by which the test looks for a survivor: its mark, and a letter.
static void take_name(char letter) {
    char name[16];
    snprintf(name, sizeof name, "%s-%c", given("mark"), letter);
    prctl(PR_SET_NAME, name);
}

// Ends by itself at last, for the day when nothing else ends it.
static void survive(char letter, int closing) {
    take_name(letter);
    for (int number = 1; number < 32; number++)
        signal(number, SIG_IGN);
    if (closing)
        for (int descriptor = 0; descriptor < 64; descriptor++)
            close(descriptor);
    for (int i = 0; i < 60; i++)
        sleep(1);
    _exit(0);
}

static struct outcome survivor_setsid(void) {
    pid_t child = fork();
    if (child == 0) {
        setsid();
        survive('a', 1);
    }
    return child < 0 ? blocked(errno) : outcome(STARTED, 0);
}

static struct outcome survivor_double_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() == 0)
            survive('b', 1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return child < 0 ? blocked(errno) : outcome(STARTED, 0);
}

// Holds the client's connection.
static struct outcome survivor_holding(void) {
    if (fork() == 0) {
        setsid();
        survive('c', 0);
    }
    return outcome(STARTED, 0);
}

// One that has gathered its descendants, so that they are nobody else's children when it goes.
static struct outcome survivor_subreaper(void) {
    if (fork() == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        setsid();
        for (int i = 0; i < 4; i++)
            if (fork() == 0) {
                setsid();
                if (fork() == 0)
                    survive('d', 1);
                _exit(0);
            }
        survive('d', 1);
    }
    return outcome(STARTED, 0);
}

static struct outcome survivor_stopped(void) {
    pid_t child = fork();
    if (child == 0) {
        setsid();
        take_name('e');
        close(0);
        close(1);
        close(2);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    waitpid(child, &status, WUNTRACED);
    return outcome(STARTED, 0);
}

// A clone whose parent is the caller's parent: nobody's child here (CLONE_PARENT).
static struct outcome clone_parent(void) {
    long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return tried(child);
}

const struct technique process_techniques[] = {
    {"ptrace", ptrace_child},
    {"ptrace-init", ptrace_init},
    {"ptrace-outsider", ptrace_outsider},
    {"process-vm-writev", process_vm_write},
    {"process-vm-readv", process_vm_read},
    {"process-madvise", process_advise},
    {"proc-mem-outsider", proc_mem_outsider},
    {"proc-mem-read-outsider", proc_mem_read_outsider},
    {"proc-mem-init", proc_mem_init},
    {"proc-environ-outsider", proc_environ_outsider},
    {"proc-stderr-outsider", proc_stderr_outsider},
    {"proc-root-outsider", proc_root_outsider},
    {"proc-root-init", proc_root_init},
    {"pidfd-getfd", pidfd_getfd_child},
    {"kcmp", kcmp_self},
    {"signal-outsider", signal_outsider},
    {"signal-queue-outsider", queue_signal_outsider},
    {"signal-pidfd-outsider", pidfd_signal_outsider},
    {"signal-owner-outsider", owner_signal_outsider},
    {"signal-gateway", signal_gateway},
    {"signal-init", signal_init},
    {"kill-init", kill_init},
    {"limit-outsider", limit_outsider},
    {"schedule-outsider", schedule_outsider},
    {"survivor-setsid", survivor_setsid},
    {"survivor-double-fork", survivor_double_fork},
    {"survivor-holding", survivor_holding},
    {"survivor-subreaper", survivor_subreaper},
    {"survivor-stopped", survivor_stopped},
    {"clone-parent", clone_parent},
    {NULL, NULL},
};
