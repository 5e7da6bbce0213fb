// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import Session

/// A session for each request: forked, watched, and ended when it overstays.
extension Gateway {
    /// Forks the session of a request that front has handed over.
    ///
    /// TRUST: the descriptors come from front. The primary and the secondary must be connected TCP sockets; everything
    /// else about them the session reads from the kernel.
    func startSession(connection: UInt64, service: Service, hasSecondary: Bool, _ descriptors: [Descriptor]) {
        guard descriptors.count == (hasSecondary ? 3 : 2) else {
            return tellFront(.rejected(connection: connection, reason: .protocolError))
        }
        let request = descriptors[0]
        let primary = descriptors[1]
        let secondary = hasSecondary ? descriptors[2] : nil
        guard Socket.isConnectedTCP(primary), secondary.map(Socket.isConnectedTCP) ?? true else {
            return tellFront(.rejected(connection: connection, reason: .protocolError))
        }
        requests += 1
        guard let policy, !isDraining else {
            return tellFront(.rejected(connection: connection, reason: .unavailable))
        }
        guard auditor != nil, isAuditorReady else {
            return tellFront(.rejected(connection: connection, reason: .auditUnavailable))
        }
        let limit = policy.settings.rexec.sessions + policy.settings.rsh.sessions
        guard sessions.count < limit else { return tellFront(.rejected(connection: connection, reason: .limit)) }
        do {
            try makeSession(connection: connection, service: service, request, primary, secondary, policy)
        } catch {
            log.say("cannot make a session: \(error)")
            tellFront(.rejected(connection: connection, reason: .unavailable))
        }
    }

    /// Has a spare serve the request, or a fresh fork where none waits.
    ///
    /// INVARIANT: whoever serves it has its ends of pairs that were made for this request, and nobody else has them.
    private func makeSession(
        connection: UInt64, service: Service, _ request: Descriptor, _ primary: Descriptor, _ secondary: Descriptor?,
        _ policy: FrozenPolicy
    ) throws {
        guard let session = SessionID(bytes: try Random.bytes(SessionID.size)) else {
            throw StartError("no random numbers")
        }
        let (sessionToAuditor, auditors) = try Channel.pair()
        let (sessionToEngine, engines) = try Channel.pair()
        let handed =
            [sessionToEngine.descriptor, sessionToAuditor.descriptor, request, primary]
            + [secondary, emptyNetwork?.descriptor, emptyMounts?.descriptor, commonDevices?.descriptor].compactMap(
                \.self)
        let assign = { [emptyNetwork, emptyMounts, commonDevices] (number: UInt64) in
            SessionAssignment(
                session: session, number: number, revision: policy.revision, hasSecondary: secondary != nil,
                hasNetwork: emptyNetwork != nil, hasMounts: emptyMounts != nil, hasDevices: commonDevices != nil)
        }
        let now = Clock.monotonicMilliseconds()
        // The number that the session has at the engine is the process's own.
        let process =
            try spareSession(assign, handed)
            ?? forkSession(assign, handed, policy, dropping: [auditors.descriptor, engines.descriptor])
        // No engine: the session finds its channel closed, and refuses as `unavailable`.
        _ = engine?.helper.outbox.send(EngineOrder.session(number: process.number), [engines.descriptor])
        let isKnown =
            auditor?.outbox.send(
                AuditorOrder.session(session: session, pid: process.handle.pid, hasStarted: false),
                [auditors.descriptor]) ?? false
        guard isKnown else {
            // INVARIANT: it has started no command, and will not: for that front lets go of the client, and front is told
            // only now, of a refusal.
            end(process)
            clearCgroup(of: process.number)
            return tellFront(.rejected(connection: connection, reason: .auditUnavailable))
        }
        sessions.add(
            SessionTable.Entry(
                number: process.number, session: session, process: process.handle, outbox: Outbox(process.channel),
                started: now, startedWall: Clock.wallMilliseconds() / 1_000,
                deadline: now + Int64(policy.settings[service].authenticationTimeout)))
    }

    /// Forks a session for one request, and has it watched.
    private func forkSession(
        _ assign: (UInt64) -> SessionAssignment, _ handed: [Descriptor], _ policy: FrozenPolicy,
        dropping others: [Descriptor]
    ) throws -> SessionProcess {
        let assignment = assign(sessions.number())
        let (ours, theirs) = try Channel.pair()
        guard let parts = SessionDescriptors(monitor: theirs.descriptor, handed: handed, for: assignment) else {
            throw StartError("a session without its descriptors")
        }
        let input = sessionInput(assignment, policy, monitor: Process.id)
        switch try Process.fork() {
        case .child:
            // The numbers that these own are about to be closed and used again: nothing may let go of them.
            keptInChild = [ours.descriptor] + others + parts.all
            Session.run(input, parts)
        case .parent(let pid):
            return try watch(pid, number: assignment.number, ours)
        }
    }

