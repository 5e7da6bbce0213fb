// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Messages
import TestSupport
import Testing
import TrailCrypto

@testable import AuditorService

/// The form of keys and notes: that of C2SP's signed-note and tlog-checkpoint, so that other tools read them.
@Suite struct NoteFormTests {
    /// The example of Go's package note, whose form C2SP's signed-note is.
    @Test func aKeyAndASignatureAreThoseOfGosNotePackage() throws {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        let key = try #require(CheckpointKey(text: Array(text.utf8), digest: sha256))
        #expect(key.name == "PeterNeumann")
        #expect(key.description == text)
        let note = """
            If you think cryptography is the answer to your problem,
            then you don't know what your problem is.

            """
        let signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        let bytes = Array(try #require(Data(base64Encoded: signature)))
        #expect(Array(bytes.prefix(4)) == key.id)
        #expect(isEd25519Signature(Array(bytes.dropFirst(4)), Array(note.utf8), key.bytes))
        #expect(!isEd25519Signature(Array(bytes.dropFirst(4)), Array((note + "x").utf8), key.bytes))
    }

    @Test(
        arguments: [
            "", "gate", "gate+c74f20a3", "gate+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW ",
            "PeterNeumann+c74f20a3+" + String(repeating: "A", count: 1_000),
        ])
    func whatIsNoKeyIsNotReadAsOne(_ text: String) {
        #expect(CheckpointKey(text: Array(text.utf8), digest: sha256) == nil)
    }

    /// A checkpoint of one record, signed by a key of a seed, that names another's.
    private static func sample(sequence: UInt64 = 4_711) throws -> (SignedCheckpoint, CheckpointSigner) {
        let seed = { (byte: UInt8) in Array(repeating: byte, count: 32) }
        let signer = try #require(CheckpointSigner(seed: seed(1), name: "gate.example/portcullis", digest: sha256))
        let next = try #require(CheckpointSigner(seed: seed(2), name: "gate.example/portcullis", digest: sha256))
        let head = try #require(ChainHead(digits: Array(repeating: UInt8(ascii: "a"), count: 64)))
        let checkpoint = Checkpoint(position: ChainPosition(sequence: sequence, head: head), next: next.key)
        let signature = try #require(signer.sign(checkpoint.text))
        return (SignedCheckpoint(checkpoint, signedBy: signer.key, signature: signature), signer)
    }

    @Test func aNoteHasOriginSizeRootAndTheNextKey() throws {
        let (signed, signer) = try Self.sample()
        let note = String(decoding: signed.note, as: UTF8.self)
        let lines = note.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 7)
        #expect(lines[0] == "gate.example/portcullis")
        #expect(lines[1] == "4711")
        #expect(Data(base64Encoded: String(lines[2])) == Data(repeating: 0xAA, count: 32))
        #expect(lines[3] == "next \(signed.checkpoint.next)")
        #expect(lines[4] == "")
        #expect(lines[5].hasPrefix("\u{2014} gate.example/portcullis "))
        #expect(lines[6] == "")
        #expect(SignedCheckpoint(note: signed.note, digest: sha256) == signed)
        #expect(signed.isSigned(by: signer.key, isEd25519Signature))
        #expect(!signed.isSigned(by: signed.checkpoint.next, isEd25519Signature))
    }

    /// Whatever byte of a note is changed, it is none, or not signed.
    @Test func anyChangedByteOfANoteShows() throws {
        let (signed, signer) = try Self.sample()
        var random = SeededGenerator(seed: 11)
        for place in signed.note.indices {
            var changed = signed.note
            changed[place] ^= UInt8.random(in: 1...255, using: &random)
            let read = SignedCheckpoint(note: changed, digest: sha256)
            #expect(read.map { $0.isSigned(by: signer.key, isEd25519Signature) } != true, "byte \(place)")
        }
    }

