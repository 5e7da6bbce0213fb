// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import TrailCrypto

/// The checkpoints that lie beside a trail, held against their keys and against what was kept elsewhere.
struct KeptCheckpoints {
    /// A checkpoint as it is listed.
    struct Row {
        var number: Int
        var position: ChainPosition
        var keyID: [UInt8]
    }

    /// What each covers, in the trail's order.
    private(set) var marks: [CheckpointMark] = []
    /// How many are good.
    private(set) var count = 0
    /// The first bad ones, and how many more there are.
    private(set) var faults: [CheckpointFault] = []
    private(set) var furtherFaults = 0
    /// Which of them are signed by keys that follow from one another: one run, where no key was ever lost.
    private(set) var runs: [CheckpointRun] = []
    /// The first key, as it lies beside the trail or was given.
    private(set) var firstKey: CheckpointKey?
    /// The key that has to sign the next one.
    private(set) var nextKey: CheckpointKey?
    /// What does not fit what was kept elsewhere.
    private(set) var mismatches: [String] = []
    /// What could not be looked at.
    private(set) var notices: [String] = []
    /// All good ones, where they are listed.
    private(set) var rows: [Row] = []

    /// The most bytes of a file with a key.
    private static let keyLimit = 1 << 20
    /// The most bytes of a log with checkpoints: a minute apart, they take five months.
    private static let logLimit = 64 << 20
    private static let pieceSize = 1 << 16
    /// The most bad ones that are named.
    private static let faultLimit = 16
    /// How often a last checkpoint without its end is looked at again: the auditor may be writing it.
    private static let patience = 10

    /// Reads and checks them.
    ///
    /// - Parameters:
    ///   - directory: where they lie; nil where one file of a trail is looked at alone.
    ///   - keys: keys that were kept elsewhere, each as its text or a file with it. One that has signed in a run of keys
    ///     after a loss vouches for that run.
    ///   - kept: files with checkpoints that were kept elsewhere.
    ///   - listed: whether each is to be remembered.
    ///   - progress: told how many were checked.
    init(in directory: String?, keys: [String], kept: [String], listed: Bool, progress: (Int) -> Void) throws {
        let given = try keys.map { try Self.key($0) }
        var copies = Copies()
        for path in kept { try copies.add(path) }
        for key in given { copies.check(by: key) }
        var isAnyKeyKnown = !given.isEmpty
        if let directory {
            firstKey = try Self.firstKey(in: directory)
            if firstKey == nil { firstKey = given.first }
            var verifier = CheckpointVerifier(from: firstKey, digest: sha256, check: isEd25519Signature)
            // The given keys that have signed, and the runs that they have signed in.
            var signers: Set<CheckpointKey> = []
            var vouchedRuns: Set<Int> = []
            do {
                try Self.notes(in: directory) { note in
                    let number = verifier.number + 1
                    let signed: SignedCheckpoint
                    let signer: CheckpointKey?
                    do throws(CheckpointFault) {
                        (signed, signer) = try verifier.take(note)
                    } catch {
                        return add(error)
                    }
                    if let signer {
                        copies.check(by: signer)
                        isAnyKeyKnown = true
                        if given.contains(signer) {
                            signers.insert(signer)
                            vouchedRuns.insert(verifier.runs.count - 1)
                        }
                    }
                    marks.append(CheckpointMark(position: signed.checkpoint.position, number: number))
                    if listed {
                        rows.append(
                            Row(number: number, position: signed.checkpoint.position, keyID: signed.keyID))
                    }
                    progress(number)
                }
            } catch let found as CheckpointFault {
                add(found)
            }
            count = verifier.count
            runs = verifier.runs
            for (index, run) in runs.enumerated() where run.isNew && !vouchedRuns.contains(index) {
                add(CheckpointFault(number: run.first, problem: .newRun))
            }
            faults.sort { $0.number < $1.number }
            nextKey = verifier.key
            if count > 0, let next = verifier.key { copies.check(by: next) }
            if firstKey == nil, count > 0 {
                notices.append(
                    "\(CheckpointFile.keyName) is not here: the first checkpoint's signature was not checked")
            }
            for key in given where !signers.contains(key) {
                mismatches.append(
                    "no checkpoint here is signed by the key that was kept" + (given.count > 1 ? ": \(key)" : ""))
            }
        }
        for path in kept {
            take(
                copies.all.filter { $0.path == path }, isAnyKeyKnown: isAnyKeyKnown,
                unproven: given.isEmpty ? firstKey?.name : nil)
        }
        marks.sort { $0.position.sequence < $1.position.sequence }
    }

    private mutating func add(_ fault: CheckpointFault) {
        if faults.count < Self.faultLimit { faults.append(fault) } else { furtherFaults += 1 }
    }

