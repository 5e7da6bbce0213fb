// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension Service: FrameField {}
extension Reason: FrameField {}
extension SecureTCPIP.Exception: FrameField {}
extension ServiceSettings.Names: FrameField {}
extension AuditSettings.Kernel: FrameField {}
extension AuditSettings.Durability: FrameField {}
extension AuditSettings.OnFailure: FrameField {}
extension Sandbox.OnViolation: FrameField {}

/// The limits of Core's nouns in frames.
enum FieldLimit {
    /// Bytes of a path.
    static let path = 4_096
    /// Bytes of a command, the longest that Linux takes as one argument.
    static let command = ServiceSettings.commandLengthLimit
    /// Bytes of a name that was claimed and may be wrong.
    static let claim = 256
    /// Bytes of a refusal's line.
    static let line = 512
    /// Bytes of a service's or a variable's name.
    static let name = 256
    /// Bytes of what a check found.
    static let detail = 4_096
}

extension ByteText {
    init(reading reader: inout FrameReader, limit: Int) throws(FrameError) {
        self.init(try reader.string(limit: limit))
    }
}

extension FrameWriter {
    mutating func bytes(_ value: ByteText) {
        string(value.bytes)
    }

    mutating func optionalBytes(_ value: ByteText?) {
        optional(value) { $0.bytes($1) }
    }
}

extension FrameReader {
    mutating func bytes(limit: Int) throws(FrameError) -> ByteText {
        try ByteText(reading: &self, limit: limit)
    }

    mutating func optionalBytes(limit: Int) throws(FrameError) -> ByteText? {
        try flag() ? try ByteText(reading: &self, limit: limit) : nil
    }
}

extension SessionID: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        guard let value = SessionID(bytes: try reader.string(limit: Self.size)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.string(bytes)
    }
}

extension Revision: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        guard let value = Revision(bytes: try reader.string(limit: Self.size)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.string(bytes)
    }
}

extension UserName: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        guard let value = UserName(bytes: try reader.string(limit: Self.limit)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.string(bytes)
    }
}

extension IPAddress: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        guard let value = IPAddress(networkBytes: try reader.string(limit: 16)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.string(networkBytes)
    }
}

extension Endpoint: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(address: try reader.field(), port: try reader.integer(), scope: try reader.integer())
    }

    func write(to writer: inout FrameWriter) {
        writer.field(address)
        writer.integer(port)
        writer.integer(scope)
    }
}

extension LocalTime: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        let weekday = Int(try reader.integer(UInt8.self))
        let minute = Int(try reader.integer(UInt16.self))
        guard let value = LocalTime(weekday: weekday, minute: minute) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.integer(UInt8(truncatingIfNeeded: weekday))
        writer.integer(UInt16(truncatingIfNeeded: minute))
    }
}

extension Account: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(
            name: try reader.field(), uid: try reader.integer(),
            groups: try reader.list(limit: Self.groupLimit) { (reader) throws(FrameError) in
                try reader.bytes(limit: FieldLimit.name)
            },
            isSystem: try reader.flag(), isGateway: try reader.flag(),
            pool: try reader.optional { (reader) throws(FrameError) in
                try reader.text(limit: RuleReference.nameLimit)
            })
    }

    func write(to writer: inout FrameWriter) {
        writer.field(name)
        writer.integer(uid)
        writer.list(groups) { $0.bytes($1) }
        writer.flag(isSystem)
        writer.flag(isGateway)
        writer.optional(pool) { $0.text($1) }
    }
}

extension RequestedCommand: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1:
            let words = try reader.list(limit: CommandLine.wordLimit) { (reader) throws(FrameError) in
                try reader.bytes(limit: FieldLimit.command)
            }
            guard !words.isEmpty else { throw .value }
            let program = try reader.optional { (reader) throws(FrameError) in
                Program(
                    path: try reader.bytes(limit: FieldLimit.path),
                    resolvedPath: try reader.bytes(limit: FieldLimit.path))
            }
            self = .words(words, program: program)
        case 2:
            self = .needsShell(firstWord: try reader.optionalBytes(limit: FieldLimit.command))
        default:
            throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .words(let words, let program):
            writer.integer(UInt8(1))
            writer.list(words) { $0.bytes($1) }
            writer.optional(program) {
                $0.bytes($1.path)
                $0.bytes($1.resolvedPath)
            }
        case .needsShell(let word):
            writer.integer(UInt8(2))
            writer.optionalBytes(word)
        }
    }
}

extension Request: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(
            service: try reader.field(), source: try reader.field(), sourcePort: try reader.integer(),
            remoteUser: try reader.optionalField(), target: try reader.field(), command: try reader.field(),
            time: try reader.field())
    }

    func write(to writer: inout FrameWriter) {
        writer.field(service)
        writer.field(source)
        writer.integer(sourcePort)
        writer.field(remoteUser)
        writer.field(target)
        writer.field(command)
        writer.field(time)
    }
}

extension RuleReference: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        let name = try reader.text(limit: Self.nameLimit)
        let file = try reader.text(limit: Self.fileLimit)
        let line = try reader.count(0...Int(Int32.max))
        self.init(name: name, place: FilePlace(file: file, line: line))
    }

    func write(to writer: inout FrameWriter) {
        writer.text(name)
        writer.text(place.file)
        writer.integer(Int64(place.line))
    }
}

extension Decision: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1:
            self = .permit(
                Terms(
                    rule: try reader.field(), sandbox: try reader.count(0...FrameFormat.listLimit),
                    usesShell: try reader.flag(), selfTrust: try reader.flag(), namesRoot: try reader.flag()))
        case 2:
            self = .deny(Denial(reason: try reader.field(), rule: try reader.optionalField()))
        default:
            throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .permit(let terms):
            writer.integer(UInt8(1))
            writer.field(terms.rule)
            writer.integer(Int64(terms.sandbox))
            writer.flag(terms.usesShell)
            writer.flag(terms.selfTrust)
            writer.flag(terms.namesRoot)
        case .deny(let denial):
            writer.integer(UInt8(2))
            writer.field(denial.reason)
            writer.field(denial.rule)
        }
    }
}
