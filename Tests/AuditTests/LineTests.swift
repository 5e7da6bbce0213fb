// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import TestSupport
import Testing

/// The text of each kind of record, as audit.md writes it.
@Suite struct LineTests {
    private func line(_ entry: Entry, session id: SessionID? = session) -> String {
        let text = trail([(entry, Stamp(milliseconds: moment, session: id, sender: alice))])
        let whole = String(decoding: text, as: UTF8.self)
        return String(whole[..<(whole.firstRange(of: " chain=")?.lowerBound ?? whole.endIndex)])
    }

    private let head = " msg=audit(1795212781.237:1): pid=4711 uid=0 auid=1001 ses=12 msg='"
    private let common = "hostname=? addr=10.1.2.3 terminal=rsh"
    private let id = "session=101112131415161718191a1b1c1d1e1f service=rsh port=1022"

    @Test func aCommandIsWrittenInAuditdsGrammar() {
        let record = Record.Command(
            origin: fromMainframe, account: "alice", commandLine: "dump 0uf - /home", program: "/usr/sbin/dump",
            argumentCount: 4, sandbox: "strict")
        #expect(
            line(.record(.command(record))) == "type=USER_CMD" + head
                + #"op=command acct="alice" exe="/usr/sbin/portcullisd" \#(common) res=success \#(id) "#
                + #"sandbox=strict argc=4 program="/usr/sbin/dump" cmd=64756D7020307566202D202F686F6D65' seq=1"#)
    }

