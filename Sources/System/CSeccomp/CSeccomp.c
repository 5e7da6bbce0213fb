// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CSeccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

int portcullis_filter_compile(
    uint32_t otherwise, uint32_t action, const int *numbers, size_t count, uint8_t *bytes, size_t capacity,
    size_t *length) {
    int descriptor = -1;
    int code = 0;
    scmp_filter_ctx context = seccomp_init(otherwise);
    if (context == NULL)
        return ENOMEM;
    code = -seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (code == 0)
        code = -seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t index = 0; code == 0 && index < count; index++)
        code = -seccomp_rule_add(context, action, numbers[index], 0);
    if (code == 0 && (descriptor = memfd_create("filter", MFD_CLOEXEC)) < 0)
        code = errno;
    if (code == 0)
        code = -seccomp_export_bpf(context, descriptor);
    seccomp_release(context);
    if (code == 0) {
        // One byte more than fits tells a filter that is too long.
        ssize_t got = pread(descriptor, bytes, capacity, 0);
        uint8_t more;
        if (got < 0)
            code = errno;
        else if (pread(descriptor, &more, 1, got) != 0)
            code = ENOBUFS;
        else
            *length = (size_t)got;
    }
    if (descriptor >= 0)
        close(descriptor);
    return code;
}
