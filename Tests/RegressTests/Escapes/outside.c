// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// What the techniques try to reach: a process of the target's own uid outside its sandbox, with sockets by path and by
// abstract name, a TCP port, a queue, shared memory, a file in /tmp, and a pipe as its standard error.
//     outside ADDRESS DIRECTORY MARK KEY
// It says `ready PORT`, makes DIRECTORY/signalled when SIGUSR1 comes, and takes everything away again when it is
// terminated or its parent ends.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void need(int is_good, const char *what) {
    if (is_good)
        return;
    perror(what);
    exit(1);
}

static void listen_unix(int kind, const char *directory, const char *name, int is_abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length;
    if (is_abstract) {
        length = strlen(name) + 1;
        memcpy(address.sun_path + 1, name, length - 1);
    } else {
        length = (size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name) + 1;
    }
    int made = socket(AF_UNIX, kind, 0);
    length += offsetof(struct sockaddr_un, sun_path);
    need(bind(made, (struct sockaddr *)&address, (socklen_t)length) == 0, name);
    if (!is_abstract)
        chmod(address.sun_path, 0777);
    if (kind == SOCK_STREAM)
        need(listen(made, 16) == 0, "listen");
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 64;
    const char *directory = argv[2], *mark = argv[3];
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    umask(0);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGUSR1);
    sigprocmask(SIG_BLOCK, &ends, NULL);

    listen_unix(SOCK_STREAM, directory, "listener", 0);
    listen_unix(SOCK_DGRAM, directory, "datagram", 0);
    listen_unix(SOCK_STREAM, directory, mark, 1);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    need(bind(tcp, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    need(listen(tcp, 64) == 0, "listen");
    getsockname(tcp, (struct sockaddr *)&address, &length);

    char name[64], file[256];
    snprintf(name, sizeof name, "/%s", mark);
    snprintf(file, sizeof file, "/tmp/%s", mark);
    // A kernel can be without POSIX queues. Small: a user has few bytes of them, for all that runs beside this.
    struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 16};
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0666, &small);
    need(queue != (mqd_t)-1 || errno == ENOSYS, "mq_open");
    need(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0666) >= 0, "shm_open");
    need(open(file, O_WRONLY | O_CREAT | O_EXCL, 0666) >= 0, file);
    int segment = shmget((key_t)atoi(argv[4]), 4096, IPC_CREAT | IPC_EXCL | 0666);
    need(segment >= 0, "shmget");

    // As that of a session's command: who opens it to read takes what is said in it.
    int errors[2];
    need(pipe(errors) == 0 && dup2(errors[1], 2) == 2, "pipe");
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    snprintf(file, sizeof file, "%s/signalled", directory);
    int number;
    while (sigwait(&ends, &number) == 0 && number == SIGUSR1)
        close(open(file, O_WRONLY | O_CREAT, 0666));
    snprintf(file, sizeof file, "/tmp/%s", mark);
    shmctl(segment, IPC_RMID, NULL);
    mq_unlink(name);
    shm_unlink(name);
    unlink(file);
    return 0;
}