    @Test func aPermitNamesItsRuleAndPlace() {
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: nil,
            rule: RuleReference(name: "uptime", place: FilePlace(file: "portcullis.policy", line: 49)),
            revision: Revision.none)
        #expect(
            line(.record(.login(record))) == "type=USER_LOGIN" + head
                + #"op=login acct="alice" exe="/usr/sbin/portcullisd" \#(common) res=success \#(id) "#
                + "rule=uptime at=portcullis.policy:49 revision=sha256:\(String(repeating: "0", count: 64)) "
                + #"ruser="bob"' seq=1"#)
    }

    @Test func aRefusalNamesItsReason() {
        let record = Record.Login(
            origin: fromMainframe, account: nil, remoteUser: nil, refusal: .sourcePort, rule: nil, revision: nil,
            count: 12)
        #expect(
            line(.record(.login(record)), session: nil) == "type=USER_LOGIN" + head
                + #"op=login acct="?" exe="/usr/sbin/portcullisd" \#(common) res=failed service=rsh port=1022 "#
                + "reason=source-port count=12' seq=1")
    }

    @Test func aRefusalCarriesTheCommandAsItWasSent() {
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: .noRule, rule: nil,
            revision: Revision.none, command: Record.RefusedCommand("dump 0uf - /home"))
        #expect(
            line(.record(.login(record))) == "type=USER_LOGIN" + head
                + #"op=login acct="alice" exe="/usr/sbin/portcullisd" \#(common) res=failed \#(id) "#
                + "reason=no-rule revision=sha256:\(String(repeating: "0", count: 64)) "
                + #"ruser="bob" cmd=64756D7020307566202D202F686F6D65' seq=1"#)
    }

    @Test func anEndCarriesStatusAndCounts() {
        let record = Record.End(
            origin: fromMainframe, account: "alice", outcome: .signal(9), bytesIn: 1, bytesOut: 2, bytesErr: 3,
            milliseconds: 4, limit: "timeout", leftovers: 5, droppedStderr: 6, ignoredSignals: 7)
        #expect(
            line(.record(.end(record))) == "type=USER_END" + head
                + #"op=end acct="alice" exe="/usr/sbin/portcullisd" \#(common) res=success \#(id) "#
                + "signal=9 in=1 out=2 err=3 ms=4 limit=timeout leftovers=5 err-dropped=6 signals-ignored=7' seq=1")
    }

    @Test func aLostSessionSaysSoAndCountsNothing() {
        let record = Record.End(
            origin: fromMainframe, account: "alice", outcome: .lost(reason: "unavailable"), bytesIn: 0, bytesOut: 0,
            bytesErr: 0, milliseconds: 0, limit: nil, leftovers: nil)
        #expect(line(.record(.end(record))).hasSuffix("res=failed \(id) reason=lost cause=unavailable' seq=1"))
    }

    @Test func servicesAndPoliciesHaveNoAccount() {
        let none = #"exe="/usr/sbin/portcullisd" hostname=? addr=? terminal=?"#
        #expect(
            line(.record(.serviceStop(unit: "front", reason: "signal 9", isFailure: true)), session: nil)
                == "type=SERVICE_STOP" + head + "op=stop \(none) res=failed unit=front reason=signal%209' seq=1")
        #expect(
            line(.record(.policyRejected(file: "/etc/p", errors: "1:1: bad")), session: nil)
                == "type=USYS_CONFIG" + head
                + "op=load-policy \(none) res=failed file=\"/etc/p\" errors=313A313A20626164' seq=1")
    }

    /// libaudit's encoding, and the apostrophe besides, which would end our quotes.
    @Test(
        arguments: [
            ("id", #""id""#), ("a b", "612062"), ("it's", "69742773"), ("\"", "22"), ("\u{7F}", "7F"), ("é", "C3A9"),
            ("a\nb", "610A62"), ("", #""""#), (#"\x%n=~"#, #""\x%n=~""#), ("41", #""41""#),
        ] as [(String, String)])
    func untrustedTextIsQuotedOrHexadecimal(_ text: String, _ written: String) {
        let record = Record.Command(
            origin: fromMainframe, account: "alice", commandLine: ByteText(text), program: "/x", argumentCount: 1,
            sandbox: "strict")
        #expect(line(.record(.command(record))).hasSuffix(" cmd=\(written)' seq=1"))
    }

    /// An account whose name is a question mark is not one whose name is unknown.
    @Test func aNameThatIsAQuestionMarkIsNotTheUnknownName() throws {
        for account in [ByteText("?"), nil] {
            let record = Record.Login(
                origin: fromMainframe, account: account, remoteUser: nil, refusal: .protocolError, rule: nil,
                revision: nil)
            let entry = Entry.record(.login(record))
            let text = trail([(entry, Stamp(milliseconds: moment, session: nil, sender: alice))])
            let read = try #require(TrailLine(text.dropLast()))
            #expect(Entry(line: read) == entry)
            #expect(read.accountIsUnknown == (account == nil))
        }
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func whatIsWrittenReadsBackTheSame(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let entry = random.entry()
            let stamp = random.stamp()
            let text = trail([(entry, stamp)])
            #expect(text.count <= TrailFormat.lineLimit)
            #expect(text.last == UInt8(ascii: "\n"))
            #expect(text.dropLast().allSatisfy { (0x20...0x7E).contains($0) }, "seed \(seed)")
            let read = try #require(
                TrailLine(text.dropLast()), "seed \(seed): \(String(decoding: text, as: UTF8.self))")
            #expect(read.stamp == stamp, "seed \(seed)")
            #expect(Entry(line: read) == entry, "seed \(seed): \(String(decoding: text, as: UTF8.self))")
        }
    }

    /// A command of any length is on the trail whole, in lines that auditd's tools do not cut.
    @Test(arguments: [0, 1, 2_000, 5_000, 7_000, 7_600, 7_700, 20_000, 131_071], [false, true])
    func aLongCommandGoesOnInFurtherRecords(_ count: Int, _ needsHexadecimal: Bool) throws {
        let command = [UInt8](repeating: needsHexadecimal ? 0x20 : 0x78, count: count)
        for program in [1, 4_000] {
            let path = ByteText(Array(repeating: needsHexadecimal ? 0xFF : 0x70, count: program))
            let record = Record.Command(
                origin: fromMainframe, account: "alice", commandLine: ByteText(command), program: path,
                argumentCount: 3, sandbox: "strict")
            let text = trail([(.record(.command(record)), Stamp(milliseconds: moment, session: session, sender: alice))]
            )
            var whole: [UInt8] = []
            var wholePath: [UInt8] = []
            let all = lines(of: text)
            for (index, line) in all.enumerated() {
                #expect(line.count < TrailFormat.lineLimit)
                let read = try #require(TrailLine(line))
                #expect(read.sequence == UInt64(index + 1))
                #expect(read.stamp.session == session)
                if all.count == 1 {
                    #expect(CommandPart(line: read) == nil)
                } else {
                    let part = try #require(CommandPart(line: read))
                    #expect(part.number == index + 1)
                    #expect(part.count == all.count)
                }
                whole += read["cmd"]?.bytes ?? []
                wholePath += read["program"]?.bytes ?? []
            }
            #expect(whole == command)
            #expect(wholePath == path.bytes)
            _ = try verify(text)
        }
    }

    /// A refusal is one line, whatever was asked for: what does not fit is missed, and the line says how long it was.
    @Test(arguments: [0, 1, 3_700, 3_900, 7_400, 7_800, 8_191, 8_192, 8_193, 131_071], [false, true])
    func aLongRefusedCommandIsCutToItsLine(_ count: Int, _ needsHexadecimal: Bool) throws {
        for detail in [0, 100, 4_096] { try checkRefusal(count, needsHexadecimal, detail: detail) }
    }

    private func checkRefusal(_ count: Int, _ needsHexadecimal: Bool, detail: Int) throws {
        let command = ByteText((0..<count).map { needsHexadecimal ? UInt8($0 % 251) : UInt8(0x61 + $0 % 26) })
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: .noRule, rule: nil,
            revision: Revision.none, detail: detail > 0 ? ByteText(Array(repeating: 0x20, count: detail)) : nil,
            command: Record.RefusedCommand(command))
        let text = trail([(.record(.login(record)), Stamp(milliseconds: moment, session: session, sender: alice))])
        #expect(lines(of: text).count == 1)
        #expect(text.count <= TrailFormat.lineLimit)
        let line = try #require(TrailLine(text.dropLast()))
        guard case .record(.login(let read))? = Entry(line: line) else {
            Issue.record("no refusal")
            return
        }
        let kept = try #require(read.command)
        #expect(command.bytes.starts(with: kept.text.bytes))
        #expect(kept.length == count)
        #expect(kept.isWhole == (line["cmdlen"] == nil))
        #expect(kept.isWhole == (line["cut"]?.text?.hasSuffix("cmd") != true))
        // As much as fits: room for the longest number, segment and list of cut fields is kept free, no more.
        if !kept.isWhole { #expect(text.count > TrailFormat.lineLimit - 300) }
        #expect(kept.text.bytes.count >= min(count, 480))
        let messages = KernelMessage.messages(
            .login(record), stamp: Stamp(milliseconds: moment, session: session, sender: alice))
        #expect(messages.count == 1)
        #expect(messages.allSatisfy { $0.text.bytes.count < TrailFormat.lineLimit })
    }

    /// A command that comes cut is one that was cut, although the line has room for what is left.
    @Test func aCommandThatWasCutBeforeIsNamedAsCut() throws {
        let command = Record.RefusedCommand("/usr/bin/uptime").cut(to: 8)
        #expect(command == Record.RefusedCommand(beginning: "/usr/bin", of: 15))
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: nil, refusal: .noRule, rule: nil, revision: nil,
            command: command)
        let entry = Entry.record(.login(record))
        #expect(line(entry).hasSuffix(#"reason=no-rule cmd="/usr/bin" cmdlen=15 cut=cmd' seq=1"#))
        let text = trail([(entry, Stamp(milliseconds: moment, session: session, sender: alice))])
        #expect(Entry(line: try #require(TrailLine(text.dropLast()))) == entry)
    }

    /// Text that imitates records, quotes, newlines and terminal sequences.
    @Test(
        arguments: [
            "", "?", "'", "\"", "x' res=success seq=9 chain=0", "id cmdlen=1 cut=cmd rule=all at=x:1", "a\u{0}b",
            "id\ntype=USER_CMD msg=audit(1.000:2): pid=1 uid=0 auid=0 ses=0 msg='op=command cmd=\"id\"' seq=2",
            "\u{1B}]0;x\u{7}\u{1B}[2J", "%n%s%27", "6964",
        ])
    func aRefusedCommandForgesNothing(_ command: String) throws {
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: .needsShell, rule: nil,
            revision: Revision.none, command: Record.RefusedCommand(ByteText(command)))
        let text = trail([(.record(.login(record)), Stamp(milliseconds: moment, session: session, sender: alice))])
        #expect(text.dropLast().allSatisfy { (0x20...0x7E).contains($0) })
        #expect(Entry(line: try #require(TrailLine(text.dropLast()))) == .record(.login(record)))
        #expect(try verify(text).position.sequence == 1)
    }

    /// A command that would be longer than it was is none.
    @Test(
        arguments: [
            ("0", false), ("1", false), ("2", true), ("99999", true), ("", false), ("-3", false), ("x", false),
        ])
    func aLengthBelowWhatIsThereIsNotRead(_ length: String, _ isRead: Bool) throws {
        let record = Record.Login(
            origin: fromMainframe, account: "alice", remoteUser: "bob", refusal: .noRule, rule: nil, revision: nil,
            command: Record.RefusedCommand("id"))
        let text = trail([(.record(.login(record)), Stamp(milliseconds: moment, session: session, sender: alice))])
        let changed = String(decoding: text.dropLast(), as: UTF8.self)
            .replacing("cmd=\"id\"", with: "cmd=\"id\" cmdlen=\(length)")
        let entry = TrailLine(Array(changed.utf8)[...]).flatMap { Entry(line: $0) }
        #expect((entry != nil) == isRead)
    }

    /// Whatever is too long for a line is cut, and the line says what was.
    @Test func noFieldMakesALineTooLong() throws {
        let long = ByteText(Array(repeating: 0x20, count: 10_000))
        let word = String(repeating: "\"", count: 5_000)
        var sender = alice
        sender.executable = long
        let origin = Record.Origin(service: .rexec, address: IPAddress(v6: UInt128.max), port: 65_535)
        let rule = RuleReference(name: word, place: FilePlace(file: word, line: .max))
        let entries: [Entry] = [
            .record(.serviceStop(unit: word, reason: word, isFailure: true)),
            .record(.policyLoaded(revision: .none, file: long, rules: .max)),
            .record(.policyRejected(file: long, errors: long)),
            .record(
                .authentication(
                    Record.Authentication(
                        origin: origin, account: long, grantors: word, failure: .commandNotFound, detail: long,
                        pool: word))),
            .record(
                .login(
                    Record.Login(
                        origin: origin, account: long, remoteUser: long, refusal: .sandboxUnavailable, rule: rule,
                        revision: Revision.none, detail: long, count: .max))),
            .record(
                .login(
                    Record.Login(
                        origin: origin, account: long, remoteUser: long, refusal: .sandboxUnavailable, rule: rule,
                        revision: Revision.none, detail: long, command: Record.RefusedCommand(long), count: .max))),
            .record(
                .command(
                    Record.Command(
                        origin: origin, account: long, commandLine: long, program: long, argumentCount: .max,
                        sandbox: word))),
            .record(
                .end(
                    Record.End(
                        origin: origin, account: long, outcome: .signal(255), bytesIn: .max, bytesOut: .max,
                        bytesErr: .max, milliseconds: .max, limit: word, leftovers: .max, droppedStderr: .max,
                        ignoredSignals: .max))),
            .record(.notice(Record.Notice(origin: origin, account: long, operation: word, detail: long))),
            .note(Entry.Note(subject: .closedChannel, detail: long)),
        ]
        for entry in entries {
            let text = trail([(entry, Stamp(milliseconds: .max, session: session, sender: sender))])
            for line in lines(of: text) {
                #expect(line.count < TrailFormat.lineLimit)
                let read = try #require(TrailLine(line), "\(String(decoding: line, as: UTF8.self))")
                #expect(read["cut"] != nil)
                #expect(Entry(line: read)?.type == entry.type)
            }
        }
    }

    /// What a client sends can look like any part of a line and is none.
    @Test func aCommandCannotForgeAFieldOrALine() throws {
        let forged = Array(
            "id' seq=2 chain=\(String(repeating: "0", count: 64))\ntype=USER_END msg=audit(1.000:2): pid=1 uid=0".utf8)
        let record = Record.Command(
            origin: fromMainframe, account: ByteText(forged), commandLine: ByteText(forged), program: "/usr/bin/id",
            argumentCount: 1, sandbox: "strict")
        let text = trail([(.record(.command(record)), Stamp(milliseconds: moment, session: session, sender: alice))])
        #expect(lines(of: text).count == 1)
        #expect(try verify(text).position.sequence == 1)
    }

    /// Lines that only look like ours are not read.
    @Test(
        arguments: [
            ("msg='op=", "msg='op= "), ("pid=4711", "pid=04711"), ("uid=0", "uid=4294967296"), (".237:", ".23:"),
            (" addr=", " addr=1.2.3.4 addr="), ("res=success", "res"), ("\"alice\"", "alice"), ("\"alice\"", "616c"),
            ("terminal=rsh", "terminal="), ("terminal=rsh", "terminal=\"rsh\""), ("type=USER_CMD", "type=EXECVE"),
            ("' seq=1", "' seq=2"), ("' seq=1", "' x=1 seq=1"), ("exe=", "exx="), ("session=1", "session=g"),
        ] as [(String, String)])
    func aLineThatIsNotOursIsNotRead(_ found: String, _ replacement: String) {
        let record = Record.Command(
            origin: fromMainframe, account: "alice", commandLine: "id", program: "/usr/bin/id", argumentCount: 1,
            sandbox: "strict")
        let text = trail([(.record(.command(record)), Stamp(milliseconds: moment, session: session, sender: alice))])
        let whole = String(decoding: text.dropLast(), as: UTF8.self)
        #expect(TrailLine(Array(whole.utf8)[...]) != nil)
        let changed = whole.replacing(found, with: replacement, maxReplacements: 1)
        #expect(changed != whole)
        #expect(TrailLine(Array(changed.utf8)[...]) == nil)
    }

    /// A reader of strangers' files never stops on what it finds.
    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func noBytesStopTheReader(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var text = trail((0..<20).map { _ in (random.entry(), random.stamp()) })
        for _ in 0..<2_000 {
            let index = random.number(0...(text.count - 1))
            text[index] = random.next() % 2 == 0 ? UInt8(ascii: "9") : UInt8.random(in: 0...255, using: &random)
            var open = OpenSessions()
            let line = lines(of: text).randomElement(using: &random) ?? []
            open.take(line)
            if let read = TrailLine(line) {
                _ = Entry(line: read)
                _ = CommandPart(line: read)
            }
        }
    }
}
