// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Messages

/// Frames to another process that never make the monitor wait.
///
/// What the other side has no room for is kept, in order and bounded; a process that lets the bound fill is stuck, and
/// the caller refuses what needs it.
struct Outbox {
    /// The most frames that wait.
    static let limit = 512

    let channel: Channel
    private var waiting: [(bytes: [UInt8], descriptors: [Descriptor])] = []

    init(_ channel: Channel) {
        self.channel = channel
    }

    /// Whether frames wait for room.
    var isWaiting: Bool { !waiting.isEmpty }

    /// Sends a frame, now or later; false where the other side is gone or stuck.
    mutating func send(_ frame: some Frame, _ descriptors: [Descriptor] = []) -> Bool {
        guard flush() else { return false }
        guard waiting.isEmpty else { return keep(frame.encoded(), descriptors) }
        do {
            try channel.send(frame.encoded(), descriptors: descriptors, waiting: false)
            return true
        } catch {
            return error.wouldBlock ? keep(frame.encoded(), descriptors) : false
        }
    }

    private mutating func keep(_ bytes: [UInt8], _ descriptors: [Descriptor]) -> Bool {
        guard waiting.count < Self.limit else { return false }
        waiting.append((bytes, descriptors))
        return true
    }

    /// Sends what waits, as far as there is room; false where the other side is gone.
    mutating func flush() -> Bool {
        while let first = waiting.first {
            do {
                try channel.send(first.bytes, descriptors: first.descriptors, waiting: false)
                waiting.removeFirst()
            } catch {
                return error.wouldBlock
            }
        }
        return true
    }
}
