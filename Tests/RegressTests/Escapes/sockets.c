// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// The network, other address families, and IPC that reaches outside the session.
#include "escape.h"

#include <arpa/inet.h>
#include <linux/if_alg.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct outcome open_socket(int family, int kind, int protocol) {
    return tried_if_there(socket(family, kind, protocol));
}

// MARK: - The internet

// A port of the test's, at the address that it listens on.
static struct sockaddr_in there(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)given_number(port))};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    return address;
}

static struct outcome connect_tcp(void) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in address = there("tcp");
    return tried(connect(made, (struct sockaddr *)&address, sizeof address));
}

static struct outcome connect_tcp6(void) {
    int made = socket(AF_INET6, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    address.sin6_addr.s6_addr[15] = 1;
    // Nobody listens there: that it is asked is what counts.
    return reached(connect(made, (struct sockaddr *)&address, sizeof address));
}

static struct outcome connect_fast(void) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in address = there("tcp");
    return tried(sendto(made, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}

static struct outcome listen_tcp(void) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in address = {.sin_family = AF_INET};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    if (bind(made, (struct sockaddr *)&address, sizeof address) < 0)
        return blocked(errno);
    return tried(listen(made, 1));
}

static struct outcome bind_reserved(void) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1001)};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    return tried(bind(made, (struct sockaddr *)&address, sizeof address));
}

