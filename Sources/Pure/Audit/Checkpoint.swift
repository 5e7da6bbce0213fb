// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A public key of Ed25519 that signs a checkpoint, with the name under which it signs.
///
/// Its text is the one that C2SP's signed-note has for it ("vkey"): the name, `+`, eight hexadecimal digits, `+`, and the
/// key in Base64. The digits are the first four bytes of SHA-256 over the name, a newline, the type 1 and the key.
public struct CheckpointKey: Sendable, Hashable, CustomStringConvertible {
    /// The bytes of a key.
    public static let size = 32
    /// The bytes of its id.
    public static let idSize = 4
    /// The most bytes of a name.
    public static let nameLimit = 255
    /// The most bytes of the text.
    public static let textLimit = nameLimit + 64
    /// Signed-note's number for Ed25519.
    private static let type: UInt8 = 1

    /// The name: the trail's origin, in ASCII without blanks and `+`.
    public let name: String
    /// The key.
    public let bytes: [UInt8]
    /// What tells it from other keys of the same name in a signature's line.
    public let id: [UInt8]

    /// A key; nil where the name is none, or the key has another length.
    public init?(name: String, bytes: [UInt8], digest: Digest) {
        guard Self.isName(name.utf8), bytes.count == Self.size else { return nil }
        self.name = name
        self.bytes = bytes
        id = Array(digest(Array(name.utf8) + [UInt8(ascii: "\n"), Self.type] + bytes).prefix(Self.idSize))
    }

    /// Reads a key's text; nil where it is none, or its digits are not those of the key.
    public init?(text: some Collection<UInt8>, digest: Digest) {
        guard text.count <= Self.textLimit else { return nil }
        // The key's own Base64 can have a `+`.
        let parts = text.split(separator: UInt8(ascii: "+"), maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64.bytes(parts[2]), bytes.first == Self.type,
            let key = CheckpointKey(
                name: String(decoding: parts[0], as: UTF8.self), bytes: Array(bytes.dropFirst()), digest: digest),
            key.idText.utf8.elementsEqual(parts[1])
        else { return nil }
        self = key
    }

    /// The key's text.
    public var description: String { "\(name)+\(idText)+\(Base64.text([Self.type] + bytes))" }

    private var idText: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: id.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// Whether a text can be a name: 1 to `nameLimit` printable characters of ASCII, no blank and no `+`.
    public static func isName(_ text: some Collection<UInt8>) -> Bool {
        !text.isEmpty && text.count <= nameLimit
            && text.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "+") }
    }
}

/// How far a trail had come, and who signs the next time.
public struct Checkpoint: Sendable, Hashable {
    /// The last record that it covers; with it all before.
    public var position: ChainPosition
    /// The key that the next checkpoint is signed with. Its name is the origin.
    public var next: CheckpointKey
    /// The key that this one is signed with, where it begins a new run of keys because those before were lost; nil where
    /// the checkpoint before, or the first key, says which one that is.
    public var first: CheckpointKey?

    /// A checkpoint.
    public init(position: ChainPosition, next: CheckpointKey, first: CheckpointKey? = nil) {
        self.position = position
        self.next = next
        self.first = first
    }

    /// Which trail it is.
    public var origin: String { next.name }

    /// The text that is signed: C2SP's tlog-checkpoint, with the chain in the root's place, and lines for keys.
    public var text: [UInt8] {
        let begins = first.map { "first \($0)\n" } ?? ""
        return Array(
            "\(origin)\n\(position.sequence)\n\(Base64.text(position.head.bytes))\nnext \(next)\n\(begins)".utf8)
    }
}

/// Says whether a signature of Ed25519 fits a text and a key, in this order; passed in, because Pure has no cryptography.
public typealias SignatureCheck = @Sendable ([UInt8], [UInt8], [UInt8]) -> Bool

/// A checkpoint with its signature: a C2SP signed note.
public struct SignedCheckpoint: Sendable, Hashable {
    /// The most bytes of a note.
    public static let limit = 2_048
    /// The bytes of a signature.
    public static let signatureSize = 64
    /// What a line of a signature begins with: an em dash and a blank.
    static let mark = Array("\u{2014} ".utf8)

    /// What it says.
    public var checkpoint: Checkpoint
    /// The id of the key that signed it.
    public var keyID: [UInt8]
    /// The signature of `checkpoint.text`.
    public var signature: [UInt8]

