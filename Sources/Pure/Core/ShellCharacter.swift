// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What sh treats specially, for commands and for the patterns that permit them: one table, so that a pattern means
/// the command that it reads like.
public enum ShellCharacter {
    /// Whether a byte separates words outside quotes.
    public static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    /// Whether sh would expand, redirect, sequence or comment at a byte outside quotes.
    public static func isSpecial(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "|"), UInt8(ascii: "&"), UInt8(ascii: ";"), UInt8(ascii: "<"), UInt8(ascii: ">"),
            UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "$"), UInt8(ascii: "*"), UInt8(ascii: "?"),
            UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "~"),
            UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "`"):
            true
        default:
            false
        }
    }

    /// Whether sh would expand at a byte in double quotes.
    public static func isSpecialInDoubleQuotes(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "$") || byte == UInt8(ascii: "`")
    }

    /// Whether a backslash in double quotes quotes a byte; before any other it is itself.
    public static func isEscapableInDoubleQuotes(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): true
        default: isSpecialInDoubleQuotes(byte)
        }
    }
}
