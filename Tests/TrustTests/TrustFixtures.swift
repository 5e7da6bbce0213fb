// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing
import Trust

/// A trust file of a text; an unreadable one fails the test that asked for it.
func source(
    _ text: String?, names: ServiceSettings.Names = .refuse, grammar: TrustFile.Grammar = .hostsEquiv
) -> HostTrust.Source {
    guard let text else { return .absent }
    do {
        return .file(try TrustFile(Array(text.utf8), grammar: grammar, names: names))
    } catch {
        return .rejected(error.description)
    }
}

/// A claim from an address, by a remote user, as a local one.
func claim(
    from address: String = "10.0.0.1", scope: UInt32 = 0, by remote: String = "alice", as local: String = "alice",
    superuser: Bool = false, namesRoot: Bool = false
) throws -> HostTrust.Claim {
    HostTrust.Claim(
        peer: Endpoint(address: try #require(IPAddress(address)), port: 1_023, scope: scope),
        remoteUser: try #require(UserName(remote)), localUser: try #require(UserName(local)),
        isSuperuser: superuser, permitNamesRoot: namesRoot)
}

/// Look-ups of a fixed table of names; `eth0` is interface 2.
func lookup(_ names: [String: HostTrust.NameAnswer] = [:], domain: ByteText? = nil) -> HostTrust.Lookup {
    HostTrust.Lookup(
        addresses: { names[$0.printable] ?? .unknown }, interfaceIndex: { $0 == "eth0" ? 2 : nil },
        localDomain: domain)
}
