// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// The time from execve to the end: stderr, signals, limits, and a client that goes away.
extension RequestSession {
    /// The most bytes of stderr that wait for the client.
    private static let errorBuffer = 65_536

    /// Waits for the command's end, then ends the connections and writes the end record.
    func relay(_ launched: Launched, _ plan: LaunchPlan, _ identity: EstablishedIdentity, started: Int64) -> Never {
        let sandbox = plan.sandbox.sandbox
        let timeout = sandbox.timeout.map { Int64($0) }
        var run = RelayState(started: started, hasSecondary: parts.secondary != nil)
        if let secondary = parts.secondary { try? secondary.setBlocking(false) }
        while run.end == nil {
            let isHeard = run.signals == .heard
            let isSending = !run.pending.isEmpty
            var entries = [
                Poll.Entry(launched.control.descriptor),
                Poll.Entry(monitor.descriptor),
                Poll.Entry(run.primary == .watched ? parts.primary : nil, reading: false),
                Poll.Entry(run.readsErrors ? launched.errors : nil),
                Poll.Entry(isHeard || isSending ? parts.secondary : nil, reading: isHeard, writing: isSending),
                Poll.Entry(trail.descriptor),
                Poll.Entry(run.hasExecuted ? nil : launched.report),
            ]
            let patience = run.patience(
                timeout: timeout, hasOutputLimit: sandbox.limits.output != nil, now: Clock.monotonicMilliseconds())
            try? Poll.wait(&entries, milliseconds: patience)
            if entries[0].isReadable || entries[0].isHangup { hearSupervisor(launched, &run) }
            if entries[1].isReadable || entries[1].isHangup { hearMonitor(launched, &run) }
            if entries[2].isHangup { lookAtPrimary(launched, &run) }
            if entries[3].isReadable || entries[3].isHangup { takeErrors(launched, &run) }
            if entries[4].isReadable || entries[4].isHangup, isHeard { takeSignals(launched, &run) }
            if !run.pending.isEmpty { sendErrors(&run) }
            if entries[5].isReadable || entries[5].isHangup { trail.receive(waiting: false) }
            if entries[6].isReadable || entries[6].isHangup { hearChild(launched, plan, &run) }
            let numbers = run.enforce(
                timeout: timeout, output: sandbox.limits.output, now: Clock.monotonicMilliseconds()
            ) {
                (try? Socket.counts(parts.primary)).map { ($0.written, $0.isClosed) }
            }
            signal(launched, numbers, hasExecuted: run.hasExecuted)
        }
        finish(launched, plan, identity, &run)
    }

    // MARK: Hearing

    private func hearSupervisor(_ launched: Launched, _ run: inout RelayState) {
        switch try? launched.control.receive(limit: 64, waiting: false) {
        case .message(let message):
            if let report = Supervisor.Report.decode(message.bytes) {
                run.ended(
                    report.status, leftovers: report.leftovers, hadAllProcesses: report.hasNoProcessLeft)
            } else {
                run.ended(.signalled(UInt8(Signals.Number.kill)), leftovers: nil)
            }
        case .nothing:
            return
        case .closed, nil:
            // The init was killed: the kernel has ended its namespace.
            run.ended(.signalled(UInt8(Signals.Number.kill)), leftovers: nil)
        }
    }

    /// The report pipe closes with execve; before that the child says so when execve fails.
    private func hearChild(_ launched: Launched, _ plan: LaunchPlan, _ run: inout RelayState) {
        run.executed()
        guard let report = try? launched.report.read(64), report.count >= 3, report[0] == ChildReport.notExecuted else {
            return
        }
        let failure = SystemError(Int32(report[2]), "execve")
        trail.send(
            .notice(
                Record.Notice(
                    origin: origin, account: targetText, operation: "execve",
                    detail: ByteText("\(plan.program.printable): \(failure.text)"))))
    }

