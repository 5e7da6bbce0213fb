// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// A session's channel to the auditor: what was sent, and what is known to be on disk.
struct TrailLink {
    private var channel: Channel?
    private var next: UInt64 = 0
    /// Frames that were sent and not yet answered, in order.
    private var open: [(number: UInt64, frame: [UInt8])] = []
    private var identity: [UInt8]?
    private(set) var hasFailed = false

    init(_ descriptor: Descriptor) {
        channel = Channel(descriptor)
    }

    var descriptor: Descriptor? { channel?.descriptor }

    /// Whether every record that was sent is durable.
    var isSettled: Bool { open.isEmpty }

    /// Whether the auditor is gone.
    var isClosed: Bool { channel == nil }

    /// Tells the auditor the ids that the kernel gave this session.
    mutating func identify(auid: UInt32, ses: UInt32) {
        let frame = RecordFrame.identity(auid: auid, ses: ses).encoded()
        identity = frame
        transmit(frame)
    }

    /// Sends a record and returns its number.
    @discardableResult
    mutating func send(_ record: Record) -> UInt64 {
        next += 1
        let frame = RecordFrame.record(number: next, record: record).encoded()
        open.append((next, frame))
        transmit(frame)
        return next
    }

    private mutating func transmit(_ frame: [UInt8]) {
        do {
            try channel?.send(frame)
        } catch {
            channel = nil
        }
    }

    /// Takes in an answer that has come; without any it waits for one when asked to.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    mutating func receive(waiting: Bool) -> Bool {
        guard let channel else { return false }
        do {
            switch try channel.receive(limit: 256, waiting: waiting) {
            case .nothing:
                return false
            case .closed:
                self.channel = nil
            case .message(let message):
                switch try RecordAnswer(frame: message.bytes) {
                case .durable(let number):
                    open.removeAll { $0.number <= number }
                case .failed(let number):
                    hasFailed = true
                    open.removeAll { $0.number == number }
                }
                return true
            }
        } catch {
            self.channel = nil
        }
        return false
    }

    /// Waits until all that was sent is on disk.
    ///
    /// - Returns: false where a record could not be written, or the auditor is gone: no command then.
    mutating func settle() -> Bool {
        while !isSettled, !isClosed, !hasFailed { receive(waiting: true) }
        return isSettled && !hasFailed
    }

    /// Goes on with another auditor: what has no answer yet is sent again.
    mutating func resume(_ descriptor: Descriptor) {
        // What the one before answered is on disk, and is not sent again.
        while !isSettled, receive(waiting: false) {}
        channel = Channel(descriptor)
        if let identity { transmit(identity) }
        for item in open { transmit(item.frame) }
    }
}
