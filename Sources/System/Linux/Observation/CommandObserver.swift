// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// A system call that an observed command is about to make.
public struct ObservedCall: Sendable, Hashable {
    /// The kernel's number of the call's question.
    let id: UInt64
    /// The thread that makes it, and that waits.
    public let thread: Int32
    /// Whether it is of this build's own architecture; i386's, for one, is not.
    public let isNative: Bool
    /// The number of the call; x32's have bit 30 set.
    public let number: UInt32
    /// Its six arguments, of which it may use fewer.
    public let arguments: [UInt64]
}

/// A command that runs under our eyes: each of its system calls that is not passed by waits until it is answered
/// (seccomp_unotify(2), Linux 5.5), its children's too.
///
/// A signal that comes before a waiting call was taken ends it with EINTR, where the signal's handler does not restart calls
/// (after that the kernel holds signals back, from Linux 5.19 on): what need not be looked at is passed.
///
/// This is for learning from a command that one runs oneself, and no protection from it: a call is made with the
/// arguments that its memory holds when the kernel looks, which another of its threads may have changed since.
public final class CommandObserver {
    /// Why a command could not be observed.
    public enum Failure: Error, Sendable, Hashable {
        /// No process could be made.
        case start(SystemError)
        /// The kernel takes no such filter: it is older than 5.5, or another one watches already (EBUSY).
        case filter(SystemError)
        /// The program cannot be executed.
        case execute(SystemError)
    }

    /// What has happened.
    public enum Event: Sendable {
        /// A call waits for its answer.
        case call(ObservedCall)
        /// The command has ended; what it left may still run.
        case ended(ExitStatus)
    }

    /// The most bytes that are read of a text: PATH_MAX.
    public static let textLimit = 4_096

    /// The command's process.
    public let command: ProcessHandle
    private let listener: Descriptor

    /// Starts a program, and takes on what it leaves.
    ///
    /// - Parameters:
    ///   - path: the program's absolute path.
    ///   - arguments: with the program's own name.
    ///   - environment: `NAME=value` each.
    ///   - output: its standard output; nil where it has the caller's.
    ///   - passed: the numbers of calls that are made without being looked at, at most 512. Of `clone` those that no sandbox
    ///     lets pass are looked at all the same.
    public init(
        path: ByteText, arguments: [ByteText], environment: [ByteText], output: Descriptor? = nil,
        passed: [UInt32] = []
    ) throws(Failure) {
        do {
            try Process.becomeSubreaper()
        } catch {
            throw .start(error)
        }
        var pid: pid_t = -1
        var made: Int32 = -1
        var step: Int32 = 0
        let program = path.bytes + [0]
        let texts = arguments.map { $0.bytes + [0] }
        let variables = environment.map { $0.bytes + [0] }
        // SAFETY: the strings are NUL-terminated and the lists nil-terminated, and all of them live for the call.
        let code = unsafe Process.withPointers(texts) { argv in
            unsafe Process.withPointers(variables) { envp in
                unsafe program.withUnsafeBufferPointer { name in
                    unsafe name.withMemoryRebound(to: CChar.self) { name in
                        guard let name = name.baseAddress else { return EFAULT }
                        return unsafe passed.withUnsafeBufferPointer { passed in
                            var terms = unsafe portcullis_observe_terms(
                                output: output?.number ?? -1, passed: passed.baseAddress, count: passed.count)
                            return unsafe portcullis_observe_start(
                                name, argv, envp, &terms, &pid, &made, &step)
                        }
                    }
                }
            }
        }
        guard code == 0 else {
            switch step {
            case Int32(PORTCULLIS_OBSERVE_FILTER): throw .filter(SystemError(code, "seccomp"))
            case Int32(PORTCULLIS_OBSERVE_EXECUTE): throw .execute(SystemError(code, "execve"))
            default: throw .start(SystemError(code, "fork"))
            }
        }
        listener = Descriptor(owning: made)
        do {
            command = try ProcessHandle(pid: pid)
        } catch {
            Process.signal(pid, Signals.Number.kill)
            throw .start(error)
        }
    }

