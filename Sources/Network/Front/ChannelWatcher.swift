// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Linux
public import NIOCore

/// Waits for our own channels on a thread of its own, and has the event loop handle what happened.
///
/// It reads nothing and holds nothing but the set: descriptors, connections and their phases belong to the loop. It
/// waits for the loop before it looks again, because the set tells what is there, not what is new.
public struct ChannelWatcher: Sendable {
    private let epoll: Epoll
    private let front: NIOLoopBound<Front>
    private let eventLoop: any EventLoop

    /// A watcher of the set that a front adds its channels to. Called on the event loop.
    public init(front: Front, epoll: Epoll, eventLoop: any EventLoop) {
        self.epoll = epoll
        self.front = NIOLoopBound(front, eventLoop: eventLoop)
        self.eventLoop = eventLoop
    }

    /// Watches on the calling thread until front has ended.
    public func run() throws {
        let front = front
        var goesOn = true
        while goesOn {
            let events = try epoll.wait(milliseconds: -1)
            guard !events.isEmpty else { continue }
            goesOn = try eventLoop.submit { front.value.handle(events) }.wait()
        }
    }
}
