// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// libseccomp, as much of it as a filter by names needs. In C because its rules are added through variadic functions
// and its actions are macros. Functions return 0 or a positive errno.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// The AUDIT_ARCH_* value of this architecture, as a filter sees it.
uint32_t portcullis_filter_architecture(void);

/// Whether this architecture shares its AUDIT_ARCH_* value with x32.
int portcullis_filter_has_x32(void);

/// The number of a system call on this architecture, or -1 where it has none or libseccomp does not know the name.
int portcullis_call_number(const char *_Nonnull name);

/// Whether libseccomp knows a system call of this number on this architecture.
int portcullis_call_is_known(int number);

/// Writes the name of a system call of this architecture, with its NUL; ENOENT for a number that libseccomp does not know.
int portcullis_call_name(int number, char *_Nonnull name, size_t capacity);

/// Compiles a filter: `otherwise` for every call of this architecture, `action` for the numbers listed, the end of
/// the process for foreign architectures; a binary tree, so that loading it is cheap.
///
/// Writes at most `capacity` bytes of `struct sock_filter` and says how many; ENOBUFS where there are more.
int portcullis_filter_compile(
    uint32_t otherwise, uint32_t action, const int *_Nonnull numbers, size_t count, uint8_t *_Nonnull bytes,
    size_t capacity, size_t *_Nonnull length);
