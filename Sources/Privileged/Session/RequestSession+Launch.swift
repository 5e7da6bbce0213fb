// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// What a session's init has open while it sets the command's process up, from 3 on without a gap: its own two first.
private struct SupervisorDescriptors {
    /// The first number that is not the init's own.
    static let own: Int32 = 5

    let session: Descriptor
    let signals: Descriptor
    let report: Descriptor
    let gate: Descriptor
    let primary: Descriptor
    let errors: Descriptor?
    /// Of a confined command where there are mounts.
    let ruleset: Descriptor?

    /// Moves them to their numbers, from 3 on, and closes everything else that this process has open.
    func placed() throws(SystemError) -> SupervisorDescriptors {
        let all = [session, signals, report, gate, primary, errors, ruleset].compactMap(\.self)
        do {
            // High copies first, so that placing one does not close another.
            var high: [Descriptor] = []
            for descriptor in all { high.append(try descriptor.duplicate(from: 64)) }
            for (copy, number) in zip(high, Int32(3)...) { try copy.place(at: number) }
        }
        Descriptor.closeAll(from: 3 + Int32(all.count))
        // The former numbers are closed, or have become another's.
        for descriptor in all { descriptor.leaveOpen() }
        var next: Int32 = 3
        func take() throws(SystemError) -> Descriptor {
            guard let descriptor = Descriptor.inherited(next) else { throw SystemError(9 /* EBADF */, "dup2") }
            next += 1
            return descriptor
        }
        return SupervisorDescriptors(
            session: try take(), signals: try take(), report: try take(), gate: try take(), primary: try take(),
            errors: errors == nil ? nil : try take(), ruleset: ruleset == nil ? nil : try take())
    }
}

/// Setting the command up while the auditor writes, and letting it go when all that can fail has succeeded.
extension RequestSession {
    /// The command as the session knows it once it is set up.
    struct Launched {
        /// The init of its namespace.
        var supervisor: ProcessHandle
        /// To the init: signals; from it: the end.
        var control: Channel
        /// What the child says: ready, or which step failed.
        var report: Descriptor
        /// What lets the child go.
        var gate: Descriptor
        /// The reading end of its stderr, where there is a secondary.
        var errors: Descriptor?
    }

    /// What the child says on its report pipe.
    enum ChildReport {
        /// It is confined and waits for the gate.
        static let ready: UInt8 = 1
        /// As `ready`, and its home could not be entered.
        static let readyWithoutHome: UInt8 = 2
        /// A step failed; the step and the errno follow.
        static let failed: UInt8 = 3
        /// A limit could not be had; the resource follows. Before `ready`.
        static let shortfall: UInt8 = 4
        /// execve failed; the errno follows.
        static let notExecuted: UInt8 = 5
    }

    /// Spends the permit.
    func launch(_ permit: consuming Permit, _ plan: LaunchPlan, _ identity: EstablishedIdentity) -> Never {
        let terms = permit.terms
        let environment = self.environment(plan, identity)
        let record = Record.command(
            Record.Command(
                origin: origin, account: targetText, commandLine: plan.commandLine, program: plan.program,
                argumentCount: plan.arguments.count, sandbox: plan.sandbox.sandbox.name,
                limits: plan.confinement.limitKeepers))
        moduleLimits = identity.limits
        prepareSockets()
        // The child is set up while the auditor syncs, and waits only before execve.
        trail.send(record)
        let launched: Launched
        do {
            launched = try setUp(plan, environment)
        } catch {
            identity.close()
            refuse(.sandboxUnavailable, "\(error)")
        }
        let hasHome: Bool
        switch awaitReady(launched) {
        case .ready(let home):
            hasHome = home
        case .failed(let text):
            abandon(launched)
            identity.close()
            refuse(.sandboxUnavailable, text)
        }
        guard trail.settle() || settings.audit.onFailure == .goOn else {
            abandon(launched)
            identity.close()
            refuse(.auditUnavailable)
        }
        // ORDER: what the kernel is told has started is about to start: the child is confined, and its record is durable.
        guard kernelTrail.send(record) else {
            abandon(launched)
            identity.close()
            refuse(.auditUnavailable, "the kernel's audit subsystem does not take records, and the policy requires it")
        }
        // ORDER: front closes its copies of the client's sockets before the client is answered.
        guard releaseFront() else {
            abandon(launched)
            identity.close()
            refuse(.unavailable, "front did not let go of the client")
        }
        if !hasHome {
            trail.send(
                .notice(
                    Record.Notice(
                        origin: origin, account: targetText, operation: "home",
                        detail: "the home could not be entered; the command starts in /")))
        }
        tell(
            .launched(
                rule: terms.rule.name, command: ByteText(Array(plan.commandLine.bytes.prefix(64)))))
        let started = Clock.monotonicMilliseconds()
        try? launched.gate.writeAll([1])
        relay(launched, plan, identity, started: started)
    }

