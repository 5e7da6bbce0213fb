// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension Settings: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init()
        secureTCPIP.isOn = try reader.flag()
        secureTCPIP.exceptions = Set(try reader.fields(limit: 16, SecureTCPIP.Exception.self))
        rexec = try reader.field()
        rsh = try reader.field()
        guard rexec.service == .rexec, rsh.service == .rsh else { throw .value }
        refusal = try reader.field()
        audit = try reader.field()
        pools = try reader.fields(limit: GuestPool.accountLimit)
        searchPath = try reader.list(limit: 64) { (reader) throws(FrameError) in
            try reader.bytes(limit: FieldLimit.path)
        }
    }

    func write(to writer: inout FrameWriter) {
        writer.flag(secureTCPIP.isOn)
        writer.fields(secureTCPIP.exceptions.sorted { $0.rawValue < $1.rawValue })
        writer.field(rexec)
        writer.field(rsh)
        writer.field(refusal)
        writer.field(audit)
        writer.fields(pools)
        writer.list(searchPath) { $0.bytes($1) }
    }
}

extension GuestPool: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(
            name: try reader.text(limit: RuleReference.nameLimit),
            accounts: try reader.fields(limit: GuestPool.accountLimit))
    }

    func write(to writer: inout FrameWriter) {
        writer.text(name)
        writer.fields(accounts)
    }
}

extension ServiceSettings: FrameField {
    /// A day in milliseconds, the longest timeout.
    static let longest = 86_400_000

    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(try reader.field(Service.self))
        isEnabled = try reader.flag()
        listeners = try reader.fields(limit: 64)
        authentication = try reader.field()
        trust = try reader.field()
        names = try reader.field()
        accountManagement = try reader.field()
        requiresReservedSourcePort = try reader.flag()
        takesPasswordField = try reader.flag()
        offersStderrChannel = try reader.flag()
        handshakeTimeout = try reader.count(1...Self.longest)
        authenticationTimeout = try reader.count(1...Self.longest)
        commandLength = try reader.count(1...Self.commandLengthLimit)
        sessions = try reader.count(1...1_000_000)
        sessionsPerSource = try reader.count(1...1_000_000)
    }

    func write(to writer: inout FrameWriter) {
        writer.field(service)
        writer.flag(isEnabled)
        writer.fields(listeners)
        writer.field(authentication)
        writer.field(trust)
        writer.field(names)
        writer.field(accountManagement)
        writer.flag(requiresReservedSourcePort)
        writer.flag(takesPasswordField)
        writer.flag(offersStderrChannel)
        writer.integer(Int64(handshakeTimeout))
        writer.integer(Int64(authenticationTimeout))
        writer.integer(Int64(commandLength))
        writer.integer(Int64(sessions))
        writer.integer(Int64(sessionsPerSource))
    }
}

extension ServiceSettings.Authentication: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1: self = .pam(try reader.text(limit: FieldLimit.name))
        case 2: self = .file(try reader.bytes(limit: FieldLimit.path))
        default: throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .pam(let name):
            writer.integer(UInt8(1))
            writer.text(name)
        case .file(let path):
            writer.integer(UInt8(2))
            writer.bytes(path)
        }
    }
}

extension ServiceSettings.Trust: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1: self = .rhosts
        case 2: self = .file(try reader.bytes(limit: FieldLimit.path))
        case 3: self = .rule
        default: throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .rhosts:
            writer.integer(UInt8(1))
        case .file(let path):
            writer.integer(UInt8(2))
            writer.bytes(path)
        case .rule:
            writer.integer(UInt8(3))
        }
    }
}

extension ServiceSettings.AccountManagement: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1: self = .pam(try reader.text(limit: FieldLimit.name))
        case 2: self = .none
        default: throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .pam(let name):
            writer.integer(UInt8(1))
            writer.text(name)
        case .none:
            writer.integer(UInt8(2))
        }
    }
}

extension RefusalSettings: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init()
        delay = try reader.count(1...ServiceSettings.longest)
        rexecText = try reader.text(limit: FieldLimit.line)
        rshText = try reader.text(limit: FieldLimit.line)
    }

    func write(to writer: inout FrameWriter) {
        writer.integer(Int64(delay))
        writer.text(rexecText)
        writer.text(rshText)
    }
}