    /// Waits for the next call, or for the command's end; nil where nothing came in time.
    ///
    /// - Parameter milliseconds: the longest wait; -1 for ever.
    public func next(milliseconds: Int32 = -1) throws(SystemError) -> Event? {
        var entries = [Poll.Entry(listener), Poll.Entry(command.descriptor)]
        try Poll.wait(&entries, milliseconds: milliseconds)
        // ORDER: the end first: what it left may make calls without end.
        if entries[1].isReadable || entries[1].isHangup, let status = command.peek() { return .ended(status) }
        if entries[0].isReadable, let call = try take() { return .call(call) }
        return nil
    }

    private func take() throws(SystemError) -> ObservedCall? {
        var raw = portcullis_observed_call()
        // SAFETY: the shim writes one structure.
        let code = unsafe portcullis_observe_next(listener.number, &raw)
        // Its maker was ended before it was heard.
        guard code != EAGAIN else { return nil }
        try check(code, "seccomp")
        let arguments = raw.arguments
        return ObservedCall(
            id: raw.id, thread: Int32(bitPattern: raw.thread),
            isNative: raw.architecture == portcullis_observe_architecture(), number: UInt32(bitPattern: raw.number),
            arguments: [
                arguments.0, arguments.1, arguments.2, arguments.3, arguments.4, arguments.5,
            ])
    }

    /// Lets a call be made, or has it fail with an errno.
    ///
    /// - Returns: false where its maker was ended meanwhile, and the call with it.
    @discardableResult
    public func answer(_ call: ObservedCall, failing code: Int32? = nil) -> Bool {
        portcullis_observe_answer(listener.number, call.id, code ?? 0) == 0
    }

    // MARK: What a call points to

    /// The text at an address of a thread that waits, up to its NUL; nil where it cannot be read or is too long.
    public func text(of thread: Int32, at address: UInt64) -> ByteText? {
        var text: [UInt8] = []
        var place = address
        while text.count < Self.textLimit {
            // Never over the end of a page: what follows may not be there.
            let room = min(4_096 - Int(place & 4_095), Self.textLimit)
            let part = bytes(of: thread, at: place, count: room)
            guard !part.isEmpty else { return nil }
            if let end = part.firstIndex(of: 0) { return ByteText(text + part[..<end]) }
            text += part
            let (following, wrapped) = place.addingReportingOverflow(UInt64(part.count))
            guard !wrapped else { return nil }
            place = following
        }
        return nil
    }

    /// The bytes at an address of a thread that waits; fewer where not all can be read, at most 4,096.
    public func bytes(of thread: Int32, at address: UInt64, count: Int) -> [UInt8] {
        let size = min(max(count, 0), Self.textLimit)
        guard size > 0, address != 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: size)
        var got = 0
        // SAFETY: the array has as many bytes as are asked for, and the shim writes one count.
        let code = unsafe portcullis_observe_read(thread, address, &bytes, size, &got)
        guard code == 0, got <= size else { return [] }
        bytes.removeSubrange(got...)
        return bytes
    }

    // MARK: The end

    /// Ends what the command left running, as a session does, and says how many processes there were.
    public func endLeftovers() -> Int {
        let ended = Children.endAll(but: command.pid)
        _ = command.reap()
        return ended
    }
}

extension CommandObserver {
    /// CPU time of this process's children that have ended and were waited for, and of theirs, in milliseconds.
    public static var processorMilliseconds: UInt64 {
        var usage = rusage()
        // SAFETY: getrusage writes one structure.
        guard unsafe getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage) == 0 else { return 0 }
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        let micros = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
        return UInt64(max(0, seconds)) &* 1_000 &+ UInt64(max(0, micros)) / 1_000
    }
}
