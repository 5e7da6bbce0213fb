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

        /// Lowers the handshakes to what the open descriptors allow; false where it had to.
        ///
        /// A handshake holds one or two, and a quarter is left for sessions' channels and connect-backs.
        mutating func fit(descriptors: UInt64) -> Bool {
            let room = Int(clamping: descriptors / 4) * 3
            guard room < handshakes else { return true }
            handshakes = room
            return false
        }
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

    private var asks: AskQueue
    private var records: RefusalRecords
    private var isWatchingAsks = false
    private var isWatchingRecords = false
    private var connections: [UInt64: Connection] = [:]
    private var lastConnection = Token.firstConnection
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
    private let scratch = WipedBytes(count: 16_384)
    private var nextComplaint = NIODeadline.uptimeNanoseconds(0)
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
        asks = AskQueue(monitor)
        records = RefusalRecords(auditor)
    }

    /// Watches the channels and tells the monitor that front is ready.
    public func start() throws(SystemError) {
        try epoll.add(monitor.descriptor, token: Token.monitor)
        if let auditor = records.channel { try epoll.add(auditor.descriptor, token: Token.auditor) }
        ask(.ready)
    }

    /// Logs what clients can bring about, at most once a second: the records have it all.
    private func complain(_ text: String) {
        let now = NIODeadline.now()
        guard now >= nextComplaint else { return }
        nextComplaint = now + .seconds(1)
        log.error("\(text)")
    }

    private func stop(_ why: String, isFailure: Bool) {
        guard !hasEnded else { return }
        hasEnded = true
        end(why, isFailure)
    }

    // MARK: - Channels

    /// Handles what a watcher saw, and says whether there is more to watch. Called on the event loop.
    public func handle(_ events: [Epoll.Event]) -> Bool {
        for event in events where !hasEnded {
            switch event.token {
            case Token.monitor: handleMonitor(event)
            case Token.auditor: handleAuditor(event)
            default:
                // One that is gone by now had its event in the same batch.
                if let connection = connections[event.token] { handleSession(connection) }
            }
        }
        return !hasEnded
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
            connectBackEnded(id, secondary: descriptors.first, reason: .protocolError)
        case .connectBackFailed(let id, let reason):
            connectBackEnded(id, secondary: nil, reason: reason == .limit ? .limit : .protocolError)
        case .rejected(let id, let reason):
            guard let connection = connections[id], connection.phase == .deciding else { return }
            endSession(connection)
            // Nobody else speaks of a request that no session had, and front may speak of no other reasons.
            let isFronts = [.limit, .protocolError, .auditUnavailable].contains(reason)
            refuse(connection, isFronts ? reason : .unavailable, recording: "no session could be made")
        case .drain:
            isDraining = true
            closeListeners()
        case .auditor:
            guard let descriptor = descriptors.first else { return }
            takeAuditor(Linux.Channel(descriptor))
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

    private func watchAsks() {
        guard asks.isBlocked != isWatchingAsks else { return }
        isWatchingAsks = asks.isBlocked
        try? epoll.change(monitor.descriptor, token: Token.monitor, writing: isWatchingAsks)
    }
}

// MARK: - Records

extension Front {
    private func handleAuditor(_ event: Epoll.Event) {
        guard let channel = records.channel else { return }
        do {
            // It answers nothing, so what there is to read is its end. The event may be of the auditor before this one.
            if event.isHangup || event.isReadable, case .closed = try channel.receive(limit: 64, waiting: false) {
                epoll.remove(channel.descriptor)
                records.auditorIsGone()
                return log.error("the auditor is gone")
            }
            try records.flush()
        } catch {
            log.error("the auditor's channel: \(error)")
        }
        watchRecords()
    }

    /// Goes on with another auditor; what waited for one is sent to it.
    private func takeAuditor(_ channel: Linux.Channel) {
        if let old = records.channel { epoll.remove(old.descriptor) }
        records.auditorIsBack(channel)
        isWatchingRecords = true
        do {
            try epoll.add(channel.descriptor, token: Token.auditor, writing: true)
        } catch {
            log.error("the auditor's channel: \(error)")
        }
    }

    private func watchRecords() {
        guard let channel = records.channel, records.isBlocked != isWatchingRecords else { return }
        isWatchingRecords = records.isBlocked
        try? epoll.change(channel.descriptor, token: Token.auditor, writing: isWatchingRecords)
    }

