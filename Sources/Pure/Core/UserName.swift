// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The name of an account or of a remote user, in the bytes that the wire permits (wire.md, Limits).
///
/// 1 to 32 bytes; the first a letter, digit or `_`; the others these and `. - $ @`. ASCII alone, so that two names
/// that look alike are not.
public struct UserName: Sendable, Hashable, CustomStringConvertible {
    /// The most bytes that a name has (Linux's login name limit).
    public static let limit = 32

    /// The bytes.
    public let bytes: [UInt8]

    /// Checks the grammar.
    public init?(bytes: [UInt8]) {
        guard bytes.count <= Self.limit, let first = bytes.first, Self.canStart(with: first) else { return nil }
        guard bytes.dropFirst().allSatisfy(Self.canContinue(with:)) else { return nil }
        self.bytes = bytes
    }

    /// Checks the grammar of a text.
    public init?(_ text: String) {
        self.init(bytes: Array(text.utf8))
    }

    /// The literal name `root`, the only one by which a permit can mean uid 0.
    public static let root = UserName(uncheckedASCII: "root")

    /// What REXEC's guests ask for, where the policy has a guest pool.
    public static let guest = UserName(uncheckedASCII: "guest")

    private init(uncheckedASCII text: StaticString) {
        bytes = Array(text.description.utf8)
    }

    /// The name as text: its grammar is ASCII.
    public var description: String {
        String(decoding: bytes, as: UTF8.self)
    }

    /// Whether a name may begin with a byte: a letter, a digit or `_`.
    public static func canStart(with byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    /// Whether a byte may stand in a name after the first: what it may begin with, and `. - $ @`.
    public static func canContinue(with byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "$"), UInt8(ascii: "@"): true
        default: canStart(with: byte)
        }
    }
}
