// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#pragma once

#include <crypt.h>
#include <stddef.h>

/// The most bytes of a hash, its NUL included.
#define PORTCULLIS_HASH_SIZE CRYPT_OUTPUT_SIZE

/// Hashes a password with the setting of another hash, or a new setting, into `hash` (PORTCULLIS_HASH_SIZE bytes).
/// Returns 0 or a positive errno. In C because the work area must be erased by the one that allocated it, also where
/// the hash fails, and crypt(3)'s failure tokens must never be taken for a hash.
int portcullis_hash_make(const char *_Nonnull password, const char *_Nonnull setting, char *_Nonnull hash);

/// Makes a setting of the system's preferred cost for yescrypt, with salt from the kernel. In C because the prefix and
/// the size are macros.
int portcullis_hash_setting(char *_Nonnull setting);

/// Whether a hash is of a method that crypt(3) still recommends. In C because the answers are macros.
int portcullis_hash_is_sound(const char *_Nonnull hash);

/// How many mappings of a hash's size were advised to be of huge pages so far.
///
/// A memory-hard hash is made to touch all of its memory, again and again, at random places. In pages of 4 KiB, yescrypt's
/// 16 MiB are 4,096 faults and misses of the TLB at nearly every step; in pages of 2 MiB they are neither, and the same
/// hash takes two thirds of the time (docs/benchmarks.md). libcrypt maps the memory itself and gives no say in it, and
/// prctl(2) has no way to ask for huge pages, so these programs have an mmap of their own, which libcrypt, PAM's modules
/// and all other libraries are bound to in the place of the C library's (ELF symbol preemption). In C because it is that
/// symbol.
unsigned long portcullis_hash_memories(void);
