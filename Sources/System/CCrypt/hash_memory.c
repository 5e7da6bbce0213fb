// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

#include "CCrypt.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/// What libcrypt maps for one hash of a memory-hard method is this much at least: 16 MiB at yescrypt's default cost.
/// Nothing else in our programs maps as much at once; what a module of PAM's or of name service's reserves for itself, to be
/// used bit by bit, is told by its flags and left alone.
enum { hash_memory_least = 4 << 20 };

static unsigned long hash_memories;

unsigned long portcullis_hash_memories(void) { return __atomic_load_n(&hash_memories, __ATOMIC_RELAXED); }

#if defined(__x86_64__) || defined(__aarch64__)
/// mmap(2) as the C library has it, for this program and the libraries that it loads; a large anonymous mapping is advised to
/// be of huge pages. It does what the C library's does: the system call, with errno.
void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    void *made = (void *)syscall(
        SYS_mmap, address, length, (long)protection, (long)flags, (long)descriptor, offset);
    const int reserved = MAP_FIXED | MAP_NORESERVE | MAP_STACK | MAP_GROWSDOWN | MAP_HUGETLB | MAP_SHARED;
    if (made != MAP_FAILED && address == NULL && length >= hash_memory_least && (flags & MAP_ANONYMOUS) &&
        (flags & MAP_PRIVATE) && !(flags & reserved) && protection == (PROT_READ | PROT_WRITE)) {
        // Only advice: where the kernel has no huge pages, or none free, the pages are small ones.
        (void)madvise(made, length, MADV_HUGEPAGE);
        __atomic_add_fetch(&hash_memories, 1, __ATOMIC_RELAXED);
    }
    return made;
}
#endif
