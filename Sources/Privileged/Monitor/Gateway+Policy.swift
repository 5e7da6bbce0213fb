// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// Loading policies: every load is a fresh engine, and a bad one changes nothing.
extension Gateway {
    /// Starts a load; one that is under way is finished first.
    ///
    /// - Parameter asker: the administrator who asked for it and is told what came of it.
    func reload(asker: UInt64? = nil) {
        guard !isDraining else {
            if let asker { answer([.failure(text: "the gateway is stopping")], to: asker) }
            return
        }
        guard loading == nil else {
            // The load under way may have read the files before they were changed.
            wantsReload = true
            if let asker { nextAskers.insert(asker) }
            return
        }
        if let asker { askers.insert(asker) }
        do {
            let loader = try Loader.start(policy: options.policy)
            let helper = try Helper.start(
                .engine, in: helpersDirectory, second: loader.engine, identity: identities.identities[.engine],
                // What no sandbox may open is an error of the policy, and so the engine's to say.
                arguments: [
                    "--state-directory", options.stateDirectory, "--runtime-directory", options.runtimeDirectory,
                    "--policy-directory", policyDirectory,
                ])
            loaders.insert(loader.pid)
            loading = EngineProcess(helper: helper, loader: loader.pid)
            try epoll.add(helper.outbox.channel.descriptor, token: Token.loading.with(0))
            try epoll.add(helper.process.descriptor, token: Token.loadingExit.with(0))
        } catch {
            log.say("cannot start an engine: \(error)")
            loading = nil
            if engine == nil { restarts.append((Clock.monotonicMilliseconds() + 1_000, .engine)) }
            tellAskers(.failure(text: "cannot start an engine: \(error); " + standing))
        }
    }

    private func tellAskers(_ answer: ControlAnswer) {
        let told = askers
        askers = []
        for asker in told { self.answer([answer], to: asker) }
    }

    func serveLoading(_ event: Epoll.Event) {
        guard let channel = loading?.helper.outbox.channel else { return }
        while true {
            guard let received = try? channel.receive(limit: FrameFormat.limit, waiting: false) else {
                return loadingEnded("its channel failed")
            }
            switch received {
            case .nothing:
                return
            case .closed:
                return loadingEnded("died")
            case .message(let message):
                guard let progress = loading?.take(message.bytes) else { return }
                switch progress {
                case .more:
                    continue
                case .failed(let diagnostics, let errors):
                    reject(diagnostics, errors)
                    return
                case .broken(let text):
                    return loadingEnded(text)
                case .loaded(let policy):
                    return install(policy)
                }
            }
        }
    }

    /// The engine that loads is gone, or as good as gone.
    func loadingEnded(_ why: String) {
        guard loading != nil else { return }
        discardLoading()
        log.say("the engine \(why) while it loaded \(options.policy)")
        record(.policyRejected(file: ByteText(options.policy), errors: ByteText("the engine \(why)")))
        if !hasServed { return fail(70) }
        if engine == nil { restarts.append((Clock.monotonicMilliseconds() + 1_000, .engine)) }
        endLoad(.failure(text: "policy not loaded: the engine \(why); " + standing))
    }

    private func discardLoading() {
        guard let gone = loading else { return }
        epoll.remove(gone.helper.outbox.channel.descriptor)
        epoll.remove(gone.helper.process.descriptor)
        gone.helper.process.signal(Signals.Number.kill)
        retired.append(gone.helper.process)
        loading = nil
        endLoader(gone)
    }

    /// A load is over, and its loader with it; one that has ended already was reaped and is no longer in the set.
    private func endLoader(_ engine: EngineProcess) {
        if loaders.contains(engine.loader) { Process.signal(engine.loader, Signals.Number.kill) }
    }

    private func reject(_ diagnostics: String, _ errors: Int) {
        discardLoading()
        show(diagnostics)
        record(.policyRejected(file: ByteText(options.policy), errors: ByteText(diagnostics)))
        guard hasServed else { return fail(1) }
        let text = "policy not loaded: \(errors) \(errors == 1 ? "error" : "errors"); " + standing
        log.say(text)
        notify("STATUS=policy not loaded; the former one stands")
        endLoad(.failure(text: diagnostics + "\n" + text))
    }

