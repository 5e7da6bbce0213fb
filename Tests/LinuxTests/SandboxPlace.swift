// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux

/// Whether the tests run as root; those that need it say so where they are skipped.
func geteuidIsRoot() -> Bool { geteuid() == 0 }
