// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

#include "CLinux.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int endpoint_read(const struct sockaddr_storage *storage, struct portcullis_endpoint *endpoint) {
    memset(endpoint, 0, sizeof *endpoint);
    if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)storage;
        memcpy(endpoint->address, &address->sin_addr, 4);
        endpoint->port = ntohs(address->sin_port);
        return 0;
    }
    if (storage->ss_family == AF_INET6) {
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)storage;
        endpoint->is_v6 = 1;
        memcpy(endpoint->address, &address->sin6_addr, 16);
        endpoint->port = ntohs(address->sin6_port);
        endpoint->scope = address->sin6_scope_id;
        return 0;
    }
    return EAFNOSUPPORT;
}

static socklen_t endpoint_write(const struct portcullis_endpoint *endpoint, struct sockaddr_storage *storage) {
    memset(storage, 0, sizeof *storage);
    if (endpoint->is_v6) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)storage;
        address->sin6_family = AF_INET6;
        memcpy(&address->sin6_addr, endpoint->address, 16);
        address->sin6_port = htons(endpoint->port);
        address->sin6_scope_id = endpoint->scope;
        return sizeof *address;
    }
    struct sockaddr_in *address = (struct sockaddr_in *)storage;
    address->sin_family = AF_INET;
    memcpy(&address->sin_addr, endpoint->address, 4);
    address->sin_port = htons(endpoint->port);
    return sizeof *address;
}

int portcullis_socket_peer(int socket, struct portcullis_endpoint *endpoint) {
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    if (getpeername(socket, (struct sockaddr *)&storage, &size) != 0) return errno;
    return endpoint_read(&storage, endpoint);
}

int portcullis_socket_local(int socket, struct portcullis_endpoint *endpoint) {
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    if (getsockname(socket, (struct sockaddr *)&storage, &size) != 0) return errno;
    return endpoint_read(&storage, endpoint);
}

int portcullis_socket_open(int is_v6, int *made) {
    int opened = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (opened < 0) return errno;
    *made = opened;
    return 0;
}

