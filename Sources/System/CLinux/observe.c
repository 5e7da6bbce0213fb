// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinuxObserve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE (1UL << 0)
#endif

uint32_t portcullis_observe_architecture(void) {
#if defined(__x86_64__)
    return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
    return AUDIT_ARCH_AARCH64;
#else
#error "known for x86-64 and arm64 alone"
#endif
}

// What the child says of a step that failed.
struct failure {
    int step;
    int code;
};

_Noreturn static void fail(int socket, int step, int code) {
    struct failure failure = {step, code};
    ssize_t sent = send(socket, &failure, sizeof failure, MSG_NOSIGNAL);
    (void)sent;
    _exit(127);
}

// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and CLONE_PARENT: no sandbox lets them pass.
#define REFUSED_CLONES 0x7E028000U

// Allows the calls that are not told, with the number of the call loaded; says how many instructions that takes.
static size_t pass(struct sock_filter *place, const uint32_t *passed, size_t count) {
    struct sock_filter *end = place;
    for (size_t index = 0; index < count; index++) {
        int is_clone = passed[index] == __NR_clone;
        *end++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, passed[index], 0, is_clone ? 4 : 1);
        if (is_clone) {
            *end++ = (struct sock_filter)BPF_STMT(
                BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args[0]));
            *end++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, REFUSED_CLONES, 0, 1);
            *end++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
        }
        *end++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    return (size_t)(end - place);
}

// The child: everything after fork, in one thread, with calls that are safe there alone.
_Noreturn static void become(
    const char *path, char *const *argv, char *const *envp, const struct portcullis_observe_terms *terms, int socket,
    pid_t parent) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    const int signals[] = {SIGINT, SIGQUIT, SIGPIPE};
    for (size_t index = 0; index < sizeof signals / sizeof *signals; index++) sigaction(signals[index], &plain, NULL);
    if (terms->output >= 0 && dup2(terms->output, STDOUT_FILENO) < 0) fail(socket, PORTCULLIS_OBSERVE_START, errno);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(socket, PORTCULLIS_OBSERVE_START, errno);
    if (getppid() != parent) fail(socket, PORTCULLIS_OBSERVE_START, ESRCH);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(socket, PORTCULLIS_OBSERVE_FILTER, errno);

    // The message that hands the descriptor over is the one call that is not told: nobody could hear of it yet. It is
    // known by its arguments, an address that this image alone has among them.
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    uint64_t place = (uint64_t)(uintptr_t)&message;
#define FIELD(name) ((uint32_t)offsetof(struct seccomp_data, name))
    const struct sock_filter first[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, portcullis_observe_architecture(), 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(nr)),
    };
    const struct sock_filter last[] = {
        // Every sandbox has these, and they must not fail: a signal that comes while a call waits here ends it with EINTR,
        // and a close that fails so leaves a pipe open for ever.
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_close, 11, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_read, 10, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 9, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 8, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_restart_syscall, 7, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_sendmsg, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)socket, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)place, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[1]) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(place >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
#undef FIELD
    // Five instructions a call at most.
    struct sock_filter instructions[sizeof first / sizeof *first + 5 * PORTCULLIS_OBSERVE_PASSED + sizeof last / sizeof *last];
    size_t length = sizeof first / sizeof *first;
    memcpy(instructions, first, sizeof first);
    length += pass(instructions + length, terms->passed, terms->count);
    memcpy(instructions + length, last, sizeof last);
    length += sizeof last / sizeof *last;
    struct sock_fprog program = {.len = (unsigned short)length, .filter = instructions};
    // Once it is looked at, only a deadly signal ends the wait (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19).
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | 1UL << 5, &program);
    if (listener < 0 && errno == EINVAL) listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0) fail(socket, PORTCULLIS_OBSERVE_FILTER, errno);
    int descriptor = (int)listener;
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    // A raw call, so that the address is the one that the filter knows.
    if (syscall(SYS_sendmsg, socket, &message, MSG_NOSIGNAL) != 1) _exit(127);
    // From here on every call waits for the other side: both descriptors are closed at execve.
    execve(path, argv, envp);
    fail(socket, PORTCULLIS_OBSERVE_EXECUTE, errno);
}

static int take(int socket, int *listener, int *step) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct failure failure = {PORTCULLIS_OBSERVE_START, ECHILD};
    struct iovec part = {.iov_base = &failure, .iov_len = sizeof failure};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(listener, CMSG_DATA(header), sizeof *listener);
        return 0;
    }
    *step = got == (ssize_t)sizeof failure ? failure.step : PORTCULLIS_OBSERVE_START;
    return got == (ssize_t)sizeof failure && failure.code > 0 ? failure.code : ECHILD;
}

int portcullis_observe_start(
    const char *path, char *const *argv, char *const *envp, const struct portcullis_observe_terms *terms, pid_t *pid,
    int *listener, int *step) {
    int pair[2];
    *step = PORTCULLIS_OBSERVE_START;
    if (terms->count > PORTCULLIS_OBSERVE_PASSED) return E2BIG;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    pid_t parent = getpid();
    pid_t made = fork();
    if (made < 0) {
        int code = errno;
        close(pair[0]);
        close(pair[1]);
        return code;
    }
    if (made == 0) {
        close(pair[0]);
        become(path, argv, envp, terms, pair[1], parent);
    }
    close(pair[1]);
    int code = take(pair[0], listener, step);
    close(pair[0]);
    if (code != 0) {
        int status;
        while (waitpid(made, &status, 0) < 0 && errno == EINTR) continue;
        return code;
    }
    *pid = made;
    return 0;
}

// The running kernel's structures may be longer than the headers' (SECCOMP_GET_NOTIF_SIZES).
static int sizes(struct seccomp_notif_sizes *sizes) {
    static struct seccomp_notif_sizes known;
    if (known.seccomp_notif == 0 && syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &known) != 0) return errno;
    *sizes = known;
    return 0;
}

int portcullis_observe_next(int listener, struct portcullis_observed_call *call) {
    struct seccomp_notif_sizes room;
    int code = sizes(&room);
    if (code != 0) return code;
    union {
        struct seccomp_notif body;
        uint8_t bytes[512];
    } notice;
    if (room.seccomp_notif > sizeof notice) return E2BIG;
    // The kernel wants it zeroed.
    memset(&notice, 0, sizeof notice);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0)
        return errno == ENOENT || errno == EINTR ? EAGAIN : errno;
    call->id = notice.body.id;
    call->thread = notice.body.pid;
    call->architecture = notice.body.data.arch;
    call->number = notice.body.data.nr;
    for (size_t index = 0; index < 6; index++) call->arguments[index] = notice.body.data.args[index];
    return 0;
}

int portcullis_observe_answer(int listener, uint64_t id, int code) {
    struct seccomp_notif_sizes room;
    int failure = sizes(&room);
    if (failure != 0) return failure;
    union {
        struct seccomp_notif_resp body;
        uint8_t bytes[512];
    } answer;
    if (room.seccomp_notif_resp > sizeof answer) return E2BIG;
    memset(&answer, 0, sizeof answer);
    answer.body.id = id;
    if (code == 0)
        answer.body.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
        answer.body.error = -code;
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 ? 0 : errno;
}

int portcullis_observe_read(pid_t thread, uint64_t address, uint8_t *bytes, size_t size, size_t *count) {
    struct iovec here = {.iov_base = bytes, .iov_len = size};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);
    if (got < 0) return errno;
    *count = (size_t)got;
    return 0;
}