    private func hearMonitor(_ launched: Launched, _ run: inout RelayState) {
        switch try? monitor.receive(limit: 64, descriptorLimit: 1, waiting: false) {
        case .message(let message):
            switch try? SessionOrder(frame: message.bytes) {
            case .terminate:
                signal(launched, run.hangUp(now: Clock.monotonicMilliseconds()), hasExecuted: run.hasExecuted)
            case .auditor:
                if let descriptor = message.descriptors.first { trail.resume(descriptor) }
            case .passwordCheck, nil:
                return
            }
        case .nothing:
            return
        case .closed, nil:
            // The monitor is gone: commands end with it; the next start records what was lost.
            // Without a namespace its init must live to end the command: the end of this process's channel tells it.
            if Process.isRoot { launched.supervisor.signal(Signals.Number.kill) }
            Process.exitNow(1)
        }
    }

    private func lookAtPrimary(_ launched: Launched, _ run: inout RelayState) {
        let isClosed = (try? Socket.counts(parts.primary))?.isClosed ?? true
        let numbers = run.primaryHungUp(isClosed: isClosed, now: Clock.monotonicMilliseconds())
        signal(launched, numbers, hasExecuted: run.hasExecuted)
    }

    /// Has the init pass signals on.
    ///
    /// Until execve the init stands still beside the command's process, which has the target's ids already, and hears nothing: one
    /// that the target's processes have stopped, or whose program's file does not open, is ended with its init. As a
    /// plain user the init is never in that state.
    private func signal(_ launched: Launched, _ numbers: [Int32], hasExecuted: Bool) {
        for number in numbers { try? launched.control.send([UInt8(truncatingIfNeeded: number)], waiting: false) }
        if !hasExecuted, Process.isRoot, numbers.contains(Signals.Number.kill) {
            launched.supervisor.signal(Signals.Number.kill)
        }
    }

    // MARK: Stderr and signals

    /// Takes what the command wrote on stderr; false where nothing is there, as somebody else took it.
    @discardableResult
    private func takeErrors(_ launched: Launched, _ run: inout RelayState) -> Bool {
        var bytes: [UInt8] = []
        do throws(SystemError) {
            bytes = try launched.errors?.read(Self.errorBuffer) ?? []
        } catch {
            guard !error.wouldBlock else { return false }
        }
        run.tookErrors(bytes, now: Clock.monotonicMilliseconds())
        return true
    }

    private func sendErrors(_ run: inout RelayState) {
        guard let secondary = parts.secondary else { return }
        do {
            let count = try Socket.send(secondary, run.pending[...])
            run.sentErrors(count, now: Clock.monotonicMilliseconds())
        } catch {
            run.dropErrors()
        }
    }

    private func takeSignals(_ launched: Launched, _ run: inout RelayState) {
        guard let secondary = parts.secondary else { return }
        let bytes = try? Socket.receive(secondary, limit: 64)
        signal(launched, run.tookSignals(bytes, now: Clock.monotonicMilliseconds()), hasExecuted: run.hasExecuted)
    }

    // MARK: The end

    /// A client that has acknowledged everything has this long to end its side, before ours ends for good.
    private static let closeGrace: Int64 = 2_000

