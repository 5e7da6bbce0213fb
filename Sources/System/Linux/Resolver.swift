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

    // MARK: - As a trust file means a name

    /// Looks up what a trust file names: that very name, of which every address is known, or nothing.
    ///
    /// TRUST: resolv.conf's search list and domain, $HOSTALIASES, nscd, and systemd-resolved for a name without a dot
    /// would answer with another name's addresses, and are not asked. Each family is asked for by itself: getaddrinfo
    /// gives the one that it has as a success where the other's server failed, and a line that denies would be passed
    /// over for that. A name that /etc/hosts has has its addresses there alone, where nsswitch.conf puts `files` first.
    ///
    /// Changes what the calling process's name service does from now on: for a process of its own.
    ///
    /// - Returns: `failed` too where one family alone could not be had.
    public static func lookAsWritten(_ name: ByteText) -> Answer {
        guard portcullis_names_unsearched() == 0 else { return .failed("resolv.conf could not be read") }
        guard var services = HostServices.ofThisHost() else { return .failed("nsswitch.conf could not be read") }
        if !name.bytes.contains(UInt8(ascii: ".")) { services.removeAll("resolve") }
        if services.startsWithFiles {
            guard use("files") else { return .failed("name service could not be set up") }
            if case .endpoints(let found) = look(up: name) { return .endpoints(found) }
        }
        guard !services.text.isEmpty, use(services.text) else { return .failed("name service could not be set up") }
        var found: [Endpoint] = []
        for family in [IPAddress.Family.v4, .v6] {
            switch look(up: name, family: family) {
            case .endpoints(let some): found += some
            case .unknown: continue
            case .failed(let text): return .failed(text)
            }
        }
        return found.isEmpty ? .unknown : .endpoints(found)
    }

    /// Has this process ask these services for hosts.
    private static func use(_ services: ByteText) -> Bool {
        guard !services.bytes.contains(0) else { return false }
        let text = services.bytes.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the text ends in NUL for the call.
        return unsafe portcullis_hosts_services(text) == 0
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
