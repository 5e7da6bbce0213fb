// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The items about the host's audit system. The gateway's trail is a second one beside it, and stands in for none of
/// them: it knows of the gateway's requests alone.
extension ComplianceItems {
    var auditItems: [ComplianceItem] {
        [
            auditdInstalled, auditdRuns, auditsEarly, backlog, logSize, logsKept, fullDisk, lowSpace, sudoLogWatched,
            immutable, toolsGuarded, writeError, fullVolume, maximumSize, alerted, criticalFailure, content,
        ]
    }

    /// An item about auditd.conf: each setting with the values that meet it; an empty set is any value.
    private func setting(
        _ wanted: [(name: String, values: Set<String>)], _ references: [Reference], _ title: String,
        note: [String] = []
    ) -> ComplianceItem {
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [])
        item.mend =
            wanted.map {
                "\($0.name) = \($0.values.isEmpty ? "a value" : $0.values.sorted().joined(separator: " or "))"
            }
            .joined(separator: ", ") + " in /etc/audit/auditd.conf"
        guard let settings = evidence.auditd.settings else {
            if evidence.host.exists("/etc/audit/auditd.conf") || !evidence.auditd.problems.isEmpty {
                item.state = .notChecked(evidence.auditd.problems.joined(separator: "; "))
            } else {
                item.state = .notMet
                item.evidence = ["no /etc/audit/auditd.conf"]
                item.mend = "apt install auditd"
            }
            item.evidence += note
            return item
        }
        for (name, values) in wanted {
            let value = settings[name]
            item.evidence.append("\(name) " + (value.map { "= \(ByteText($0).printable)" } ?? "is not set"))
            if !(value.map { values.isEmpty || values.contains($0) } ?? false) { item.state = .notMet }
        }
        item.evidence += note
        return item
    }

    /// An item about the audit rules.
    private func rule(
        _ references: [Reference], _ title: String, mend: String, found: ([String]) -> String?
    ) -> ComplianceItem {
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [], mend: mend)
        if !evidence.auditd.problems.isEmpty {
            item.state = .notChecked(evidence.auditd.problems.joined(separator: "; "))
        } else if let rule = found(evidence.auditd.rules) {
            // What the kernel has loaded would take a right to ask it, and these files are what it loads at boot.
            item.evidence = ["in the rules that are loaded at boot: \(ByteText(rule).printable)"]
        } else {
            item.state = .notMet
            item.evidence = ["no such line among \(Shown.count(evidence.auditd.rules.count, "rule"))"]
        }
        return item
    }

    /// An item about a parameter of the kernel's.
    private func kernelParameter(
        _ name: String, _ references: [Reference], _ title: String, mend: String, isMet: (String) -> Bool
    ) -> ComplianceItem {
        var item = ComplianceItem(references: references, title: title, state: .met, evidence: [], mend: mend)
        guard let words = evidence.auditd.kernelWords else {
            item.state = .notChecked("/proc/cmdline cannot be read")
            return item
        }
        let found = words.filter { $0.hasPrefix("audit") }
        item.evidence = [
            "kernel command line: "
                + (found.isEmpty ? "no such word" : ByteText(found.joined(separator: " ")).printable)
        ]
        if !(evidence.auditd.kernelParameter(name).map(isMet) ?? false) { item.state = .notMet }
        return item
    }

    // MARK: CIS 6.2.1, the daemon

    private var auditdInstalled: ComplianceItem {
        var item = ComplianceItem(
            references: Self.cis("6.2.1.1"), title: "auditd is installed", state: .met, evidence: [],
            mend: "apt install auditd")
        if let problem = evidence.packages.problem {
            item.state = .notChecked(problem)
        } else if let has = evidence.packages.has("auditd") {
            item.state = has ? .met : .notMet
            item.evidence = ["dpkg has \(has ? "" : "no ")auditd"]
        } else {
            let isThere = evidence.host.exists("/usr/sbin/auditd") || evidence.host.exists("/sbin/auditd")
            item.state = isThere ? .met : .notMet
            item.evidence = ["no dpkg database; \(isThere ? "" : "no ")/usr/sbin/auditd"]
        }
        return item
    }

    private var auditdRuns: ComplianceItem {
        let isEnabled = evidence.activation.hasUnit("auditd")
        let isRunning = evidence.auditd.isRunning
        let running: String =
            switch isRunning {
            case true?: "it runs"
            case false?: "no auditd of root's has the pid of /run/auditd.pid"
            case nil: "a process of root's has the pid of /run/auditd.pid"
            }
        let state: ComplianceItem.State =
            !isEnabled || isRunning == false
            ? .notMet : isRunning == true ? .met : .notChecked("which program that is: run this as root")
        return ComplianceItem(
            references: Self.cis("6.2.1.2"), title: "auditd is enabled and runs", state: state,
            evidence: [isEnabled ? "a unit or link starts it" : "nothing starts it at boot", running],
            mend: "systemctl enable --now auditd")
    }

    private var auditsEarly: ComplianceItem {
        kernelParameter(
            "audit", Self.cis("6.2.1.3"), "Processes that start before auditd are audited",
            mend: "audit=1 on the kernel's command line, and no other audit= after it"
        ) { $0 == "1" }
    }

    private var backlog: ComplianceItem {
        kernelParameter(
            "audit_backlog_limit", Self.cis("6.2.1.4"), "The kernel's audit backlog is large enough",
            mend: "audit_backlog_limit=8192 on the kernel's command line"
        ) { (Int($0) ?? 0) >= 8_192 }
    }

    // MARK: CIS 6.2.2, what happens when logs are full

    private var logSize: ComplianceItem {
        setting([("max_log_file", [])], Self.cis("6.2.2.1"), "The size of audit logs is set")
    }

    private var logsKept: ComplianceItem {
        setting(
            [("max_log_file_action", ["keep_logs"])], Self.cis("6.2.2.2"), "Audit logs are not deleted automatically")
    }

    private var fullDisk: ComplianceItem {
        setting(
            [("disk_full_action", ["halt", "single"]), ("disk_error_action", ["syslog", "single", "halt"])],
            Self.cis("6.2.2.3"), "The system is disabled when audit logs are full", note: [gatewayOnFailure])
    }

    private var lowSpace: ComplianceItem {
        setting(
            [
                ("space_left_action", ["email", "exec", "single", "halt"]),
                ("admin_space_left_action", ["single", "halt"]),
            ], Self.cis("6.2.2.4"), "The system warns when space for audit logs is low")
    }

    // MARK: CIS 6.2.3 and 6.3, rules and tools

    private var sudoLogWatched: ComplianceItem {
        let log = evidence.sudo.value("logfile")
        guard let log else {
            return ComplianceItem(
                references: Self.cis("6.2.3.3"), title: "Changes of sudo's log file are audited",
                state: evidence.sudo.exists && evidence.sudo.problems.isEmpty
                    ? .notMet : evidence.sudo.exists ? .notChecked("/etc/sudoers cannot be read") : .met,
                evidence: [evidence.sudo.exists ? "sudo has no log file of its own" : "sudo is not set up here"],
                mend: "Defaults logfile=… in /etc/sudoers, and -w FILE -p wa -k sudo_log_file in /etc/audit/rules.d")
        }
        return rule(
            Self.cis("6.2.3.3"), "Changes of sudo's log file are audited",
            mend: "-w \(log) -p wa -k sudo_log_file in /etc/audit/rules.d"
        ) { rules in
            rules.first { rule in
                let words = rule.split(separator: " ")
                return words.contains { $0 == log || $0 == "path=\(log)" }
                    && words.contains { $0 == "wa" || $0 == "perm=wa" || $0 == "aw" || $0 == "perm=aw" }
            }
        }
    }

    private var immutable: ComplianceItem {
        rule(
            Self.cis("6.2.3.20"), "The audit rules cannot be changed until the next boot",
            mend: "-e 2 as the last line of /etc/audit/rules.d/99-finalize.rules"
        ) { $0.last == "-e 2" ? "-e 2" : nil }
    }

    /// The programs that CIS 6.3.3 names.
    private static let auditTools = ["auditctl", "auditd", "ausearch", "aureport", "autrace", "augenrules"]

    private var toolsGuarded: ComplianceItem {
        var item = ComplianceItem(
            references: Self.cis("6.3.3"), title: "The audit tools are guarded by cryptographic sums", state: .notMet,
            evidence: [], mend: "a line p+i+n+u+g+s+b+acl+xattrs+sha512 for each tool in /etc/aide/aide.conf")
        let directory = "/etc/aide/aide.conf.d"
        let files =
            ["/etc/aide/aide.conf", "/etc/aide.conf"] + evidence.host.names(directory).map { "\(directory)/\($0)" }
        var rules = IntegrityRules()
        for file in files {
            switch evidence.host.read(file) {
            case .absent: continue
            case .unreadable(let text):
                item.state = .notChecked(text)
                return item
            case .bytes(let bytes):
                for line in bytes.split(separator: UInt8(ascii: "\n")) {
                    rules.take(String(decoding: line, as: UTF8.self))
                }
            }
        }
        let missing = Self.auditTools.filter { !rules.guards(["/usr/sbin/\($0)", "/sbin/\($0)"]) }
        item.state = missing.isEmpty ? .met : .notMet
        item.evidence = [
            missing.isEmpty ? "AIDE has a line for each" : "AIDE has no line for \(missing.joined(separator: ", "))"
        ]
        return item
    }

    // MARK: STIG

    private var writeError: ComplianceItem {
        setting(
            [("disk_error_action", ["syslog", "single", "halt"])], Self.stig("RHEL 9", "RHEL-09-653020"),
            "The audit system acts when a record cannot be written", note: [gatewayOnFailure])
    }

    private var fullVolume: ComplianceItem {
        setting(
            [("disk_full_action", ["syslog", "single", "halt"])],
            Self.stig("Ubuntu 22.04", "UBTU-22-653030") + Self.stig("RHEL 9", "RHEL-09-653025"),
            "The audit system acts when its volume is full", note: [gatewayOnFailure])
    }

    private var maximumSize: ComplianceItem {
        // CIS 6.2.2.2 asks for keep_logs; a host can meet one of the two alone.
        setting(
            [("max_log_file_action", ["rotate", "single"])], Self.stig("RHEL 9", "RHEL-09-653055"),
            "The audit system acts when a log has its largest size")
    }

    private var alerted: ComplianceItem {
        setting(
            [("action_mail_acct", [])],
            Self.stig("Ubuntu 22.04", "UBTU-22-653025") + Self.stig("RHEL 9", "RHEL-09-653070"),
            "Somebody is told when auditing fails")
    }

    private var criticalFailure: ComplianceItem {
        rule(
            Self.stig("RHEL 9", "RHEL-09-654265"), "The system stops at a critical failure of auditing",
            mend: "-f 2 in /etc/audit/rules.d"
        ) { rules in rules.last { $0.hasPrefix("-f ") }.flatMap { $0 == "-f 2" ? $0 : nil } }
    }

    private var content: ComplianceItem {
        var item = auditdRuns
        item.references = Self.stig("Ubuntu 22.04", "UBTU-22-653015")
        item.title = "Audit records say when, where, what, from where and how it ended"
        item.evidence.append(
            evidence.policy.problem == nil
                ? "the gateway's trail has all five for each of its requests (docs/audit.md)"
                : "no valid policy, so no request and no record of the gateway's")
        return item
    }

    /// What the gateway does when it cannot record, which is its own part of these items and no more.
    private var gatewayOnFailure: String {
        guard evidence.policy.problem == nil else {
            return "the gateway has no valid policy, and refuses every request"
        }
        return switch evidence.policy.settings.audit.onFailure {
        case .refuse: "the gateway, for its part, refuses what it cannot record: audit on-failure refuse"
        case .goOn: "the gateway goes on where it cannot record: audit on-failure continue"
        }
    }
}
