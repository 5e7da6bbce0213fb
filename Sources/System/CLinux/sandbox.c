// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CLinuxSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The same numbers on every architecture that has Landlock.
enum {
    NUMBER_LANDLOCK_CREATE = 444,
    NUMBER_LANDLOCK_ADD = 445,
    NUMBER_LANDLOCK_RESTRICT = 446,
    LANDLOCK_VERSION = 1,  // flag of create: return the ABI
    LANDLOCK_PATH = 1,     // rule types
    LANDLOCK_PORT = 2,
};

// linux/landlock.h of Linux 6.12: the size passed says which ABI the caller means.
struct ruleset_attributes {
    uint64_t files;    // ABI 1
    uint64_t network;  // ABI 4
    uint64_t scopes;   // ABI 6
};

struct path_attributes {
    uint64_t rights;
    int32_t parent;
} __attribute__((packed));

struct port_attributes {
    uint64_t rights;
    uint64_t port;
};

int portcullis_landlock_version(void) {
    long version = syscall(NUMBER_LANDLOCK_CREATE, NULL, (size_t)0, LANDLOCK_VERSION);
    return version < 0 ? 0 : (int)version;
}

int portcullis_landlock_create(int version, uint64_t files, uint64_t network, uint64_t scopes, int *ruleset) {
    struct ruleset_attributes attributes = {.files = files, .network = network, .scopes = scopes};
    size_t size = version >= 6   ? sizeof attributes
                  : version >= 4 ? offsetof(struct ruleset_attributes, scopes)
                                 : offsetof(struct ruleset_attributes, network);
    if ((version < 6 && scopes != 0) || (version < 4 && network != 0))
        return EOPNOTSUPP;
    long made = syscall(NUMBER_LANDLOCK_CREATE, &attributes, size, 0);
    if (made < 0)
        return errno;
    *ruleset = (int)made;
    return 0;
}

int portcullis_landlock_allow_path(int ruleset, int parent, uint64_t rights) {
    struct path_attributes attributes = {.rights = rights, .parent = parent};
    return syscall(NUMBER_LANDLOCK_ADD, ruleset, LANDLOCK_PATH, &attributes, 0) < 0 ? errno : 0;
}

int portcullis_landlock_allow_port(int ruleset, uint16_t port, uint64_t rights) {
    struct port_attributes attributes = {.rights = rights, .port = port};
    return syscall(NUMBER_LANDLOCK_ADD, ruleset, LANDLOCK_PORT, &attributes, 0) < 0 ? errno : 0;
}

int portcullis_landlock_restrict(int ruleset, uint32_t flags) {
    return syscall(NUMBER_LANDLOCK_RESTRICT, ruleset, flags) < 0 ? errno : 0;
}

int portcullis_filter_load(const void *instructions, uint16_t count, unsigned flags) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)instructions};
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (result < 0)
        return errno;
    // With TSYNC a positive result is the thread that could not follow.
    return result == 0 ? 0 : ESRCH;
}

int portcullis_thread_control(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d, int *value) {
    int result = prctl(option, a, b, c, d);
    if (result < 0)
        return errno;
    if (value != NULL)
        *value = result;
    return 0;
}

