// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// linux-libc-dev's headers are older than the kernels we run on; these numbers are the same on every architecture
// that Swift has.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { descriptor_limit = 64 };

int portcullis_message_send(int socket, const void *bytes, size_t count, const int *descriptors,
                            size_t descriptor_count, int flags) {
    if (descriptor_count > descriptor_limit) return EINVAL;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * descriptor_limit)];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * descriptor_count);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

int portcullis_message_receive(int socket, void *bytes, size_t size, size_t *count, int *descriptors, size_t capacity,
                               size_t *descriptor_count, int flags) {
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * descriptor_limit)];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *count = 0;
    *descriptor_count = 0;
    ssize_t received;
    do {
        received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    if (received < 0) return errno;
    size_t found = 0;
    int surplus = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < here; index++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + index * sizeof(int), sizeof descriptor);
            if (found < capacity) {
                descriptors[found++] = descriptor;
            } else {
                close(descriptor);
                surplus = 1;
            }
        }
    }
    if (surplus || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t index = 0; index < found; index++) close(descriptors[index]);
        return EMSGSIZE;
    }
    *count = (size_t)received;
    *descriptor_count = found;
    return 0;
}

// The front of struct tcp_info as Linux 4.19 and later have it (include/uapi/linux/tcp.h).
struct tcp_info_head {
    uint8_t state, ca_state, retransmits, probes, backoff, options, wscale, flags;
    uint32_t words[24];
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans;
};

int portcullis_tcp_counts_read(int socket, struct portcullis_tcp_counts *counts) {
    struct tcp_info_head info;
    memset(&info, 0, sizeof info);
    socklen_t size = sizeof info;
    if (getsockopt(socket, 6 /* IPPROTO_TCP */, 11 /* TCP_INFO */, &info, &size) != 0) return errno;
    if (size < sizeof info) return ENOSYS;
    counts->state = info.state;
    counts->bytes_sent = info.bytes_sent;
    counts->bytes_retransmitted = info.bytes_retrans;
    counts->bytes_acknowledged = info.bytes_acked;
    counts->bytes_received = info.bytes_received;
    counts->bytes_unsent = info.notsent_bytes;
    // tcpi_rto, tcpi_ato, tcpi_snd_mss and tcpi_rcv_mss come before tcpi_unacked.
    counts->segments_unacknowledged = info.words[4];
    return 0;
}

int portcullis_pidfd_open(pid_t pid, int *descriptor) {
    long result = syscall(SYS_pidfd_open, pid, 0);
    if (result < 0) return errno;
    *descriptor = (int)result;
    return 0;
}

int portcullis_pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? errno : 0;
}

static int child_wait(idtype_t type, id_t id, int leave, int block, pid_t *pid, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int result;
    do {
        result = waitid(type, id, &info, WEXITED | (leave ? WNOWAIT : 0) | (block ? 0 : WNOHANG));
    } while (result != 0 && errno == EINTR);
    if (result != 0) return errno;
    *pid = info.si_pid;
    *code = info.si_pid == 0 ? 0 : info.si_code;
    *status = info.si_pid == 0 ? 0 : info.si_status;
    return 0;
}

int portcullis_pidfd_wait(int pidfd, int leave, int *code, int *status) {
    pid_t pid;
    return child_wait((idtype_t)P_PIDFD, (id_t)pidfd, leave, 0, &pid, code, status);
}

int portcullis_child_wait(pid_t *pid, int *code, int *status, int leave, int block) {
    return child_wait(P_ALL, 0, leave, block, pid, code, status);
}

static char *title_start;
static size_t title_size;

// glibc passes argc, argv and envp to constructors.
__attribute__((constructor)) static void title_find(int argc, char **argv, char **envp) {
    if (argc < 1 || !argv || !argv[0]) return;
    char *end = argv[0] + strlen(argv[0]) + 1;
    for (int index = 1; index < argc; index++) {
        if (argv[index] == end) end += strlen(argv[index]) + 1;
    }
    // The environment lies behind the arguments; it is copied away before its room is used.
    char **variable = envp;
    for (; variable && *variable; variable++) {
        if (*variable == end) end += strlen(*variable) + 1;
    }
    title_start = argv[0];
    title_size = (size_t)(end - argv[0]);
}

void portcullis_title_set(const char *title) {
    static int copied;
    extern char **environ;
    if (!title_start || title_size < 2) return;
    if (!copied) {
        size_t count = 0;
        while (environ && environ[count]) count++;
        char **copy = calloc(count + 1, sizeof *copy);
        if (!copy) return;
        for (size_t index = 0; index < count; index++) {
            copy[index] = strdup(environ[index]);
            if (!copy[index]) return;
        }
        environ = copy;
        copied = 1;
    }
    // A last byte that is not NUL tells ps that the title runs on to the first NUL (proc_pid_cmdline).
    memset(title_start, 0, title_size);
    size_t length = strlen(title);
    if (length > title_size - 1) length = title_size - 1;
    memcpy(title_start, title, length);
}

int portcullis_range_close(unsigned first, unsigned last) {
    return syscall(SYS_close_range, first, last, 0) < 0 ? errno : 0;
}

int portcullis_process_control(int operation, unsigned long argument) {
    return prctl(operation, argument, 0UL, 0UL, 0UL) < 0 ? errno : 0;
}

int portcullis_peer_credentials(int socket, pid_t *pid, uid_t *uid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return errno;
    *pid = peer.pid;
    *uid = peer.uid;
    return 0;
}

int portcullis_file_open(int directory, const char *path, int flags, mode_t mode, int *descriptor) {
    int opened;
    do {
        opened = openat(directory, path, flags | O_CLOEXEC, mode);
    } while (opened < 0 && errno == EINTR);
    if (opened < 0) return errno;
    *descriptor = opened;
    return 0;
}

int portcullis_descriptor_set_blocking(int descriptor, int blocking) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return errno;
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return wanted != flags && fcntl(descriptor, F_SETFL, wanted) < 0 ? errno : 0;
}

const char *portcullis_entry_name(const struct dirent *entry) {
    return entry->d_name;
}

int portcullis_descriptor_keep_from_programs(int descriptor) {
    return fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

int portcullis_descriptor_duplicate(int descriptor, int least, int *duplicate) {
    int made = fcntl(descriptor, F_DUPFD_CLOEXEC, least);
    if (made < 0) return errno;
    *duplicate = made;
    return 0;
}

int portcullis_pipe_make(int ends[2]) {
    return pipe2(ends, O_CLOEXEC) != 0 ? errno : 0;
}
