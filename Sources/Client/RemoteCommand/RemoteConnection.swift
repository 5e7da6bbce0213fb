// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Linux

/// A command that a server has accepted, and the connections that carry it.
public struct RemoteConnection: Sendable {
    /// Its stdin and stdout; non-blocking.
    public let primary: Descriptor
    /// Its stderr, and the way back for signals; nil where none was asked for: stderr is on the primary then.
    public let secondary: Descriptor?

    init(primary: Descriptor, secondary: Descriptor?) {
        self.primary = primary
        self.secondary = secondary
    }

    /// Sends a signal's number to the command; nothing where there is no secondary, or it is closed.
    ///
    /// 1, 2, 3, 9 and 15 mean the same on every system; a server may ignore the others.
    public func signal(_ number: UInt8) {
        guard let secondary else { return }
        _ = try? Socket.send(secondary, [number])
    }
}