    /// Records a refusal of front's own, with what of the handshake may be shown.
    private func record(_ connection: Connection, _ reason: Reason, _ detail: String) {
        let handshake = connection.handshake
        let login = Record.Login(
            origin: Record.Origin(
                service: connection.service, address: connection.source.address, port: connection.source.port),
            account: connection.claim(handshake.loggableTarget),
            remoteUser: connection.claim(handshake.loggableRemoteUser), refusal: reason, rule: nil, revision: nil,
            detail: ByteText(detail))
        do {
            try records.send(login)
        } catch {
            log.error("the auditor's channel: \(error)")
        }
        watchRecords()
    }
}

// MARK: - Listeners

extension Front {
    /// Takes settings and listeners, which replace those before; connections keep the settings that they began with.
    private func configure(_ settings: FrontSettings, _ descriptors: [Descriptor]) {
        guard settings.listeners.count == descriptors.count, descriptors.allSatisfy(Socket.isListening) else {
            return stop("the monitor sent listeners that are none", isFailure: true)
        }
        closeListeners()
        guard !isDraining else { return }
        let terms = [Service.rexec: Terms(.rexec, settings), .rsh: Terms(.rsh, settings)]
        for (listener, descriptor) in zip(settings.listeners, descriptors) {
            guard let terms = terms[listener.service] else { continue }
            listening.append(Listening(terms: terms, endpoint: listener.endpoint, descriptor: descriptor))
            listen(listening.count - 1)
        }
    }

    private func closeListeners() {
        generation += 1
        for place in listening { place.channel?.close(promise: nil) }
        listening.removeAll()
    }

    private func listen(_ place: Int) {
        let terms = listening[place].terms
        let front = NIOLoopBound(self, eventLoop: eventLoop)
        let generation = generation
        let number: Int32
        do {
            number = try listening[place].descriptor.duplicateToGiveAway()
        } catch {
            log.error("listener \(listening[place].endpoint): \(error)")
            return listenLater(place, generation)
        }
        let made = ServerBootstrap(group: eventLoop)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = HandshakeHandler(front: front.value, terms: terms)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .withBoundSocket(number)
        made.assumeIsolated().whenComplete { [self] result in
            guard generation == self.generation else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            switch result {
            case .failure(let error):
                log.error("listener \(listening[place].endpoint): \(error)")
                listenLater(place, generation)
            case .success(let channel):
                listening[place].channel = channel
                // NIO has listened with a backlog of its own.
                Socket.setBacklog(listening[place].descriptor, 1_024)
                // NIO gives a listener up at errors of accept that it does not know; the socket is as good as before.
                channel.closeFuture.assumeIsolated().whenComplete { [self] _ in
                    guard generation == self.generation else { return }
                    log.error("listener \(listening[place].endpoint) was closed; opening it again")
                    listenLater(place, generation)
                }
            }
        }
    }

    private func listenLater(_ place: Int, _ generation: Int) {
        let front = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .seconds(1)) {
            guard front.value.generation == generation else { return }
            front.value.listen(place)
        }
    }
}

// MARK: - Handshakes

extension Front {
    /// Admits a connection that was just accepted, or ends it.
    func accepted(_ channel: any NIOCore.Channel, _ terms: Terms, _ handler: HandshakeHandler) -> Connection? {
        // A client that is gone already has no address any more.
        guard let peer = channel.remoteAddress, let text = peer.ipAddress, let address = IPAddress(text),
            let port = peer.port.flatMap(UInt16.init(exactly:)),
            let number = socketNumber(of: channel)
        else {
            channel.close(promise: nil)
            return nil
        }
        lastConnection += 1
        let connection = Connection(
            id: lastConnection, terms: terms, source: Endpoint(address: address, port: port), accepted: .now())
        connection.channel = channel
        connection.socketNumber = number
        connection.handler = handler
        let bounds = bounds
        guard
            handshakePlaces.take(
                for: address, limit: bounds.handshakes, perSource: bounds.handshakesPerSource)
        else {
            turnAway(connection)
            return nil
        }
        connection.holdsHandshakePlace = true
        connections[connection.id] = connection
        if terms.limits.requiresReservedSourcePort, !ConnectBackRule.isReserved(port) {
            // Counted from accept, and before a byte is read.
            connection.handshakeEnded = connection.accepted
            refuse(connection, .sourcePort, recording: "port \(port) is not 512 to 1023")
            return nil
        }
        setAlarm(connection, at: connection.accepted + .milliseconds(Int64(terms.limits.handshakeTimeout)))
        return connection
    }

