// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import TestSupport

extension SeededGenerator {
    mutating func number(_ range: ClosedRange<Int>) -> Int {
        Int.random(in: range, using: &self)
    }

    mutating func chance() -> Bool {
        Bool.random(using: &self)
    }

    /// Bytes of every kind, with those that have a meaning in a line more often than others.
    mutating func bytes(_ count: ClosedRange<Int>) -> ByteText {
        let special = Array("'\"=%?\\ \n\r\t\u{0}%n%s' seq= chain= res=success\u{1B}[".utf8)
        return ByteText(
            (0..<number(count)).map { _ in
                switch number(0...3) {
                case 0: special.randomElement(using: &self) ?? 0
                case 1: UInt8.random(in: 0...255, using: &self)
                default: UInt8.random(in: 0x21...0x7E, using: &self)
                }
            })
    }

    mutating func text(_ count: ClosedRange<Int>) -> String {
        let characters: [Character] = ["a", "z", "0", "-", "/", " ", "'", "\"", "%", "?", "=", "\n", "é", "\u{301}"]
        return String((0..<number(count)).map { _ in characters.randomElement(using: &self) ?? "a" })
    }

    mutating func origin() -> Record.Origin {
        let addresses: [IPAddress?] = [nil, IPAddress("10.1.2.3"), IPAddress("2001:db8::1"), IPAddress("::1")]
        return Record.Origin(
            service: chance() ? .rexec : .rsh, address: addresses.randomElement(using: &self) ?? nil,
            port: UInt16.random(in: 0...65_535, using: &self))
    }

    mutating func rule() -> RuleReference {
        RuleReference(
            name: "rule-\(number(0...99))",
            place: FilePlace(file: text(1...40), line: number(0...100_000)))
    }

    mutating func revision() -> Revision? {
        Revision(bytes: (0..<32).map { _ in UInt8.random(in: 0...255, using: &self) })
    }

