// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// More of the machine than the sandbox's limits give. What is taken is bounded here too: where no limit holds, the
// technique has worked and lets go.
#include "escape.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

// More than `home`'s processes.
static struct outcome fork_bomb(void) {
    enum { MOST = 700 };
    static pid_t children[MOST];
    int count = 0;
    struct outcome result = worked();
    while (count < MOST) {
        pid_t child = fork();
        if (child < 0) {
            result = blocked(errno);
            break;
        }
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            sleep(20);
            _exit(0);
        }
        children[count++] = child;
    }
    for (int i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0) {
    }
    return result;
}

static struct outcome memory_hog(void) {
    void *taken = mmap(NULL, 6UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return taken == MAP_FAILED ? blocked(errno) : worked();
}

static struct outcome descriptor_hog(void) {
    for (int i = 0; i < 1100; i++)
        if (dup(0) < 0)
            return blocked(errno);
    return worked();
}

// Sparse: nothing is taken but the length.
static struct outcome long_file(void) {
    int file = (int)syscall(SYS_memfd_create, "escape", MFD_CLOEXEC);
    if (file < 0)
        return blocked(errno);
    return tried(ftruncate(file, 5L << 30));
}

// 300 MiB, in whatever can be written: more than a private /tmp has.
static struct outcome disk_filler(void) {
    const char *places[] = {getenv("TMPDIR"), "/tmp"};
    const char *place = places[0] && *places[0] ? places[0] : places[1];
    struct outcome result = worked();
    int made = 0;
    for (; made < 10 && result.what == WORKED; made++) {
        char name[16];
        snprintf(name, sizeof name, "fill%d", made);
        int file = open(beneath(place, name), O_WRONLY | O_CREAT, 0600);
        if (file < 0)
            result = blocked(errno);
        else if (fallocate(file, 0, 0, 30 << 20) < 0)
            result = blocked(errno);
    }
    for (int i = 0; i < made; i++) {
        char name[16];
        snprintf(name, sizeof name, "fill%d", i);
        unlink(beneath(place, name));
    }
    return result;
}

static struct outcome raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return blocked(errno);
    limit.rlim_max += 1;
    return tried(setrlimit(RLIMIT_NOFILE, &limit));
}

static struct outcome dump_core(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    return tried(setrlimit(RLIMIT_CORE, &limit));
}

static struct outcome raise_priority(void) { return tried(setpriority(PRIO_PROCESS, 0, -10)); }

static struct outcome real_time(void) {
    struct sched_param parameter = {.sched_priority = 1};
    return tried(sched_setscheduler(0, SCHED_FIFO, &parameter));
}

static struct outcome lock_memory(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    // More than the limit, so that a capability is what it takes.
    size_t size = (size_t)limit.rlim_cur + (1 << 20);
    void *taken = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (limit.rlim_cur == RLIM_INFINITY || taken == MAP_FAILED)
        return blocked(ENOMEM);
    return tried(mlock2(taken, size, MLOCK_ONFAULT));
}

const struct technique resource_techniques[] = {
    {"fork-bomb", fork_bomb},
    {"memory-hog", memory_hog},
    {"descriptor-hog", descriptor_hog},
    {"long-file", long_file},
    {"disk-filler", disk_filler},
    {"raise-limit", raise_limit},
    {"core-file", dump_core},
    {"raise-priority", raise_priority},
    {"real-time", real_time},
    {"mlock", lock_memory},
    {NULL, NULL},
};
