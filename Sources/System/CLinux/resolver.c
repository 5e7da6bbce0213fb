// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinux.h"

#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <resolv.h>
#include <string.h>
#include <sys/socket.h>

int portcullis_host_resolve(const char *name, int family, struct portcullis_endpoint *list, size_t capacity,
                            size_t *count) {
    *count = 0;
    struct addrinfo hints = {
        .ai_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;
    int code = getaddrinfo(name, NULL, &hints, &found);
    if (code != 0) return code;
    for (const struct addrinfo *entry = found; entry != NULL && *count < capacity; entry = entry->ai_next) {
        struct portcullis_endpoint endpoint = {0};
        if (entry->ai_family == AF_INET && entry->ai_addrlen >= sizeof(struct sockaddr_in)) {
            const struct sockaddr_in *address = (const struct sockaddr_in *)entry->ai_addr;
            memcpy(endpoint.address, &address->sin_addr, 4);
        } else if (entry->ai_family == AF_INET6 && entry->ai_addrlen >= sizeof(struct sockaddr_in6)) {
            const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)entry->ai_addr;
            endpoint.is_v6 = 1;
            memcpy(endpoint.address, &address->sin6_addr, 16);
            endpoint.scope = address->sin6_scope_id;
        } else {
            continue;
        }
        list[(*count)++] = endpoint;
    }
    freeaddrinfo(found);
    return 0;
}

int portcullis_names_unsearched(void) {
    if (res_init() != 0) return -1;
    _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
    _res.options |= RES_NOALIASES;
    return 0;
}

int portcullis_hosts_services(const char *services) {
    return __nss_configure_lookup("hosts", services);
}