    // MARK: The client's sockets

    private func prepareSockets() {
        try? parts.primary.setBlocking(true)
        try? Socket.setKeepAlive(parts.primary)
        // NIO turns it off; a command's many small writes would each be a segment, at a third of the throughput.
        try? Socket.gatherWrites(parts.primary)
        if let secondary = parts.secondary { try? Socket.setKeepAlive(secondary) }
    }

    /// Has front close its copies; false where it says anything but that it has.
    private func releaseFront() -> Bool {
        do {
            try front.send(RequestAnswer.release.encoded())
        } catch {
            // A front that died has closed them too.
            return error.isDisconnected
        }
        switch try? front.receive(limit: 64) {
        case .closed:
            return true
        case .message(let message):
            return (try? RequestFrame(frame: message.bytes)) == .released
        case .nothing, nil:
            return false
        }
    }

    // MARK: The processes

    private func setUp(_ plan: LaunchPlan, _ environment: [[UInt8]]) throws -> Launched {
        // A module that started threads has left locks that no fork can take over.
        guard let count = Process.threadCount() else { throw SessionError("this process's threads cannot be counted") }
        guard count == 1 else {
            throw SessionError("this process has \(count) threads; an authentication module has started some")
        }
        let (control, supervisors) = try Channel.pair()
        let report = try Descriptor.pipe()
        let gate = try Descriptor.pipe()
        let errors = parts.secondary == nil ? nil : try Descriptor.pipe()
        // A command of this process's own uid can open its stderr to read, by /proc/self/fd, and take what poll has just told of:
        // a read that waited would stop the session's clock with it.
        try errors?.read.setBlocking(false)
        let namespaces = Process.isRoot ? plan.confinement.namespaces : []
        let group = try makeCgroup(plan.sandbox.sandbox.limits)
        // Its copy goes to the init and nobody else.
        let devices = plan.confinement.hasCommonDevices && Process.isRoot ? try? parts.devices?.copy() : nil
        let (side, isInGroup) = try fork(namespaces, into: group)
        switch side {
        case .child:
            runSupervisor(
                plan, environment, session: supervisors, report: report.write, gate: gate.read, errors: errors?.write,
                group: isInGroup ? nil : group, devices: devices)
        case .parent(let process):
            return Launched(
                supervisor: process, control: control,
                report: report.read, gate: gate.write, errors: errors?.read)
        }
    }

    /// Starts the command's process: as root with the init's memory, which is given up by execve and not copied before.
    ///
    /// A plain user's init must hear its session at any moment: where it stood still, nothing would end a process that its
    /// own user has stopped, not even the gateway's end.
    private func startCommand(_ body: @escaping () -> Never) throws(SystemError) -> Int32 {
        guard !Process.isRoot else { return try Process.startSharing(body) }
        switch try Process.fork() {
        case .child: body()
        case .parent(let pid): return pid
        }
    }

