// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import Session

/// Sessions forked ahead, each for one request: the fork is not on a request's way.
///
/// INVARIANT: a spare has its own end of a channel to the monitor and nothing else of this gateway's. What a request needs is
/// made when the request comes, so an engine, an auditor or a front that was replaced meanwhile makes no spare stale; the
/// tables of the policy do, and with each new policy all are dismissed.
extension Gateway {
    /// Whether a spare may be made: not before the gateway serves, nor when it stops; and not while requests use every
    /// processor, as each would wait for what the spare costs.
    var wantsSpares: Bool {
        hasServed && policy != nil && !isDraining && startFailure == nil && sessions.deciding < processors
    }

    /// Makes one spare where one is missing and nothing else is to be done.
    func tendSpares(isQuiet: Bool) {
        let now = Clock.monotonicMilliseconds()
        guard isQuiet else { return spares.disturb(now: now) }
        guard wantsSpares, let policy, let due = spares.due, due <= now else { return }
        do {
            spares.add(try forkSpare(policy))
        } catch {
            guard let pause = spares.failed(now: now) else { return }
            log.say("cannot make a spare session: \(error); the next try is in \(pause / 1_000) s")
        }
    }

    private func forkSpare(_ policy: FrozenPolicy) throws -> SessionProcess {
        let number = sessions.number()
        let (ours, theirs) = try Channel.pair()
        let monitor = Process.id
        switch try Process.fork() {
        case .child:
            // As in `forkSession`.
            keptInChild = [ours.descriptor, theirs.descriptor]
            SpareSession.run(on: theirs.descriptor, of: monitor, revision: policy.revision) {
                sessionInput($0, policy, monitor: monitor)
            }
        case .parent(let pid):
            return try watch(pid, number: number, ours)
        }
    }

    /// Hands a request to the spare that waited longest; nil where none can take it.
    ///
    /// ORDER: it is taken out of those that wait before it is told, so that it is given one request and never two.
    func spareSession(_ assign: (UInt64) -> SessionAssignment, _ handed: [Descriptor]) -> SessionProcess? {
        while let spare = spares.take() {
            do {
                try spare.channel.send(
                    SpareOrder.serve(assign(spare.number)).encoded(), descriptors: handed, waiting: false)
                spares.served()
                return spare
            } catch {
                guard error.isDisconnected else {
                    // It is well, and this message cannot be sent now: the request is forked for.
                    spares.putBack(spare)
                    log.say("a spare session was not told of its request: \(error)")
                    return nil
                }
                // It has died, and its end was not heard yet.
                end(spare)
                spareFailed("took no request: \(error)", nil)
            }
        }
        return nil
    }

    /// Ends all that wait.
    func dismissSpares() {
        for spare in spares.removeAll() { end(spare) }
    }

    /// A spare has nothing to say before it has a request.
    func spareSpoke(_ number: UInt64) {
        guard let spare = spares[number] else { return }
        // Its end follows through its pidfd; a request that is handed to it before that is a lost session.
        epoll.remove(spare.channel.descriptor)
        spare.handle.signal(Signals.Number.kill)
    }

    /// A process that waited for a request is gone.
    func spareEnded(_ number: UInt64) {
        guard let spare = spares[number], let status = spare.handle.reap() else { return }
        epoll.remove(spare.channel.descriptor)
        epoll.remove(spare.handle.descriptor)
        // A signal to the whole group, as a terminal sends it, tells this process to stop, too.
        takeSignals()
        spareFailed("died (\(status.words))", number)
    }

    private func spareFailed(_ what: String, _ number: UInt64?) {
        guard let pause = spares.failed(number, now: Clock.monotonicMilliseconds()), !isDraining else { return }
        log.say("a spare session \(what); the next one is made in \(pause / 1_000) s")
    }
}