static struct outcome send_udp(void) {
    int made = socket(AF_INET, SOCK_DGRAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_in address = there("tcp");
    return tried(sendto(made, "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}

static struct outcome raw(void) { return open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static struct outcome ping(void) { return open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); }
static struct outcome multipath(void) { return open_socket(AF_INET, SOCK_STREAM, 262); }
static struct outcome stream_control(void) { return open_socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP); }
static struct outcome shared_memory_sockets(void) { return open_socket(43 /* AF_SMC */, SOCK_STREAM, 0); }

// MARK: - Other families

static struct outcome netlink_route(void) { return open_socket(AF_NETLINK, SOCK_RAW, 0); }
static struct outcome netlink_audit(void) { return open_socket(AF_NETLINK, SOCK_RAW, 9); }
static struct outcome packet(void) { return open_socket(AF_PACKET, SOCK_RAW, 0); }
static struct outcome algorithms(void) { return open_socket(AF_ALG, SOCK_SEQPACKET, 0); }
static struct outcome machines(void) { return open_socket(AF_VSOCK, SOCK_STREAM, 0); }
static struct outcome bluetooth(void) { return open_socket(AF_BLUETOOTH, SOCK_RAW, 1); }
static struct outcome express(void) { return open_socket(44 /* AF_XDP */, SOCK_RAW, 0); }

// MARK: - Sockets of this host

static struct sockaddr_un path_address(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}

static struct outcome connect_path(const char *path) {
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_un address = path_address(path);
    return tried(connect(made, (struct sockaddr *)&address, sizeof address));
}

static struct outcome connect_unix(void) { return connect_path(given("unix")); }

// The gateway's own: status, sessions, terminate, reload.
static struct outcome connect_control(void) {
    int made = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_un address = path_address(beneath(given("runtime"), "control"));
    return tried(connect(made, (struct sockaddr *)&address, sizeof address));
}

static struct outcome abstract(int binding) {
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = given("mark");
    memcpy(address.sun_path + 1, name, strlen(name));
    if (binding)
        address.sun_path[1] = 'X';
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return tried(binding ? bind(made, (struct sockaddr *)&address, length)
                         : connect(made, (struct sockaddr *)&address, length));
}

static struct outcome connect_abstract(void) { return abstract(0); }
static struct outcome bind_abstract(void) { return abstract(1); }

// A datagram socket of a pair sends to any path, without socket(2) or connect(2).
static struct outcome pair_to_path(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
        return blocked(errno);
    struct sockaddr_un address = path_address(given("datagram"));
    return tried(sendto(ends[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}

static struct outcome pair_to_path_by_message(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
        return blocked(errno);
    struct sockaddr_un address = path_address(given("datagram"));
    struct iovec part = {"x", 1};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1};
    return tried(sendmsg(ends[0], &message, 0));
}

// The client's socket, given to a process outside.
static struct outcome pass_descriptor(void) {
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    if (made < 0)
        return blocked(errno);
    struct sockaddr_un address = path_address(given("unix"));
    if (connect(made, (struct sockaddr *)&address, sizeof address) < 0)
        return blocked(errno);
    struct iovec part = {"x", 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    int zero = 0;
    memcpy(CMSG_DATA(header), &zero, sizeof zero);
    return tried(sendmsg(made, &message, 0));
}

// MARK: - IPC

static struct outcome queue_outside(void) {
    char name[64];
    snprintf(name, sizeof name, "/%s", given("mark"));
    return tried_if_there(mq_open(name, O_WRONLY));
}

static struct outcome queue_made(void) {
    char name[64];
    snprintf(name, sizeof name, "/%s-own", given("mark"));
    struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 16};
    mqd_t made = mq_open(name, O_RDWR | O_CREAT, 0600, &small);
    int failure = errno;
    // One that could not be opened can have been made all the same.
    int was_made = mq_unlink(name) == 0 || made != (mqd_t)-1;
    if (!was_made)
        return outcome(failure == ENOSYS ? ABSENT : BLOCKED, failure);
    // It is ours alone where the test's cannot be seen.
    struct outcome outside = queue_outside();
    return outside.what == WORKED ? worked() : contained();
}

static struct outcome queue_removed(void) {
    char name[64];
    snprintf(name, sizeof name, "/%s", given("mark"));
    return tried_if_there(mq_unlink(name));
}

static struct outcome segment_outside(void) {
    int there = shmget(given_number("key"), 0, 0);
    if (there < 0)
        return blocked(errno);
    return tried((long)shmat(there, NULL, 0) == -1 ? -1 : 0);
}

static struct outcome segment_made(void) {
    int made = shmget(given_number("key") + 1, 4096, IPC_CREAT | 0600);
    if (made < 0)
        return blocked(errno);
    shmctl(made, IPC_RMID, NULL);
    struct outcome outside = segment_outside();
    return outside.what == WORKED ? worked() : contained();
}

static struct outcome shared_memory(void) {
    char name[64];
    snprintf(name, sizeof name, "/%s", given("mark"));
    return tried(shm_open(name, O_RDWR, 0));
}

const struct technique socket_techniques[] = {
    {"tcp-connect", connect_tcp},
    {"tcp6-connect", connect_tcp6},
    {"tcp-fastopen", connect_fast},
    {"tcp-listen", listen_tcp},
    {"bind-reserved", bind_reserved},
    {"udp", send_udp},
    {"raw", raw},
    {"ping", ping},
    {"mptcp", multipath},
    {"sctp", stream_control},
    {"smc", shared_memory_sockets},
    {"netlink-route", netlink_route},
    {"netlink-audit", netlink_audit},
    {"packet", packet},
    {"alg", algorithms},
    {"vsock", machines},
    {"bluetooth", bluetooth},
    {"xdp", express},
    {"unix-path", connect_unix},
    {"unix-control", connect_control},
    {"unix-abstract", connect_abstract},
    {"unix-abstract-bind", bind_abstract},
    {"unix-pair-datagram", pair_to_path},
    {"unix-pair-datagram-message", pair_to_path_by_message},
    {"pass-descriptor", pass_descriptor},
    {"mqueue-outside", queue_outside},
    {"mqueue", queue_made},
    {"mqueue-remove-outside", queue_removed},
    {"sysv-outside", segment_outside},
    {"sysv", segment_made},
    {"posix-shm", shared_memory},
    {NULL, NULL},
};
