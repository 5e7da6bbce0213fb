// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What front needs of the settings, and no more: it knows no rules.
public struct FrontSettings: Sendable, Hashable {
    /// A listener and the service behind it; its descriptor comes at the same place among the frame's.
    public struct Listener: Sendable, Hashable {
        /// The service.
        public var service: Service
        /// The address that it is bound to.
        public var endpoint: Endpoint

        /// A listener.
        public init(service: Service, endpoint: Endpoint) {
            self.service = service
            self.endpoint = endpoint
        }
    }

    /// The limits of one service; milliseconds.
    public struct Limits: Sendable, Hashable {
        /// Whether the client must come from a reserved port.
        public var requiresReservedSourcePort: Bool
        /// Whether an RSH target may carry a password.
        public var takesPasswordField: Bool
        /// Whether a client may ask for a separate stderr connection.
        public var offersStderrChannel: Bool
        /// From accept to the end of the handshake.
        public var handshakeTimeout: Int
        /// The most bytes of a command.
        public var commandLength: Int
        /// The most requests under way at once.
        public var sessions: Int
        /// The same from one source.
        public var sessionsPerSource: Int
        /// The refusal's line.
        public var refusalText: String

        /// The limits of a service of a policy.
        public init(_ settings: Settings, _ service: Service) {
            requiresReservedSourcePort = service == .rsh && settings[service].requiresReservedSourcePort
            takesPasswordField = service == .rsh && settings[service].takesPasswordField
            offersStderrChannel = settings[service].offersStderrChannel
            handshakeTimeout = settings[service].handshakeTimeout
            commandLength = settings[service].commandLength
            sessions = settings[service].sessions
            sessionsPerSource = settings[service].sessionsPerSource
            refusalText = settings.refusal.text(service)
        }
    }

    /// The listeners, as their descriptors come.
    public var listeners: [Listener]
    /// REXEC's limits.
    public var rexec: Limits
    /// RSH's limits.
    public var rsh: Limits
    /// Milliseconds after which a refusal is answered.
    public var refusalDelay: Int

    /// What front needs of a policy's settings.
    public init(_ settings: Settings, listeners: [Listener]) {
        self.listeners = listeners
        rexec = Limits(settings, .rexec)
        rsh = Limits(settings, .rsh)
        refusalDelay = settings.refusal.delay
    }

    /// The limits of a service.
    public subscript(service: Service) -> Limits {
        switch service {
        case .rexec: rexec
        case .rsh: rsh
        }
    }
}

extension FrontSettings.Listener: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        self.init(service: try reader.field(), endpoint: try reader.field())
    }

    func write(to writer: inout FrameWriter) {
        writer.field(service)
        writer.field(endpoint)
    }
}

extension FrontSettings.Limits: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        requiresReservedSourcePort = try reader.flag()
        takesPasswordField = try reader.flag()
        offersStderrChannel = try reader.flag()
        handshakeTimeout = try reader.count(1...ServiceSettings.longest)
        commandLength = try reader.count(1...ServiceSettings.commandLengthLimit)
        sessions = try reader.count(1...1_000_000)
        sessionsPerSource = try reader.count(1...1_000_000)
        refusalText = try reader.text(limit: FieldLimit.line)
    }

    func write(to writer: inout FrameWriter) {
        writer.flag(requiresReservedSourcePort)
        writer.flag(takesPasswordField)
        writer.flag(offersStderrChannel)
        writer.integer(Int64(handshakeTimeout))
        writer.integer(Int64(commandLength))
        writer.integer(Int64(sessions))
        writer.integer(Int64(sessionsPerSource))
        writer.text(refusalText)
    }
}

extension FrontSettings: FrameField {
    init(reading reader: inout FrameReader) throws(FrameError) {
        listeners = try reader.fields(limit: FrameFormat.descriptorLimit)
        rexec = try reader.field()
        rsh = try reader.field()
        refusalDelay = try reader.count(1...ServiceSettings.longest)
    }

    func write(to writer: inout FrameWriter) {
        writer.fields(listeners)
        writer.field(rexec)
        writer.field(rsh)
        writer.integer(Int64(refusalDelay))
    }
}
