// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Logging
import Messages

/// One engine: one policy, from its text to its last decision. A new policy is a new engine.
final class Engine {
    /// The most sessions whose channels are open at once.
    static let sessionLimit = 65_536

    private let monitor: Channel
    private let log: Logger
    private let epoll: Epoll
    private var sessions: [UInt64: Channel] = [:]
    private var isDraining = false

    /// Token 0 is the monitor; a session's is its number, which starts at 1.
    private static let monitorToken: UInt64 = 0

    init(monitor: Channel, log: Logger) throws {
        self.monitor = monitor
        self.log = log
        epoll = try Epoll()
    }

    /// Loads, then answers; returns the exit status.
    func run(loader: Channel) throws -> Int32 {
        let policy: LoadedPolicy
        switch PolicyLoad(loader).run() {
        case .failed(let diagnostics, let errors):
            // What does not fit a frame is cut at its end: the first errors are what a person mends first.
            let text = String(diagnostics.prefix(FrameFormat.textLimit / 4))
            try monitor.send(EngineReport.failed(diagnostics: text, errors: errors).encoded())
            return 1
        case .loaded(let loaded):
            policy = loaded
        }
        try monitor.send(EngineReport.settings(settings: policy.settings).encoded())
        for (index, sandbox) in policy.sandboxes.enumerated() {
            try monitor.send(EngineReport.sandbox(index: index, sandbox: sandbox).encoded())
        }
        try monitor.send(
            EngineReport.loaded(
                revision: policy.revision, rules: policy.ruleCount, sandboxes: policy.sandboxes.count,
                warnings: String(policy.warnings.prefix(FrameFormat.textLimit / 4))
            ).encoded())
        return try serve(policy)
    }

    private func serve(_ policy: LoadedPolicy) throws -> Int32 {
        try epoll.add(monitor.descriptor, token: Self.monitorToken)
        while true {
            for event in try epoll.wait(milliseconds: -1) {
                if event.token == Self.monitorToken {
                    guard hearMonitor() else { return 0 }
                } else {
                    answer(event.token, policy)
                }
            }
            if isDraining, sessions.isEmpty { return 0 }
        }
    }

    /// Takes in what the monitor says; false when the engine is to end.
    private func hearMonitor() -> Bool {
        for _ in 0..<64 {
            guard let received = try? monitor.receive(limit: 64, descriptorLimit: 1, waiting: false) else { return false }
            switch received {
            case .nothing:
                return true
            case .closed:
                // A replaced engine answers the sessions that it has; one whose monitor died has none to answer.
                guard isDraining else { return false }
                epoll.remove(monitor.descriptor)
                return true
            case .message(let message):
                switch try? EngineOrder(frame: message.bytes) {
                case .session(let number):
                    guard let descriptor = message.descriptors.first, number > 0, sessions[number] == nil,
                        sessions.count < Self.sessionLimit
                    else { return false }
                    guard (try? epoll.add(descriptor, token: number)) != nil else { continue }
                    sessions[number] = Channel(descriptor)
                case .drain:
                    isDraining = true
                case nil:
                    log.critical("the monitor sent what is no order")
                    return false
                }
            }
        }
        return true
    }

    /// Answers a session's one ask, and closes its channel.
    private func answer(_ number: UInt64, _ policy: LoadedPolicy) {
        guard let channel = sessions[number] else { return }
        defer { drop(number) }
        // TRUST: a session is root's, but its request holds what a stranger chose: frames are bounded and checked, and
        // deciding cannot fail.
        guard case .message(let message)? = try? channel.receive(limit: FrameFormat.limit, waiting: false),
            case .decide(let asked, let request)? = try? DecisionAsk(frame: message.bytes), asked == number
        else { return }
        let decision = policy.decide(request)
        let answer = DecisionAnswer.decision(number: number, revision: policy.revision, decision: decision)
        try? channel.send(answer.encoded(), waiting: false)
    }

    private func drop(_ number: UInt64) {
        if let channel = sessions.removeValue(forKey: number) { epoll.remove(channel.descriptor) }
    }
}
