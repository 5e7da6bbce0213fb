// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
import HostTrustFiles
public import Linux
public import Trust

// The C library's calls, one Swift call each: the address family is a parameter, so that there is no `_af` form, and
// an address carries its family, so that there is no `_sa` form. `ruserok` is missing on purpose: see the article
// "Host trust without names".

/// Runs a command by RSH, as rcmd(3) and rcmd_af(3) do: from a reserved port, with the same retries.
///
/// - Parameters:
///   - host: a name, or an address.
///   - port: the server's, nil for 514.
///   - localUser: the user here, whom the server is asked to believe.
///   - remoteUser: the account there.
///   - command: the command, as the account's shell takes it there.
///   - wantsErrors: whether stderr comes on the connection's secondary.
///   - family: nil for both, in name service's order.
///   - timeout: the longest time for all but name service, in milliseconds; nil for no limit, as in C.
/// - Throws: `portsInUse` (the C function's EAGAIN) where no reserved port is free, `portsNotPermitted` (EACCES), and
///   whatever else `RemoteRequest.open` throws.
public func rcmd(
    _ host: ByteText, port: UInt16? = nil, localUser: ByteText, remoteUser: ByteText, command: ByteText,
    wantsErrors: Bool = false, family: IPAddress.Family? = nil, timeout: Int64? = RemoteRequest.openTimeout
) throws(RemoteCommandError) -> RemoteConnection {
    var request = RemoteRequest(
        host: host, identity: .rsh(remoteUser: localUser, target: remoteUser), command: command,
        wantsErrors: wantsErrors)
    request.port = port
    request.family = family
    request.timeout = timeout
    return try request.open()
}

/// Runs a command by REXEC, as rexec(3) and rexec_af(3) do. The password goes over the network in clear text.
///
/// Unlike the C function it reads no .netrc, and asks nobody: `Netrc` and `Terminal` are there for programs that want
/// that.
///
/// - Parameters:
///   - host: a name, or an address.
///   - port: the server's, nil for 512.
///   - user: the account there.
///   - password: its password; may be empty.
///   - command: the command, as the account's shell takes it there.
///   - wantsErrors: whether stderr comes on the connection's secondary.
///   - family: nil for both, in name service's order.
///   - timeout: the longest time for all but name service, in milliseconds; nil for no limit, as in C.
public func rexec(
    _ host: ByteText, port: UInt16? = nil, user: ByteText, password: Secret, command: ByteText,
    wantsErrors: Bool = false, family: IPAddress.Family? = nil, timeout: Int64? = RemoteRequest.openTimeout
) throws(RemoteCommandError) -> RemoteConnection {
    var request = RemoteRequest(
        host: host, identity: .rexec(user: user, password: password), command: command, wantsErrors: wantsErrors)
    request.port = port
    request.family = family
    request.timeout = timeout
    return try request.open()
}

/// Binds a socket of a family to a reserved port, as rresvport(3) and rresvport_af(3) do.
///
/// - Parameters:
///   - port: where to start, downwards and round; a port below 512 starts at 512, and one above 1023 at 1023. On
///     return, the port that was bound: one that nothing else was bound to, a connection that is over included.
///   - family: the socket's; an IPv6 one takes no IPv4.
/// - Returns: a socket that is bound, non-blocking, and not connected.
/// - Throws: `portsInUse` (the C function's EAGAIN), `portsNotPermitted` (its EACCES).
public func rresvport(_ port: inout UInt16, family: IPAddress.Family = .v4) throws(RemoteCommandError) -> Descriptor {
    try ReservedPort.bind(&port, address: family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0), reusing: false)
}

/// Whether host trust lets a remote user at an address act as a local user, as iruserok(3), iruserok_af(3) and
/// iruserok_sa(3) ask, by docs/host-trust.md's stricter reading of the same files.
///
/// `.rhosts` is read with the local user's rights: that takes root, or being that user. The effective ids of the calling
/// thread alone change meanwhile (in C those of the whole process do); where they cannot be taken back the process stops.
///
/// - Parameters:
///   - address: the peer's, as getpeername(2) has it, never one that a name gave.
///   - scope: the interface index of a link-local address.
///   - superuser: skips /etc/hosts.equiv and lets root's own .rhosts count; without it uid 0 is never trusted.
///   - remoteUser: the user whom the peer names.
///   - localUser: the account here.
///   - names: what host names in the files do; `.refuse` has a file with one rejected.
/// - Returns: whether, and which file and line decided or why none did, in our own words.
public func iruserok(
    _ address: IPAddress, scope: UInt32 = 0, superuser: Bool, remoteUser: ByteText, localUser: ByteText,
    names: ServiceSettings.Names = .refuse
) -> TrustVerdict {
    iruserok(
        Endpoint(address: address, port: 0, scope: scope), superuser: superuser, remoteUser: remoteUser,
        localUser: localUser, files: TrustFiles(names: names)
    ) { name throws(SystemError) in
        try Accounts.named(name)
    }
}

/// The same, with these files and accounts.
func iruserok(
    _ peer: Endpoint, superuser: Bool, remoteUser: ByteText, localUser: ByteText, files: TrustFiles,
    account: (UserName) throws(SystemError) -> AccountEntry?
) -> TrustVerdict {
    guard let remoteName = UserName(bytes: remoteUser.bytes) else { return .untrusted("no remote user has that name") }
    guard let localName = UserName(bytes: localUser.bytes) else { return .untrusted("no local user has that name") }
    do throws(SystemError) {
        // Name service may fold case: an account of another name is another account.
        guard let entry = try account(localName), entry.name == localUser else {
            return .untrusted("no such local user")
        }
        guard let groups = Accounts.groups(of: localName, primary: entry.gid) else {
            return .untrusted("the local user's groups cannot be had")
        }
        let claim = HostTrust.Claim(
            peer: peer, remoteUser: remoteName, localUser: localName, isSuperuser: superuser || entry.uid == 0,
            permitNamesRoot: superuser)
        return files.verdict(
            claim, home: entry.home, credentials: Credentials(uid: entry.uid, gid: entry.gid, groups: groups))
    } catch {
        return .untrusted("name service failed: \(error)")
    }
}

extension TrustVerdict {
    fileprivate static func untrusted(_ detail: String) -> TrustVerdict {
        TrustVerdict(isTrusted: false, detail: detail)
    }
}
