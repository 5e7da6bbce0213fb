// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// One line of a trail, read back: exactly the grammar that is written, and nothing else.
public struct TrailLine: Sendable, Hashable {
    /// A field between the quotes of `msg='…'`, decoded.
    public struct Field: Sendable, Hashable {
        /// The key.
        public var key: String
        /// The value; that of a bare `?` is empty.
        public var value: ByteText
        /// Whether it stands as untrusted text, quoted or in hexadecimal.
        public var isUntrusted: Bool
    }

    /// The type.
    public var type: RecordType
    /// Time, session and sender; the session and the program's path are fields, too.
    public var stamp: Stamp
    /// The line's number.
    public var sequence: UInt64
    /// The fields, in their order.
    public var fields: [Field]
    /// Whether `acct` is the quoted question mark, which says that no name is known; a name that is one is in
    /// hexadecimal.
    public var accountIsUnknown: Bool
    /// The last chain of the segment before, on a segment's first line.
    public var previous: ChainHead?
    /// The line's chain, as it stands there; only `TrailVerifier` says whether it is right.
    public var head: ChainHead

    /// Reads a line without its newline; nil where it is not one that this program writes.
    ///
    /// TRUST: the line may have been written by anybody. On return each part is in range; the chain is not checked.
    public init?(_ line: ArraySlice<UInt8>) {
        guard line.count < TrailFormat.lineLimit, let end = LineEnd(line) else { return nil }
        var scanner = LineScanner(rest: line.prefix(end.textCount))
        guard scanner.skip("type="), let type = RecordType(ascii: scanner.upTo(UInt8(ascii: " "))),
            scanner.skip(" msg=audit("), let seconds = scanner.number(UInt64.self, upTo: UInt8(ascii: ".")),
            scanner.skip("."), let fraction = scanner.fraction(),
            scanner.skip(":"), let serial = scanner.number(UInt64.self, upTo: UInt8(ascii: ")")),
            serial == end.sequence,
            scanner.skip("): pid="), let pid = scanner.number(Int32.self, upTo: UInt8(ascii: " ")),
            scanner.skip(" uid="), let uid = scanner.number(UInt32.self, upTo: UInt8(ascii: " ")),
            scanner.skip(" auid="), let auid = scanner.number(UInt32.self, upTo: UInt8(ascii: " ")),
            scanner.skip(" ses="), let ses = scanner.number(UInt32.self, upTo: UInt8(ascii: " ")),
            scanner.skip(" msg='")
        else { return nil }
        let (whole, overflowed) = seconds.multipliedReportingOverflow(by: 1_000)
        let (milliseconds, carried) = whole.addingReportingOverflow(fraction)
        let body = scanner.upTo(UInt8(ascii: "'"))
        guard !overflowed, !carried, let found = Self.fields(body), scanner.skip("'"), scanner.rest.isEmpty else {
            return nil
        }

        self.type = type
        fields = found.fields
        accountIsUnknown = found.accountIsUnknown
        sequence = end.sequence
        previous = end.previous
        head = end.head
        let sender = Sender(pid: pid, uid: uid, auid: auid, ses: ses, executable: ByteText([]))
        stamp = Stamp(milliseconds: milliseconds, session: nil, sender: sender)
        guard let executable = self["exe"] else { return nil }
        stamp.sender.executable = executable
        if let text = self["session"] {
            guard let id = text.text.flatMap({ SessionID($0) }) else { return nil }
            stamp.session = id
        }
    }

    /// The value of a field.
    public subscript(key: String) -> ByteText? {
        fields.first { $0.key == key }?.value
    }

    /// The most fields of a line.
    private static let fieldLimit = 64