    /// Takes what stands in a file that was kept elsewhere.
    ///
    /// TRUST: a log takes lines of everybody, so that any note in it may be a stranger's, or an old one that was logged
    /// again. Each that a key of this trail has signed, or one that such a note names, must be kept; the others are worth a
    /// word. But where no key was given, the keys are as good as who can write the files beside the trail: then what has
    /// this trail's name and none of its keys may be the true trail's.
    ///
    /// - Parameter unproven: this trail's name, where no key was given.
    private mutating func take(_ copies: [Copies.Copy], isAnyKeyKnown: Bool, unproven: String?) {
        guard let path = copies.first?.path else { return }
        let name = ByteText(path).printable
        let signed = copies.filter { $0.isSigned == true }
        let trusted = isAnyKeyKnown ? signed : copies
        let doubtful = copies.count { $0.isSigned != true && $0.signed.checkpoint.origin == unproven }
        marks += trusted.map { CheckpointMark(position: $0.signed.checkpoint.position, number: nil) }
        if !isAnyKeyKnown {
            notices.append("\(name): its key is not here: its signature was not checked")
        } else if signed.isEmpty {
            let isWrong = copies.contains { $0.isSigned == false }
            mismatches.append("\(name): \(isWrong ? "its signature is wrong" : "not signed by a key of this trail")")
        } else if doubtful > 0 {
            mismatches.append(
                "\(name): \(doubtful) of its \(copies.count) checkpoints have this trail's name and none of the keys here: "
                    + "a key that was kept elsewhere says whose they are (--key)")
        } else if signed.count < copies.count {
            notices.append(
                "\(name): \(copies.count - signed.count) of its \(copies.count) checkpoints are not this trail's")
        }
    }

    /// The checkpoints of files that were kept elsewhere.
    private struct Copies {
        struct Copy {
            var path: String
            var signed: SignedCheckpoint
            /// Nil as long as no key of its number was met.
            var isSigned: Bool?
        }

        private(set) var all: [Copy] = []
        private var places: [[UInt8]: [Int]] = [:]

        mutating func add(_ path: String) throws {
            for signed in try KeptCheckpoints.copies(path) {
                places[signed.keyID, default: []].append(all.count)
                all.append(Copy(path: path, signed: signed))
            }
        }

        /// Looks for what a key has signed, and what the keys have that are named there.
        mutating func check(by key: CheckpointKey) {
            var keys = [key]
            while let key = keys.popLast() {
                for place in places[key.id] ?? [] where all[place].isSigned != true {
                    let isSigned = all[place].signed.isSigned(by: key, isEd25519Signature)
                    all[place].isSigned = isSigned
                    if isSigned { keys.append(all[place].signed.checkpoint.next) }
                }
            }
        }
    }

    /// Whether everything fits.
    var isWhole: Bool { faults.isEmpty && mismatches.isEmpty }

    private static func firstKey(in directory: String) throws -> CheckpointKey? {
        let path = directory + "/" + CheckpointFile.keyName
        guard let bytes = try read(path, limit: keyLimit, isOwn: true) else { return nil }
        guard let key = CheckpointKey(text: bytes.prefix { $0 != UInt8(ascii: "\n") }, digest: sha256) else {
            throw Failure(description: "\(path): not a public key of checkpoints")
        }
        return key
    }

    private static func key(_ given: String) throws -> CheckpointKey {
        if let key = CheckpointKey(text: Array(given.utf8), digest: sha256) { return key }
        guard let bytes = try read(given, limit: keyLimit) else {
            throw Failure(
                description: "--key \(ByteText(given).printable): neither a key (NAME+DIGITS+BASE64) nor a file")
        }
        let words = bytes.split { $0 <= 0x20 }
        guard let key = words.lazy.compactMap({ CheckpointKey(text: $0, digest: sha256) }).first else {
            throw Failure(description: "--key \(ByteText(given).printable): there is no key in it")
        }
        return key
    }

    private static func copies(_ path: String) throws -> [SignedCheckpoint] {
        guard let bytes = try read(path, limit: logLimit) else {
            throw Failure(description: "--checkpoint \(ByteText(path).printable): no such file")
        }
        let found = SignedCheckpoint.all(inCopy: bytes, digest: sha256)
        guard !found.isEmpty else {
            throw Failure(description: "--checkpoint \(ByteText(path).printable): there is no checkpoint in it")
        }
        return found
    }

    /// A file; nil where there is none.
    ///
    /// - Parameter isOwn: whether it lies beside the trail, where the auditor's account makes names.
    private static func read(_ path: String, limit: Int, isOwn: Bool = false) throws -> [UInt8]? {
        guard let file = try opened(path, isOwn: isOwn) else { return nil }
        guard let bytes = try file.readAll(limit: limit) else {
            throw Failure(description: "\(ByteText(path).printable) is too long")
        }
        return bytes
    }

    private static func opened(_ path: String, isOwn: Bool) throws -> Descriptor? {
        do throws(SystemError) {
            return isOwn ? try File.openRegular(path) : try File.open(path, [.reading, .nonBlocking])
        } catch {
            if error.isNotFound { return nil }
            throw Failure(description: "cannot read \(ByteText(path).printable): \(error.text)")
        }
    }

    /// Reads the file note by note.
    private static func notes(in directory: String, _ body: (_ note: [UInt8]) throws -> Void) throws {
        let path = directory + "/" + CheckpointFile.name
        var count = 0
        guard let file = try opened(path, isOwn: true) else { return }
        var cutter = NoteCutter()
        var offset: Int64 = 0
        var patience = Self.patience
        while true {
            let piece = try File.read(file, at: offset, limit: pieceSize)
            guard piece.isEmpty else {
                offset += Int64(piece.count)
                for byte in piece {
                    guard let note = cutter.take(byte) else { continue }
                    try body(note)
                    count += 1
                }
                continue
            }
            guard !cutter.partial.isEmpty else { return }
            guard patience > 0 else { throw CheckpointFault(number: count + 1, problem: .torn) }
            patience -= 1
            Clock.sleep(milliseconds: 50)
        }
    }
}
