// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// How values stand in a line: libaudit's encoding, so that nothing in a value can be read as another field or line.
enum FieldText {
    /// The keys whose values are untrusted text: quoted, or bare upper-case hexadecimal.
    static func isUntrusted(_ key: String) -> Bool {
        switch key {
        case "acct", "cmd", "program", "exe", "ruser", "file", "errors": true
        default: false
        }
    }

    /// Whether a byte can stand in a value as it is: printable, not blank, not a quote of either kind.
    ///
    /// libaudit itself leaves the apostrophe alone, but it would end the `msg='…'` that our values stand in.
    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): false
        case 0x21...0x7E: true
        default: false
        }
    }

    /// Whether untrusted text must be written in hexadecimal: a comma too, up to which ausearch and aureport take all that
    /// follows `hostname=` for the host, the first characters of a command as well.
    static func needsHexadecimal(_ bytes: [UInt8]) -> Bool {
        !bytes.allSatisfy { isPlain($0) && $0 != UInt8(ascii: ",") }
    }

    /// The number of characters that untrusted text takes.
    static func length(_ bytes: [UInt8]) -> Int {
        needsHexadecimal(bytes) ? bytes.count * 2 : bytes.count + 2
    }

    /// Appends untrusted text.
    static func append(_ bytes: some Sequence<UInt8>, hexadecimal: Bool, to line: inout [UInt8]) {
        if hexadecimal {
            for byte in bytes { appendHexadecimal(byte, to: &line) }
        } else {
            line.append(UInt8(ascii: "\""))
            line.append(contentsOf: bytes)
            line.append(UInt8(ascii: "\""))
        }
    }

    /// Appends a bare word: bytes that cannot stand in one, `%` and commas (as in untrusted text), as `%HH`; nothing at all
    /// as `?`.
    static func appendWord(_ bytes: some Collection<UInt8>, to line: inout [UInt8]) {
        guard !bytes.isEmpty else {
            line.append(UInt8(ascii: "?"))
            return
        }
        let isQuestionMark = bytes.count == 1 && bytes.first == UInt8(ascii: "?")
        for byte in bytes {
            if isPlain(byte), byte != UInt8(ascii: "%"), byte != UInt8(ascii: ","), !isQuestionMark {
                line.append(byte)
            } else {
                line.append(UInt8(ascii: "%"))
                appendHexadecimal(byte, to: &line)
            }
        }
    }

    /// Appends a number in decimal.
    static func append(_ number: some BinaryInteger, to line: inout [UInt8]) {
        line.append(contentsOf: String(number).utf8)
    }

    private static func appendHexadecimal(_ byte: UInt8, to line: inout [UInt8]) {
        line.append(upperDigit(byte >> 4))
        line.append(upperDigit(byte & 15))
    }

    private static func upperDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "A") - 10 + nibble
    }

    /// The bytes of untrusted text as it stands in a line; nil where it is neither quoted nor hexadecimal.
    static func untrusted(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.first == UInt8(ascii: "\"") else {
            guard !text.isEmpty, text.allSatisfy(isUpperHexadecimal) else { return nil }
            return Hexadecimal.bytes(text)
        }
        let inner = text.dropFirst().dropLast()
        guard text.count >= 2, text.last == UInt8(ascii: "\""), inner.allSatisfy(isPlain) else { return nil }
        return Array(inner)
    }

    /// The bytes of a bare word; nil where it is none.
    static func word(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard !text.isEmpty, text.allSatisfy(isPlain) else { return nil }
        if text.count == 1, text.first == UInt8(ascii: "?") { return [] }
        guard text.contains(UInt8(ascii: "%")) else { return Array(text) }
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            rest = rest.dropFirst(2)
            guard digits.count == 2, digits.allSatisfy(isUpperHexadecimal),
                let decoded = Hexadecimal.bytes(digits)
            else { return nil }
            out += decoded
        }
        return out
    }

    private static func isUpperHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "F"): true
        default: false
        }
    }

    /// A number of decimal digits without leading zeros, as we write them; nil for anything else.
    static func number<Value: FixedWidthInteger>(_ text: some Collection<UInt8>, as _: Value.Type = Value.self)
        -> Value?
    {
        guard !text.isEmpty, text.count <= 20, text.count == 1 || text.first != UInt8(ascii: "0") else { return nil }
        var value: Value = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (shifted, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = shifted.addingReportingOverflow(Value(truncatingIfNeeded: byte - UInt8(ascii: "0")))
            guard !overflowed, !carried else { return nil }
            value = sum
        }
        return value
    }
}
