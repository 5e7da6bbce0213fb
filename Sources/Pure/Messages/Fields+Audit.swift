// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

extension Record.Origin: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(service: try reader.field(), address: try reader.optionalField(), port: try reader.integer())
    }

    func write(to writer: inout FrameWriter) {
        writer.field(service)
        writer.field(address)
        writer.integer(port)
    }
}

extension Record.Outcome: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1: self = .status(try reader.integer())
        case 2: self = .signal(try reader.integer())
        case 3: self = .lost(reason: try reader.text(limit: FieldLimit.name))
        default: throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .status(let status):
            writer.integer(UInt8(1))
            writer.integer(status)
        case .signal(let signal):
            writer.integer(UInt8(2))
            writer.integer(signal)
        case .lost(let reason):
            writer.integer(UInt8(3))
            writer.text(reason)
        }
    }
}

extension Record.RefusedCommand: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        let text = try reader.bytes(limit: Self.limit)
        guard let value = Self(beginning: text, of: try reader.count(0...FieldLimit.command)) else { throw .value }
        self = value
    }

    func write(to writer: inout FrameWriter) {
        writer.bytes(text)
        writer.integer(Int64(length))
    }
}

extension Record.Denial: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        let origin: Record.Origin = try reader.field()
        let account = try reader.bytes(limit: FieldLimit.claim)
        let signal: UInt8? = try reader.optional { (reader) throws(FrameError) in try reader.integer() }
        let program = try reader.optionalBytes(limit: Self.pathLimit)
        let count = try reader.count(1...Self.countLimit)
        let subject: Subject
        switch try reader.integer(UInt8.self) {
        case 1:
            subject = .call(
                try reader.optional { (reader) throws(FrameError) in try reader.text(limit: Self.wordLimit) })
        case 2:
            subject = .access(
                try reader.text(limit: Self.wordLimit), path: try reader.optionalBytes(limit: Self.pathLimit))
        case 3: subject = .further
        default: throw .value
        }
        self.init(
            origin: origin, account: account, subject: subject, signal: signal, program: program, count: count)
    }

    func write(to writer: inout FrameWriter) {
        writer.field(origin)
        writer.bytes(account)
        writer.optional(signal) { $0.integer($1) }
        writer.optionalBytes(program)
        writer.integer(Int64(count))
        switch subject {
        case .call(let name):
            writer.integer(UInt8(1))
            writer.optional(name) { $0.text($1) }
        case .access(let access, let path):
            writer.integer(UInt8(2))
            writer.text(access)
            writer.optionalBytes(path)
        case .further:
            writer.integer(UInt8(3))
        }
    }
}

