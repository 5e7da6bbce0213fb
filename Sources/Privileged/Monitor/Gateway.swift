// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import KernelAudit
import Linux
import Messages
import Session

/// The monitor: supervises the helpers, and forks a session per request.
///
/// It parses nothing that a stranger wrote and holds no rules. It has one thread and never waits but in epoll: its
/// sends do not block, and name service, PAM and files belong to loaders and sessions.
public final class Gateway {
    let options: Options
    let log = StandardError("portcullisd")
    let epoll: Epoll
    let signals: Signals
    let helpersDirectory: String
    let identities: Identities
    let auditDirectory: Descriptor
    /// What the auditor hears of denials; this process reads none of it.
    let kernelRecords: Descriptor?
    let stateLock: Descriptor
    /// Where sessions without a network go; nil as a plain user, and where it cannot be made.
    let emptyNetwork: EmptyNetwork?
    /// Where what confined sessions see is made; nil as a plain user, and where it cannot be made.
    let emptyMounts: EmptyMounts?
    /// The /dev that most sessions have; nil as a plain user, and where each has to make its own.
    let commonDevices = Process.isRoot ? CommonDevices.make() : nil
    /// Whether sessions can bound their processes by their numbers.
    let boundsProcesses = ProcessNumbers.canBeBounded()
    /// The file that this program was started from.
    let executable = ByteText(File.resolved(Array("/proc/self/exe".utf8)) ?? [])

    /// Where sessions have their control groups.
    let cgroup: GatewayCgroup?
    /// Sessions that have ended, and whose group is not gone yet.
    var unclearedGroups: [UInt64: GroupClearing] = [:]

    var policy: FrozenPolicy?
    var front: Helper?
    var auditor: Helper?
    /// The engine that answers.
    var engine: EngineProcess?
    /// The engine that loads.
    var loading: EngineProcess?
    /// Engines that were replaced and answer their last sessions.
    var retired: [ProcessHandle] = []
    var listeners = Listeners()
    var sessions = SessionTable()
    let processors = Process.processorCount
    /// How many sessions may check a password at once.
    let checkPlaces = SessionTable.checkPlaces(processors: Process.processorCount)
    /// Sessions that were forked ahead.
    var spares = Spares(size: Spares.places(processors: Process.processorCount))
    var connectBacks = ConnectBack()
    var control: ControlSocket?
    var isFrontReady = false
    var isAuditorReady = false
    var isDraining = false
    var drainDeadline: Int64 = 0
    var restarts: [(time: Int64, kind: HelperKind)] = []
    var nextRecord: UInt64 = 0
    var sequence: UInt64 = 0
    var isTrailDurable = false
    /// The last record that a checkpoint covers, and when that was made: seconds since 1970, 0 for never.
    var covered: UInt64 = 0
    var checkpointTime: Int64 = 0
    /// Administrators who wait for the trail's segment to be closed, by the number of their order.
    var rotations: [UInt64: UInt64] = [:]
    /// Orphans of sessions that ended well.
    var adopted: Set<Int32> = []
    /// What waits for the next auditor; it is told when that is ready.
    var waitingOrders: [AuditorOrder] = []
    /// How the last auditor died, until its successor has recorded it.
    var auditorDeath: String?
    var hasServed = false
    var startFailure: Int32?
    var requests: UInt64 = 0
    var refused: UInt64 = 0
    var lost: UInt64 = 0
    /// Reloads that were asked for while one was under way.
    var wantsReload = false
    /// Administrators who are told what comes of the load under way, and of the one after it.
    var askers: Set<UInt64> = []
    var nextAskers: Set<UInt64> = []
    /// Loaders that run; each ends with its engine's load.
    var loaders: Set<Int32> = []
    /// What a forked session must not let go of; see `forkSession`.
    var keptInChild: [Descriptor] = []

