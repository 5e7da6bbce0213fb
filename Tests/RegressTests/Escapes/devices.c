// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Devices: those that the host has, and those that one makes. They are opened and not used.
#include "escape.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

static struct outcome open_memory(void) { return tried(open("/dev/mem", O_RDWR)); }
static struct outcome open_kernel_log(void) { return tried(open("/dev/kmsg", O_WRONLY)); }
static struct outcome open_fuse(void) { return tried(open("/dev/fuse", O_RDWR)); }
static struct outcome open_tunnel(void) { return tried(open("/dev/net/tun", O_RDWR)); }
static struct outcome open_machines(void) { return tried(open("/dev/kvm", O_RDWR)); }
static struct outcome open_userfault(void) { return tried(open("/dev/userfaultfd", O_RDWR)); }
static struct outcome open_loops(void) { return tried(open("/dev/loop-control", O_RDWR)); }
static struct outcome open_terminal(void) { return tried(open("/dev/tty", O_RDWR)); }
static struct outcome open_terminals(void) { return tried(open("/dev/ptmx", O_RDWR | O_NOCTTY)); }
static struct outcome open_console(void) { return tried(open("/dev/console", O_WRONLY | O_NOCTTY)); }
static struct outcome write_null(void) { return tried(open("/dev/null", O_RDWR)); }
static struct outcome seed_random(void) { return tried(open("/dev/urandom", O_WRONLY)); }

static struct outcome open_disk(void) {
    const char *disks[] = {"/dev/vda", "/dev/sda", "/dev/nvme0n1"};
    int failure = ENOENT;
    for (int i = 0; i < 3; i++) {
        if (open(disks[i], O_RDONLY) >= 0)
            return worked();
        if (errno != ENOENT)
            failure = errno;
    }
    return blocked(failure);
}

// Makes a device of memory's number where we can write, and opens it.
static struct outcome make_device(mode_t kind, dev_t number) {
    const char *places[] = {getenv("TMPDIR"), given("home"), "/tmp"};
    struct outcome result = blocked(ENOENT);
    for (int i = 0; i < 3; i++) {
        if (!places[i] || !*places[i])
            continue;
        const char *path = beneath(places[i], "device");
        if (mknod(path, kind | 0600, number) < 0) {
            result = blocked(errno);
            continue;
        }
        result = tried(open(path, O_RDONLY));
        unlink(path);
        if (result.what == WORKED)
            return result;
    }
    return result;
}

static struct outcome make_memory(void) { return make_device(S_IFCHR, makedev(1, 1)); }
static struct outcome make_disk(void) { return make_device(S_IFBLK, makedev(7, 0)); }

const struct technique device_techniques[] = {
    {"dev-mem", open_memory},
    {"dev-disk", open_disk},
    {"dev-kmsg", open_kernel_log},
    {"dev-fuse", open_fuse},
    {"dev-tun", open_tunnel},
    {"dev-kvm", open_machines},
    {"dev-userfaultfd", open_userfault},
    {"dev-loop-control", open_loops},
    {"dev-tty", open_terminal},
    {"dev-ptmx", open_terminals},
    {"dev-console", open_console},
    {"dev-null", write_null},
    {"dev-urandom-write", seed_random},
    {"mknod-char", make_memory},
    {"mknod-block", make_disk},
    {NULL, NULL},
};
