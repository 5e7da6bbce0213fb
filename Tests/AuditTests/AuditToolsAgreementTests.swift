// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import TestSupport
import Testing

/// On records with any bytes in them, auditd's tools and our own reader see the same: so many records, of these types, failed
/// or not, from there.
@Suite(.enabled(if: AuditTool.arePresent, "auditd's tools are not installed")) struct AuditToolsAgreementTests {
    /// Text that imitates what the tools look for, besides bytes of every kind.
    private static let imitations: [ByteText] = [
        "x' res=success addr=6.6.6.6 acct=\"root\" terminal=ssh",
        "a\ntype=USER_LOGIN msg=audit(1.000:9): pid=1 uid=0 auid=0",
        "\u{1B}]0;x\u{7}\u{1B}[2J", "\" exe=\"/bin/login\" hostname=evil addr=6.6.6.6", "----\ntime->Thu", "%n%s%x",
        "6.6.6.6,", "a,b",
        ByteText([0xFF, 0xFE, 0xC0, 0x80]), ByteText([0]), "6162", "?", "(null)", "", " ", "msg='op=login res=success'",
    ]

    private static func entries(seed: UInt64) -> [(Entry, Stamp)] {
        var random = SeededGenerator(seed: seed)
        return (0..<250).map { index in
            var entry = random.entry(length: random.chance() ? 60 : 3_000)
            if random.chance(), case .record(.login(var login)) = entry {
                let text = imitations.randomElement(using: &random) ?? "?"
                login.account = text
                login.remoteUser = text
                login.command = Record.RefusedCommand(text)
                entry = .record(.login(login))
            }
            var stamp = random.stamp()
            // In the order of time, as an auditor writes them.
            stamp.milliseconds = moment + UInt64(index) * 10
            return (entry, stamp)
        }
    }

    /// The lines that a search finds.
    private func search(_ path: String, _ arguments: [String]) throws -> [String] {
        let output = try AuditTool.run("ausearch", ["-if", path, "--raw"] + arguments)
        return output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("type=") }
    }

    /// The number that a line of `aureport --summary` has.
    private func number(_ summary: String, _ name: String) -> Int? {
        let line = summary.split(separator: "\n").first { $0.hasPrefix("Number of \(name):") }
        return line?.split(separator: " ").last.flatMap { Int($0) }
    }

    @Test(arguments: UInt64(1)...6) func everyReaderSeesTheSame(seed: UInt64) throws {
        let text = trail(Self.entries(seed: seed))
        let file = try TemporaryFile(text)
        let written = lines(of: text)
        let ours = try written.map { try #require(TrailLine($0), "seed \(seed)") }
        #expect(try search(file.path, []) == written.map { String(decoding: $0, as: UTF8.self) }, "seed \(seed)")
        for type in RecordType.allCases {
            let count = ours.filter { $0.type == type }.count
            #expect(try search(file.path, ["-m", type.rawValue]).count == count, "seed \(seed), \(type)")
        }
        for (word, result) in [("yes", ByteText("success")), ("no", "failed")] {
            let count = ours.filter { $0["res"] == result }.count
            #expect(try search(file.path, ["-sv", word]).count == count, "seed \(seed), \(word)")
        }
        for address in ["10.1.2.3", "2001:db8::1", "::1", "6.6.6.6"] {
            // Without -w it looks for a part: ::1 is one of 2001:db8::1. Of an ANOM_ABEND ausearch reads what the kernel's own have, which is no address.
            let wanted = zip(ours, written).filter { $0.0["addr"] == ByteText(address) && $0.0.type != .abnormalEnd }
                .map { String(decoding: $0.1, as: UTF8.self) }
            let found = try search(file.path, ["-hn", address, "-w"])
            #expect(Set(found).symmetricDifference(wanted) == [], "seed \(seed), \(address)")
        }
        let summary = try AuditTool.run("aureport", ["-if", file.path, "--summary"])
        for (name, type) in [("logins", RecordType.login), ("authentications", .authentication)] {
            let failed = ours.filter { $0.type == type && $0["res"] == "failed" }.count
            #expect(number(summary, "failed \(name)") == failed, "seed \(seed), failed \(name)")
            #expect(number(summary, name) == ours.filter { $0.type == type }.count - failed, "seed \(seed), \(name)")
        }
        let rows = try AuditTool.run("aureport", ["-if", file.path, "-l"]).split(separator: "\n")
        let logins = rows.filter { $0.first?.isNumber == true && $0.contains(". ") }
        #expect(logins.count == ours.filter { $0.type == .login }.count, "seed \(seed)")
    }

    /// These tools take what follows `hostname=` up to the next comma, wherever that stands, for the host: a client that sent
    /// one could show under an address of its choice, and hide from its own.
    @Test func aCommaInWhatAClientSentIsNoPartOfTheHost() throws {
        let stamp = Stamp(milliseconds: moment, session: session, sender: alice)
        for text in ["6.6.6.6,", ",addr=6.6.6.6", "a,b", ","] as [ByteText] {
            let login = Record.Login(
                origin: fromMainframe, account: text, remoteUser: text, refusal: .noRule, rule: nil,
                revision: Revision.none, detail: text, command: Record.RefusedCommand(text))
            let command = Record.Command(
                origin: fromMainframe, account: text, commandLine: text, program: text, argumentCount: 1,
                sandbox: "strict")
            let file = try TemporaryFile(trail([(.record(.login(login)), stamp), (.record(.command(command)), stamp)]))
            #expect(try search(file.path, ["-hn", "10.1.2.3", "-w"]).count == 2, "\(text)")
            #expect(try search(file.path, ["-hn", "6.6.6.6"]).isEmpty, "\(text)")
            let logins = try AuditTool.run("aureport", ["-if", file.path, "-l"])
            #expect(logins.contains(" 10.1.2.3 rsh /usr/sbin/portcullisd no "), "\(logins)")
        }
    }

    /// Nor is one in a word of ours or of the policy's author, whose files have any name.
    @Test func aCommaInAWordIsNoPartOfTheHost() throws {
        let stamp = Stamp(milliseconds: moment, session: session, sender: alice)
        let place = FilePlace(file: "/etc/portcullis/a,b.policy", line: 7)
        let login = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: nil, refusal: nil,
            rule: RuleReference(name: "uptime", place: place), revision: Revision.none, detail: nil, command: nil)
        let check = Record.Authentication(
            origin: fromMainframe, account: "alice", grantors: "a,b", failure: nil, detail: nil, pool: nil)
        let entries: [Entry] = [.record(.login(login)), .record(.authentication(check))]
        let file = try TemporaryFile(trail(entries.map { ($0, stamp) }))
        #expect(try search(file.path, ["-hn", "10.1.2.3", "-w"]).count == entries.count)
        for entry in entries {
            let line = try #require(lines(of: trail([(entry, stamp)])).first.flatMap { TrailLine($0) })
            #expect(Entry(line: line) == entry)
        }
    }

    /// What a client sent comes back byte for byte, whichever line holds it.
    @Test(arguments: UInt64(1)...6) func ourReaderGivesEveryByteBack(seed: UInt64) throws {
        let entries = Self.entries(seed: seed)
        for (entry, stamp) in entries {
            let own = lines(of: trail([(entry, stamp)]))
            let first = try #require(own.first.flatMap { TrailLine($0) })
            guard case .record(.command(let command)) = entry else {
                if case .record(.login(let login)) = entry, first["cut"] == nil {
                    #expect(first["cmd"] == login.command?.text, "seed \(seed)")
                    #expect(first["ruser"] == login.remoteUser, "seed \(seed)")
                }
                continue
            }
            let parts = own.compactMap { TrailLine($0)?["cmd"]?.bytes }
            #expect(Array(parts.joined()) == command.commandLine.bytes, "seed \(seed)")
        }
    }
}
