// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// Asks on their way to the monitor, in order; those for which there is no room yet wait here. Front never waits for a reader,
/// and drops no ask; a connection has two at most.
struct AskQueue {
    private let channel: Linux.Channel
    private var waiting: [(frame: [UInt8], descriptors: [Descriptor])] = []

    init(_ channel: Linux.Channel) {
        self.channel = channel
    }

    /// Whether frames wait for room.
    var isBlocked: Bool { !waiting.isEmpty }

    /// Sends a frame, or keeps it until there is room.
    ///
    /// - Throws: where the other end is gone.
    mutating func send(_ frame: [UInt8], _ descriptors: [Descriptor] = []) throws(SystemError) {
        guard waiting.isEmpty else { return waiting.append((frame, descriptors)) }
        guard try !attempt(frame, descriptors) else { return }
        waiting.append((frame, descriptors))
    }

    /// Sends what waits, as far as there is room.
    mutating func flush() throws(SystemError) {
        var sent = 0
        defer { waiting.removeFirst(sent) }
        for (frame, descriptors) in waiting {
            guard try attempt(frame, descriptors) else { return }
            sent += 1
        }
    }

    private func attempt(_ frame: [UInt8], _ descriptors: [Descriptor]) throws(SystemError) -> Bool {
        do {
            try channel.send(frame, descriptors: descriptors, waiting: false)
            return true
        } catch  where error.wouldBlock {
            return false
        }
    }
}
