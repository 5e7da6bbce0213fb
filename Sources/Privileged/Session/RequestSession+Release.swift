// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// PAM's modules, closing their session in a process of their own.
struct ClosingModules {
    /// The process.
    let process: ProcessHandle
    /// When it is ended, on the monotonic clock.
    let deadline: Int64
    /// How it ended, once it has and what it left is being ended.
    var status: ExitStatus?
}

/// Giving an account of a pool back as soon as the command has ended, however slowly its output is read.
///
/// Everybody else's modules close last, in the session itself, after the output was taken. Who holds an account's place
/// cannot wait for the client with it, and must not let a module that hangs or crashes take the rest of the output and the
/// record of the end along: so there the modules close in a fork, beside the session.
extension RequestSession {
    /// How long modules may take to close beside the session; less than the monitor gives a session that has finished.
    private static let closingPatience: Int64 = 5_000

    /// Whether this session keeps an account of a pool from others.
    var holdsPlace: Bool { guest?.place != nil || accountPlace != nil }

    /// Begins to give the account back, where this session holds one.
    ///
    /// ORDER: the init was reaped, so that nothing of the command runs; the modules close; what else runs as a guest's
    /// account is ended; and only then is the account somebody else's. `attendRelease` does what this leaves to do.
    ///
    /// - Parameter channels: what the modules' process gets no copy of, besides this session's own channels and sockets.
    func beginRelease(_ identity: EstablishedIdentity, without channels: [Descriptor]) {
        guard holdsPlace else { return }
        guard identity.hasModules else { return releasePlace() }
        do {
            let null = try File.open("/dev/null", [.reading])
            // What a module starts and leaves comes to this process, which can end it.
            try Process.becomeSubreaper()
            let session = Process.id
            switch try Process.fork() {
            case .child:
                closeModules(identity, session: session, null, channels)
            case .parent(let pid):
                do {
                    closing = ClosingModules(
                        process: try ProcessHandle(pid: pid),
                        deadline: Clock.monotonicMilliseconds() + Self.closingPatience)
                } catch {
                    Process.signal(pid, Signals.Number.kill)
                    Children.reap(pid)
                    throw error
                }
                identity.isClosed = true
            }
        } catch {
            // They close last then, as everybody's do, and the account is held until they have.
            log.say("session \(input.session): no process to close PAM's session in: \(error)")
        }
    }

    /// Has the modules close, and ends. They have their own descriptors and none of this session's.
    private func closeModules(
        _ identity: EstablishedIdentity, session: Int32, _ null: Descriptor, _ channels: [Descriptor]
    ) -> Never {
        guard (try? Process.dieWithParent()) != nil, Process.parentID == session else { Process.exitNow(1) }
        let places = [guest?.place, accountPlace].compactMap { $0?.number }
        let ours = (parts.all + [trail.descriptor].compactMap(\.self) + channels).map(\.number)
        for number in ours + places {
            guard (try? null.place(at: number)) != nil else { Process.exitNow(1) }
        }
        Process.setTitle("portcullisd: closing \(target.map { "\($0)" } ?? "?") [priv]")
        identity.close()
        Process.exitNow(0)
    }

    /// What wakes a wait for the modules' end.
    var releaseEntry: Poll.Entry { Poll.Entry(closing?.status == nil ? closing?.process.descriptor : nil) }

    /// Looks whether the modules have closed, ends them where they take too long, and then gives the account back.
    ///
    /// It never waits for them: a module that cannot be ended holds the account and nothing else.
    func attendRelease() {
        guard let modules = closing else { return }
        if modules.status == nil {
            guard let status = modules.process.reap() else {
                if Clock.monotonicMilliseconds() >= modules.deadline { modules.process.signal(Signals.Number.kill) }
                return
            }
            closing?.status = status
            if status != .exited(0) {
                log.say("session \(input.session): PAM's modules did not close their session: \(status)")
            }
        }
        if closing?.status != .exited(0), !endStrays() { return }
        closing = nil
        releasePlace()
    }

    /// Ends what modules left that were ended themselves, or crashed: nothing of it is anything that anybody asked for.
    ///
    /// It may run as root, where a look at the guest's processes does not see it, and what a process leaves comes here when
    /// that process ends.
    ///
    /// - Returns: whether nothing is left; otherwise it is called again.
    private func endStrays() -> Bool {
        let left = Children.ids()
        for pid in left {
            Process.signal(pid, Signals.Number.kill)
            _ = Children.reapNow(pid)
        }
        return left.isEmpty
    }

    /// Waits until the modules have closed; the monitor ends this session where they cannot be ended.
    func finishRelease() {
        while let modules = closing {
            var entries = [releaseEntry]
            let left = modules.status == nil ? modules.deadline - Clock.monotonicMilliseconds() : 0
            try? Poll.wait(&entries, milliseconds: Int32(clamping: max(50, left)))
            attendRelease()
        }
        releasePlace()
    }

    /// Gives the account back; a guest's when nothing runs as it any more.
    private func releasePlace() {
        endGuest()
        guest?.place = nil
        accountPlace = nil
    }
}
