// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A parsed hosts(5) file: the names that `names hosts-file` resolves, and no others.
public struct HostsFile: Sendable, Hashable {
    /// The most bytes of a file.
    public static let sizeLimit = 4 << 20

    private let addresses: [ByteText: [IPAddress]]

    /// Parses a file's bytes; a line that is not understood is passed over, as the C library does.
    ///
    /// - Returns: nil for a file over the limit.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.sizeLimit else { return nil }
        var found: [ByteText: [IPAddress]] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let text = line.prefix { $0 != UInt8(ascii: "#") }
            var fields = text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }[
                ...]
            // A scope is passed over: a link-local address that a name gives can deny, but never trust.
            guard let first = fields.popFirst(),
                let address = IPAddress(ascii: Array(first.prefix { $0 != UInt8(ascii: "%") }))
            else { continue }
            for name in fields {
                found[ByteText(HostName.lowercased(Array(name))), default: []].append(address)
            }
        }
        addresses = found
    }

    /// The addresses of a name, in any case of its letters.
    public func answer(_ name: ByteText) -> HostTrust.NameAnswer {
        guard let found = addresses[ByteText(HostName.lowercased(name.bytes))] else { return .unknown }
        return .addresses(found)
    }
}