extension AuditSettings: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init()
        kernel = try reader.field()
        durability = try reader.field()
        onFailure = try reader.field()
        checkpoint = try reader.count(1...ServiceSettings.longest)
        segmentSize = try reader.integer()
        guard AuditSettings.segmentSizes.contains(segmentSize) else { throw .value }
    }

    func write(to writer: inout FrameWriter) {
        writer.field(kernel)
        writer.field(durability)
        writer.field(onFailure)
        writer.integer(Int64(checkpoint))
        writer.integer(segmentSize)
    }
}

extension Sandbox.Path: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1: self = .absolute(try reader.bytes(limit: FieldLimit.path))
        case 2: self = .home(try reader.bytes(limit: FieldLimit.path))
        default: throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .absolute(let path):
            writer.integer(UInt8(1))
            writer.bytes(path)
        case .home(let path):
            writer.integer(UInt8(2))
            writer.bytes(path)
        }
    }
}

extension Sandbox.Network: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        switch try reader.integer(UInt8.self) {
        case 1:
            self = .off
        case 2:
            self = .tcpConnect(try reader.list(limit: 1_024) { (reader) throws(FrameError) in try reader.integer() })
        case 3:
            self = .on
        default:
            throw .value
        }
    }

    func write(to writer: inout FrameWriter) {
        switch self {
        case .off:
            writer.integer(UInt8(1))
        case .tcpConnect(let ports):
            writer.integer(UInt8(2))
            writer.list(ports) { $0.integer($1) }
        case .on:
            writer.integer(UInt8(3))
        }
    }
}

extension Sandbox.Limits: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init()
        let value = { (reader: inout FrameReader) throws(FrameError) -> UInt64 in try reader.integer() }
        cpu = try reader.optional(value)
        memory = try reader.optional(value)
        processes = try reader.optional(value)
        files = try reader.optional(value)
        fileSize = try reader.optional(value)
        output = try reader.optional(value)
    }

    func write(to writer: inout FrameWriter) {
        for limit in [cpu, memory, processes, files, fileSize, output] {
            writer.optional(limit) { $0.integer($1) }
        }
    }
}

extension Sandbox: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(name: try reader.text(limit: FieldLimit.name))
        isConfined = try reader.flag()
        read = try reader.fields()
        write = try reader.fields()
        execute = try reader.fields()
        systemCalls = try reader.list { (reader) throws(FrameError) in try reader.text(limit: FieldLimit.name) }
        network = try reader.field()
        limits = try reader.field()
        timeout = try reader.optional { (reader) throws(FrameError) in try reader.count(1...Int(Int32.max) * 1_000) }
        umask = try reader.integer()
        guard umask <= 0o777 else { throw .value }
        searchPath = try reader.bytes(limit: FieldLimit.path)
        environment = try reader.list { (reader) throws(FrameError) in
            EnvironmentVariable(
                name: try reader.bytes(limit: FieldLimit.name), value: try reader.bytes(limit: FieldLimit.path))
        }
        onViolation = try reader.field()
        requiredLandlock = try reader.count(0...1_000)
    }

    func write(to writer: inout FrameWriter) {
        writer.text(name)
        writer.flag(isConfined)
        writer.fields(read)
        writer.fields(write)
        writer.fields(execute)
        writer.list(systemCalls) { $0.text($1) }
        writer.field(network)
        writer.field(limits)
        writer.optional(timeout) { $0.integer(Int64($1)) }
        writer.integer(umask)
        writer.bytes(searchPath)
        writer.list(environment) {
            $0.bytes($1.name)
            $0.bytes($1.value)
        }
        writer.field(onViolation)
        writer.integer(Int64(requiredLandlock))
    }
}

extension CompiledSandbox: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        let sandbox: Sandbox = try reader.field()
        let filter = try reader.string(limit: Self.filterLimit)
        guard !filter.isEmpty, filter.count % 8 == 0 else { throw .value }
        self.init(sandbox: sandbox, filter: filter)
    }

    func write(to writer: inout FrameWriter) {
        writer.field(sandbox)
        writer.string(filter)
    }
}