    /// What an epoll token means: a kind in the upper byte, a number below.
    enum Token: UInt64 {
        case signals = 1
        case front, auditor, engine, loading
        case frontExit, auditorExit, engineExit, loadingExit
        case session, sessionExit, connectBack, control, client

        func with(_ number: UInt64) -> UInt64 { rawValue << 56 | number & (1 << 56 - 1) }

        static func split(_ token: UInt64) -> (Token?, UInt64) { (Token(rawValue: token >> 56), token & (1 << 56 - 1)) }
    }

    /// Prepares directories, ids and signals; nothing is served yet.
    public init(_ options: Options) throws {
        var options = options
        // Every directory on the way is checked, so the way starts at the root.
        options.policy = File.absolute(options.policy)
        options.stateDirectory = File.absolute(options.stateDirectory)
        options.runtimeDirectory = File.absolute(options.runtimeDirectory)
        self.options = options
        Signals.ignore(Signals.Number.pipe)
        epoll = try Epoll()
        signals = try Signals(
            [
                Signals.Number.hangup, Signals.Number.terminate, Signals.Number.interrupt, Signals.Number.child,
            ], forGood: true)
        try epoll.add(signals.descriptor, token: Token.signals.with(0))
        helpersDirectory = Helper.directory()
        let directories = try Directories(options, log: log)
        identities = directories.identities
        auditDirectory = directories.audit
        stateLock = directories.lock
        do {
            emptyNetwork = Process.isRoot ? try EmptyNetwork.make() : nil
        } catch {
            log.say("\(error); no sandbox without a network can be had")
            emptyNetwork = nil
        }
        do {
            emptyMounts = Process.isRoot ? try EmptyMounts.make() : nil
        } catch {
            log.say("\(error); no confined sandbox can be had")
            emptyMounts = nil
        }
        // ORDER: before anything is started: this process may have to go to a group of its own.
        cgroup = Self.makeCgroup(log)
        kernelRecords = Self.kernelRecords(log)
        // What a command leaves behind comes to its session's init; what that leaves, to us.
        try Process.becomeSubreaper()
        try Process.becomeUndumpable()
        // Name service and the time zone are read once here, so that sessions find them warm.
        _ = try? Accounts.named(.root)
        _ = Accounts.groups(of: .root, primary: 0)
        Clock.warm()
        if Process.isRoot {
            try? CommandConfinement.rehearse()
        } else {
            log.say(
                "not root: serving uid \(Process.userID) alone; no RSH from reserved ports, no stderr channel for it, "
                    + "no private namespaces, and the trail is this user's to edit")
            let version = Landlock.version()
            if (1..<Landlock.scopeVersion).contains(version) {
                log.say(
                    "this kernel's Landlock has ABI \(version), and without root a confined sandbox needs "
                        + "\(Landlock.scopeVersion), unless it says in words that less will do: 'require landlock \(version)'"
                )
            }
        }
    }

    /// The kernel's audit records, for the auditor: each auditor is handed the same socket. Nil where they cannot be had,
    /// which is said once.
    private static func kernelRecords(_ log: StandardError) -> Descriptor? {
        // As a plain user sessions have that user's audit session, in which other things happen too.
        guard Process.isRoot else { return nil }
        do {
            return try KernelAuditRecords.listen()
        } catch {
            log.say(
                "the kernel's audit records cannot be read (\(error.text)): of what a sandbox denies, the trail has only "
                    + "that it ended a command")
            return nil
        }
    }

    /// Serves until SIGTERM; returns the exit status.
    public func run() -> Int32 {
        Process.setTitle("portcullisd: monitor [priv]")
        startAuditor()
        reload()
        while startFailure == nil {
            let events: [Epoll.Event]
            do {
                events = try epoll.wait(milliseconds: patience())
            } catch {
                log.say("epoll: \(error)")
                return 70
            }
            for event in events { handle(event) }
            expire()
            tendSpares(isQuiet: events.isEmpty)
            if isDraining, isDrained { break }
        }
        return finish()
    }