    /// What is left of stderr, the record, and the connections' end.
    private func finish(
        _ launched: Launched, _ plan: LaunchPlan, _ identity: EstablishedIdentity, _ run: inout RelayState
    ) -> Never {
        let milliseconds = UInt64(max(0, Clock.monotonicMilliseconds() - run.started))
        // The init ends now, and the kernel with it everything that the command left in its namespace.
        launched.supervisor.signal(Signals.Number.kill)
        // Where something was left, it is gone before the client hears of the end. Where nothing was, the client need
        // not wait for the kernel to take the namespaces down, which takes milliseconds; but an account is given back only
        // when nothing runs.
        let reapsLater = run.end?.leftovers == 0 && !holdsPlace
        if !reapsLater {
            cgroup?.kill()
            Children.reap(launched.supervisor.pid)
            endCgroup()
        }
        if !run.hasExecuted { hearChild(launched, plan, &run) }
        // ORDER: before anything waits for the client, who may read slowly and so hold nothing but its own connection.
        let channels = [launched.control.descriptor, launched.report, launched.gate, launched.errors]
        beginRelease(identity, without: channels.compactMap(\.self))
        flushErrors(launched, &run)
        // ORDER: secondary first; a client that reads both may stop at the primary's end.
        if let secondary = parts.secondary {
            Socket.clearLinger(secondary)
            Socket.shutdownSending(secondary)
        }
        let counts = try? Socket.counts(parts.primary)
        Socket.clearLinger(parts.primary)
        Socket.shutdownSending(parts.primary)
        let record = endRecord(run, counts, milliseconds)
        if let denial = denialRecord(run) { trail.send(denial) }
        trail.send(record)
        _ = kernelTrail.send(record)
        drain()
        if reapsLater { Children.reap(launched.supervisor.pid) }
        // Revokes every copy that the command passed on.
        if let secondary = parts.secondary { Socket.shutdownBoth(secondary) }
        Socket.shutdownBoth(parts.primary)
        endCgroup()
        removeTemporaryDirectory()
        settleEnd()
        // ORDER: modules close their session last: one that hangs or crashes then takes nothing with it, and the
        // monitor ends what does not go. Those of an account of a pool have closed beside this process meanwhile.
        tell(.ended)
        identity.close()
        finishRelease()
        Process.exitNow(0)
    }

    /// The record of a command that the filter has ended, as far as a wait status can tell: which call it was, the kernel
    /// alone knows, and tells its audit subsystem.
    private func denialRecord(_ run: RelayState) -> Record? {
        guard case .signalled(let number)? = run.end?.status, Int32(number) == Signals.Number.systemCall else {
            return nil
        }
        return .denial(
            Record.Denial(
                origin: origin, account: targetText, subject: .call(nil), signal: Record.Denial.systemCallSignal))
    }

    private func endRecord(_ run: RelayState, _ counts: Socket.Counts?, _ milliseconds: UInt64) -> Record {
        let (status, leftovers) = run.end ?? (.signalled(0), nil)
        let outcome: Record.Outcome
        var limit = run.limit
        let hits = hitsOfGroup()
        switch status {
        case .exited(let value):
            outcome = .status(value)
        case .signalled(let number):
            outcome = .signal(number)
            if limit == nil, Int32(number) == Signals.Number.kill, hits.memory {
                limit = "memory"
            }
            if limit == nil, Int32(number) == Signals.Number.cpu { limit = "cpu" }
            if limit == nil, Int32(number) == Signals.Number.fileSize { limit = "file-size" }
        }
        if limit == nil, run.hadAllProcesses || hits.processes { limit = "processes" }
        let handshake = UInt64(claims?.handshakeBytes ?? 0)
        let received = counts?.received ?? 0
        let written = counts?.written ?? 0
        return .end(
            Record.End(
                origin: origin, account: targetText, outcome: outcome,
                bytesIn: received > handshake ? received - handshake : 0,
                bytesOut: written > 0 ? written - 1 : 0, bytesErr: run.bytesErr, milliseconds: milliseconds,
                limit: limit, leftovers: leftovers, droppedStderr: run.droppedErr,
                ignoredSignals: run.ignoredSignals))
    }

