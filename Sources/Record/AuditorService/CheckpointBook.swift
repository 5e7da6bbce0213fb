// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import TrailCrypto

/// The checkpoints of a trail, and the keys that sign them.
///
/// Beside the trail lie the notes (`checkpoints`), the first public key (`checkpoints.vkey`), and the private key of the
/// next checkpoint (`checkpoints.key`), which no checkpoint was signed with yet. Each checkpoint names the public key of
/// the one after it, and then its own private key is erased: who takes the key can sign what is to come, and nothing
/// that was. One step after the other is on disk before the next is taken:
///
/// 1. the next private key, in `checkpoints.key.next`;
/// 2. the note, which names it, signed by `checkpoints.key`;
/// 3. zeros over `checkpoints.key`;
/// 4. `checkpoints.key.next` takes its name.
///
/// What a crash leaves between them `prepare` sees by the key that the last note names: where that is the current one,
/// the other was never used, and is erased; where it is the next one, steps 3 and 4 are done again. Where it is neither,
/// or the notes have gone, a new run of keys begins: that is said on the trail, and then by the first checkpoint of it.
final class CheckpointBook {
    /// The private key that signs the next checkpoint.
    static let secretName = TrailNeighbour.secretName
    /// The private key of the one after it, while there are two.
    static let nextSecretName = secretName + ".next"
    /// What `checkpoints.vkey` is called until it is whole.
    private static let newKeyName = CheckpointFile.keyName + ".new"

    /// The last checkpoint that is on disk.
    private(set) var last: Checkpoint?
    /// What went wrong last; nil where nothing did.
    private(set) var failure: String?
    /// What is to be said on the trail.
    private var notes: [Entry.Note] = []
    /// The first public key of a run, from the moment it was made until it is told.
    private var firstKey: CheckpointKey?

    /// Told of each checkpoint when it is on disk.
    var announce: (SignedCheckpoint) -> Void = { _ in }
    /// Told of each step of `make` before it is taken; tests end it there.
    var step: (Step) throws(SystemError) -> Void = { _ throws(SystemError) in }

    /// The steps of `make`; what is `OnDisk` was done, and is to be synchronised.
    enum Step: CaseIterable {
        case nextSecret, nextSecretOnDisk, nextSecretNameOnDisk, note, noteOnDisk, erasure, erasureOnDisk, rename
        case renameOnDisk
    }

    private let directory: Descriptor
    private let hostName: String
    private let digest: Digest
    private var file: (writer: Descriptor, size: Int64)?
    private var tornBytes = 0
    /// Whether the file was not the one any more that is open, and what has its name was not looked at yet.
    private var isReplaced = false
    private var signer: CheckpointSigner?
    /// Whether nothing in the file names the key that signs the next checkpoint, so that this has to.
    private var beginsRun = false
    /// Whether steps 3 and 4 are still to be done for the last checkpoint.
    private var hasOldSecret = false
    /// Whether a note that could not be written, or not be synchronised, may stand behind the last one.
    private var hasFailedNote = false

    /// - Parameters:
    ///   - directory: where the trail is.
    ///   - hostName: what the origin of a new trail begins with.
    init(directory: Descriptor, hostName: String, digest: @escaping Digest) {
        self.directory = directory
        self.hostName = hostName
        self.digest = digest
    }

    // MARK: Reading

    /// Reads the last checkpoint; nothing is written.
    ///
    /// - Returns: the last record that it covers; nil where there is none that can be believed.
    func open(_ found: inout [Entry.Note]) throws(SystemError) -> ChainPosition? {
        last = try readLast(&found)
        return last?.position
    }

