// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Makes the auditor's disk fail, and the auditor die, when a test says so: a library that is loaded before the C library
// into every program of a gateway's own mount namespace (ld.so.preload), and does nothing but in portcullis-auditor.
//
// The test speaks through a file that is mapped before the auditor confines itself; `enum place` names its bytes. Only
// regular files and directories count, so that channels and the log go on.
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
#include <time.h>
#include <unistd.h>

#ifndef CONTROL
#error "CONTROL is the path of the file that the test writes"
#endif

enum place {
    CALLS,       // which calls fail, of the kinds below
    ERRNO,       // with which errno
    ENDING,      // how many calls are left until the process ends at one, as by SIGKILL; 0 for never
    DESCRIPTORS, // how many descriptors the next auditor may have; 0 for as many as ever
    TIMES,       // how many calls fail until none does any more; 0 for as long as CALLS says so
    HOLDING,     // how many calls are left until the process stands still at one; 0 for never
    HELD,        // whether it stands still; it goes on when the test clears this
    CLOCK = 8,   // by how many seconds the clock is set back: three bytes, the lowest first
};

// At LOSE, what was written since the last fdatasync is gone from the file when one fails: as if it had never left memory.
enum { WRITE = 1, SYNC = 2, RENAME = 4, HALF_WRITE = 8, TRUNCATE = 16, LOSE = 32 };

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
    struct rlimit limit = {.rlim_cur = control[DESCRIPTORS], .rlim_max = control[DESCRIPTORS]};
    control[DESCRIPTORS] = 0;
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
    if (control[ENDING] > 0 && --control[ENDING] == 0)
        _exit(99);
    if (control[HOLDING] > 0 && --control[HOLDING] == 0) {
        control[HELD] = 1;
        while (control[HELD])
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    int how = control[CALLS] & call;
    if (how != 0 && control[TIMES] > 0 && --control[TIMES] == 0)
        control[CALLS] = 0;
    return how;
}

static int failure(void) {
    errno = control[ERRNO];
    return -1;
}

// From where on a file is not synchronised; one more, so that 0 is nowhere.
static off_t unsynchronised[1024];

static off_t *end_of(int descriptor) {
    return descriptor >= 0 && descriptor < 1024 ? &unsynchronised[descriptor] : &unsynchronised[0];
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    int how = fails(descriptor, WRITE | HALF_WRITE);
    struct stat status;
    if (control != NULL && *end_of(descriptor) == 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode))
        *end_of(descriptor) = status.st_size + 1;
    // The first half goes, and the rest finds no room.
    if (how & HALF_WRITE && count > 1)
        return real(descriptor, bytes, count / 2);
    return how != 0 ? failure() : real(descriptor, bytes, count);
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int how = fails(descriptor, SYNC | LOSE);
    off_t start = *end_of(descriptor);
    *end_of(descriptor) = 0;
    struct stat status;
    if (how & LOSE && start > 0 && fstat(descriptor, &status) == 0 && status.st_size >= start)
        fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start - 1, status.st_size - start + 1);
    return how != 0 ? failure() : real(descriptor);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return fails(descriptor, WRITE) ? failure() : real(descriptor, bytes, count, offset);
}

int ftruncate(int descriptor, off_t size) {
    static int (*real)(int, off_t);
    if (real == NULL)
        real = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
    return fails(descriptor, TRUNCATE) ? failure() : real(descriptor, size);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (control != NULL && clock == CLOCK_REALTIME)
        now->tv_sec -= control[CLOCK] | control[CLOCK + 1] << 8 | control[CLOCK + 2] << 16;
    return result;
}

int renameat(int from, const char *name, int to, const char *other) {
    static int (*real)(int, const char *, int, const char *);
    if (real == NULL)
        real = (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    return fails(-1, RENAME) ? failure() : real(from, name, to, other);
}
