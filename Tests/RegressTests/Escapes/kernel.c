// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// The kernel's own surfaces: entries round the filter, namespaces, mounts, keyrings, privileges.
#include "escape.h"

#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/swap.h>
#include <sys/timex.h>
#include <sys/wait.h>

// MARK: - Round the filter

#if defined(__x86_64__)
static struct outcome x32(void) {
    return tried_if_there(syscall(0x40000000 + SYS_getpid));
}

static struct outcome int80(void) {
    long result;
    // getpid of i386. The kernel may clobber r8 to r11 on this entry.
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? blocked((int)-result) : worked();
}
#else
static struct outcome x32(void) { return outcome(ABSENT, ENOSYS); }
static struct outcome int80(void) { return outcome(ABSENT, ENOSYS); }
#endif

static struct outcome clone3(void) {
    uint64_t arguments[11] = {CLONE_NEWUSER};
    arguments[4] = SIGCHLD;
    long child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return tried(child);
}

static struct outcome unknown_call(void) {
    // Above every call that Linux has; one that a newer kernel brings there is answered alike.
    return tried(syscall(1000));
}

static struct outcome io_uring(void) {
    char parameters[120] = {0};
    return tried(syscall(SYS_io_uring_setup, 1, parameters));
}

static struct outcome high_argument_bits(void) {
    // The kernel looks at 32 bits of an ioctl's request, a careless filter at 64 (CVE-2019-7303).
    return reached(syscall(SYS_ioctl, 0, (unsigned long)TIOCSTI | 1UL << 32, "x"));
}

// MARK: - Programs and events in the kernel's hands

static struct outcome bpf(void) {
    return reached(syscall(SYS_bpf, 0, 0, 0));
}

static struct outcome perf_event(void) {
    return reached(syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
}

static struct outcome userfault(void) {
    return tried(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
}

static struct outcome fanotify(void) {
    return reached(syscall(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, 0));
}

static struct outcome key_add(void) {
    return tried(syscall(SYS_add_key, "user", "escape", "x", 1, KEY_SPEC_PROCESS_KEYRING));
}

static struct outcome key_join(void) {
    return tried(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "escape"));
}

static struct outcome key_request(void) {
    return reached(syscall(SYS_request_key, "user", "escape", NULL, KEY_SPEC_PROCESS_KEYRING));
}

// MARK: - Namespaces and mounts

static struct outcome unshare_flags(int flags) {
    return tried(unshare(flags));
}

static struct outcome unshare_user(void) { return unshare_flags(CLONE_NEWUSER); }
static struct outcome unshare_mount(void) { return unshare_flags(CLONE_NEWNS); }
static struct outcome unshare_network(void) { return unshare_flags(CLONE_NEWNET); }

static struct outcome clone_user(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return tried(child);
}

static struct outcome setns_init(void) {
    int there = open("/proc/1/ns/mnt", O_RDONLY);
    // Without it: a descriptor that is none; the filter is asked first.
    return reached(setns(there, CLONE_NEWNS));
}

static struct outcome mount_anew(void) {
    return reached(mount("none", "/nonexistent/escape", "tmpfs", 0, NULL));
}

static struct outcome unmount_tmp(void) {
    return reached(umount2("/nonexistent/escape", MNT_DETACH));
}

static struct outcome pivot(void) {
    return reached(syscall(SYS_pivot_root, "/nonexistent/escape", "/nonexistent/escape"));
}

static struct outcome open_tree_here(void) {
    return tried(syscall(428 /* open_tree */, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
}

static struct outcome open_filesystem(void) {
    return tried(syscall(430 /* fsopen */, "tmpfs", 0));
}

static struct outcome thaw_mounts(void) {
    uint64_t attributes[4] = {0, 1 /* MOUNT_ATTR_RDONLY */, 0, 0};
    return tried(syscall(442 /* mount_setattr */, AT_FDCWD, "/usr", 0, attributes, sizeof attributes));
}

static struct outcome change_root(void) {
    return tried(chroot("/"));
}

// MARK: - The machine

static struct outcome load_module(void) { return reached(syscall(SYS_init_module, NULL, 0, "")); }
static struct outcome unload_module(void) { return reached(syscall(SYS_delete_module, NULL, O_NONBLOCK)); }
static struct outcome load_kernel(void) { return reached(syscall(SYS_kexec_load, 0, 1UL << 20, NULL, 0)); }
static struct outcome restart_machine(void) { return reached(syscall(SYS_reboot, 0, 0, 0, 0)); }
static struct outcome swap_on(void) { return reached(swapon("/nonexistent/escape", 0)); }
static struct outcome account_on(void) { return reached(acct("/nonexistent/escape")); }
static struct outcome host_name(void) { return reached(syscall(SYS_sethostname, "x", -1)); }
static struct outcome kernel_log(void) { return reached(syscall(SYS_syslog, 8, NULL, 0)); }

static struct outcome host_clock(void) {
    struct timex change = {.modes = ADJ_TICK, .tick = -1};
    return reached(adjtimex(&change));
}

#if defined(__x86_64__)
static struct outcome port_level(void) { return tried(syscall(SYS_iopl, 3)); }
static struct outcome local_descriptors(void) { return reached(syscall(SYS_modify_ldt, 1, NULL, 0)); }
#else
static struct outcome port_level(void) { return outcome(ABSENT, ENOSYS); }
static struct outcome local_descriptors(void) { return outcome(ABSENT, ENOSYS); }
#endif

// MARK: - Terminals that are not ours

static struct outcome type_into_terminal(void) { return reached(ioctl(0, TIOCSTI, "x")); }
static struct outcome paste_into_console(void) { return reached(ioctl(0, 0x541C /* TIOCLINUX */, "\3")); }

// MARK: - Privileges

// Runs a program of the test's that has more rights than we, and asks it what it got.
static struct outcome run_privileged(const char *program, char *const environment[]) {
    if (access(program, F_OK) < 0)
        return outcome(ABSENT, errno);
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {"escape", "privileges", NULL};
        // ld.so speaks of what it does not load.
        close(2);
        execve(program, arguments, environment);
        _exit(errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status))
        return blocked(EINTR);
    if (WEXITSTATUS(status) == 0)
        return worked();
    // It ran as what we are.
    return WEXITSTATUS(status) == 1 ? blocked(EPERM) : blocked(WEXITSTATUS(status));
}

static struct outcome setuid_program(void) {
    char *environment[] = {NULL};
    return run_privileged(given("setuid"), environment);
}

static struct outcome capable_program(void) {
    char *environment[] = {NULL};
    return run_privileged(given("filecap"), environment);
}

static struct outcome preload_setuid(void) {
    char *environment[] = {"LD_PRELOAD=/tmp/escape.so", "LD_LIBRARY_PATH=/tmp", "LD_AUDIT=/tmp/escape.so", NULL};
    return run_privileged(given("setuid"), environment);
}

// Root cannot become root: it becomes another, which takes a capability.
static struct outcome become_another(void) {
    uid_t other = getuid() == 0 ? 1 : 0;
    if (setresuid(other, other, other) < 0)
        return blocked(errno);
    return geteuid() == other ? worked() : blocked(EPERM);
}

static struct outcome become_another_on_disk(void) {
    uid_t other = getuid() == 0 ? 1 : 0;
    setfsuid(other);
    return (uid_t)setfsuid((uid_t)-1) == other ? worked() : blocked(EPERM);
}

static struct outcome join_group(void) {
    gid_t group = 42;
    return tried(syscall(SYS_setgroups, 1, &group));
}

static struct outcome raise_ambient(void) {
    return tried(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 7 /* CAP_SETUID */, 0, 0));
}

static struct outcome allow_privileges(void) {
    // Cannot be taken back: no kernel has a call for it.
    if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) < 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return blocked(EINVAL);
    return worked();
}