    /// The last checkpoint in the file, if it can be believed.
    private func readLast(_ found: inout [Entry.Note]) throws(SystemError) -> Checkpoint? {
        tornBytes = 0
        guard let reader = try existing(CheckpointFile.name, [.reading]) else { return nil }
        let size = try File.status(reader).size
        let start = max(0, size - Int64(CheckpointFile.window))
        let tail = CheckpointFile.Tail(
            try File.read(reader, at: start, limit: Int(size - start)), isWhole: start == 0, digest: digest)
        tornBytes = tail.torn
        guard let signed = tail.last else {
            if !tail.isWhole { found.append(Self.note("the last thing in \(CheckpointFile.name) is none")) }
            return nil
        }
        var key = signed.checkpoint.first ?? tail.before?.checkpoint.next
        if key == nil, tail.isAlone { key = try readFirstKey() }
        if let key, !signed.isSigned(by: key, isEd25519Signature) {
            found.append(Self.note("the last one is not signed by the key that it has to be signed by"))
            return nil
        }
        return signed.checkpoint
    }

    private static func note(_ text: String) -> Entry.Note {
        Entry.Note(subject: .brokenCheckpoints, detail: ByteText(text))
    }

    /// Opens a file of ours; nil where there is none.
    private func existing(_ name: String, _ options: File.Options) throws(SystemError) -> Descriptor? {
        let file: Descriptor
        do throws(SystemError) {
            file = try File.open(name, below: directory, options.union([.noFollow, .nonBlocking]))
        } catch {
            if error.isNotFound { return nil }
            throw SystemError(error.code, name)
        }
        let status = try File.status(file)
        guard status.kind == .regular, status.links == 1, status.uid == Process.userID else {
            throw SystemError(1 /* EPERM */, "\(name) is not a regular file of the auditor's own")
        }
        return file
    }

    private func readFirstKey() throws(SystemError) -> CheckpointKey? {
        guard let file = try existing(CheckpointFile.keyName, [.reading]) else { return nil }
        let text = try File.read(file, at: 0, limit: CheckpointKey.textLimit + 1)
        return CheckpointKey(text: text.prefix { $0 != UInt8(ascii: "\n") }, digest: digest)
    }

    private func readSigner(_ name: String, origin: String) throws(SystemError) -> CheckpointSigner? {
        guard let file = try existing(name, [.reading]) else { return nil }
        var seed = try File.read(file, at: 0, limit: CheckpointSigner.seedSize + 1)
        defer { wipe(&seed) }
        return CheckpointSigner(seed: seed, name: origin, digest: digest)
    }

    // MARK: Keys

    /// Makes ready what the next checkpoint needs, and looks whether the file is still the one that was written; `failure`
    /// says why not, and `make` tries it again.
    func makeReady() {
        do throws(SystemError) {
            try prepare()
        } catch {
            failure = "\(error)"
        }
    }

    /// Makes ready the file, and the keys, made where there are none.
    private func prepare() throws(SystemError) {
        if let open = file, try !isUntouched(open) {
            file = nil
            isReplaced = true
        }
        if isReplaced {
            let found = try readLast(&notes)
            isReplaced = false
            beginsRun = beginsRun || found != last
            notes.append(
                Self.note("the file was changed, moved or removed while it was open: what follows is in another one"))
        }
        if file == nil { file = try openFile() }
        if hasOldSecret {
            try advance()
            hasOldSecret = false
        }
        guard signer == nil else { return }
        let first = try readFirstKey()
        let origin = last?.origin ?? first?.name ?? Self.origin(hostName)
        let current = try readSigner(Self.secretName, origin: origin)
        let next = try readSigner(Self.nextSecretName, origin: origin)
        if let named = last?.next {
            if let current, current.key == named {
                // A crash before the note: nothing was signed that names the other one.
                if next != nil { try erase(Self.nextSecretName, removing: true) }
                signer = current
            } else if let next, next.key == named {
                try advance()
                signer = next
            } else {
                beginRun(with: try makeSecret(origin), "the key that has to sign the next one is missing")
            }
            return
        }
        if let first {
            if let current, current.key == first {
                if next != nil { try erase(Self.nextSecretName, removing: true) }
                signer = current
                return
            }
            // Where there are two, the current one may have signed: no key signs twice.
            beginRun(
                with: try made(next == nil ? current : nil, origin),
                "the checkpoints, or the keys, that there were are missing")
            return
        }
        let made = try made(current, origin)
        // ORDER: a first key is told when its private key is on disk, and again where it could not be kept.
        firstKey = made.key
        try writeFirstKey(made.key)
        signer = made
    }