    private func socketNumber(of channel: any NIOCore.Channel) -> Int32? {
        try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    }

    /// Refuses a connection for which there is no place to wait in: at once, because it cannot be held.
    private func turnAway(_ connection: Connection) {
        record(connection, .limit, "handshakes")
        guard takeSocket(connection), let primary = connection.primary else { return }
        _ = try? Socket.send(primary, refusalText(connection)[...])
        Socket.shutdownSending(primary)
        // What the client has sent by now would turn the close into a reset, and eat the text.
        _ = try? Socket.receive(primary, limit: bounds.drainBytes)
        connection.primary = nil
    }

    /// Goes on with the handshake on another channel, after the connect-back.
    func resumed(_ connection: Connection, on channel: any NIOCore.Channel, _ handler: HandshakeHandler) {
        guard connection.phase == .reading, let number = socketNumber(of: channel) else {
            return channel.close(promise: nil)
        }
        connection.channel = channel
        connection.socketNumber = number
        connection.handler = handler
    }

    /// Takes the byte that the channel has read, and reads on.
    func read(_ byte: UInt8, on connection: Connection) {
        guard connection.phase == .reading else { return }
        connection.take(byte)
        readOn(connection)
    }

    private func readOn(_ connection: Connection) {
        let socket = connection.primary?.number ?? connection.socketNumber
        switch connection.readOn(from: socket, scratch: scratch) {
        case .waiting, .ended:
            // NIO finds the end itself, and tells it.
            break
        case .lost:
            lost(connection)
        case .stopped:
            act(on: connection)
        }
    }

    /// Does what the handshake has come to.
    private func act(on connection: Connection) {
        switch connection.handshake.state {
        case .reading:
            break
        case .failed(let error):
            refuse(connection, .protocolError, recording: error.description)
        case .complete:
            handOver(connection)
        case .awaitingConnectBack(let port):
            guard connection.terms.limits.offersStderrChannel else {
                return refuse(connection, .protocolError, recording: "stderr channel asked for")
            }
            guard ConnectBackRule.permits(port: port, of: connection.service) else {
                return refuse(connection, .protocolError, recording: "stderr port \(port) is not permitted")
            }
            // The channel would read names, and at a half-close stdin too, while the client is called back.
            guard takeSocket(connection), let primary = connection.primary else { return }
            connection.phase = .awaitingTurn
            if turns.ask(connection.id, source: connection.source.address) { callBack(connection, port, primary) }
        }
    }

    /// The client has closed its side before its handshake was complete.
    func inputEnded(_ connection: Connection) {
        guard connection.phase == .reading else { return }
        connection.inputEnded = true
        refuse(connection, .protocolError, recording: "closed in the handshake")
    }

    /// The connection was reset, or closed by an error.
    func lost(_ connection: Connection) {
        guard connection.phase == .reading else { return }
        record(connection, .protocolError, "lost in the handshake")
        forgetClient(connection)
    }

    /// Takes the socket from its channel, which is closed at once and so never reads again; false where it was lost.
    private func takeSocket(_ connection: Connection) -> Bool {
        guard let channel = connection.channel else { return connection.primary != nil }
        if connection.primary == nil {
            do {
                connection.primary = try Descriptor.duplicate(of: connection.socketNumber)
            } catch {
                complain("a client is dropped: \(error)")
            }
        }
        releaseChannel(connection, channel)
        guard connection.primary != nil else {
            forgetClient(connection)
            return false
        }
        return true
    }

    private func releaseChannel(_ connection: Connection, _ channel: any NIOCore.Channel) {
        connection.handler?.letGo()
        connection.handler = nil
        connection.channel = nil
        connection.socketNumber = -1
        channel.close(promise: nil)
    }

    // MARK: Connect-back

