// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// An IPv4 or IPv6 address, without name, scope or port.
///
/// A v4-mapped IPv6 address is held as the IPv4 address that it is, so that no rule is got round by the family of a
/// listener.
public struct IPAddress: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The address family.
    public enum Family: UInt8, Sendable, Hashable {
        case v4 = 4
        case v6 = 6

        /// The number of bits in an address.
        public var width: Int {
            switch self {
            case .v4: 32
            case .v6: 128
            }
        }
    }

    // Two words, which need no room to be aligned, so that a block fits into 24 bytes: a policy holds hundreds of
    // thousands.
    private let high: UInt64
    private let low: UInt64

    /// The family.
    public let family: Family

    /// The address as a number; an IPv4 address has its upper 96 bits zero.
    public var value: UInt128 { UInt128(high) << 64 | UInt128(low) }

    /// An IPv4 address of its four bytes as a number.
    public init(v4 value: UInt32) {
        family = .v4
        high = 0
        low = UInt64(value)
    }

    /// An IPv6 address; a v4-mapped one becomes the IPv4 address.
    public init(v6 value: UInt128) {
        let isMapped = value >> 32 == 0xFFFF
        family = isMapped ? .v4 : .v6
        high = UInt64(truncatingIfNeeded: value >> 64)
        low = UInt64(truncatingIfNeeded: isMapped ? value & 0xFFFF_FFFF : value)
    }

    /// Four or sixteen bytes in network order.
    public init?(networkBytes bytes: some Collection<UInt8>) {
        let value = bytes.prefix(16).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        switch bytes.count {
        case 4: self.init(v4: UInt32(truncatingIfNeeded: value))
        case 16: self.init(v6: value)
        default: return nil
        }
    }

    /// Four or sixteen bytes in network order.
    public var networkBytes: [UInt8] {
        let count = family.width / 8
        return (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt128((count - 1 - $0) * 8)) }
    }

    /// Whether this is a loopback address: 127.0.0.0/8 or ::1.
    public var isLoopback: Bool {
        switch family {
        case .v4: value >> 24 == 127
        case .v6: value == 1
        }
    }

    /// Whether this is an IPv6 link-local address, fe80::/10.
    public var isLinkLocal: Bool {
        family == .v6 && value >> 118 == 0xFE80 >> 6
    }

    /// IPv4 before IPv6, then by value.
    public static func < (left: Self, right: Self) -> Bool {
        (left.family.rawValue, left.value) < (right.family.rawValue, right.value)
    }
}

// MARK: - Text

extension IPAddress {
    /// The most bytes that the text of an address has.
    public static let textLimit = 45

    /// Reads a dotted quad in canonical form (no leading zeros, four parts) or an IPv6 address (RFC 4291, 2.2).
    ///
    /// A scope is not part of an address and is refused. Use `canonical(_:)` where RFC 5952 form is asked for.
    public init?(_ text: some StringProtocol) {
        self.init(ascii: Array(text.utf8))
    }

    /// Reads the bytes of an address's text.
    public init?(ascii text: [UInt8]) {
        self.init(ascii: text[...])
    }

    /// Reads a stretch of bytes that is an address's text.
    public init?(ascii text: ArraySlice<UInt8>) {
        guard !text.isEmpty, text.count <= Self.textLimit else { return nil }
        if text.contains(UInt8(ascii: ":")) {
            guard let value = Self.v6(text) else { return nil }
            self.init(v6: value)
        } else {
            guard let value = Self.v4(text) else { return nil }
            self.init(v4: value)
        }
    }

    /// Reads an address only in the one form in which it is printed; a v4-mapped address has none.
    public static func canonical(_ text: [UInt8]) -> IPAddress? {
        guard let address = IPAddress(ascii: text), Array(address.description.utf8) == text else { return nil }
        return address
    }

