// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Bytes that a stranger chose, compared as bytes and shown only escaped.
///
/// Swift's `String ==` holds for different bytes (canonical equivalence, repaired UTF-8), so names, commands and
/// paths are never compared as strings.
public struct ByteText: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The bytes as they came.
    public var bytes: [UInt8]

    /// Wraps bytes as they are.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The UTF-8 of a text of our own.
    public init(_ text: String) {
        self.bytes = Array(text.utf8)
    }

    /// The UTF-8 of a literal.
    public init(stringLiteral value: StaticString) {
        self.bytes = Array(value.description.utf8)
    }

    /// The number of bytes.
    public var count: Int { bytes.count }

    /// Whether there are none.
    public var isEmpty: Bool { bytes.isEmpty }

    /// The text, where the bytes are valid UTF-8; nothing is repaired.
    public var text: String? {
        String(validating: bytes, as: UTF8.self)
    }

    /// A form that is safe for terminals and logs: printable ASCII as it is, a backslash doubled, all else `\xHH`.
    public var printable: String {
        var out = ""
        out.reserveCapacity(bytes.count)
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\\"):
                out += "\\\\"
            case 0x20...0x7E:
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                out += "\\x"
                out += Hexadecimal.lower([byte])
            }
        }
        return out
    }
}

extension ByteText: CustomStringConvertible {
    /// The printable form: a stranger's bytes never reach a log raw.
    public var description: String { printable }
}
