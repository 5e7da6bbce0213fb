// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Takes one layer of confinement away from portcullisd, from outside: a library that is loaded before the C library and
// lies to it. $PORTCULLIS_WITHOUT names the layer. So the suite shows what each layer alone holds, on the very programs
// that are shipped, and no switch for it is in them: who can set another's LD_PRELOAD has that process already.
//
// With `lack PART` in its place it is the kernel that is without something, and says so: ENOSYS, or what it answers to flags
// that it does not know.
//
// Each lie answers what the caller checks, so that it goes on; what it undoes is real. The helpers and the commands
// never see it: they are other programs, and the variable is out of the environment before the first of them starts.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LANDLOCK_CREATE = 444,
    LANDLOCK_ADD = 445,
    LANDLOCK_RESTRICT = 446,
    OPEN_TREE = 428,
    MOVE_MOUNT = 429,
    FSOPEN = 430,
    MOUNT_SETATTR = 442,
    CLONE3 = 435,
    ALL_NAMESPACES = 0x7E020000,
    SET_ADMIN = 1 << CAP_SYS_ADMIN,
};

static const uint64_t INTO_CGROUP = 0x200000000;

static char layer[32];
static pid_t monitor;

// A cgroup ends what namespaces would: what either of them holds shows where both are gone.
static const char both[] = "namespaces and cgroup";

// The monitor's child that makes the empty place for the sessions' mounts: it is in nobody's tree but its own, and what it has
// made is looked at.
static int is_maker;

static int is_without(const char *name) {
    if (is_maker)
        return 0;
    return strcmp(layer, name) == 0 || (strcmp(layer, both) == 0 && strcmp(name, "namespaces") == 0);
}

// Of a session's init alone, which makes its view.
static int is_without_view(void) { return is_without("view") && getpid() == 1; }

// 1, with the errno, where the kernel is to lack this.
static int is_lacking(const char *part, int failure) {
    if (strncmp(layer, "lack ", 5) != 0 || strcmp(layer + 5, part) != 0)
        return 0;
    errno = failure;
    return 1;
}

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("PORTCULLIS_WITHOUT");
    if (name == NULL || strcmp(program_invocation_short_name, "portcullisd") != 0)
        return;
    strncpy(layer, name, sizeof layer - 1);
    monitor = getpid();
    unsetenv("PORTCULLIS_WITHOUT");
    unsetenv("LD_PRELOAD");
}

// The system call itself, past this file's own.
static long direct(long number, long a, long b, long c, long d, long e, long f) {
    static long (*real)(long, ...);
    if (real == NULL)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}

// MARK: - Capabilities

// Once they were dropped, that is how they read, and how they stay: for the process that did. The command's has the memory of
// its session's init, which drops its own later.
static pid_t has_dropped;

static int set_capabilities(uint32_t effective, uint32_t permitted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, 0}, {0, 0, 0}};
    return (int)direct(SYS_capset, (long)&header, (long)data, 0, 0, 0, 0);
}

static long write_capabilities(const struct __user_cap_data_struct data[2]) {
    if (has_dropped == getpid()) {
        errno = EPERM;
        return -1;
    }
    // The session's init keeps one, and is not what this layer is about.
    if ((data[0].permitted | data[1].permitted) != 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        return direct(SYS_capset, (long)&header, (long)data, 0, 0, 0, 0);
    }
    has_dropped = getpid();
    // Without no_new_privs the kernel takes a ruleset and a filter from CAP_SYS_ADMIN alone: it stays that long.
    if (is_without("no_new_privs"))
        return set_capabilities(0, SET_ADMIN);
    return 0;
}

static long read_capabilities(struct __user_cap_header_struct *header, struct __user_cap_data_struct data[2]) {
    long result = direct(SYS_capget, (long)header, (long)data, 0, 0, 0, 0);
    if (has_dropped == getpid())
        memset(data, 0, 2 * sizeof data[0]);
    return result;
}

// A call that wants no_new_privs or the right to do without.
static long with_administration(long number, long a, long b, long c) {
    set_capabilities(SET_ADMIN, SET_ADMIN);
    long result = direct(number, a, b, c, 0, 0, 0);
    int failure = errno;
    // After the filter nothing needs it any more.
    set_capabilities(0, number == SYS_seccomp ? 0 : SET_ADMIN);
    errno = failure;
    return result;
}

int setresuid(uid_t real, uid_t effective, uid_t saved) {
    if (is_without("no_new_privs"))
        direct(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0, 0);
    return (int)direct(SYS_setresuid, real, effective, saved, 0, 0, 0);
}

// MARK: - The calls by number

// CLOEXEC is the second half of this layer: both go.
static long leave_open(unsigned first) {
    for (int descriptor = (int)first; descriptor < 256; descriptor++) {
        long flags = direct(SYS_fcntl, descriptor, F_GETFD, 0, 0, 0, 0);
        if (flags >= 0)
            direct(SYS_fcntl, descriptor, F_SETFD, flags & ~FD_CLOEXEC, 0, 0, 0);
    }
    return 0;
}

