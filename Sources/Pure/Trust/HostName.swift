// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The grammar of host names in trust files and in .netrc.
enum HostName {
    /// The most bytes of a name (RFC 1035, 2.3.4, in text).
    static let limit = 253
    /// The most bytes between two dots.
    static let labelLimit = 63
    /// One less than Linux's IFNAMSIZ.
    static let interfaceLimit = 15

    /// Whether bytes are a host name: labels of letters, digits, `-` and `_`, no `-` at a label's ends (RFC 1123, 2.1;
    /// `_` because hosts files have it).
    static func isHostName(_ bytes: [UInt8]) -> Bool {
        guard (1...limit).contains(bytes.count) else { return false }
        return bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
            (1...labelLimit).contains(label.count) && label.allSatisfy(isLabelByte)
                && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
        }
    }

    /// Whether bytes would be read as an address by inet_aton or getaddrinfo: they hold a colon, or the last label is
    /// a decimal, octal or hexadecimal number. Such a word is never taken for a name.
    static func looksLikeAddress(_ bytes: [UInt8]) -> Bool {
        if bytes.contains(UInt8(ascii: ":")) { return true }
        guard let label = bytes.split(separator: UInt8(ascii: ".")).last else { return false }
        if label.allSatisfy(isDigit) { return true }
        let prefix = lowercased(Array(label.prefix(2)))
        return prefix == Array("0x".utf8) && label.dropFirst(2).allSatisfy(isHexDigit)
    }

    /// Whether an interface can be named so: 1 to 15 bytes, no blank, `/`, `%` or `:`.
    static func isInterface(_ bytes: [UInt8]) -> Bool {
        (1...interfaceLimit).contains(bytes.count)
            && bytes.allSatisfy { isLabelByte($0) || $0 == UInt8(ascii: ".") }
    }

    /// ASCII letters in lower case, all else as it is.
    static func lowercased(_ bytes: [UInt8]) -> [UInt8] {
        bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: isDigit(byte)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
    }
}
