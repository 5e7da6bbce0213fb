// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Glibc

/// A password or the like in memory of its own, which is overwritten before it is given back.
///
/// The memory is one page that nothing else lies in: locked where the limits permit, left out of core files, and read
/// as zeros in a process that was forked meanwhile (MADV_WIPEONFORK, Linux 4.14). It has no
/// text form, so that it reaches no log by accident.
@safe public final class Secret {
    /// The most bytes; the wire permits 128, crypt(3) takes 511.
    public static let limit = 1_023

    /// The number of bytes.
    public private(set) var count = 0

    private let page: UnsafeMutableRawPointer

    /// The page's size where pages are smallest; larger ones are used in part.
    private static let pageSize = 4_096

    /// An empty secret.
    public init() throws(SystemError) {
        // SAFETY: a new private mapping of our own.
        let made = unsafe mmap(
            nil, Self.pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | Int32(MAP_ANONYMOUS), -1, 0)
        // MAP_FAILED is all ones.
        // SAFETY: the pointer's own bits are looked at.
        guard let made = unsafe made, Int(bitPattern: made) != -1 else { throw .last("mmap") }
        // SAFETY: the mapping is this object's from here on.
        unsafe page = made
        // SAFETY: the range is the mapping made above. Each of the three is best effort: an account without
        // RLIMIT_MEMLOCK, or an older kernel, still overwrites what it held.
        unsafe mlock(page, Self.pageSize)
        // SAFETY: as above.
        unsafe madvise(page, Self.pageSize, 16 /* MADV_DONTDUMP */)
        // SAFETY: as above.
        unsafe madvise(page, Self.pageSize, 18 /* MADV_WIPEONFORK */)
    }

    /// Receives one message of a channel as the whole secret; see `receive(from:)`.
    ///
    /// - Throws: `EMSGSIZE` for a message that is none.
    public convenience init(receivedOn descriptor: Descriptor) throws(SystemError) {
        try self.init()
        guard case .complete = try receive(from: Channel(descriptor)) else { throw SystemError(EMSGSIZE, "recv") }
    }

    deinit {
        // SAFETY: the mapping is this object's, and nobody holds a pointer into it outside of a call.
        unsafe explicit_bzero(page, Self.pageSize)
        // SAFETY: as above; nothing reads it after this.
        unsafe munmap(page, Self.pageSize)
    }

    /// Whether there are no bytes.
    public var isEmpty: Bool { count == 0 }

    /// Overwrites all bytes with zeros; the secret is empty then.
    public func erase() {
        // SAFETY: the mapping is this object's.
        unsafe explicit_bzero(page, Self.pageSize)
        count = 0
    }

    /// Puts a byte at the end; false where there is no room.
    @discardableResult
    public func append(_ byte: UInt8) -> Bool {
        guard count < Self.limit else { return false }
        // SAFETY: count is below the limit, which is below the page's size.
        unsafe page.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
        return true
    }

    /// Puts bytes at the end; false, and nothing put, where there is no room. The caller's copy stays the caller's.
    public func append(_ bytes: some Collection<UInt8>) -> Bool {
        guard bytes.count <= Self.limit - count else { return false }
        for byte in bytes { append(byte) }
        return true
    }

    /// The bytes as an array, a copy that the caller answers for: for protocols that have to carry them.
    public func copyOfBytes() -> [UInt8] {
        // SAFETY: the first `count` bytes of the page are ours.
        unsafe Array(UnsafeRawBufferPointer(start: page, count: count))
    }

    /// Calls `body` with the bytes and the NUL that follows them; the pointer does not outlive the call.
    package func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        // SAFETY: the byte after the last is zero: the mapping starts as zeros, erasing writes zeros, and bytes are
        // only ever put at the end.
        unsafe body(UnsafePointer(page.assumingMemoryBound(to: CChar.self)))
    }

    // MARK: Reading

    /// What reading a secret found.
    public enum Reading: Sendable {
        /// It is there.
        case complete
        /// The other side ended before it was complete.
        case closed
        /// There was more than `limit` bytes, or a NUL within; nothing is kept.
        case refused
    }

    /// Receives one message of a channel as the whole secret, straight into this memory.
    ///
    /// One NUL at the message's end is not part of the secret: so an empty secret is a message of one NUL. An empty
    /// message is none, as SEQPACKET shows the other side's close alike.
    public func receive(from channel: Channel) throws(SystemError) -> Reading {
        erase()
        var got = 0
        repeat {
            // SAFETY: the page has room for one byte more than the limit; MSG_TRUNC tells a longer message's length.
            unsafe got = recv(channel.descriptor.number, page, Self.limit + 1, Int32(MSG_TRUNC))
        } while got < 0 && errno == EINTR
        guard got >= 0 else { throw .last("recv") }
        guard got > 0 else { return .closed }
        guard got <= Self.limit + 1 else {
            erase()
            return .refused
        }
        count = min(got, Self.limit)
        // SAFETY: got is at most the limit and one, which the page holds.
        let last = unsafe page.load(fromByteOffset: got - 1, as: UInt8.self)
        if last == 0 { count = got - 1 }
        guard got <= Self.limit || last == 0, !containsNUL else {
            erase()
            return .refused
        }
        return .complete
    }

    private var containsNUL: Bool {
        // SAFETY: the first `count` bytes of the page are ours.
        unsafe UnsafeRawBufferPointer(start: page, count: count).contains(0)
    }

    /// Reads a line, byte by byte so that not one byte after it is taken; the newline is not part of it.
    public func readLine(from descriptor: Descriptor) throws(SystemError) -> Reading {
        erase()
        guard let reading = try continueLine(from: descriptor) else { throw SystemError(EAGAIN, "read") }
        return reading
    }

    /// Reads on in a line whose bytes so far are kept here; nil where a non-blocking descriptor has no more just now.
    public func continueLine(from descriptor: Descriptor) throws(SystemError) -> Reading? {
        while true {
            // SAFETY: count is at most the limit, and the page has room for one byte more.
            let got = unsafe Glibc.read(descriptor.number, page + count, 1)
            if got < 0, errno == EINTR { continue }
            if got < 0, errno == EAGAIN { return nil }
            guard got >= 0 else { throw .last("read") }
            // A last line without newline counts, as it does everywhere.
            guard got > 0 else { return isEmpty ? .closed : .complete }
            // SAFETY: the byte just read.
            let byte = unsafe page.load(fromByteOffset: count, as: UInt8.self)
            if byte == UInt8(ascii: "\n") {
                // SAFETY: the place of the byte just read.
                unsafe page.storeBytes(of: 0, toByteOffset: count, as: UInt8.self)
                return .complete
            }
            guard byte != 0, count < Self.limit else {
                erase()
                return .refused
            }
            count += 1
        }
    }
}
