// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
internal import Glibc

/// A step of confinement that failed: what was to run does not.
public struct ConfinementError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was being done; the raw values go through a pipe from a child to its session.
    public enum Step: UInt8, Sendable, Hashable {
        /// Namespaces.
        case namespaces = 1
        /// Mounts in them.
        case mounts = 2
        /// Resource limits.
        case limits = 3
        /// Capabilities.
        case capabilities = 4
        /// User, group and groups.
        case credentials = 5
        /// Reading back what was dropped, and trying to undo it.
        case verification = 6
        /// no_new_privs.
        case noNewPrivileges = 7
        /// Landlock.
        case landlock = 8
        /// The system-call filter.
        case filter = 9
        /// The session's control group.
        case cgroup = 10
    }

    /// The step.
    public var step: Step
    /// The errno.
    public var code: Int32

    /// A failed step.
    public init(_ step: Step, _ code: Int32) {
        self.step = step
        self.code = code
    }

    /// Whether the kernel has no such call, or something hides it, as seccomp profiles of containers do in several ways.
    public var isMissingCall: Bool { code == ENOSYS || code == EPERM || code == EOPNOTSUPP }

    /// For logs: the step and the system's words.
    public var description: String { "\(step): \(Self.text(of: code))" }

    /// The system's words for an errno.
    static func text(of code: Int32) -> String {
        // SAFETY: strerror gives a C string, valid until its next call; confinement runs in one thread.
        unsafe String(cString: strerror(code))
    }
}

/// Confining a helper, or the child that becomes the command.
public enum Confinement {
    /// Confines a helper before it reads its first byte.
    ///
    /// Trusted on entry: one thread; `filter` from `SystemCallFilter.helper`, compiled by this process. On return the
    /// process has the ids asked for and no way back, no capability but those kept, no core file, no tracer of its own
    /// uid, no file but what it has open or was given here, no TCP bind or connect, and no system call but the
    /// filter's. On a throw it is in between, and must end.
    ///
    /// - Parameters:
    ///   - uid: the user to drop to; nil, as a plain user, keeps the ids.
    ///   - gid: the group to drop to; nil with `uid`.
    ///   - kept: capabilities that stay, of those that are there.
    ///   - directories: open directories with what may be done below them.
    ///   - paths: paths with what may be done at and below them; those that do not exist are left out.
    ///   - filter: the compiled filter.
    public static func enter(
        uid: UInt32?, gid: UInt32?, keeping kept: Set<Capability> = [],
        directories: [(descriptor: Descriptor, rights: LandlockRights)] = [],
        paths: [(path: ByteText, rights: LandlockRights)] = [], filter: [UInt8]
    ) throws(ConfinementError) {
        let program = try SeccompProgram(bytes: filter)
        // ORDER: the bounding set while CAP_SETPCAP is there; ids; the other sets; then what needs no_new_privs;
        // the filter last, because it forbids all of this.
        try Capabilities.dropBounding(keeping: kept)
        if let uid {
            guard let gid else { throw ConfinementError(.credentials, EINVAL) }
            let credentials = Credentials(uid: uid, gid: gid, groups: [])
            try credentials.drop(keepingCapabilities: !kept.isEmpty)
            try Capabilities.drop(keeping: kept)
            if uid != 0 { try credentials.verifyDropped() }
        } else {
            try Capabilities.drop(keeping: kept)
        }
        try ProcessControl.set(4 /* PR_SET_DUMPABLE */, 0, step: .noNewPrivileges)
        try ResourceLimits.apply(Sandbox.Limits())
        try NoNewPrivileges.promise()
        let ruleset = try LandlockRuleset(network: .tcpConnect([]))
        for (descriptor, rights) in directories { try ruleset.allow(rights, below: descriptor) }
        for (path, rights) in paths { _ = try ruleset.allow(rights, at: path) }
        try ruleset.restrict()
        try program.load(allThreads: true)
    }

    // MARK: Before a launch

    /// The least ABI that a sandbox needs: 0 for an unconfined one that asks for none. Where the kernel has less, a session
    /// is refused, never run with less.
    ///
    /// What root's gateway holds by namespaces and read-only mounts (signals, abstract sockets, truncate(2), devices) a plain
    /// user's holds by Landlock alone: all of it is needed, unless the sandbox says in words that less will do.
    ///
    /// - Parameter isRoot: whether this is root's gateway.
    static func requiredLandlock(_ sandbox: Sandbox, isRoot: Bool = Process.isRoot) -> Int {
        guard sandbox.isConfined else { return max(sandbox.requiredLandlock, 0) }
        var least = max(sandbox.requiredLandlock, 1)
        if sandbox.requiredLandlock <= 0, !isRoot { least = Landlock.scopeVersion }
        if case .tcpConnect = sandbox.network { least = max(least, Landlock.networkVersion) }
        return least
    }