static struct outcome drop_filter(void) {
    // A filter that allows all is put over ours, and changes nothing.
    if (prctl(PR_SET_SECCOMP, 0, 0, 0, 0) < 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2)
        return blocked(EINVAL);
    return worked();
}

// MARK: - The process's own defences

static struct outcome fixed_addresses(void) {
    return tried(personality(ADDR_NO_RANDOMIZE));
}

static struct outcome readable_means_executable(void) {
    return tried(personality(READ_IMPLIES_EXEC));
}

static struct outcome move_own_memory(void) {
    return reached(prctl(PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0));
}

const struct technique kernel_techniques[] = {
    {"x32", x32},
    {"int-0x80", int80},
    {"clone3", clone3},
    {"unknown-call", unknown_call},
    {"io-uring", io_uring},
    {"ioctl-high-bits", high_argument_bits},
    {"bpf", bpf},
    {"perf-event", perf_event},
    {"userfaultfd", userfault},
    {"fanotify", fanotify},
    {"key-add", key_add},
    {"key-join", key_join},
    {"key-request", key_request},
    {"unshare-user", unshare_user},
    {"unshare-mount", unshare_mount},
    {"unshare-network", unshare_network},
    {"clone-user", clone_user},
    {"setns", setns_init},
    {"mount", mount_anew},
    {"umount", unmount_tmp},
    {"pivot-root", pivot},
    {"open-tree", open_tree_here},
    {"fsopen", open_filesystem},
    {"mount-setattr", thaw_mounts},
    {"chroot", change_root},
    {"init-module", load_module},
    {"delete-module", unload_module},
    {"kexec", load_kernel},
    {"reboot", restart_machine},
    {"swapon", swap_on},
    {"acct", account_on},
    {"sethostname", host_name},
    {"syslog", kernel_log},
    {"adjtimex", host_clock},
    {"iopl", port_level},
    {"modify-ldt", local_descriptors},
    {"tiocsti", type_into_terminal},
    {"tioclinux", paste_into_console},
    {"setuid-program", setuid_program},
    {"file-capability-program", capable_program},
    {"preload-setuid-program", preload_setuid},
    {"setresuid", become_another},
    {"setfsuid", become_another_on_disk},
    {"setgroups", join_group},
    {"ambient-capability", raise_ambient},
    {"undo-no-new-privs", allow_privileges},
    {"undo-seccomp", drop_filter},
    {"no-randomize", fixed_addresses},
    {"read-implies-exec", readable_means_executable},
    {"prctl-set-mm", move_own_memory},
    {NULL, NULL},
};
