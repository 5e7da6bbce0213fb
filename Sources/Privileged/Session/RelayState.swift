// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// What a running command's relay knows and decides: no descriptor, no clock, no call.
///
/// The session tells it what has happened and when, in milliseconds of the monotonic clock; it says what is waited for, and
/// which signals the command's process group gets.
struct RelayState {
    /// A client that takes no stderr for this long gets no more of it (wire.md).
    static let errorPatience: Int64 = 10_000
    /// From HUP to KILL.
    static let hangupGrace: Int64 = 5_000
    /// Signal bytes that are forwarded a second.
    static let signalRate = 20
    /// How often a client that has ended what it sends is asked whether it is still there.
    private static let primaryInterval: Int64 = 1_000
    /// How often the bytes written are held against their limit.
    private static let outputInterval: Int64 = 50
    /// The longest wait.
    private static let longestWait: Int64 = 30_000

    /// From the command's stderr to the client.
    enum Errors: Hashable {
        /// There is nothing more, or no secondary.
        case closed
        /// What comes is read.
        case reading
        /// These wait for the client, who last took some then. Nothing more is read meanwhile.
        case sending([UInt8], since: Int64)
        /// The client takes none: what comes is read, counted and dropped.
        case dropping
    }

    /// From the client to the command's process group.
    enum SignalBytes: Hashable {
        /// No more come.
        case closed
        /// They wait for execve: before it a signal would end the child's set-up, and with it the status byte.
        case held
        /// They are taken.
        case heard
    }

    /// The connection that is the command's stdin and stdout.
    enum Primary: Hashable {
        /// Its hangup wakes.
        case watched
        /// Its hangup is no news any more; whether the client is there is asked.
        case asked
    }

    /// The command.
    enum Life: Hashable {
        case running
        /// It was told to end; at this time it is killed, and again after as long.
        case ending(killAt: Int64)
        /// How it ended, and how many processes it left; nil where nobody counted them.
        case ended(ExitStatus, leftovers: Int?)
    }

    /// When the command was let go.
    let started: Int64
    private(set) var errors: Errors
    private(set) var signals: SignalBytes
    private(set) var primary = Primary.watched
    private(set) var life = Life.running
    /// execve has happened, or has failed.
    private(set) var hasExecuted = false
    /// The limit that ended the command.
    private(set) var limit: String?
    /// Whether the session had all the processes that its limit allows when the command ended.
    private(set) var hadAllProcesses = false
    /// Bytes of stderr that the client was sent, and that it was not.
    private(set) var bytesErr: UInt64 = 0
    private(set) var droppedErr: UInt64 = 0
    /// Signal bytes that reached nobody.
    private(set) var ignoredSignals: UInt64 = 0
    private var signalWindow: Int64 = 0
    private var signalCount = 0

    /// A command that was let go.
    init(started: Int64, hasSecondary: Bool) {
        self.started = started
        errors = hasSecondary ? .reading : .closed
        signals = hasSecondary ? .held : .closed
    }

    // MARK: What is waited for

    /// Whether the command's stderr is to be read.
    var readsErrors: Bool { errors == .reading || errors == .dropping }

    /// The bytes that wait for the client.
    var pending: [UInt8] { if case .sending(let bytes, _) = errors { bytes } else { [] } }

    /// Whether the command was neither told to end nor has ended.
    var isRunning: Bool { life == .running }

    /// How the command ended, once it has.
    var end: (status: ExitStatus, leftovers: Int?)? {
        if case .ended(let status, let leftovers) = life { (status, leftovers) } else { nil }
    }

    /// The longest wait from now, in milliseconds.
    ///
    /// - Parameters:
    ///   - timeout: the sandbox's.
    ///   - hasOutputLimit: whether the sandbox limits the bytes written.
    func patience(timeout: Int64?, hasOutputLimit: Bool, now: Int64) -> Int32 {
        var next = now + Self.longestWait
        switch life {
        case .running:
            if let timeout { next = min(next, started + timeout) }
            if hasOutputLimit { next = min(next, now + Self.outputInterval) }
        case .ending(let killAt):
            next = min(next, killAt)
        case .ended:
            break
        }
        if case .sending(_, let since) = errors { next = min(next, since + Self.errorPatience) }
        if primary == .asked { next = min(next, now + Self.primaryInterval) }
        return Int32(clamping: max(0, next - now))
    }