    /// Whether what a sandbox can write is the target's home, or holds it, or is the home's own `.rhosts`: what
    /// self-trust is about. What cannot be found out counts as such.
    ///
    /// Paths are compared as objects of file systems and as places in them, so that no other spelling, link or mount
    /// gets by. A home that does not exist is covered by what could make it.
    public static func canWriteHome(_ sandbox: Sandbox, home: ByteText) -> Bool {
        guard sandbox.isConfined else { return true }
        let places = sandbox.write.compactMap { SecureOpen.way(to: resolve($0, home: home)).end }
        guard !places.isEmpty else { return false }
        guard let way = HomeWay(to: home) else { return true }
        return places.contains(where: way.isWritable)
    }

    /// Whether what a sandbox can write is a directory, holds it, or lies in it.
    public static func canWrite(_ sandbox: Sandbox, home: ByteText, to directory: ByteText) -> Bool {
        !sandbox.isConfined || touches(sandbox.write, home: home, directory: directory)
    }

    /// Whether what a sandbox can read (or write, or execute) is a directory, holds it, or lies in it.
    public static func canRead(_ sandbox: Sandbox, home: ByteText, from directory: ByteText) -> Bool {
        !sandbox.isConfined
            || touches(sandbox.read + sandbox.write + sandbox.execute, home: home, directory: directory)
    }

    private static func touches(_ paths: [Sandbox.Path], home: ByteText, directory: ByteText) -> Bool {
        let way = SecureOpen.way(to: directory)
        return paths.contains { path in
            let place = SecureOpen.way(to: resolve(path, home: home))
            if let last = place.last, way.identities.contains(last) { return true }
            return way.last.map(place.identities.contains) ?? false
        }
    }

    static func resolve(_ path: Sandbox.Path, home: ByteText) -> ByteText {
        switch path {
        case .absolute(let path): path
        case .home(let rest): ByteText(home.bytes + rest.bytes)
        }
    }
}

/// The way to a home and to its `.rhosts`: whoever can write a directory of it can put another home or file there.
struct HomeWay {
    private let identities: Set<SecureOpen.Identity>
    private let trust: SecureOpen.Identity?
    private let mounts: MountTable
    private let places: Set<MountTable.Place>

    /// The way as it is now; nil where it, or where it lies in its file systems, cannot be found out.
    init?(to home: ByteText) {
        let way = SecureOpen.way(to: ByteText(home.bytes + Array("/.rhosts".utf8)))
        // A way without even its root was not walked, and says nothing.
        guard !way.identities.isEmpty, let mounts = MountTable.read() else { return nil }
        var places: Set<MountTable.Place> = []
        for descriptor in way.directories + [way.end].compactMap(\.self) {
            guard let place = mounts.place(of: descriptor) else { return nil }
            places.insert(place)
        }
        identities = way.identities
        trust = way.last
        self.mounts = mounts
        self.places = places
    }

    /// Whether it can be written by whoever may write at and below something open.
    func isWritable(from place: Descriptor) -> Bool {
        guard let identity = SecureOpen.identity(of: place), let reached = mounts.places(from: place) else {
            return true
        }
        // The same object by another mount has another way to it: neither question replaces the other.
        return identities.contains(identity) || identity == trust
            || reached.contains { reached in places.contains(where: reached.holds) }
    }
}

/// What the child of a session does to itself before it becomes the command, a step at a time, so that the session
/// learns which one failed.
///
/// Between the steps the child does what the session wants at that point (descriptors, directory, umask). After
/// `filter` it may call read, write, close, execve, exit and exit_group, and nothing else for certain.
public struct CommandConfinement: Sendable {
    private let sandbox: Sandbox
    /// The least ABI of Landlock that it needs: whose gateway this is, and not who the process has become meanwhile.
    private let requiredLandlock: Int
    private let filter: SeccompProgram
    private let credentials: Credentials
    private let home: ByteText
    private let sparesHome: Bool
    private let closed: [ClosedDirectory]
    private let hasPrivateHome: Bool
    private let boundsProcesses: Bool
    private let groupBounds: SessionCgroups.Bounds
    private let devices: PrivateDevices?

