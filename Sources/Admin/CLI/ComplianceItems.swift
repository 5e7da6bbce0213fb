// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The items, judged by a host's evidence. Ids are those of CIS Debian Linux 12 v1.1.0, of DISA's STIGs, and of the SCAP
/// Security Guide's rules, which scanners report.
struct ComplianceItems {
    let evidence: ComplianceEvidence

    init(_ evidence: ComplianceEvidence) {
        self.evidence = evidence
    }

    /// Every item.
    var all: [ComplianceItem] {
        [
            serverPackages, clientPackages, rexecService, rshService, rloginService, trustFiles, shostsEquiv, shosts,
            dotFiles, hostbased, ignoreRhosts, rhostsRSA, emptyPasswords, nisServer, tftpServer, xinetd, nisClient,
            talkClient, telnetClient, sudoTerminal, sudoLog,
        ] + auditItems
    }

    // MARK: Small pieces

    static let cis = "CIS Debian 12"
    static let guide = "SCAP Security Guide"

    typealias Reference = ComplianceItem.Reference

    static func cis(_ ids: String...) -> [Reference] { ids.map { Reference(benchmark: cis, id: $0) } }
    static func guide(_ ids: String...) -> [Reference] { ids.map { Reference(benchmark: guide, id: $0) } }
    static func stig(_ product: String, _ ids: String...) -> [Reference] {
        ids.map { Reference(benchmark: "STIG \(product)", id: $0) }
    }

