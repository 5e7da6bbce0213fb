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
    /// Whether a session's processes can be bounded by their numbers (`ProcessNumbers`).
    public var boundsProcesses: Bool
    /// Where sessions have control groups; nil where there are none.
    public var cgroups: SessionCgroups?
    /// The file that this program runs from, as the kernel's records name it.
    public var executable: ByteText

    /// What a session has from the monitor.
    public init(
        session: SessionID, number: UInt64, settings: Settings,
        listeners: [FrontSettings.Listener], sandboxes: [CompiledSandbox], revision: Revision,
        stateDirectory: String, runtimeDirectory: String, policyDirectory: String, gatewayUIDs: Set<UInt32>,
        hasSecondary: Bool, monitorPID: Int32, boundsProcesses: Bool = false, executable: ByteText = ByteText([]),
        cgroups: SessionCgroups? = nil
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
        self.boundsProcesses = boundsProcesses
        self.cgroups = cgroups
        self.executable = executable
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
        /// From here on those that are there: the secondary, the empty network, the empty mounts, the devices.
        static let optional: Int32 = 8
    }

    let monitor: Descriptor
    let engine: Descriptor
    let auditor: Descriptor
    let front: Descriptor
    let primary: Descriptor
    let secondary: Descriptor?
    let network: EmptyNetwork?
    let mounts: EmptyMounts?
    let devices: CommonDevices?

    /// The session's ends of its channels, the client's sockets, and, as root, where a session without a network goes, where
    /// what a confined one sees is made, and the devices that most have.
    public init(
        monitor: Descriptor, engine: Descriptor, auditor: Descriptor, front: Descriptor, primary: Descriptor,
        secondary: Descriptor?, network: EmptyNetwork? = nil, mounts: EmptyMounts? = nil, devices: CommonDevices? = nil
    ) {
        self.monitor = monitor
        self.engine = engine
        self.auditor = auditor
        self.front = front
        self.primary = primary
        self.secondary = secondary
        self.network = network
        self.mounts = mounts
        self.devices = devices
    }

    /// Those that the monitor handed over for an assignment, in their order; nil where there are more or fewer of them.
    ///
    /// - Parameter monitor: the session's own end of its channel to the monitor.
    public init?(monitor: Descriptor, handed: [Descriptor], for assignment: SessionAssignment) {
        guard handed.count == assignment.descriptorCount, handed.count >= SessionAssignment.leastDescriptors else {
            return nil
        }
        var rest = handed.dropFirst(SessionAssignment.leastDescriptors)
        self.init(
            monitor: monitor, engine: handed[0], auditor: handed[1], front: handed[2], primary: handed[3],
            secondary: assignment.hasSecondary ? rest.popFirst() : nil,
            network: assignment.hasNetwork ? rest.popFirst().map { EmptyNetwork(taking: $0) } : nil,
            mounts: assignment.hasMounts ? rest.popFirst().map { EmptyMounts(taking: $0) } : nil,
            devices: assignment.hasDevices ? rest.popFirst().map { CommonDevices(taking: $0) } : nil)
    }

    /// All of them.
    public var all: [Descriptor] {
        [monitor, engine, auditor, front, primary]
            + [secondary, network?.descriptor, mounts?.descriptor, devices?.descriptor].compactMap(\.self)
    }

    /// The number behind the last of theirs, once they are placed.
    var end: Int32 { Number.monitor + Int32(all.count) }

    /// Moves them to their numbers, and closes everything else that the monitor had open.
    ///
    /// INVARIANT: on return this process holds no end of front's, the control socket's, or another session's channels.
    func placed() throws -> SessionDescriptors {
        do {
            // High copies first, so that placing one does not close another; they are closed with this scope.
            let high = try all.map { try $0.duplicate(from: 256) }
            for (copy, number) in zip(high, Number.monitor...) { try copy.place(at: number) }
        }
        Descriptor.closeAll(from: end)
        // The former numbers are closed, or have become another's: nothing may close them once more.
        for descriptor in all { descriptor.leaveOpen() }
        let take = { (number: Int32) throws -> Descriptor in
            guard let descriptor = Descriptor.inherited(number) else {
                throw SessionError("descriptor \(number) is gone")
            }
            return descriptor
        }
        let network = secondary == nil ? Number.optional : Number.optional + 1
        let mounts = self.network == nil ? network : network + 1
        let devices = self.mounts == nil ? mounts : mounts + 1
        return SessionDescriptors(
            monitor: try take(Number.monitor), engine: try take(Number.engine), auditor: try take(Number.auditor),
            front: try take(Number.front), primary: try take(Number.primary),
            secondary: secondary == nil ? nil : try take(Number.optional),
            network: self.network == nil ? nil : EmptyNetwork(taking: try take(network)),
            mounts: self.mounts == nil ? nil : EmptyMounts(taking: try take(mounts)),
            devices: self.devices == nil ? nil : CommonDevices(taking: try take(devices)))
    }
}

/// What ends a session without a word to its client but the refusal.
struct SessionError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
