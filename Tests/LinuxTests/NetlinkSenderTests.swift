// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux
import Testing

/// A message that says it is the kernel's, from a process that may send on netlink.
@Suite struct NetlinkSenderTests {
    /// sockaddr_nl (linux/netlink.h).
    private struct Address {
        var family = UInt16(AF_NETLINK)
        var padding: UInt16 = 0
        var port: UInt32 = 0
        var groups: UInt32 = 0
    }

    /// A socket of the protocol that user programs talk to each other by (NETLINK_USERSOCK), with a port of its own.
    private func socketAndPort() throws -> (socket: Descriptor, port: UInt32) {
        let made = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue), 2)
        try #require(made >= 0)
        let descriptor = Descriptor(owning: made)
        var address = Address()
        var length = socklen_t(MemoryLayout<Address>.size)
        // SAFETY: the calls read and write a local of the kernel's layout.
        let isBound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                unsafe bind(made, name, length) == 0 && getsockname(made, name, &length) == 0
            }
        }
        try #require(isBound)
        return (descriptor, address.port)
    }

    @Test func onlyWhatTheKernelSentIsTaken() throws {
        let (reader, port) = try socketAndPort()
        let (sender, _) = try socketAndPort()
        var address = Address(port: port)
        let forged: [UInt8] = [20, 0, 0, 0, 0x2E, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
        // SAFETY: the call reads a local of the kernel's layout and as many bytes as there are.
        let sent = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                unsafe sendto(
                    sender.number, forged, forged.count, 0, name, socklen_t(MemoryLayout<Address>.size))
            }
        }
        try #require(sent == forged.count)
        #expect(try Socket.receiveFromKernel(reader, limit: 64) == nil)
        // The message was there, and is gone: what comes next is nothing.
        #expect(throws: SystemError.self) { try Socket.receiveFromKernel(reader, limit: 64) }
    }

    /// The control: what no netlink port sent comes through.
    @Test func otherSocketsMessagesAreTaken() throws {
        let (left, right) = try Channel.pair()
        try left.send([1, 2, 3], waiting: false)
        #expect(try Socket.receiveFromKernel(right.descriptor, limit: 64) == [1, 2, 3])
    }
}