    /// Copies as logs have them.
    @Test func aCopyIsFoundInWhatALogMadeOfIt() throws {
        let (signed, _) = try Self.sample()
        let (later, _) = try Self.sample(sequence: 4_712)
        let note = String(decoding: signed.note, as: UTF8.self)
        let copies = [
            note, "Nov 22 02:33:11 gate portcullis-auditor[9]: checkpoint\n" + note,
            "<86>Nov 22 02:33:11 portcullis-auditor[9]: checkpoint#012"
                + note.dropLast().replacingOccurrences(of: "\n", with: "#012"),
            note.replacingOccurrences(of: "\n", with: "\n      "), note.replacingOccurrences(of: "\n", with: " "),
            "next next next next " + note,
        ]
        for copy in copies {
            #expect(SignedCheckpoint.all(inCopy: Array(copy.utf8), digest: sha256) == [signed], "\(copy)")
            let both = Array((copy + "\n").utf8) + later.note
            #expect(SignedCheckpoint.all(inCopy: both, digest: sha256) == [signed, later])
        }
        for none in ["", "next", "a b c next d e f g", String(note.dropLast(20))] {
            #expect(SignedCheckpoint.all(inCopy: Array(none.utf8), digest: sha256).isEmpty)
        }
    }

    @Test func theEndOfAFileIsFoundFromAnyPlace() throws {
        var text: [UInt8] = []
        var all: [SignedCheckpoint] = []
        for sequence in UInt64(1)...40 {
            let (signed, _) = try Self.sample(sequence: sequence * 977)
            all.append(signed)
            text += CheckpointFile.text(of: signed)
        }
        for cut in 0..<400 {
            let tail = CheckpointFile.Tail(Array(text.suffix(3_000 + cut)), isWhole: false, digest: sha256)
            #expect(tail.last == all.last && tail.before == all.dropLast().last && tail.torn == 0 && tail.isWhole)
        }
        let whole = CheckpointFile.text(of: all[0])
        for count in 1..<whole.count {
            let tail = CheckpointFile.Tail(whole + whole.prefix(count), isWhole: true, digest: sha256)
            #expect(tail.last == all[0] && tail.torn == count && tail.isWhole)
        }
    }

    @Test(arguments: [("gate.example.org", "gate.example.org"), ("a b+c\n", "a_b_c_"), ("", "localhost")])
    func anOriginIsTheHostsName(_ host: String, _ origin: String) {
        #expect(CheckpointBook.origin(host) == origin + "/portcullis")
        #expect(CheckpointKey.isName(CheckpointBook.origin(host).utf8))
    }
}

/// When checkpoints are made, with which keys, and what is left of those.
@Suite struct CheckpointTests {
    private func record(_ gateway: Gateway, _ byte: UInt8) throws {
        #expect(try gateway.session(byte).record(refused(.noRule, from: "10.0.0.\(byte)")) == [.durable(number: 1)])
    }

    @Test func oneIsMadeInEachIntervalWithNewRecords() throws {
        let gateway = try Gateway()
        #expect(try gateway.checkpoints.isEmpty)
        try gateway.turn(after: 120_000)
        #expect(try gateway.checkpoints.isEmpty, "there is nothing to cover")
        try record(gateway, 1)
        try gateway.turn(after: 1)
        try record(gateway, 2)
        try gateway.turn(after: 59_000)
        #expect(try gateway.checkpoints.map(\.checkpoint.position.sequence) == [1])
        try gateway.turn(after: 1_500)
        #expect(try gateway.checkpoints.map(\.checkpoint.position.sequence) == [1, 2])
        try gateway.turn(after: 600_000)
        #expect(try gateway.checkpoints.count == 2)
        #expect(gateway.checkpointReports.contains(.checkpoint(sequence: 2)))
        #expect(try gateway.verifyAll().marksPassed == 2)
        try record(gateway, 3)
        try gateway.order(.stop)
        try gateway.turn()
        #expect(try gateway.checkpoints.map(\.checkpoint.position.sequence) == [1, 2, 3], "and at the end")
    }

    @Test func whatIsCoveredIsOnDisk() throws {
        var settings = AuditSettings()
        settings.durability = .batch
        settings.checkpoint = 100
        let gateway = try Gateway(settings: settings)
        try record(gateway, 1)
        try gateway.turn(after: 100)
        #expect(try gateway.checkpoints.count == 1)
    }