    /// Prints diagnostics as they are, a line at a time: carets stand below what they point at.
    ///
    /// TRUST: of a loader that was taken over any byte can come. What is not printable ASCII is escaped; a backslash is
    /// not, as the loader's own escapes have one.
    private func show(_ diagnostics: String) {
        for line in diagnostics.split(separator: "\n") {
            let shown = line.utf8.map { byte in
                byte == UInt8(ascii: "\\") ? "\\" : ByteText([byte]).printable
            }
            try? StandardStreams.error.writeAll(Array((shown.joined() + "\n").utf8))
        }
    }

    private var standing: String {
        engine == nil ? "no policy is in force, and every request is refused" : "the former policy stands"
    }

    /// Puts a loaded policy in force, if its addresses can be had.
    private func install(_ policy: FrozenPolicy) {
        guard let fresh = loading else { return }
        let bound: [Listeners.Bound]
        do {
            bound = try listeners.prepare(policy.settings)
        } catch {
            discardLoading()
            log.say("\(error)")
            record(.policyRejected(file: ByteText(options.policy), errors: ByteText("\(error)")))
            guard hasServed else { return fail(1) }
            log.say("policy not loaded; " + standing)
            return endLoad(.failure(text: "\(error)\npolicy not loaded; " + standing))
        }
        // ORDER: the new engine is in place before the old one is told to end.
        let old = engine
        let channel = fresh.helper.outbox.channel.descriptor
        loading = nil
        engine = fresh
        endLoader(fresh)
        do {
            try epoll.change(channel, token: Token.engine.with(0))
            try epoll.change(fresh.helper.process.descriptor, token: Token.engineExit.with(0))
        } catch {
            log.say("epoll: \(error)")
        }
        if var old {
            epoll.remove(old.helper.outbox.channel.descriptor)
            epoll.remove(old.helper.process.descriptor)
            _ = old.helper.outbox.send(EngineOrder.drain)
            // Its channel closes here, and it ends when its last session has its answer.
            retired.append(old.helper.process)
        }
        self.policy = policy
        listeners.install(bound)
        // They have the tables of the policy before.
        dismissSpares()
        show(policy.warnings)
        log.say("policy \(policy.revision), \(policy.rules) rules")
        _ = auditor?.outbox.send(AuditorOrder.configure(settings: policy.settings.audit))
        record(.policyLoaded(revision: policy.revision, file: ByteText(options.policy), rules: policy.rules))
        if front == nil {
            if !restarts.contains(where: { $0.kind == .front }) { startFront() }
        } else {
            configureFront()
        }
        if control == nil { openControl() }
        if hasServed { notify("STATUS=\(policy.rules) rules, policy \(policy.revision)") }
        endLoad(.end)
    }

    /// Tells those who asked what came of the load, and starts the next one if it is wanted.
    private func endLoad(_ answer: ControlAnswer) {
        tellAskers(answer)
        guard wantsReload else { return }
        wantsReload = false
        (askers, nextAskers) = (nextAskers, [])
        // Who asked before the gateway began to stop waits for an answer, too.
        guard !isDraining else { return tellAskers(.failure(text: "the gateway is stopping")) }
        reload()
    }

    // MARK: The engine in force

    func serveEngine(_ event: Epoll.Event) {
        guard let channel = engine?.helper.outbox.channel else { return }
        // After its load an engine has nothing to say to the monitor.
        switch try? channel.receive(limit: FrameFormat.limit, waiting: false) {
        case .nothing:
            _ = engine?.helper.outbox.flush()
        default:
            epoll.remove(channel.descriptor)
            engine?.helper.process.signal(Signals.Number.kill)
        }
    }

    /// The engine died: until another has loaded, every request is refused as `unavailable`.
    func engineEnded() {
        guard let gone = engine, let status = gone.helper.process.reap() else { return }
        epoll.remove(gone.helper.process.descriptor)
        epoll.remove(gone.helper.outbox.channel.descriptor)
        engine = nil
        log.say("portcullis-engine ended (\(status.words)); loading the policy again")
        record(.serviceStop(unit: "portcullis-engine", reason: status.words, isFailure: true))
        restart(.engine, after: gone.helper.started)
    }
}
