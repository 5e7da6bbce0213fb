// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// An open file descriptor that is closed when its last owner lets go of it.
public final class Descriptor: Sendable {
    /// The number.
    public let number: Int32

    /// Takes over an open descriptor, which nobody else may close.
    public init(owning number: Int32) {
        self.number = number
    }

    deinit {
        close(number)
    }

    /// Has nobody close the number when its last owner lets go: for a process that gives it to something else.
    public func leaveOpen() {
        // SAFETY: one count is never taken back, so that this object stays for as long as the process.
        _ = unsafe Unmanaged.passRetained(self)
    }

    /// Another descriptor for the same open file, close-on-exec, at the lowest free number from `least`.
    public func duplicate(from least: Int32 = 3) throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_descriptor_duplicate(number, least, &made), "fcntl")
        return Descriptor(owning: made)
    }

    /// Another descriptor, close-on-exec, for what a library has open at a number and will close itself.
    public static func duplicate(of number: Int32) throws(SystemError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_descriptor_duplicate(number, 3, &made), "fcntl")
        return Descriptor(owning: made)
    }

    /// The number of another descriptor for the same open file, for a library that closes what it is given.
    public func duplicateToGiveAway() throws(SystemError) -> Int32 {
        var made: Int32 = -1
        // SAFETY: the shim writes one int.
        try check(unsafe portcullis_descriptor_duplicate(number, 3, &made), "fcntl")
        return made
    }

    /// Whether reads and writes wait.
    public func setBlocking(_ blocking: Bool) throws(SystemError) {
        try check(portcullis_descriptor_set_blocking(number, blocking ? 1 : 0), "fcntl")
    }

    /// Reads at most `limit` bytes; an empty result is the end of the file.
    public func read(_ limit: Int) throws(SystemError) -> [UInt8] {
        var failure: SystemError?
        // SAFETY: the buffer has room for `limit` bytes, and only what read(2) wrote is counted as initialised.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            var result = 0
            repeat {
                result = unsafe Glibc.read(number, buffer.baseAddress, limit)
            } while result < 0 && errno == EINTR
            if result < 0 { failure = .last("read") }
            count = max(result, 0)
        }
        if let failure { throw failure }
        return bytes
    }

    /// Reads to the end; nil where there is more than `limit`.
    public func readAll(limit: Int) throws(SystemError) -> [UInt8]? {
        var bytes: [UInt8] = []
        while true {
            let part = try read(65_536)
            if part.isEmpty { return bytes }
            bytes += part
            guard bytes.count <= limit else { return nil }
        }
    }

    /// Writes some of the bytes and says how many.
    public func write(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        var result = 0
        repeat {
            // SAFETY: the pointer is valid for the closure and write(2) reads no more than the count.
            result = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) }
        } while result < 0 && errno == EINTR
        guard result >= 0 else { throw .last("write") }
        return result
    }

    /// Writes all the bytes.
    public func writeAll(_ bytes: [UInt8]) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try write(rest))
        }
    }

    /// Puts a copy at a fixed number, not close-on-exec; what was there is closed.
    public func place(at fixed: Int32) throws(SystemError) {
        guard dup2(number, fixed) == fixed else { throw .last("dup2") }
    }

    /// Takes the descriptor at a fixed number that another program left there, and makes it close-on-exec.
    ///
    /// - Returns: nil where nothing is open there.
    public static func inherited(_ fixed: Int32) -> Descriptor? {
        // ioctl(FIOCLEX) would not do for what is open as a place alone (O_PATH).
        guard portcullis_descriptor_keep_from_programs(fixed) == 0 else { return nil }
        return Descriptor(owning: fixed)
    }

    /// Closes every descriptor from a number on.
    public static func closeAll(from first: Int32) {
        _ = portcullis_range_close(UInt32(bitPattern: first), UInt32.max)
    }

    /// A pipe, both ends close-on-exec.
    public static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: the array has the two elements that the shim writes.
        let code = unsafe ends.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return EFAULT }
            return unsafe portcullis_pipe_make(base)
        }
        try check(code, "pipe2")
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }
}