    // MARK: Events

    private func handle(_ event: Epoll.Event) {
        let (kind, number) = Token.split(event.token)
        switch kind {
        case .signals: takeSignals()
        case .front: serveFront(event)
        case .auditor: serveAuditor(event)
        case .engine: serveEngine(event)
        case .loading: serveLoading(event)
        case .frontExit: helperEnded(.front)
        case .auditorExit: helperEnded(.auditor)
        case .engineExit: engineEnded()
        case .loadingExit: loadingEnded("died")
        case .session: serveSession(number, event)
        case .sessionExit: sessionEnded(number)
        case .connectBack: connectBackEnded(number)
        case .control: control?.accept(into: epoll)
        case .client: serveClient(number)
        case nil: break
        }
    }

    func takeSignals() {
        while let signal = signals.next() {
            switch signal {
            case Signals.Number.hangup:
                reload()
            case Signals.Number.terminate, Signals.Number.interrupt:
                drain()
            case Signals.Number.child:
                reapStrangers()
            default:
                break
            }
        }
    }

    /// Ends what came to us as a subreaper from a session that died: a PAM module's child, and without namespaces the
    /// command's.
    func endStrays() {
        for pid in strays { Process.signal(pid, Signals.Number.kill) }
    }

    /// Lets live what a session left that ended well: a PAM module may have started a daemon for its user.
    func adoptStrays() {
        adopted.formUnion(strays)
    }

    private var strays: [Int32] {
        let known = knownChildren.union(loaders).union(retired.map(\.pid)).union(adopted)
        return Children.ids().filter { !known.contains($0) }
    }

    private var knownChildren: Set<Int32> {
        var known = Set(sessions.entries.values.map(\.process.pid)).union(spares.waiting.map(\.handle.pid))
        for helper in [front, auditor, engine?.helper, loading?.helper] {
            if let helper { known.insert(helper.process.pid) }
        }
        return known
    }

    /// Reaps children that have no handle: loaders, retired engines, and what came to us as a subreaper.
    private func reapStrangers() {
        let known = knownChildren
        // INVARIANT: a process with a handle is left for it; the others have nobody else to reap them.
        for pid in Children.ids() where !known.contains(pid) && Children.reapNow(pid) {
            retired.removeAll { $0.pid == pid }
            loaders.remove(pid)
            adopted.remove(pid)
        }
    }

    /// How long epoll may wait.
    private func patience() -> Int32 {
        let now = Clock.monotonicMilliseconds()
        var next: Int64 = now + 60_000
        for deadline in connectBacks.attempts.values.map(\.deadline) { next = min(next, deadline) }
        if let deadline = sessions.nextDeadline { next = min(next, deadline) }
        if let look = sessions.nextCheckLook { next = min(next, look) }
        for restart in restarts { next = min(next, restart.time) }
        for clearing in unclearedGroups.values { next = min(next, clearing.due) }
        if wantsSpares, let due = spares.due { next = min(next, due) }
        if isDraining { next = min(next, drainDeadline) }
        return Int32(max(0, min(next - now, 60_000)))
    }

    private func expire() {
        let now = Clock.monotonicMilliseconds()
        for attempt in connectBacks.expire(now: now) {
            tellFront(.connectBackFailed(connection: attempt.connection, reason: .protocolError))
        }
        for (number, entry) in sessions.entries {
            if entry.phase == .deciding, entry.deadline <= now, entry.killed == nil {
                sessions[number]?.killed = .timeout
                entry.process.signal(Signals.Number.kill)
            } else if let time = entry.killTime, time <= now {
                sessions[number]?.killTime = nil
                entry.process.signal(Signals.Number.kill)
            }
        }
        clearCgroups()
        grantPasswordChecks(now)
        let due = restarts.filter { $0.time <= now }
        restarts.removeAll { $0.time <= now }
        for restart in due {
            switch restart.kind {
            case .front: startFront()
            case .auditor: startAuditor()
            case .engine: reload()
            }
        }
    }