long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
         e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    switch (number) {
    case LANDLOCK_CREATE:
        if (is_lacking("Landlock", ENOSYS))
            return -1;
        // LANDLOCK_CREATE_RULESET_VERSION: asks for the ABI.
        if (c == 1 && is_lacking("the scopes of Landlock", 0)) {
            long abi = direct(number, a, b, c, d, e, f);
            return abi > 5 ? 5 : abi;
        }
        break;
    case LANDLOCK_ADD:
        if (is_lacking("a rule of Landlock", ENOSYS))
            return -1;
        break;
    case LANDLOCK_RESTRICT:
        if (is_lacking("a domain of Landlock", ENOSYS))
            return -1;
        if (is_without("Landlock"))
            return 0;
        if (is_without("no_new_privs"))
            return with_administration(number, a, b, 0);
        break;
    case SYS_seccomp:
        if (a != SECCOMP_SET_MODE_FILTER)
            break;
        // The helpers' own are other programs'.
        if (is_lacking("filter", EINVAL))
            return -1;
        if (is_without("filter"))
            return 0;
        if (is_without("no_new_privs"))
            return with_administration(number, a, b, c);
        break;
    case SYS_capset:
        if (is_lacking("capabilities", EPERM))
            return -1;
        if (is_without("capabilities") || is_without("no_new_privs"))
            return write_capabilities((const struct __user_cap_data_struct *)b);
        break;
    case SYS_capget:
        if (is_without("capabilities") || is_without("no_new_privs"))
            return read_capabilities((struct __user_cap_header_struct *)a, (struct __user_cap_data_struct *)b);
        break;
    case SYS_close_range:
        // The command's alone, which the session's init or supervisor forks: a helper, which the monitor forks, takes what
        // is left open for what it was handed.
        if (is_without("descriptors") && getppid() != monitor)
            return leave_open((unsigned)a);
        break;
    case SYS_clone:
        if ((a & ALL_NAMESPACES) != 0 && is_lacking("namespaces", EINVAL))
            return -1;
        if ((a & ALL_NAMESPACES) == CLONE_NEWNS) {
            long made = direct(number, a, b, c, d, e, f);
            is_maker = made == 0;
            return made;
        }
        if (is_without("namespaces"))
            a &= ~(long)ALL_NAMESPACES;
        break;
    case CLONE3:
        // An older kernel's answer, and that of a container's filter that forbids what it does not know.
        if (is_lacking("clone3", ENOSYS) || is_lacking("clone3 for a filter", EPERM))
            return -1;
        if ((*(const uint64_t *)a & ALL_NAMESPACES) != 0 && is_lacking("namespaces", EINVAL))
            return -1;
        if (is_without("namespaces")) {
            // The flags are the first field of what the first argument points to.
            uint64_t arguments[16] = {0};
            if ((size_t)b > sizeof arguments)
                break;
            memcpy(arguments, (const void *)a, (size_t)b);
            arguments[0] &= ~(uint64_t)ALL_NAMESPACES;
            if (strcmp(layer, both) == 0)
                arguments[0] &= ~INTO_CGROUP;
            return direct(number, (long)arguments, b, 0, 0, 0, 0);
        }
        break;
    case OPEN_TREE:
        if (is_lacking("open_tree", ENOSYS))
            return -1;
        if (is_without("namespaces"))
            return direct(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY | O_CLOEXEC, 0, 0, 0);
        break;
    case FSOPEN:
        if (is_lacking("fsopen", ENOSYS))
            return -1;
        break;
    case MOVE_MOUNT:
        if (is_lacking("move_mount", ENOSYS))
            return -1;
        // What the view would be made of is made, and attached nowhere.
        if (is_without("namespaces") || is_without_view())
            return 0;
        break;
    case MOUNT_SETATTR:
        if (is_lacking("mount_setattr", ENOSYS))
            return -1;
        if (is_without("namespaces"))
            return 0;
        break;
    case SYS_pivot_root:
        // Of the empty namespace, which a child of the monitor makes; the host's root is nobody's to change.
        if (is_without("namespaces") || is_without_view())
            return 0;
        break;
    default:
        break;
    }
    return direct(number, a, b, c, d, e, f);
}

// MARK: - The calls by name

int mount(const char *source, const char *place, const char *type, unsigned long flags, const void *data) {
    if (is_lacking("mount", EPERM))
        return -1;
    if (is_without("namespaces"))
        return 0;
    return (int)direct(SYS_mount, (long)source, (long)place, (long)type, (long)flags, (long)data, 0);
}

