// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A string without its quotes and escapes.
struct StringText: Sendable {
    /// The bytes.
    private(set) var bytes: [UInt8] = []

    /// The text of a token, from its opening quote on; the closing one may be missing.
    init(_ token: ArraySlice<UInt8>) {
        let inner = Self.inner(token)
        guard inner.contains(UInt8(ascii: "\\")) else {
            bytes = Array(inner)
            return
        }
        Self.walk(inner) { byte, _ in bytes.append(byte) }
    }

    /// The text; a file was checked to be UTF-8.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Where a range of a token's bytes, without quotes and escapes, stands in its file.
    static func place(of range: Range<Int>, in token: ArraySlice<UInt8>) -> Range<Int> {
        let inner = inner(token)
        var offsets: [Int] = []
        walk(inner) { _, offset in offsets.append(offset) }
        let low = offsets.indices.contains(range.lowerBound) ? offsets[range.lowerBound] : inner.endIndex
        let high = offsets.indices.contains(range.upperBound) ? offsets[range.upperBound] : inner.endIndex
        return low..<max(high, low)
    }

    private static func inner(_ token: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let inner = token.dropFirst()
        return inner.last == UInt8(ascii: "\"") ? inner.dropLast() : inner
    }

    /// Gives each byte that is meant, and where it stands.
    private static func walk(_ inner: ArraySlice<UInt8>, _ each: (UInt8, Int) -> Void) {
        var escaped = false
        for (byte, offset) in zip(inner, inner.indices) {
            if byte == UInt8(ascii: "\\"), !escaped {
                escaped = true
                continue
            }
            each(byte, offset)
            escaped = false
        }
    }
}
