// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// What confinement needs of the kernel and glibc does not wrap, or wraps only through variadic functions and macros,
// which Swift cannot call. Each function returns 0 or a positive errno, and is async-signal-safe: it may run between
// fork and execve.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Landlock: system calls 444 to 446, in C because glibc has no wrapper and linux-libc-dev 6.1 lacks what ABI 2 to 7
// added.

/// The Landlock ABI of the running kernel; 0 where there is none or it is turned off.
int portcullis_landlock_version(void);

/// Makes a ruleset that handles these rights; the arguments that `version` does not know must be 0.
int portcullis_landlock_create(int version, uint64_t files, uint64_t network, uint64_t scopes, int *ruleset);

/// Lets what lies at or below an open file or directory have these rights.
int portcullis_landlock_allow_path(int ruleset, int parent, uint64_t rights);

/// Lets TCP use a port with these rights (ABI 4).
int portcullis_landlock_allow_port(int ruleset, uint16_t port, uint64_t rights);

/// Puts the calling thread under the ruleset; no_new_privs must be set.
int portcullis_landlock_restrict(int ruleset, uint32_t flags);

/// Loads a classic BPF program of `count` instructions as a system-call filter: seccomp(2), in C because glibc has no
/// wrapper.
int portcullis_filter_load(const void *instructions, uint16_t count, unsigned flags);

/// prctl(2) with integers alone; in C because it is variadic. `value` may be NULL.
int portcullis_thread_control(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d, int *value);

/// The capability sets of this thread: capget(2) and capset(2), in C because glibc has no wrapper.
int portcullis_capabilities_read(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
int portcullis_capabilities_write(uint64_t effective, uint64_t permitted, uint64_t inheritable);

/// setresuid, setresgid, getresuid, getresgid, setfsuid, setfsgid and unshare: in C because glibc declares them for
/// _GNU_SOURCE alone, which Swift's Glibc does not define. As the C library does it, ids change in all threads. `-1`
/// leaves an id; the file-system ids are read by asking for one that is none.
int portcullis_users_set(uid_t real, uid_t effective, uid_t saved);
int portcullis_groups_set(gid_t real, gid_t effective, gid_t saved);

/// The same for the calling thread alone, and setgroups: in C for the raw system calls, because the C library's own
/// change all threads, and what one thread borrows for a file is nothing that the others asked for.
int portcullis_thread_users_set(uid_t real, uid_t effective, uid_t saved);
int portcullis_thread_groups_set(gid_t real, gid_t effective, gid_t saved);
int portcullis_thread_supplementary_set(size_t count, const gid_t *groups);

int portcullis_users_read(uid_t users[4]);
int portcullis_groups_read(gid_t groups[4]);
void portcullis_fsuser_try(uid_t user);
void portcullis_fsgroup_try(gid_t group);
int portcullis_namespaces_unshare(int flags);

/// setns(2) into an open namespace of one kind (CLONE_NEW...); in C for the reason of unshare.
int portcullis_namespace_join(int place, int kind);

/// fork(2) with namespaces: clone(2) by its number, in C because glibc's clone wants a stack and a function.
///
/// Returns in both processes as fork does: `*child` is 0 in the child. In the parent `*pidfd` names the child. For
/// single-threaded processes alone: atfork handlers do not run. With a control group (a descriptor; -1 is none) it is
/// clone3(2), and the child is in it from its start; ENOSYS where the kernel has none, or something hides it.
int portcullis_process_clone(uint64_t namespaces, int group, pid_t *child, int *pidfd);

/// vfork(2): runs `body` in a new process that has this one's memory, and returns when that process has called execve (by
/// `portcullis_program_execute`) or has ended. Meanwhile this one stands still, so that no two touch the memory at a time.
///
/// A process that is killed before its execve leaves the memory as it was at that moment, in the middle of anything: then
/// this process ends too, with status 125. For single-threaded processes alone: atfork handlers do not run. Where a change
/// of ids would open the memory to others (fs.suid_dumpable is 1, or /proc does not say), it is fork(2), and both go on.
int portcullis_process_share(void (*body)(void *), void *context, pid_t *child);

/// execve(2), which says before that it touches no memory of this process any more. Returns only to fail, with the errno.
int portcullis_program_execute(const char *path, char *const arguments[], char *const environment[]);

/// open_tree(2) and move_mount(2) of open files and directories (Linux 5.2), and mount_setattr(2) of an open mount, and
/// where `below` is not 0 of all mounts below it (5.12): in C because glibc 2.36 declares them where Swift does not
/// look. The copy has all mounts below it, and is their slave: what is mounted there later arrives in it, and nothing of its
/// own arrives there. Attributes are MOUNT_ATTR_*, and only ever added.
int portcullis_tree_copy(int place, uint64_t attributes, int *tree);
int portcullis_tree_attach(int tree, int place);

/// An empty tmpfs, attached nowhere: its root (fsopen(2) and its kin, Linux 5.2). 0 bytes or names bound nothing.
int portcullis_memory_make(
    uint32_t mode, uint32_t user, uint32_t group, uint64_t bytes, uint64_t names, uint64_t attributes, int *root);

/// pivot_root(2) to a mount of this namespace, and umount2(2) of what was the root, with all below it: in C because glibc has
/// no wrapper for the one, and the other's flag is of an enumeration.
int portcullis_root_replace(int root);

/// Makes an open mount and those below it private (mount_setattr(2)).
int portcullis_mounts_separate(int place);
int portcullis_mounts_restrict(int place, uint64_t attributes, int below);

/// The id of the mount that something open lies in, as mountinfo has it (statx(2), Linux 5.8); in C because glibc's
/// structure need not have the field.
int portcullis_mount_of(int descriptor, uint64_t *mount);

/// openat2(2), Linux 5.6; in C because glibc has no wrapper.
int portcullis_path_open(int directory, const char *path, uint64_t flags, uint64_t resolve, int *descriptor);

/// open(2) of a directory's entry, in C because it is variadic.
int portcullis_entry_open(int directory, const char *name, int flags, int *descriptor);

/// How one system call went in a process of its own.
struct portcullis_trial {
    /// What it returned, or minus its errno.
    int64_t result;
    /// The signal that ended the process, or 0.
    int32_t signal;
    /// The step that failed before the call (1 fork, 2 identity, 3 no_new_privs, 4 Landlock, 5 filter), or 0.
    int32_t step;
};

/// Ways to enter the kernel.
enum {
    PORTCULLIS_ENTRY_NATIVE = 0,
    PORTCULLIS_ENTRY_INT80 = 1,
};

/// Makes one system call in a forked process under a ruleset (or -1) and a filter (or NULL, 0), as `uid` (or -1).
///
/// In C because nothing of Swift's may run in the child of a process with threads.
int portcullis_trial_run(
    int ruleset, const void *instructions, uint16_t count, int64_t uid, int entry, int64_t number,
    const uint64_t arguments[6], struct portcullis_trial *outcome);
