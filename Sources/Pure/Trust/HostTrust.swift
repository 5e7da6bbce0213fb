// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The decision of iruserok(3) over parsed files: pure, total, and never by a name that the peer's DNS supplies.
///
/// The rules are docs/host-trust.md's. What differs from the C libraries is on purpose: a negative match is final across
/// both files (glibc 2.36 lets `.rhosts` overrule hosts.equiv), each line is judged by itself (FreeBSD's keeps state
/// from line to line), and the superuser's `.rhosts` counts only under a permit that names `root`.
public enum HostTrust {
    /// Who claims to act from where, and as whom.
    public struct Claim: Sendable, Hashable {
        /// The peer, from the kernel; its scope is the interface index of a link-local address.
        public var peer: Endpoint
        /// The remote user that the client claims.
        public var remoteUser: UserName
        /// The account to run as.
        public var localUser: UserName
        /// Whether that account has uid 0.
        public var isSuperuser: Bool
        /// Whether the permit names `root` literally.
        public var permitNamesRoot: Bool

        /// A claim.
        public init(
            peer: Endpoint, remoteUser: UserName, localUser: UserName, isSuperuser: Bool, permitNamesRoot: Bool
        ) {
            self.peer = peer
            self.remoteUser = remoteUser
            self.localUser = localUser
            self.isSuperuser = isSuperuser
            self.permitNamesRoot = permitNamesRoot
        }
    }

    /// A trust file as it was found.
    public enum Source: Sendable, Hashable {
        /// There is none.
        case absent
        /// It was rejected, for this reason: it grants nothing and vetoes nothing.
        case rejected(String)
        /// Its lines.
        case file(TrustFile)
    }

    /// What name service says of a host name.
    public enum NameAnswer: Sendable, Hashable {
        /// Its addresses.
        case addresses([IPAddress])
        /// There is no such name.
        case unknown
        /// Name service did not answer.
        case failed
    }

    /// What the decision may look up: forward names and interfaces. There is no reverse look-up.
    public struct Lookup {
        /// The addresses of a host name.
        public var addresses: (ByteText) -> NameAnswer
        /// The index of an interface, by name or number; nil where there is none.
        public var interfaceIndex: (ByteText) -> UInt32?
        /// The domain of the gateway's own host name, which a name without a dot also gets; nil where it has none.
        public var localDomain: ByteText?

        /// Look-ups.
        public init(
            addresses: @escaping (ByteText) -> NameAnswer, interfaceIndex: @escaping (ByteText) -> UInt32?,
            localDomain: ByteText?
        ) {
            self.addresses = addresses
            self.interfaceIndex = interfaceIndex
            self.localDomain = localDomain
        }

        /// Look-ups that find nothing: addresses alone decide.
        public static var none: Lookup {
            Lookup(addresses: { _ in .unknown }, interfaceIndex: { _ in nil }, localDomain: nil)
        }
    }

    /// Decides by hosts.equiv and the target's .rhosts.
    ///
    /// - Parameters:
    ///   - hostsEquiv: /etc/hosts.equiv; not looked at for the superuser.
    ///   - rhosts: the target's own `.rhosts`.
    public static func decide(_ claim: Claim, hostsEquiv: Source, rhosts: Source, lookup: Lookup) -> TrustVerdict {
        if claim.isSuperuser {
            guard claim.permitNamesRoot else {
                return TrustVerdict(isTrusted: false, detail: "uid 0 is trusted only by a permit that names root")
            }
            return verdict([found(claim, in: rhosts, named: ".rhosts", lookup)])
        }
        // Both are always read: a negative match in either is final.
        return verdict([
            found(claim, in: hostsEquiv, named: "hosts.equiv", lookup),
            found(claim, in: rhosts, named: ".rhosts", lookup),
        ])
    }

    /// Decides by one central file, each line of which names the local user too.
    public static func decide(_ claim: Claim, central: Source, lookup: Lookup) -> TrustVerdict {
        guard !claim.isSuperuser || claim.permitNamesRoot else {
            return TrustVerdict(isTrusted: false, detail: "uid 0 is trusted only by a permit that names root")
        }
        return verdict([found(claim, in: central, named: "trust file", lookup)])
    }

