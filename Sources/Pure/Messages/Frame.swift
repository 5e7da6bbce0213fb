// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What goes over a channel between two of our processes: one SEQPACKET message.
///
/// A frame is one byte of version, one byte of kind, and that kind's fields: integers little-endian, byte strings with
/// a 32-bit count. Everything is bounded and checked on reading, and nothing may follow the last field.
public protocol Frame: Sendable {
    /// Reads a whole frame.
    ///
    /// TRUST: the bytes come from another process, which may have been taken over. On return every field is in range.
    init(frame: [UInt8]) throws(FrameError)

    /// Writes the frame.
    func encoded() -> [UInt8]
}

/// The numbers that every frame obeys.
public enum FrameFormat {
    /// Raised whenever a frame changes: two programs of different versions never misread each other.
    public static let version: UInt8 = 1

    /// The most bytes of a frame: what a SEQPACKET socket takes with Linux's default buffer (measured: 212,960).
    public static let limit = 212_960

    /// The most descriptors that come with a frame.
    public static let descriptorLimit = 64

    /// The most items of a list in a frame.
    public static let listLimit = 8_192

    /// The most bytes of a text of our own in a frame: a name, a path, a message.
    public static let textLimit = 65_536
}

/// What is wrong with a frame.
public enum FrameError: Error, Sendable, Hashable {
    /// It ends within a field.
    case truncated
    /// Bytes follow the last field.
    case surplus
    /// It is of another version.
    case version(UInt8)
    /// It is of no known kind for this channel.
    case kind(UInt8)
    /// A field is out of its range.
    case value
    /// A field is longer than its limit.
    case length
}

/// A value that stands in frames.
protocol FrameField {
    init(reading reader: inout FrameReader) throws(FrameError)
    func write(to writer: inout FrameWriter)
}

/// Writes a frame's bytes.
struct FrameWriter {
    private(set) var bytes: [UInt8]

    init(kind: UInt8) {
        bytes = [FrameFormat.version, kind]
    }

    mutating func integer(_ value: some FixedWidthInteger & Sendable) {
        withoutPadding(value)
    }

    private mutating func withoutPadding<Value: FixedWidthInteger>(_ value: Value) {
        var rest = value
        for _ in 0..<(Value.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    mutating func flag(_ value: Bool) {
        bytes.append(value ? 1 : 0)
    }

    mutating func string(_ value: [UInt8]) {
        integer(UInt32(truncatingIfNeeded: value.count))
        bytes += value
    }

    mutating func text(_ value: String) {
        string(Array(value.utf8))
    }

    mutating func optional<Value>(_ value: Value?, _ write: (inout FrameWriter, Value) -> Void) {
        flag(value != nil)
        if let value { write(&self, value) }
    }

    mutating func list<Value>(_ values: [Value], _ write: (inout FrameWriter, Value) -> Void) {
        integer(UInt32(truncatingIfNeeded: values.count))
        for value in values { write(&self, value) }
    }

    mutating func field(_ value: some FrameField) {
        value.write(to: &self)
    }

    mutating func field(_ value: (some FrameField)?) {
        flag(value != nil)
        if let value { value.write(to: &self) }
    }

    mutating func fields(_ values: [some FrameField]) {
        integer(UInt32(truncatingIfNeeded: values.count))
        for value in values { value.write(to: &self) }
    }
}

/// Reads a frame's bytes; every step is checked.
struct FrameReader {
    private var rest: ArraySlice<UInt8>
    let kind: UInt8

    init(_ frame: [UInt8]) throws(FrameError) {
        guard frame.count >= 2 else { throw .truncated }
        guard frame.count <= FrameFormat.limit else { throw .length }
        guard frame[0] == FrameFormat.version else { throw .version(frame[0]) }
        kind = frame[1]
        rest = frame[2...]
    }

    func finish() throws(FrameError) {
        guard rest.isEmpty else { throw .surplus }
    }

    mutating func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(FrameError) -> Value {
        let size = Value.bitWidth / 8
        guard rest.count >= size else { throw .truncated }
        var value: Value = 0
        var shift = 0
        for byte in rest.prefix(size) {
            value |= Value(truncatingIfNeeded: byte) << Value(truncatingIfNeeded: shift)
            shift += 8
        }
        rest = rest.dropFirst(size)
        return value
    }

    mutating func flag() throws(FrameError) -> Bool {
        switch try integer(UInt8.self) {
        case 0: return false
        case 1: return true
        default: throw .value
        }
    }

    /// A count that fits an Int and a range.
    mutating func count(_ range: ClosedRange<Int>) throws(FrameError) -> Int {
        guard let value = Int(exactly: try integer(Int64.self)), range.contains(value) else { throw .value }
        return value
    }

    mutating func string(limit: Int) throws(FrameError) -> [UInt8] {
        let count = Int(try integer(UInt32.self))
        guard count <= limit else { throw .length }
        guard rest.count >= count else { throw .truncated }
        let bytes = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        return bytes
    }

    mutating func text(limit: Int = FrameFormat.textLimit) throws(FrameError) -> String {
        guard let text = String(validating: try string(limit: limit), as: UTF8.self) else { throw .value }
        return text
    }

    mutating func optional<Value>(
        _ read: (inout FrameReader) throws(FrameError) -> Value
    ) throws(FrameError) -> Value? {
        try flag() ? try read(&self) : nil
    }

    mutating func list<Value>(
        limit: Int = FrameFormat.listLimit, _ read: (inout FrameReader) throws(FrameError) -> Value
    ) throws(FrameError) -> [Value] {
        let count = Int(try integer(UInt32.self))
        guard count <= limit else { throw .length }
        // The count alone reserves nothing: a frame of a few bytes must not cost much memory.
        var values: [Value] = []
        for _ in 0..<count { values.append(try read(&self)) }
        return values
    }

    mutating func field<Value: FrameField>(_: Value.Type = Value.self) throws(FrameError) -> Value {
        try Value(reading: &self)
    }

    mutating func optionalField<Value: FrameField>(_: Value.Type = Value.self) throws(FrameError) -> Value? {
        try flag() ? try Value(reading: &self) : nil
    }

    mutating func fields<Value: FrameField>(
        limit: Int = FrameFormat.listLimit, _: Value.Type = Value.self
    ) throws(FrameError) -> [Value] {
        try list(limit: limit) { (reader) throws(FrameError) in try Value(reading: &reader) }
    }
}

extension FrameField where Self: RawRepresentable, RawValue == UInt8 {
    init(reading reader: inout FrameReader) throws(FrameError) {
        guard let value = Self(rawValue: try reader.integer(UInt8.self)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.integer(rawValue)
    }
}
