// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// libseccomp's tables of system calls. In C because the architecture is a macro.
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
