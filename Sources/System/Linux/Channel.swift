// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// One end of a SEQPACKET pair between two of our processes: whole messages, with descriptors.
public struct Channel: Sendable {
    /// The end.
    public let descriptor: Descriptor

    /// Takes an end.
    public init(_ descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    /// A fresh pair; no two processes ever hold the same end.
    public static func pair() throws(SystemError) -> (Channel, Channel) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: the array has the two elements that socketpair writes.
        let result = unsafe ends.withUnsafeMutableBufferPointer {
            unsafe socketpair(
                AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, $0.baseAddress)
        }
        guard result == 0 else { throw .last("socketpair") }
        return (Channel(Descriptor(owning: ends[0])), Channel(Descriptor(owning: ends[1])))
    }

    /// A message with the descriptors that came with it.
    public struct Message: Sendable {
        /// The bytes.
        public var bytes: [UInt8]
        /// The descriptors, close-on-exec; those that nobody takes are closed.
        public var descriptors: [Descriptor]
    }

    /// What a read found.
    public enum Received: Sendable {
        /// A message.
        case message(Message)
        /// Nothing yet.
        case nothing
        /// The other end is closed.
        case closed
    }

    /// Sends one message.
    ///
    /// - Parameter waiting: whether to wait for room; the monitor never does.
    /// - Throws: `wouldBlock` where there is no room, `isDisconnected` where the other end is closed.
    public func send(_ bytes: [UInt8], descriptors: [Descriptor] = [], waiting: Bool = true) throws(SystemError) {
        let numbers = descriptors.map(\.number)
        // SAFETY: both pointers are valid for the closures, and the shim reads no more than the counts.
        let code = unsafe bytes.withUnsafeBytes { part in
            unsafe numbers.withUnsafeBufferPointer { list in
                unsafe portcullis_message_send(
                    descriptor.number, part.baseAddress, part.count, list.baseAddress, list.count,
                    waiting ? 0 : Int32(MSG_DONTWAIT))
            }
        }
        try check(code, "sendmsg")
    }

    /// The most descriptors that come with one message.
    public static let descriptorLimit = 64

    /// Receives one message of at most `limit` bytes; a longer one, or surplus descriptors, is EMSGSIZE.
    public func receive(limit: Int, descriptorLimit: Int = 0, waiting: Bool = true) throws(SystemError) -> Received {
        var numbers = [Int32](repeating: -1, count: Self.descriptorLimit)
        var descriptorCount = 0
        var code: Int32 = 0
        let flags = waiting ? 0 : Int32(MSG_DONTWAIT)
        // SAFETY: the buffers have the room that the shim is told, and it says how much of it is written.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            unsafe numbers.withUnsafeMutableBufferPointer { list in
                guard let first = list.baseAddress else { return }
                code = unsafe portcullis_message_receive(
                    descriptor.number, base, limit, &count, first, min(descriptorLimit, Self.descriptorLimit),
                    &descriptorCount, flags)
            }
        }
        if code == EAGAIN { return .nothing }
        if code == ECONNRESET { return .closed }
        try check(code, "recvmsg")
        // No frame of ours is empty, so an empty message is the end.
        if bytes.isEmpty, descriptorCount == 0 { return .closed }
        return .message(
            Message(bytes: bytes, descriptors: numbers.prefix(descriptorCount).map { Descriptor(owning: $0) }))
    }

    /// The process at the other end, as the kernel knows it.
    public func peer() throws(SystemError) -> (pid: Int32, uid: UInt32) {
        var pid: pid_t = 0
        var uid: uid_t = 0
        // SAFETY: the shim writes the two values.
        try check(unsafe portcullis_peer_credentials(descriptor.number, &pid, &uid), "getsockopt")
        return (pid, uid)
    }
}
