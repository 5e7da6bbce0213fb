// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CAudit
public import Core
internal import Glibc
public import Linux

/// The kernel's audit subsystem, as a process that may send user messages sees it.
///
/// The kernel itself puts this process's pid, uid, auid and ses before the text, so a session's records are its own.
public struct KernelAudit: Sendable {
    /// The most bytes of a message's text (libaudit.h, MAX_AUDIT_MESSAGE_LENGTH, less the NUL).
    public static let textLimit = 8_969
    /// The longest wait for the kernel's acknowledgement, in milliseconds: a full backlog makes it wait.
    public static let acknowledgementLimit = 5_000

    private let descriptor: Descriptor

    /// Opens the subsystem.
    ///
    /// - Throws: see `isNotCompiledIn(_:)`.
    public init() throws(SystemError) {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        let code = unsafe portcullis_audit_open(&made)
        guard code == 0 else { throw SystemError(code, "audit_open") }
        descriptor = Descriptor(owning: made)
    }

    /// Whether a failure to open means that the kernel was built without audit (libaudit's own reading).
    public static func isNotCompiledIn(_ error: SystemError) -> Bool {
        error.code == EINVAL || error.code == EPROTONOSUPPORT || error.code == EAFNOSUPPORT
    }

    /// Whether a failure to send means that this process may not: it has no CAP_AUDIT_WRITE, or the kernel takes no
    /// messages from its user namespace.
    public static func isNotPermitted(_ error: SystemError) -> Bool {
        error.code == EPERM || error.code == ECONNREFUSED
    }

    /// Sends one message and waits until the kernel has it.
    ///
    /// - Parameters:
    ///   - type: a number of the user ranges, 1100 to 1199 and 2100 to 2999.
    ///   - text: what stands between the quotes of `msg='…'`, in libaudit's encoding: it is sent as it is.
    /// - Throws: `EMSGSIZE` for more than `textLimit` bytes, `EINVAL` for a type outside the ranges or a text with a
    ///   control byte in it, and what the kernel answers.
    public func send(type: UInt16, _ text: ByteText) throws(SystemError) {
        guard (1_100...1_199).contains(type) || (2_100...2_999).contains(type) else {
            throw SystemError(EINVAL, "audit_send")
        }
        guard text.count <= Self.textLimit else { throw SystemError(EMSGSIZE, "audit_send") }
        // A newline would be a line of its own in auditd's log.
        guard text.bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { throw SystemError(EINVAL, "audit_send") }
        let bytes = text.bytes.map { CChar(bitPattern: $0) }
        // SAFETY: the pointer is valid for the call, and the shim reads no more than the count.
        let code = unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return EINVAL }
            // SAFETY: as above.
            return unsafe portcullis_audit_send(
                descriptor.number, Int32(type), base, buffer.count, Int32(Self.acknowledgementLimit))
        }
        guard code == 0 else { throw SystemError(code, "audit_send") }
    }
}

/// The kernel's audit records as they are made, for who may read them (CAP_AUDIT_READ); auditd notices nothing of it.
public enum KernelAuditRecords {
    /// Joins the multicast group, for the records that tell of denials alone: SECCOMP, LANDLOCK_ACCESS and SYSCALL.
    ///
    /// TRUST: whoever has CAP_NET_ADMIN in the host's network can send to the group, so who reads it looks at the sender
    /// (`Socket.receiveFromKernel`). The socket can be handed to a process without
    /// capabilities: the kernel takes nothing from one that is sent over it.
    ///
    /// - Returns: a socket that does not block; each read is one netlink message.
    /// - Throws: `EPERM` without CAP_AUDIT_READ, and see `KernelAudit.isNotCompiledIn(_:)`.
    public static func listen() throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        let code = unsafe portcullis_audit_listen(&made)
        guard code == 0 else { throw SystemError(code, "audit records") }
        return Descriptor(owning: made)
    }
}

/// This process's login uid and audit session, which the kernel keeps for it and its children.
public struct LoginIdentity: Sendable, Hashable {
    /// The login uid; `UInt32.max` where unset, or where the kernel was built without audit.
    public var auid: UInt32
    /// The audit session; `UInt32.max` where unset.
    public var ses: UInt32

    /// What stands for "unset".
    public static let unset = LoginIdentity(auid: .max, ses: .max)

    /// Reads both back from the kernel.
    public static func current() -> LoginIdentity {
        LoginIdentity(auid: number("/proc/self/loginuid") ?? .max, ses: number("/proc/self/sessionid") ?? .max)
    }

    /// Sets the login uid, for which the kernel makes a new audit session, and reads both back.
    ///
    /// Where a PAM module has set the same uid already nothing is done, because the kernel may hold it immutable.
    ///
    /// - Returns: what the kernel says now.
    /// - Throws: `EPERM` where the kernel refuses (CAP_AUDIT_CONTROL, an immutable loginuid), `ENOENT` where it was
    ///   built without audit.
    public static func set(auid: UInt32) throws(SystemError) -> LoginIdentity {
        let before = current()
        if before.auid == auid { return before }
        let file = try File.open("/proc/self/loginuid", [.writing])
        try file.writeAll(Array(String(auid).utf8))
        let after = current()
        guard after.auid == auid else { throw SystemError(EPERM, "loginuid") }
        return after
    }

    private static func number(_ path: String) -> UInt32? {
        guard let file = try? File.open(path, [.reading]), let bytes = try? file.readAll(limit: 64) else { return nil }
        let digits = bytes.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return UInt32(String(decoding: digits, as: UTF8.self))
    }
}
