// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// An address and a TCP port.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
    /// The address.
    public var address: IPAddress

    /// The port, 0 to 65535; 0 where none is meant.
    public var port: UInt16

    /// The interface index of a link-local address, else 0.
    public var scope: UInt32

    /// An address and a port.
    public init(address: IPAddress, port: UInt16, scope: UInt32 = 0) {
        self.address = address
        self.port = port
        self.scope = scope
    }

    /// Reads `192.0.2.1:512` or `[2001:db8::1]:512`.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let port = UInt16(digits)
        else { return nil }
        let bracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.utf8.count > 2
        if bracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(host), bracketed == host.contains(":") else { return nil }
        self.init(address: address, port: port)
    }

    /// `192.0.2.1:512` or `[2001:db8::1]:512`.
    public var description: String {
        switch address.family {
        case .v4: "\(address):\(port)"
        case .v6: "[\(address)]:\(port)"
        }
    }
}
