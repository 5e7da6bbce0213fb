// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Linux
import TestSupport
import Testing

@testable import CLI

/// `portcullis securetcpip status`: what of the list is there, and what the policy gives back.
@Suite struct SecureTCPIPStatusTests {
    private let fake: FakeHost

    init() throws {
        fake = try FakeHost()
    }

    private func report(_ policy: HostPolicy = policySettings()) -> SecureTCPIPReport {
        SecureTCPIPReport(host: fake.host, policy: policy, ownDirectory: "/usr/bin")
    }

    private func tool(_ name: String, _ policy: HostPolicy = policySettings()) throws -> SecureTCPIPReport.Tool {
        try #require(report(policy).tools.first { $0.tool.name == name })
    }

    private func install(_ path: String, mode: Int = 0o755) throws {
        try fake.write(path, "program\n", mode: mode)
    }

    @Test func anEmptyHostIsClosed() {
        let report = report()
        #expect(report.isClosed)
        #expect(
            report.tools.map(\.tool.name) == [
                "rsh", "rlogin", "rcp", "rexec", "tftp", "rshd", "rlogind", "rexecd", "tftpd",
            ])
        #expect(report.tools.allSatisfy { $0.state == .closed })
    }

    @Test func aClientIsOpenUnlessItsModeTakesItFromEverybody() throws {
        try install("/usr/bin/rlogin", mode: 0o4755)
        #expect(try tool("rlogin").state == .open)
        #expect(!report().isClosed)
        try fake.setMode("/usr/bin/rlogin", 0)
        #expect(try tool("rlogin").state == .closed)
        #expect(try tool("rlogin").programs.first?.isDisabled == true)
        #expect(report().isClosed)
    }

    @Test func thePolicyGivesBackWhatItNames() throws {
        for program in ["rsh", "rcp", "rexec", "rlogin"] { try install("/usr/bin/\(program)") }
        #expect(try tool("rsh").state == .open)
        #expect(try tool("rsh", policySettings(except: [.rsh])).state == .givenBack)
        #expect(try tool("rcp", policySettings(except: [.rsh])).state == .open)
        #expect(try tool("rcp", policySettings(except: [.rcp])).state == .givenBack)
        #expect(try tool("rexec").state == .givenBack)
        #expect(try tool("rlogin", policySettings(except: [.rsh, .rcp])).state == .open)
        let off = policySettings(secureTCPIP: false)
        #expect(try tool("rlogin", off).state == .givenBack)
        #expect(report(off).isClosed)
    }

    @Test func sshInThePlaceOfRshIsNoRsh() throws {
        try install("/usr/bin/ssh")
        try fake.link("/etc/alternatives/rsh", to: fake.place.path + "/usr/bin/ssh")
        try fake.link("/usr/bin/rsh", to: fake.place.path + "/etc/alternatives/rsh")
        let rsh = try tool("rsh")
        #expect(rsh.state == .closed)
        #expect(rsh.programs.map(\.provider) == [.openSSH])
        #expect(rsh.programs.map(\.target) == ["/usr/bin/ssh"])
    }

    @Test func aProgramIsToldWithItsPackage() throws {
        try fake.write(
            "/var/lib/dpkg/status",
            """
            Package: rsh-client
            Status: install ok installed

            Package: rsh-redone-client
            Status: deinstall ok config-files

            """)
        try fake.write("/var/lib/dpkg/info/rsh-client.list", "/.\n/bin\n/bin/netkit-rsh\n")
        try fake.write("/var/lib/dpkg/info/rsh-redone-client.list", "/usr/bin/rsh-redone-rsh\n")
        try install("/usr/bin/netkit-rsh")
        try install("/usr/bin/rsh-redone-rsh")
        try install("/usr/bin/rsh")
        try install("/usr/bin/portcullis")
        #expect(
            try tool("rsh").programs.map(\.provider) == [.portcullis, .package("rsh-client"), .package(nil)])
    }

    @Test(arguments: [
        ("/etc/inetd.conf", "shell stream tcp nowait root /usr/sbin/tcpd in.rshd\n", "rshd", "/etc/inetd.conf:1"),
        (
            "/etc/inetd.conf", "# x\n127.0.0.1:exec stream tcp nowait root /usr/sbin/in.rexecd in.rexecd\n", "rexecd",
            "/etc/inetd.conf:2"
        ),
        (
            "/etc/inetd.d/tftp", "tftp dgram udp wait nobody /usr/sbin/in.tftpd in.tftpd\n", "tftpd",
            "/etc/inetd.d/tftp:1"
        ),
        ("/etc/xinetd.d/rlogin", "service login\n{\n\tdisable = no\n}\n", "rlogind", "/etc/xinetd.d/rlogin"),
        ("/etc/xinetd.d/odd", "service odd\n{\n port = 513\n}\n", "rlogind", "/etc/xinetd.d/odd"),
    ])
    func aDaemonThatATableStartsIsOpen(file: String, text: String, name: String, place: String) throws {
        try fake.write(file, text)
        #expect(try tool(name).state == .open)
        #expect(try tool(name).starters.map(\.place) == [place])
        #expect(try tool(name).mends == ["disable \(place)"])
    }

    @Test(arguments: [
        ("/etc/inetd.conf", "#shell stream tcp nowait root /usr/sbin/tcpd in.rshd\n"),
        ("/etc/inetd.conf", "#<off># login\tstream tcp nowait root /usr/sbin/tcpd in.rlogind\n"),
        ("/etc/xinetd.d/rsh", "service shell\n{\n\tdisable\t= yes\n}\n"),
    ])
    func aCommentedOrDisabledEntryStartsNothing(file: String, text: String) throws {
        try fake.write(file, text)
        #expect(report().isClosed)
    }

    @Test func aSocketUnitIsEnabledWhereSomethingWantsIt() throws {
        let unit = "/usr/lib/systemd/system/rsh.socket"
        try fake.write(unit, "[Socket]\nListenStream=514\nAccept=yes\n")
        #expect(report().isClosed)
        try fake.link("/etc/systemd/system/sockets.target.wants/rsh.socket", to: unit)
        #expect(try tool("rshd").state == .open)
        // Masked: nothing starts it, whatever wants it.
        try fake.link("/etc/systemd/system/rsh.socket", to: "/dev/null")
        #expect(report().isClosed)
    }

    @Test func aUnitIsFoundByItsPortToo() throws {
        try fake.write("/etc/systemd/system/legacy.socket", "[Socket]\nListenStream = 0.0.0.0:513\n")
        try fake.link("/etc/systemd/system/sockets.target.wants/legacy.socket", to: "../legacy.socket")
        #expect(try tool("rlogind").state == .open)
    }

    @Test func portcullissOwnSocketUnitIsItsOwn() throws {
        try fake.write(
            "/etc/systemd/system/portcullis-rexec.socket",
            "[Socket]\nListenStream=127.0.0.1:512\nService=portcullis.service\n")
        try fake.link(
            "/etc/systemd/system/sockets.target.wants/portcullis-rexec.socket", to: "../portcullis-rexec.socket")
        #expect(try tool("rexecd").state == .givenBack)
    }

    @Test func aSystemVLinkStartsItsDaemon() throws {
        try fake.link("/etc/rc2.d/S01tftpd-hpa", to: "../init.d/tftpd-hpa")
        try fake.link("/etc/rc2.d/K01atftpd", to: "../init.d/atftpd")
        #expect(try tool("tftpd").starters.map(\.place) == ["/etc/rc2.d/S01tftpd-hpa"])
    }

    // MARK: Sockets

    /// A process can call itself sshd; its program's path is the kernel's.
    @Test func aStrangerAtAPortIsNamedByItsProcess() throws {
        try fake.listen(514, inode: 77, pid: 300)
        let rshd = try tool("rshd", policySettings(except: [.rsh], enabled: [.rsh]))
        #expect(rshd.state == .open)
        #expect(rshd.mends == ["end what listens on 127.0.0.1:514/tcp (sshd 300)"])
    }

    @Test(arguments: ["/usr/sbin/portcullisd", "/usr/bin/portcullisd"])
    func theGatewayAtItsPortIsWhatThePolicyGivesBack(program: String) throws {
        try install(program)
        try fake.listen(512, inode: 78, pid: 300, program: program)
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .givenBack)
        #expect(report(policySettings(enabled: [.rexec])).isClosed)
        // By another policy than this one.
        #expect(try tool("rexecd").state == .open)
        #expect(
            try tool("rexecd").mends == [
                "portcullis reload, or name the gateway's policy: 127.0.0.1:512/tcp (sshd 300: by another policy than "
                    + "this one, which has no such listener)"
            ])
    }

    /// The attack: `unshare -Ur -m`, a file system of one's own over /usr/sbin, and a program of one's own there.
    ///
    /// The kernel tells the path in that namespace, which is the gateway's to the letter.
    @Test func aProgramAtTheGatewaysPathInAMountNamespaceOfItsOwnIsNotTheGateway() throws {
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd")
        try fake.installGateway()
        let rexecd = try tool("rexecd", policySettings(enabled: [.rexec]))
        #expect(rexecd.sockets.first?.holders.first?.program == "/usr/sbin/portcullisd")
        #expect(rexecd.state == .open)
        #expect(
            rexecd.mends == [
                "end what listens on 127.0.0.1:512/tcp (sshd 300: not the gateway that is installed, or not any more)"
            ])
    }

    @Test(arguments: ["/tmp/portcullisd", "/mnt/usr/sbin/portcullisd", "/usr/sbin/portcullisd (deleted)"])
    func aProgramOfThatNameElsewhereIsNotTheGateway(program: String) throws {
        try fake.installGateway()
        try install(program)
        try fake.listen(512, inode: 78, pid: 300, program: program)
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .open)
    }

    /// The attack: the real portcullisd, started by any account with a policy of its own.
    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func theGatewaysProgramThatAnotherAccountStartsIsNotTheGateway() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd")
        try fake.give("/proc/300")
        let rexecd = try tool("rexecd", policySettings(enabled: [.rexec]))
        #expect(rexecd.state == .open)
        #expect(
            rexecd.mends == [
                "end what listens on 127.0.0.1:512/tcp (sshd 300: not the gateway, as uid 61103 runs it)"
            ])
    }

    /// Reached from everywhere, where the policy says loopback.
    @Test func whereThePolicyDoesNotListenItIsNotThePolicysGateway() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd", address: "00000000")
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .open)
        var settings = policySettings(enabled: [.rexec]).settings
        settings.rexec.listeners = [try #require(Endpoint("0.0.0.0:512"))]
        #expect(try tool("rexecd", HostPolicy(path: "/p", settings: settings)).state == .givenBack)
    }

    /// The attack: a TFTP server that is called portcullisd.
    @Test func theGatewayIsNoExcuseAtAPortThatItDoesNotServe() throws {
        try fake.installGateway()
        try fake.listen(69, inode: 78, pid: 300, program: "/usr/sbin/portcullisd", transport: .udp)
        try fake.listen(513, inode: 79, pid: 301, program: "/usr/sbin/portcullisd")
        var settings = policySettings(except: [.rsh], enabled: [.rexec, .rsh]).settings
        for port in ["69", "513"] { settings.rsh.listeners.append(try #require(Endpoint("127.0.0.1:" + port))) }
        let policy = HostPolicy(path: "/p", settings: settings)
        #expect(try tool("tftpd", policy).state == .open)
        #expect(try tool("rlogind", policy).state == .open)
    }

    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func theFrontMayHoldTheMonitorsSocketUnderItsOwnAccountAlone() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd")
        try fake.hold(78, pid: 301, program: "/usr/lib/portcullis/portcullis-front")
        func state() throws -> SecureTCPIPReport.State {
            try tool("rexecd", policySettings(enabled: [.rexec])).state
        }
        // A socket that nobody is seen to hold: other accounts' processes are looked at for it.
        try fake.listen(514, inode: 79, pid: nil)
        // The host has no such account: a free uid of systemd's range, which is nobody's.
        try fake.give("/proc/301", uid: 61_184)
        #expect(try state() == .givenBack)
        try fake.addAccount("portc-front")
        #expect(try state() == .open)
        try fake.give("/proc/301", uid: FakeHost.uid)
        #expect(try state() == .givenBack)
        // Without the monitor it is nobody's front.
        try fake.remove("/proc/300")
        #expect(try state() == .open)
    }

    @Test func theServiceManagerMayHoldTheGatewaysSocket() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd")
        try fake.hold(78, pid: 1, program: "/usr/lib/systemd/systemd")
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .givenBack)
        try fake.hold(78, pid: 301, program: "/usr/bin/nc")
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .open)
        // Alone it holds the socket of some other unit.
        try fake.remove("/proc/300")
        try fake.remove("/proc/301")
        #expect(try tool("rexecd", policySettings(enabled: [.rexec])).state == .open)
    }

    /// The attack: processes with hundreds of thousands of descriptors each, which any account can have.
    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func othersProcessesAreLookedAtWhereRootsHoldNothingAlone() throws {
        try fake.listen(512, inode: 78, pid: 300)
        try fake.hold(78, pid: 299, program: "/usr/bin/nc")
        try fake.give("/proc/299")
        func pids(_ inodes: Set<UInt64>) throws -> [Int32] {
            try SocketHolders(of: inodes, first: [0], fake.host.path("/proc")).holders[78]?.map(\.pid) ?? []
        }
        #expect(try pids([78]) == [300])
        try fake.listen(514, inode: 79, pid: nil)
        #expect(try pids([78, 79]) == [299, 300])
        try fake.remove("/proc/300")
        #expect(try pids([78]) == [299])
    }

    /// The attack: processes with hundreds of thousands of descriptors each.
    @Test func whereTheSearchEndsBeforeItsEndNothingIsClaimed() throws {
        try fake.installGateway()
        try fake.listen(512, inode: 78, pid: 300, program: "/usr/sbin/portcullisd")
        let settings = policySettings(enabled: [.rexec]).settings
        let found = WaitingDaemons(fake.host, settings: settings, ownDirectory: "/usr/bin", patience: 0)
        #expect(found.entries.map(\.isUnknown) == [true])
        #expect(found.problem?.contains("too many files") == true)
        let whole = WaitingDaemons(fake.host, settings: settings, ownDirectory: "/usr/bin")
        #expect(whole.entries.map(\.isGateway) == [true])
        #expect(whole.problem == nil)
    }

    @Test func aSocketThatNobodyIsSeenToHoldIsNotCalledClosed() throws {
        try fake.listen(514, inode: 77, pid: nil)
        #expect(!report().isClosed)
        #expect(report().notChecked.count == 1)
    }

    @Test func socketsThatCannotBeReadAreNotCalledClosed() throws {
        try fake.remove("/proc/net/tcp")
        #expect(!report().isClosed)
        #expect(report().notChecked.first?.hasPrefix("sockets: ") == true)
    }

    // MARK: Files

    @Test(.enabled(if: Linux.Process.isRoot, "needs root: it gives files away"))
    func whoHasWhichFileIsTold() async throws {
        try fake.addAccount("bob")
        try fake.addAccount("twin", home: "/home/bob")
        try fake.write("/etc/hosts.equiv", "")
        for name in [".rhosts", ".netrc", ".shosts", ".forward"] { try fake.write("/home/bob/\(name)", "x\n") }
        let result = await #expect(processExitsWith: .exitCode(0), observing: [\.standardOutputContent]) {
            [parts = fake.parts as FakeHost.Parts] in
            let policy = policySettings(except: [.rsh, .rhosts])
            let text = try inChild {
                SecureTCPIPReport(host: parts.host, policy: policy, ownDirectory: "/usr/bin").json.text
            }
            try StandardStreams.output.writeAll(Array(text.utf8))
        }
        let text = try output(of: result)
        let json = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let files = try #require(json["files"] as? [[String: Any]])
        #expect(
            files.map { $0["path"] as? String } == [
                "/etc/hosts.equiv", "/home/bob/.rhosts", "/home/bob/.netrc", "/home/bob/.shosts",
            ])
        #expect(files.map { $0["state"] as? String } == ["given back", "given back", "open", "open"])
        #expect(files.last?["accounts"] as? [String] == ["bob", "twin"])
        #expect(json["closed"] as? Bool == false)
    }

    // MARK: The verb

    @Test func theVerbsStatusSaysWhetherAllIsClosed() throws {
        let run = try portcullis("securetcpip", "status", "--json", "--policy", "/nonexistent/policy")
        let report = try #require(try run.json as? [String: Any])
        #expect(report["securetcpip"] as? String == "on")
        #expect(report["closed"] as? Bool == (run.status == 0))
        #expect(try portcullis("securetcpip", "status", "--help").output.contains("portcullis securetcpip status"))
    }

    @Test func theTextSaysHowToMend() throws {
        try install("/usr/bin/rlogin", mode: 0o4755)
        let lines = report().lines(Output())
        #expect(lines.contains("rlogin    open        /usr/bin/rlogin (of no known package, mode 4755)"))
        #expect(lines.contains("          mend: chmod 0000 /usr/bin/rlogin"))
        #expect(lines.last == "1 open")
    }
}