    /// Asks the monitor, in the connection's turn.
    private func callBack(_ connection: Connection, _ port: UInt16, _ primary: Descriptor) {
        connection.phase = .callingBack
        callingBack[connection.id] = connection.source.address
        ask(.connectBack(connection: connection.id, service: connection.service, port: port), [primary])
    }

    private func connectBackEnded(_ id: UInt64, secondary: Descriptor?, reason: Reason) {
        // Even where the client is gone by now, its turn was under way until this moment.
        guard let source = callingBack.removeValue(forKey: id) else { return }
        defer { nextTurn(source) }
        guard let connection = connections[id], connection.phase == .callingBack else { return }
        guard let secondary else {
            let detail = reason == .limit ? "no reserved port is free" : "the connect-back failed"
            return refuse(connection, reason, recording: detail)
        }
        connection.secondary = secondary
        connection.handshake.connectedBack()
        connection.phase = .reading
        // A client that has sent everything at once needs no channel any more.
        let socket = connection.primary?.number ?? -1
        switch connection.readOn(from: socket, scratch: scratch) {
        case .waiting: resume(connection)
        case .ended: inputEnded(connection)
        case .lost: lost(connection)
        case .stopped: act(on: connection)
        }
    }

    private func nextTurn(_ source: IPAddress) {
        while let next = turns.end(source: source) {
            guard let connection = connections[next], let port = connection.handshake.connectBackPort,
                let primary = connection.primary
            else { continue }
            return callBack(connection, port, primary)
        }
    }

    /// Has a channel wait for the names.
    private func resume(_ connection: Connection) {
        let front = NIOLoopBound(self, eventLoop: eventLoop)
        let bound = NIOLoopBound(connection, eventLoop: eventLoop)
        guard let number = try? connection.primary?.duplicateToGiveAway() else { return lost(connection) }
        let terms = connection.terms
        let made = ClientBootstrap(group: eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = HandshakeHandler(front: front.value, terms: terms, connection: bound.value)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .withConnectedSocket(number)
        made.assumeIsolated().whenFailure { [self] _ in lost(connection) }
    }
}

// MARK: - Sessions

extension Front {
    private func handOver(_ connection: Connection) {
        let limits = connection.terms.limits
        let address = connection.source.address
        connection.handshakeEnded = .now()
        let isAdmitted = mutatePlaces(connection.service) {
            $0.take(for: address, limit: limits.sessions, perSource: limits.sessionsPerSource)
        }
        guard isAdmitted else { return refuse(connection, .limit, recording: "sessions") }
        connection.holdsSessionPlace = true
        guard takeSocket(connection), let primary = connection.primary else { return }
        guard let request = unverifiedRequest(connection) else {
            return refuse(connection, .protocolError, recording: "a name is no name")
        }
        do {
            let (mine, sessions) = try Linux.Channel.pair()
            // A long command and the password behind it must both find room, read or not.
            if request.command.count > 16_384 { try Socket.setSendRoom(mine.descriptor, FrameFormat.limit) }
            try mine.send(RequestFrame.request(request: request).encoded(), waiting: false)
            if let password = connection.handshake.password, let head = connection.head {
                // With its NUL: a message of no bytes would be the end of the channel.
                try head.send(password.lowerBound..<(password.upperBound + 1), on: mine, waiting: false)
            }
            // NIO needed it non-blocking; the command expects the usual.
            try primary.setBlocking(true)
            try epoll.add(mine.descriptor, token: connection.id)
            connection.session = mine
            connection.wipe()
            connection.phase = .deciding
            clearAlarm(connection)
            freeHandshakePlace(connection)
            let secondary = connection.secondary
            ask(
                .handover(
                    connection: connection.id, service: connection.service, hasSecondary: secondary != nil),
                [sessions.descriptor, primary] + (secondary.map { [$0] } ?? []))
        } catch {
            complain("a request cannot be handed over: \(error)")
            freeSessionPlace(connection)
            refuse(connection, .unavailable, recording: "the request could not be handed over")
        }
    }

