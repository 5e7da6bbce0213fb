// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Logging
import Messages
import Policy

/// The engine's loop: one thread, one epoll set, one answer a session; a guest's session asks for one account after
/// the other.
///
/// What a session sends may come from a process that was taken over: a frame that is not exactly one ask costs that
/// session its channel, and nobody else anything. What the monitor sends is the monitor's: a frame of it that cannot be
/// read ends the engine.
struct Engine {
    /// Why the loop ended.
    enum End: Sendable, Hashable {
        /// The monitor is gone.
        case monitorGone
        /// Another engine has taken over, and every session has its answer.
        case drained
        /// The monitor broke the protocol.
        case protocolError
    }

    /// The most sessions that have a channel here at once; the monitor's own limits are below it.
    static let sessionLimit = 65_536
    /// The token of the monitor's channel: the number of no session's place.
    private static let monitorToken = UInt64.max

    private struct Session {
        let number: UInt64
        let channel: Channel
        /// The answers that it had for accounts of pools.
        var guestAnswers = 0
    }

    private let monitor: Channel
    private let prepared: PreparedPolicy
    /// The accounts of all pools: a guest's session asks for each once at most.
    private let guestAccounts: Int
    private let log: Logger
    private let epoll: Epoll
    private var sessions: [UInt64: Session] = [:]
    private var nextToken: UInt64 = 0
    private var isDraining = false

    init(monitor: Channel, serving prepared: PreparedPolicy, log: Logger) throws {
        self.monitor = monitor
        self.prepared = prepared
        guestAccounts = prepared.settings.pools.reduce(0) { $0 + $1.accounts.count }
        self.log = log
        epoll = try Epoll()
        try epoll.add(monitor.descriptor, token: Self.monitorToken)
    }

    /// Answers until the monitor is gone or the engine is drained.
    mutating func run() throws -> End {
        while true {
            if isDraining, sessions.isEmpty { return .drained }
            for event in try epoll.wait(milliseconds: -1, limit: 256) {
                if event.token == Self.monitorToken {
                    if let end = serveMonitor() { return end }
                } else {
                    serveSession(event.token)
                }
            }
        }
    }

    // MARK: The monitor

    private mutating func serveMonitor() -> End? {
        // Bounded, so that sessions that wait have their turn.
        for _ in 0..<64 {
            let received: Channel.Received
            do {
                received = try monitor.receive(limit: FrameFormat.limit, descriptorLimit: 1, waiting: false)
            } catch {
                log.error("the monitor's channel: \(error)")
                return .protocolError
            }
            switch received {
            case .nothing:
                return nil
            case .closed:
                // After a drain the monitor has no more to say, and sessions still wait for their answers.
                guard isDraining else { return .monitorGone }
                epoll.remove(monitor.descriptor)
                return nil
            case .message(let message):
                guard let order = try? EngineOrder(frame: message.bytes) else { return .protocolError }
                switch order {
                case .session(let number):
                    guard let descriptor = message.descriptors.first else { return .protocolError }
                    open(number, Channel(descriptor))
                case .drain:
                    isDraining = true
                }
            }
        }
        return nil
    }

    private mutating func open(_ number: UInt64, _ channel: Channel) {
        // A session whose channel is dropped finds it closed, and is refused as unavailable.
        guard sessions.count < Self.sessionLimit else {
            log.warning("too many sessions wait; one is dropped")
            return
        }
        let token = nextToken
        nextToken &+= 1
        if nextToken == Self.monitorToken { nextToken = 0 }
        guard sessions[token] == nil else { return }
        do {
            try epoll.add(channel.descriptor, token: token)
            sessions[token] = Session(number: number, channel: channel)
        } catch {
            log.error("\(error)")
        }
    }

    // MARK: Sessions

    private mutating func serveSession(_ token: UInt64) {
        guard let session = sessions[token] else { return }
        let received: Channel.Received
        do {
            received = try session.channel.receive(limit: FrameFormat.limit, waiting: false)
        } catch {
            return close(token, "\(error)")
        }
        switch received {
        case .nothing:
            return
        case .closed:
            return close(token, nil)
        case .message(let message):
            do {
                guard case .decide(let number, let request) = try DecisionAsk(frame: message.bytes),
                    number == session.number
                else { return close(token, "asked for another") }
                let answer = DecisionAnswer.decision(
                    number: number, revision: prepared.revision, decision: prepared.index.decide(request))
                try session.channel.send(answer.encoded(), waiting: false)
                // A session asks once. The answer stays readable for it. A guest's goes on until it ends its channel.
                guard request.target.pool != nil, session.guestAnswers + 1 < guestAccounts else {
                    return close(token, nil)
                }
                sessions[token]?.guestAnswers += 1
            } catch {
                close(token, "\(error)")
            }
        }
    }

    private mutating func close(_ token: UInt64, _ why: String?) {
        guard let session = sessions.removeValue(forKey: token) else { return }
        epoll.remove(session.channel.descriptor)
        if let why { log.warning("session \(session.number) loses its channel: \(why)") }
    }
}