int setns(int place, int kind) {
    // Back to its own network the monitor has to get.
    if (getpid() != monitor && is_lacking("setns", EINVAL))
        return -1;
    if (kind == CLONE_NEWNS && is_lacking("an empty place for mounts", EPERM))
        return -1;
    if (is_without("namespaces") || (kind == CLONE_NEWNS && is_without_view()))
        return 0;
    return (int)direct(SYS_setns, place, kind, 0, 0, 0, 0);
}

// The session stays where it was, which without a view is a copy of the host's tree: read-only, as it is without one.
int chroot(const char *path) {
    if (is_lacking("chroot", EPERM))
        return -1;
    if (is_without("namespaces"))
        return 0;
    if (is_without_view()) {
        struct mount_attr kept = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, .propagation = MS_SLAVE};
        return (int)direct(MOUNT_SETATTR, AT_FDCWD, (long)"/", AT_RECURSIVE, (long)&kept, sizeof kept, 0);
    }
    return (int)direct(SYS_chroot, (long)path, 0, 0, 0, 0, 0);
}

int umount2(const char *place, int flags) {
    if (is_without("namespaces") || is_without_view())
        return 0;
    return (int)direct(SYS_umount2, (long)place, flags, 0, 0, 0, 0);
}

int unshare(int kinds) {
    if ((kinds & CLONE_NEWNET) != 0 && is_lacking("networks", EINVAL))
        return -1;
    if ((kinds & CLONE_NEWCGROUP) != 0 && is_lacking("cgroup namespaces", EINVAL))
        return -1;
    if (is_without("namespaces"))
        return 0;
    return (int)direct(SYS_unshare, kinds, 0, 0, 0, 0, 0);
}

// The /dev of a session is the host's where nothing is mounted: nothing is made there.
static int is_for_devices(void) {
    return is_without("namespaces") && getpid() != monitor;
}

int symlinkat(const char *target, int directory, const char *name) {
    if (is_for_devices())
        return 0;
    return (int)direct(SYS_symlinkat, (long)target, directory, (long)name, 0, 0, 0);
}

// Numbers bound processes where they are a session's own: without namespaces they are the host's, which nobody touches, and
// without limits nothing bounds them.
static int is_missing(const char *path) {
    return (is_without("namespaces") || is_without("limits"))
           && (strcmp(path, "/proc/sys/kernel/ns_last_pid") == 0 || strcmp(path, "/proc/sys/kernel/pid_max") == 0);
}

int openat(int directory, const char *name, int flags, ...) {
    va_list list;
    va_start(list, flags);
    long mode = va_arg(list, long);
    va_end(list);
    if (is_missing(name)) {
        errno = ENOENT;
        return -1;
    }
    if (is_for_devices() && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return (int)direct(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    return (int)direct(SYS_openat, directory, (long)name, flags, mode, 0, 0);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    long mode = va_arg(list, long);
    va_end(list);
    if (strcmp(path, "/proc/sys/fs/suid_dumpable") == 0 && is_lacking("closed memory", ENOENT))
        return -1;
    return (int)direct(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

int prctl(int option, ...) {
    va_list list;
    va_start(list, option);
    unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long), c = va_arg(list, unsigned long),
                  d = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_NO_NEW_PRIVS && is_lacking("no_new_privs", EINVAL))
        return -1;
    if (option == PR_CAPBSET_DROP && is_lacking("the bounding set", EPERM))
        return -1;
    if (is_without("no_new_privs")) {
        if (option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECUREBITS)
            return 0;
        if (option == PR_GET_NO_NEW_PRIVS)
            return 1;
    }
    if (is_without("capabilities") && option == PR_SET_SECUREBITS)
        return 0;
    // It is asked for one after the other, until the kernel knows no more.
    if (is_without("capabilities") && option == PR_CAPBSET_DROP)
        return a > CAP_LAST_CAP ? (errno = EINVAL, -1) : 0;
    return (int)direct(SYS_prctl, option, (long)a, (long)b, (long)c, (long)d, 0);
}

static struct rlimit pretended[RLIM_NLIMITS];
static int is_pretended[RLIM_NLIMITS];

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    // The monitor raises its own.
    if (getpid() != monitor && is_lacking("limits", EPERM))
        return -1;
    if (is_without("limits") && resource < RLIM_NLIMITS) {
        pretended[resource] = *limit;
        is_pretended[resource] = 1;
        return 0;
    }
    return (int)direct(SYS_prlimit64, 0, resource, (long)limit, 0, 0, 0);
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
    if (resource < RLIM_NLIMITS && is_pretended[resource]) {
        *limit = pretended[resource];
        return 0;
    }
    return (int)direct(SYS_prlimit64, 0, resource, 0, (long)limit, 0, 0);
}

int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit) {
    return setrlimit(resource, (const struct rlimit *)limit);
}

int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit) {
    return getrlimit(resource, (struct rlimit *)limit);
}
