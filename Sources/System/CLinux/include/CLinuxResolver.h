// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Part of CLinux.h, which includes it.
#pragma once

#include <stddef.h>

struct portcullis_endpoint;

/// getaddrinfo(3), forward alone, for stream sockets of a family: 4, 6, or 0 for both. Returns its code. In C because
/// a sockaddr is cast from family to family.
int portcullis_host_resolve(const char *_Nonnull name, int family, struct portcullis_endpoint *_Nonnull list,
                            size_t capacity, size_t *_Nonnull count);

/// Has this thread's DNS queries carry names as they are written: without resolv.conf's search list and domain, and
/// without $HOSTALIASES. 0, or -1 where resolv.conf could not be read. In C because `_res` is a macro.
int portcullis_names_unsearched(void);

/// Has this process ask these services for hosts, in nsswitch.conf's words, and never nscd, whose answers are searched.
/// 0, or -1. In C because of its name, which is glibc's own.
int portcullis_hosts_services(const char *_Nonnull services);
