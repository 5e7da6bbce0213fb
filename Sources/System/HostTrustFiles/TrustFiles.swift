// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
public import Trust

/// Reads trust files as docs/host-trust.md asks, and decides by them.
///
/// Nothing is kept between decisions: each reads the files as they are.
public struct TrustFiles: Sendable {
    /// What host names in the files do.
    public let names: ServiceSettings.Names
    /// Where hosts.equiv lies.
    public let hostsEquiv: ByteText
    /// Where the names of `names hosts-file` lie.
    public let hostsFile: ByteText

    /// Files at these places.
    public init(
        names: ServiceSettings.Names, hostsEquiv: ByteText = TrustFileOpening.hostsEquiv,
        hostsFile: ByteText = "/etc/hosts"
    ) {
        self.names = names
        self.hostsEquiv = hostsEquiv
        self.hostsFile = hostsFile
    }

    /// Decides by hosts.equiv and the target's .rhosts.
    ///
    /// - Parameters:
    ///   - home: the target's home directory.
    ///   - credentials: the target's ids and groups, with which the .rhosts is read.
    public func verdict(_ claim: HostTrust.Claim, home: ByteText, credentials: Credentials) -> TrustVerdict {
        HostTrust.decide(
            claim, hostsEquiv: claim.isSuperuser ? .absent : system(hostsEquiv, .hostsEquiv),
            rhosts: rhosts(home: home, credentials: credentials), lookup: lookup)
    }

    /// Decides by the one central file of the policy.
    public func verdict(_ claim: HostTrust.Claim, central path: ByteText) -> TrustVerdict {
        HostTrust.decide(claim, central: system(path, .central), lookup: lookup)
    }

    // MARK: - Files

    /// A file of the host's.
    private func system(_ path: ByteText, _ grammar: TrustFile.Grammar) -> HostTrust.Source {
        source(TrustFileOpening.host(path), grammar)
    }

    /// The target's own file.
    private func rhosts(home: ByteText, credentials: Credentials) -> HostTrust.Source {
        source(TrustFileOpening.personal(named: ".rhosts", home: home, credentials: credentials), .hostsEquiv)
    }

    /// Parses what was found.
    private func source(_ found: TrustFileOpening.Found, _ grammar: TrustFile.Grammar) -> HostTrust.Source {
        switch found {
        case .absent: return .absent
        case .rejected(let reason): return .rejected(reason)
        case .bytes(let bytes):
            do throws(TrustFileError) {
                return .file(try TrustFile(bytes, grammar: grammar, names: names))
            } catch {
                return .rejected(error.description)
            }
        }
    }

    // MARK: - Names

    private var lookup: HostTrust.Lookup {
        HostTrust.Lookup(
            addresses: { names == .dns ? Self.resolved($0) : inHostsFile($0) },
            interfaceIndex: { Resolver.interfaceIndex($0) },
            localDomain: names == .refuse ? nil : Resolver.ownDomain())
    }

    /// By name service, forward alone.
    private static func resolved(_ name: ByteText) -> HostTrust.NameAnswer {
        switch Resolver.look(up: name) {
        case .endpoints(let found): .addresses(found.map(\.address))
        case .unknown: .unknown
        case .failed: .failed
        }
    }

    private func inHostsFile(_ name: ByteText) -> HostTrust.NameAnswer {
        guard names == .hostsFile else { return .unknown }
        guard let file = try? File.open(hostsFile.bytes, [.reading]),
            let bytes = try? file.readAll(limit: HostsFile.sizeLimit), let hosts = HostsFile(bytes)
        else { return .failed }
        return hosts.answer(name)
    }
}
