// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux

/// A write lease on a file (fcntl(2), F_SETLEASE), held until it is let go of: an open that does not wait fails meanwhile.
public final class FileLease: Sendable {
    private let file: Descriptor

    /// Takes one on a file that nobody else has open.
    public init(_ path: String) throws {
        let setSignal: Int32 = 10
        let setLease: Int32 = 1_024
        file = try File.open(path, [.writing])
        // Somebody's open is told by a signal, which is to be one that does nothing.
        guard fcntl(file.number, setSignal, SIGURG) == 0, fcntl(file.number, setLease, Int32(F_WRLCK)) == 0 else {
            throw SystemError(errno, "fcntl")
        }
    }
}
