// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CAudit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libaudit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int portcullis_audit_open(int *descriptor) {
    errno = 0;
    int made = audit_open();
    if (made < 0) return errno != 0 ? errno : EPROTONOSUPPORT;
    // audit_open asks for close-on-exec, but does not say so where it could not have it.
    if (fcntl(made, F_SETFD, FD_CLOEXEC) != 0) {
        int code = errno;
        audit_close(made);
        return code;
    }
    *descriptor = made;
    return 0;
}

int portcullis_audit_listen(int *descriptor) {
    int made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_AUDIT);
    if (made < 0) return errno;
    // Only what tells of denials: the type of the message, which a filter loads as if it were in network order.
#define KIND(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(number), 0, 1), BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        KIND(1300), // AUDIT_SYSCALL
        KIND(1326), // AUDIT_SECCOMP
        KIND(1423), // AUDIT_LANDLOCK_ACCESS, newer than Debian 12's headers
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
#undef KIND
    struct sock_fprog filter = {.len = sizeof instructions / sizeof *instructions, .filter = instructions};
    int room = 1 << 20;
    // Without it there is the default: messages that find no room are dropped and told as ENOBUFS.
    (void)setsockopt(made, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1U << (AUDIT_NLGRP_READLOG - 1)};
    if (setsockopt(made, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0
        || bind(made, (struct sockaddr *)&group, sizeof group) != 0) {
        int code = errno;
        close(made);
        return code;
    }
    *descriptor = made;
    return 0;
}

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int portcullis_audit_send(int descriptor, int type, const char *text, size_t length, int milliseconds) {
    static uint32_t sequence = 0;
    struct {
        struct nlmsghdr header;
        char text[MAX_AUDIT_MESSAGE_LENGTH];
    } message;
    // The kernel wants the text's NUL within the length.
    if (length >= sizeof message.text) return EMSGSIZE;
    memset(&message.header, 0, sizeof message.header);
    uint32_t number = ++sequence;
    message.header.nlmsg_len = NLMSG_SPACE(length + 1);
    message.header.nlmsg_type = (uint16_t)type;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message.header.nlmsg_seq = number;
    memcpy(message.text, text, length);
    memset(message.text + length, 0, NLMSG_SPACE(length + 1) - NLMSG_HDRLEN - length);

    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do {
        sent = sendto(descriptor, &message, message.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return errno;

    int64_t deadline = now_milliseconds() + milliseconds;
    for (;;) {
        int64_t left = deadline - now_milliseconds();
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        int found = poll(&wait, 1, left > 0 ? (int)left : 0);
        if (found < 0 && errno == EINTR) continue;
        if (found < 0) return errno;
        if (found == 0) return ETIMEDOUT;
        struct sockaddr_nl sender = {0};
        socklen_t size = sizeof sender;
        struct {
            struct nlmsghdr header;
            struct nlmsgerr body;
        } answer;
        ssize_t got = recvfrom(descriptor, &answer, sizeof answer, MSG_DONTWAIT, (struct sockaddr *)&sender, &size);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got < 0) return errno;
        // Only the kernel answers, and only this message's acknowledgement is awaited.
        if (size != sizeof sender || sender.nl_pid != 0 || (size_t)got < sizeof answer.header) continue;
        if (answer.header.nlmsg_type != NLMSG_ERROR || answer.header.nlmsg_seq != number) continue;
        if ((size_t)got < sizeof answer.header + sizeof answer.body.error) return EPROTO;
        return answer.body.error < 0 ? -answer.body.error : 0;
    }
}
