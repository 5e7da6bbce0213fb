// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Logging
import Messages
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Front

/// A front in this process, with its listeners on loopback, and the test as its monitor and auditor.
final class FrontHarness {
    /// How long a test waits for something that must come; no test fails on anything shorter.
    static let patience: Int64 = 30_000

    let monitor: Linux.Channel
    let auditor: Linux.Channel
    let eventLoop: any EventLoop
    private let group: MultiThreadedEventLoopGroup
    private let threads: NIOThreadPool
    private let bound: NIOLoopBound<Front>
    private let ended = Ended()
    private(set) var listeners: [Service: (descriptor: Descriptor, endpoint: Endpoint)] = [:]
    var settings: Settings

    /// Starts a front and configures it with a listener for each service.
    init(bounds: Front.Bounds = .brief, _ change: (inout Settings) -> Void = { _ in }) throws {
        var settings = Settings()
        settings.refusal.delay = 20
        settings.rsh.requiresReservedSourcePort = false
        change(&settings)
        self.settings = settings
        let (ours, fronts) = try Linux.Channel.pair()
        let (auditors, records) = try Linux.Channel.pair()
        monitor = ours
        auditor = auditors
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        let eventLoop = group.next()
        self.eventLoop = eventLoop
        let ended = ended
        let epoll = try Epoll()
        let log = Self.quietLog()
        let box = try eventLoop.submit {
            let front = Front(
                eventLoop: eventLoop, monitor: fronts, auditor: records, epoll: epoll, bounds: bounds, log: log
            ) { why, _ in ended.why = why }
            try front.start()
            return NIOLoopBound(front, eventLoop: eventLoop)
        }.wait()
        bound = box
        let watcher = try eventLoop.submit {
            ChannelWatcher(front: box.value, epoll: epoll, eventLoop: eventLoop)
        }.wait()
        threads.submit { _ in try? watcher.run() }
        guard case .ready? = try order(FrontAsk.self)?.0 else { throw HarnessError.notReady }
        for service in Service.allCases { try listen(service) }
        try configure()
    }

    deinit {
        // The watcher ends with the monitor's channel, and everything else with the process.
        threads.shutdownGracefully { _ in }
    }

    /// Why front ended, once it has.
    private final class Ended: Sendable {
        private let value = Mutex<String?>(nil)

        var why: String? {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }
    }

    enum HarnessError: Error {
        case notReady
        case nothingCame
    }

    private static func quietLog() -> Logger {
        var log = Logger(label: "front-tests")
        log.logLevel = .critical
        return log
    }

    /// Opens a fresh listener of a service.
    func listen(_ service: Service) throws {
        try listen(service, on: Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)))
    }

    /// Serves a service on a listener.
    func listen(_ service: Service, on descriptor: Descriptor) throws {
        listeners[service] = (descriptor, try Socket.local(descriptor))
    }

    /// Sends the settings and the listeners.
    func configure() throws {
        let listed = Service.allCases.compactMap { service in listeners[service].map { (service, $0) } }
        let fronts = FrontSettings(
            settings,
            listeners: listed.map { FrontSettings.Listener(service: $0.0, endpoint: $0.1.endpoint) })
        try monitor.send(
            FrontOrder.configure(settings: fronts).encoded(), descriptors: listed.map(\.1.descriptor))
    }

    func send(_ order: FrontOrder, _ descriptors: [Descriptor] = []) throws {
        try monitor.send(order.encoded(), descriptors: descriptors)
    }

    /// The next frame on the monitor's channel, with its descriptors.
    func order<Kind: Frame>(_: Kind.Type) throws -> (Kind, [Descriptor])? {
        guard let message = try Self.next(monitor, descriptors: 3) else { return nil }
        return (try Kind(frame: message.bytes), message.descriptors)
    }

    /// The next ask of front.
    func ask() throws -> (FrontAsk, [Descriptor]) {
        guard let ask = try order(FrontAsk.self) else { throw HarnessError.nothingCame }
        return ask
    }

    /// The next record.
    func record() throws -> Record.Login {
        guard let message = try Self.next(auditor, descriptors: 0),
            case .record(_, .login(let login)) = try RecordFrame(frame: message.bytes)
        else { throw HarnessError.nothingCame }
        return login
    }

    /// Whether nothing waits on the monitor's channel.
    func isQuiet() throws -> Bool {
        if case .nothing = try monitor.receive(limit: 65_536, descriptorLimit: 3, waiting: false) {
            true
        } else {
            false
        }
    }

    static func next(_ channel: Linux.Channel, descriptors: Int) throws -> Linux.Channel.Message? {
        try wait(channel.descriptor)
        guard
            case .message(let message) = try channel.receive(
                limit: FrameFormat.limit, descriptorLimit: descriptors, waiting: false)
        else { return nil }
        return message
    }

    /// Waits until there is something to read.
    static func wait(_ descriptor: Descriptor) throws {
        let end = Clock.monotonicMilliseconds() + patience
        while Clock.monotonicMilliseconds() < end {
            var entries = [Poll.Entry(descriptor)]
            try Poll.wait(&entries, milliseconds: 1_000)
            if entries[0].isReadable || entries[0].isHangup { return }
        }
        throw HarnessError.nothingCame
    }

    /// Waits until something holds on front's event loop.
    func until(_ condition: @escaping @Sendable (Front) -> Bool) throws -> Bool {
        let end = Clock.monotonicMilliseconds() + Self.patience
        while Clock.monotonicMilliseconds() < end {
            if try holds(condition) { return true }
            Clock.sleep(milliseconds: 2)
        }
        return false
    }

    /// Whether something holds on front's event loop now.
    func holds(_ condition: @escaping @Sendable (Front) -> Bool) throws -> Bool {
        let bound = bound
        return try eventLoop.submit { condition(bound.value) }.wait()
    }

    /// Waits until front has ended, and says why.
    func ending() -> String? {
        let end = Clock.monotonicMilliseconds() + Self.patience
        while Clock.monotonicMilliseconds() < end {
            if let why = ended.why { return why }
            Clock.sleep(milliseconds: 2)
        }
        return nil
    }

    /// A client of a service.
    func client(_ service: Service, from port: UInt16 = 0) throws -> Client {
        guard let endpoint = listeners[service]?.endpoint else { throw HarnessError.nothingCame }
        return try Client(endpoint, from: port)
    }

    /// A request that front has handed over, from the side of the monitor and the session.
    func handover() throws -> Handover {
        guard case (.handover(let connection, let service, let hasSecondary), let descriptors) = try ask(),
            descriptors.count == (hasSecondary ? 3 : 2)
        else { throw HarnessError.nothingCame }
        return Handover(
            connection: connection, service: service, channel: Linux.Channel(descriptors[0]), primary: descriptors[1],
            secondary: hasSecondary ? descriptors[2] : nil)
    }
}

