// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Glibc

extension Terminal {
    /// The columns of a terminal; nil where an open file is none, or where it does not know.
    public static func columns(_ descriptor: Descriptor) -> Int? {
        var size = winsize()
        // SAFETY: the kernel writes one structure of this size.
        guard unsafe ioctl(descriptor.number, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }
}
