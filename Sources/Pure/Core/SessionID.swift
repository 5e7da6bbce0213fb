// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The 128-bit random name of one request, from accept to end record.
public struct SessionID: Sendable, Hashable, CustomStringConvertible {
    /// The number of bytes.
    public static let size = 16

    /// The sixteen bytes.
    public let bytes: [UInt8]

    /// Takes sixteen bytes; nil for another count.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// Reads thirty-two hexadecimal digits.
    public init?(_ text: String) {
        guard let bytes = Hexadecimal.bytes(text.utf8) else { return nil }
        self.init(bytes: bytes)
    }

    /// Thirty-two lower-case hexadecimal digits.
    public var description: String { Hexadecimal.lower(bytes) }
}
