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
    /// A client that takes no stderr for this long gets no more of it (wire.md).
    private static let errorPatience: Int64 = 10_000
    /// From HUP to KILL.
    private static let hangupGrace: Int64 = 5_000
    /// Signal bytes that are forwarded a second.
    private static let signalRate = 20

    /// What is known of a running command.
    private struct Running {
        var started: Int64
        var pending: [UInt8] = []
        var progress: Int64
        var bytesErr: UInt64 = 0
        var droppedErr: UInt64 = 0
        var dropsErrors = false
        var errorsOpen: Bool
        var hearsSignals: Bool
        var ignoredSignals: UInt64 = 0
        var signalWindow: Int64 = 0
        var signalCount = 0
        var limit: String?
        var killAt: Int64?
        var isEnding = false
        /// How the command ended, and how many processes it left; nil where nobody counted them.
        var ended: (status: ExitStatus, leftovers: Int?)?
        var watchesPrimary = true
        /// Whether signal bytes are taken.
        var listens: Bool { hearsSignals && hasExecuted }
        /// execve has happened, or has failed: from then on a signal meets the command and not its set-up.
        var hasExecuted = false
    }

    /// Waits for the command's end, then ends the connections and writes the end record.
    func relay(_ launched: Launched, _ plan: LaunchPlan, _ identity: EstablishedIdentity, started: Int64) -> Never {
        let sandbox = plan.sandbox.sandbox
        var run = Running(
            started: started, progress: started, errorsOpen: launched.errors != nil,
            hearsSignals: parts.secondary != nil)
        if let secondary = parts.secondary { try? secondary.setBlocking(false) }
        while run.ended == nil {
            let now = Clock.monotonicMilliseconds()
            var entries = [
                Poll.Entry(launched.control.descriptor),
                Poll.Entry(monitor.descriptor),
                Poll.Entry(run.watchesPrimary ? parts.primary : nil, reading: false),
                Poll.Entry(run.errorsOpen && run.pending.isEmpty ? launched.errors : nil),
                // ORDER: signal bytes wait on the secondary until execve: before it they would end the child's set-up,
                // and with it the status byte.
                Poll.Entry(
                    run.listens || !run.pending.isEmpty ? parts.secondary : nil, reading: run.listens,
                    writing: !run.pending.isEmpty),
                Poll.Entry(trail.descriptor),
                Poll.Entry(run.hasExecuted ? nil : launched.report),
            ]
            try? Poll.wait(&entries, milliseconds: patience(run, sandbox, now))
            if entries[0].isReadable || entries[0].isHangup { hearSupervisor(launched, &run) }
            if entries[1].isReadable || entries[1].isHangup { hearMonitor(launched, &run) }
            if entries[2].isHangup { lookAtPrimary(launched, &run) }
            if entries[3].isReadable || entries[3].isHangup { takeErrors(launched, &run) }
            if entries[4].isReadable || entries[4].isHangup, run.listens { takeSignals(launched, &run) }
            if !run.pending.isEmpty { sendErrors(&run) }
            if entries[5].isReadable || entries[5].isHangup { trail.receive(waiting: false) }
            if entries[6].isReadable || entries[6].isHangup { hearChild(launched, plan, &run) }
            enforce(launched, &run, sandbox)
        }
        finish(launched, plan, identity, &run)
    }

    private func patience(_ run: Running, _ sandbox: Sandbox, _ now: Int64) -> Int32 {
        var next = now + 30_000
        if let timeout = sandbox.timeout, !run.isEnding { next = min(next, run.started + Int64(timeout)) }
        if let time = run.killAt { next = min(next, time) }
        if sandbox.limits.output != nil, !run.isEnding { next = min(next, now + 50) }
        if !run.pending.isEmpty { next = min(next, run.progress + Self.errorPatience) }
        if !run.watchesPrimary { next = min(next, now + 1_000) }
        return Int32(max(0, next - now))
    }

    // MARK: Hearing

    private func hearSupervisor(_ launched: Launched, _ run: inout Running) {
        switch try? launched.control.receive(limit: 64, waiting: false) {
        case .message(let message):
            if let (status, leftovers) = Supervisor.Report.decode(message.bytes) {
                run.ended = (status, leftovers)
            } else {
                run.ended = (.signalled(UInt8(Signals.Number.kill)), nil)
            }
        case .nothing:
            return
        case .closed, nil:
            // The init was killed: the kernel has ended its namespace.
            run.ended = (.signalled(UInt8(Signals.Number.kill)), nil)
        }
    }

    /// The report pipe closes with execve; before that the child says so when execve fails.
    private func hearChild(_ launched: Launched, _ plan: LaunchPlan, _ run: inout Running) {
        run.hasExecuted = true
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

    private func hearMonitor(_ launched: Launched, _ run: inout Running) {
        switch try? monitor.receive(limit: 64, descriptorLimit: 1, waiting: false) {
        case .message(let message):
            switch try? SessionOrder(frame: message.bytes) {
            case .terminate:
                hangUp(launched, &run)
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

    /// The primary hung up: a reset, or only both directions closed.
    private func lookAtPrimary(_ launched: Launched, _ run: inout Running) {
        guard let counts = try? Socket.counts(parts.primary), !counts.isClosed else {
            run.watchesPrimary = false
            hangUp(launched, &run)
            return
        }
        // Both sides have ended what they send; poll would say so for ever.
        run.watchesPrimary = false
    }

    /// HUP, and KILL five seconds later.
    private func hangUp(_ launched: Launched, _ run: inout Running) {
        guard !run.isEnding else { return }
        run.isEnding = true
        signal(launched, Signals.Number.hangup)
        run.killAt = Clock.monotonicMilliseconds() + Self.hangupGrace
    }

    private func signal(_ launched: Launched, _ number: Int32) {
        try? launched.control.send([UInt8(truncatingIfNeeded: number)], waiting: false)
    }

    // MARK: Stderr and signals

    private func takeErrors(_ launched: Launched, _ run: inout Running) {
        guard let errors = launched.errors, let bytes = try? errors.read(Self.errorBuffer), !bytes.isEmpty else {
            run.errorsOpen = false
            return
        }
        if run.dropsErrors {
            run.droppedErr += UInt64(bytes.count)
        } else {
            run.pending = bytes
            run.progress = Clock.monotonicMilliseconds()
        }
    }

    private func sendErrors(_ run: inout Running) {
        guard let secondary = parts.secondary else { return }
        do {
            let count = try Socket.send(secondary, run.pending[...])
            if count > 0 {
                run.pending.removeFirst(count)
                run.bytesErr += UInt64(count)
                run.progress = Clock.monotonicMilliseconds()
            } else if Clock.monotonicMilliseconds() - run.progress >= Self.errorPatience {
                dropErrors(&run)
            }
        } catch {
            dropErrors(&run)
        }
    }

    private func dropErrors(_ run: inout Running) {
        run.droppedErr += UInt64(run.pending.count)
        run.pending = []
        run.dropsErrors = true
    }

    private func takeSignals(_ launched: Launched, _ run: inout Running) {
        guard let secondary = parts.secondary, let received = try? Socket.receive(secondary, limit: 64) else {
            // An error: nothing more comes; it cancels nothing.
            run.hearsSignals = false
            return
        }
        if received.isEmpty { run.hearsSignals = false }
        let now = Clock.monotonicMilliseconds()
        for byte in received {
            if now - run.signalWindow >= 1_000 {
                run.signalWindow = now
                run.signalCount = 0
            }
            switch Int32(byte) {
            case Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.quit, Signals.Number.terminate,
                Signals.Number.kill:
                guard run.signalCount < Self.signalRate else {
                    run.ignoredSignals += 1
                    continue
                }
                run.signalCount += 1
                signal(launched, Int32(byte))
            default:
                run.ignoredSignals += 1
            }
        }
    }

    // MARK: Limits

    private func enforce(_ launched: Launched, _ run: inout Running, _ sandbox: Sandbox) {
        let now = Clock.monotonicMilliseconds()
        if let timeout = sandbox.timeout, !run.isEnding, now - run.started >= Int64(timeout) {
            run.limit = "timeout"
            hangUp(launched, &run)
        }
        if let limit = sandbox.limits.output, !run.isEnding, let counts = try? Socket.counts(parts.primary),
            counts.written > limit &+ 1
        {
            run.limit = "output"
            run.isEnding = true
            signal(launched, Signals.Number.kill)
            run.killAt = now + Self.hangupGrace
        }
        if !run.watchesPrimary, !run.isEnding, (try? Socket.counts(parts.primary))?.isClosed ?? true {
            hangUp(launched, &run)
        }
        if let time = run.killAt, time <= now {
            run.killAt = now + Self.hangupGrace
            signal(launched, Signals.Number.kill)
        }
    }

    // MARK: The end

    /// A client that has acknowledged everything has this long to end its side, before ours ends for good.
    private static let closeGrace: Int64 = 2_000

    /// What is left of stderr, the record, and the connections' end.
    private func finish(
        _ launched: Launched, _ plan: LaunchPlan, _ identity: EstablishedIdentity, _ run: inout Running
    ) -> Never {
        let milliseconds = UInt64(max(0, Clock.monotonicMilliseconds() - run.started))
        // The init ends now, and the kernel with it everything that the command left in its namespace.
        launched.supervisor.signal(Signals.Number.kill)
        // Where something was left, it is gone before the client hears of the end. Where nothing was, the client need
        // not wait for the kernel to take the namespaces down, which takes milliseconds.
        let isEmpty = run.ended?.leftovers == 0
        if !isEmpty { Children.reap(launched.supervisor.pid) }
        if !run.hasExecuted { hearChild(launched, plan, &run) }
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
        _ = kernelTrail.send(record, session: input.session)
        drain(&run)
        if isEmpty { Children.reap(launched.supervisor.pid) }
        // Revokes every copy that the command passed on.
        if let secondary = parts.secondary { Socket.shutdownBoth(secondary) }
        Socket.shutdownBoth(parts.primary)
        removeTemporaryDirectory()
        settleEnd()
        // ORDER: modules close their session last: one that hangs or crashes then takes nothing with it, and the
        // monitor ends what does not go.
        tell(.ended)
        identity.close()
        endGuest()
        Process.exitNow(0)
    }

    /// The record of a command that the filter has ended, as far as a wait status can tell: which call it was, the kernel
    /// alone knows, and tells its audit subsystem.
    private func denialRecord(_ run: Running) -> Record? {
        guard case .signalled(let number)? = run.ended?.status, Int32(number) == Signals.Number.systemCall else {
            return nil
        }
        return .denial(
            Record.Denial(
                origin: origin, account: targetText, subject: .call(nil), signal: Record.Denial.systemCallSignal))
    }

    private func endRecord(_ run: Running, _ counts: Socket.Counts?, _ milliseconds: UInt64) -> Record {
        let (status, leftovers) = run.ended ?? (.signalled(0), nil)
        let outcome: Record.Outcome
        var limit = run.limit
        switch status {
        case .exited(let value):
            outcome = .status(value)
        case .signalled(let number):
            outcome = .signal(number)
            if limit == nil, Int32(number) == Signals.Number.cpu { limit = "cpu" }
            if limit == nil, Int32(number) == Signals.Number.fileSize { limit = "file-size" }
        }
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
    private func flushErrors(_ launched: Launched, _ run: inout Running) {
        guard let errors = launched.errors, let secondary = parts.secondary else { return }
        run.progress = Clock.monotonicMilliseconds()
        // Nothing that the command wrote is newer than its end: a pipe holds no more than this (pipe(7)), and whoever
        // was passed a copy of it holds nobody up.
        let limit = run.bytesErr &+ run.droppedErr &+ UInt64(run.pending.count) &+ 1 << 20
        while run.errorsOpen || !run.pending.isEmpty {
            if run.pending.isEmpty {
                guard run.bytesErr &+ run.droppedErr < limit else { return }
                var entries = [Poll.Entry(errors)]
                try? Poll.wait(&entries, milliseconds: 0)
                // Nothing more can come: every writer is gone, but for a copy that was passed to another process.
                guard entries[0].isReadable || entries[0].isHangup else { return }
                takeErrors(launched, &run)
                continue
            }
            sendErrors(&run)
            guard !run.pending.isEmpty else { continue }
            var entries = [Poll.Entry(secondary, reading: false, writing: true), Poll.Entry(monitor.descriptor)]
            try? Poll.wait(&entries, milliseconds: 250)
            if entries[1].isReadable || entries[1].isHangup, hearMonitorAtEnd() { return dropErrors(&run) }
        }
    }

    /// Reads and forgets what the client still sends until it has ended its side too.
    ///
    /// A byte of the client's that stays unread, or comes after the end, would turn what it has not yet read into a
    /// reset (Linux, tcp_rcv_state_process: data after SHUT_RD). So the end waits as long as the client acknowledges,
    /// and a little longer; one that acknowledges nothing for ten seconds, or is to be terminated, is cut off.
    private func drain(_ run: inout Running) {
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
                guard now - progress < Self.errorPatience else { return }
            } else {
                let since = settledSince ?? now
                settledSince = since
                guard now - since < Self.closeGrace else { return }
            }
            var entries = open.map { Poll.Entry($0) } + [Poll.Entry(monitor.descriptor)]
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
            var entries = [Poll.Entry(trail.descriptor), Poll.Entry(monitor.descriptor)]
            try? Poll.wait(&entries, milliseconds: -1)
            if entries[0].isReadable || entries[0].isHangup { trail.receive(waiting: false) }
            if entries[1].isReadable || entries[1].isHangup { _ = hearMonitorAtEnd() }
        }
    }
}