/// The session's side of a request.
struct Handover {
    var connection: UInt64
    var service: Service
    var channel: Linux.Channel
    var primary: Descriptor
    var secondary: Descriptor?

    func request() throws -> UnverifiedRequest {
        guard let message = try FrontHarness.next(channel, descriptors: 0),
            case .request(let request) = try RequestFrame(frame: message.bytes)
        else { throw FrontHarness.HarnessError.nothingCame }
        return request
    }

    /// The password, as the session receives it.
    func password() throws -> [UInt8] {
        try FrontHarness.wait(channel.descriptor)
        return try Secret(receivedOn: channel.descriptor).copyOfBytes()
    }

    func answer(_ answer: RequestAnswer) throws {
        try channel.send(answer.encoded())
    }

    /// Releases front and waits for its word; what front has sent before is read and left aside.
    func release() throws -> Bool {
        _ = try request()
        if service == .rexec { _ = try password() }
        try answer(.release)
        guard let message = try FrontHarness.next(channel, descriptors: 0) else { return false }
        return try RequestFrame(frame: message.bytes) == .released
    }

    /// What is left on the client's socket, to its end.
    func rest() throws -> [UInt8] {
        try Client.readToEnd(primary)
    }
}

/// A client's socket.
final class Client {
    let socket: Descriptor

    init(_ endpoint: Endpoint, from port: UInt16 = 0) throws {
        let made = try Self.bound(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: port))
        socket = made
        // Non-blocking: the error, if there is one, is fetched afterwards.
        try? Socket.connect(made, to: endpoint)
        try Self.waitForRoom(made)
        if let error = Socket.pendingError(made) { throw error }
    }

    /// A port that a test names can be in use for a moment: other clients of this host come from reserved ports too.
    private static func bound(_ endpoint: Endpoint) throws -> Descriptor {
        for _ in 0..<100 {
            if let made = try? Socket.bound(endpoint) { return made }
            var nothing: [Poll.Entry] = []
            try Poll.wait(&nothing, milliseconds: 100)
        }
        return try Socket.bound(endpoint)
    }

    private static func waitForRoom(_ socket: Descriptor) throws {
        var entries = [Poll.Entry(socket, reading: false, writing: true)]
        try Poll.wait(&entries, milliseconds: 30_000)
    }

    func write(_ text: String) throws {
        try write(Array(text.utf8))
    }

    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = try Socket.send(socket, rest)
            rest = rest.dropFirst(sent)
            if sent == 0 { try Self.waitForRoom(socket) }
        }
    }

    /// All that comes until the other side closes.
    func readToEnd() throws -> [UInt8] {
        try Self.readToEnd(socket)
    }

    static func readToEnd(_ socket: Descriptor) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            try FrontHarness.wait(socket)
            guard let part = try Socket.receive(socket, limit: 65_536) else { continue }
            guard !part.isEmpty else { return bytes }
            bytes += part
        }
    }
}

extension Front.Bounds {
    /// The contract's bounds, but that a refused client which does not close is not waited for.
    static var brief: Front.Bounds {
        var bounds = Front.Bounds()
        bounds.drainTime = .milliseconds(300)
        return bounds
    }
}