    /// A confinement, checked as far as can be before anything is forked.
    ///
    /// - Parameters:
    ///   - compiled: the sandbox and its filter, as the engine sent them and the monitor froze them.
    ///   - credentials: the target's ids.
    ///   - home: the target's home directory.
    ///   - sparesHome: whether what the sandbox writes must not cover the home (self-trust). What a name means is the
    ///     target's to change until it is opened, so the objects that were opened are held against it.
    ///   - closed: the gateway's own directories, to which no link may lead.
    ///   - hasPrivateHome: whether an empty home of the session's own lies over the home, as a guest has it; root and a
    ///     confined sandbox are needed.
    ///   - boundsProcesses: whether `mount` holds the limit of processes by the session's own process numbers, as
    ///     `ProcessNumbers.canBeBounded` says that it can.
    ///   - groupBounds: what the session's control group holds, into which the caller starts the init. Where neither it nor
    ///     `mount` holds the limit of processes, `limit` holds it by RLIMIT_NPROC.
    /// - Throws: step `landlock` where the kernel has less than the sandbox needs, step `filter` where the filter is
    ///   none, step `mounts` where a private home cannot be had: all are `sandbox-unavailable`.
    public init(
        _ compiled: CompiledSandbox, credentials: Credentials, home: ByteText, sparesHome: Bool = false,
        closed: [ClosedDirectory] = [], hasPrivateHome: Bool = false, boundsProcesses: Bool = false,
        groupBounds: SessionCgroups.Bounds = []
    ) throws(ConfinementError) {
        sandbox = compiled.sandbox
        requiredLandlock = Confinement.requiredLandlock(sandbox)
        guard Landlock.version() >= requiredLandlock else { throw ConfinementError(.landlock, EOPNOTSUPP) }
        filter = try SeccompProgram(bytes: compiled.filter)
        self.credentials = credentials
        self.home = home
        self.sparesHome = sparesHome
        self.closed = closed
        self.hasPrivateHome = hasPrivateHome
        self.boundsProcesses = boundsProcesses
        self.groupBounds = groupBounds
        devices = PrivateDevices(for: compiled.sandbox)
        guard !hasPrivateHome || compiled.sandbox.isConfined else { throw ConfinementError(.mounts, EPERM) }
    }

    /// Refuses opened places from any of which the home, or its `.rhosts`, could be written.
    private func spareHome(_ places: [Descriptor]) throws(ConfinementError) {
        guard sparesHome, !places.isEmpty else { return }
        guard let way = HomeWay(to: home), !places.contains(where: way.isWritable) else {
            throw ConfinementError(.landlock, EPERM)
        }
    }

    /// The namespaces that the session's init takes, as root.
    public var namespaces: Namespaces { sandbox.isConfined ? .confined : .session }

    /// Whether the session's /dev is that of most sandboxes, and `mount` can be given a copy of it.
    public var hasCommonDevices: Bool { sandbox.isConfined && devices?.isCommon ?? false }

    /// Whether the limit of processes counts the session's own alone: by its process numbers, or its control group.
    public var boundsOwnProcesses: Bool {
        (boundsProcesses || groupBounds.contains(.processes)) && sandbox.limits.processes != nil
    }

    /// What holds the limits, for the record: `rlimit`, with `+namespace`, `+cgroup` where they hold something.
    public var limitKeepers: String {
        var keepers = "rlimit"
        let hasProcesses = sandbox.limits.processes != nil
        if boundsProcesses, hasProcesses { keepers += "+namespace" }
        if (groupBounds.contains(.processes) && hasProcesses)
            || (groupBounds.contains(.memory) && sandbox.limits.memory != nil)
        {
            keepers += "+cgroup"
        }
        return keepers
    }

    /// First in the init, as root: a session that has no network leaves the host's.
    ///
    /// - Parameter place: where it goes.
    /// - Throws: step `namespaces` where there is none: it does not run with the host's.
    public func leaveNetwork(for place: EmptyNetwork?) throws(ConfinementError) {
        guard sandbox.isConfined, sandbox.network == .off else { return }
        guard let place else { throw ConfinementError(.namespaces, EOPNOTSUPP) }
        try place.join()
    }

