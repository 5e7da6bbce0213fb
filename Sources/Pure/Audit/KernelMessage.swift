// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A record as the kernel's audit subsystem takes it: the type's number, and the text between the quotes.
public struct KernelMessage: Sendable, Hashable {
    /// The number of the type (linux/audit.h, libaudit.h).
    public var type: UInt16
    /// The text; the kernel puts pid, uid, auid and ses before it.
    public var text: ByteText

    /// The messages of a record: more than one where its command is long.
    public static func messages(_ record: Record, stamp: Stamp) -> [KernelMessage] {
        let entry = Entry.record(record)
        let writer = LineWriter(entry: entry, stamp: stamp)
        return (0..<writer.parts).map { part in
            var text: [UInt8] = []
            writer.appendMessage(part: part, to: &text)
            return KernelMessage(type: entry.type.number, text: ByteText(text))
        }
    }
}

extension RecordType {
    /// The type's number in the kernel's audit subsystem.
    var number: UInt16 {
        switch self {
        case .authentication: 1_100
        case .end: 1_106
        case .error: 1_109
        case .configuration: 1_111
        case .login: 1_112
        case .command: 1_123
        case .serviceStart: 1_130
        case .serviceStop: 1_131
        case .abnormalEnd: 1_701
        }
    }
}
