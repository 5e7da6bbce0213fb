// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The file of a trail's checkpoints: one note after the other, each followed by an empty line.
public enum CheckpointFile {
    /// Its name, beside the trail.
    public static let name = "checkpoints"
    /// The name of the file with the first public key.
    public static let keyName = "checkpoints.vkey"

    /// A note as it stands in the file.
    public static func text(of signed: SignedCheckpoint) -> [UInt8] {
        signed.note + [UInt8(ascii: "\n")]
    }

    /// The most bytes from the end that hold the last two notes whole, with what a crash left behind them.
    public static let window = 4 * (SignedCheckpoint.limit + 1)

    /// What the end of the file holds.
    public struct Tail: Sendable, Hashable {
        /// The last note; nil where there is none, or it is none of ours.
        public var last: SignedCheckpoint?
        /// The one before it, where it is there.
        public var before: SignedCheckpoint?
        /// The bytes behind the last note: what a crash has torn.
        public var torn: Int
        /// Whether what stands last before the torn bytes is a note, or nothing is there.
        public var isWhole: Bool
        /// Whether the last note is the only thing in the file.
        public var isAlone: Bool

        /// Looks at the last bytes of a file.
        ///
        /// - Parameters:
        ///   - tail: The last `window` bytes, or the whole file where it is shorter.
        ///   - isWhole: Whether they are the whole file.
        public init(_ tail: [UInt8], isWhole: Bool, digest: Digest) {
            var cutter = NoteCutter()
            var read: [SignedCheckpoint?] = []
            for byte in tail {
                if let note = cutter.take(byte) { read.append(SignedCheckpoint(note: note, digest: digest)) }
            }
            torn = cutter.partial.count
            // The first one began before the window.
            if !isWhole, !read.isEmpty { read.removeFirst() }
            self.isWhole = read.last.map { $0 != nil } ?? true
            isAlone = isWhole && read.count == 1
            last = read.last ?? nil
            before = read.dropLast().last ?? nil
        }
    }
}

/// Cuts a file of checkpoints into notes: each ends before the empty line that follows a signature's.
public struct NoteCutter: Sendable {
    /// What has come of the next note.
    public private(set) var partial: [UInt8] = []
    private var lineStart = 0
    private var isSigned = false

    /// A cutter.
    public init() {}

    /// Takes a byte; the note that ends with it, without the empty line behind it. What is longer than any note comes
    /// out in parts, which are none.
    public mutating func take(_ byte: UInt8) -> [UInt8]? {
        if byte == UInt8(ascii: "\n") {
            if partial.count == lineStart, isSigned { return cut() }
            isSigned = partial.dropFirst(lineStart).starts(with: SignedCheckpoint.mark)
            lineStart = partial.count + 1
        }
        partial.append(byte)
        return partial.count > SignedCheckpoint.limit ? cut() : nil
    }

    private mutating func cut() -> [UInt8] {
        let note = partial
        partial = []
        lineStart = 0
        isSigned = false
        return note
    }
}

/// What is wrong with a trail's checkpoints, and with which first.
public struct CheckpointFault: Error, Sendable, Hashable, CustomStringConvertible {
    /// What can be wrong.
    public enum Problem: Sendable, Hashable {
        /// It is no signed note of ours.
        case notACheckpoint
        /// The last one has no end: a crash tore it.
        case torn
        /// It is not signed by the key that the one before it names, or by the first key.
        case signature
        /// It is of another trail.
        case origin
        /// It covers no more records than the one before it.
        case order
        /// It is good, and says itself that the key which should have signed it was lost: a new run of keys begins.
        case newRun
    }

    /// Which checkpoint, from 1.
    public var number: Int
    /// What is wrong with it.
    public var problem: Problem

    /// A fault.
    public init(number: Int, problem: Problem) {
        self.number = number
        self.problem = problem
    }

