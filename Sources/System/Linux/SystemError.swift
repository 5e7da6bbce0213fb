// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Glibc

/// A system call that failed, and how.
public struct SystemError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The errno value.
    public let code: Int32
    /// The call's name, for messages.
    public let call: String

    /// A failure of a call.
    public init(_ code: Int32, _ call: String) {
        self.code = code
        self.call = call
    }

    /// The failure that errno holds now.
    static func last(_ call: String) -> SystemError {
        SystemError(errno, call)
    }

    /// `CALL: TEXT`.
    public var description: String { "\(call): \(text)" }

    /// The C library's text for the code.
    public var text: String {
        // SAFETY: strerror's result is a string that lives until the next call; it is copied at once, and no other
        // thread of ours formats errors at the same time in the processes that have threads.
        unsafe String(cString: strerror(code))
    }

    /// Whether the call would have blocked.
    public var wouldBlock: Bool { code == EAGAIN }

    /// Whether something is still in it, or at it.
    public var isBusy: Bool { code == EBUSY }

    /// Whether what was named does not exist.
    public var isNotFound: Bool { code == ENOENT || code == ENOTDIR }

    /// Whether it was not permitted.
    public var isPermission: Bool { code == EACCES || code == EPERM }

    /// Whether the descriptor is not open, or not for this.
    public var isBadDescriptor: Bool { code == EBADF }

    /// Whether the device could not do it: a terminal, for a process that has lost it.
    public var isInputOutput: Bool { code == EIO }

    /// Whether an address was already in use.
    public var isAddressInUse: Bool { code == EADDRINUSE }

    /// Whether an address, or a pair of addresses and ports, cannot be had.
    public var isAddressNotAvailable: Bool { code == EADDRNOTAVAIL }

    /// Whether nobody listens there.
    public var isRefused: Bool { code == ECONNREFUSED }

    /// A wait that was over.
    public static func timedOut(_ call: String) -> SystemError {
        SystemError(ETIMEDOUT, call)
    }

    /// Nothing of what was wanted is free just now.
    public static func noneFree(_ call: String) -> SystemError {
        SystemError(EAGAIN, call)
    }

    /// The process lacks a right.
    public static func notPermitted(_ call: String) -> SystemError {
        SystemError(EACCES, call)
    }

    /// Whether a connection is under way.
    public var isInProgress: Bool { code == EINPROGRESS }

    /// Whether the other side reset the connection, rather than ended its own half of it.
    public var isReset: Bool { code == ECONNRESET }

    /// Whether the other side is gone.
    public var isDisconnected: Bool { code == EPIPE || code == ECONNRESET }
}

/// Throws for a shim's positive errno.
func check(_ code: Int32, _ call: String) throws(SystemError) {
    guard code == 0 else { throw SystemError(code, call) }
}
