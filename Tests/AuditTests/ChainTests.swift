// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import TestSupport
import Testing

/// The chain shows every change, and names the first bad line.
@Suite struct ChainTests {
    private func sample(_ seed: UInt64, count: Int = 30) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        return trail((0..<count).map { _ in (random.entry(length: 60), random.stamp()) })
    }

    @Test func aWholeTrailVerifiesInAnyPieces() throws {
        let text = sample(1)
        let whole = try verify(text)
        for size in [1, 7, 100, 8_192] {
            var verifier = TrailVerifier(digest: testDigest)
            var rest = text[...]
            while !rest.isEmpty {
                try verifier.take(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            try verifier.finish()
            #expect(verifier.position == whole.position)
            #expect(verifier.lines == 30)
        }
    }

    @Test func theFirstLineFollowsSixtyFourZeros() throws {
        let text = sample(2, count: 1)
        let line = String(decoding: text.dropLast(), as: UTF8.self)
        let parts = line.split(separator: " chain=")
        let covered = String(repeating: "0", count: 64) + "\n" + (parts.first ?? "")
        let digest = testDigest(Array(covered.utf8))
        #expect(parts.last.map(String.init) == Hexadecimal.lower(digest))
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func anyChangedByteIsFoundWhereItIs(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let text = sample(seed)
        for _ in 0..<400 {
            var changed = text
            let index = random.number(0...(text.count - 1))
            let other = UInt8.random(in: 0...255, using: &random)
            guard other != changed[index] else { continue }
            let line = text[..<index].count { $0 == UInt8(ascii: "\n") } + 1
            changed[index] = other
            do {
                _ = try verify(changed)
                Issue.record("seed \(seed): a change at \(index) was not found")
            } catch {
                // A byte of a chain itself shows in its own line.
                #expect(error.line == line, "seed \(seed), byte \(index)")
            }
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func aDeletedInsertedOrSwappedLineIsFound(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let all = lines(of: sample(seed)).map(Array.init)
        let joined = { (lines: [[UInt8]]) in lines.flatMap { $0 + [UInt8(ascii: "\n")] } }
        for _ in 0..<100 {
            let index = random.number(0...(all.count - 2))
            var deleted = all
            deleted.remove(at: index)
            var inserted = all
            inserted.insert(all[random.number(0...(all.count - 1))], at: index)
            var swapped = all
            swapped.swapAt(index, index + 1)
            // A second copy of a line shows only after the first.
            let copy = inserted[index] == all[index] ? index + 2 : index + 1
            for (changed, line) in [(deleted, index + 1), (inserted, copy), (swapped, index + 1)] {
                do {
                    _ = try verify(joined(changed))
                    Issue.record("seed \(seed): a change at line \(index + 1) was not found")
                } catch {
                    #expect(error.line == line, "seed \(seed)")
                }
            }
        }
    }

    @Test func aTornLastLineIsSaid() throws {
        let text = sample(3)
        var verifier = TrailVerifier(digest: testDigest)
        try verifier.take(Array(text.dropLast(10)))
        #expect(verifier.lines == 29)
        #expect(throws: TrailFault(line: 30, problem: .torn)) { try verifier.finish() }
    }

    @Test func aLineOfAnyLengthTakesNoMoreThanALinesMemory() {
        var verifier = TrailVerifier(digest: testDigest)
        #expect(throws: TrailFault(line: 1, problem: .tooLong)) {
            for _ in 0..<10_000 { try verifier.take([UInt8](repeating: 0x61, count: 1_000)) }
        }
    }

    @Test func aSegmentCarriesThePastOfTheOneBefore() throws {
        var random = SeededGenerator(seed: 9)
        let first = sample(9)
        let end = try verify(first).position
        let entries = (0..<3).map { _ in (random.entry(), random.stamp()) }
        let second = trail(entries, after: end, startsSegment: true)
        #expect(String(decoding: second, as: UTF8.self).contains("seq=31 prev=\(end.head) chain="))
        #expect(try verify(second, after: end).position.sequence == 33)
        // Alone it says where it begins; after another past it is refused.
        #expect(try verify(second).position.sequence == 33)
        let other = ChainPosition(sequence: 30, head: .zero)
        #expect(throws: TrailFault(line: 1, problem: .past)) { try verify(second, after: other) }
        // Only a first line may name a past.
        #expect(throws: TrailFault(line: 31, problem: .past)) { try verify(first + second) }
        // A segment that names none follows nothing.
        #expect(throws: TrailFault(line: 1, problem: .past)) { try verify(first, after: end) }
    }

    /// A trail whose first lines were cut off does not begin where a trail begins.
    @Test func missingFirstLinesAreFound() {
        let all = lines(of: sample(4)).dropFirst().flatMap { Array($0) + [UInt8(ascii: "\n")] }
        #expect(throws: TrailFault(line: 1, problem: .sequence(expected: 1, found: 2))) { try verify(all) }
    }
}

/// What is looked at before anything is appended.
@Suite struct TailCheckTests {
    private func long() -> [UInt8] {
        var random = SeededGenerator(seed: 5)
        return trail((0..<600).map { _ in (random.entry(length: 60), random.stamp()) })
    }

    private func check(_ text: [UInt8]) -> TailCheck {
        let tail = text.suffix(TailCheck.window)
        return TailCheck(tail: Array(tail), isWhole: tail.count == text.count, digest: testDigest)
    }

    @Test func anEmptyFileIsABeginning() {
        #expect(check([]) == .empty)
    }

    @Test func aWholeTailGivesThePlaceToGoOn() throws {
        let text = long()
        #expect(text.count > TailCheck.window)
        let end = try verify(text).position
        #expect(check(text) == .whole(end))
        #expect(check(Array(lines(of: text).prefix(3).joined(separator: [10])) + [10]) != .empty)
    }

    @Test func aTornLineIsFoundInShortAndLongTrails() throws {
        let text = long()
        let short = lines(of: text).prefix(2).flatMap { Array($0) + [UInt8(ascii: "\n")] }
        for whole in [text, short, []] {
            let end = try verify(whole).position
            for torn in ["type=USER_CMD msg=au", "\u{0}\u{0}\u{0}"] {
                #expect(check(whole + Array(torn.utf8)) == .torn(after: end, bytes: torn.utf8.count))
            }
        }
    }

    @Test func aBrokenTailIsNotGoneOnWith() throws {
        let text = long()
        let end = try verify(text).position
        var changed = text
        changed[text.count - 5_000] ^= 1
        guard case .broken(_, let last) = check(changed) else {
            Issue.record("\(check(changed))")
            return
        }
        #expect(last == end)
        guard case .broken(_, nil) = check(Array(repeating: 0x78, count: 200_000) + [10]) else {
            Issue.record("not broken")
            return
        }
        guard case .broken = check(Array("hello\n".utf8)) else {
            Issue.record("not broken")
            return
        }
    }

    @Test func sessionsWithoutAnEndAreFound() throws {
        var random = SeededGenerator(seed: 6)
        var entries: [(Entry, Stamp)] = []
        var ids: [SessionID] = []
        for index in 0..<6 {
            let id = try #require(SessionID(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }))
            ids.append(id)
            let stamp = Stamp(milliseconds: moment, session: id, sender: alice)
            let long = ByteText(Array(repeating: 0x20, count: index == 5 ? 20_000 : 3))
            let command = Record.Command(
                origin: fromMainframe, account: "alice", commandLine: long, program: "/usr/bin/id", argumentCount: 1,
                sandbox: "strict")
            entries.append((.record(.command(command)), stamp))
            switch index {
            case 0, 3:
                let end = Record.End(
                    origin: fromMainframe, account: "alice", outcome: .status(0), bytesIn: 0, bytesOut: 0, bytesErr: 0,
                    milliseconds: 1, limit: nil, leftovers: nil)
                entries.append((.record(.end(end)), stamp))
            case 4:
                let refusal = Record.Login(
                    origin: fromMainframe, account: "alice", remoteUser: nil, refusal: .sandboxUnavailable, rule: nil,
                    revision: nil)
                entries.append((.record(.login(refusal)), stamp))
            default:
                break
            }
        }
        var open = OpenSessions()
        for line in lines(of: trail(entries)) { open.take(line) }
        // A refusal after a start is no end: one follows it.
        #expect(open.sessions.map(\.session) == [ids[1], ids[2], ids[4], ids[5]])
        #expect(open.isComplete(ids[0]) && open.session(ids[0]) == nil && open.session(ids[1]) == open.sessions.first)
        #expect(open.sessions.allSatisfy { $0.account == "alice" && $0.origin == fromMainframe && $0.sender == alice })
    }

    /// What is written down beside a trail says the same, and nothing where a byte of it is another.
    @Test func whatIsKeptOfOpenSessionsIsReadBackOrNotAtAll() throws {
        let id = try #require(SessionID(bytes: Array(repeating: 7, count: 16)))
        let stamp = Stamp(milliseconds: moment, session: id, sender: alice)
        let command = Record.Command(
            origin: fromMainframe, account: "alice", commandLine: ByteText(Array(repeating: 0x20, count: 20_000)),
            program: "/usr/bin/id", argumentCount: 1, sandbox: "strict")
        var open = OpenSessions()
        open.take(lines: trail([(.record(.command(command)), stamp)])[...])
        let ended = try #require(SessionID(bytes: Array(repeating: 8, count: 16)))
        let place = TrailPlace(segment: 12, offset: 4_567, position: ChainPosition(sequence: 99, head: .zero))
        let text = open.kept(at: place, ended: [ended], digest: testDigest)
        var found: TrailPlace?
        let read = try #require(OpenSessions(kept: text, place: &found, digest: testDigest))
        #expect(found == place)
        #expect(read.sessions == open.sessions && read.records(of: id) == open.records(of: id))
        #expect(read.isComplete(ended) && !read.isComplete(id))
        var random = SeededGenerator(seed: 8)
        for _ in 0..<300 {
            var changed = text
            changed[random.number(0...(text.count - 1))] ^= UInt8.random(in: 1...255, using: &random)
            #expect(OpenSessions(kept: changed, place: &found, digest: testDigest) == nil)
            let cut = Array(text.prefix(random.number(0...(text.count - 1))))
            #expect(OpenSessions(kept: cut, place: &found, digest: testDigest) == nil)
        }
    }
}