    /// A checkpoint that a key has signed.
    public init(_ checkpoint: Checkpoint, signedBy key: CheckpointKey, signature: [UInt8]) {
        self.checkpoint = checkpoint
        keyID = key.id
        self.signature = signature
    }

    /// The note: the text, an empty line, and the signature's line.
    public var note: [UInt8] {
        checkpoint.text + Array("\n\u{2014} \(checkpoint.origin) \(Base64.text(keyID + signature))\n".utf8)
    }

    /// Reads a note: exactly what `note` writes; nil for anything else.
    public init?(note: some Collection<UInt8>, digest: Digest) {
        guard note.count <= Self.limit, let signed = Self.read(note, digest: digest), signed.note.elementsEqual(note)
        else { return nil }
        self = signed
    }

    /// Reads a copy that came through a log: its words in their order, whatever became of the line's ends, and whatever
    /// the log put before them. A newline may have become `#012`, as rsyslog has it.
    ///
    /// - Parameter copy: text with one or more of them. Any of them may be a stranger's: a log takes lines of everybody.
    /// - Returns: them all, in their order.
    public static func all(inCopy copy: [UInt8], digest: Digest) -> [SignedCheckpoint] {
        var words: [ArraySlice<UInt8>] = []
        for part in copy.split(whereSeparator: { $0 <= 0x20 }) {
            var rest = part
            while let newline = rest.firstIndex(of: UInt8(ascii: "#")), rest[newline...].starts(with: "#012".utf8) {
                if newline > rest.startIndex { words.append(rest[..<newline]) }
                rest = rest[newline...].dropFirst(4)
            }
            if !rest.isEmpty { words.append(rest) }
        }
        var found: [SignedCheckpoint] = []
        for place in words.indices.dropFirst(3) where words[place].elementsEqual("next".utf8) {
            let beginsRun = words[(place - 3)...].dropFirst(5).first?.elementsEqual("first".utf8) ?? false
            let all = words[(place - 3)...].prefix(beginsRun ? 10 : 8)
            if let signed = read(words: Array(all), digest: digest) { found.append(signed) }
        }
        return found
    }

    private static func read(_ note: some Collection<UInt8>, digest: Digest) -> SignedCheckpoint? {
        let words = note.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: " ") }.map { ArraySlice(Array($0)) }
        return read(words: words, digest: digest)
    }

    /// `ORIGIN SIZE ROOT next KEY [first KEY] — NAME SIGNATURE`.
    private static func read(words: [ArraySlice<UInt8>], digest: Digest) -> SignedCheckpoint? {
        var words = words
        var first: CheckpointKey?
        if words.count == 10, words[5].elementsEqual("first".utf8) {
            guard let key = CheckpointKey(text: words[6], digest: digest), key.name.utf8.elementsEqual(words[0]) else {
                return nil
            }
            first = key
            words.removeSubrange(5...6)
        }
        guard words.count == 8, let size: UInt64 = FieldText.number(words[1]), size > 0,
            let head = Base64.bytes(words[2]).flatMap({ ChainHead(bytes: $0) }),
            words[3].elementsEqual("next".utf8), let next = CheckpointKey(text: words[4], digest: digest),
            next.name.utf8.elementsEqual(words[0]), words[5].elementsEqual(mark.dropLast()),
            words[6].elementsEqual(words[0]), let signed = Base64.bytes(words[7]),
            signed.count == CheckpointKey.idSize + signatureSize
        else { return nil }
        let position = ChainPosition(sequence: size, head: head)
        return SignedCheckpoint(
            checkpoint: Checkpoint(position: position, next: next, first: first),
            keyID: Array(signed.prefix(CheckpointKey.idSize)),
            signature: Array(signed.dropFirst(CheckpointKey.idSize)))
    }

    private init(checkpoint: Checkpoint, keyID: [UInt8], signature: [UInt8]) {
        self.checkpoint = checkpoint
        self.keyID = keyID
        self.signature = signature
    }

    /// Whether a key signed it.
    public func isSigned(by key: CheckpointKey, _ check: SignatureCheck) -> Bool {
        keyID == key.id && checkpoint.origin == key.name && check(signature, checkpoint.text, key.bytes)
    }
}
