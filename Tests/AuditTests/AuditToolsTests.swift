// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import TestSupport
import Testing

/// auditd's own tools read the trail as it is: `ausearch -if`, `aureport -if`, `aulast -f`.
@Suite(.enabled(if: AuditTool.arePresent, "auditd's tools are not installed")) struct AuditToolsTests {
    private let file: TemporaryFile

    init() throws {
        file = try TemporaryFile(trail(Self.entries))
    }

    /// A day on a gateway: one start, a permitted command and its end, a long one, refusals of each kind.
    private static var entries: [(Entry, Stamp)] {
        let monitor = Sender(pid: 100, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")
        let rexec = Record.Origin(service: .rexec, address: IPAddress("2001:db8:20::7"), port: 40_001)
        let other = SessionID(bytes: Array(repeating: 0xAB, count: 16))
        let third = SessionID(bytes: Array(repeating: 0xCD, count: 16))
        let rule = RuleReference(name: "uptime", place: FilePlace(file: "portcullis.policy", line: 49))
        let of = { (seconds: UInt64, id: SessionID?, sender: Sender) in
            Stamp(milliseconds: moment + seconds * 1_000, session: id, sender: sender)
        }
        return [
            (.record(.serviceStart(unit: "portcullisd")), of(0, nil, monitor)),
            (
                .record(.policyLoaded(revision: .none, file: "/etc/portcullis/portcullis.policy", rules: 4)),
                of(0, nil, monitor)
            ),
            (
                .record(
                    .authentication(
                        Record.Authentication(
                            origin: fromMainframe, account: "alice", grantors: "rhosts", failure: nil,
                            detail: "/home/alice/.rhosts:3"))), of(1, session, alice)
            ),
            (
                .record(
                    .login(
                        Record.Login(
                            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: nil, rule: rule,
                            revision: Revision.none))), of(1, session, alice)
            ),
            (
                .record(
                    .command(
                        Record.Command(
                            origin: fromMainframe, account: "alice", commandLine: "uptime --pretty",
                            program: "/usr/bin/uptime", argumentCount: 2, sandbox: "strict"))), of(1, session, alice)
            ),
            (
                .record(
                    .end(
                        Record.End(
                            origin: fromMainframe, account: "alice", outcome: .status(0), bytesIn: 0, bytesOut: 61,
                            bytesErr: 0, milliseconds: 12, limit: nil, leftovers: 0))), of(2, session, alice)
            ),
            (
                .record(
                    .authentication(
                        Record.Authentication(
                            origin: rexec, account: "backup", grantors: "credentials-file", failure: .badCredentials,
                            detail: nil))), of(3, other, alice)
            ),
            (
                .record(
                    .login(
                        Record.Login(
                            origin: rexec, account: "backup", remoteUser: nil, refusal: .badCredentials, rule: rule,
                            revision: Revision.none))), of(3, other, alice)
            ),
            (
                .record(
                    .command(
                        Record.Command(
                            origin: rexec, account: "backup",
                            commandLine: ByteText(String(repeating: "dump 'x' res=failed addr=6.6.6.6 ", count: 600)),
                            program: "/usr/sbin/dump", argumentCount: 4, sandbox: "backup"))), of(4, third, alice)
            ),
            (
                .record(
                    .login(
                        Record.Login(
                            origin: Record.Origin(service: .rsh, address: IPAddress("10.66.1.9"), port: 4_000),
                            account: nil, remoteUser: nil, refusal: .sourcePort, rule: nil, revision: nil))),
                of(5, nil, monitor)
            ),
            (
                .record(
                    .notice(
                        Record.Notice(
                            origin: fromMainframe, account: "alice", operation: "home", detail: "cannot enter it"))),
                of(6, session, alice)
            ),
            (
                .record(
                    .denial(
                        Record.Denial(
                            origin: fromMainframe, account: "alice", subject: .call("mount"), signal: 31,
                            program: "/srv/a b'\" sig=9 pid=1"))), of(6, session, alice)
            ),
            (
                .record(
                    .denial(
                        Record.Denial(
                            origin: fromMainframe, account: "alice",
                            subject: .access("fs.read_file", path: "/etc/pass wd auid=0 res=success"),
                            program: "/usr/bin/cat", count: 3))), of(6, session, alice)
            ),
            (.record(.serviceStop(unit: "front", reason: "signal 9", isFailure: true)), of(7, nil, monitor)),
        ]
    }

    /// The lines of our trail that a search finds.
    private func search(_ arguments: String...) throws -> [String] {
        let output = try AuditTool.run("ausearch", ["-if", file.path, "--raw"] + arguments)
        return output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("type=") }
    }

    @Test func ausearchReadsEveryLineUnchanged() throws {
        let written = lines(of: trail(Self.entries)).map { String(decoding: $0, as: UTF8.self) }
        #expect(try search() == written)
    }

    @Test func ausearchFindsByType() throws {
        #expect(try search("-m", "USER_LOGIN").count == 3)
        #expect(try search("-m", "USER_AUTH").count == 2)
        #expect(try search("-m", "USER_CMD").count > 6)
        #expect(try search("-m", "USER_END").count == 1)
        #expect(try search("-m", "SERVICE_START,SERVICE_STOP,USYS_CONFIG,USER_ERR").count == 5)
        #expect(try search("-m", "ANOM_ABEND").count == 1)
    }

    @Test func ausearchFindsByHost() throws {
        let found = try search("-hn", "10.1.2.3")
        // Of an ANOM_ABEND it reads what the kernel's own have, which is no address.
        #expect(found.count == 6)
        #expect(found.allSatisfy { $0.contains("addr=10.1.2.3 ") })
        #expect(try search("-hn", "2001:db8:20::7").count > 6)
        // An address within a command is not where it came from.
        #expect(try search("-hn", "6.6.6.6").isEmpty)
    }

    @Test func ausearchFindsFailures() throws {
        let found = try search("-sv", "no")
        #expect(found.count == 7)
        #expect(found.allSatisfy { $0.contains(" res=failed") })
    }

    @Test func ausearchFindsBySessionUserAndTerminal() throws {
        #expect(try search("--session", "12").count > 6)
        #expect(try search("-ul", "1001").count > 6)
        #expect(try search("-tm", "rsh").count == 7)
        #expect(try search("-x", "/usr/sbin/portcullisd").count > 10)
    }

    @Test func ausearchShowsTheCommandInClear() throws {
        let output = try AuditTool.run("ausearch", ["-if", file.path, "-i", "-m", "USER_CMD", "-hn", "10.1.2.3"])
        #expect(output.contains("cmd=uptime --pretty"))
        #expect(output.contains("acct=alice"))
    }

    @Test func aureportCountsLoginsAndAuthentications() throws {
        let logins = try AuditTool.run("aureport", ["-if", file.path, "-l"])
        #expect(logins.contains("10.1.2.3 rsh /usr/sbin/portcullisd yes"))
        #expect(logins.contains("backup 2001:db8:20::7 rexec /usr/sbin/portcullisd no"))
        let authentications = try AuditTool.run("aureport", ["-if", file.path, "-au"])
        #expect(authentications.contains("alice 10.1.2.3 rsh /usr/sbin/portcullisd yes"))
        #expect(authentications.contains("backup 2001:db8:20::7 rexec /usr/sbin/portcullisd no"))
        let summary = try AuditTool.run("aureport", ["-if", file.path, "--summary"])
        #expect(summary.contains("Number of failed logins: 2"))
        #expect(summary.contains("Number of failed authentications: 1"))
    }

    /// A guest's pool is a word of its own in both of its records, and is no file to anybody.
    @Test func aGuestsPoolIsReadAsOneField() throws {
        let stamp = Stamp(milliseconds: moment, session: session, sender: alice)
        let origin = Record.Origin(service: .rexec, address: IPAddress("10.1.2.3"), port: 40_001)
        let records: [Record] = [
            .authentication(
                Record.Authentication(
                    origin: origin, account: "guest1", grantors: "guest-pool", failure: nil, detail: nil,
                    pool: "visitors")),
            .login(
                Record.Login(
                    origin: origin, account: "guest1", remoteUser: nil, refusal: nil, rule: nil,
                    revision: Revision.none, pool: "visitors")),
        ]
        let file = try TemporaryFile(trail(records.map { (.record($0), stamp) }))
        let search = { (arguments: [String]) in
            try AuditTool.run("ausearch", ["-if", file.path] + arguments)
                .split(separator: "\n").filter { $0.hasPrefix("type=") }
        }
        for type in ["USER_AUTH", "USER_LOGIN"] {
            let found = try search(["-i", "-m", type, "-sv", "yes"])
            #expect(found.count == 1)
            #expect(found.allSatisfy { $0.contains(" pool=visitors") && !$0.contains("file=") }, "\(found)")
        }
        // No tool takes it for a file that somebody touched.
        #expect(try search(["--raw", "-f", "visitors"]).isEmpty)
    }

    /// What a refused client sent, the longest too, is one more field to the tools.
    @Test func refusedCommandsAreReadAndBelieveNothing() throws {
        let stamp = Stamp(milliseconds: moment, session: session, sender: alice)
        let commands = [
            "cat /etc/shadow", "x' res=success addr=6.6.6.6 acct=\"root\"", "id\ntype=USER_LOGIN msg=audit(1.000:9): ",
            String(repeating: "dump 'x' res=success addr=6.6.6.6 ", count: 3_855),
        ]
        let file = try TemporaryFile(
            trail(
                commands.map { command in
                    let login = Record.Login(
                        origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: .noRule, rule: nil,
                        revision: Revision.none, command: Record.RefusedCommand(ByteText(command)))
                    return (.record(.login(login)), stamp)
                }))
        let search = { (arguments: [String]) in
            try AuditTool.run("ausearch", ["-if", file.path] + arguments)
                .split(separator: "\n").filter { $0.hasPrefix("type=") }
        }
        #expect(try search(["--raw", "-m", "USER_LOGIN", "-sv", "no"]).count == commands.count)
        #expect(try search(["--raw", "-sv", "yes"]).isEmpty)
        #expect(try search(["--raw", "-hn", "6.6.6.6"]).isEmpty)
        let shown = try search(["-i"])
        #expect(shown.count == commands.count)
        #expect(shown.contains { $0.contains("cmd=cat /etc/shadow") })
        #expect(shown.contains { $0.contains(" cmdlen=131070 ") })
        let logins = try AuditTool.run("aureport", ["-if", file.path, "-l"])
        #expect(logins.components(separatedBy: "alice 10.1.2.3 rsh /usr/sbin/portcullisd no").count == 5, "\(logins)")
        #expect(!logins.contains("root"))
    }

    @Test func aulastReadsTheTrail() throws {
        // Who logged in well it tells from the kernel's own LOGIN records; who did not, from ours.
        let refused = try AuditTool.run("aulast", ["--bad", "-f", file.path])
        #expect(refused.contains("backup   rexec        2001:db8:20::7"))
    }
}

/// A file that is removed with its last owner.
final class TemporaryFile: Sendable {
    let path: String

    init(_ contents: [UInt8]) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("portcullis-\(UUID().uuidString)").path
        try Data(contents).write(to: URL(fileURLWithPath: path))
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
