// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing

@testable import Audit

/// What the kernel tells of denials, in texts as Linux 6.18 wrote them.
@Suite struct KernelReportTests {
    private static let killed =
        "audit(1795302890.192:1268): auid=4100 uid=4100 gid=4100 ses=12 pid=2575 comm=\"python3\" "
        + "exe=\"/usr/bin/python3.11\" sig=31 arch=c000003e syscall=170 compat=0 ip=0x7f1ecbaef829 code=0x80000000"
    private static let refused =
        "audit(1795302891.716:1269): auid=4294967295 uid=0 gid=0 ses=4294967295 subj=unconfined pid=2630 comm=\"python3\" "
        + "exe=2F686F6D652F61206222 sig=0 arch=c000003e syscall=170 compat=0 ip=0x7f1ecbaef829 code=0x50001"
    private static let caller =
        "audit(1795302898.472:1277): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=7ffc121e4a0f a2=0 a3=0 "
        + "items=0 ppid=2736 pid=2737 auid=4100 uid=4100 gid=4100 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 "
        + "tty=(none) ses=7 comm=\"cat\" exe=\"/usr/bin/cat\" key=(null)"

    private func read(_ type: UInt16, _ text: String) -> KernelReport? {
        let length = UInt32(text.utf8.count + 16)
        var message: [UInt8] = (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * UInt32($0))) }
        message += [UInt8(truncatingIfNeeded: type), UInt8(type >> 8)] + [UInt8](repeating: 0, count: 10)
        return KernelReport(message: message + Array(text.utf8))
    }

    @Test func aFiltersRefusalsAreRead() {
        #expect(
            read(1_326, Self.killed)
                == .call(
                    KernelReport.Call(
                        ses: 12, program: "/usr/bin/python3.11", signal: 31, architecture: 0xC000_003E, number: 170,
                        action: 0x8000_0000)))
        #expect(
            read(1_326, Self.refused)
                == .call(
                    KernelReport.Call(
                        ses: .max, program: "/home/a b\"", signal: 0, architecture: 0xC000_003E, number: 170,
                        action: 0x5_0001)))
    }

    @Test(
        arguments: [
            ("fs.read_file path=\"/etc/shadow\" dev=\"vda\" ino=818", "fs.read_file", "/etc/shadow"),
            ("fs.read_file path=2F6574632F70617373207764 dev=\"vda\" ino=1196071", "fs.read_file", "/etc/pass wd"),
            ("fs.make_reg,fs.refer path=\"/tmp\" dev=\"vda\" ino=253853", "fs.make_reg+fs.refer", "/tmp"),
            ("fs.read_file path=\"/it's\" dev=\"vda\" ino=1", "fs.read_file", "/it's"),
            ("fs.read_file path=<too_long> dev=\"vda\" ino=1", "fs.read_file", nil),
            ("scope.signal opid=1 ocomm=\"process_api\"", "scope.signal", nil),
            ("net.connect_tcp daddr=127.0.0.1 dest=443", "net.connect_tcp:443", nil),
        ] as [(String, String, String?)])
    func aRulesetsRefusalsAreRead(text: String, words: String, path: String?) {
        #expect(
            read(1_423, "audit(1795302898.468:1274): domain=1c5ca95f5 blockers=" + text)
                == .access(event: 1_274, words: words, path: path.map { ByteText($0) }))
    }

    @Test func theCallerOfAnEventIsRead() {
        #expect(read(1_300, Self.caller) == .caller(event: 1_277, ses: 7, program: "/usr/bin/cat"))
    }

    @Test(
        arguments: [
            (1_326, ""), (1_326, "audit("), (1_326, "audit(1.0:x): ses=1"), (1_701, killed), (1_424, killed),
            (1_326, "audit(1.0:1): ses=1 sig=31 arch=c000003e syscall=170"),
            (1_326, "audit(1.0:1): ses=-1 sig=31 arch=c000003e syscall=170 code=0x0"),
            (1_326, "audit(1.0:1): ses=1 sig=31 arch=1c000003e syscall=170 code=0x0"),
            (1_423, "audit(1.0:1): domain=1 blockers=fs.read\u{1B}[31m path=\"/x\""),
            (1_423, "audit(1.0:1): domain=1 blockers= path=\"/x\""), (1_300, "audit(1.0:1): pid=1"),
        ] as [(UInt16, String)])
    func whatIsNotInTheKernelsFormIsNothing(type: UInt16, text: String) {
        #expect(read(type, text) == nil)
    }

    /// A name that imitates fields stays the one value that the kernel wrote.
    @Test func aNameForgesNoField() {
        // The kernel writes it in hexadecimal, for it holds blanks.
        let forged = "/tmp/x ses=1 sig=31 code=0x80000000"
        let digits = Hexadecimal.lower(Array(forged.utf8)).uppercased()
        let text = Self.refused.replacing("2F686F6D652F61206222", with: digits)
        guard case .call(let call)? = read(1_326, text) else {
            Issue.record("not read")
            return
        }
        #expect(call.ses == .max && call.signal == 0 && call.program == ByteText(forged))
    }

    /// No message, however wrong, does more than be nothing.
    @Test func noMessageHarms() {
        var random = SeededGenerator(seed: 0x1326)
        let texts = [Self.killed, Self.refused, Self.caller].map { Array($0.utf8) }
        for _ in 0..<20_000 {
            let type: UInt16 = [1_300, 1_326, 1_423].randomElement(using: &random) ?? 0
            var message: [UInt8] = [0, 0, 0, 0, UInt8(truncatingIfNeeded: type), UInt8(type >> 8)]
            message += [UInt8](repeating: 0, count: 10) + (texts.randomElement(using: &random) ?? [])
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                message[Int.random(in: 0..<message.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { message.removeLast(Int.random(in: 0..<message.count, using: &random)) }
            if case .call(let call)? = KernelReport(message: message) {
                #expect(call.program?.count ?? 0 <= Record.Denial.pathLimit)
            }
        }
        #expect(KernelReport(message: [UInt8](repeating: 0x20, count: KernelReport.messageLimit + 1)) == nil)
    }
}
