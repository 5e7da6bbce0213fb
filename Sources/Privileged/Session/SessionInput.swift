// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Linux
public import Messages

/// What a session has from the monitor: the policy's frozen tables, all of one revision, and who it is.
public struct SessionInput {
    /// Its name in the trail.
    public var session: SessionID
    /// Its number at the engine.
    public var number: UInt64
    /// The settings.
    public var settings: Settings
    /// The listeners that are bound, by which a local address tells its service.
    public var listeners: [FrontSettings.Listener]
    /// The sandboxes; a permit names one by its place.
    public var sandboxes: [CompiledSandbox]
    /// The revision that the engine must answer with.
    public var revision: Revision
    /// Where the credentials file lies.
    public var stateDirectory: String
    /// Where the control socket lies.
    public var runtimeDirectory: String
    /// Where the policy lies, and a relative trust file.
    public var policyDirectory: String
    /// The helpers' accounts.
    public var gatewayUIDs: Set<UInt32>
    /// Whether there is a secondary.
    public var hasSecondary: Bool
    /// The monitor's process id.
    public var monitorPID: Int32

    /// What a session has from the monitor.
    public init(
        session: SessionID, number: UInt64, settings: Settings,
        listeners: [FrontSettings.Listener], sandboxes: [CompiledSandbox], revision: Revision,
        stateDirectory: String, runtimeDirectory: String, policyDirectory: String, gatewayUIDs: Set<UInt32>,
        hasSecondary: Bool, monitorPID: Int32
    ) {
        self.session = session
        self.number = number
        self.settings = settings
        self.listeners = listeners
        self.sandboxes = sandboxes
        self.revision = revision
        self.stateDirectory = stateDirectory
        self.runtimeDirectory = runtimeDirectory
        self.policyDirectory = policyDirectory
        self.gatewayUIDs = gatewayUIDs
        self.hasSecondary = hasSecondary
        self.monitorPID = monitorPID
    }
}

/// A session's descriptors, and the fixed numbers at which it has them (docs/ARCHITECTURE.md, Channels).
public struct SessionDescriptors {
    enum Number {
        static let monitor: Int32 = 3
        static let engine: Int32 = 4
        static let auditor: Int32 = 5
        static let front: Int32 = 6
        static let primary: Int32 = 7
        static let secondary: Int32 = 8
        static let end: Int32 = 9
    }

    let monitor: Descriptor
    let engine: Descriptor
    let auditor: Descriptor
    let front: Descriptor
    let primary: Descriptor
    let secondary: Descriptor?

    /// The session's ends of its channels, and the client's sockets.
    public init(
        monitor: Descriptor, engine: Descriptor, auditor: Descriptor, front: Descriptor, primary: Descriptor,
        secondary: Descriptor?
    ) {
        self.monitor = monitor
        self.engine = engine
        self.auditor = auditor
        self.front = front
        self.primary = primary
        self.secondary = secondary
    }

    /// All of them.
    public var all: [Descriptor] {
        [monitor, engine, auditor, front, primary] + (secondary.map { [$0] } ?? [])
    }

    /// Moves them to their numbers, and closes everything else that the monitor had open.
    ///
    /// INVARIANT: on return this process holds no end of front's, the control socket's, or another session's channels.
    func placed() throws -> SessionDescriptors {
        let wanted: [(Descriptor?, Int32)] = [
            (monitor, Number.monitor), (engine, Number.engine), (auditor, Number.auditor), (front, Number.front),
            (primary, Number.primary), (secondary, Number.secondary),
        ]
        do {
            // High copies first, so that placing one does not close another; they are closed with this scope.
            let high = try wanted.map { try $0.0?.duplicate(from: 256) }
            for (copy, (_, number)) in zip(high, wanted) { try copy?.place(at: number) }
        }
        let first = secondary == nil ? Number.secondary : Number.end
        Descriptor.closeAll(from: first)
        let take = { (number: Int32) throws -> Descriptor in
            guard let descriptor = Descriptor.inherited(number) else {
                throw SessionError("descriptor \(number) is gone")
            }
            return descriptor
        }
        return SessionDescriptors(
            monitor: try take(Number.monitor), engine: try take(Number.engine), auditor: try take(Number.auditor),
            front: try take(Number.front), primary: try take(Number.primary),
            secondary: secondary == nil ? nil : try take(Number.secondary))
    }
}

/// What ends a session without a word to its client but the refusal.
struct SessionError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