    /// Then, as root, in the init of the session's namespaces: what is mounted for the command.
    ///
    /// On return nothing mounted here shows elsewhere; /tmp is empty and the session's own, and so is a private home;
    /// /proc shows the session's processes, of which there can be no more than the limit. In a confined sandbox besides:
    /// nothing of the host's tree is there but the home and the sandbox's places, and nothing leads to the rest; all that
    /// it does not write is read-only, so that modes, owners, times and attributes, which Landlock does not govern, stay
    /// as they are there; /dev has what programs expect and no more; no program is setuid.
    ///
    /// Places are opened once, as the target would open them, and mounted and allowed by descriptor: root follows no link of
    /// the target's, and what the command may open is what was looked at.
    ///
    /// - Parameters:
    ///   - empty: where a confined session's mounts are made. Before that it is in its caller's, where it mounts nothing.
    ///   - common: a copy of the `CommonDevices`, for a sandbox that has no more than those; nil makes them anew.
    /// - Returns: what `restrict` holds a confined command to; nil for an unconfined one.
    /// - Throws: step `mounts` in a confined sandbox where there is no such place: it does not run in the host's tree.
    @discardableResult
    public func mount(in empty: EmptyMounts?, devices common: Descriptor? = nil) throws(ConfinementError) -> PlaceRules?
    {
        guard sandbox.isConfined else {
            try Mounts.makePrivate()
            try mountOwn()
            return nil
        }
        // Names are everybody's to see.
        Process.setUmask(0o022)
        let prepared = try prepare(common)
        guard let empty else { throw ConfinementError(.mounts, EOPNOTSUPP) }
        try prepared.view.enter(empty)
        try mountOwn()
        if let copies = prepared.devices {
            try devices?.mount(copies)
            if !copies.isCommon { try freezeDevices() }
        }
        try prepared.view.close()
        return prepared.rules
    }

    /// What is made in the host's tree, before the session leaves it.
    private struct Prepared {
        let view: SessionView.Made
        let rules: PlaceRules
        /// What is to be seen of the host's devices; nil where there is no /dev of the session's own.
        let devices: PrivateDevices.Copies?
    }

    private func prepare(_ common: Descriptor?) throws(ConfinementError) -> Prepared {
        var opened: (view: SessionView, places: SandboxPlaces)
        do {
            opened = try credentials.borrowed { try view() }
        } catch {
            throw error as? ConfinementError ?? ConfinementError(.mounts, EINVAL)
        }
        if hasPrivateHome {
            let (place, copy) = try makeHome()
            try opened.view.cover(place, by: copy)
        }
        var rules = PlaceRules(ruleset: try ruleset())
        for entry in opened.places.entries { try rules.allow(entry, in: opened.view) }
        return Prepared(view: try opened.view.make(), rules: rules, devices: try devices?.copies(common))
    }

    /// The session's own /tmp and /proc.
    private func mountOwn() throws(ConfinementError) {
        try Mounts.temporary()
        try Mounts.processes()
        if boundsProcesses, let count = sandbox.limits.processes { try ProcessNumbers.bound(to: count) }
        if sandbox.isConfined { try Mounts.freezeProcesses() }
    }

    /// Makes the session's own /dev read-only but for what the sandbox writes there, opened with the target's rights.
    private func freezeDevices() throws(ConfinementError) {
        let places: [Descriptor]
        do {
            places = try credentials.borrowed {
                try sandbox.write.compactMap { path in
                    let name = Confinement.resolve(path, home: home)
                    guard SecureOpen.isBelow(name.bytes, Array("/dev".utf8)),
                        case .open(let place) = try SecureOpen.place(name)
                    else { return nil }
                    // A read-only mount does not hold devices.
                    return [.directory, .regular].contains(try File.status(place).kind) ? place : nil
                }
            }
        } catch {
            throw error as? ConfinementError ?? ConfinementError(.mounts, (error as? SystemError)?.code ?? EINVAL)
        }
        try Mounts.freeze("/dev", except: places)
    }

    /// An empty home, and the target's own that it lies over.
    ///
    /// TRUST: the home must be the target's own directory, on a way of root's, neither writable by others: so it is none
    /// of the system's, nobody can lead its path elsewhere, and what the path names from here on is the new one.
    private func makeHome() throws(ConfinementError) -> (place: Descriptor, copy: Descriptor) {
        let opened: SecureOpen.Opened
        do {
            opened = try credentials.borrowed { try SecureOpen.home(home, of: credentials.uid) }
        } catch {
            throw error as? ConfinementError ?? ConfinementError(.mounts, EACCES)
        }
        guard opened.owner == credentials.uid, credentials.uid != 0 else { throw ConfinementError(.mounts, EACCES) }
        return (opened.descriptor, try Mounts.home(uid: credentials.uid, gid: credentials.gid))
    }

    /// What the sandbox names, opened.
    private func places(
        _ isSkipped: (_ name: ByteText) -> Bool = { _ in false }
    ) throws(ConfinementError) -> SandboxPlaces {
        try SandboxPlaces(sandbox, home: home, uid: credentials.uid, closed: closed, isSkipped: isSkipped)
    }

