// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Name service for hosts and interfaces: forward only. There is no reverse look-up anywhere.
public enum Resolver {
    /// What a look-up found.
    public enum Answer: Sendable, Hashable {
        /// The addresses, in name service's order; scopes are those of link-local ones.
        case endpoints([Endpoint])
        /// There is no such name, or it has no address of the family.
        case unknown
        /// Name service did not answer, with its text.
        case failed(String)
    }

    /// The most addresses that are taken.
    public static let addressLimit = 64

    /// Looks a name up; a numeric address is its own answer, a scope (`fe80::1%eth0`) included.
    ///
    /// - Parameters:
    ///   - port: stands in the endpoints.
    ///   - family: nil for both.
    public static func look(up name: ByteText, port: UInt16 = 0, family: IPAddress.Family? = nil) -> Answer {
        guard !name.isEmpty, !name.bytes.contains(0) else { return .unknown }
        let text = name.bytes.map { CChar(bitPattern: $0) } + [0]
        var list = [portcullis_endpoint](repeating: portcullis_endpoint(), count: addressLimit)
        var count = 0
        let wanted: Int32 = family == nil ? 0 : (family == .v4 ? 4 : 6)
        // SAFETY: the name ends in NUL, and the list has the room that the shim is told.
        let code = unsafe portcullis_host_resolve(text, wanted, &list, list.count, &count)
        switch code {
        case 0:
            let found = list.prefix(count).map { raw in
                var endpoint = Socket.endpoint(raw)
                endpoint.port = port
                return endpoint
            }
            return found.isEmpty ? .unknown : .endpoints(found)
        case EAI_NONAME, EAI_NODATA:
            return .unknown
        default:
            // SAFETY: the text is a constant of the C library.
            return .failed(unsafe String(cString: gai_strerror(code)))
        }
    }

    /// getaddrinfo's code for a name without addresses of the family, which glibc declares for _GNU_SOURCE alone.
    private static let EAI_NODATA: Int32 = -5

    /// The index of an interface, by name or by number; nil where there is none.
    public static func interfaceIndex(_ name: ByteText) -> UInt32? {
        guard let text = name.text, !name.isEmpty, !name.bytes.contains(0) else { return nil }
        // SAFETY: the string is NUL-terminated for the call.
        let index = unsafe if_nametoindex(text)
        if index != 0 { return index }
        guard let number = UInt32(text), number != 0 else { return nil }
        // A number that no interface has is none: a line that denies has to see that its interface is not there.
        var buffer = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        // SAFETY: the buffer has the room that if_indextoname wants.
        return unsafe if_indextoname(number, &buffer) == nil ? nil : number
    }

    /// This host's own name, as gethostname(2) has it.
    public static func ownName() -> ByteText? {
        var buffer = [CChar](repeating: 0, count: 256)
        // SAFETY: the last byte stays NUL, because the call is told one byte less.
        guard unsafe gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return bytes.isEmpty ? nil : ByteText(bytes)
    }

    /// The domain of this host's own name: what follows the first dot; nil where there is none.
    public static func ownDomain() -> ByteText? {
        guard let name = ownName(), let dot = name.bytes.firstIndex(of: UInt8(ascii: ".")) else { return nil }
        let domain = Array(name.bytes[dot...].dropFirst())
        return domain.isEmpty ? nil : ByteText(domain)
    }
}
