// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Which ports a connect-back may go to and come from (wire.md, Connect-back; facts of rshd, rexecd and rcmd(3)).
///
/// Our own reserved ports are worth something on hosts that trust this one: a stderr port of 514 there would turn the
/// command's stderr into an rsh request from a reserved port of ours. So neither end of a reserved connect-back is
/// ever a port on which a service listens.
public enum ConnectBackRule {
    /// The ports that only a superuser can bind and that rcmd(3) calls reserved.
    public static let reservedPorts: ClosedRange<UInt16> = 512...1023

    /// The ports that a reserved connect-back touches on neither side: services that believe or relay.
    ///
    /// exec, login, shell, printer; uucp; klogin and kshell; submission; ipp; ldaps; rsync; the TLS ports of ftp,
    /// telnet, imap, irc and pop3.
    public static func isForbidden(_ port: UInt16) -> Bool {
        switch port {
        case 512...515, 540, 543, 544, 587, 631, 636, 873, 989...995: true
        default: false
        }
    }

    /// How long one attempt may take, in milliseconds.
    public static let timeout = 3_000

    /// The most attempts under way to one source address; further ones wait their turn.
    public static let limitPerSource = 4

    /// Whether a client of a service may be called back on a port.
    ///
    /// RSH: a reserved port that is not forbidden. REXEC: 1024 and above.
    public static func permits(port: UInt16, of service: Service) -> Bool {
        switch service {
        case .rsh: isReserved(port) && !isForbidden(port)
        case .rexec: port > reservedPorts.upperBound
        }
    }

    /// Whether an RSH client's own port is one that `source-port reserved` accepts.
    public static func isReserved(_ port: UInt16) -> Bool {
        reservedPorts.contains(port)
    }

    /// The ports that an RSH connect-back may come from, in the order in which they are tried: upwards.
    ///
    /// rcmd(3) takes ports from 1023 downwards, without SO_REUSEADDR: where clients run on the gateway's own host, each
    /// port of ours that is in TIME_WAIT up there would be one less for them.
    public static let ownPorts: [UInt16] = reservedPorts.filter { !isForbidden($0) }
}