    private func grantPasswordChecks(_ now: Int64) {
        let granted = sessions.grantChecks(places: checkPlaces, now: now) { $0.process.processorMilliseconds }
        for number in granted where sessions[number]?.outbox.send(SessionOrder.passwordCheck) != true {
            sessions[number]?.process.signal(Signals.Number.kill)
        }
    }

    // MARK: Ready, drain, end

    /// Says once that the gateway serves.
    func announceIfReady() {
        guard !hasServed, isFrontReady, isAuditorReady, let policy else { return }
        hasServed = true
        var parts: [String] = []
        for service in Service.allCases {
            let endpoints = listeners.bound.filter { $0.listener.service == service }.map { "\($0.listener.endpoint)" }
            if !endpoints.isEmpty { parts.append("\(service.name) on \(endpoints.joined(separator: ", "))") }
        }
        let line = "ready: " + (parts.isEmpty ? "no service is enabled" : parts.joined(separator: "; ")) + "\n"
        try? StandardStreams.error.writeAll(Array(line.utf8))
        notify("READY=1\nSTATUS=\(policy.rules) rules, policy \(policy.revision)")
        // A policy without services is served too: it may be reloaded.
    }

    func notify(_ text: String) {
        guard let path = Process.environmentVariable("NOTIFY_SOCKET") else { return }
        try? LocalSocket.notify(path, text)
    }

    private func drain() {
        guard !isDraining else {
            drainDeadline = Clock.monotonicMilliseconds()
            return
        }
        isDraining = true
        notify("STOPPING=1")
        log.say("stopping: no more connections; \(sessions.count) sessions have 10 s")
        tellFront(.drain)
        listeners.close()
        dismissSpares()
        drainDeadline = Clock.monotonicMilliseconds() + 10_000
    }

    private var isDrained: Bool {
        if sessions.entries.isEmpty { return true }
        guard drainDeadline <= Clock.monotonicMilliseconds() else { return false }
        for (number, entry) in sessions.entries where entry.killTime == nil {
            if sessions[number]?.outbox.send(SessionOrder.terminate) != true {
                entry.process.signal(Signals.Number.kill)
            }
            sessions[number]?.killTime = Clock.monotonicMilliseconds() + 7_000
        }
        drainDeadline = Clock.monotonicMilliseconds() + 250
        return false
    }

    /// Ends the helpers; the auditor last, when all is written.
    private func finish() -> Int32 {
        control?.close()
        let hasFailed = startFailure != nil
        record(
            .serviceStop(unit: "portcullisd", reason: hasFailed ? "failed" : "terminated", isFailure: hasFailed))
        dismissSpares()
        front?.process.signal(Signals.Number.kill)
        engine?.helper.process.signal(Signals.Number.kill)
        loading?.helper.process.signal(Signals.Number.kill)
        for process in retired { process.signal(Signals.Number.kill) }
        if var auditor {
            _ = auditor.outbox.send(AuditorOrder.stop)
            let end = Clock.monotonicMilliseconds() + 5_000
            while auditor.process.peek() == nil, Clock.monotonicMilliseconds() < end {
                _ = auditor.outbox.flush()
                var entries = [Poll.Entry(auditor.process.descriptor)]
                try? Poll.wait(&entries, milliseconds: 100)
                // Its reports are of no more interest, but must not fill the channel.
                while case .message? = try? auditor.outbox.channel.receive(limit: FrameFormat.limit, waiting: false) {}
            }
            auditor.process.signal(Signals.Number.kill)
        }
        cgroup?.remove()
        return startFailure ?? 0
    }

    /// Gives up before serving.
    func fail(_ status: Int32) {
        if startFailure == nil { startFailure = status }
    }
}
