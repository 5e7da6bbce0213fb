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