    // MARK: Stderr

    /// Some was read; nothing is its end.
    mutating func tookErrors(_ bytes: [UInt8], now: Int64) {
        switch errors {
        case .reading where !bytes.isEmpty: errors = .sending(bytes, since: now)
        case .dropping where !bytes.isEmpty: droppedErr += UInt64(bytes.count)
        case .reading, .dropping: errors = .closed
        case .sending, .closed: break
        }
    }

    /// The client took some, or none now.
    mutating func sentErrors(_ count: Int, now: Int64) {
        guard case .sending(let bytes, let since) = errors else { return }
        guard count > 0 else {
            if now - since >= Self.errorPatience { dropErrors() }
            return
        }
        bytesErr += UInt64(min(count, bytes.count))
        errors = count < bytes.count ? .sending(Array(bytes[count...]), since: now) : .reading
    }

    /// The client takes none any more.
    mutating func dropErrors() {
        guard errors != .closed else { return }
        droppedErr += UInt64(pending.count)
        errors = .dropping
    }

    /// The client has all the time again, as the command's end begins.
    mutating func waitAnew(now: Int64) {
        if case .sending(let bytes, _) = errors { errors = .sending(bytes, since: now) }
    }

    // MARK: Signals

    /// execve has happened, or has failed: from now on a signal meets the command and not its set-up.
    mutating func executed() {
        hasExecuted = true
        if signals == .held { signals = .heard }
    }

    /// Signal bytes came; nothing is their end, and so is an error (nil), which cancels nothing.
    ///
    /// - Returns: the signals for the command's process group.
    mutating func tookSignals(_ bytes: [UInt8]?, now: Int64) -> [Int32] {
        guard signals == .heard else { return [] }
        guard let bytes, !bytes.isEmpty else {
            signals = .closed
            return []
        }
        var found: [Int32] = []
        for byte in bytes {
            if now - signalWindow >= 1_000 {
                signalWindow = now
                signalCount = 0
            }
            switch Int32(byte) {
            case Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.quit, Signals.Number.terminate,
                Signals.Number.kill:
                guard signalCount < Self.signalRate else {
                    ignoredSignals += 1
                    continue
                }
                signalCount += 1
                found.append(Int32(byte))
            default:
                ignoredSignals += 1
            }
        }
        return found
    }

    // MARK: The end

    /// The primary hung up: a reset, or only both directions closed, which poll would say for ever.
    mutating func primaryHungUp(isClosed: Bool, now: Int64) -> [Int32] {
        primary = .asked
        return isClosed ? hangUp(now: now) : []
    }

    /// HUP, and KILL five seconds later.
    mutating func hangUp(now: Int64) -> [Int32] {
        guard isRunning else { return [] }
        life = .ending(killAt: now + Self.hangupGrace)
        return [Signals.Number.hangup]
    }

    /// Holds the command against its limits, and its client against being there.
    ///
    /// - Parameter counts: the bytes written to the client, and whether it is gone; nil where that cannot be told. Asked
    ///   only where it matters.
    mutating func enforce(
        timeout: Int64?, output: UInt64?, now: Int64, counts: () -> (written: UInt64, isClosed: Bool)?
    ) -> [Int32] {
        switch life {
        case .running:
            if let timeout, now - started >= timeout {
                limit = "timeout"
                return hangUp(now: now)
            }
            // The status byte is no output.
            if let output, let counts = counts(), counts.written > 0, counts.written - 1 > output {
                limit = "output"
                life = .ending(killAt: now + Self.hangupGrace)
                return [Signals.Number.kill]
            }
            return primary == .asked && counts()?.isClosed ?? true ? hangUp(now: now) : []
        case .ending(let killAt):
            guard killAt <= now else { return [] }
            life = .ending(killAt: now + Self.hangupGrace)
            return [Signals.Number.kill]
        case .ended:
            return []
        }
    }

    /// The command has ended.
    mutating func ended(_ status: ExitStatus, leftovers: Int?, hadAllProcesses: Bool = false) {
        life = .ended(status, leftovers: leftovers)
        self.hadAllProcesses = hadAllProcesses
    }
}