    @Test func keysAreTheAuditorsAloneAndTheFirstOneIsKept() throws {
        let gateway = try Gateway()
        let first = try gateway.firstKey
        #expect(first.name == "gate.example/portcullis")
        for number in UInt8(1)...5 {
            try record(gateway, number)
            try gateway.turn(after: 60_000)
        }
        #expect(try gateway.firstKey == first)
        for name in ["checkpoints", "checkpoints.key", "checkpoints.vkey", "trail.log"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: gateway.directory.path + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
        try gateway.restart()
        try record(gateway, 6)
        try gateway.turn(after: 60_000)
        #expect(try gateway.checkpoints.count == 6)
        #expect(try gateway.verifyAll().records == 6)
    }

    /// Who signs next is who the last one named; no file holds a key that has signed.
    private func expectNoOldKey(_ gateway: Gateway, _ seeds: [[UInt8]]) throws {
        let last = try #require(try gateway.checkpoints.last)
        let secret = try #require(gateway.file("checkpoints.key"))
        let signer = try #require(
            CheckpointSigner(seed: secret, name: last.checkpoint.origin, digest: sha256))
        #expect(signer.key == last.checkpoint.next)
        for name in try gateway.names {
            let bytes = try #require(gateway.file(name))
            for seed in seeds where seed != secret {
                #expect(Data(bytes).range(of: Data(seed)) == nil, "\(name) holds a key that has signed")
            }
        }
    }