    /// Forks the init, in its group where the kernel can start it there; says whether it is.
    private func fork(
        _ namespaces: Namespaces, into group: SessionCgroup?
    ) throws(ConfinementError) -> (side: Namespaces.Fork, isInGroup: Bool) {
        guard let group else { return (try namespaces.fork(), true) }
        do throws(ConfinementError) {
            return (try namespaces.fork(into: group.descriptor), true)
        } catch {
            guard error.isMissingCall else { throw error }
            return (try namespaces.fork(), false)
        }
    }

    /// The init of the namespace: mounts, starts the command's process, and watches it.
    ///
    /// - Parameters:
    ///   - group: the control group that it has still to go to; nil where it is in it, or there is none.
    ///   - devices: a copy of the devices that most sessions have; nil where it makes its own.
    private func runSupervisor(
        _ plan: LaunchPlan, _ environment: [[UInt8]], session: Channel, report: Descriptor, gate: Descriptor,
        errors: Descriptor?, group: SessionCgroup?, devices: Descriptor?
    ) -> Never {
        var report = report
        do {
            // In a namespace the command ends with its init. Without one it would be left over, so there the end of the
            // session's channel tells the init, and it ends the command first.
            var ruleset: ViewRuleset?
            if Process.isRoot {
                try Process.dieWithParent()
                // ORDER: in its group, before that becomes the root of what it sees.
                try group?.enter()
                try Namespaces.hideGroups()
                try plan.confinement.leaveNetwork(for: parts.network)
                ruleset = try plan.confinement.mount(in: parts.mounts, devices: devices)
                // It looked at the target's paths with the target's ids, which clears both.
                try Process.dieWithParent()
                try Process.becomeUndumpable()
            } else {
                try Process.becomeSubreaper()
            }
            let signals = try Signals([Signals.Number.child], forGood: true)
            // INVARIANT: from here on the init holds what the command's process needs and its own two, and no other: while
            // it stands still, nobody waits for an end that it holds.
            let kept = try SupervisorDescriptors(
                session: session.descriptor, signals: signals.descriptor, report: report, gate: gate,
                primary: parts.primary, errors: errors, ruleset: ruleset?.descriptor
            ).placed()
            report = kept.report
            let pid = try startCommand { [self, ruleset] in runChild(plan, environment, kept, ruleset) }
            // INVARIANT: the init holds no copy of the client's sockets or of any channel but its own.
            Descriptor.closeAll(from: SupervisorDescriptors.own)
            if Process.isRoot {
                // The command's process took other ids, which counts for memory and not for processes.
                try Process.becomeUndumpable()
                try InitConfinement.enter()
            }
            Process.setTitle("portcullisd: init \(plan.entry.name) [priv]")
            Supervisor(
                session: Channel(kept.session), command: pid, hasNamespace: Process.isRoot,
                processNumbers: boundsNumbers ? plan.sandbox.sandbox.limits.processes : nil,
                signals: Signals(taking: kept.signals)
            ).run()
        } catch let error as ConfinementError {
            say(report, [ChildReport.failed, error.step.rawValue, UInt8(truncatingIfNeeded: error.code)])
        } catch let error as SystemError {
            say(report, [ChildReport.failed, 0, UInt8(truncatingIfNeeded: error.code)])
        } catch {
            say(report, [ChildReport.failed, 0, 0])
        }
        Process.exitNow(125)
    }

    /// ENOENT.
    private static let noSuchFile: Int32 = 2

