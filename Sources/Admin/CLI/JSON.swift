// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// JSON text (RFC 8259), ASCII alone: whatever a value holds, a terminal gets no byte of it raw.
enum JSON {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSON])
    /// Members in the order in which they are written.
    case object([(String, JSON)])

    /// A number.
    static func integer(_ value: some BinaryInteger) -> JSON {
        .number(String(value))
    }

    /// A string, or null.
    static func optional(_ text: String?) -> JSON {
        text.map { .string($0) } ?? .null
    }

    /// Bytes as text; those that are not UTF-8 in the printable form, `\xHH`.
    static func bytes(_ value: ByteText) -> JSON {
        .string(value.text ?? value.printable)
    }

    /// The text, on one line.
    var text: String {
        var out = ""
        write(to: &out)
        return out
    }

    private func write(to out: inout String) {
        switch self {
        case .null:
            out += "null"
        case .bool(let value):
            out += value ? "true" : "false"
        case .number(let digits):
            out += digits
        case .string(let value):
            Self.write(value, to: &out)
        case .array(let values):
            out += "["
            for (index, value) in values.enumerated() {
                if index > 0 { out += "," }
                value.write(to: &out)
            }
            out += "]"
        case .object(let members):
            out += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { out += "," }
                Self.write(member.0, to: &out)
                out += ":"
                member.1.write(to: &out)
            }
            out += "}"
        }
    }

    private static func write(_ text: String, to out: inout String) {
        out += "\""
        // Nearly all that is written stands as it is.
        if text.utf8.allSatisfy({ (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }) {
            out += text
            out += "\""
            return
        }
        for unit in text.utf16 {
            switch unit {
            case 0x22: out += "\\\""
            case 0x5C: out += "\\\\"
            case 0x0A: out += "\\n"
            case 0x09: out += "\\t"
            case 0x20...0x7E: out.unicodeScalars.append(Unicode.Scalar(UInt8(truncatingIfNeeded: unit)))
            default:
                let high = UInt8(truncatingIfNeeded: unit >> 8)
                out += "\\u" + Hexadecimal.lower([high, UInt8(truncatingIfNeeded: unit)])
            }
        }
        out += "\""
    }
}
