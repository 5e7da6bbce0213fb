// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The digest of the policy in force: SHA-256 of its canonical text.
public struct Revision: Sendable, Hashable, CustomStringConvertible {
    /// The number of bytes.
    public static let size = 32

    /// The digest.
    public let bytes: [UInt8]

    /// Takes thirty-two bytes; nil for another count.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// No policy: all zeros.
    public static let none = Revision(zeros: ())

    private init(zeros: Void) {
        bytes = Array(repeating: 0, count: Self.size)
    }

    /// `sha256:` and sixty-four lower-case hexadecimal digits.
    public var description: String { "sha256:" + Hexadecimal.lower(bytes) }
}