    @Test func aKeySignsOnceAndIsErased() throws {
        let gateway = try Gateway()
        var seeds: [[UInt8]] = []
        for number in UInt8(1)...6 {
            seeds.append(try #require(gateway.file("checkpoints.key")))
            // The name will be another file's.
            let held = try File.open(gateway.directory.path + "/checkpoints.key", [.reading])
            try record(gateway, number)
            try gateway.turn(after: 60_000)
            #expect(try File.read(held, at: 0, limit: 64) == Array(repeating: 0, count: 32), "it is overwritten")
            try expectNoOldKey(gateway, seeds)
        }
        #expect(Set(seeds).count == 6)
    }

    /// A crash before each step: the trail goes on, every checkpoint fits, and no key is left that has signed.
    @Test(arguments: CheckpointBook.Step.allCases, [UInt8(1), 3])
    func aCrashAtAnyStepLosesNothingAndLeavesNoOldKey(_ step: CheckpointBook.Step, before: UInt8) throws {
        let gateway = try Gateway()
        var seeds: [[UInt8]] = []
        for number in 1..<before {
            seeds.append(try #require(gateway.file("checkpoints.key")))
            try record(gateway, number)
            try gateway.turn(after: 60_000)
        }
        seeds.append(try #require(gateway.file("checkpoints.key")))
        try record(gateway, 100)
        var reached = 0
        gateway.auditor.trail.checkpoints.step = { (now) throws(SystemError) in
            guard now == step else { return }
            reached += 1
            throw SystemError(5, "crash")
        }
        try gateway.turn(after: 60_000)
        #expect(reached == 1)
        let isMade = [.erasure, .erasureOnDisk, .rename, .renameOnDisk].contains(step)
        #expect(try gateway.checkpoints.count == Int(before) - (isMade ? 0 : 1))
        try gateway.restart()
        try gateway.turn()
        // The key that signed is gone at the next start, before anything is signed.
        if isMade { try expectNoOldKey(gateway, seeds) }
        #expect(!(try gateway.names.contains("checkpoints.key.next")))
        try record(gateway, 101)
        try gateway.turn(after: 60_000)
        #expect(try gateway.checkpoints.last?.checkpoint.position.sequence == UInt64(before) + 1)
        try expectNoOldKey(gateway, seeds)
        #expect(try gateway.verifyAll().records == Int(before) + 1)
        #expect(!(try gateway.entries.contains { if case .note = $0 { true } else { false } }), "nothing to say of it")
    }

    /// A disk that fails at each step, and is back: the auditor makes the checkpoint by itself then.
    @Test(arguments: CheckpointBook.Step.allCases)
    func aFailureAtAnyStepIsMadeUpFor(_ step: CheckpointBook.Step) throws {
        let gateway = try Gateway()
        try record(gateway, 1)
        var seeds = [try #require(gateway.file("checkpoints.key"))]
        var failures = 3
        gateway.auditor.trail.checkpoints.step = { (now) throws(SystemError) in
            guard now == step, failures > 0 else { return }
            failures -= 1
            throw SystemError(28, "full")
        }
        try gateway.turn(after: 60_000)
        for _ in 0..<5 {
            try record(gateway, 2)
            try gateway.turn(after: 1_000)
            if let secret = gateway.file("checkpoints.key") { seeds.append(secret) }
        }
        try gateway.turn(after: 60_000)
        #expect(failures == 0)
        #expect(gateway.auditor.trail.checkpoints.failure == nil)
        try expectNoOldKey(gateway, [seeds[0]])
        try gateway.verifyAll()
    }

    private func change(_ gateway: Gateway, _ name: String, _ change: (inout [UInt8]) -> Void) throws {
        var bytes = gateway.file(name) ?? []
        change(&bytes)
        let path = gateway.directory.path + "/" + name
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    }

    private func subjects(_ gateway: Gateway) throws -> [Entry.Subject] {
        try gateway.entries.compactMap { if case .note(let note) = $0 { note.subject } else { nil } }
    }

    private func filled() throws -> Gateway {
        let gateway = try Gateway()
        for number in UInt8(1)...6 {
            try record(gateway, number)
            if number % 2 == 0 { try gateway.turn(after: 60_000) }
        }
        #expect(try gateway.checkpoints.count == 3)
        return gateway
    }

    @Test(arguments: 0...5)
    func aTrailThatIsShorterThanItsLastCheckpointIsReported(_ left: Int) throws {
        let gateway = try filled()
        let end = try gateway.checkpoints.last?.checkpoint.position
        try change(gateway, "trail.log") { bytes in
            bytes = bytes.split(separator: 10).prefix(left).flatMap { $0 + [10] }
        }
        try gateway.restart()
        try gateway.turn()
        #expect(try subjects(gateway) == [.shortTrail])
        guard case .ready(_, let notices)? = gateway.reports.first else {
            Issue.record("\(gateway.reports)")
            return
        }
        #expect(notices.count == 1 && notices[0].contains("ends with record \(left), but the last checkpoint covers 6"))
        // No number is given twice: what comes next follows what the checkpoint covers.
        let line = try #require(try gateway.lines.first)
        #expect(line.sequence == 7 && line.previous == end?.head)
        // The hole shows for ever, and closes when what is missing is put back.
        if left > 0 {
            let fault = #expect(throws: TrailFault.self) { try gateway.verifyAll() }
            #expect(fault?.problem == .past)
        }
        try gateway.restart()
        try gateway.turn()
        #expect(try gateway.lines.count == 1, "it is said once")
    }

    @Test func whatWasCutBehindTheLastCheckpointIsNotSeen() throws {
        let gateway = try filled()
        try record(gateway, 7)
        try change(gateway, "trail.log") { bytes in
            bytes = bytes.split(separator: 10).prefix(6).flatMap { $0 + [10] }
        }
        try gateway.restart()
        try gateway.turn()
        #expect(try subjects(gateway).isEmpty, "no checkpoint tells of the seventh")
    }

    @Test func aTrailThatWasWrittenAnewIsReported() throws {
        let gateway = try filled()
        try change(gateway, "trail.log") { bytes in
            bytes = []
            var chain = Chain(after: .start, digest: sha256)
            for number in UInt64(0)..<9 {
                let stamp = Stamp(milliseconds: number, session: nil, sender: gateway.sender)
                chain.append(.note(Entry.Note(subject: .tornLine, detail: "forged")), stamp, to: &bytes)
            }
        }
        try gateway.restart()
        try gateway.turn()
        #expect(try subjects(gateway).last == .brokenCheckpoints)
        let fault = #expect(throws: TrailFault.self) { try gateway.verifyAll() }
        #expect(fault?.problem == .checkpoint(number: 1, since: 1))
        #expect(fault?.line == 2)
    }

    /// What is wanted after a loss: it is on the trail, the first checkpoint of the new run covers that record and names
    /// its own key, the run goes on over a start, and the log and the trail have the key that is to be kept elsewhere.
    private func expectNewRun(_ gateway: Gateway, number: Int, after covered: UInt64, of runs: Int) throws {
        for _ in 0..<3 { try gateway.turn(after: 60_000) }
        try record(gateway, 50)
        try gateway.turn(after: 60_000)
        #expect(try subjects(gateway) == [.brokenCheckpoints], "it is said once")
        let (notes, found) = try gateway.checkedCheckpoints()
        #expect(found.count == runs && found.last?.isNew == true && found.last?.first == number, "\(found)")
        let first = try #require(notes.dropFirst(number - 1).first)
        #expect(first.checkpoint.first == found.last?.key && found.last?.key != nil)
        #expect(notes.count > number && notes.last?.checkpoint.first == nil, "it is said by the first alone")
        let loss = try #require(try gateway.lines.last { $0["op"] == "checkpoints-broken" })
        #expect(loss.sequence > covered && loss.sequence <= first.checkpoint.position.sequence)
        #expect(loss["errors"]?.printable.contains(try #require(found.last?.key).description) == true)
        try gateway.verifyAll()
        try gateway.restart()
        try gateway.turn()
        try record(gateway, 51)
        try gateway.turn(after: 60_000)
        #expect(try gateway.checkedCheckpoints().runs.count == runs, "the next start goes on with it")
        #expect(try subjects(gateway) == [.brokenCheckpoints])
        try gateway.verifyAll()
    }

    @Test(arguments: ["", "zeros", "another"])
    func aLostKeyBeginsANewRunOfKeys(_ key: String) throws {
        let gateway = try filled()
        switch key {
        case "": try FileManager.default.removeItem(atPath: gateway.directory.path + "/checkpoints.key")
        case "zeros": try change(gateway, "checkpoints.key") { $0 = Array(repeating: 0, count: 32) }
        default: try change(gateway, "checkpoints.key") { $0 = Array(repeating: 7, count: 32) }
        }
        try gateway.restart()
        try expectNewRun(gateway, number: 4, after: 6, of: 2)
    }

    @Test func lostCheckpointsBeginANewRunOfKeys() throws {
        let gateway = try filled()
        try FileManager.default.removeItem(atPath: gateway.directory.path + "/checkpoints")
        try gateway.restart()
        try expectNewRun(gateway, number: 1, after: 6, of: 1)
    }

    @Test func aLastCheckpointThatWasChangedBeginsANewRunOfKeys() throws {
        let changed = try filled()
        try change(changed, "checkpoints") { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            bytes = Array(text.replacingOccurrences(of: "\n6\n", with: "\n5\n").utf8)
        }
        try changed.restart()
        for _ in 0..<2 { try changed.turn(after: 60_000) }
        #expect(try subjects(changed) == [.brokenCheckpoints, .brokenCheckpoints], "what is wrong, and what follows")
        var verifier = CheckpointVerifier(from: try changed.firstKey, digest: sha256, check: isEd25519Signature)
        var cutter = NoteCutter()
        var faults: [CheckpointFault] = []
        for byte in try #require(changed.file("checkpoints")) {
            guard let note = cutter.take(byte) else { continue }
            do throws(CheckpointFault) {
                _ = try verifier.take(note)
            } catch {
                faults.append(error)
            }
        }
        #expect(faults == [CheckpointFault(number: 3, problem: .signature)])
        #expect(verifier.runs.map(\.first) == [1, 4] && verifier.runs.map(\.isNew) == [false, true])
        // The next start does not begin another one.
        try changed.restart()
        try changed.turn(after: 60_000)
        #expect(try subjects(changed).count == 2)
    }

    /// Somebody takes the file away, or puts another in its place, while the auditor has it open.
    @Test(arguments: ["removed", "moved", "emptied", "cut", "copied", "older", "foreign"])
    func aFileThatIsTakenAwayWhileItIsOpenIsNoticed(_ what: String) throws {
        let gateway = try filled()
        let path = gateway.directory.path + "/checkpoints"
        let text = try #require(gateway.file("checkpoints"))
        let older = try gateway.checkpoints.dropLast().flatMap(CheckpointFile.text)
        let replace = { (bytes: [UInt8]) throws in
            try FileManager.default.removeItem(atPath: path)
            try self.change(gateway, "checkpoints") { $0 = bytes }
        }
        switch what {
        case "removed": try FileManager.default.removeItem(atPath: path)
        case "moved": try FileManager.default.moveItem(atPath: path, toPath: path + ".old")
        case "emptied": try FileHandle(forWritingTo: URL(fileURLWithPath: path)).truncate(atOffset: 0)
        case "cut":
            try FileHandle(forWritingTo: URL(fileURLWithPath: path)).truncate(atOffset: UInt64(text.count - 90))
        case "copied": try replace(text)
        case "older": try replace(older)
        default: try replace(Array("what is this\n".utf8))
        }
        // Noticed before anything is to be signed.
        try gateway.turn(after: 1_100)
        try gateway.turn()
        #expect(try subjects(gateway).first == .brokenCheckpoints)
        #expect(
            try #require(try gateway.lines.last { $0["op"] == "checkpoints-broken" }).sequence == 7 || what != "copied")
        try record(gateway, 60)
        try gateway.turn(after: 60_000)
        try record(gateway, 61)
        try gateway.turn(after: 60_000)
        #expect(gateway.auditor.trail.checkpoints.failure == nil)
        let now = try #require(gateway.file("checkpoints"))
        let last = CheckpointFile.Tail(now, isWhole: now.count <= CheckpointFile.window, digest: sha256).last
        #expect(last?.checkpoint.position.sequence == gateway.auditor.trail.sequence, "it is in the file of that name")
        let (notes, runs) = try gateway.checkedCheckpoints()
        if what == "copied" {
            #expect(now.starts(with: text) && runs.count == 1 && runs[0].isNew == false)
        } else {
            #expect(runs.last?.isNew == true && notes.contains { $0.checkpoint.first != nil })
        }
        try gateway.verifyAll()
        let before = try subjects(gateway).count
        try gateway.restart()
        try gateway.turn(after: 60_000)
        #expect(try subjects(gateway).count == before, "nothing is left to say")
    }

    /// Every place at which an auditor can die while it makes a checkpoint: another one starts from what is there then.
    @Test(arguments: [true, false])
    func aStartFromAnyMomentOfACheckpointIsWholeAndSigns(_ isFirst: Bool) throws {
        let gateway = try Gateway()
        if !isFirst {
            try record(gateway, 1)
            try gateway.turn(after: 60_000)
        }
        var moments: [(step: CheckpointBook.Step, directory: TemporaryDirectory)] = []
        gateway.auditor.trail.checkpoints.step = { (now) throws(SystemError) in
            do {
                let copy = try TemporaryDirectory()
                try FileManager.default.removeItem(atPath: copy.path)
                try FileManager.default.copyItem(atPath: gateway.directory.path, toPath: copy.path)
                moments.append((now, copy))
            } catch {
                Issue.record(error)
            }
        }
        try record(gateway, 2)
        try gateway.turn(after: 60_000)
        #expect(Set(moments.map(\.step)) == Set(CheckpointBook.Step.allCases))
        for (step, directory) in moments {
            let next = try Gateway(in: directory)
            try record(next, 3)
            try next.turn(after: 60_000)
            try record(next, 4)
            try next.turn(after: 60_000)
            let (notes, runs) = try next.checkedCheckpoints()
            #expect(runs.count == 1 && runs[0].isNew == false, "\(step): \(runs)")
            #expect(notes.last?.checkpoint.position.sequence == next.auditor.trail.sequence, "\(step)")
            #expect(Set(notes.map(\.keyID)).count == notes.count, "\(step): a key signed twice")
            #expect(try subjects(next).isEmpty, "\(step): there is nothing to say")
            #expect(!(try next.names.contains("checkpoints.key.next")), "\(step)")
            try next.verifyAll()
        }
    }

    /// A key that has signed is erased as soon as the disk lets it, whether there is something new to sign or not.
    @Test(arguments: [CheckpointBook.Step.erasure, .erasureOnDisk, .rename, .renameOnDisk])
    func aKeyThatCouldNotBeErasedIsErasedWithoutANewRecord(_ step: CheckpointBook.Step) throws {
        let gateway = try Gateway()
        try record(gateway, 1)
        let seed = try #require(gateway.file("checkpoints.key"))
        var failures = 2
        gateway.auditor.trail.checkpoints.step = { (now) throws(SystemError) in
            guard now == step, failures > 0 else { return }
            failures -= 1
            throw SystemError(5, "fault")
        }
        try gateway.turn(after: 60_000)
        #expect(gateway.auditor.trail.checkpoints.failure != nil)
        for _ in 0..<3 { try gateway.turn(after: 1_000) }
        #expect(failures == 0 && gateway.auditor.trail.checkpoints.failure == nil)
        try expectNoOldKey(gateway, [seed])
        #expect(!(try gateway.names.contains("checkpoints.key.next")))
    }

    @Test(arguments: [1, 40, 120, 300])
    func aTornCheckpointIsSetAsideAndMadeAgain(_ torn: Int) throws {
        let gateway = try filled()
        let text = try #require(gateway.file("checkpoints"))
        let note = CheckpointFile.text(of: try #require(try gateway.checkpoints.last))
        try change(gateway, "checkpoints") { $0 += note.prefix(min(torn, note.count - 1)) }
        try gateway.restart()
        try gateway.turn()
        #expect(gateway.file("checkpoints") == text)
        let aside = try #require(try gateway.names.first { $0.hasPrefix("checkpoints.torn-") })
        #expect(gateway.file(aside) == Array(note.prefix(min(torn, note.count - 1))))
        try gateway.turn(after: 60_000)
        #expect(try subjects(gateway) == [.brokenCheckpoints])
        try gateway.turn(after: 60_000)
        try gateway.verifyAll()
    }

    /// What stands where the files belong is not followed, and the trail goes on or refuses, and says so.
    @Test func aLinkInTheKeysPlaceIsNotFollowed() throws {
        let gateway = try filled()
        let elsewhere = try TemporaryDirectory()
        let path = elsewhere.path + "/victim"
        try Data("keep".utf8).write(to: URL(fileURLWithPath: path))
        for name in ["checkpoints.key.next", "checkpoints.key"] {
            let link = gateway.directory.path + "/" + name
            try? FileManager.default.removeItem(atPath: link)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        }
        try record(gateway, 9)
        try gateway.turn(after: 60_000)
        #expect(gateway.auditor.trail.checkpoints.failure != nil)
        #expect(FileManager.default.contents(atPath: path) == Data("keep".utf8))
        for name in ["checkpoints.key.next", "checkpoints.key"] {
            try FileManager.default.removeItem(atPath: gateway.directory.path + "/" + name)
        }
        try record(gateway, 10)
        try gateway.turn(after: 2_000)
        #expect(gateway.auditor.trail.checkpoints.failure == nil)
        try gateway.verifyAll()
    }
}

/// Copies to syslog.
@Suite struct SystemLogTests {
    /// A syslog at a path, and a socket that is connected to it.
    private final class Log {
        let path: String
        let listener: FileHandle
        let directory: TemporaryDirectory

        init() throws {
            directory = try TemporaryDirectory()
            path = directory.path + "/log"
            let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
            let result = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(result == 0)
            listener = FileHandle(fileDescriptor: number, closeOnDealloc: true)
        }

        func messages() -> [String] {
            var found: [String] = []
            var buffer = [UInt8](repeating: 0, count: 8_192)
            while true {
                let count = unsafe recv(listener.fileDescriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                guard count > 0 else { return found }
                found.append(String(decoding: buffer.prefix(count), as: UTF8.self))
            }
        }
    }

    @Test func eachCheckpointGoesToSyslog() throws {
        let gateway = try Gateway()
        let log = try Log()
        try gateway.order(.systemLog, [try LocalSocket.connectDatagram(log.path)])
        try gateway.session(1).record(refused(.noRule))
        try gateway.turn(after: 60_000)
        let signed = try #require(try gateway.checkpoints.last)
        let messages = log.messages()
        #expect(messages.count == 1)
        let message = try #require(messages.first)
        #expect(message.hasPrefix("<86>"))
        #expect(message.contains(" portcullis-auditor["))
        #expect(SignedCheckpoint.all(inCopy: Array(message.utf8), digest: sha256) == [signed])
        #expect(message.hasSuffix(String(decoding: signed.note.dropLast(), as: UTF8.self)), "the note as it is")
    }

    @Test func aSyslogThatIsStartedAgainGetsTheLastOne() throws {
        let gateway = try Gateway()
        var log: Log? = try Log()
        try gateway.order(.systemLog, [try LocalSocket.connectDatagram(try #require(log).path)])
        try gateway.turn()
        log = nil
        try gateway.session(1).record(refused(.noRule))
        try gateway.turn(after: 60_000)
        #expect(gateway.checkpointReports == [.checkpoint(sequence: 1), .needsSystemLog])
        // There is none: nothing is refused for it.
        try gateway.order(.systemLog)
        #expect(try gateway.session(2).record(permitted) == [.durable(number: 1)])
        try gateway.turn(after: 60_000)
        #expect(gateway.checkpointReports.count == 4)
        let other = try Log()
        try gateway.order(.systemLog, [try LocalSocket.connectDatagram(other.path)])
        try gateway.turn()
        let message = try #require(other.messages().first)
        #expect(
            SignedCheckpoint.all(inCopy: Array(message.utf8), digest: sha256).last?.checkpoint.position.sequence == 2)
    }
}
