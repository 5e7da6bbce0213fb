// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A block of addresses of one family: an address and the number of leading bits that count.
public struct AddressBlock: Sendable, Hashable, CustomStringConvertible {
    /// The first address of the block; its host bits are zero.
    public let base: IPAddress

    private let length: UInt8

    /// The number of leading bits that count, 0 to the family's width.
    public var prefixLength: Int { Int(length) }

    /// A block; nil where the length does not fit the family or the base has host bits.
    public init?(base: IPAddress, prefixLength: Int) {
        guard (0...base.family.width).contains(prefixLength) else { return nil }
        guard Self.masked(base, prefixLength) == base.value else { return nil }
        self.base = base
        length = UInt8(prefixLength)
    }

    /// The block of one address.
    public init(_ address: IPAddress) {
        base = address
        length = UInt8(address.family.width)
    }

    /// The block of a length that holds an address; nil where the length does not fit the family.
    public init?(containing address: IPAddress, prefixLength: Int) {
        guard (0...address.family.width).contains(prefixLength) else { return nil }
        let value = Self.masked(address, prefixLength)
        switch address.family {
        case .v4:
            base = IPAddress(v4: UInt32(truncatingIfNeeded: value))
        case .v6:
            let masked = IPAddress(v6: value)
            // A masked IPv6 address that reads as v4-mapped is not a block of IPv6 addresses.
            guard masked.family == .v6 else { return nil }
            base = masked
        }
        length = UInt8(prefixLength)
    }

    /// Whether an address lies in the block; an IPv6 block holds no IPv4 address, not even ::/0.
    public func contains(_ address: IPAddress) -> Bool {
        address.family == base.family && Self.masked(address, prefixLength) == base.value
    }

    /// Whether every address of another block lies in this one.
    public func contains(_ other: AddressBlock) -> Bool {
        other.prefixLength >= prefixLength && contains(other.base)
    }

    private static func masked(_ address: IPAddress, _ length: Int) -> UInt128 {
        let host = UInt128(address.family.width - length)
        return host >= 128 ? 0 : (address.value >> host) << host
    }

    /// The address alone for a block of one, else `ADDRESS/LENGTH`.
    public var description: String {
        var text: [UInt8] = []
        write(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends what `description` says.
    public func write(to out: inout [UInt8]) {
        base.write(to: &out)
        guard prefixLength < base.family.width else { return }
        out.append(UInt8(ascii: "/"))
        out.append(contentsOf: String(prefixLength).utf8)
    }
}
