// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Crypto
import Foundation
import TestSupport
import Testing
import TrailCrypto

/// A trail in segments with checkpoints, made here with keys of its own: what the auditor leaves behind.
private struct CheckedTrail {
    static let origin = "gate.example/portcullis"
    static let digest: Audit.Digest = { Array(SHA256.hash(data: $0)) }

    let state: TemporaryDirectory
    var directory: String { state.path + "/audit" }

    /// The records' lines, a list for each segment.
    private(set) var segments: [[[UInt8]]] = []
    private(set) var notes: [SignedCheckpoint] = []
    let firstKey: CheckpointKey

    /// The private key of a number.
    static func secret(_ number: Int, trail: UInt8 = 0) throws -> Curve25519.Signing.PrivateKey {
        let seed = Array(SHA256.hash(data: [trail] + Array("key \(number)".utf8)))
        return try Curve25519.Signing.PrivateKey(rawRepresentation: seed)
    }

    static func key(_ number: Int, trail: UInt8 = 0) throws -> CheckpointKey {
        let bytes = Array(try secret(number, trail: trail).publicKey.rawRepresentation)
        return try #require(CheckpointKey(name: origin, bytes: bytes, digest: digest))
    }

    /// - Parameters:
    ///   - sizes: the records of each segment; the last one is the one that grows.
    ///   - covered: after which records a checkpoint is made.
    ///   - number: tells one trail from another.
    ///   - lost: which checkpoints, from 1, are signed by a new key, because the one that belongs there was lost.
    init(
        sizes: [Int] = [8, 6, 7], covered: [UInt64] = [3, 8, 11, 14, 19], trail number: UInt8 = 0,
        lost: Set<Int> = []
    ) throws {
        state = try TemporaryDirectory()
        firstKey = try Self.key(0, trail: number)
        var chain = Chain(after: .start, digest: Self.digest)
        let sender = Sender(pid: 100, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")
        for size in sizes {
            var lines: [[UInt8]] = []
            for _ in 0..<size {
                var line: [UInt8] = []
                let count = chain.position.sequence + 1
                chain.append(
                    .record(.serviceStart(unit: "unit-\(number)-\(count)")),
                    Stamp(milliseconds: 1_795_212_781_000 + count, session: nil, sender: sender), to: &line)
                lines.append(line)
                if covered.contains(count) { try sign(chain.position, trail: number, lost) }
            }
            segments.append(lines)
            chain.startSegment()
        }
        try write()
    }

    private mutating func sign(_ position: ChainPosition, trail number: UInt8, _ lost: Set<Int>) throws {
        let isNew = lost.contains(notes.count + 1)
        let signer = isNew ? Self.newKey(notes.count + 1) : notes.count
        let key = try Self.key(signer, trail: number)
        let checkpoint = Checkpoint(
            position: position, next: try Self.key(notes.count + 1, trail: number), first: isNew ? key : nil)
        let signature = Array(try Self.secret(signer, trail: number).signature(for: checkpoint.text))
        notes.append(SignedCheckpoint(checkpoint, signedBy: key, signature: signature))
    }

    /// The number of the key that signs a checkpoint, from 1, with which a run of keys begins.
    static func newKey(_ checkpoint: Int) -> Int { 1_000 + checkpoint }

    var names: [String] {
        var first = UInt64(1)
        return segments.indices.map { index in
            defer { first += UInt64(segments[index].count) }
            return index == segments.count - 1 ? "trail.log" : TrailSegment(closedFrom: first).name
        }
    }

    /// Writes the files, with lines in the place of the segments' own.
    func write(_ lines: [[[UInt8]]]? = nil) throws {
        for (name, lines) in zip(names, lines ?? segments) {
            try state.write(lines.flatMap(\.self), to: "audit/" + name)
        }
        try state.write(notes.flatMap(CheckpointFile.text), to: "audit/checkpoints")
        try state.write(Array("\(firstKey)\n".utf8), to: "audit/checkpoints.vkey")
    }

    func verify(_ arguments: String...) throws -> CommandRun.Result {
        try CommandRun(["audit", "verify", "--state-directory", state.path] + arguments).result()
    }

    func json(_ arguments: String...) throws -> [String: Any] {
        let run = try CommandRun(["audit", "verify", "--json", "--state-directory", state.path] + arguments).result()
        return try #require(try run.json as? [String: Any])
    }
}

/// `portcullis audit verify` over segments and checkpoints.
@Suite struct CheckedTrailTests {
    @Test func aWholeTrailIsCountedAndWhatIsNotCoveredIsSaid() throws {
        let trail = try CheckedTrail()
        let run = try trail.verify()
        #expect(run.status == 0, "\(run)")
        #expect(
            run.output
                == """
                checked 21 records in 3 segments, 5 checkpoints: whole
                the last 2 records are not covered by a checkpoint yet: the oldest is of 2026-11-20 22:13:01

                """)
        let json = try trail.json("--checkpoints")
        #expect(json["records"] as? Int == 21 && json["segments"] as? Int == 3 && json["first"] as? Int == 1)
        #expect(json["checkpoints"] as? Int == 5 && json["covered"] as? Int == 19 && json["uncovered"] as? Int == 2)
        #expect(json["uncoveredSince"] as? String == "2026-11-20T22:13:01.020Z")
        let whole = try CheckedTrail(sizes: [3], covered: [3]).json()
        #expect(whole["uncovered"] as? Int == 0 && whole["uncoveredSince"] is NSNull)
        #expect(json["firstKey"] as? String == trail.firstKey.description)
        #expect(json["nextKey"] as? String == trail.notes.last?.checkpoint.next.description)
        let list = try #require(json["list"] as? [[String: Any]])
        #expect(list.compactMap { $0["last"] as? Int } == [3, 8, 11, 14, 19])
        let listed = try trail.verify("--checkpoints")
        #expect(listed.output.hasPrefix("checkpoint 1: records 1 to 3, signed by key "))
        // Everything is covered: nothing is said of it.
        #expect(
            try CheckedTrail(sizes: [3], covered: [3]).verify().output
                == "checked 3 records in 1 segment, 1 checkpoint: whole\n")
        #expect(
            try CheckedTrail(sizes: [3], covered: [2]).verify().output.hasSuffix(
                "the last record is not covered by a checkpoint yet: it is of 2026-11-20 22:13:01\n"))
        // A copy of the directory is a trail, too; and a segment alone is checked alone.
        let copy = try CommandRun(["audit", "verify", trail.directory]).result()
        #expect(copy.output == run.output)
        let alone = try CommandRun(["audit", "verify", trail.directory + "/" + trail.names[1]]).result()
        #expect(
            alone.output
                == "checked 6 records in 1 segment: whole\nit begins with record 9: those before are not here\n")
    }

    /// Segments are opened one after the other: years of them need no more descriptors than two.
    @Test func aTrailOfMoreSegmentsThanDescriptorsIsChecked() throws {
        let trail = try CheckedTrail(sizes: Array(repeating: 1, count: 100), covered: [100])
        let run = try CommandRun(
            ["-c", "ulimit -n 32; exec \"$0\" audit verify \"$1\"", CommandRun.program().path, trail.directory],
            program: "/bin/sh"
        ).result()
        #expect(run.output == "checked 100 records in 100 segments, 1 checkpoint: whole\n", "\(run)")
    }

    @Test func segmentsThatWereArchivedAreSaidToBeMissing() throws {
        let trail = try CheckedTrail()
        try FileManager.default.removeItem(atPath: trail.directory + "/" + trail.names[0])
        let run = try trail.verify()
        #expect(run.status == 0, "\(run)")
        #expect(run.output.hasPrefix("checked 13 records in 2 segments, 5 checkpoints: whole\n"))
        #expect(run.output.contains("it begins with record 9: those before are not here\n"))
        // One from the middle is no archive.
        let hole = try CheckedTrail()
        try FileManager.default.removeItem(atPath: hole.directory + "/" + hole.names[1])
        let found = try hole.verify()
        #expect(found.status == 1)
        #expect(found.output.hasPrefix("\(hole.directory)/trail.log:1: not whole: the segment does not continue"))
    }

    @Test func aTrailThatIsShorterThanItsLastCheckpointIsNotWhole() throws {
        let trail = try CheckedTrail()
        var lines = trail.segments
        lines[2].removeLast(3)
        try trail.write(lines)
        let run = try trail.verify()
        #expect(run.status == 1)
        #expect(
            run.output.hasPrefix(
                "\(trail.directory)/trail.log:5: not whole: the trail ends here, but a checkpoint covers 19 records\n"))
        // Behind the last checkpoint nobody can tell, but for a checkpoint that was kept elsewhere.
        lines[2] = Array(trail.segments[2].dropLast(2))
        try trail.write(lines)
        #expect(try trail.verify().status == 0)
    }

    /// Somebody writes the whole trail anew, with keys of theirs: it is whole in itself, and what was kept elsewhere shows it.
    @Test func aForgedTrailFitsNothingThatWasKeptElsewhere() throws {
        let trail = try CheckedTrail()
        let forged = try CheckedTrail(trail: 1)
        #expect(try forged.verify().status == 0)
        let kept = try #require(trail.notes.dropLast().last)
        try forged.state.write(kept.note, to: "kept")
        try forged.state.write(Array("# of the gate\n\(trail.firstKey)\n".utf8), to: "key")
        for arguments in [
            ["--key", trail.firstKey.description], ["--key", forged.state.path + "/key"],
            ["--checkpoint", forged.state.path + "/kept"],
        ] {
            let run = try CommandRun(["audit", "verify", forged.directory] + arguments).result()
            #expect(run.status == 1, "\(run)")
        }
        // With the true ones all fit, and any later key that has signed is as good as the first one.
        try trail.state.write(kept.note, to: "kept")
        let log =
            "Nov 22 02:33:11 gate portcullis-auditor[9]: checkpoint#012"
            + String(decoding: kept.note, as: UTF8.self).replacingOccurrences(of: "\n", with: "#012")
        try trail.state.write(Array(log.utf8), to: "log")
        for key in 0..<5 {
            let run = try trail.verify(
                "--key", CheckedTrail.key(key).description, "--checkpoint", trail.state.path + "/kept",
                "--checkpoint", trail.state.path + "/log")
            #expect(run.status == 0, "\(run)")
        }
        // The next one has not signed yet: whoever wrote the file can name any.
        let next = try trail.verify("--key", CheckedTrail.key(5).description)
        #expect(next.status == 1)
        #expect(next.output.contains("not whole: no checkpoint here is signed by the key that was kept"))
    }

    /// Everybody can write to a log: an old note that is logged again hides no newer one, and a stranger's says nothing.
    @Test func everyCheckpointInALogCounts() throws {
        let trail = try CheckedTrail()
        let notes = trail.notes.map(\.note)
        let strangers = try CheckedTrail(trail: 1).notes[2].note
        try trail.state.write(notes.joined() + notes[1] + strangers, to: "log")
        let log = ["--checkpoint", trail.state.path + "/log"]
        let known = ["--key", trail.firstKey.description]
        let whole = try CommandRun(["audit", "verify", trail.directory] + log + known).result()
        #expect(whole.status == 0, "\(whole)")
        #expect((whole.output + whole.error).contains("log: 1 of its 7 checkpoints are not this trail's"), "\(whole)")
        // Which of the two is the true one only a key that was kept elsewhere can say: those here may have been replaced.
        let unsure = try CommandRun(["audit", "verify", trail.directory] + log).result()
        #expect(unsure.status == 1 && unsure.output.contains("not whole: "), "\(unsure)")
        #expect(unsure.output.contains("1 of its 7 checkpoints have this trail's name and none of the keys here"))
        // The end is cut off, and the notes of it beside the trail with it.
        var lines = trail.segments
        lines[1] = []
        lines[2] = []
        try trail.write(lines)
        try trail.state.write(trail.notes.prefix(2).flatMap(CheckpointFile.text), to: "audit/checkpoints")
        #expect(try trail.verify().status == 0, "what it has is whole")
        let cut = try CommandRun(["audit", "verify", trail.directory] + log + known).result()
        #expect(cut.status == 1 && cut.output.contains("a checkpoint covers 19 records"), "\(cut)")
    }

    /// The keys of checkpoints that a log alone has are known by those before them: who leaves the first ones beside the trail,
    /// and what they cover, cannot write the rest anew.
    @Test(arguments: 1...3) func whatALogCoversIsCoveredWithoutItsNotes(_ kept: Int) throws {
        let trail = try CheckedTrail(sizes: [21])
        try trail.state.write(Array(trail.notes.map(\.note).joined()), to: "log")
        // Up to the next checkpoint as it was, and another trail's records behind it.
        let covered = Int(trail.notes[kept].checkpoint.position.sequence)
        var chain = Chain(after: trail.notes[kept].checkpoint.position, digest: CheckedTrail.digest)
        let sender = Sender(pid: 1, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")
        var lines = Array(trail.segments[0].prefix(covered))
        for count in covered..<21 {
            var line: [UInt8] = []
            chain.append(
                .record(.serviceStart(unit: "another")),
                Stamp(milliseconds: 1_795_212_781_000 + UInt64(count), session: nil, sender: sender), to: &line)
            lines.append(line)
        }
        try trail.write([lines])
        try trail.state.write(trail.notes.prefix(kept).flatMap(CheckpointFile.text), to: "audit/checkpoints")
        let run = try trail.verify("--key", trail.firstKey.description, "--checkpoint", trail.state.path + "/log")
        #expect(run.status == 1, "\(run)")
    }

    /// A log of a year is read, and a link in the trail's directory is not.
    @Test func aLongLogIsReadAndALinkIsNot() throws {
        let trail = try CheckedTrail()
        let line = Array("Nov 20 22:00:00 gate sshd[1]: nothing of ours\n".utf8)
        var log: [UInt8] = []
        for _ in 0..<50_000 { log += line }
        for note in trail.notes { log += note.note }
        try trail.state.write(log, to: "log")
        let run = try trail.verify("--checkpoint", trail.state.path + "/log")
        #expect(run.status == 0, "\(run)")
        let notes = trail.directory + "/checkpoints"
        try FileManager.default.moveItem(atPath: notes, toPath: trail.state.path + "/notes")
        try FileManager.default.createSymbolicLink(atPath: notes, withDestinationPath: trail.state.path + "/notes")
        let linked = try trail.verify()
        #expect(linked.status != 0 && linked.error.contains("cannot read \(notes)"), "\(linked)")
    }

    /// A trail that begins behind everything that was ever signed has nothing that vouches for it.
    @Test func aTrailBehindItsLastCheckpointIsNotWhole() throws {
        let trail = try CheckedTrail()
        for name in trail.names.prefix(2) { try FileManager.default.removeItem(atPath: trail.directory + "/" + name) }
        #expect(try trail.verify().status == 0, "a checkpoint reaches its first record")
        try trail.state.write(trail.notes.prefix(2).flatMap(CheckpointFile.text), to: "audit/checkpoints")
        let run = try trail.verify()
        #expect(run.status == 1 && run.output.contains("records 9 to 14 are neither here nor covered"), "\(run)")
        if Self.hasTools { #expect(try recipe(trail).status == 1) }
    }

    /// A checkpoint that was kept elsewhere covers what those beside the trail may not any more.
    @Test func aKeptCheckpointShowsWhatIsMissingWithItsNote() throws {
        let trail = try CheckedTrail()
        let last = try #require(trail.notes.last)
        try trail.state.write(last.note, to: "kept")
        var lines = trail.segments
        lines[2].removeLast(3)
        try trail.write(lines)
        // Its note was taken away with the records.
        try trail.state.write(trail.notes.dropLast().flatMap(CheckpointFile.text), to: "audit/checkpoints")
        #expect(try trail.verify().status == 0)
        let run = try trail.verify("--checkpoint", trail.state.path + "/kept")
        #expect(run.status == 1)
        #expect(run.output.contains("the trail ends here, but a checkpoint covers 19 records"))
        // A note that nobody signed is no evidence.
        var forged = last
        forged.signature[0] ^= 1
        try trail.state.write(forged.note, to: "kept")
        try trail.write()
        let wrong = try trail.verify("--checkpoint", trail.state.path + "/kept")
        #expect(wrong.status == 1)
        #expect(wrong.output.contains("kept: its signature is wrong"))
    }

    @Test func aCheckpointThatDoesNotFitIsNamed() throws {
        let trail = try CheckedTrail()
        let check = { (notes: [SignedCheckpoint], expected: String) throws in
            try trail.state.write(notes.flatMap(CheckpointFile.text), to: "audit/checkpoints")
            let run = try trail.verify()
            #expect(run.status == 1)
            #expect(run.output.contains("\(trail.directory)/checkpoints: not whole: \(expected)\n"), "\(run)")
        }
        var notes = trail.notes
        notes[2].signature[5] ^= 1
        try check(notes, "checkpoint 3: not signed by the key that the checkpoint before it names")
        notes = trail.notes
        notes.remove(at: 1)
        try check(notes, "checkpoint 2: not signed by the key that the checkpoint before it names")
        notes = trail.notes
        notes.swapAt(0, 1)
        try check(notes, "checkpoint 1: not signed by the first key")
        let other = try CheckedTrail(trail: 1)
        try check(other.notes, "checkpoint 1: not signed by the first key")
        try trail.state.write(
            trail.notes.flatMap(CheckpointFile.text) + trail.notes[0].note.prefix(50), to: "audit/checkpoints")
        let torn = try trail.verify()
        #expect(torn.status == 1 && torn.output.contains("checkpoint 6: the last checkpoint is torn"))
    }

    /// Keys were lost: it is said for good, what follows is checked all the same, and a key of it that was kept elsewhere
    /// vouches for it.
    @Test func lostKeysAreNamedAndWhatFollowsIsChecked() throws {
        let trail = try CheckedTrail(lost: [3])
        let key = try CheckedTrail.key(CheckedTrail.newKey(3))
        let runs = """
            run 1 of keys: checkpoints 1 to 2 cover records 1 to 8; from key \(trail.firstKey)
            run 2 of keys: checkpoints 3 to 5 cover records 1 to 19, alone those from 9 on; from key \(key)
            the last 2 records are not covered by a checkpoint yet: the oldest is of 2026-11-20 22:13:01

            """
        let run = try trail.verify()
        #expect(run.status == 1)
        #expect(
            run.output
                == "\(trail.directory)/checkpoints: not whole: checkpoint 3: a new run of keys begins: the checkpoints or "
                + "the keys before it were lost\n" + runs, "\(run)")
        let json = try trail.json()
        #expect(json["badCheckpoint"] as? Int == 3 && json["covered"] as? Int == 19 && json["checkpoints"] as? Int == 5)
        let list = try #require(json["runs"] as? [[String: Any]])
        #expect(list.compactMap { $0["first"] as? Int } == [1, 3] && list.compactMap { $0["last"] as? Int } == [2, 5])
        #expect(list.compactMap { $0["new"] as? Bool } == [false, true])
        #expect(list.last?["key"] as? String == key.description)
        // Any key of the new run vouches for it; one of the old run does not.
        for number in [CheckedTrail.newKey(3), 3, 4] {
            let vouched = try trail.verify("--key", CheckedTrail.key(number).description)
            #expect(vouched.status == 0, "\(vouched)")
            #expect(vouched.output == "checked 21 records in 3 segments, 5 checkpoints: whole\n" + runs, "\(vouched)")
            let both = try trail.verify(
                "--key", trail.firstKey.description, "--key", CheckedTrail.key(number).description)
            #expect(both.status == 0, "\(both)")
        }
        #expect(try trail.verify("--key", trail.firstKey.description).status == 1)
        // The second key was lost before it signed: who has signed with it is somebody else.
        let unused = try trail.verify(
            "--key", CheckedTrail.key(2).description, "--key", CheckedTrail.key(3).description)
        let missing = try CheckedTrail.key(2).description
        #expect(unused.status == 1 && unused.output.contains("was kept: \(missing)"), "\(unused)")
        // What is changed is found by either run, and is not vouched for by anything.
        for record in [2, 9, 12] {
            var lines = trail.segments
            let (segment, line) = record <= 8 ? (0, record - 1) : (1, record - 9)
            lines[segment][line][40] ^= 1
            try trail.write(lines)
            #expect(try trail.verify("--key", key.description).status == 1, "record \(record)")
        }
    }

    /// The trail's end was forged, with a key of the forger's: the new run says so itself, and a copy of what was signed
    /// before contradicts it.
    @Test func aForgedRunOfKeysIsNotVouchedFor() throws {
        let trail = try CheckedTrail()
        let forged = try CheckedTrail(lost: [4])
        try forged.state.write(trail.notes[3].note, to: "kept")
        let run = try forged.verify("--key", trail.firstKey.description)
        #expect(run.status == 1 && run.output.contains("checkpoint 4: a new run of keys begins"), "\(run)")
        // A key signs under its own name alone.
        var notes = trail.notes
        notes[3].checkpoint.first = try CheckedTrail.key(CheckedTrail.newKey(4))
        try trail.state.write(notes.flatMap(CheckpointFile.text), to: "audit/checkpoints")
        let stolen = try trail.verify()
        #expect(stolen.status == 1 && stolen.output.contains("checkpoint 4: not signed by the key"), "\(stolen)")
    }

    /// All that is wrong with checkpoints is named, and what comes behind is held against the trail.
    @Test func whatFollowsABadCheckpointIsCheckedToo() throws {
        let trail = try CheckedTrail()
        var notes = trail.notes
        notes[1].signature[5] ^= 1
        try trail.state.write(notes.flatMap(CheckpointFile.text), to: "audit/checkpoints")
        let run = try trail.verify()
        #expect(run.status == 1)
        #expect(run.output.contains("checkpoint 2: not signed by the key that the checkpoint before it names\n"))
        #expect(run.output.contains("checkpoint 3: a new run of keys begins"))
        #expect(run.output.contains("run 2 of keys: checkpoints 3 to 5 cover records 1 to 19, alone those from 4 on"))
        // Something that is none, put between them, ends no run.
        var text = trail.notes.prefix(2).flatMap(CheckpointFile.text)
        text += Array("what is this\n\u{2014} a b\n\n".utf8) + trail.notes.dropFirst(2).flatMap(CheckpointFile.text)
        try trail.state.write(text, to: "audit/checkpoints")
        let inserted = try trail.verify()
        #expect(inserted.status == 1 && !inserted.output.contains("run 2"), "\(inserted)")
        #expect(inserted.output.contains("checkpoint 3: not a checkpoint\n"))
        // However many are bad, the output is short.
        let bad = Array(repeating: Array("x\n\u{2014} a b\n\n".utf8), count: 500).joined()
        try trail.state.write(trail.notes.flatMap(CheckpointFile.text) + bad, to: "audit/checkpoints")
        let many = try trail.verify()
        #expect(many.status == 1 && many.output.contains("checkpoints: not whole: 484 more are not\n"), "\(many)")
    }

    /// A segment with another name is no segment: what is missing shows where something follows it, and the file is named
    /// wherever it was.
    @Test(arguments: [0, 1, 2])
    func aSegmentWithAnotherNameIsNamed(_ index: Int) throws {
        let trail = try CheckedTrail()
        #expect(try trail.verify().output.contains("not looked at") == false)
        for other in ["trail.log.1", "trail.log.000000000009.gz", "trail.log.9", "trail.log~", "hidden"] {
            let path = trail.directory + "/" + other
            try FileManager.default.moveItem(atPath: trail.directory + "/" + trail.names[index], toPath: path)
            let run = try trail.verify()
            // The oldest ones may have been archived; the last one was covered.
            #expect(run.status == (index == 0 ? 0 : 1), "\(run)")
            #expect((run.output + run.error).contains("no file of a trail, and not looked at: \(path)"), "\(run)")
            let strangers = try trail.json()["strangers"] as? [String]
            #expect(strangers == [path])
            try FileManager.default.moveItem(atPath: path, toPath: trail.directory + "/" + trail.names[index])
        }
        for own in [
            "trail.log.next", "trail.log.torn", "checkpoints.torn", "checkpoints.key", "checkpoints.key.next",
            "checkpoints.vkey.new",
        ] { try trail.state.write([], to: "audit/" + own) }
        let own = try trail.json()
        #expect((own["strangers"] as? [String])?.isEmpty == true && (own["setAside"] as? [String])?.isEmpty == true)
        try trail.state.write([], to: "audit/trail.log.torn-17952")
        try trail.state.write([], to: "audit/checkpoints.torn-17952")
        #expect((try trail.json()["setAside"] as? [String])?.count == 2)
    }

    /// A line that was changed and every chain after it with it: the first checkpoint behind it shows it.
    @Test func aChangedRecordWithANewChainIsFoundByTheNextCheckpoint() throws {
        let trail = try CheckedTrail()
        var chain = Chain(after: .start, digest: CheckedTrail.digest)
        let sender = Sender(pid: 100, uid: 0, auid: .max, ses: .max, executable: "/usr/sbin/portcullisd")
        var count: UInt64 = 0
        let lines = trail.segments.map { segment in
            let lines = segment.map { _ in
                count += 1
                var line: [UInt8] = []
                let unit = count == 10 ? "forged" : "unit-0-\(count)"
                chain.append(
                    .record(.serviceStart(unit: unit)),
                    Stamp(milliseconds: 1_795_212_781_000 + count, session: nil, sender: sender), to: &line)
                return line
            }
            chain.startSegment()
            return lines
        }
        try trail.write(lines)
        let run = try trail.verify()
        #expect(run.status == 1)
        #expect(
            run.output.hasPrefix(
                "\(trail.directory)/\(trail.names[1]):3: not whole: not what checkpoint 3 covers: a record from 9 to "
                    + "this one was changed\n"), "\(run)")
        let json = try trail.json()
        #expect(json["line"] as? Int == 3 && json["file"] as? String == trail.directory + "/" + trail.names[1])
    }

    @Test(
        arguments: [
            ["--key", "gate"], ["--key", "/nonexistent"], ["--checkpoint", "/nonexistent"],
            ["--checkpoint", "/etc/passwd"], ["--key", "/etc/passwd"],
        ])
    func whatIsNoKeyOrCheckpointIsSaid(_ arguments: [String]) throws {
        let trail = try CheckedTrail(sizes: [1], covered: [])
        let run = try CommandRun(["audit", "verify", trail.directory] + arguments).result()
        #expect(run.status == 1)
        #expect(run.output.isEmpty && run.error.contains(arguments[1]))
    }

    /// Checkpoints that cannot be read are not the same as none.
    @Test func checkpointsThatCannotBeReadAreAnError() throws {
        let trail = try CheckedTrail()
        try FileManager.default.removeItem(atPath: trail.directory + "/checkpoints")
        try FileManager.default.createDirectory(
            atPath: trail.directory + "/checkpoints", withIntermediateDirectories: false)
        let run = try trail.verify()
        #expect(run.status == 1 && run.output.isEmpty, "\(run)")
        try FileManager.default.removeItem(atPath: trail.directory + "/checkpoints")
        #expect(
            try trail.verify().output.hasSuffix(
                "no checkpoint covers a record yet: the oldest is of 2026-11-20 22:13:01\n"))
        #expect(try trail.verify("--key", trail.firstKey.description).status == 1, "it has signed before")
    }

    // MARK: The recipe of docs/audit.md

    /// The script that stands in the document.
    private static let recipe: String = {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/audit.md")
        let text = (try? String(contentsOf: page, encoding: .utf8)) ?? ""
        let body = text.components(separatedBy: "```sh\n").dropFirst().first { $0.hasPrefix("#!/bin/sh\n") }
        return body?.components(separatedBy: "```").first ?? ""
    }()

    static var hasTools: Bool {
        ["/usr/bin/openssl", "/usr/bin/sha256sum", "/bin/sh"].allSatisfy {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }

    private func recipe(
        _ trail: CheckedTrail, keys: [String] = [], shell: [String] = ["/bin/sh"]
    ) throws -> (status: Int32, output: String) {
        try trail.state.write(Array(Self.recipe.utf8), to: "verify-trail")
        let process = Foundation.Process()
        process.executableURL = URL(fileURLWithPath: shell[0])
        process.arguments =
            shell.dropFirst() + [trail.state.path + "/verify-trail", trail.directory] + keys
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
    }

    @Test(.enabled(if: CheckedTrailTests.hasTools, "openssl is not installed"))
    func theRecipeOfTheDocumentChecksChainAndCheckpoints() throws {
        #expect(Self.recipe.contains("openssl pkeyutl"))
        let trail = try CheckedTrail()
        let whole = try recipe(trail)
        #expect(whole.status == 0 && whole.output == "whole: records 1 to 21, covered to 19\n", "\(whole)")
        #expect(try recipe(trail, keys: [trail.firstKey.description]).status == 0)
        #expect(try recipe(trail, keys: [CheckedTrail.key(0, trail: 1).description]).status == 1)
        let forged = try recipe(CheckedTrail(trail: 1), keys: [trail.firstKey.description])
        #expect(forged.status == 1 && forged.output.contains("is not signed by"), "\(forged)")
        try FileManager.default.removeItem(atPath: trail.directory + "/" + trail.names[0])
        let archived = try recipe(trail)
        #expect(archived.status == 0 && archived.output == "whole: records 9 to 21, covered to 19\n", "\(archived)")
    }

    @Test(.enabled(if: CheckedTrailTests.hasTools, "openssl is not installed"))
    func theRecipeTellsOfANewRunOfKeysUntilItIsGivenItsKey() throws {
        let trail = try CheckedTrail(lost: [2, 4])
        let new = try [2, 4].map { try CheckedTrail.key(CheckedTrail.newKey($0)).description }
        let told = try recipe(trail)
        #expect(
            told.status == 1
                && told.output == "from the checkpoint of 8 records on there are new keys, from \(new[0])\n", "\(told)")
        let first = trail.firstKey.description
        #expect(try recipe(trail, keys: [first, new[0]]).status == 1)
        #expect(try recipe(trail, keys: [first, new[1], new[0]]).status == 1)
        let whole = try recipe(trail, keys: [first] + new)
        #expect(whole.status == 0 && whole.output == "whole: records 1 to 21, covered to 19\n", "\(whole)")
        // A key signs under its own name alone.
        var notes = trail.notes
        notes[3].checkpoint.first = try CheckedTrail.key(7)
        try trail.state.write(notes.flatMap(CheckpointFile.text), to: "audit/checkpoints")
        let stolen = try recipe(trail, keys: [first, new[0], CheckedTrail.key(7).description])
        #expect(stolen.status == 1 && stolen.output.contains("is not signed by"), "\(stolen)")
    }

    /// bash, which is sh on many hosts, runs commands that stand in what it takes for a number.
    @Test(.enabled(if: CheckedTrailTests.hasTools, "openssl is not installed"))
    func theRecipeRunsNothingThatStandsInATrail() throws {
        let shells =
            [["/bin/sh"]]
            + (FileManager.default.isExecutableFile(atPath: "/bin/bash") ? [["/bin/bash", "--posix"]] : [])
        for shell in shells {
            let trail = try CheckedTrail()
            #expect(try recipe(trail, shell: shell).status == 0)
            let mark = trail.state.path + "/ran"
            let line = "x prev=abcd seq=a[$(touch${IFS}\(mark))] chain=00\n"
            try trail.state.write(Array(line.utf8), to: "audit/" + trail.names[0])
            let run = try recipe(trail, shell: shell)
            #expect(run.status == 1, "\(run)")
            #expect(!FileManager.default.fileExists(atPath: mark))
        }
    }

    /// What would be no record to `verify` is none to the recipe.
    @Test(.enabled(if: CheckedTrailTests.hasTools, "openssl is not installed"))
    func theRecipeLooksAtEverythingThatIsThere() throws {
        let trail = try CheckedTrail()
        var lines = trail.segments
        lines[2].append(Array("type=USER_CMD forged".utf8))
        try trail.write(lines)
        #expect(try recipe(trail).status == 1, "a line without its end")
        #expect(try trail.verify().status == 1)
        try trail.write()
        for behind in ["x", "x\n", "gate.example/portcullis\n999\n", "gate.example/portcullis\n999\nAAAA\nnext x\n\n"] {
            try trail.state.write(
                trail.notes.flatMap(CheckpointFile.text) + Array(behind.utf8), to: "audit/checkpoints")
            let run = try recipe(trail)
            #expect(run.status == 1, "half a checkpoint: \(run)")
        }
        try FileManager.default.removeItem(atPath: trail.directory + "/checkpoints")
        #expect(try recipe(trail, keys: [trail.firstKey.description]).status == 1, "no checkpoints")
    }

    /// One thing done to a trail that nobody may do.
    private enum Mutation: CaseIterable {
        case change, delete, insert, swap, cut, duplicate, swapSegments, removeSegment

        /// Does it, to records that a checkpoint covers; false where it came to nothing.
        func apply(to segments: inout [[[UInt8]]], covered: Int, _ random: inout SeededGenerator) -> Bool {
            var places: [(segment: Int, line: Int)] = []
            for (segment, lines) in segments.enumerated() {
                for line in lines.indices where places.count < covered { places.append((segment, line)) }
            }
            let place = places[Int.random(in: 0..<places.count, using: &random)]
            let other = places[Int.random(in: 0..<places.count, using: &random)]
            let line = segments[place.segment][place.line]
            switch self {
            case .change:
                let byte = Int.random(in: 0..<line.count, using: &random)
                segments[place.segment][place.line][byte] ^= UInt8.random(in: 1...255, using: &random)
            case .delete:
                segments[place.segment].remove(at: place.line)
            case .insert:
                segments[place.segment].insert(Array("type=USYS_CONFIG msg=audit(1.000:1): x\n".utf8), at: place.line)
            case .swap:
                guard place != other else { return false }
                segments[place.segment][place.line] = segments[other.segment][other.line]
                segments[other.segment][other.line] = line
            case .duplicate:
                segments[other.segment].insert(line, at: other.line)
            case .cut:
                segments[place.segment].removeSubrange(place.line...)
                for later in segments.indices where later > place.segment { segments[later] = [] }
            case .swapSegments:
                guard place.segment != other.segment else { return false }
                segments.swapAt(place.segment, other.segment)
            case .removeSegment:
                // Whoever takes the oldest away has archived it.
                guard place.segment > 0 else { return false }
                segments[place.segment] = []
            }
            return true
        }
    }

    /// The first thing that is wrong with lines and notes, as `verify` looks at them; nil where all is whole.
    private func fault(_ trail: CheckedTrail, _ segments: [[[UInt8]]], notes: [UInt8]? = nil) throws -> (any Error)? {
        var verifier = TrailVerifier(digest: CheckedTrail.digest)
        var checkpoints = CheckpointVerifier(
            from: trail.firstKey, digest: CheckedTrail.digest, check: isEd25519Signature)
        do {
            if let notes {
                var cutter = NoteCutter()
                for byte in notes {
                    guard let note = cutter.take(byte) else { continue }
                    let position = try checkpoints.take(note).signed.checkpoint.position
                    verifier.marks.append(CheckpointMark(position: position, number: checkpoints.number))
                    if let run = checkpoints.runs.last(where: \.isNew) {
                        throw CheckpointFault(number: run.first, problem: .newRun)
                    }
                }
                guard cutter.partial.isEmpty else {
                    throw CheckpointFault(number: checkpoints.number, problem: .torn)
                }
            } else {
                verifier.marks = trail.notes.enumerated().map {
                    CheckpointMark(position: $0.element.checkpoint.position, number: $0.offset + 1)
                }
            }
            for (index, lines) in segments.enumerated() {
                if index > 0 { try verifier.startSegment() }
                try verifier.take(lines.flatMap(\.self))
            }
            try verifier.finishTrail()
            return nil
        } catch {
            return error
        }
    }

    /// Every byte, line, pair of lines and segment that a checkpoint covers: whatever is done to it is found.
    @Test func nothingThatACheckpointCoversCanBeChangedUnseen() throws {
        var random = SeededGenerator(seed: 6)
        let trail = try CheckedTrail()
        let whole = trail.segments
        let covered = 19
        #expect(try fault(trail, whole) == nil)
        var places: [(segment: Int, line: Int)] = []
        for (segment, lines) in whole.enumerated() {
            for line in lines.indices where places.count < covered { places.append((segment, line)) }
        }
        let unseen = { (what: String, segments: [[[UInt8]]]) throws in
            #expect(try self.fault(trail, segments) != nil, "\(what)")
        }
        for (segment, line) in places {
            let bytes = whole[segment][line]
            for byte in bytes.indices {
                var changed = whole
                changed[segment][line][byte] ^= UInt8.random(in: 1...255, using: &random)
                try unseen("byte \(byte) of \(segment):\(line) changed", changed)
            }
            // A byte less and a byte more, at some places: each costs a whole check.
            for _ in 0..<8 {
                var changed = whole
                let byte = Int.random(in: bytes.indices, using: &random)
                changed[segment][line].remove(at: byte)
                try unseen("byte \(byte) of \(segment):\(line) removed", changed)
                changed = whole
                changed[segment][line].insert(UInt8.random(in: 0...255, using: &random), at: byte)
                try unseen("a byte before \(byte) of \(segment):\(line) added", changed)
            }
            var changed = whole
            changed[segment].remove(at: line)
            try unseen("\(segment):\(line) removed", changed)
            changed = whole
            changed[segment].removeSubrange(line...)
            for later in whole.indices where later > segment { changed[later] = [] }
            try unseen("cut before \(segment):\(line)", changed)
            for (otherSegment, otherLine) in places {
                let other = whole[otherSegment][otherLine]
                changed = whole
                changed[segment].insert(other, at: line)
                try unseen("\(otherSegment):\(otherLine) again before \(segment):\(line)", changed)
                guard (segment, line) != (otherSegment, otherLine) else { continue }
                changed = whole
                changed[segment][line] = other
                try unseen("\(otherSegment):\(otherLine) in the place of \(segment):\(line)", changed)
                changed[otherSegment][otherLine] = bytes
                try unseen("\(otherSegment):\(otherLine) and \(segment):\(line) swapped", changed)
            }
        }
        for first in whole.indices {
            for second in whole.indices where second != first {
                var changed = whole
                changed.swapAt(first, second)
                try unseen("segments \(first) and \(second) swapped", changed)
                changed = whole
                changed[first] = whole[second]
                try unseen("segment \(second) in the place of \(first)", changed)
            }
            // The oldest may be taken away.
            guard first > 0 else { continue }
            var changed = whole
            changed[first] = []
            try unseen("segment \(first) emptied", changed)
            changed.remove(at: first)
            try unseen("segment \(first) removed", changed)
        }
    }

    /// The checkpoints themselves: each byte, note and pair of notes. Only the last ones can be taken away unseen, which is
    /// why copies leave the host.
    @Test func noCheckpointCanBeChangedUnseen() throws {
        var random = SeededGenerator(seed: 7)
        let trail = try CheckedTrail()
        let texts = trail.notes.map(CheckpointFile.text)
        let whole = texts.flatMap(\.self)
        let unseen = { (what: String, notes: [UInt8]) throws in
            #expect(try self.fault(trail, trail.segments, notes: notes) != nil, "\(what)")
        }
        #expect(try fault(trail, trail.segments, notes: whole) == nil)
        for byte in whole.indices {
            var changed = whole
            changed[byte] ^= UInt8.random(in: 1...255, using: &random)
            try unseen("byte \(byte) changed", changed)
            changed = whole
            changed.remove(at: byte)
            try unseen("byte \(byte) removed", changed)
        }
        for first in texts.indices {
            for second in texts.indices where second != first {
                var changed = texts
                changed.swapAt(first, second)
                try unseen("\(first) and \(second) swapped", changed.flatMap(\.self))
                changed = texts
                changed.insert(texts[second], at: first)
                try unseen("\(second) again before \(first)", changed.flatMap(\.self))
            }
            guard first < texts.count - 1 else { continue }
            var changed = texts
            changed.remove(at: first)
            try unseen("\(first) removed", changed.flatMap(\.self))
        }
    }

    /// Whatever is done to a line that a checkpoint covers is found, by `verify` and by the recipe.
    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func anyMutationIsFoundByVerifyAndByTheRecipe(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let trail = try CheckedTrail()
        for _ in 0..<2 {
            for mutation in Mutation.allCases {
                var lines = trail.segments
                guard mutation.apply(to: &lines, covered: 19, &random) else { continue }
                try trail.write(lines)
                let run = try trail.verify()
                #expect(run.status == 1, "seed \(seed), \(mutation): \(run)")
                guard Self.hasTools else { continue }
                let checked = try recipe(trail)
                #expect(checked.status == 1, "seed \(seed), \(mutation): \(checked)")
            }
        }
        try trail.write()
        #expect(try trail.verify().status == 0)
    }
}
