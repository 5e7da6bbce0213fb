// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
public import Linux

/// A file that a spawned program finds open.
public struct SpawnedFile {
    let number: Int32
    let path: String
    let flags: Int32

    /// The file of a path, opened as open(2)'s flags say; one that is made is its owner's alone.
    public init(_ number: Int32, _ path: String, _ flags: Int32) {
        self.number = number
        self.path = path
        self.flags = flags
    }
}

/// Starts a program, with nothing blocked or ignored.
///
/// It is spawned: between fork and exec no Swift runs, so that any test may do it (`ForkedChild` says what must not be done).
///
/// - Parameters:
///   - program: its absolute path.
///   - name: what it is called to itself; nil for its path.
///   - environment: all that it has.
///   - files: what is opened for it.
///   - inSession: whether it leads a session of its own.
/// - Returns: its process id, which the caller reaps.
public func spawnProgram(
    _ program: String, named name: String? = nil, _ arguments: [String],
    environment: [String] = ["PATH=/usr/local/bin:/usr/bin:/bin"], files: [SpawnedFile] = [], inSession: Bool = false
) throws -> Int32 {
    // SAFETY: actions and attributes are initialised before use and destroyed after; the strings live for the call.
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for file in files {
        unsafe posix_spawn_file_actions_addopen(&actions, file.number, file.path, file.flags, 0o600)
    }
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigfillset(&signals)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    // 0x80 is POSIX_SPAWN_SETSID, which only GNU sources see.
    let flags = Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | (inSession ? 0x80 : 0)
    unsafe posix_spawnattr_setflags(&attributes, flags)
    // SAFETY: strdup's copies, each freed once; nil ends each list.
    var words: [UnsafeMutablePointer<CChar>?] =
        unsafe ([name ?? program] + arguments).map { unsafe strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer { unsafe (words + variables).forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let code = unsafe posix_spawn(&pid, program, &actions, &attributes, &words, &variables)
    guard code == 0 else { throw SystemError(code, "posix_spawn \(program)") }
    return pid
}

/// Runs a program to its end, as `spawnProgram` starts it.
///
/// - Returns: how it ended; status 127 where it could not be started.
public func runProgram(_ program: String, _ arguments: [String]) throws -> ExitStatus? {
    let handle = try ProcessHandle(pid: try spawnProgram(program, arguments))
    var entries = [Poll.Entry(handle.descriptor)]
    while !entries.contains(where: \.isReadable) { try Poll.wait(&entries, milliseconds: -1) }
    return handle.reap()
}
