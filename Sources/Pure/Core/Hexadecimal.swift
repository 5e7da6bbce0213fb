// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Hexadecimal text of bytes.
public enum Hexadecimal {
    private static let lowerDigits = Array("0123456789abcdef".unicodeScalars)
    private static let upperDigits = Array("0123456789ABCDEF".unicodeScalars)

    /// Lower-case digits, two a byte: digests and session ids.
    public static func lower(_ bytes: some Sequence<UInt8>) -> String {
        text(bytes, lowerDigits)
    }

    /// Upper-case digits, two a byte: libaudit's encoding of untrusted values.
    public static func upper(_ bytes: some Sequence<UInt8>) -> String {
        text(bytes, upperDigits)
    }

    private static func text(_ bytes: some Sequence<UInt8>, _ digits: [Unicode.Scalar]) -> String {
        var out = String.UnicodeScalarView()
        for byte in bytes {
            // INVARIANT: a nibble is 0...15 and there are sixteen digits.
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        }
        return String(out)
    }

    /// The bytes of an even number of digits of either case; nil for anything else.
    public static func bytes(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        var high: UInt8?
        for character in text {
            guard let digit = value(character) else { return nil }
            if let first = high {
                out.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return high == nil ? out : nil
    }

    private static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