    mutating func stamp() -> Stamp {
        Stamp(
            milliseconds: UInt64.random(in: 0...4_000_000_000_000, using: &self),
            session: chance() ? SessionID(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &self) }) : nil,
            sender: Sender(
                pid: Int32.random(in: 0...Int32.max, using: &self),
                uid: UInt32.random(in: 0...UInt32.max, using: &self),
                auid: chance() ? .max : 1_000, ses: chance() ? .max : 7, executable: bytes(1...60)))
    }

    /// An entry of any kind with any bytes; `length` bounds what a client chooses.
    mutating func entry(length: Int = 200) -> Entry {
        switch number(0...11) {
        case 0:
            return .record(.serviceStart(unit: text(1...20)))
        case 1:
            return .record(.serviceStop(unit: text(1...20), reason: text(1...20), isFailure: chance()))
        case 2:
            return .record(
                .policyLoaded(revision: revision() ?? .none, file: bytes(0...60), rules: number(0...1_000_000)))
        case 3:
            return .record(.policyRejected(file: bytes(0...60), errors: bytes(0...length)))
        case 4:
            return .record(
                .authentication(
                    Record.Authentication(
                        origin: origin(), account: bytes(0...32), grantors: text(1...20),
                        failure: chance() ? Reason.allCases.randomElement(using: &self) : nil,
                        detail: chance() ? bytes(0...length) : nil, pool: chance() ? text(1...20) : nil)))
        case 5, 6:
            return .record(
                .login(
                    Record.Login(
                        origin: origin(), account: chance() ? bytes(0...32) : nil,
                        remoteUser: chance() ? bytes(0...32) : nil,
                        refusal: chance() ? Reason.allCases.randomElement(using: &self) : nil,
                        rule: chance() ? rule() : nil, revision: chance() ? revision() : nil,
                        detail: chance() ? bytes(0...length) : nil,
                        command: chance() ? Record.RefusedCommand(bytes(0...length)) : nil,
                        count: chance() ? 1 : number(2...100_000),
                        pool: chance() ? text(1...20) : nil)))
        case 7:
            return .record(
                .command(
                    Record.Command(
                        origin: origin(), account: bytes(0...32), commandLine: bytes(0...length),
                        program: bytes(0...60), argumentCount: number(0...8_192), sandbox: text(1...20),
                        limits: chance() ? text(1...20) : nil)))
        case 8:
            let outcome: Record.Outcome =
                switch number(0...2) {
                case 0: .status(UInt8.random(in: 0...255, using: &self))
                case 1: .signal(UInt8.random(in: 1...64, using: &self))
                default: .lost(reason: text(1...20))
                }
            var end = Record.End(
                origin: origin(), account: bytes(0...32), outcome: outcome, bytesIn: 0, bytesOut: 0, bytesErr: 0,
                milliseconds: 0, limit: nil, leftovers: nil)
            if case .lost = outcome { return .record(.end(end)) }
            end.bytesIn = next()
            end.bytesOut = next()
            end.bytesErr = next()
            end.milliseconds = next()
            end.limit = chance() ? text(1...10) : nil
            end.leftovers = chance() ? number(0...1_000) : nil
            end.droppedStderr = chance() ? 0 : next()
            end.ignoredSignals = chance() ? 0 : next()
            return .record(.end(end))
        case 9:
            return .record(
                .notice(
                    Record.Notice(
                        origin: origin(), account: bytes(0...32), operation: text(1...20), detail: bytes(0...length))))
        case 10:
            let subjects: [Record.Denial.Subject] = [
                .call(nil), .call("mount"), .call("470"), .access("fs.read_file", path: bytes(0...length)),
                .access("scope.signal", path: nil), .further,
            ]
            return .record(
                .denial(
                    Record.Denial(
                        origin: origin(), account: bytes(0...32),
                        subject: subjects.randomElement(using: &self) ?? .further, signal: chance() ? 31 : nil,
                        program: chance() ? bytes(0...length) : nil, count: number(1...1_000_000))))
        default:
            if chance() { return .lostRequest(Reason.allCases.randomElement(using: &self) ?? .unavailable) }
            return .note(
                Entry.Note(
                    subject: Entry.Subject.allCases.randomElement(using: &self) ?? .tornLine, detail: bytes(0...length))
            )
        }
    }
}

/// Thirty-two bytes that depend on every byte and its place: enough to test the linking, which is all that is ours.
///
/// SHA-256 itself is swift-crypto's; AuditorServiceTests link it.
@Sendable func testDigest(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    for lane in 0..<4 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 &+ UInt64(lane)
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        hash ^= hash >> 29
        for shift in 0..<8 { out.append(UInt8(truncatingIfNeeded: hash >> UInt64(shift * 8))) }
    }
    return out
}

let alice = Sender(
    pid: 4_711, uid: 0, auid: 1_001, ses: 12, executable: "/usr/sbin/portcullisd")
let session = SessionID(bytes: Array(0x10...0x1F))
let fromMainframe = Record.Origin(service: .rsh, address: IPAddress("10.1.2.3"), port: 1_022)

/// 2026-11-20 22:13:01.237 UTC.
let moment: UInt64 = 1_795_212_781_237

func lines(of text: [UInt8]) -> [ArraySlice<UInt8>] {
    text.split(separator: UInt8(ascii: "\n"))
}

/// A trail of entries, as its bytes.
func trail(_ entries: [(Entry, Stamp)], after position: ChainPosition = .start, startsSegment: Bool = false) -> [UInt8]
{
    var chain = Chain(after: position, startsSegment: startsSegment, digest: testDigest)
    var text: [UInt8] = []
    for (entry, stamp) in entries { chain.append(entry, stamp, to: &text) }
    return text
}

func verify(_ text: [UInt8], after position: ChainPosition? = nil) throws(TrailFault) -> TrailVerifier {
    var verifier = TrailVerifier(after: position, digest: testDigest)
    try verifier.take(text)
    try verifier.finish()
    return verifier
}