    /// For people, without the number.
    public var description: String {
        switch problem {
        case .notACheckpoint: "not a checkpoint"
        case .torn: "the last checkpoint is torn"
        case .signature where number == 1: "not signed by the first key"
        case .signature: "not signed by the key that the checkpoint before it names"
        case .origin: "of another trail"
        case .order: "it covers no more records than the one before it"
        case .newRun: "a new run of keys begins: the checkpoints or the keys before it were lost"
        }
    }
}

/// Checkpoints of which each is signed by the key that the one before it names.
public struct CheckpointRun: Sendable, Hashable {
    /// The key that signed its first one; nil where nobody knows it.
    public var key: CheckpointKey?
    /// Whether the checkpoints or keys before it were lost, so that nothing vouches for `key`.
    public var isNew: Bool
    /// The number of its first checkpoint.
    public var first: Int
    /// The number of its last one. Between them can be some that are none.
    public var last: Int
    /// The last record that it covers.
    public var covered: UInt64
}

/// Checks a trail's checkpoints, one after the other, with memory for one of them and for the runs of keys.
///
/// After a bad one the next can go on with the same key; or with the one that the bad one names, which nothing vouches
/// for. That, or a key that a checkpoint itself says is the first one after a loss, begins a new run.
public struct CheckpointVerifier: Sendable {
    /// How many were taken, good and bad.
    public private(set) var number = 0
    /// How many were good.
    public private(set) var count = 0
    /// The last good one.
    public private(set) var last: SignedCheckpoint?
    /// The key that has to sign the next one; nil before the first where nobody knows it.
    public private(set) var key: CheckpointKey?
    /// The runs of keys so far.
    public private(set) var runs: [CheckpointRun] = []

    /// The key that a bad checkpoint names.
    private var unproven: CheckpointKey?
    private let digest: Digest
    private let check: SignatureCheck

    /// A verifier.
    ///
    /// - Parameter key: the one that signed the first checkpoint; nil where it is not known: its signature is not checked
    ///   then, and only the others show that nothing was changed.
    public init(from key: CheckpointKey?, digest: @escaping Digest, check: @escaping SignatureCheck) {
        self.key = key
        self.digest = digest
        self.check = check
    }

    /// Checks a note, as `NoteCutter` cuts it. After a throw the next one can be taken.
    ///
    /// - Returns: the checkpoint, with the key that it is signed by; nil for a first one whose key nobody knows.
    public mutating func take(
        _ note: [UInt8]
    ) throws(CheckpointFault) -> (signed: SignedCheckpoint, signer: CheckpointKey?) {
        number += 1
        guard let signed = SignedCheckpoint(note: note, digest: digest) else { throw fault(.notACheckpoint) }
        guard signed.checkpoint.origin == key?.name ?? signed.checkpoint.origin else {
            throw fault(.origin, naming: signed)
        }
        let isFirstOfAll = key == nil && signed.checkpoint.first == nil
        let signer = [key, unproven, signed.checkpoint.first].lazy.compactMap(\.self).first { [check] in
            signed.isSigned(by: $0, check)
        }
        guard signer != nil || isFirstOfAll else { throw fault(.signature, naming: signed) }
        let sequence = signed.checkpoint.position.sequence
        guard sequence > last?.checkpoint.position.sequence ?? 0 else { throw fault(.order, naming: signed) }
        // One that says that it begins a run does, or what stands before it would be vouched for with it.
        let isNew = signer != key || signed.checkpoint.first != nil
        if isNew || runs.isEmpty {
            runs.append(CheckpointRun(key: signer, isNew: isNew, first: number, last: number, covered: sequence))
        } else {
            runs[runs.count - 1].last = number
            runs[runs.count - 1].covered = sequence
        }
        count += 1
        last = signed
        key = signed.checkpoint.next
        unproven = nil
        return (signed, signer)
    }

    private mutating func fault(
        _ problem: CheckpointFault.Problem, naming signed: SignedCheckpoint? = nil
    ) -> CheckpointFault {
        unproven = signed?.checkpoint.next
        return CheckpointFault(number: number, problem: problem)
    }
}