    /// An item about packages that must not be there.
    ///
    /// - Parameter tools: whose programs are looked for where there is no dpkg.
    private func absent(
        _ names: [String], tools: [String], _ references: [Reference], _ title: String, note: [String] = []
    ) -> ComplianceItem {
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: note)
        if let problem = evidence.packages.problem {
            item.state = .notChecked(problem)
        } else if let found = evidence.installed(names) {
            item.state = found.isEmpty ? .met : .notMet
            item.evidence.append(
                found.isEmpty
                    ? "dpkg has none of \(names.joined(separator: ", "))"
                    : "dpkg has \(found.joined(separator: ", "))")
            item.mend = "apt purge \(found.joined(separator: " "))"
        } else if tools.isEmpty {
            item.state = .notChecked("no dpkg database, and other package managers' are not read")
        } else {
            let found = evidence.programs(tools).filter { $0.provider != .portcullis }
            item.state = found.isEmpty ? .met : .notMet
            item.evidence.append(
                "no dpkg database; programs looked for: "
                    + (found.isEmpty ? "none" : found.map(\.description).joined(separator: "; ")))
            item.mend = "remove the package that brings these programs"
        }
        return item
    }

    // MARK: The r-services

    private var serverPackages: ComplianceItem {
        absent(
            ["rsh-server", "rsh-redone-server", "krb5-rsh-server"], tools: ["rshd", "rlogind", "rexecd"],
            Self.stig("Ubuntu 22.04", "V-260482", "UBTU-22-215030") + Self.stig("Ubuntu 24.04", "UBTU-24-100040")
                + Self.stig("Oracle Linux 7", "V-221704", "OL07-00-020000") + Self.guide("package_rsh-server_removed"),
            "No rsh server package is installed")
    }

    private var clientPackages: ComplianceItem {
        let own = evidence.programs(["rsh", "rexec"]).filter { $0.provider == .portcullis }
        return absent(
            ["rsh-client", "rsh-redone-client", "krb5-clients"], tools: ["rsh", "rlogin", "rcp"],
            Self.cis("2.2.2") + Self.guide("package_rsh_removed"), "No rsh client package is installed",
            note: own.map { "\($0.description) is there, and speaks in clear text too" })
    }

    private var rexecService: ComplianceItem {
        service("rexecd", .rexec, Self.guide("service_rexec_disabled"), "No rexec service but the gateway's is on")
    }

    private var rshService: ComplianceItem {
        service("rshd", .rsh, Self.guide("service_rsh_disabled"), "No rsh service but the gateway's is on")
    }

    private var rloginService: ComplianceItem {
        service("rlogind", nil, Self.guide("service_rlogin_disabled"), "No rlogin service is on")
    }

    /// An item about a service that must be off, which the gateway's own may be on for.
    private func service(
        _ name: String, _ own: Service?, _ references: [Reference], _ title: String
    ) -> ComplianceItem {
        let tools = RemoteTool.all.filter { $0.name == name }
        let starters = tools.flatMap(evidence.activation.entries).filter { !$0.isGateway }
        let sockets = tools.flatMap(evidence.waiting.entries)
        let strangers = sockets.filter(\.isStranger)
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [])
        item.evidence = starters.map { "enabled by \(ByteText($0.place).printable)" }
        item.evidence += sockets.map { "listening on \($0.description)" }
        if item.evidence.isEmpty { item.evidence = ["nothing starts one, and nothing listens at its port"] }
        if !starters.isEmpty || !strangers.isEmpty {
            item.state = .notMet
            item.mend = "disable what starts it, and end what listens: portcullis securetcpip status"
        } else if let problem = evidence.waiting.problem {
            item.state = .notChecked("sockets: \(problem)")
        } else if sockets.contains(where: \.isUnknown) {
            item.state = .notChecked("whose sockets these are: run this as root")
        } else if let own, evidence.policy.settings.serves(own) {
            let places = evidence.policy.settings[own].listeners.map(\.description).joined(separator: ", ")
            item.evidence.append("the policy serves \(own.name) on \(places)")
            if let control = evidence.control(for: own) {
                item.state = .compensated(control)
            } else {
                item.state = .notMet
                item.evidence.append("the gateway serves \(own.name), and its controls do not stand in for this item")
                item.mend =
                    "a valid policy, audit { on-failure refuse }"
                    + (own == .rsh ? ", and trust rule or a central trust file in place of .rhosts" : "")
            }
        }
        return item
    }

    // MARK: Trust files

    /// An item about files that must not be there.
    private func noFiles(_ kinds: Set<String>, _ references: [Reference], _ title: String) -> ComplianceItem {
        let found = evidence.login.files.filter { kinds.contains($0.kind) }
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [])
        item.evidence = found.map { file in
            file.path + (file.accounts.isEmpty ? "" : " (\(file.accounts.joined(separator: ", ")))")
        }
        let isPersonal = kinds.contains { !$0.hasPrefix("/") }
        if !found.isEmpty {
            item.state = .notMet
            item.mend = "remove them; what they grant: portcullis trust check --all"
        } else if isPersonal, !evidence.login.notChecked.isEmpty {
            item.state = .notChecked(evidence.login.notChecked.joined(separator: "; "))
            item.mend = "run this as root"
        } else {
            let homes = isPersonal ? " in the homes of \(Shown.count(evidence.host.accounts.count, "account"))" : ""
            item.evidence = ["no \(kinds.sorted().joined(separator: ", "))\(homes)"]
        }
        return item
    }

    private var trustFiles: ComplianceItem {
        var item = noFiles(
            ["/etc/hosts.equiv", ".rhosts"], Self.guide("no_rsh_trust_files"),
            "No hosts.equiv and no .rhosts trusts anybody")
        item.evidence.append(
            evidence.policy.settings.readsHostTrust
                ? "the policy reads such files: trust rhosts" : "the policy reads no such file")
        return item
    }

    private var shostsEquiv: ComplianceItem {
        noFiles(
            ["/etc/shosts.equiv", "/etc/ssh/shosts.equiv"],
            Self.stig("RHEL 8", "V-230283", "RHEL-08-010460") + Self.stig("RHEL 9", "V-257955", "RHEL-09-252070")
                + Self.stig("RHEL 10", "V-281271", "RHEL-10-700680")
                + Self.stig("Oracle Linux 7", "V-221871", "OL07-00-040550")
                + Self.stig("Oracle Linux 8", "V-248597", "OL08-00-010460")
                + Self.stig("Oracle Linux 9", "V-271757", "OL09-00-002419")
                + Self.stig("SLES 12", "V-217142", "SLES-12-010410")
                + Self.stig("SLES 15", "V-234985", "SLES-15-040030")
                + Self.stig("SLE Micro 5", "V-261344", "SLEM-05-255095") + Self.guide("no_host_based_files"),
            "No shosts.equiv is on the host")
    }

    private var shosts: ComplianceItem {
        noFiles(
            [".shosts"],
            Self.stig("RHEL 8", "V-230284", "RHEL-08-010470") + Self.stig("RHEL 9", "V-257956", "RHEL-09-252075")
                + Self.stig("RHEL 10", "V-281272", "RHEL-10-700690")
                + Self.stig("Oracle Linux 7", "V-221870", "OL07-00-040540")
                + Self.stig("Oracle Linux 8", "V-248598", "OL08-00-010470")
                + Self.stig("Oracle Linux 9", "V-271758", "OL09-00-002420")
                + Self.stig("SLES 12", "V-217141", "SLES-12-010400")
                + Self.stig("SLES 15", "V-234984", "SLES-15-040020")
                + Self.stig("SLE Micro 5", "V-261343", "SLEM-05-255090") + Self.guide("no_user_host_based_files"),
            "No home has a .shosts")
    }

    private var dotFiles: ComplianceItem {
        noFiles(
            [".rhosts", ".netrc", ".forward"], Self.cis("7.2.10"),
            "No home has a dot file that trusts, sends a password or forwards mail")
    }

    // MARK: sshd

    /// An item about a setting of sshd's.
    ///
    /// - Parameters:
    ///   - wanted: the values that meet it.
    ///   - initial: sshd's own default; nil for a keyword that current versions do not have.
    private func sshd(
        _ keyword: String, wanted: Set<String>, initial: String?, _ references: [Reference], _ title: String
    ) -> ComplianceItem {
        let settings = evidence.sshd
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [])
        guard settings.exists else {
            item.evidence = ["no /etc/ssh/sshd_config: no sshd is set up here"]
            return item
        }
        let key = keyword.lowercased()
        let value = settings.value(key)
        let conditional = settings.conditional(key).filter { !wanted.contains($0.text) }
        item.evidence = [
            value.map { "\(keyword) \(ByteText($0.text).printable) (\($0.place))" }
                ?? "\(keyword) is not set" + (initial.map { ", and is \($0) then" } ?? "; sshd has dropped it")
        ]
        item.evidence += conditional.map { "\(keyword) \(ByteText($0.text).printable) below a Match (\($0.place))" }
        item.mend = "\(keyword) \(wanted.sorted().first ?? "") in /etc/ssh/sshd_config, and below no Match otherwise"
        let effective = value?.text ?? initial
        if !(effective.map(wanted.contains) ?? true) || !conditional.isEmpty {
            item.state = .notMet
        } else if !settings.problems.isEmpty {
            item.state = .notChecked(settings.problems.joined(separator: "; "))
        }
        return item
    }

    private var hostbased: ComplianceItem {
        sshd(
            "HostbasedAuthentication", wanted: ["no"], initial: "no",
            Self.cis("5.1.10") + Self.stig("Oracle Linux 7", "V-221697", "OL07-00-010470")
                + Self.guide("disable_host_auth"), "sshd trusts no host")
    }

    private var ignoreRhosts: ComplianceItem {
        sshd(
            "IgnoreRhosts", wanted: ["yes"], initial: "yes",
            Self.cis("5.1.11") + Self.stig("Oracle Linux 7", "V-221852", "OL07-00-040350")
                + Self.stig("RHEL 9", "V-258005", "RHEL-09-255145")
                + Self.stig("RHEL 10", "V-281256", "RHEL-10-700530")
                + Self.stig("Oracle Linux 9", "V-271711", "OL09-00-002348") + Self.guide("sshd_disable_rhosts"),
            "sshd reads no .rhosts and no .shosts")
    }

    private var rhostsRSA: ComplianceItem {
        sshd(
            "RhostsRSAAuthentication", wanted: ["no"], initial: nil,
            Self.stig("Oracle Linux 7", "V-221850", "OL07-00-040330"), "sshd does not trust .rhosts with a host's key")
    }

    private var emptyPasswords: ComplianceItem {
        sshd(
            "PermitEmptyPasswords", wanted: ["no"], initial: "no", Self.cis("5.1.19"),
            "sshd lets nobody in without a password")
    }

    // MARK: Other services and clients

    private var nisServer: ComplianceItem {
        absent(["ypserv", "nis"], tools: [], Self.cis("2.1.10"), "No NIS server is in use")
    }

    private var tftpServer: ComplianceItem {
        var item = absent(
            ["tftpd", "tftpd-hpa", "atftpd"], tools: ["tftpd"], Self.cis("2.1.16"), "No TFTP server is in use")
        let sockets = evidence.strangers(at: "tftpd")
        if !sockets.isEmpty {
            item.state = .notMet
            item.evidence += sockets.map { "waiting on \($0.description)" }
            item.mend = item.mend ?? "end what waits on 69/udp"
        } else if item.state == .met, let problem = evidence.waiting.problem {
            item.state = .notChecked("sockets: \(problem)")
        }
        return item
    }

    private var xinetd: ComplianceItem {
        var item = absent(["xinetd"], tools: [], Self.cis("2.1.19"), "xinetd is not in use")
        if item.state == .notMet {
            let isEnabled = evidence.activation.hasUnit("xinetd")
            item.evidence.append(isEnabled ? "it is enabled" : "nothing enables it")
        }
        return item
    }

    private var nisClient: ComplianceItem {
        absent(["nis", "ypbind-mt", "yp-tools"], tools: [], Self.cis("2.2.1"), "No NIS client is installed")
    }

    private var talkClient: ComplianceItem {
        absent(["talk", "inetutils-talk"], tools: [], Self.cis("2.2.3"), "No talk client is installed")
    }

    private var telnetClient: ComplianceItem {
        absent(
            ["telnet", "telnet-ssl", "inetutils-telnet"], tools: [], Self.cis("2.2.4"), "No telnet client is installed")
    }

    // MARK: sudo

    private func sudo(_ references: [Reference], _ title: String, found: String?, missing: String) -> ComplianceItem {
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [])
        if !evidence.sudo.exists {
            item.evidence = ["no /etc/sudoers: sudo is not set up here"]
        } else if !evidence.sudo.problems.isEmpty {
            item.state = .notChecked(evidence.sudo.problems.joined(separator: "; "))
            item.mend = "run this as root"
        } else if let found {
            item.evidence = [found]
        } else {
            item.state = .notMet
            item.evidence = ["no Defaults line says so"]
            item.mend = missing
        }
        return item
    }

    private var sudoTerminal: ComplianceItem {
        sudo(
            Self.cis("5.2.2"), "sudo runs commands on a terminal of their own",
            found: evidence.sudo.isOn("use_pty", initially: false) ? "Defaults use_pty" : nil,
            missing: "Defaults use_pty in /etc/sudoers, with visudo")
    }

    private var sudoLog: ComplianceItem {
        sudo(
            Self.cis("5.2.3"), "sudo has a log file of its own",
            found: evidence.sudo.value("logfile").map { "Defaults logfile=\(ByteText($0).printable)" },
            missing: "Defaults logfile=\"/var/log/sudo.log\" in /etc/sudoers, with visudo")
    }
}
