// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
public import Linux

/// Takes a write lease on a file that nobody else has open (fcntl(2), F_SETLEASE): an open that does not wait fails
/// meanwhile.
///
/// - Returns: who holds it, until it is let go of.
public func writeLease(on path: String) throws -> Descriptor {
    let setSignal: Int32 = 10
    let setLease: Int32 = 1_024
    let file = try File.open(path, [.writing])
    // Somebody's open is told by a signal, which is to be one that does nothing.
    guard fcntl(file.number, setSignal, SIGURG) == 0 else { throw SystemError(errno, "fcntl") }
    // A program that another test is about to start may still hold what this one has just written and closed.
    for _ in 0..<1_000 {
        if fcntl(file.number, setLease, Int32(F_WRLCK)) == 0 { return file }
        guard errno == EAGAIN else { break }
        usleep(10_000)
    }
    throw SystemError(errno, "fcntl")
}
