// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux

/// Whether a read of the descriptor waits.
func isBlocking(_ descriptor: Descriptor) throws -> Bool {
    fcntl(descriptor.number, F_GETFL) & O_NONBLOCK == 0
}

/// Sends a byte out of band.
func sendUrgent(_ descriptor: Descriptor, _ byte: UInt8) {
    var byte = byte
    // SAFETY: one byte is read.
    _ = unsafe send(descriptor.number, &byte, 1, Int32(MSG_OOB))
}
