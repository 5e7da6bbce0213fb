// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import TestSupport
import Testing

@testable import CLI

/// `portcullis compliance`: a host that meets every item, and each change that takes one away.
@Suite struct ComplianceTests {
    private let fake: FakeHost

    /// A host that meets every item but the one that another contradicts.
    init() throws {
        fake = try FakeHost()
        try fake.write("/var/lib/dpkg/status", "Package: auditd\nStatus: install ok installed\n")
        try fake.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nIgnoreRhosts yes\n")
        try fake.write("/etc/sudoers", "Defaults\tuse_pty, env_reset\nDefaults logfile=\"/var/log/sudo.log\"\n")
        try fake.write("/proc/cmdline", "root=/dev/vda audit=1 audit_backlog_limit=8192\n")
        try fake.write("/etc/audit/auditd.conf", Self.auditd)
        try fake.write("/etc/audit/rules.d/50-sudo.rules", "-w /var/log/sudo.log -p wa -k sudo_log_file\n")
        try fake.write("/etc/audit/rules.d/99-finalize.rules", "# last\n-f 2\n-e 2\n")
        try fake.write("/run/auditd.pid", "12\n")
        try fake.write("/usr/sbin/auditd", "auditd\n", mode: 0o755)
        try fake.link("/proc/12/exe", to: fake.place.path + "/usr/sbin/auditd")
        try fake.write("/usr/lib/systemd/system/auditd.service", "[Service]\n")
        try fake.link("/etc/systemd/system/multi-user.target.wants/auditd.service", to: "/lib/x")
        try fake.write(
            "/etc/aide/aide.conf", Self.tools.map { "/usr/sbin/\($0) p+i+n+u+g+s+b+acl+xattrs+sha512\n" }.joined())
    }

    private static let auditd = """
        # ours
        max_log_file = 8
        max_log_file_action = keep_logs
        disk_full_action = HALT
        disk_error_action = halt
        space_left_action = email
        admin_space_left_action = single
        action_mail_acct = root

        """

    private func items(_ policy: HostPolicy = policySettings()) -> [ComplianceItem] {
        ComplianceItems(ComplianceEvidence(host: fake.host, policy: policy, ownDirectory: "/usr/bin")).all
    }

    private func item(_ id: String, _ policy: HostPolicy = policySettings()) throws -> ComplianceItem {
        try #require(items(policy).first { $0.references.contains { $0.id == id } })
    }

    /// The first ids of the items that are not met.
    private func unmet(_ policy: HostPolicy = policySettings()) -> [String] {
        items(policy).filter { !$0.isMet }.compactMap(\.references.first?.id)
    }

    /// CIS asks that logs be kept, and the STIG that they be rotated.
    @Test func aHostCanMeetEverythingButTheOneItemThatAnotherContradicts() throws {
        #expect(unmet() == ["RHEL-09-653055"])
        try fake.write(
            "/etc/audit/auditd.conf", Self.auditd.replacingOccurrences(of: "keep_logs", with: "rotate"))
        #expect(unmet() == ["6.2.2.2"])
    }