int portcullis_capabilities_read(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return errno;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

int portcullis_capabilities_write(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    return syscall(SYS_capset, &header, data) < 0 ? errno : 0;
}

int portcullis_users_set(uid_t real, uid_t effective, uid_t saved) {
    return setresuid(real, effective, saved) < 0 ? errno : 0;
}

int portcullis_groups_set(gid_t real, gid_t effective, gid_t saved) {
    return setresgid(real, effective, saved) < 0 ? errno : 0;
}

int portcullis_thread_users_set(uid_t real, uid_t effective, uid_t saved) {
    return syscall(SYS_setresuid, real, effective, saved) < 0 ? errno : 0;
}

int portcullis_thread_groups_set(gid_t real, gid_t effective, gid_t saved) {
    return syscall(SYS_setresgid, real, effective, saved) < 0 ? errno : 0;
}

int portcullis_thread_supplementary_set(size_t count, const gid_t *groups) {
    return syscall(SYS_setgroups, count, groups) < 0 ? errno : 0;
}

int portcullis_users_read(uid_t users[4]) {
    if (getresuid(&users[0], &users[1], &users[2]) < 0)
        return errno;
    users[3] = (uid_t)setfsuid((uid_t)-1);
    return 0;
}

int portcullis_groups_read(gid_t groups[4]) {
    if (getresgid(&groups[0], &groups[1], &groups[2]) < 0)
        return errno;
    groups[3] = (gid_t)setfsgid((gid_t)-1);
    return 0;
}

void portcullis_fsuser_try(uid_t user) {
    (void)setfsuid(user);
}

void portcullis_fsgroup_try(gid_t group) {
    (void)setfsgid(group);
}

int portcullis_namespaces_unshare(int flags) {
    return unshare(flags) < 0 ? errno : 0;
}

int portcullis_namespace_join(int place, int kind) {
    return setns(place, kind) < 0 ? errno : 0;
}

// linux/sched.h as of Linux 5.7, which older headers lack.
struct clone_arguments {
    uint64_t flags, pidfd, child_id, parent_id, exit_signal, stack, stack_size, tls, ids, ids_size, group;
};

int portcullis_process_clone(uint64_t namespaces, int group, pid_t *child, int *pidfd) {
    enum { NUMBER_CLONE3 = 435 };
    static const uint64_t into_group = 0x200000000;  // CLONE_INTO_CGROUP
    int descriptor = -1;
    if (group >= 0) {
        struct clone_arguments arguments = {
            .flags = namespaces | CLONE_PIDFD | into_group,
            .pidfd = (uint64_t)(uintptr_t)&descriptor,
            .exit_signal = SIGCHLD,
            .group = (uint64_t)group,
        };
        long made = syscall(NUMBER_CLONE3, &arguments, sizeof arguments);
        if (made < 0)
            return errno;
        *child = (pid_t)made;
        *pidfd = made == 0 ? -1 : descriptor;
        return 0;
    }
    unsigned long flags = (unsigned long)namespaces | CLONE_PIDFD | SIGCHLD;
#if defined(__x86_64__) || defined(__aarch64__)
    // flags, stack (0: the parent's, copied), parent's tid or pidfd, then two that differ in order and are 0.
    long result = syscall(SYS_clone, flags, 0L, &descriptor, 0L, 0L);
#else
#error "the order of clone's arguments is not known here"
#endif
    if (result < 0)
        return errno;
    *child = (pid_t)result;
    *pidfd = result == 0 ? -1 : descriptor;
    return 0;
}

// Not 0 while a process that has this one's memory is in execve, and so at rest. The kernel writes nothing then.
static volatile sig_atomic_t is_leaving;

int portcullis_program_execute(const char *path, char *const arguments[], char *const environment[]) {
    is_leaving = 1;
    execve(path, arguments, environment);
    is_leaving = 0;
    return errno;
}

// Whether a change of ids opens memory to other processes of the new uid (fs.suid_dumpable is 1, for debugging): then they
// could write the parent's, which has the ids that it had.
static int is_memory_opened(void) {
    char value = '1';
    int file = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, &value, 1) != 1)
            value = '1';
        close(file);
    }
    return value == '1';
}

int portcullis_process_share(void (*body)(void *), void *context, pid_t *child) {
    int is_copy = is_memory_opened();
    is_leaving = 0;
    pid_t made = is_copy ? fork() : vfork();
    if (made < 0)
        return errno;
    if (made == 0) {
        body(context);
        _exit(125);
    }
    if (!is_copy && is_leaving == 0) {
        // It is ending, and not by execve. By itself it ended between two steps; killed, perhaps within malloc. Its memory is
        // let go of a moment before its end can be heard of.
        siginfo_t how = {.si_pid = 0};
        if (waitid(P_PID, (id_t)made, &how, WEXITED | WNOWAIT) < 0 || how.si_pid != made
            || how.si_code != CLD_EXITED)
            _exit(125);
    }
    *child = made;
    return 0;
}