    /// Sends what the pipe still holds, as long as the client takes it.
    private func flushErrors(_ launched: Launched, _ run: inout RelayState) {
        guard let errors = launched.errors, let secondary = parts.secondary else { return }
        run.waitAnew(now: Clock.monotonicMilliseconds())
        // Nothing that the command wrote is newer than its end: a pipe holds no more than this (pipe(7)), and whoever
        // was passed a copy of it holds nobody up.
        let limit = run.bytesErr &+ run.droppedErr &+ UInt64(run.pending.count) &+ 1 << 20
        while run.errors != .closed {
            attendRelease()
            if run.pending.isEmpty {
                guard run.bytesErr &+ run.droppedErr < limit else { return }
                var entries = [Poll.Entry(errors)]
                try? Poll.wait(&entries, milliseconds: 0)
                // Nothing more can come: every writer is gone, but for a copy that was passed to another process.
                guard entries[0].isReadable || entries[0].isHangup else { return }
                guard takeErrors(launched, &run) else { return }
                continue
            }
            sendErrors(&run)
            guard !run.pending.isEmpty else { continue }
            var entries = [
                Poll.Entry(secondary, reading: false, writing: true), Poll.Entry(monitor.descriptor), releaseEntry,
            ]
            try? Poll.wait(&entries, milliseconds: 250)
            if entries[1].isReadable || entries[1].isHangup, hearMonitorAtEnd() { return run.dropErrors() }
        }
    }

    /// Reads and forgets what the client still sends until it has ended its side too.
    ///
    /// A byte of the client's that stays unread, or comes after the end, would turn what it has not yet read into a
    /// reset (Linux, tcp_rcv_state_process: data after SHUT_RD). So the end waits as long as the client acknowledges,
    /// and a little longer; one that acknowledges nothing for ten seconds, or is to be terminated, is cut off.
    private func drain() {
        var open = [parts.primary] + (parts.secondary.map { [$0] } ?? [])
        var acknowledged: UInt64 = 0
        var progress = Clock.monotonicMilliseconds()
        var settledSince: Int64?
        while !open.isEmpty {
            let counts = open.compactMap { try? Socket.counts($0) }
            guard counts.count == open.count else { return }
            let now = Clock.monotonicMilliseconds()
            let sum = counts.reduce(UInt64(0)) { $0 &+ $1.acknowledged }
            if sum != acknowledged {
                acknowledged = sum
                progress = now
            }
            if counts.contains(where: \.isUnacknowledged) {
                settledSince = nil
                guard now - progress < RelayState.errorPatience else { return }
            } else {
                let since = settledSince ?? now
                settledSince = since
                guard now - since < Self.closeGrace else { return }
            }
            attendRelease()
            var entries = open.map { Poll.Entry($0) } + [releaseEntry, Poll.Entry(monitor.descriptor)]
            try? Poll.wait(&entries, milliseconds: 100)
            if let last = entries.last, last.isReadable || last.isHangup, hearMonitorAtEnd() { return }
            open = zip(open, entries).filter { socket, entry in
                guard entry.isReadable || entry.isHangup else { return true }
                guard let bytes = try? Socket.receive(socket, limit: 65_536) else { return !entry.isHangup }
                return !bytes.isEmpty
            }.map(\.0)
        }
    }

    /// Hears the monitor after the command's end; true where the session is to end at once.
    private func hearMonitorAtEnd() -> Bool {
        switch try? monitor.receive(limit: 64, descriptorLimit: 1, waiting: false) {
        case .message(let message):
            switch try? SessionOrder(frame: message.bytes) {
            case .terminate:
                return true
            case .auditor:
                if let fresh = message.descriptors.first { trail.resume(fresh) }
                return false
            case .passwordCheck, nil:
                return false
            }
        case .nothing:
            return false
        case .closed, nil:
            Process.exitNow(1)
        }
    }

    /// Waits until the end record is durable; an auditor that was replaced meanwhile gets it again.
    private func settleEnd() {
        while !trail.isSettled {
            attendRelease()
            var entries = [Poll.Entry(trail.descriptor), Poll.Entry(monitor.descriptor), releaseEntry]
            try? Poll.wait(&entries, milliseconds: closing == nil ? -1 : 250)
            if entries[0].isReadable || entries[0].isHangup { trail.receive(waiting: false) }
            if entries[1].isReadable || entries[1].isHangup { _ = hearMonitorAtEnd() }
        }
    }
}
