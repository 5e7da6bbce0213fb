// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CSeccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

uint32_t portcullis_filter_architecture(void) {
#if defined(__x86_64__)
    return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return AUDIT_ARCH_AARCH64;
#else
#error "filters are known for little-endian x86-64 and arm64 alone"
#endif
}

int portcullis_filter_has_x32(void) {
#if defined(__x86_64__)
    return 1;
#else
    return 0;
#endif
}

int portcullis_call_number(const char *name) {
    int number = seccomp_syscall_resolve_name(name);
    // Below -1 are calls of other architectures.
    return number < 0 ? -1 : number;
}

int portcullis_call_is_known(int number) {
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    int known = name != NULL;
    free(name);
    return known;
}

int portcullis_call_name(int number, char *name, size_t capacity) {
    char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (found == NULL)
        return ENOENT;
    size_t length = strlen(found);
    if (length < capacity)
        memcpy(name, found, length + 1);
    free(found);
    return length < capacity ? 0 : ENAMETOOLONG;
}
