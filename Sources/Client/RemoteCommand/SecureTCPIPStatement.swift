// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What the host's policy says of .netrc, found without the policy's grammar: this is a client, and the policy is not
/// its to judge. Only the statement `securetcpip` is looked for, at the start of a line of the policy's own file.
public enum SecureTCPIPStatement {
    /// Where a host's policy lies.
    public static let policyPath = "/etc/portcullis/portcullis.policy"

    /// The most bytes of a policy file.
    private static let sizeLimit = 64 << 20

    /// Whether the policy of this host, as far as the caller can read it, lets clients read .netrc.
    ///
    /// A policy without the statement has securetcpip on; a host without a readable policy has none.
    public static func allowsNetrc(policy path: String = policyPath) -> Bool {
        guard let file = try? File.open(path, [.reading]), let text = try? file.readAll(limit: sizeLimit) else {
            return true
        }
        return allowsNetrc(text: text)
    }

    /// The same, of a policy's text.
    static func allowsNetrc(text: [UInt8]) -> Bool {
        var setting = SecureTCPIP()
        for words in statements(text) where words.first == "securetcpip" {
            switch words.dropFirst().first {
            case "off": setting.isOn = false
            case "on":
                setting.isOn = true
                let names = words.dropFirst(2)
                guard names.first == "except" else { break }
                setting.exceptions = Set(
                    SecureTCPIP.Exception.allCases.filter { names.dropFirst().contains(ByteText($0.name)) })
            default: break
            }
        }
        return setting.allows(.netrc)
    }

    /// The words of each line, continuations joined, comments left out.
    private static func statements(_ text: [UInt8]) -> [[ByteText]] {
        var statements: [[ByteText]] = []
        var words: [ByteText] = []
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            var part = line.prefix { $0 != UInt8(ascii: "#") }
            let goesOn = part.last == UInt8(ascii: "\\")
            if goesOn { part.removeLast() }
            let blanks: Set<UInt8> = [UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: ",")]
            words += part.split(whereSeparator: blanks.contains).map { ByteText(Array($0)) }
            guard !goesOn else { continue }
            statements.append(words)
            words = []
        }
        statements.append(words)
        return statements
    }
}