    // MARK: - Findings

    /// What one file says of a claim.
    private enum Finding {
        case trusts(String)
        case denies(String)
        case silent(String)
        /// Silent, too, but for what it would have said had it been as it should.
        case rejected(String)
    }

    private static func verdict(_ findings: [Finding]) -> TrustVerdict {
        var trusts: String?
        var denies: String?
        var silent: [String] = []
        var rejected: [String] = []
        for finding in findings {
            switch finding {
            case .trusts(let text): trusts = trusts ?? text
            case .denies(let text): denies = denies ?? text
            case .silent(let text): silent.append(text)
            case .rejected(let text):
                silent.append(text)
                rejected.append(text)
            }
        }
        // A rejected file's vetoes are lost whatever the other one says, and the record must not hide that.
        let detail = (denies ?? trusts).map { ([$0] + rejected).joined(separator: "; ") }
        return TrustVerdict(
            isTrusted: denies == nil && trusts != nil, detail: detail ?? silent.joined(separator: "; "))
    }

    /// The first matching line of a file decides it.
    private static func found(_ claim: Claim, in source: Source, named name: String, _ lookup: Lookup) -> Finding {
        switch source {
        case .absent:
            return .silent("no \(name)")
        case .rejected(let reason):
            return .rejected("\(name) rejected: \(reason)")
        case .file(let file):
            guard let entry = file.entries.first(where: { matches(claim, $0, lookup) }) else {
                return .silent("no line of \(name) matches")
            }
            return entry.denies ? .denies("denied by \(name):\(entry.line)") : .trusts("\(name):\(entry.line)")
        }
    }

    // The user is looked at first: it costs nothing, and spares a look-up.
    private static func matches(_ claim: Claim, _ entry: TrustEntry, _ lookup: Lookup) -> Bool {
        if let localUser = entry.localUser, localUser.bytes != claim.localUser.bytes { return false }
        switch entry.user {
        case .unstated:
            guard entry.denies || claim.remoteUser == claim.localUser else { return false }
        case .named(let name), .denied(let name):
            guard name.bytes == claim.remoteUser.bytes else { return false }
        }
        return matches(claim.peer, entry.host, denies: entry.denies, lookup)
    }

    /// Whether a host is the peer; what cannot be found out counts as the peer where the line denies.
    private static func matches(_ peer: Endpoint, _ host: TrustHost, denies: Bool, _ lookup: Lookup) -> Bool {
        switch host {
        case .address(let address):
            return address == peer.address
        case .linkLocal(let address, let interface):
            guard address == peer.address else { return false }
            guard peer.scope != 0, let index = lookup.interfaceIndex(interface), index != 0 else { return denies }
            return index == peer.scope
        case .name(let name):
            return matches(peer, name: name, denies: denies, lookup)
        }
    }

    private static func matches(_ peer: Endpoint, name: ByteText, denies: Bool, _ lookup: Lookup) -> Bool {
        var names = [name]
        if let domain = lookup.localDomain, !name.bytes.contains(UInt8(ascii: ".")) {
            names.append(ByteText(name.bytes + [UInt8(ascii: ".")] + domain.bytes))
        }
        var resolved = false
        var failed = false
        for name in names {
            switch lookup.addresses(name) {
            case .addresses(let addresses):
                resolved = resolved || !addresses.isEmpty
                // A link-local address that a name gives has no scope, so it can deny but never trust.
                if addresses.contains(peer.address), denies || !peer.address.isLinkLocal { return true }
            case .unknown: continue
            case .failed: failed = true
            }
        }
        return denies && (failed || !resolved)
    }
}

/// Whether host trust establishes a remote user, and what was found.
public struct TrustVerdict: Sendable, Hashable {
    /// Whether the remote user is trusted.
    public let isTrusted: Bool
    /// Which file and line decided, or why none did, and why a file was rejected; in our own words, for the record.
    public let detail: String

    /// A verdict.
    public init(isTrusted: Bool, detail: String) {
        self.isTrusted = isTrusted
        self.detail = detail
    }
}