    /// The request, as far as front knows: TRUST: names in the right form, and not one byte of it verified.
    private func unverifiedRequest(_ connection: Connection) -> UnverifiedRequest? {
        let handshake = connection.handshake
        guard let target = connection.claim(handshake.target).flatMap({ UserName(bytes: $0.bytes) }),
            let command = handshake.command
        else { return nil }
        var remoteUser: UserName?
        if let claim = connection.claim(handshake.remoteUser) {
            guard let name = UserName(bytes: claim.bytes) else { return nil }
            remoteUser = name
        }
        return UnverifiedRequest(
            connection: connection.id, remoteUser: remoteUser, target: target,
            command: ByteText(Array(connection.command.prefix(command.count))),
            handshakeBytes: UInt32(clamping: handshake.consumed), hasPassword: handshake.password != nil)
    }

    private func handleSession(_ connection: Connection) {
        guard let session = connection.session else { return }
        do {
            while true {
                switch try session.receive(limit: 1_024, waiting: false) {
                case .nothing: return
                case .closed: return sessionEnded(connection)
                case .message(let message):
                    guard try answer(connection, RequestAnswer(frame: message.bytes)) else {
                        throw FrameError.value
                    }
                }
            }
        } catch {
            // A session that breaks the protocol between us has no say any more, whatever it still does.
            complain("a session broke its protocol: \(error)")
            sessionEnded(connection)
        }
    }

    /// Does what a session asks; false where the phase does not permit it.
    private func answer(_ connection: Connection, _ answer: RequestAnswer) throws(SystemError) -> Bool {
        guard connection.phase == .deciding, let session = connection.session else { return false }
        switch answer {
        case .release:
            // ORDER: our copies are closed before we say so; the session's child writes `\0` after that.
            connection.primary = nil
            connection.secondary = nil
            connection.phase = .released
            try session.send(RequestFrame.released.encoded(), waiting: false)
        case .refuse(let reason):
            // The session has recorded it.
            refuse(connection, reason, recording: nil)
        }
        return true
    }

    /// The session's end of the request's channel is closed: it ended, or died.
    private func sessionEnded(_ connection: Connection) {
        endSession(connection)
        switch connection.phase {
        case .deciding:
            // The monitor has it recorded.
            refuse(connection, .unavailable, recording: nil)
        case .released:
            forgetClient(connection)
        case .reading, .awaitingTurn, .callingBack, .delaying, .draining, .gone:
            break
        }
    }

    private func endSession(_ connection: Connection) {
        if let session = connection.session { epoll.remove(session.descriptor) }
        connection.session = nil
        freeSessionPlace(connection)
        if connection.phase == .gone { connections[connection.id] = nil }
    }
}

// MARK: - Refusals

extension Front {
    /// Refuses a connection: the one text, at the time that tells nothing.
    ///
    /// - Parameter detail: what the record says beside the reason; nil where somebody else has recorded it.
    private func refuse(_ connection: Connection, _ reason: Reason, recording detail: String?) {
        if let detail { record(connection, reason, detail) }
        let now = NIODeadline.now()
        let origin = connection.handshakeEnded ?? now
        guard quiet(connection) else { return }
        connection.phase = .delaying
        let due = RefusalTime.due(
            origin: Int64(clamping: origin.uptimeNanoseconds), decided: Int64(clamping: now.uptimeNanoseconds),
            delay: connection.terms.refusalDelay.nanoseconds)
        setAlarm(connection, at: .uptimeNanoseconds(UInt64(clamping: due)))
    }

    /// Takes the socket, so that nothing is read, and forgets the handshake; false where the socket was lost.
    private func quiet(_ connection: Connection) -> Bool {
        guard takeSocket(connection) else { return false }
        connection.wipe()
        if !connection.holdsHandshakePlace {
            connection.holdsHandshakePlace = true
            handshakePlaces.takeAnyway(for: connection.source.address)
        }
        return true
    }

    private func refusalText(_ connection: Connection) -> [UInt8] {
        [1] + Array(connection.terms.limits.refusalText.utf8) + [UInt8(ascii: "\n")]
    }

