// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
public import Linux

/// Runs a program to its end, with nothing blocked or ignored and a PATH of the system's.
///
/// It is spawned: between fork and exec no Swift runs, so that any test may do it (`ForkedChild` says what must not be done).
///
/// - Parameter program: its absolute path.
/// - Returns: how it ended; status 127 where it could not be started.
public func runProgram(_ program: String, _ arguments: [String]) throws -> ExitStatus? {
    // SAFETY: actions and attributes are initialised before use and destroyed after; the strings live for the call.
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigfillset(&signals)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    // SAFETY: strdup's copies, each freed once; nil ends each list.
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = unsafe [strdup("PATH=/usr/local/bin:/usr/bin:/bin"), nil]
    defer { unsafe (words + variables).forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let code = unsafe posix_spawn(&pid, program, nil, &attributes, &words, &variables)
    guard code == 0 else { throw SystemError(code, "posix_spawn \(program)") }
    let handle = try ProcessHandle(pid: pid)
    var entries = [Poll.Entry(handle.descriptor)]
    while !entries.contains(where: \.isReadable) { try Poll.wait(&entries, milliseconds: -1) }
    return handle.reap()
}
