// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// The descriptors that a command is born with, and what can be made of the client's connection.
#include "escape.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct outcome left_open(void) {
    for (int descriptor = 3; descriptor < 4096; descriptor++)
        if (fcntl(descriptor, F_GETFD) >= 0)
            return worked();
    return blocked(EBADF);
}

static int local_port(int descriptor) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        return -1;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port) : 0;
}

// The secondary is bound to a reserved port by the gateway: any socket besides the client's first connection.
static struct outcome find_secondary(void) {
    struct stat first;
    if (fstat(0, &first) < 0)
        return blocked(errno);
    for (int descriptor = 0; descriptor < 4096; descriptor++) {
        struct stat status;
        if (fstat(descriptor, &status) < 0 || !S_ISSOCK(status.st_mode) || status.st_ino == first.st_ino)
            continue;
        if (local_port(descriptor) >= 0)
            return worked();
    }
    return blocked(ENOTSOCK);
}

// The same inode by another way: /proc does not open sockets.
static struct outcome reopen_primary(void) { return tried(open("/proc/self/fd/0", O_RDWR)); }

static struct outcome listen_on_primary(void) { return tried(listen(0, 1)); }

static struct outcome bind_primary(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1002)};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    return reached(bind(0, (struct sockaddr *)&address, sizeof address));
}

static struct outcome send_elsewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)given_number("tcp"))};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    return reached(sendto(0, "", 0, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}

// MSG_FASTOPEN without an address, as a message.
static struct outcome send_fast_message(void) {
    struct iovec part = {"", 0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return reached(sendmsg(0, &message, MSG_FASTOPEN));
}

static struct outcome linger_for_ever(void) {
    // The session clears it before it closes: EndingsTests and StreamsTests hold that.
    struct linger linger = {.l_onoff = 1, .l_linger = 3600};
    struct outcome result = tried(setsockopt(0, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    return result.what == WORKED ? contained() : result;
}

// Undoes the connection, and makes another from it: a port below 1024 would be believed. The last technique of all.
static struct outcome reconnect_primary(void) {
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (connect(0, &nowhere, sizeof nowhere) < 0)
        return blocked(errno);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)given_number("tcp"))};
    inet_pton(AF_INET, given("address"), &address.sin_addr);
    if (connect(0, (struct sockaddr *)&address, sizeof address) < 0)
        return blocked(errno);
    int port = local_port(0);
    return port >= 0 && port < 1024 ? worked() : contained();
}

const struct technique descriptor_techniques[] = {
    {"left-open", left_open},
    {"secondary", find_secondary},
    {"reopen-primary", reopen_primary},
    {"listen-on-primary", listen_on_primary},
    {"bind-primary", bind_primary},
    {"send-elsewhere", send_elsewhere},
    {"send-fastopen-message", send_fast_message},
    {"linger", linger_for_ever},
    {"reconnect-primary", reconnect_primary},
    {NULL, NULL},
};
