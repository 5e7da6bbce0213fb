// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// What the techniques of the escape suite share: how each says what came of it, and what the test tells it of the world
// outside its sandbox. They are C because raw system calls, foreign entries and bad arguments are what they are about.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// What came of a technique. A process that a signal ended says nothing: who started it sees the signal.
struct outcome {
    enum { BLOCKED, WORKED, CONTAINED, ABSENT, STARTED } what;
    int code;  // of BLOCKED and ABSENT: the errno
};

struct technique {
    const char *name;
    struct outcome (*run)(void);
};

// One list a subject; each ends in a name that is NULL.
extern const struct technique process_techniques[], kernel_techniques[], file_techniques[], device_techniques[],
    socket_techniques[], descriptor_techniques[], resource_techniques[];

// A word `KEY=VALUE` of the test's, or "" where it gave none.
const char *given(const char *key);
int given_number(const char *key);

// The session's init: whoever started this program.
extern pid_t session_init;

static inline struct outcome outcome(int what, int code) { return (struct outcome){what, code}; }
static inline struct outcome blocked(int code) { return outcome(BLOCKED, code); }
static inline struct outcome worked(void) { return outcome(WORKED, 0); }
static inline struct outcome contained(void) { return outcome(CONTAINED, 0); }

// Of a call that does what it is not to do.
static inline struct outcome tried(long result) { return result < 0 ? blocked(errno) : worked(); }

// Of a call with arguments that must not succeed, so that nothing is harmed where it is let through: any other answer
// than a refusal means that it was.
static inline struct outcome reached(long result) {
    if (result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
        return blocked(errno);
    return worked();
}

// Of something that a kernel may be built without.
static inline struct outcome tried_if_there(long result) {
    if (result < 0
        && (errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT || errno == ENOSYS))
        return outcome(ABSENT, errno);
    return tried(result);
}

// A file of the test's: DIRECTORY/name, in a buffer that lasts.
const char *beneath(const char *directory, const char *name);

// A child that waits, to be a victim of the same sandbox; it ends with its parent.
pid_t waiting_child(void);
