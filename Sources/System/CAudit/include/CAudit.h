// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#pragma once

#include <stddef.h>

/// Opens libaudit's socket, close-on-exec; returns 0 or a positive errno. EINVAL, EPROTONOSUPPORT and EAFNOSUPPORT mean
/// that the kernel was built without audit. In C because libaudit leaves the code in errno.
int portcullis_audit_open(int *_Nonnull descriptor);

/// Opens a socket in the multicast group of the kernel's audit records (CAP_AUDIT_READ), close-on-exec and without
/// blocking, for records that tell of denials alone; returns 0 or a positive errno. In C because the filter is made of
/// macros.
int portcullis_audit_listen(int *_Nonnull descriptor);

/// Sends one user message of a type and waits for the kernel's acknowledgement, at most `milliseconds`; returns 0 or a
/// positive errno. The text is sent as it is. In C because netlink messages are laid out with macros, and because
/// libaudit's own calls would put fields of theirs around the text.
int portcullis_audit_send(int descriptor, int type, const char *_Nonnull text, size_t length, int milliseconds);