    /// What the session is to see of the host's tree, opened.
    private func view() throws(ConfinementError) -> (view: SessionView, places: SandboxPlaces) {
        var view = SessionView(hasDevices: devices != nil)
        let places = try places { [view] name in view.isOwn(name.bytes) }
        if let home = places.home { try view.add(home, isWritten: false) }
        for entry in places.entries {
            if let place = entry.place { try view.add(place, isWritten: entry.rights == .writing) }
        }
        if devices == nil, let found = try SecureOpen.follow("/dev") { try view.add(found, isWritten: false) }
        try spareHome(places.written.map(\.place))
        return (view, places)
    }

    /// Does once what each session does in its init, so that those who are forked later find it done: types looked up, and
    /// symbols of libraries bound.
    static func rehearse() throws(ConfinementError) {
        var sandbox = Sandbox(name: "rehearsal")
        sandbox.write = [.home(""), .absolute("/tmp")]
        sandbox.execute = [.absolute("/usr"), .absolute("/bin")]
        sandbox.read = [.absolute("/etc"), .absolute("/sys/devices/system/cpu")]
        // A filter that permits everything, and is not loaded: one instruction.
        let compiled = CompiledSandbox(sandbox: sandbox, filter: [6, 0, 0, 0, 0, 0, 0xFF, 0x7F])
        _ = try CommandConfinement(compiled, credentials: .current(), home: "/var").prepare(nil)
    }

    /// All steps in their order, for a child that has nothing to do between them.
    ///
    /// - Returns: limits that could not be had.
    public func apply() throws(ConfinementError) -> [ResourceLimits.Shortfall] {
        let shortfalls = try limit()
        try drop()
        try restrict()
        try load()
        return shortfalls
    }

    /// First: the sandbox's limits and no core files.
    public func limit() throws(ConfinementError) -> [ResourceLimits.Shortfall] {
        var limits = sandbox.limits
        if boundsOwnProcesses { limits.processes = nil }
        return try ResourceLimits.apply(limits)
    }

    /// Second: becomes the target, without any capability (outside `unconfined`, uid 0 too), and verifies it.
    ///
    /// As a plain user the ids must be that user's already.
    public func drop() throws(ConfinementError) {
        // ORDER: the bounding set while CAP_SETPCAP is there; setgroups, setresgid, setresuid; the other sets.
        if sandbox.isConfined || credentials.uid != 0 { try Capabilities.dropBounding() }
        if geteuid() == 0 {
            try credentials.drop()
        } else {
            let now = try Credentials.current()
            guard now.uid == credentials.uid, now.gid == credentials.gid, getuid() == credentials.uid else {
                throw ConfinementError(.credentials, EPERM)
            }
        }
        guard sandbox.isConfined || credentials.uid != 0 else { return }
        try Capabilities.drop()
    }

    /// Third: no_new_privs, and Landlock over the sandbox's paths and ports.
    ///
    /// Comes after the drop, so that paths are opened with the target's rights: one that the target cannot reach is
    /// left out. What lies below the home is not followed out of it.
    ///
    /// - Parameter rules: what `mount` has made; nil where it was not called: then the places are opened here.
    public func restrict(_ rules: PlaceRules? = nil) throws(ConfinementError) {
        try NoNewPrivileges.promise()
        guard sandbox.isConfined else { return }
        guard let rules else {
            let ruleset = try ruleset()
            let places = try places()
            for entry in places.entries {
                if let place = entry.place { try ruleset.allow(entry.rights, below: place.place) }
            }
            try spareHome(places.written.map(\.place))
            return try ruleset.restrict()
        }
        for place in rules.own { _ = try rules.ruleset.allow(place.rights, at: place.path) }
        try rules.ruleset.restrict()
    }

    /// A ruleset of the sandbox's ports, without a path.
    private func ruleset() throws(ConfinementError) -> LandlockRuleset {
        let network: LandlockRuleset.Network =
            switch sandbox.network {
            case .off: .tcpConnect([])
            case .tcpConnect(let ports): .tcpConnect(ports)
            case .on: .open
            }
        return try LandlockRuleset(network: network, required: requiredLandlock)
    }

    /// Last: the system-call filter.
    ///
    /// - Parameter logged: has the kernel tell its audit subsystem of what the filter refuses.
    public func load(logged: Bool = false) throws(ConfinementError) {
        try filter.load(logged: logged)
    }
}
