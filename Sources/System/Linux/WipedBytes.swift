// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Glibc

/// Overwrites an array with zeros, in a way that the compiler does not leave out; copies stay what they are.
public func wipe(_ bytes: inout [UInt8]) {
    // SAFETY: the pointer is valid for the closure, and the buffer has `count` bytes.
    unsafe bytes.withUnsafeMutableBytes { buffer in
        guard let base = buffer.baseAddress else { return }
        unsafe explicit_bzero(base, buffer.count)
    }
}

/// Memory of a fixed size for bytes that must not stay behind: never moved by growing, wiped when it is let go.
///
/// Front has one for each of up to 20,000 handshakes, for which a `Secret`'s page, locked and mapped by itself, would
/// be too much. Every place is checked, and one outside is a defect of ours that stops the process.
@safe public final class WipedBytes {
    /// The number of bytes.
    public let count: Int

    private let memory: UnsafeMutableRawBufferPointer

    /// Zeroed memory for a number of bytes.
    public init(count: Int) {
        self.count = count
        // SAFETY: freed in deinit alone, and initialised before anyone reads it.
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        // SAFETY: the memory has `count` bytes.
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        wipe()
        // SAFETY: nobody else holds it.
        unsafe memory.deallocate()
    }

    /// Makes every byte zero, in a way that the compiler does not leave out.
    public func wipe() {
        // SAFETY: an address is taken, not followed.
        guard let base = unsafe memory.baseAddress else { return }
        // SAFETY: the memory has `count` bytes.
        unsafe explicit_bzero(base, count)
    }

    /// One byte.
    public subscript(place: Int) -> UInt8 {
        get {
            precondition((0..<count).contains(place))
            // SAFETY: the place is within.
            return unsafe memory[place]
        }
        set {
            precondition((0..<count).contains(place))
            // SAFETY: the place is within.
            unsafe memory[place] = newValue
        }
    }

    /// Shows a part without copying it.
    public func read<Result>(_ part: Range<Int>, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
        precondition(part.lowerBound >= 0 && part.upperBound <= count)
        // SAFETY: the part is within.
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[part])
        // SAFETY: the span does not outlive the closure, which `self` outlives.
        return try unsafe body(Span(_unsafeBytes: bytes))
    }

    /// A copy of a part that is no secret.
    public func copy(_ part: Range<Int>) -> [UInt8] {
        precondition(part.lowerBound >= 0 && part.upperBound <= count)
        // SAFETY: the part is within.
        return unsafe Array(memory[part])
    }

    /// Takes bytes off a socket, without waiting, into a place here.
    ///
    /// - Parameters:
    ///   - socket: the number of an open socket, which the caller keeps open for the call.
    ///   - place: where the first byte goes.
    ///   - limit: the most bytes.
    ///   - peeking: leave them on the socket too.
    /// - Returns: how many came, nil where there are none yet, 0 at the end of the stream.
    public func receive(
        from socket: Int32, at place: Int, limit: Int, peeking: Bool = false
    ) throws(SystemError) -> Int? {
        precondition(place >= 0 && limit > 0 && limit <= count - place)
        let flags = Int32(MSG_DONTWAIT) | (peeking ? Int32(MSG_PEEK) : 0)
        var result = 0
        repeat {
            // SAFETY: there is room for `limit` bytes from `place` on.
            result = unsafe recv(socket, memory.baseAddress?.advanced(by: place), limit, flags)
        } while result < 0 && errno == EINTR
        if result < 0 {
            guard errno == EAGAIN else { throw .last("recv") }
            return nil
        }
        return result
    }

    /// Sends a part as one message without copying it in this process.
    public func send(_ part: Range<Int>, on channel: Channel, waiting: Bool = true) throws(SystemError) {
        precondition(part.lowerBound >= 0 && part.upperBound <= count)
        var result = 0
        repeat {
            // SAFETY: the part is within.
            result = unsafe Glibc.send(
                channel.descriptor.number, memory.baseAddress?.advanced(by: part.lowerBound), part.count,
                Int32(MSG_NOSIGNAL) | (waiting ? 0 : Int32(MSG_DONTWAIT)))
        } while result < 0 && errno == EINTR
        guard result >= 0 else { throw .last("send") }
    }
}
