// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What the kernel's audit subsystem tells of a denial: one message of its multicast group, understood.
///
/// TRUST: the kernel wrote the text, but names of programs and paths in it are a stranger's. The kernel quotes them, or
/// writes them in hexadecimal where they hold a blank, a quote or a control byte (audit_log_untrustedstring), so no value
/// can pass for another field; here they are bytes, and are encoded anew where they are written.
public enum KernelReport: Sendable, Hashable {
    /// SECCOMP: a filter refused a system call, or ended its caller.
    case call(Call)
    /// LANDLOCK_ACCESS: a ruleset refused an access. Whose, the SYSCALL record of the same event says.
    case access(event: UInt64, words: String, path: ByteText?)
    /// SYSCALL: whose call an event is about.
    case caller(event: UInt64, ses: UInt32, program: ByteText?)

    /// A refused system call.
    public struct Call: Sendable, Hashable {
        /// The kernel's audit session of the caller; `UInt32.max` where unset.
        public var ses: UInt32
        /// The caller's program.
        public var program: ByteText?
        /// The signal that it was ended by; 0 where the call failed.
        public var signal: UInt8
        /// The architecture that the call is of (AUDIT_ARCH_…).
        public var architecture: UInt32
        /// The call's number there.
        public var number: UInt32
        /// What the filter answered (SECCOMP_RET_…).
        public var action: UInt32

        /// Whether it failed with ENOSYS, as calls do that a program is to fall back from: nothing was denied then that
        /// it could have had.
        public var isUnknownCall: Bool { action == 0x0005_0026 }

        /// A refused call.
        public init(
            ses: UInt32, program: ByteText?, signal: UInt8, architecture: UInt32, number: UInt32, action: UInt32
        ) {
            self.ses = ses
            self.program = program
            self.signal = signal
            self.architecture = architecture
            self.number = number
            self.action = action
        }
    }

    /// The most bytes of a message (libaudit.h, MAX_AUDIT_MESSAGE_LENGTH, with the header).
    public static let messageLimit = 8_970 + headerSize
    private static let headerSize = 16
    /// The most fields of a text; more are not looked at.
    private static let fieldLimit = 64

    // linux/audit.h.
    private static let systemCallType: UInt16 = 1_300
    private static let seccompType: UInt16 = 1_326
    private static let landlockType: UInt16 = 1_423

    /// Reads a netlink message; nil for what is none of these, or not in the kernel's form.
    public init?(message: [UInt8]) {
        guard message.count > Self.headerSize, message.count <= Self.messageLimit else { return nil }
        // Netlink is in the host's order, which is little-endian wherever filters are known (CSeccomp.c).
        self.init(type: UInt16(message[4]) | UInt16(message[5]) << 8, text: message[Self.headerSize...])
    }

    /// Reads a text by its type.
    public init?(type: UInt16, text: ArraySlice<UInt8>) {
        guard type == Self.systemCallType || type == Self.seccompType || type == Self.landlockType,
            let fields = Fields(text)
        else { return nil }
        switch type {
        case Self.seccompType:
            guard let ses: UInt32 = fields.number("ses"), let signal: UInt8 = fields.number("sig"),
                let architecture = fields.hexadecimal("arch"), let number: UInt32 = fields.number("syscall"),
                let action = fields.hexadecimal("code")
            else { return nil }
            self = .call(
                Call(
                    ses: ses, program: fields.untrusted("exe"), signal: signal, architecture: architecture,
                    number: number, action: action))
        case Self.landlockType:
            guard let blockers = fields["blockers"], blockers.count <= Record.Denial.wordLimit - 8,
                blockers.allSatisfy(Self.isWord), !blockers.isEmpty
            else { return nil }
            // The kernel's commas would end the host's name for ausearch and aureport.
            let joined = blockers.map { $0 == UInt8(ascii: ",") ? UInt8(ascii: "+") : $0 }
            var words = String(decoding: joined, as: UTF8.self)
            if words.hasPrefix("net."), !words.contains("+"), let port: UInt16 = fields.number("dest") {
                words += ":\(port)"
            }
            self = .access(event: fields.event, words: words, path: fields.untrusted("path"))
        default:
            guard let ses: UInt32 = fields.number("ses") else { return nil }
            self = .caller(event: fields.event, ses: ses, program: fields.untrusted("exe"))
        }
    }

    /// Letters, digits, and what stands between them in Landlock's words.
    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
            UInt8(ascii: "."), UInt8(ascii: ","):
            true
        default: false
        }
    }

    /// The fields of a text.
    private struct Fields {
        /// The event's number, which all its records have.
        let event: UInt64
        private var values: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []

        /// `audit(SECONDS.MILLISECONDS:EVENT): key=value …`.
        init?(_ text: ArraySlice<UInt8>) {
            let head = "audit("
            guard text.starts(with: head.utf8), let close = text.firstIndex(of: UInt8(ascii: ")")),
                let colon = text[..<close].lastIndex(of: UInt8(ascii: ":")),
                let event: UInt64 = FieldText.number(text[colon..<close].dropFirst())
            else { return nil }
            self.event = event
            let rest = text[close...].dropFirst(2)
            for part in rest.split(separator: UInt8(ascii: " "), maxSplits: KernelReport.fieldLimit) {
                guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { continue }
                values.append((part[..<equals], part[equals...].dropFirst()))
            }
        }

        subscript(key: String) -> ArraySlice<UInt8>? {
            values.first { $0.key.elementsEqual(key.utf8) }?.value
        }

        func number<Value: FixedWidthInteger>(_ key: String) -> Value? {
            self[key].flatMap { FieldText.number($0) }
        }

        /// At most eight digits, with `0x` or without.
        func hexadecimal(_ key: String) -> UInt32? {
            guard var digits = self[key] else { return nil }
            if digits.starts(with: "0x".utf8) { digits = digits.dropFirst(2) }
            guard (1...8).contains(digits.count) else { return nil }
            var value: UInt32 = 0
            for byte in digits {
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
                case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
                default: return nil
                }
            }
            return value
        }

        /// A value that the kernel quotes or writes in hexadecimal; nil for `(null)` and other words of its own.
        func untrusted(_ key: String) -> ByteText? {
            guard let value = self[key] else { return nil }
            let bytes: [UInt8]?
            if value.first == UInt8(ascii: "\"") {
                // The kernel does not quote what holds a quote; an apostrophe it does.
                let inner = value.dropFirst().dropLast()
                bytes = value.count >= 2 && value.last == UInt8(ascii: "\"") ? Array(inner) : nil
            } else {
                bytes = FieldText.untrusted(value)
            }
            guard let bytes, bytes.count <= Record.Denial.pathLimit else { return nil }
            return ByteText(bytes)
        }
    }
}
