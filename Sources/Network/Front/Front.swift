// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
public import Linux
public import Logging
import Messages
public import NIOCore
import NIOPosix
import Wire

/// The network-facing part of the gateway: it accepts, limits, reads handshakes, hands complete requests over, and
/// answers every refusal. It knows no rules, opens nothing, and connects nowhere.
///
/// Everything here runs on one event loop. NIO has the listeners and, while a handshake is read or a refused client
/// drained, the client's socket. Our own channels carry descriptors in SEQPACKET messages, which NIO cannot: a
/// `ChannelWatcher` waits for them on another thread, which touches nothing but an epoll set, and hands the bare event
/// over to the loop; sending is done from the loop and never waits.
///
/// TRUST: clients are strangers. The monitor is believed; a session is believed about its own request alone.
public final class Front {
    /// Bounds that no policy changes.
    public struct Bounds: Sendable {
        /// The most handshakes and delayed refusals at once.
        public var handshakes = 20_000
        /// The same of one source.
        public var handshakesPerSource = 512
        /// The most bytes that are read from a refused client.
        public var drainBytes = 65_536
        /// How long that may take.
        public var drainTime = TimeAmount.seconds(2)

        /// The contract's bounds.
        public init() {}
    }

    /// How front ends; called on the event loop, and does not return in a program.
    public typealias Ending = (_ why: String, _ isFailure: Bool) -> Void

    private struct Listening {
        var terms: Terms
        var endpoint: Endpoint
        var descriptor: Descriptor
        var channel: (any NIOCore.Channel)?
    }

    /// The tokens of the two standing channels; connections are numbered behind them.
    private enum Token {
        static let monitor: UInt64 = 0
        static let auditor: UInt64 = 1
        static let firstConnection: UInt64 = 16
    }

    let eventLoop: any EventLoop
    private let monitor: Linux.Channel
    private let epoll: Epoll
    private let bounds: Bounds
    private let log: Logger
    private let end: Ending

    private var asks: Outbox
    private var records: RefusalRecords?
    private var connections: [UInt64: Connection] = [:]
    private var nextConnection = Token.firstConnection
    private var listening: [Listening] = []
    /// Raised when the listeners are replaced, so that a retry of an old one comes to nothing.
    private var generation = 0
    private var isDraining = false
    private var handshakePlaces = Places()
    private var rexecPlaces = Places()
    private var rshPlaces = Places()
    private var turns = ConnectBackTurns()
    /// The sources of the connect-backs that the monitor was asked for and has not answered.
    private var callingBack: [UInt64: IPAddress] = [:]
    /// Room to look at a command's bytes, shared by all handshakes.
    private let scratch = SecretBytes(count: 16_384)
    private var hasEnded = false

    /// A front that has not begun.
    ///
    /// - Parameters:
    ///   - eventLoop: the loop on which everything runs; this is called on it, too.
    ///   - monitor: the channel to the monitor.
    ///   - auditor: the channel to the auditor; without one refusals go unrecorded, which tests alone do.
    ///   - epoll: the set that a `ChannelWatcher` waits on.
    ///   - end: called once, when front has no more to do or cannot go on.
    public init(
        eventLoop: any EventLoop, monitor: Linux.Channel, auditor: Linux.Channel?, epoll: Epoll,
        bounds: Bounds = Bounds(), log: Logger, end: @escaping Ending
    ) {
        self.eventLoop = eventLoop
        self.monitor = monitor
        self.epoll = epoll
        self.bounds = bounds
        self.log = log
        self.end = end
        asks = Outbox(monitor)
        records = auditor.map { RefusalRecords($0) }
    }

    /// Watches the channels and tells the monitor that front is ready.
    public func start() throws(SystemError) {
        try epoll.add(monitor.descriptor, token: Token.monitor)
        if let records { try epoll.add(records.descriptor, token: Token.auditor) }
        ask(.ready)
    }

    private func stop(_ why: String, isFailure: Bool) {
        guard !hasEnded else { return }
        hasEnded = true
        end(why, isFailure)
    }

    // MARK: - Channels

    /// Handles what a watcher saw. Called on the event loop.
    public func handle(_ events: [Epoll.Event]) {
        for event in events where !hasEnded {
            switch event.token {
            case Token.monitor: handleMonitor(event)
            case Token.auditor: handleAuditor(event)
            default:
                // One that is gone by now had its event in the same batch.
                if let connection = connections[event.token] { handleSession(connection) }
            }
        }
    }

    private func handleMonitor(_ event: Epoll.Event) {
        if event.isWritable { flushAsks() }
        guard event.isReadable || event.isHangup else { return }
        // A bound on one turn, so that a flood of orders does not hold clients up.
        for _ in 0..<256 where !hasEnded {
            do {
                switch try monitor.receive(
                    limit: FrameFormat.limit, descriptorLimit: FrameFormat.descriptorLimit, waiting: false)
                {
                case .nothing: return
                case .closed: return stop("the monitor is gone", isFailure: false)
                case .message(let message): obey(try FrontOrder(frame: message.bytes), message.descriptors)
                }
            } catch {
                return stop("the monitor's channel: \(error)", isFailure: true)
            }
        }
    }

    private func obey(_ order: FrontOrder, _ descriptors: [Descriptor]) {
        switch order {
        case .configure(let settings):
            configure(settings, descriptors)
        case .connectedBack(let id):
            // TRUST: the monitor made the connection, by the rule, to the address of the primary that it was shown.
            connectBackEnded(id, descriptors.count == 1 ? .success(descriptors[0]) : .failure(.protocolError))
        case .connectBackFailed(let id, let reason):
            connectBackEnded(id, .failure(reason == .limit ? ConnectBackFailure.limit : .protocolError))
        case .rejected(let id, let reason):
            guard let connection = connections[id], connection.phase == .deciding else { return }
            endSession(connection)
            refuse(connection, reason, recording: nil)
        case .drain:
            isDraining = true
            closeListeners()
        }
    }

    private func ask(_ ask: FrontAsk, _ descriptors: [Descriptor] = []) {
        do {
            try asks.send(ask.encoded(), descriptors)
            watchAsks()
        } catch {
            stop("the monitor's channel: \(error)", isFailure: !error.isDisconnected)
        }
    }

    private func flushAsks() {
        do {
            try asks.flush()
            watchAsks()
        } catch {
            stop("the monitor's channel: \(error)", isFailure: !error.isDisconnected)
        }
    }

    private var isWatchingAsks = false

    private func watchAsks() {
        guard asks.isBlocked != isWatchingAsks else { return }
        isWatchingAsks = asks.isBlocked
        try? epoll.change(monitor.descriptor, token: Token.monitor, writing: isWatchingAsks)
    }

    private var isWatchingRecords = false

    private func handleAuditor(_ event: Epoll.Event) {
        guard records != nil else { return }
        if event.isHangup {
            if let descriptor = records?.descriptor { epoll.remove(descriptor) }
            records = nil
            return log.error("the auditor is gone; refusals go unrecorded until the monitor replaces it")
        }
        tryRecords { try $0.flush() }
    }

    private func tryRecords(_ body: (inout RefusalRecords) throws(SystemError) -> Void) {
        guard records != nil else { return }
        do {
            try records.mutate(body)
        } catch {
            return log.error("the auditor's channel: \(error)")
        }
        guard let records, records.isBlocked != isWatchingRecords else { return }
        isWatchingRecords = records.isBlocked
        try? epoll.change(records.descriptor, token: Token.auditor, writing: isWatchingRecords)
    }
}
