// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// Waits for many descriptors at once.
public final class Epoll: Sendable {
    /// What happened on a descriptor.
    public struct Event: Sendable {
        /// The number that the descriptor was added with.
        public var token: UInt64
        /// There is something to read, or the end.
        public var isReadable: Bool
        /// There is room to write, or a connect has ended.
        public var isWritable: Bool
        /// The other side hung up, or the descriptor has an error.
        public var isHangup: Bool
    }

    private let descriptor: Descriptor

    /// Makes an empty set.
    public init() throws(SystemError) {
        let made = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard made >= 0 else { throw .last("epoll_create1") }
        descriptor = Descriptor(owning: made)
    }

    /// Watches a descriptor; it leaves the set when its last duplicate is closed or by `remove`.
    public func add(
        _ watched: Descriptor, token: UInt64, reading: Bool = true, writing: Bool = false
    ) throws(SystemError) {
        try control(EPOLL_CTL_ADD, watched, token, reading, writing)
    }

    /// Changes what is watched for.
    public func change(
        _ watched: Descriptor, token: UInt64, reading: Bool = true, writing: Bool = false
    ) throws(SystemError) {
        try control(EPOLL_CTL_MOD, watched, token, reading, writing)
    }

    /// Stops watching.
    public func remove(_ watched: Descriptor) {
        try? control(EPOLL_CTL_DEL, watched, 0, false, false)
    }

    private func control(
        _ operation: Int32, _ watched: Descriptor, _ token: UInt64, _ reading: Bool, _ writing: Bool
    ) throws(SystemError) {
        // SAFETY: a zeroed event is a valid one.
        var event = unsafe epoll_event()
        // SAFETY: only numbers are written.
        unsafe event.events = (reading ? EPOLLIN.rawValue : 0) | (writing ? EPOLLOUT.rawValue : 0)
        // SAFETY: the union is read back only as the same u64.
        unsafe event.data.u64 = token
        // SAFETY: epoll_ctl reads the event during the call.
        guard unsafe epoll_ctl(descriptor.number, operation, watched.number, &event) == 0 else {
            throw .last("epoll_ctl")
        }
    }

    /// Waits at most `milliseconds` (-1: for ever) and says what happened; a signal ends the wait with nothing.
    public func wait(milliseconds: Int32, limit: Int = 64) throws(SystemError) -> [Event] {
        var failure: SystemError?
        // SAFETY: the buffer has room for `limit` events and only those that epoll_wait wrote are counted.
        let events = unsafe [epoll_event](unsafeUninitializedCapacity: limit) { buffer, count in
            let found = unsafe epoll_wait(
                descriptor.number, buffer.baseAddress, Int32(truncatingIfNeeded: limit), milliseconds)
            if found < 0, errno != EINTR { failure = .last("epoll_wait") }
            count = Int(max(found, 0))
        }
        if let failure { throw failure }
        // SAFETY: of the events only numbers are read, and of their unions only the u64 that was written.
        return unsafe events.map { event in
            let flags = unsafe event.events
            return Event(
                token: unsafe event.data.u64, isReadable: flags & EPOLLIN.rawValue != 0,
                isWritable: flags & EPOLLOUT.rawValue != 0,
                isHangup: flags & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0)
        }
    }
}

/// Waits for a few descriptors.
public enum Poll {
    /// A descriptor, what is waited for, and what was found.
    public struct Entry: Sendable {
        /// The descriptor's number; negative ones are passed over.
        public var number: Int32
        /// Wait for something to read.
        public var reading: Bool
        /// Wait for room to write.
        public var writing: Bool
        /// There is something to read, or the end.
        public var isReadable = false
        /// There is room to write.
        public var isWritable = false
        /// The other side hung up, or there is an error.
        public var isHangup = false

        /// Something to wait for; nil is passed over.
        public init(_ descriptor: Descriptor?, reading: Bool = true, writing: Bool = false) {
            number = descriptor?.number ?? -1
            self.reading = reading
            self.writing = writing
        }
    }

    /// Waits at most `milliseconds` (-1: for ever), and fills the entries in.
    public static func wait(_ entries: inout [Entry], milliseconds: Int32) throws(SystemError) {
        var list = entries.map {
            pollfd(
                fd: $0.number, events: Int16(($0.reading ? POLLIN : 0) | ($0.writing ? POLLOUT : 0)), revents: 0)
        }
        // SAFETY: the array has as many entries as its count says.
        let found = unsafe list.withUnsafeMutableBufferPointer {
            unsafe poll($0.baseAddress, UInt($0.count), milliseconds)
        }
        guard found >= 0 || errno == EINTR else { throw .last("poll") }
        for (index, item) in list.enumerated() where index < entries.count {
            let events = found < 0 ? 0 : Int32(item.revents)
            entries[index].isReadable = events & POLLIN != 0
            entries[index].isWritable = events & POLLOUT != 0
            entries[index].isHangup = events & (POLLHUP | POLLERR | POLLNVAL) != 0
        }
    }
}
