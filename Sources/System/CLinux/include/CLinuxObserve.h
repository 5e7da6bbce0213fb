// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Running a program under a filter that tells every system call to another process before it is made
// (seccomp_unotify(2)). In C because the notification's structures end where the running kernel says, the filter's
// descriptor has to be passed by a process that its own filter already watches, and between fork and execve nothing of
// Swift's runtime may run.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// One system call that is about to be made.
struct portcullis_observed_call {
    uint64_t id;
    uint32_t thread;
    uint32_t architecture;
    int32_t number;
    uint64_t arguments[6];
};

/// Steps of the start, as `*step` names the one that failed.
enum {
    PORTCULLIS_OBSERVE_START = 1,
    PORTCULLIS_OBSERVE_FILTER = 2,
    PORTCULLIS_OBSERVE_EXECUTE = 3,
};

/// The most calls that are not told.
enum { PORTCULLIS_OBSERVE_PASSED = 512 };

/// How a program is observed.
struct portcullis_observe_terms {
    /// Its standard output; -1 for the caller's.
    int output;
    /// The numbers of calls that are made without being told, and how many they are. Of `clone` those that no sandbox lets pass
    /// are told all the same.
    const uint32_t *_Nullable passed;
    size_t count;
};

/// Forks; the child has its standard output, loads the filter, hands its descriptor over and executes the program. `argv`
/// and `envp` end in NULL. The child is told to end with its parent. E2BIG for too many calls.
///
/// On success the caller has the child's pid and the filter's descriptor, on which the execve is the first call that
/// waits for an answer.
int portcullis_observe_start(
    const char *_Nonnull path, char *_Nullable const *_Nonnull argv, char *_Nullable const *_Nonnull envp,
    const struct portcullis_observe_terms *_Nonnull terms, pid_t *_Nonnull pid, int *_Nonnull listener, int *_Nonnull step);

/// Takes the next call; EAGAIN where its maker was ended meanwhile.
int portcullis_observe_next(int listener, struct portcullis_observed_call *_Nonnull call);

/// Lets a call be made (`code` 0) or fail with an errno. ENOENT where its maker was ended meanwhile.
int portcullis_observe_answer(int listener, uint64_t id, int code);

/// Reads another process's memory, at most `size` bytes of one page or more; what could be read is counted.
int portcullis_observe_read(
    pid_t thread, uint64_t address, uint8_t *_Nonnull bytes, size_t size, size_t *_Nonnull count);

/// The kernel's number of this build's own architecture, as `architecture` has it.
uint32_t portcullis_observe_architecture(void);
