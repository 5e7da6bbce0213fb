// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// A compiled system-call filter, ready for the kernel: a classic BPF program as seccomp(2) takes it.
///
/// The bytes come from module Seccomp, through channels of our own; the kernel checks the program again when it is
/// loaded, so that bytes of any other kind are an error and never a weaker filter.
public struct SeccompProgram: Sendable {
    /// The most instructions that the kernel takes (BPF_MAXINSNS).
    public static let instructionLimit = 4_096

    /// The size of an instruction, `struct sock_filter`.
    static let instructionSize = 8

    /// The instructions.
    public let bytes: [UInt8]

    /// Wraps a program of 1 to `instructionLimit` whole instructions.
    ///
    /// Throws `EINVAL` for any other length.
    public init(bytes: [UInt8]) throws(ConfinementError) {
        guard !bytes.isEmpty, bytes.count % Self.instructionSize == 0,
            bytes.count / Self.instructionSize <= Self.instructionLimit
        else { throw ConfinementError(.filter, EINVAL) }
        self.bytes = bytes
    }

    /// The number of instructions.
    var count: UInt16 { UInt16(clamping: bytes.count / Self.instructionSize) }

    /// Puts the calling thread, or all threads of the process, under this filter for good.
    ///
    /// Trusted on entry: no_new_privs is set, else the kernel wants CAP_SYS_ADMIN. On return every further system call
    /// of the thread, and of all that it starts, has passed the filter.
    ///
    /// - Parameters:
    ///   - allThreads: puts every thread of the process under it (SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17).
    ///   - logged: has the kernel log what the filter refuses (SECCOMP_FILTER_FLAG_LOG, Linux 4.14).
    public func load(allThreads: Bool = false, logged: Bool = false) throws(ConfinementError) {
        var flags: UInt32 = 0
        if allThreads { flags |= 1 << 0 }
        if logged { flags |= 1 << 1 }
        // SAFETY: the kernel reads `count` whole instructions, which init has checked that the array holds.
        let code = unsafe portcullis_filter_load(bytes, count, flags)
        guard code == 0 else { throw ConfinementError(.filter, code) }
    }
}

/// The promise that execve never again gives a process of this tree more than it has (prctl(2), Linux 3.5).
public enum NoNewPrivileges {
    private static let set: Int32 = 38  // PR_SET_NO_NEW_PRIVS
    private static let get: Int32 = 39  // PR_GET_NO_NEW_PRIVS

    /// Makes the promise, and reads it back.
    public static func promise() throws(ConfinementError) {
        try ProcessControl.set(Self.set, 1, step: .noNewPrivileges)
        guard try isPromised() else { throw ConfinementError(.noNewPrivileges, EPERM) }
    }

    /// Whether it has been made.
    public static func isPromised() throws(ConfinementError) -> Bool {
        try ProcessControl.get(Self.get, step: .noNewPrivileges) == 1
    }
}

/// prctl(2) with integers, for the options that confinement uses.
enum ProcessControl {
    /// Sets an option.
    static func set(
        _ option: Int32, _ a: UInt = 0, _ b: UInt = 0, step: ConfinementError.Step
    ) throws(ConfinementError) {
        let code = portcullis_thread_control(option, a, b, 0, 0, nil)
        guard code == 0 else { throw ConfinementError(step, code) }
    }

    /// Reads an option that answers with its result.
    static func get(_ option: Int32, _ a: UInt = 0, _ b: UInt = 0, step: ConfinementError.Step)
        throws(ConfinementError) -> Int32
    {
        var value: Int32 = 0
        // SAFETY: `value` lives for the call.
        let code = unsafe portcullis_thread_control(option, a, b, 0, 0, &value)
        guard code == 0 else { throw ConfinementError(step, code) }
        return value
    }
}
