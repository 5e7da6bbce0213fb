// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The host of a line in a trust file.
public enum TrustHost: Sendable, Hashable {
    /// An address in canonical form; never IPv6 link-local, which means nothing without a scope.
    case address(IPAddress)
    /// An IPv6 link-local address and the interface, by name or number, on which it is meant.
    case linkLocal(IPAddress, interface: ByteText)
    /// A host name in lower case, to be resolved forward; only where the policy's `names` is not `refuse`.
    case name(ByteText)
}

extension TrustHost: CustomStringConvertible {
    /// The host as a trust file writes it.
    public var description: String {
        switch self {
        case .address(let address): address.description
        case .linkLocal(let address, let interface): "\(address)%\(interface.printable)"
        case .name(let name): name.printable
        }
    }
}

/// The remote user of a line in a trust file.
public enum TrustUser: Sendable, Hashable {
    /// No user was written: the remote user must have the local user's name. Where the line denies: everybody.
    case unstated
    /// This remote user, byte for byte.
    case named(ByteText)
    /// `-USER`: this remote user is denied.
    case denied(ByteText)
}

/// One line of a trust file: whom at which host it trusts or denies.
public struct TrustEntry: Sendable, Hashable {
    /// The line, from 1.
    public let line: Int
    /// The host.
    public let host: TrustHost
    /// Whether the host was written with a leading `-`.
    public let deniesHost: Bool
    /// The remote user.
    public let user: TrustUser
    /// The local user of a line of the central file; nil in hosts.equiv and .rhosts, whose lines name none.
    public let localUser: ByteText?

    /// Whether a match of this line denies rather than trusts.
    public var denies: Bool {
        if case .denied = user { true } else { deniesHost }
    }

    /// What the line does, for people: the lint prints it beside each line.
    public func meaning(in place: TrustFilePlace) -> String {
        switch (user, denies) {
        case (.unstated, true): return "denies everybody at \(host)"
        case (.unstated, false):
            guard case .rhosts(let owner) = place else { return "trusts each account's namesake at \(host)" }
            return "trusts \(owner.printable) at \(host) as \(owner.printable)"
        case (.named(let name), true), (.denied(let name), _):
            return "denies \(name.printable) at \(host)" + (localUser.map { " as \($0.printable)" } ?? "")
        case (.named(let name), false):
            let target: String =
                switch place {
                case .hostsEquiv: "any account but uid 0"
                case .rhosts(let owner): owner.printable
                case .central: localUser?.printable ?? "nobody"
                }
            return "trusts \(name.printable) at \(host) as \(target)"
        }
    }

    init(line: Int, host: TrustHost, deniesHost: Bool, user: TrustUser, localUser: ByteText?) {
        self.line = line
        self.host = host
        self.deniesHost = deniesHost
        self.user = user
        self.localUser = localUser
    }
}

/// Where a line stands, which says as whom it trusts.
public enum TrustFilePlace: Sendable, Hashable {
    /// hosts.equiv, which speaks for every account but uid 0's.
    case hostsEquiv
    /// The .rhosts of this account.
    case rhosts(of: ByteText)
    /// The central file, whose lines name the account.
    case central
}