    private static func v4(_ text: ArraySlice<UInt8>) -> UInt32? {
        var value: UInt32 = 0
        var number: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, number <= 255, dots < 3 else { return nil }
                value = value << 8 | number
                (number, digits, dots) = (0, 0, dots + 1)
                continue
            }
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            // A leading zero stands alone.
            guard digits < 3, digits == 0 || number > 0 else { return nil }
            // INVARIANT: at most three digits, so at most 999.
            number = number * 10 + UInt32(byte - UInt8(ascii: "0"))
            digits += 1
        }
        guard dots == 3, digits > 0, number <= 255 else { return nil }
        return value << 8 | number
    }

    private static func v6(_ text: ArraySlice<UInt8>) -> UInt128? {
        // The groups before a `::` and those behind it, each as a number of so many groups.
        var head: (value: UInt128, groups: Int) = (0, 0)
        var tail: (value: UInt128, groups: Int) = (0, 0)
        var compressed = false
        func append(_ value: UInt32, groups: Int) {
            if compressed {
                tail = (tail.value << UInt128(16 * groups) | UInt128(value), tail.groups + groups)
            } else {
                head = (head.value << UInt128(16 * groups) | UInt128(value), head.groups + groups)
            }
        }
        var rest = text
        let colon = UInt8(ascii: ":")
        if rest.starts(with: [colon, colon]) {
            compressed = true
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            guard head.groups + tail.groups < 8 else { return nil }
            let piece = rest.prefix { $0 != colon }
            rest = rest.dropFirst(piece.count)
            if piece.contains(UInt8(ascii: ".")) {
                // An embedded IPv4 address can only be the last 32 bits.
                guard rest.isEmpty, let quad = v4(piece) else { return nil }
                append(quad, groups: 2)
                break
            }
            guard let group = group(piece) else { return nil }
            append(UInt32(group), groups: 1)
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            guard let next = rest.first else { return nil }
            if next == colon {
                guard !compressed else { return nil }
                compressed = true
                rest = rest.dropFirst()
            }
        }
        let given = head.groups + tail.groups
        guard compressed ? given < 8 : given == 8 else { return nil }
        // INVARIANT: at most eight groups before the `::`, and with none before it nothing is shifted.
        return (head.groups == 0 ? 0 : head.value << UInt128(16 * (8 - head.groups))) | tail.value
    }

    private static func group(_ text: ArraySlice<UInt8>) -> UInt16? {
        guard (1...4).contains(text.count) else { return nil }
        var value: UInt16 = 0
        for byte in text {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt16(digit)
        }
        return value
    }

    /// The canonical text: a dotted quad, or RFC 5952 form.
    public var description: String {
        var text: [UInt8] = []
        write(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends the canonical text.
    public func write(to out: inout [UInt8]) {
        switch family {
        case .v4:
            for shift in [24, 16, 8, 0] as [UInt128] {
                Self.write(UInt16(truncatingIfNeeded: value >> shift & 0xFF), radix: 10, to: &out)
                if shift > 0 { out.append(UInt8(ascii: ".")) }
            }
        case .v6:
            let run = longestZeroRun
            for index in 0..<8 {
                if let run, run.contains(index) {
                    if index == run.lowerBound { out.append(UInt8(ascii: ":")) }
                    // The colon before the next group, or the second of an address that ends here.
                    if index == run.upperBound - 1 { out.append(UInt8(ascii: ":")) }
                    continue
                }
                if index > 0, run?.upperBound != index { out.append(UInt8(ascii: ":")) }
                Self.write(group(index), radix: 16, to: &out)
            }
        }
    }

    private static func write(_ number: UInt16, radix: UInt16, to out: inout [UInt8]) {
        var divisor: UInt16 = 1
        while number / divisor >= radix { divisor *= radix }
        while divisor > 0 {
            let digit = UInt8(truncatingIfNeeded: number / divisor % radix)
            out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            divisor /= radix
        }
    }

    private func group(_ index: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: value >> UInt128((7 - index) * 16))
    }

    /// The first longest run of at least two zero groups (RFC 5952, 4.2).
    private var longestZeroRun: Range<Int>? {
        var best: Range<Int>?
        var start = 0
        for index in 0...8 {
            if index < 8, group(index) == 0 { continue }
            if index - start > (best?.count ?? 1) { best = start..<index }
            start = index + 1
        }
        return best
    }
}