    /// A file, its text (nil removes it), and the first ids of the items that are not met then.
    @Test(arguments: [
        ("/var/lib/dpkg/status", "Package: rsh-server\nStatus: install ok installed\n", ["V-260482", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: rsh-redone-client\nStatus: hold ok unpacked\n", ["2.2.2", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: ypserv\nStatus: install ok installed\n", ["2.1.10", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: nis\nStatus: install ok installed\n", ["2.1.10", "2.2.1", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: tftpd-hpa\nStatus: install ok installed\n", ["2.1.16", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: xinetd\nStatus: install ok installed\n", ["2.1.19", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: talk\nStatus: install ok installed\n", ["2.2.3", "6.2.1.1"]),
        ("/var/lib/dpkg/status", "Package: telnet\nStatus: install ok installed\n", ["2.2.4", "6.2.1.1"]),
        ("/etc/xinetd.d/rexec", "service exec\n{\n}\n", ["service_rexec_disabled"]),
        ("/etc/xinetd.d/rsh", "service shell\n{\n}\n", ["service_rsh_disabled"]),
        ("/etc/xinetd.d/rlogin", "service login\n{\n}\n", ["service_rlogin_disabled"]),
        ("/etc/hosts.equiv", "# nobody\n", ["no_rsh_trust_files"]),
        ("/etc/shosts.equiv", "", ["V-230283"]),
        ("/etc/ssh/shosts.equiv", "", ["V-230283"]),
        ("/etc/ssh/sshd_config.d/a.conf", "HostbasedAuthentication yes\n", ["5.1.10"]),
        ("/etc/ssh/sshd_config", "Match User bob\n  HostbasedAuthentication yes\n", ["5.1.10"]),
        ("/etc/ssh/sshd_config.d/a.conf", "ignorerhosts no\n", ["5.1.11"]),
        ("/etc/ssh/sshd_config", "IgnoreRhosts=shosts-only\n", ["5.1.11"]),
        ("/etc/ssh/sshd_config", "RhostsRSAAuthentication yes\n", ["V-221850"]),
        ("/etc/ssh/sshd_config", "PermitEmptyPasswords yes\n", ["5.1.19"]),
        ("/etc/sudoers.d/local", "Defaults !use_pty\n", ["5.2.2"]),
        ("/etc/sudoers", "Defaults use_pty\n", ["5.2.3", "6.2.3.3"]),
        ("/run/auditd.pid", "13\n", ["6.2.1.2", "UBTU-22-653015"]),
        ("/proc/cmdline", "audit=10 audit_backlog_limit=8192\n", ["6.2.1.3"]),
        // The last one counts, and what follows `--` is no parameter of the kernel's.
        ("/proc/cmdline", "audit=1 audit_backlog_limit=8192 audit=0\n", ["6.2.1.3"]),
        ("/proc/cmdline", "audit=0 audit_backlog_limit=8192 -- audit=1\n", ["6.2.1.3"]),
        ("/proc/cmdline", "audit_backlog_limit=8192 audit-backlog-limit=64 audit=1\n", ["6.2.1.4"]),
        ("/proc/cmdline", "audit=1 audit_backlog_limit=64\n", ["6.2.1.4"]),
        ("/etc/audit/rules.d/50-sudo.rules", "-w /var/log/sudo.log.1 -p wa\n", ["6.2.3.3"]),
        ("/etc/audit/rules.d/99-finalize.rules", "-e 2\n-f 2\n", ["6.2.3.20"]),
        ("/etc/audit/rules.d/99-finalize.rules", "-f 1\n-e 2\n", ["RHEL-09-654265"]),
        ("/etc/aide/aide.conf", "/usr/sbin/auditctl p+i\n", ["6.3.3"]),
    ])
    func eachChangeTakesItsItemAway(path: String, text: String, ids: [String]) throws {
        try fake.write(path, text)
        #expect(unmet() == (ids + ["RHEL-09-653055"]).sorted { order($0) < order($1) })
        for id in ids { #expect(try item(id).mend != nil) }
    }

    private func order(_ id: String) -> Int {
        items().firstIndex { $0.references.first?.id == id } ?? .max
    }

    @Test(arguments: [
        ("max_log_file = 8", ["6.2.2.1"]), ("disk_full_action = HALT", ["6.2.2.3", "UBTU-22-653030"]),
        ("disk_error_action = halt", ["6.2.2.3", "RHEL-09-653020"]), ("space_left_action = email\n", ["6.2.2.4"]),
        ("admin_space_left_action = single", ["6.2.2.4"]), ("action_mail_acct = root", ["UBTU-22-653025"]),
    ])
    func eachSettingOfAuditdCounts(line: String, ids: [String]) throws {
        try fake.write("/etc/audit/auditd.conf", Self.auditd.replacingOccurrences(of: line, with: "\n"))
        for id in ids { #expect(try item(id).state == .notMet) }
        #expect(unmet().count == ids.count + 1)
    }

    private static let tools = ["auditctl", "auditd", "ausearch", "aureport", "autrace", "augenrules"]

    /// The attack: lines that look like AIDE's rules and guard nothing.
    @Test(arguments: [
        ("#/sbin/TOOL p+i+sha512\n", false), ("  # /sbin/TOOL p+i+sha512\n", false), ("!/sbin/TOOL sha\n", false),
        ("/sbin/TOOL p+i #+sha512\n", false), ("/sbin/TOOL p+i-sha512\n", false), ("/tmp/sbin/TOOL sha512\n", false),
        ("/sbin/TOOL p+sha512\n!/sbin/TOOL\n", false), ("!/usr/sbin/au\n/sbin/TOOL p+sha512\n", false),
        ("/sbin/TOOL p+sha512\n!/sbin\n", false), ("/sbin/TOOL p+sha512\n!/(usr/)?sbin/au(d|t|s|r).*$\n", false),
        ("/sbin/TOOL p+sha512\n", true), ("\t/usr/sbin/TOOL\tp+i+sha256 # ours\n", true),
        ("/sbin/TOOL p+sha512\n!/sbin/other\n!/var/log\n!/(tmp|run)/.*\n", true),
    ])
    func aLineOfAIDEsThatGuardsNothingIsNotCounted(line: String, isMet: Bool) throws {
        try fake.write(
            "/etc/aide/aide.conf",
            Self.tools.map { line.replacingOccurrences(of: "TOOL", with: $0) }.joined())
        #expect(try item("6.3.3").isMet == isMet)
    }

    /// The attack: a process that calls itself auditd.
    @Test func aProcessThatCallsItselfAuditdIsNotAuditd() throws {
        try fake.write("/proc/12/comm", "auditd\n")
        try fake.remove("/proc/12/exe")
        try fake.write("/tmp/auditd", "mine\n", mode: 0o755)
        try fake.link("/proc/12/exe", to: fake.place.path + "/tmp/auditd")
        #expect(try item("6.2.1.2").state == .notMet)
        #expect(try item("6.2.1.2").evidence.last == "no auditd of root's has the pid of /run/auditd.pid")
    }

    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func theAuditdOfAnotherAccountIsNotAuditd() throws {
        #expect(try item("6.2.1.2").state == .met)
        try fake.give("/proc/12")
        #expect(try item("6.2.1.2").state == .notMet)
    }

    @Test func theFirstValueOfSshdsCountsAndNotALaterOne() throws {
        try fake.write("/etc/ssh/sshd_config.d/a.conf", "IgnoreRhosts yes\n")
        try fake.write("/etc/ssh/sshd_config", "Include sshd_config.d/*.conf\nIgnoreRhosts no\n")
        #expect(try item("5.1.11").state == .met)
        #expect(try item("5.1.11").evidence == ["IgnoreRhosts yes (/etc/ssh/sshd_config.d/a.conf:1)"])
    }

    @Test func whatCannotBeReadIsNotChecked() throws {
        try fake.remove("/proc/net/tcp")
        try fake.remove("/etc/audit/auditd.conf")
        try fake.link("/etc/audit/auditd.conf", to: "/dev/zero")
        try fake.remove("/proc/cmdline")
        try fake.remove("/etc/sudoers")
        try fake.write("/etc/sudoers/directory", "x")
        for id in ["service_rsh_disabled", "2.1.16", "6.2.2.1", "6.2.1.3", "5.2.2", "UBTU-22-653030"] {
            guard case .notChecked(let reason) = try item(id).state else {
                Issue.record("\(id): \(try item(id).state.name)")
                continue
            }
            #expect(!reason.isEmpty)
            #expect(try !item(id).isMet)
        }
    }

    @Test func withoutDpkgProgramsAreLookedForOrNothingIsClaimed() throws {
        try fake.remove("/var/lib/dpkg/status")
        #expect(try item("UBTU-22-215030").state == .met)
        try fake.write("/usr/sbin/in.rshd", "x", mode: 0o755)
        #expect(try item("UBTU-22-215030").state == .notMet)
        guard case .notChecked = try item("2.2.3").state else {
            Issue.record("talk was judged without a database")
            return
        }
    }

    // MARK: Compensating controls

    @Test func theGatewayInThePlaceOfAServiceIsACompensatingControl() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 5, pid: 300, program: "/usr/sbin/portcullisd")
        let served = try item("service_rexec_disabled", policySettings(enabled: [.rexec]))
        guard case .compensated(let control) = served.state else {
            Issue.record("\(served.state.name)")
            return
        }
        #expect(control.contains("nothing runs without a permit"))
        #expect(control.contains("loopback alone"))
        #expect(served.isMet)
        #expect(served.evidence.contains("listening on 127.0.0.1:512/tcp (the gateway)"))
    }

    /// The attack: a program at the gateway's path in a mount namespace of its own.
    @Test func aProgramAtTheGatewaysPathIsNotCompensated() throws {
        try fake.listen(512, inode: 5, pid: 300, program: "/usr/sbin/portcullisd")
        try fake.installGateway()
        #expect(try item("service_rexec_disabled", policySettings(enabled: [.rexec])).state == .notMet)
    }

    @Test func aGatewayThatListensWhereThePolicyDoesNotIsNotCompensated() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 5, pid: 300, program: "/usr/sbin/portcullisd", address: "00000000")
        #expect(try item("service_rexec_disabled", policySettings(enabled: [.rexec])).state == .notMet)
    }

    @Test func theGatewayAtThePortOfTFTPIsATFTPServer() throws {
        try fake.installGateway()
        try fake.listen(69, inode: 5, pid: 300, program: "/usr/sbin/portcullisd", transport: .udp)
        #expect(try item("2.1.16").state == .notMet)
    }

    @Test func anotherDaemonAtThePortIsNotCompensated() throws {
        try fake.listen(512, inode: 5, pid: 300, program: "/usr/sbin/in.rexecd")
        #expect(try item("service_rexec_disabled", policySettings(enabled: [.rexec])).state == .notMet)
    }

    @Test func aGatewayThatReadsRhostsIsNoCompensatingControl() throws {
        let policy = policySettings(except: [.rsh, .rhosts], enabled: [.rsh])
        #expect(try item("service_rsh_disabled", policy).state == .notMet)
        let rule = policySettings(except: [.rsh], enabled: [.rsh], trust: .rule)
        #expect(try item("service_rsh_disabled", rule).isMet)
    }

    @Test func aGatewayThatGoesOnWithoutARecordIsNoCompensatingControl() throws {
        var settings = policySettings(enabled: [.rexec]).settings
        settings.audit.onFailure = .goOn
        #expect(try item("service_rexec_disabled", HostPolicy(path: "/p", settings: settings)).state == .notMet)
    }

    @Test func thePermitsThatAreNotConfinedAreTold() throws {
        let settings = policySettings(enabled: [.rexec]).settings
        let policy = HostPolicy(path: "/p", settings: settings, unconfinedPermits: 2)
        guard case .compensated(let control) = try item("service_rexec_disabled", policy).state else {
            Issue.record("not compensated")
            return
        }
        #expect(control.contains("confined but for 2 permits"))
    }

    // MARK: What is shown

    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func filesInHomesAreNamed() async throws {
        try fake.addAccount("bob")
        for name in [".rhosts", ".shosts", ".forward"] { try fake.write("/home/bob/\(name)", "") }
        let result = await #expect(processExitsWith: .exitCode(0), observing: [\.standardOutputContent]) {
            [parts = fake.parts as FakeHost.Parts] in
            let text = try inChild {
                let evidence = ComplianceEvidence(host: parts.host, policy: policySettings(), ownDirectory: "/usr/bin")
                let items = ComplianceItems(evidence).all
                let shosts = items.first { $0.references.contains { $0.id == "RHEL-09-252075" } }
                return items.filter { !$0.isMet }.compactMap(\.references.first?.id).joined(separator: " ") + "\n"
                    + (shosts?.evidence.joined() ?? "no such item")
            }
            try StandardStreams.output.writeAll(Array(text.utf8))
        }
        let text = try output(of: result)
        #expect(
            text == "no_rsh_trust_files V-230284 7.2.10 RHEL-09-653055\n/home/bob/.shosts (bob)")
    }

    /// Every id of the benchmarks is told in full, and stands once.
    @Test func noIdStandsTwice() {
        let ids = items().flatMap { $0.references }
        #expect(Set(ids).count == ids.count)
        #expect(ids.count > 70)
    }

    @Test func theReportSaysWhatWasFoundAndHowToMendIt() throws {
        try fake.write("/etc/hosts.equiv", "10.1.2.3\n")
        let lines = ComplianceReport(items: items()).lines(Output())
        #expect(lines.contains("not met: No hosts.equiv and no .rhosts trusts anybody"))
        #expect(lines.contains("    found: /etc/hosts.equiv"))
        #expect(lines.contains("    SCAP Security Guide: no_rsh_trust_files"))
        #expect(lines.contains("    mend: remove them; what they grant: portcullis trust check --all"))
        #expect(lines.last == "38 items: 36 met, 2 not met")
    }

    @Test func theVerbsStatusSaysWhetherAllIsMet() throws {
        let run = try portcullis("compliance", "--json", "--policy", "/nonexistent/policy")
        let report = try #require(try run.json as? [String: Any])
        #expect(report["met"] as? Bool == (run.status == 0))
        let items = try #require(report["items"] as? [[String: Any]])
        #expect(items.count == 38)
        #expect(items.allSatisfy { $0["state"] is String && $0["evidence"] is [String] && $0["id"] is String })
        #expect(try portcullis("compliance", "--help").output.contains("portcullis compliance --benchmark"))
    }

    @Test func oneBenchmarksItemsAreJudgedAlone() throws {
        #expect(try portcullis("compliance", "--benchmark", "Orange Book").status == 64)
        let run = try portcullis("compliance", "--json", "--benchmark", "cis", "--policy", "/nonexistent/policy")
        let report = try #require(try run.json as? [String: Any])
        let items = try #require(report["items"] as? [[String: Any]])
        #expect((1..<38).contains(items.count))
        // A host can meet all of one, as `aHostCanMeetEverythingBut…` shows that it cannot of all.
        let all = ComplianceReport(items: self.items())
        let unmet = try #require(all.items(of: "CIS Debian")).filter { !$0.isMet }
        #expect(unmet.map(\.references) == [])
    }
}
