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