// linux/mount.h, which does not go together with sys/mount.h everywhere.
enum {
    NUMBER_OPEN_TREE = 428,
    NUMBER_MOVE_MOUNT = 429,
    NUMBER_FSOPEN = 430,
    NUMBER_FSCONFIG = 431,
    NUMBER_FSMOUNT = 432,
    NUMBER_MOUNT_SETATTR = 442,
    OPEN_CLOEXEC = 1,        // of fsopen and fsmount
    CONFIG_STRING = 1,       // commands of fsconfig
    CONFIG_CREATE = 6,
    TREE_CLONE = 1,
    TREE_CLOEXEC = O_CLOEXEC,
    TREE_RECURSIVE = 0x8000,
    FROM_EMPTY_PATH = 0x04,
    TO_EMPTY_PATH = 0x40,
};

struct mount_attributes {
    uint64_t set;
    uint64_t clear;
    uint64_t propagation;
    uint64_t user_namespace;
};

int portcullis_tree_copy(int place, uint64_t attributes, int *tree) {
    long made = syscall(NUMBER_OPEN_TREE, place, "", AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC | TREE_RECURSIVE);
    if (made < 0)
        return errno;
    struct mount_attributes wanted = {.set = attributes, .propagation = 1 << 19};  // MS_SLAVE
    unsigned flags = AT_EMPTY_PATH | (unsigned)TREE_RECURSIVE;
    if (syscall(NUMBER_MOUNT_SETATTR, made, "", flags, &wanted, sizeof wanted) < 0) {
        int code = errno;
        close((int)made);
        return code;
    }
    *tree = (int)made;
    return 0;
}

int portcullis_tree_attach(int tree, int place) {
    return syscall(NUMBER_MOVE_MOUNT, tree, "", place, "", FROM_EMPTY_PATH | TO_EMPTY_PATH) < 0 ? errno : 0;
}

// A number's digits, at the end of a buffer. (In a fork: no snprintf.)
static const char *digits(unsigned long long number, unsigned base, char text[static 24]) {
    char *at = text + 23;
    *at = 0;
    do {
        *--at = (char)('0' + number % base);
        number /= base;
    } while (number > 0);
    return at;
}

int portcullis_memory_make(
    uint32_t mode, uint32_t user, uint32_t group, uint64_t bytes, uint64_t names, uint64_t attributes, int *root) {
    const struct {
        const char *name;
        unsigned long long value;
    } options[] = {{"uid", user}, {"gid", group}, {"size", bytes}, {"nr_inodes", names}};
    char text[24];
    long context = syscall(NUMBER_FSOPEN, "tmpfs", OPEN_CLOEXEC);
    if (context < 0)
        return errno;
    int code = 0;
    if (syscall(NUMBER_FSCONFIG, context, CONFIG_STRING, "mode", digits(mode, 8, text), 0) < 0)
        code = errno;
    for (int i = 0; i < 4 && code == 0; i++) {
        // Root's, and as much as the kernel gives, it is anyway.
        if (options[i].value == 0)
            continue;
        const char *value = digits(options[i].value, 10, text);
        if (syscall(NUMBER_FSCONFIG, context, CONFIG_STRING, options[i].name, value, 0) < 0)
            code = errno;
    }
    long made = -1;
    if (code == 0
        && (syscall(NUMBER_FSCONFIG, context, CONFIG_CREATE, NULL, NULL, 0) < 0
            || (made = syscall(NUMBER_FSMOUNT, context, OPEN_CLOEXEC, attributes)) < 0))
        code = errno;
    close((int)context);
    *root = (int)made;
    return code;
}

int portcullis_root_replace(int root) {
    if (fchdir(root) < 0)
        return errno;
    // The former root comes to lie on the new one, from which it is taken.
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
        return errno;
    return 0;
}

int portcullis_mounts_separate(int place) {
    struct mount_attributes wanted = {.propagation = 1 << 18};  // MS_PRIVATE
    unsigned flags = AT_EMPTY_PATH | (unsigned)TREE_RECURSIVE;
    return syscall(NUMBER_MOUNT_SETATTR, place, "", flags, &wanted, sizeof wanted) < 0 ? errno : 0;
}

