// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Crypto
import Linux

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
    /// The first bad one.
    private(set) var fault: CheckpointFault?
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

    /// The most bytes of a file with a key or a checkpoint.
    private static let keptLimit = 1 << 20
    private static let pieceSize = 1 << 16
    /// How often a last checkpoint without its end is looked at again: the auditor may be writing it.
    private static let patience = 10

    /// Reads and checks them.
    ///
    /// - Parameters:
    ///   - directory: where they lie; nil where one file of a trail is looked at alone.
    ///   - key: a key that was kept elsewhere: its text, or a file with it.
    ///   - kept: files with checkpoints that were kept elsewhere.
    ///   - listed: whether each is to be remembered.
    ///   - progress: told how many were checked.
    init(in directory: String?, key: String?, kept: [String], listed: Bool, progress: (Int) -> Void) throws {
        let given = try key.map { try Self.key($0) }
        var copies = Copies()
        for path in kept { try copies.add(path) }
        let check = Self.check
        let vouch = { (key: CheckpointKey, copies: inout Copies) in copies.check(by: key, check) }
        if let given { vouch(given, &copies) }
        var hasGivenSigned = given == nil
        var isAnyKeyKnown = given != nil
        if let directory {
            firstKey = try Self.firstKey(in: directory)
            if firstKey == nil { firstKey = given }
            var verifier = CheckpointVerifier(from: firstKey, digest: sha256, check: check)
            do {
                try Self.notes(in: directory) { note in
                    let signer = verifier.key
                    let signed = try verifier.take(note)
                    let number = verifier.count
                    if let signer {
                        vouch(signer, &copies)
                        isAnyKeyKnown = true
                        if signer == given { hasGivenSigned = true }
                    }
                    marks.append(CheckpointMark(position: signed.checkpoint.position, number: number))
                    if listed {
                        rows.append(
                            Row(number: number, position: signed.checkpoint.position, keyID: signed.keyID))
                    }
                    progress(number)
                }
            } catch let found as CheckpointFault {
                fault = found
            }
            count = verifier.count
            nextKey = verifier.key
            if count > 0, let next = verifier.key { vouch(next, &copies) }
            if firstKey == nil, count > 0 {
                notices.append(
                    "\(CheckpointFile.keyName) is not here: the first checkpoint's signature was not checked")
            }
            if !hasGivenSigned { mismatches.append("no checkpoint here is signed by the key that was kept") }
        }
        for path in kept { take(copies.all.filter { $0.path == path }, isAnyKeyKnown: isAnyKeyKnown) }
        marks.sort { $0.position.sequence < $1.position.sequence }
    }

    /// Takes what stands in a file that was kept elsewhere.
    ///
    /// TRUST: a log takes lines of everybody, so that any note in it may be a stranger's, or an old one that was logged
    /// again. Each that a key of this trail has signed must be kept; the others are worth a word.
    private mutating func take(_ copies: [Copies.Copy], isAnyKeyKnown: Bool) {
        guard let path = copies.first?.path else { return }
        let name = ByteText(path).printable
        let signed = copies.filter { $0.isSigned == true }
        let trusted = isAnyKeyKnown ? signed : copies
        marks += trusted.map { CheckpointMark(position: $0.signed.checkpoint.position, number: nil) }
        if !isAnyKeyKnown {
            notices.append("\(name): its key is not here: its signature was not checked")
        } else if signed.isEmpty {
            let isWrong = copies.contains { $0.isSigned == false }
            mismatches.append("\(name): \(isWrong ? "its signature is wrong" : "not signed by a key of this trail")")
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

        mutating func check(by key: CheckpointKey, _ check: SignatureCheck) {
            for place in places[key.id] ?? [] where all[place].isSigned != true {
                all[place].isSigned = all[place].signed.isSigned(by: key, check)
            }
        }
    }

    /// Whether everything fits.
    var isWhole: Bool { fault == nil && mismatches.isEmpty }

    private static let check: SignatureCheck = { signature, text, key in
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: key) else { return false }
        return key.isValidSignature(signature, for: text)
    }

    private static func firstKey(in directory: String) throws -> CheckpointKey? {
        let path = directory + "/" + CheckpointFile.keyName
        guard let bytes = try read(path) else { return nil }
        guard let key = CheckpointKey(text: bytes.prefix { $0 != UInt8(ascii: "\n") }, digest: sha256) else {
            throw Failure(description: "\(path): not a public key of checkpoints")
        }
        return key
    }

    private static func key(_ given: String) throws -> CheckpointKey {
        if let key = CheckpointKey(text: Array(given.utf8), digest: sha256) { return key }
        guard let bytes = try read(given) else {
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
        guard let bytes = try read(path) else {
            throw Failure(description: "--checkpoint \(ByteText(path).printable): no such file")
        }
        let found = SignedCheckpoint.all(inCopy: bytes, digest: sha256)
        guard !found.isEmpty else {
            throw Failure(description: "--checkpoint \(ByteText(path).printable): there is no checkpoint in it")
        }
        return found
    }

    /// A small file; nil where there is none.
    private static func read(_ path: String) throws -> [UInt8]? {
        let file: Descriptor
        do throws(SystemError) {
            file = try File.open(path, [.reading, .nonBlocking])
        } catch {
            if error.isNotFound { return nil }
            throw Failure(description: "cannot read \(ByteText(path).printable): \(error.text)")
        }
        guard let bytes = try file.readAll(limit: keptLimit) else {
            throw Failure(description: "\(ByteText(path).printable) is too long")
        }
        return bytes
    }

    /// Reads the file note by note.
    private static func notes(in directory: String, _ body: (_ note: [UInt8]) throws -> Void) throws {
        let path = directory + "/" + CheckpointFile.name
        var count = 0
        let file: Descriptor
        do throws(SystemError) {
            file = try File.open(path, [.reading, .nonBlocking])
        } catch {
            if error.isNotFound { return }
            throw Failure(description: "cannot read \(path): \(error.text)")
        }
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