    /// The process that becomes the command.
    ///
    /// ORDER: descriptors, limits, ids, directory, no_new_privs and Landlock, the filter; then ready, the gate, the
    /// status byte, execve. A step that fails ends it, and nothing runs.
    ///
    /// - Parameters:
    ///   - kept: what the init has open for it.
    ///   - made: what the init's mounts have made, open where `kept` says; nil where it mounted nothing, or the command is
    ///     unconfined.
    private func runChild(
        _ plan: LaunchPlan, _ environment: [[UInt8]], _ kept: SupervisorDescriptors, _ made: ViewRuleset?
    ) -> Never {
        do {
            Signals.reset()
            try Process.startSession()
            try kept.primary.place(at: 0)
            try kept.primary.place(at: 1)
            try (kept.errors ?? kept.primary).place(at: 2)
            try kept.report.place(at: 3)
            try kept.gate.place(at: 4)
            try kept.ruleset?.place(at: 5)
            Descriptor.closeAll(from: kept.ruleset == nil ? 5 : 6)
        } catch {
            say(kept.report, [ChildReport.failed, 0, UInt8(truncatingIfNeeded: error.code)])
            Process.exitNow(125)
        }
        guard let report = Descriptor.inherited(3), let gate = Descriptor.inherited(4) else { Process.exitNow(125) }
        let ruleset = kept.ruleset == nil ? nil : Descriptor.inherited(5).flatMap { made?.moved(to: $0) }
        var ready = ChildReport.ready
        do throws(ConfinementError) {
            // What PAM's modules set (pam_limits) comes first: the sandbox lowers hard limits and raises none.
            try moduleLimits?.apply()
            for shortfall in try plan.confinement.limit() {
                say(report, [ChildReport.shortfall, shortfall.resource.rawValue, 0])
            }
            Process.setUmask(plan.sandbox.sandbox.umask)
            try plan.confinement.drop()
            if (try? Process.changeDirectory(plan.entry.home.bytes)) == nil {
                // A guest has its own home or none at all: what hides it hides that it is private.
                guard guest == nil else { throw ConfinementError(.mounts, Self.noSuchFile) }
                ready = ChildReport.readyWithoutHome
                try? Process.changeDirectory(Array("/".utf8))
            }
            try plan.confinement.restrict(ruleset)
            try plan.confinement.load(logged: settings.audit.kernel != .off)
        } catch {
            say(report, [ChildReport.failed, error.step.rawValue, UInt8(truncatingIfNeeded: error.code)])
            Process.exitNow(125)
        }
        say(report, [ready, 0, 0])
        // The gate opens with one byte; its end without one means that nothing runs.
        guard let go = try? gate.read(1), go.count == 1 else { Process.exitNow(125) }
        guard (try? StandardStreams.output.writeAll([0])) != nil else { Process.exitNow(125) }
        let failure = Process.execute(
            plan.program.bytes, arguments: plan.arguments.map(\.bytes), environment: environment)
        let line = "\(plan.program.printable): \(failure.text)\n"
        try? StandardStreams.error.writeAll(Array(line.utf8))
        say(report, [ChildReport.notExecuted, 0, UInt8(truncatingIfNeeded: failure.code)])
        Process.exitNow(failure.isNotFound ? 127 : 126)
    }

    private func say(_ report: Descriptor, _ bytes: [UInt8]) {
        try? report.writeAll(bytes)
    }

    /// What the child came to.
    private enum Readiness {
        case ready(hasHome: Bool)
        case failed(String)
    }

    private func awaitReady(_ launched: Launched) -> Readiness {
        var pending: [UInt8] = []
        while true {
            guard let part = try? launched.report.read(64), !part.isEmpty else {
                return .failed("the command's process ended while it was set up")
            }
            pending += part
            while pending.count >= 3 {
                let (kind, first, second) = (pending[0], pending[1], pending[2])
                pending.removeFirst(3)
                switch kind {
                case ChildReport.ready:
                    return .ready(hasHome: true)
                case ChildReport.readyWithoutHome:
                    return .ready(hasHome: false)
                case ChildReport.shortfall:
                    let name = ResourceLimits.Resource(rawValue: first).map { "\($0)" } ?? "a limit"
                    trail.send(
                        .notice(
                            Record.Notice(
                                origin: origin, account: targetText, operation: "limit",
                                detail: ByteText("\(name) could not be had as asked; a lower one is in force"))))
                default:
                    let step = ConfinementError.Step(rawValue: first).map { "\($0)" } ?? "set-up"
                    return .failed("\(step): \(SystemError(Int32(second), step).text)")
                }
            }
        }
    }

    /// Ends a command that never started.
    private func abandon(_ launched: Launched) {
        launched.supervisor.signal(Signals.Number.kill)
        Children.reap(launched.supervisor.pid)
        endCgroup()
    }
}