extension Record: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1:
            self = .serviceStart(unit: try reader.text(limit: FieldLimit.name))
        case 2:
            self = .serviceStop(
                unit: try reader.text(limit: FieldLimit.name), reason: try reader.text(limit: FieldLimit.name),
                isFailure: try reader.flag())
        case 3:
            self = .policyLoaded(
                revision: try reader.field(), file: try reader.bytes(limit: FieldLimit.path),
                rules: try reader.count(0...Int(Int32.max)))
        case 4:
            self = .policyRejected(
                file: try reader.bytes(limit: FieldLimit.path), errors: try reader.bytes(limit: Self.errorsLimit))
        case 5:
            self = .authentication(
                Authentication(
                    origin: try reader.field(), account: try reader.bytes(limit: FieldLimit.claim),
                    grantors: try reader.text(limit: FieldLimit.name), failure: try reader.optionalField(),
                    detail: try reader.optionalBytes(limit: FieldLimit.detail),
                    pool: try reader.optional { (reader) throws(FrameError) in
                        try reader.text(limit: RuleReference.nameLimit)
                    }))
        case 6:
            self = .login(
                Login(
                    origin: try reader.field(), account: try reader.optionalBytes(limit: FieldLimit.claim),
                    remoteUser: try reader.optionalBytes(limit: FieldLimit.claim),
                    refusal: try reader.optionalField(), rule: try reader.optionalField(),
                    revision: try reader.optionalField(),
                    detail: try reader.optionalBytes(limit: FieldLimit.detail),
                    command: try reader.optionalField(),
                    count: try reader.count(1...Int(Int32.max)),
                    pool: try reader.optional { (reader) throws(FrameError) in
                        try reader.text(limit: RuleReference.nameLimit)
                    }))
        case 7:
            self = .command(
                Command(
                    origin: try reader.field(), account: try reader.bytes(limit: FieldLimit.claim),
                    commandLine: try reader.bytes(limit: FieldLimit.command),
                    program: try reader.bytes(limit: FieldLimit.path),
                    argumentCount: try reader.count(0...CommandLine.wordLimit),
                    sandbox: try reader.text(limit: FieldLimit.name),
                    limits: try reader.optional { (reader) throws(FrameError) in
                        try reader.text(limit: FieldLimit.name)
                    }))
        case 8:
            self = .end(
                End(
                    origin: try reader.field(), account: try reader.bytes(limit: FieldLimit.claim),
                    outcome: try reader.field(), bytesIn: try reader.integer(), bytesOut: try reader.integer(),
                    bytesErr: try reader.integer(), milliseconds: try reader.integer(),
                    limit: try reader.optional { (reader) throws(FrameError) in
                        try reader.text(limit: FieldLimit.name)
                    },
                    leftovers: try reader.optional { (reader) throws(FrameError) in
                        try reader.count(0...Int(Int32.max))
                    },
                    droppedStderr: try reader.integer(), ignoredSignals: try reader.integer()))
        case 9:
            self = .notice(
                Notice(
                    origin: try reader.field(), account: try reader.bytes(limit: FieldLimit.claim),
                    operation: try reader.text(limit: FieldLimit.name),
                    detail: try reader.bytes(limit: FieldLimit.detail)))
        case 10:
            self = .denial(try reader.field())
        default:
            throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .serviceStart(let unit):
            writer.integer(UInt8(1))
            writer.text(unit)
        case .serviceStop(let unit, let reason, let isFailure):
            writer.integer(UInt8(2))
            writer.text(unit)
            writer.text(reason)
            writer.flag(isFailure)
        case .policyLoaded(let revision, let file, let rules):
            writer.integer(UInt8(3))
            writer.field(revision)
            writer.bytes(file)
            writer.integer(Int64(rules))
        case .policyRejected(let file, let errors):
            writer.integer(UInt8(4))
            writer.bytes(file)
            writer.bytes(ByteText(Array(errors.bytes.prefix(Self.errorsLimit))))
        case .authentication(let record):
            writer.integer(UInt8(5))
            writer.field(record.origin)
            writer.bytes(record.account)
            writer.text(record.grantors)
            writer.field(record.failure)
            writer.optionalBytes(record.detail)
            writer.optional(record.pool) { $0.text($1) }
        case .login(let record):
            writer.integer(UInt8(6))
            writer.field(record.origin)
            writer.optionalBytes(record.account)
            writer.optionalBytes(record.remoteUser)
            writer.field(record.refusal)
            writer.field(record.rule)
            writer.field(record.revision)
            writer.optionalBytes(record.detail)
            writer.field(record.command)
            writer.integer(Int64(record.count))
            writer.optional(record.pool) { $0.text($1) }
        case .command(let record):
            writer.integer(UInt8(7))
            writer.field(record.origin)
            writer.bytes(record.account)
            writer.bytes(record.commandLine)
            writer.bytes(record.program)
            writer.integer(Int64(record.argumentCount))
            writer.text(record.sandbox)
            writer.optional(record.limits) { $0.text($1) }
        case .end(let record):
            writer.integer(UInt8(8))
            writer.field(record.origin)
            writer.bytes(record.account)
            writer.field(record.outcome)
            writer.integer(record.bytesIn)
            writer.integer(record.bytesOut)
            writer.integer(record.bytesErr)
            writer.integer(record.milliseconds)
            writer.optional(record.limit) { $0.text($1) }
            writer.optional(record.leftovers) { $0.integer(Int64($1)) }
            writer.integer(record.droppedStderr)
            writer.integer(record.ignoredSignals)
        case .notice(let record):
            writer.integer(UInt8(9))
            writer.field(record.origin)
            writer.bytes(record.account)
            writer.text(record.operation)
            writer.bytes(record.detail)
        case .denial(let record):
            writer.integer(UInt8(10))
            writer.field(record)
        }
    }
}
