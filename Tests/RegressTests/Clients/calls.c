// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// A client of glibc's rcmd(3), rcmd_af(3), rexec(3) and rexec_af(3):
//     calls rcmd FAMILY HOST PORT LOCAL-USER REMOTE-USER COMMAND [apart]
//     calls rexec FAMILY HOST PORT USER PASSWORD COMMAND [apart]
// FAMILY is 4, 6 or any for the _af calls, and 0 for the others. With `apart` stderr has a connection of its own.
#define _GNU_SOURCE
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 8) return 64;
    int is_rcmd = strcmp(argv[1], "rcmd") == 0;
    char *host = argv[3];
    unsigned short port = htons((unsigned short)atoi(argv[4]));
    int secondary = -1;
    int *wanted = argc > 8 ? &secondary : NULL;
    int family = argv[2][0] == '4' ? AF_INET : argv[2][0] == '6' ? AF_INET6 : AF_UNSPEC;
    int primary;
    if (argv[2][0] == '0') {
        primary = is_rcmd ? rcmd(&host, port, argv[5], argv[6], argv[7], wanted)
                          : rexec(&host, port, argv[5], argv[6], argv[7], wanted);
    } else {
        primary = is_rcmd ? rcmd_af(&host, port, argv[5], argv[6], argv[7], wanted, family)
                          : rexec_af(&host, port, argv[5], argv[6], argv[7], wanted, family);
    }
    if (primary < 0) return 1;
    char buffer[65536];
    ssize_t count;
    // stdin first, as rsh does; then its end.
    while ((count = read(0, buffer, sizeof buffer)) > 0)
        if (write(primary, buffer, count) != count) break;
    shutdown(primary, SHUT_WR);
    struct pollfd open[2] = {{primary, POLLIN, 0}, {secondary, POLLIN, 0}};
    while (open[0].fd >= 0 || open[1].fd >= 0) {
        if (poll(open, 2, 30000) <= 0) return 2;
        for (int i = 0; i < 2; i++) {
            if (open[i].fd < 0 || !open[i].revents) continue;
            count = read(open[i].fd, buffer, sizeof buffer);
            if (count <= 0) open[i].fd = -1;
            else if (write(i + 1, buffer, count) != count) return 3;
        }
    }
    return 0;
}
