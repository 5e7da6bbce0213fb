// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Glibc
import Linux
import TestSupport

/// A name server on a loopback address of its own, as a forked child of an exit test's.
final class NameServer {
    /// Its address, which no other test's server has.
    let address: String
    private let child: ForkedChild

    /// Answers queries until it is let go of.
    ///
    /// - Parameters:
    ///   - zone: a name and a type (`build.example.org A`) each, with the bytes of the address; empty for no such record,
    ///     nil for a failure (SERVFAIL).
    ///   - failsOtherwise: whether any other name is a failure, and not an unknown name (NXDOMAIN).
    init(zone: [String: [UInt8]?], failsOtherwise: Bool) throws {
        let number = UInt16(truncatingIfNeeded: Process.id)
        let octets: [UInt8] = [127, 54, UInt8(number >> 8), UInt8(number & 0xFF) | 1]
        address = octets.map(String.init).joined(separator: ".")
        let server = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard server >= 0 else { throw SystemError(errno, "socket") }
        let socket = Descriptor(owning: server)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(53).bigEndian
        place.sin_addr.s_addr = octets.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }.bigEndian
        // SAFETY: the address is read for the call alone, with its own size.
        let code = unsafe withUnsafePointer(to: &place) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(socket.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw SystemError(errno, "bind") }
        child = try ForkedChild { Self.serve(socket, zone: zone, failsOtherwise: failsOtherwise) }
    }

    private static func serve(_ socket: Descriptor, zone: [String: [UInt8]?], failsOtherwise: Bool) -> Never {
        while true {
            var query = [UInt8](repeating: 0, count: 512)
            var from = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            // SAFETY: the buffer and the address have the room that the call is told.
            let count = unsafe withUnsafeMutablePointer(to: &from) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe recvfrom(socket.number, &query, query.count, 0, $0, &size)
                }
            }
            guard count > 0, let answer = answer(query[..<count], zone: zone, failsOtherwise: failsOtherwise) else {
                continue
            }
            // SAFETY: as above.
            _ = unsafe withUnsafePointer(to: &from) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe sendto(socket.number, answer, answer.count, 0, $0, size)
                }
            }
        }
    }

    /// The answer to a query with one question (RFC 1035, section 4).
    private static func answer(
        _ query: ArraySlice<UInt8>, zone: [String: [UInt8]?], failsOtherwise: Bool
    ) -> [UInt8]? {
        var labels: [String] = []
        var rest = query.dropFirst(12)
        while let length = rest.popFirst(), length > 0 {
            labels.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        guard rest.count >= 4 else { return nil }
        let type = Array(rest.prefix(2))
        let question = query[12..<rest.startIndex + 4]
        let name = labels.joined(separator: ".")
        let isKnown = zone.keys.contains { $0.hasPrefix(name + " ") }
        let found = zone["\(name) \(type == [0, 1] ? "A" : "AAAA")"] ?? (isKnown || !failsOtherwise ? [] : nil)
        let code: UInt8 = found == nil ? 2 : isKnown ? 0 : 3
        let address = found ?? []
        var answer = Array(query.prefix(2)) + [0x81, 0x80 | code, 0, 1, 0, address.isEmpty ? 0 : 1, 0, 0, 0, 0]
        answer += question
        if !address.isEmpty { answer += [0xC0, 0x0C] + type + [0, 1, 0, 0, 0, 5, 0, UInt8(address.count)] + address }
        return answer
    }
}