    private func made(_ current: CheckpointSigner?, _ origin: String) throws(SystemError) -> CheckpointSigner {
        if let current { return current }
        return try makeSecret(origin)
    }

    /// Goes on with a key that nothing names.
    private func beginRun(with made: CheckpointSigner, _ loss: String) {
        signer = made
        beginsRun = true
        firstKey = made.key
        notes.append(Self.note("\(loss): a new run of keys begins with \(made.key)"))
    }

    /// Whether the file is still the one that the name stands for, and as long as what was written.
    private func isUntouched(_ file: (writer: Descriptor, size: Int64)) throws(SystemError) -> Bool {
        guard let named = try existing(CheckpointFile.name, [.reading]) else { return false }
        let own = try File.status(file.writer)
        let status = try File.status(named)
        guard status.device == own.device, status.inode == own.inode else { return false }
        // What is more `sign` cuts off.
        return own.size == file.size || hasFailedNote && own.size > file.size
    }

    /// What there is to say on the trail, once.
    func takeNotes() -> [Entry.Note] {
        defer { notes = [] }
        return notes
    }

    /// The first public key of a run, once, when it was made.
    func takeFirstKey() -> CheckpointKey? {
        defer { firstKey = nil }
        return firstKey
    }

    /// A trail's origin: the host that it began on.
    static func origin(_ hostName: String) -> String {
        let name = hostName.utf8.prefix(200).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                byte
            default: UInt8(ascii: "_")
            }
        }
        return (name.isEmpty ? "localhost" : String(decoding: name, as: UTF8.self)) + "/portcullis"
    }

    private func openFile() throws(SystemError) -> (writer: Descriptor, size: Int64) {
        let writer = try File.open(
            CheckpointFile.name, below: directory, [.writing, .appending, .creating, .noFollow, .nonBlocking],
            mode: 0o600)
        let status = try File.status(writer)
        guard status.kind == .regular, status.links == 1, status.uid == Process.userID else {
            throw SystemError(1 /* EPERM */, "\(CheckpointFile.name) is not a regular file of the auditor's own")
        }
        if status.mode != 0o600 { try File.setMode(writer, 0o600) }
        let whole = max(0, status.size - Int64(tornBytes))
        if tornBytes > 0 {
            guard let reader = try existing(CheckpointFile.name, [.reading]) else {
                throw SystemError(2 /* ENOENT */, CheckpointFile.name)
            }
            let torn = TornEnd(
                directory: directory, file: CheckpointFile.name,
                bytes: try File.read(reader, at: whole, limit: tornBytes))
            let aside = try torn.setAside(writer, leaving: whole)
            notes.append(Self.note("the last one was torn: \(tornBytes) bytes are set aside in \(aside)"))
            tornBytes = 0
        }
        try File.synchronize(directory)
        return (writer, whole)
    }

    private func makeSecret(_ origin: String) throws(SystemError) -> CheckpointSigner {
        let made = try writeNextSecret(origin)
        try advance()
        return made
    }

    /// Step 1: a new private key, on disk.
    private func writeNextSecret(_ origin: String) throws(SystemError) -> CheckpointSigner {
        var seed = try Random.bytes(CheckpointSigner.seedSize)
        defer { wipe(&seed) }
        guard let made = CheckpointSigner(seed: seed, name: origin, digest: digest) else {
            throw SystemError(22 /* EINVAL */, "a key of Ed25519")
        }
        let secret = try File.open(
            Self.nextSecretName, below: directory, [.writing, .creating, .truncating, .noFollow, .nonBlocking],
            mode: 0o600)
        try File.setMode(secret, 0o600)
        try secret.writeAll(seed)
        try step(.nextSecretOnDisk)
        try File.synchronize(secret)
        try step(.nextSecretNameOnDisk)
        try File.synchronize(directory)
        return made
    }

    /// Steps 3 and 4: the key that has signed is erased, and the next one takes its place.
    private func advance() throws(SystemError) {
        guard try existing(Self.nextSecretName, [.reading]) != nil else {
            // The next key is in its place, and the directory could not be synchronised: to erase what is there now would
            // end the row of keys.
            try step(.renameOnDisk)
            return try File.synchronize(directory)
        }
        try step(.erasure)
        try erase(Self.secretName, removing: false)
        try step(.rename)
        try File.rename(Self.nextSecretName, to: Self.secretName, below: directory)
        try step(.renameOnDisk)
        try File.synchronize(directory)
    }

    private func erase(_ name: String, removing: Bool) throws(SystemError) {
        guard let secret = try existing(name, [.writing]) else { return }
        try File.overwrite(secret, with: Array(repeating: 0, count: CheckpointSigner.seedSize))
        try step(.erasureOnDisk)
        try File.synchronize(secret)
        guard removing else { return }
        try File.remove(name, below: directory)
        try File.synchronize(directory)
    }

    private func writeFirstKey(_ key: CheckpointKey) throws(SystemError) {
        let file = try File.open(
            Self.newKeyName, below: directory, [.writing, .creating, .truncating, .noFollow, .nonBlocking], mode: 0o600)
        try file.writeAll(Array("\(key)\n".utf8))
        try File.synchronize(file)
        try File.rename(Self.newKeyName, to: CheckpointFile.keyName, below: directory)
        try File.synchronize(directory)
    }

    // MARK: Making

    /// Makes a checkpoint of what is on disk, and what could not be done after the last one.
    ///
    /// - Returns: whether it is made, or there is nothing new. Otherwise `failure` says why not; or there is something to
    ///   say on the trail first, so that a new run of keys covers that it begins. It can be tried again.
    @discardableResult
    func make(of position: ChainPosition) -> Bool {
        let isNew = position.sequence > last?.position.sequence ?? 0
        guard isNew || failure != nil else { return true }
        do throws(SystemError) {
            try prepare()
            if isNew, try !sign(position) { return false }
            failure = nil
            return true
        } catch {
            failure = "\(error)"
            return false
        }
    }

    private func sign(_ position: ChainPosition) throws(SystemError) -> Bool {
        guard notes.isEmpty, let signer, var file else { return false }
        // What a failed write left is gone from disk before another key is made: no two keys sign after this one.
        if hasFailedNote {
            try File.truncate(file.writer, to: file.size)
            try File.synchronize(file.writer)
            hasFailedNote = false
        }
        try step(.nextSecret)
        let next = try writeNextSecret(signer.key.name)
        let checkpoint = Checkpoint(position: position, next: next.key, first: beginsRun ? signer.key : nil)
        guard let signature = signer.sign(checkpoint.text) else { throw SystemError(5 /* EIO */, "signing") }
        let signed = SignedCheckpoint(checkpoint, signedBy: signer.key, signature: signature)
        try step(.note)
        let text = CheckpointFile.text(of: signed)
        hasFailedNote = true
        do throws(SystemError) {
            try file.writer.writeAll(text)
            try step(.noteOnDisk)
            try File.synchronize(file.writer)
        } catch {
            // At once, so that a reader finds no torn note; else before the next one.
            try? File.truncate(file.writer, to: file.size)
            throw error
        }
        hasFailedNote = false
        file.size += Int64(text.count)
        self.file = file
        last = checkpoint
        self.signer = next
        beginsRun = false
        hasOldSecret = true
        announce(signed)
        try advance()
        hasOldSecret = false
        return true
    }
}
