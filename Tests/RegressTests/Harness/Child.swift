// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// A program that a test runs, with its output in files, so that nothing it writes can hold it back.
final class Child {
    /// How it ended.
    enum Outcome: Equatable, CustomStringConvertible {
        case status(Int32)
        case signal(Int32)
        case stillRunning

        var description: String {
            switch self {
            case .status(let status): "status \(status)"
            case .signal(let signal): "signal \(signal)"
            case .stillRunning: "still running"
            }
        }
    }

    /// What a finished program left.
    struct Result: CustomStringConvertible {
        var outcome: Outcome
        var out: [UInt8]
        var err: [UInt8]

        var outText: String { String(decoding: out, as: UTF8.self) }
        var errText: String { String(decoding: err, as: UTF8.self) }
        var description: String { "\(outcome), stdout \(outText.debugDescription), stderr \(errText.debugDescription)" }
    }

    let pid: pid_t
    private let outPath: String
    private let errPath: String
    private let ownsFiles: Bool
    private var ended: Outcome?

    /// Starts a program by its path. stdin is a file, or /dev/null; stdout and stderr go to files.
    init(
        _ program: String, _ arguments: [String] = [], stdin: String = "/dev/null", out: String? = nil,
        err: String? = nil, environment: [String: String] = [:]
    ) throws {
        let name = FileManager.default.temporaryDirectory.path + "/portcullis-child-" + UUID().uuidString
        ownsFiles = out == nil && err == nil
        outPath = out ?? name + ".out"
        errPath = err ?? name + ".err"
        var inherited = ProcessInfo.processInfo.environment
        inherited.merge(environment) { $1 }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        var actions = unsafe posix_spawn_file_actions_t()
        // SAFETY: the actions are initialised here and destroyed below; paths are copied by the calls.
        unsafe posix_spawn_file_actions_init(&actions)
        // SAFETY: as above.
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // SAFETY: as above.
        unsafe posix_spawn_file_actions_addopen(&actions, 0, stdin, O_RDONLY, 0)
        // SAFETY: as above.
        unsafe posix_spawn_file_actions_addopen(&actions, 1, outPath, flags, 0o600)
        // SAFETY: as above.
        unsafe posix_spawn_file_actions_addopen(&actions, 2, errPath, flags, 0o600)
        var attributes = posix_spawnattr_t()
        // SAFETY: the attributes are initialised here and destroyed below.
        unsafe posix_spawnattr_init(&attributes)
        // SAFETY: as above.
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // A group of its own, so that a signal meant for it reaches nobody else. The runner's signal mask stays here.
        // SAFETY: as above.
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var mask = sigset_t()
        // SAFETY: the set is a local.
        unsafe sigemptyset(&mask)
        // SAFETY: as above.
        unsafe posix_spawnattr_setsigmask(&attributes, &mask)
        var words: [UnsafeMutablePointer<CChar>?] = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            unsafe inherited.map { unsafe strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            // SAFETY: each was made by strdup above, and is freed once.
            unsafe (words + variables).forEach { unsafe free($0) }
        }
        var made = pid_t()
        // SAFETY: both arrays end in a null pointer and outlive the call.
        let status = unsafe posix_spawn(&made, program, &actions, &attributes, &words, &variables)
        guard status == 0 else { throw HarnessError(description: "cannot run \(program): errno \(status)") }
        pid = made
    }

    deinit {
        if ended == nil {
            kill(pid, SIGKILL)
            _ = wait(within: 5_000)
        }
        if ownsFiles {
            Files.remove(outPath)
            Files.remove(errPath)
        }
    }

    /// What it has written so far.
    var errSoFar: String { Files.text(errPath) }
    var outSoFar: String { Files.text(outPath) }

    func send(_ signal: Int32) {
        if ended == nil { kill(pid, signal) }
    }

    /// Waits for its end, and reaps it.
    func wait(within milliseconds: Int) -> Outcome {
        if let ended { return ended }
        let deadline = Moment.now + milliseconds
        repeat {
            var status: Int32 = 0
            // SAFETY: the pointer is to a local.
            if unsafe waitpid(pid, &status, WNOHANG) == pid {
                let outcome = status & 0x7F == 0 ? Outcome.status(status >> 8 & 0xFF) : .signal(status & 0x7F)
                ended = outcome
                return outcome
            }
            Moment.sleep(5)
        } while Moment.now < deadline
        return .stillRunning
    }

    /// Waits for its end and takes what it wrote; kills it where it does not end.
    func finish(within milliseconds: Int = 30_000) -> Result {
        let outcome = wait(within: milliseconds)
        if outcome == .stillRunning { send(SIGKILL) }
        _ = wait(within: 5_000)
        return Result(
            outcome: outcome, out: Files.read(outPath), err: Files.read(errPath))
    }

    /// Runs a program to its end.
    static func run(
        _ program: String, _ arguments: [String] = [], stdin: String = "/dev/null",
        environment: [String: String] = [:], within milliseconds: Int = 30_000
    ) throws -> Result {
        try Child(program, arguments, stdin: stdin, environment: environment).finish(within: milliseconds)
    }
}