int portcullis_socket_bind(const struct portcullis_endpoint *endpoint, int reuse, int *made) {
    int opened;
    int code = portcullis_socket_open(endpoint->is_v6, &opened);
    if (code != 0) return code;
    int on = 1;
    struct sockaddr_storage storage;
    socklen_t size = endpoint_write(endpoint, &storage);
    if ((reuse && setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
        (endpoint->is_v6 && setsockopt(opened, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(opened, (struct sockaddr *)&storage, size) != 0) {
        code = errno;
        close(opened);
        return code;
    }
    *made = opened;
    return 0;
}

int portcullis_socket_listen(const struct portcullis_endpoint *endpoint, int backlog, int *made) {
    int bound;
    int code = portcullis_socket_bind(endpoint, 1, &bound);
    if (code != 0) return code;
    if (listen(bound, backlog) != 0) {
        code = errno;
        close(bound);
        return code;
    }
    *made = bound;
    return 0;
}

int portcullis_socket_connect(int socket, const struct portcullis_endpoint *endpoint) {
    struct sockaddr_storage storage;
    socklen_t size = endpoint_write(endpoint, &storage);
    int result;
    do {
        result = connect(socket, (struct sockaddr *)&storage, size);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? errno : 0;
}

int portcullis_socket_accept(int listener, int *made) {
    int accepted;
    do {
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (accepted < 0 && errno == EINTR);
    if (accepted < 0) return errno;
    *made = accepted;
    return 0;
}

int portcullis_socket_error(int socket) {
    int value = 0;
    int code = portcullis_socket_get(socket, SOL_SOCKET, SO_ERROR, &value);
    return code != 0 ? -code : value;
}

int portcullis_socket_set(int socket, int level, int option, int value) {
    return setsockopt(socket, level, option, &value, sizeof value) != 0 ? errno : 0;
}

int portcullis_socket_get(int socket, int level, int option, int *value) {
    socklen_t size = sizeof *value;
    return getsockopt(socket, level, option, value, &size) != 0 ? errno : 0;
}

int portcullis_socket_linger(int socket, int on, int seconds) {
    struct linger linger = {.l_onoff = on, .l_linger = seconds};
    return setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0 ? errno : 0;
}

static int local_address(const char *path, struct sockaddr_un *address, socklen_t *size) {
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length == 0 || length >= sizeof address->sun_path) return ENAMETOOLONG;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@') address->sun_path[0] = 0;
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '@' ? 0 : 1));
    return 0;
}

int portcullis_local_listen(const char *path, int *made) {
    struct sockaddr_un address;
    socklen_t size;
    int code = local_address(path, &address, &size);
    if (code != 0) return code;
    int opened = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (opened < 0) return errno;
    // The path's mode is set before anybody can connect: between bind and listen a connect is refused.
    if (bind(opened, (struct sockaddr *)&address, size) != 0 || listen(opened, 8) != 0) {
        code = errno;
        close(opened);
        return code;
    }
    *made = opened;
    return 0;
}

static int local_connect(const char *path, int type, int *made) {
    struct sockaddr_un address;
    socklen_t size;
    int code = local_address(path, &address, &size);
    if (code != 0) return code;
    int opened = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (opened < 0) return errno;
    if (connect(opened, (struct sockaddr *)&address, size) != 0) {
        code = errno;
        close(opened);
        return code;
    }
    *made = opened;
    return 0;
}

int portcullis_local_connect(const char *path, int *made) {
    return local_connect(path, SOCK_SEQPACKET, made);
}

int portcullis_local_connect_datagram(const char *path, int *made) {
    return local_connect(path, SOCK_DGRAM | SOCK_NONBLOCK, made);
}

int portcullis_local_notify(const char *path, const char *text) {
    struct sockaddr_un address;
    socklen_t size;
    int code = local_address(path, &address, &size);
    if (code != 0) return code;
    int opened = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (opened < 0) return errno;
    if (sendto(opened, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) code = errno;
    close(opened);
    return code;
}

static void signals_set(uint64_t mask, sigset_t *set) {
    sigemptyset(set);
    for (int number = 1; number <= 31; number++) {
        if (mask & (UINT64_C(1) << (number - 1))) sigaddset(set, number);
    }
}

int portcullis_signals_open(uint64_t mask, uint64_t *added, int *descriptor) {
    sigset_t set, before;
    signals_set(mask, &set);
    if (sigprocmask(SIG_BLOCK, &set, &before) != 0) return errno;
    int opened = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (opened < 0) {
        int code = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        return code;
    }
    *added = 0;
    for (int number = 1; number <= 31; number++) {
        uint64_t bit = UINT64_C(1) << (number - 1);
        if ((mask & bit) && sigismember(&before, number) == 0) *added |= bit;
    }
    *descriptor = opened;
    return 0;
}

int portcullis_thread_id(void) {
    return gettid();
}

void portcullis_signals_unblock(uint64_t mask) {
    sigset_t set;
    signals_set(mask, &set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int portcullis_signal_is_ignored(int signal_number) {
    struct sigaction action;
    return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

ssize_t portcullis_netlink_receive(int descriptor, void *bytes, size_t limit, uint32_t *port) {
    struct sockaddr_nl sender = {0};
    socklen_t length = sizeof sender;
    ssize_t count;
    do
        count = recvfrom(descriptor, bytes, limit, MSG_DONTWAIT, (struct sockaddr *)&sender, &length);
    while (count < 0 && errno == EINTR);
    *port = sender.nl_family == AF_NETLINK ? sender.nl_pid : 0;
    return count < 0 ? -errno : count;
}

int portcullis_signals_read(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void portcullis_signals_reset(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void portcullis_signal_ignore(int signal_number) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    sigaction(signal_number, &action, NULL);
}