int portcullis_mounts_restrict(int place, uint64_t attributes, int below) {
    struct mount_attributes wanted = {.set = attributes};
    unsigned flags = AT_EMPTY_PATH | (below != 0 ? (unsigned)TREE_RECURSIVE : 0U);
    return syscall(NUMBER_MOUNT_SETATTR, place, "", flags, &wanted, sizeof wanted) < 0 ? errno : 0;
}

int portcullis_mount_of(int descriptor, uint64_t *mount) {
    // STATX_MNT_ID, and its place in the kernel's structure, which has 256 bytes (linux/stat.h).
    enum { MOUNT_ID = 0x1000, MASK_PLACE = 0, MOUNT_PLACE = 0x90 };
    _Alignas(8) unsigned char status[256] = {0};
    if (syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH, MOUNT_ID, status) < 0)
        return errno;
    uint32_t mask = 0;
    memcpy(&mask, status + MASK_PLACE, sizeof mask);
    if ((mask & MOUNT_ID) == 0)
        return EOPNOTSUPP;
    memcpy(mount, status + MOUNT_PLACE, sizeof *mount);
    return 0;
}

int portcullis_path_open(int directory, const char *path, uint64_t flags, uint64_t resolve, int *descriptor) {
    struct open_how how = {.flags = flags, .mode = 0, .resolve = resolve};
    long result = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (result < 0)
        return errno;
    *descriptor = (int)result;
    return 0;
}

int portcullis_entry_open(int directory, const char *name, int flags, int *descriptor) {
    int result = openat(directory, name, flags);
    if (result < 0)
        return errno;
    *descriptor = result;
    return 0;
}

#if defined(__x86_64__)
static int64_t enter_int80(int64_t number, const uint64_t arguments[6]) {
    int64_t result;
    // The kernel clobbers r8 to r11 on this entry (zeroed before 4.4 alone, but nobody promises).
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(arguments[0]), "c"(arguments[1]), "d"(arguments[2]), "S"(arguments[3]),
                       "D"(arguments[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif

int portcullis_trial_run(
    int ruleset, const void *instructions, uint16_t count, int64_t uid, int entry, int64_t number,
    const uint64_t arguments[6], struct portcullis_trial *outcome) {
    int ends[2];
    struct portcullis_trial report = {0, 0, 0};
    *outcome = report;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    pid_t child = fork();
    if (child < 0) {
        int code = errno;
        close(ends[0]);
        close(ends[1]);
        return code;
    }
    if (child == 0) {
        long result = 0;
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        // A test runner's own handlers must not turn SIGSYS into something else.
        signal(SIGSYS, SIG_DFL);
        if (uid >= 0
            && (setgroups(0, NULL) < 0 || setresgid((gid_t)uid, (gid_t)uid, (gid_t)uid) < 0
                || setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) < 0)) {
            report.step = 2;
            result = -errno;
        } else if ((ruleset >= 0 || count > 0) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
            report.step = 3;
            result = -errno;
        } else if (ruleset >= 0 && (result = -portcullis_landlock_restrict(ruleset, 0)) != 0) {
            report.step = 4;
        } else if (count > 0 && (result = -portcullis_filter_load(instructions, count, 0)) != 0) {
            report.step = 5;
        } else if (entry == PORTCULLIS_ENTRY_INT80) {
#if defined(__x86_64__)
            result = enter_int80(number, arguments);
#else
            result = -ENOSYS;
#endif
        } else {
            result = syscall(
                number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
            if (result < 0)
                result = -errno;
        }
        report.result = result;
        // A grandchild (a permitted clone) reports nothing: its parent does.
        if (write(ends[1], &report, sizeof report) != (ssize_t)sizeof report)
            _exit(99);
        _exit(0);
    }
    close(ends[1]);
    struct portcullis_trial heard;
    ssize_t length = read(ends[0], &heard, sizeof heard);
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    if (length == (ssize_t)sizeof heard)
        *outcome = heard;
    else if (WIFSIGNALED(status))
        outcome->signal = WTERMSIG(status);
    else
        return EPROTO;
    return 0;
}
