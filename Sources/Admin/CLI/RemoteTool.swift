// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// A command or daemon of AIX's securetcpip list, or REXEC's, which that list leaves alone, as Linux hosts have it.
struct RemoteTool {
    /// Its name in reports.
    let name: String
    /// The names of its program, as distributions have them.
    let programs: [String]
    /// The service in inetd.conf and xinetd.d, and the systemd units without their suffix; none for a client.
    var services: Set<String> = []
    /// Where a daemon waits; nil for a client.
    var port: (transport: WaitingSocket.Transport, number: UInt16)?
    /// Which of the gateway's services speaks the daemon's protocol.
    var service: Service?
    /// What gives it back while securetcpip is on.
    let givenBackBy: Exception

    /// What gives a tool back.
    enum Exception {
        /// It is not on the list.
        case always
        case statement(SecureTCPIP.Exception)
        /// The gateway has no part in it.
        case never
    }

    /// The list. AIX's own: rcp, rlogin, rlogind, rsh, rshd, tftp, tftpd (securetcpip of AIX 7.2); rexec and rexecd stay.
    static let all = [
        RemoteTool(
            name: "rsh", programs: ["rsh", "netkit-rsh", "rsh-redone-rsh", "bsd-rsh", "krsh"],
            givenBackBy: .statement(.rsh)),
        RemoteTool(
            name: "rlogin", programs: ["rlogin", "netkit-rlogin", "rsh-redone-rlogin", "bsd-rlogin", "krlogin"],
            givenBackBy: .never),
        RemoteTool(name: "rcp", programs: ["rcp", "netkit-rcp", "bsd-rcp", "krcp"], givenBackBy: .statement(.rcp)),
        RemoteTool(name: "rexec", programs: ["rexec", "netkit-rexec"], givenBackBy: .always),
        RemoteTool(name: "tftp", programs: ["tftp", "atftp"], givenBackBy: .never),
        RemoteTool(
            name: "rshd", programs: ["in.rshd", "rshd", "in.kshd", "kshd"],
            services: ["shell", "kshell", "rsh", "rshd"],
            port: (.tcp, 514), service: .rsh, givenBackBy: .statement(.rsh)),
        RemoteTool(
            name: "rlogind", programs: ["in.rlogind", "rlogind", "klogind"],
            services: ["login", "klogin", "eklogin", "rlogin", "rlogind"], port: (.tcp, 513), givenBackBy: .never),
        RemoteTool(
            name: "rexecd", programs: ["in.rexecd", "rexecd"], services: ["exec", "rexec", "rexecd"], port: (.tcp, 512),
            service: .rexec, givenBackBy: .always),
        RemoteTool(
            name: "tftpd", programs: ["in.tftpd", "tftpd", "atftpd"],
            services: ["tftp", "tftpd", "tftpd-hpa", "atftpd"],
            port: (.udp, 69), givenBackBy: .never),
    ]

    /// Whether this is a daemon.
    var isDaemon: Bool { port != nil }

    /// Where programs lie.
    static let directories = [
        "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec",
        "/usr/lib/netkit",
    ]

    /// The packages that bring such programs.
    static let packages = [
        "rsh-client", "rsh-server", "rsh-redone-client", "rsh-redone-server", "netkit-rsh", "heimdal-clients",
        "heimdal-servers", "krb5-clients", "krb5-rsh-server", "inetutils-tools", "tftp", "tftp-hpa", "atftp", "tftpd",
        "tftpd-hpa", "atftpd", "openssh-client", "portcullis",
    ]
}

/// A program of a tool as it was found.
struct RemoteProgram {
    /// Whose program it is.
    enum Provider: Hashable {
        /// OpenSSH's, which Debian's alternatives put in the place of rsh: encrypted, and no rsh at all.
        case openSSH
        /// Portcullis's own client.
        case portcullis
        /// A package's, where it is known.
        case package(String?)
    }

    /// The path by which it was found.
    var path: String
    /// The path with its links resolved.
    var target: String
    /// Its permission bits.
    var mode: UInt32
    /// Whose it is.
    var provider: Provider

    /// Whether nobody may run it, which is what AIX's securetcpip does: mode 0000.
    var isDisabled: Bool { mode & 0o111 == 0 }

    /// For people.
    var description: String {
        let link = target == path ? "" : " -> \(target)"
        let whose: String =
            switch provider {
            case .openSSH: "OpenSSH's"
            case .portcullis: "Portcullis's"
            case .package(let name?): "package \(name)"
            case .package(nil): "of no known package"
            }
        let digits = String(mode, radix: 8)
        let octal = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        return ByteText("\(path)\(link) (\(whose), mode \(octal))").printable
    }

    /// The programs of a tool, each once.
    static func find(_ tool: RemoteTool, on host: LocalHost, packages: DebianPackages) -> [RemoteProgram] {
        var seen: Set<String> = []
        var found: [RemoteProgram] = []
        for name in tool.programs {
            for directory in RemoteTool.directories {
                let path = "\(directory)/\(name)"
                guard let status = host.status(path), status.kind == .regular,
                    let target = host.resolved(path), seen.insert(target).inserted
                else { continue }
                found.append(
                    RemoteProgram(
                        path: path, target: target, mode: status.mode,
                        provider: provider(of: target, name: tool.name, host: host, packages: packages)))
            }
        }
        return found
    }

    private static func provider(
        of target: String, name: String, host: LocalHost, packages: DebianPackages
    ) -> Provider {
        let last = target.split(separator: "/").last.map { String($0) } ?? ""
        if ["ssh", "slogin", "scp"].contains(last) { return .openSSH }
        let package = packages.owner(of: target, among: RemoteTool.packages)
        // Our clients lie beside this program; what another package owns there is not ours.
        let directory = LocalPolicyFiles.directory(of: target)
        let isOurs = (name == "rsh" || name == "rexec") && last == name && host.exists(directory + "/portcullis")
        if package == "portcullis" || package == nil && isOurs { return .portcullis }
        return .package(package)
    }
}
