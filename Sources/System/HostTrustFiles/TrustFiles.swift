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
    /// How many milliseconds all look-ups of one decision may take together.
    public let nameTimeout: Int64

    /// Look-ups may take this many milliseconds, unless somebody has less time.
    public static let longestNameTimeout: Int64 = 5_000

    /// Files at these places.
    public init(
        names: ServiceSettings.Names, hostsEquiv: ByteText = TrustFileOpening.hostsEquiv,
        hostsFile: ByteText = "/etc/hosts", nameTimeout: Int64 = longestNameTimeout
    ) {
        self.names = names
        self.hostsEquiv = hostsEquiv
        self.hostsFile = hostsFile
        self.nameTimeout = min(nameTimeout, Self.longestNameTimeout)
    }

    /// Decides by hosts.equiv and the target's .rhosts.
    ///
    /// - Parameters:
    ///   - home: the target's home directory.
    ///   - credentials: the target's ids and groups, with which the .rhosts is read.
    public func verdict(_ claim: HostTrust.Claim, home: ByteText, credentials: Credentials) -> TrustVerdict {
        let equiv = claim.isSuperuser ? .absent : system(hostsEquiv, .hostsEquiv)
        let own = rhosts(home: home, credentials: credentials)
        return decided { HostTrust.decide(claim, hostsEquiv: equiv, rhosts: own, lookup: $0) }
    }

    /// Decides by the one central file of the policy.
    public func verdict(_ claim: HostTrust.Claim, central path: ByteText) -> TrustVerdict {
        let file = system(path, .central)
        return decided { HostTrust.decide(claim, central: file, lookup: $0) }
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
        case .rejected(let reason), .leased(let reason): return .rejected(reason)
        case .bytes(let bytes):
            do throws(TrustFileError) {
                return .file(try TrustFile(bytes, grammar: grammar, names: names))
            } catch {
                return .rejected(error.description)
            }
        }
    }

    // MARK: - Names

    /// Decides with look-ups of names, and says in the record what could not be looked up.
    private func decided(_ decide: (HostTrust.Lookup) -> TrustVerdict) -> TrustVerdict {
        let lookup = NameLookup(names: names, hostsFile: hostsFile, timeout: nameTimeout)
        let verdict = decide(
            HostTrust.Lookup(
                addresses: { lookup.answer($0) }, interfaceIndex: { Resolver.interfaceIndex($0) },
                localDomain: names == .refuse ? nil : Resolver.ownDomain()))
        guard let trouble = lookup.trouble else { return verdict }
        return TrustVerdict(isTrusted: verdict.isTrusted, detail: "\(verdict.detail); \(trouble)")
    }
}