    /// The fields, and whether `acct` is the quoted question mark; nil where a part is no field.
    private static func fields(_ text: ArraySlice<UInt8>) -> (fields: [Field], accountIsUnknown: Bool)? {
        var fields: [Field] = []
        fields.reserveCapacity(24)
        var accountIsUnknown = false
        var rest = text
        while true {
            // No value holds a blank, in whatever encoding.
            let blank = rest.firstIndex(of: UInt8(ascii: " "))
            let part = rest[..<(blank ?? rest.endIndex)]
            guard fields.count < fieldLimit, let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let key = part[..<equals]
            guard !key.isEmpty, key.allSatisfy(isKey) else { return nil }
            let name = String(decoding: key, as: UTF8.self)
            let isUntrusted = FieldText.isUntrusted(name)
            let text = part[equals...].dropFirst()
            guard let value = isUntrusted ? FieldText.untrusted(text) : FieldText.word(text) else { return nil }
            guard !fields.contains(where: { $0.key == name }) else { return nil }
            if name == "acct", text.elementsEqual("\"?\"".utf8) { accountIsUnknown = true }
            fields.append(Field(key: name, value: ByteText(value), isUntrusted: isUntrusted))
            guard let blank else { return (fields, accountIsUnknown) }
            rest = rest[blank...].dropFirst()
        }
    }

    private static func isKey(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "-")
    }
}

/// What stands behind the quotes: number, the segment's past, and the chain.
struct LineEnd {
    /// `seq=`.
    let sequence: UInt64
    /// `prev=`.
    let previous: ChainHead?
    /// `chain=`.
    let head: ChainHead
    /// The bytes before ` seq=`, the closing quote included.
    let textCount: Int
    /// The bytes before ` chain=`, which are what the chain covers.
    let coveredCount: Int

    private static let chainKey = Array(" chain=".utf8)
    private static let previousKey = Array(" prev=".utf8)
    private static let sequenceKey = Array(" seq=".utf8)
    /// The most digits of a number.
    private static let digitLimit = 20

    init?(_ line: ArraySlice<UInt8>) {
        var rest = line
        guard let head = Self.head(Self.chainKey, &rest) else { return nil }
        self.head = head
        coveredCount = rest.count
        previous = Self.head(Self.previousKey, &rest)
        var digits = rest.endIndex
        while digits > rest.startIndex, rest.endIndex - digits < Self.digitLimit,
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(rest[digits - 1])
        {
            digits -= 1
        }
        guard let number = FieldText.number(rest[digits...], as: UInt64.self), number > 0 else { return nil }
        sequence = number
        rest = rest[..<digits]
        guard Self.ends(rest, with: Self.sequenceKey) else { return nil }
        rest = rest.dropLast(Self.sequenceKey.count)
        guard rest.last == UInt8(ascii: "'") else { return nil }
        textCount = rest.count
    }

    private static func ends(_ text: ArraySlice<UInt8>, with key: [UInt8]) -> Bool {
        guard text.count >= key.count else { return false }
        var place = text.endIndex - key.count
        for byte in key {
            guard text[place] == byte else { return false }
            place += 1
        }
        return true
    }

    /// Takes a key and a chain off the end.
    private static func head(_ key: [UInt8], _ rest: inout ArraySlice<UInt8>) -> ChainHead? {
        let without = rest.dropLast(ChainHead.size)
        guard ends(without, with: key), let head = ChainHead(digits: rest[without.endIndex...]) else { return nil }
        rest = without.dropLast(key.count)
        return head
    }
}

/// Walks a line from left to right; nothing is looked at twice.
private struct LineScanner {
    var rest: ArraySlice<UInt8>

    mutating func skip(_ text: String) -> Bool {
        guard rest.starts(with: text.utf8) else { return false }
        rest = rest.dropFirst(text.utf8.count)
        return true
    }

    mutating func upTo(_ byte: UInt8) -> ArraySlice<UInt8> {
        let part = rest.prefix { $0 != byte }
        rest = rest.dropFirst(part.count)
        return part
    }

    mutating func number<Value: FixedWidthInteger>(_: Value.Type, upTo byte: UInt8) -> Value? {
        FieldText.number(upTo(byte))
    }

    /// Three digits.
    mutating func fraction() -> UInt64? {
        let part = rest.prefix(3)
        rest = rest.dropFirst(3)
        guard part.count == 3, part.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        // INVARIANT: three digits, so at most 999.
        return part.reduce(0) { $0 * 10 + UInt64($1 - UInt8(ascii: "0")) }
    }
}

extension RecordType {
    init?(ascii text: ArraySlice<UInt8>) {
        guard let type = Self.allCases.first(where: { $0.rawValue.utf8.elementsEqual(text) }) else { return nil }
        self = type
    }
}