    /// What a session has of the policy in force and of this gateway, besides its assignment.
    func sessionInput(_ assignment: SessionAssignment, _ policy: FrozenPolicy, monitor: Int32) -> SessionInput {
        SessionInput(
            session: assignment.session, number: assignment.number, settings: policy.settings,
            listeners: listeners.bound.map(\.listener), sandboxes: policy.sandboxes,
            revision: policy.revision, stateDirectory: options.stateDirectory,
            runtimeDirectory: options.runtimeDirectory, policyDirectory: policyDirectory,
            gatewayUIDs: identities.uids, hasSecondary: assignment.hasSecondary, monitorPID: monitor,
            boundsProcesses: boundsProcesses, executable: executable, cgroups: cgroup?.sessions)
    }

    /// Has the monitor hear what a fork of it says, and of its end; it is ended where that cannot be had.
    func watch(_ pid: Int32, number: UInt64, _ channel: Channel) throws -> SessionProcess {
        do {
            let process = SessionProcess(number: number, handle: try ProcessHandle(pid: pid), channel: channel)
            try epoll.add(channel.descriptor, token: Token.session.with(number))
            try epoll.add(process.handle.descriptor, token: Token.sessionExit.with(number))
            return process
        } catch {
            // Nobody would hear of its end: it must not go on.
            Process.signal(pid, Signals.Number.kill)
            Children.reap(pid)
            epoll.remove(channel.descriptor)
            throw error
        }
    }

    /// Ends a process of which no table knows any more; it is reaped as a stranger, and nobody waits for it.
    func end(_ process: SessionProcess) {
        epoll.remove(process.channel.descriptor)
        epoll.remove(process.handle.descriptor)
        process.handle.signal(Signals.Number.kill)
    }

    /// The directory of the policy file, beside which a relative trust file lies.
    var policyDirectory: String {
        guard let slash = options.policy.lastIndex(of: "/") else { return "." }
        return slash == options.policy.startIndex ? "/" : String(options.policy[..<slash])
    }

    /// How long a session that has finished may take to go, a module that closes its session included.
    private static let closingPatience: Int64 = 10_000

    func serveSession(_ number: UInt64, _ event: Epoll.Event) {
        guard let channel = sessions[number]?.outbox.channel else { return spareSpoke(number) }
        for _ in 0..<8 {
            guard let received = try? channel.receive(limit: 4_096, waiting: false) else {
                sessions[number]?.process.signal(Signals.Number.kill)
                return
            }
            switch received {
            case .nothing:
                _ = sessions[number]?.outbox.flush()
                return
            case .closed:
                // Its end follows through its pidfd.
                epoll.remove(channel.descriptor)
                return
            case .message(let message):
                if !sessions.take(message.bytes, from: number, refused: &refused) {
                    log.say("a session broke its protocol")
                    sessions[number]?.process.signal(Signals.Number.kill)
                } else if sessions[number]?.phase == .finished, sessions[number]?.killTime == nil {
                    sessions[number]?.killTime = Clock.monotonicMilliseconds() + Self.closingPatience
                }
            }
        }
    }

    /// A session's process is gone. One that did not say that it had finished was lost, and that is recorded.
    func sessionEnded(_ number: UInt64) {
        guard let waiting = sessions[number] else { return spareEnded(number) }
        // What it said last may still be on the channel.
        drainReports(of: waiting)
        guard let entry = sessions[number], let status = entry.process.reap() else { return }
        epoll.remove(entry.process.descriptor)
        epoll.remove(entry.outbox.channel.descriptor)
        sessions[number] = nil
        clearCgroup(of: number)
        if entry.phase == .finished {
            // One that a module ended, or that had to be ended, leaves nothing that anybody asked for.
            if case .exited = status { adoptStrays() } else { endStrays() }
            return
        }
        lost += 1
        let reason = entry.killed ?? .unavailable
        if entry.killed == nil { log.say("session \(entry.session) died (\(status.words))") }
        // The command's namespace ended with the session's init, which dies with its session; what else is left, a
        // module's child or without namespaces the command's, has come to us.
        endStrays()
        tellAuditor(.sessionLost(session: entry.session, reason: reason))
    }

    private func drainReports(of entry: SessionTable.Entry) {
        while case .message(let message)? = try? entry.outbox.channel.receive(limit: 4_096, waiting: false) {
            guard sessions.take(message.bytes, from: entry.number, refused: &refused) else { return }
        }
    }
}