    /// Writes the refusal and reads what the client still sends.
    private func answer(_ connection: Connection) {
        // ORDER: the secondary first, then the text, then our end of the stream, then the drain, then the close.
        // The session may still be ending, with copies of both: so they are shut down, not only closed.
        if let secondary = connection.secondary { Socket.shutdownBoth(secondary) }
        connection.secondary = nil
        guard let primary = connection.primary else { return forgetClient(connection) }
        // Nothing was written before, so there is room for a line.
        _ = try? Socket.send(primary, refusalText(connection)[...])
        Socket.shutdownSending(primary)
        guard !connection.inputEnded, let number = try? primary.duplicateToGiveAway() else {
            return forgetClient(connection)
        }
        connection.phase = .draining
        connection.primary = nil
        setAlarm(connection, at: .now() + bounds.drainTime)
        let front = NIOLoopBound(self, eventLoop: eventLoop)
        let id = connection.id
        let limit = bounds.drainBytes
        let made = ClientBootstrap(group: eventLoop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4_096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = DrainHandler(front: front.value, connection: id, limit: limit)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .withConnectedSocket(number)
        made.assumeIsolated().whenComplete { [self] result in
            switch result {
            case .failure: drained(id)
            case .success(let channel):
                if connection.phase == .draining { connection.channel = channel } else { channel.close(promise: nil) }
            }
        }
    }

    /// A refused client's connection is closed.
    func drained(_ id: UInt64) {
        guard let connection = connections[id], connection.phase == .draining else { return }
        forgetClient(connection)
    }

    /// Lets go of all that there is of a client.
    private func forgetClient(_ connection: Connection) {
        if connection.phase == .awaitingTurn { turns.cancel(connection.id, source: connection.source.address) }
        connection.phase = .gone
        connection.wipe()
        clearAlarm(connection)
        connection.secondary = nil
        connection.primary = nil
        if let channel = connection.channel { releaseChannel(connection, channel) }
        freeHandshakePlace(connection)
        guard connection.session == nil else { return }
        freeSessionPlace(connection)
        connections[connection.id] = nil
    }
}

// MARK: - Time

/// Wakes front for one connection.
private struct Alarm: NIOScheduledCallbackHandler, Sendable {
    let front: NIOLoopBound<Front>
    let connection: UInt64

    func handleScheduledCallback(eventLoop: some EventLoop) {
        front.value.alarm(connection)
    }
}

extension Front {
    private func setAlarm(_ connection: Connection, at moment: NIODeadline) {
        clearAlarm(connection)
        let alarm = Alarm(front: NIOLoopBound(self, eventLoop: eventLoop), connection: connection.id)
        do {
            connection.alarm = try eventLoop.scheduleCallback(at: moment, handler: alarm)
        } catch {
            // The loop is ending, and every connection with it.
            forgetClient(connection)
        }
    }

    private func clearAlarm(_ connection: Connection) {
        connection.alarm?.cancel()
        connection.alarm = nil
    }

    fileprivate func alarm(_ id: UInt64) {
        guard let connection = connections[id] else { return }
        connection.alarm = nil
        switch connection.phase {
        case .reading, .awaitingTurn, .callingBack:
            record(connection, .protocolError, "handshake not complete in time")
            if connection.phase == .awaitingTurn { turns.cancel(id, source: connection.source.address) }
            guard quiet(connection) else { return }
            answer(connection)
        case .delaying:
            answer(connection)
        case .draining:
            forgetClient(connection)
        case .deciding, .released, .gone:
            break
        }
    }
}

// MARK: - Places

extension Front {
    private func freeHandshakePlace(_ connection: Connection) {
        guard connection.holdsHandshakePlace else { return }
        connection.holdsHandshakePlace = false
        handshakePlaces.free(for: connection.source.address)
    }

    private func freeSessionPlace(_ connection: Connection) {
        guard connection.holdsSessionPlace else { return }
        connection.holdsSessionPlace = false
        let address = connection.source.address
        mutatePlaces(connection.service) { $0.free(for: address) }
    }

    private func mutatePlaces<Result>(_ service: Service, _ body: (inout Places) -> Result) -> Result {
        switch service {
        case .rexec: body(&rexecPlaces)
        case .rsh: body(&rshPlaces)
        }
    }

    /// What is under way, for tests: connections, handshakes' places, sessions' places.
    var underWay: (connections: Int, handshakes: Int, sessions: Int) {
        (connections.count, handshakePlaces.taken, rexecPlaces.taken + rshPlaces.taken)
    }

    /// Whether there is an auditor, for tests.
    var hasAuditor: Bool { records.channel != nil }

    /// The listeners, for tests.
    var listenerCount: Int { listening.count }

    /// Whether no connect-back is under way or waits for its turn, for tests.
    var callsNobodyBack: Bool { callingBack.isEmpty && turns.isEmpty }
}
