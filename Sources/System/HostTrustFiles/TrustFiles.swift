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
        names: ServiceSettings.Names, hostsEquiv: ByteText = "/etc/hosts.equiv", hostsFile: ByteText = "/etc/hosts"
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

    /// The most bytes of a path's last component (NAME_MAX).
    private static let nameLimit = 255

    /// Reads a file of the host's: root's (or, as a plain user, that user's), below a directory whose way is theirs.
    private func system(_ path: ByteText, _ grammar: TrustFile.Grammar) -> HostTrust.Source {
        guard let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) else { return .rejected("not an absolute path") }
        let name = ByteText(Array(path.bytes[slash...].dropFirst()))
        let directory = slash == 0 ? "/" : ByteText(Array(path.bytes[..<slash]))
        guard (1...Self.nameLimit).contains(name.count) else { return .rejected("not a usable path") }
        // hosts.equiv speaks for every account: nobody's but root's will do, whoever asks.
        let owners = grammar == .hostsEquiv && path == "/etc/hosts.equiv" ? [0] : SecureOpen.trusted()
        return source(grammar) {
            let opened = try SecureOpen.directory(directory, trusting: owners)
            return try SecureOpen.file(
                named: name, in: opened.descriptor, trusting: owners, single: true, limit: TrustFile.sizeLimit)
        }
    }

    /// Reads the target's own file, with the target's effective ids, so that it decides what can be read.
    ///
    /// TRUST: real and saved ids stay this process's, so that the target can neither signal nor trace it meanwhile.
    private func rhosts(home: ByteText, credentials: Credentials) -> HostTrust.Source {
        source(.hostsEquiv) {
            try credentials.borrowed {
                let directory = try SecureOpen.home(home, of: credentials.uid)
                return try SecureOpen.trustFile(
                    named: ".rhosts", inHome: directory.descriptor, of: credentials.uid)
            }
        }
    }

    /// Reads what `open` opened and checked, and parses it; any failure but absence rejects the file.
    private func source(
        _ grammar: TrustFile.Grammar, _ open: () throws -> SecureOpen.Opened
    ) -> HostTrust.Source {
        do {
            let file = try open().descriptor
            guard let bytes = try file.readAll(limit: TrustFile.sizeLimit) else {
                return .rejected("more than \(TrustFile.sizeLimit) bytes")
            }
            return .file(try TrustFile(bytes, grammar: grammar, names: names))
        } catch let refusal as SecureOpen.Refusal where refusal.reason.isAbsence {
            return .absent
        } catch {
            return .rejected("\(error)")
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

extension SecureOpen.Reason {
    /// Whether there is simply no such file.
    fileprivate var isAbsence: Bool {
        if case .failed(let code) = self { SystemError(code, "open").isNotFound } else { false }
    }
}
