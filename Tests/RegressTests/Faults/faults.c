// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Makes the auditor's disk fail, and the auditor die, when a test says so: a library that is loaded before the C library
// into every program of a gateway's own mount namespace (ld.so.preload), and does nothing but in portcullis-auditor.
//
// The test speaks through a file that is mapped before the auditor confines itself. Byte 0: which calls fail (below);
// byte 1: with which errno; byte 2: how many of these calls are left until the process ends at one, as by SIGKILL; 0 for
// never; byte 3: how many descriptors the next auditor may have, 0 for as many as ever. Only regular files and directories count, so that channels and the log go on.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef CONTROL
#error "CONTROL is the path of the file that the test writes"
#endif

enum { WRITE = 1, SYNC = 2, RENAME = 4, HALF_WRITE = 8 };

static volatile unsigned char *control;

__attribute__((constructor)) static void start(void) {
    if (strcmp(program_invocation_short_name, "portcullis-auditor") != 0)
        return;
    int file = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED)
        return;
    control = page;
    struct rlimit limit = {.rlim_cur = control[3], .rlim_max = control[3]};
    control[3] = 0;
    if (limit.rlim_cur > 0)
        setrlimit(RLIMIT_NOFILE, &limit);
}

// Whether this call is to fail; the process may end here instead.
static int fails(int descriptor, int call) {
    struct stat status;
    if (control == NULL || (descriptor >= 0 && descriptor <= 2) ||
        (descriptor >= 0 && (fstat(descriptor, &status) != 0 ||
                             (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)))))
        return 0;
    if (control[2] > 0 && --control[2] == 0)
        _exit(99);
    return control[0] & call;
}

static int failure(void) {
    errno = control[1];
    return -1;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    int how = fails(descriptor, WRITE | HALF_WRITE);
    // The first half goes, and the rest finds no room.
    if (how & HALF_WRITE && count > 1)
        return real(descriptor, bytes, count / 2);
    return how != 0 ? failure() : real(descriptor, bytes, count);
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(descriptor, SYNC) ? failure() : real(descriptor);
}

int renameat(int from, const char *name, int to, const char *other) {
    static int (*real)(int, const char *, int, const char *);
    if (real == NULL)
        real = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    return fails(-1, RENAME) ? failure() : real(from, name, to, other);
}
