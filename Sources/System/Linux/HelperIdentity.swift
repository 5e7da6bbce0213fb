// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Whom a helper drops to: `--uid N --gid N`, or nobody where the gateway runs as a plain user.
public struct HelperIdentity: Sendable, Hashable {
    /// The user; nil keeps what there is.
    public private(set) var uid: UInt32?
    /// The group; nil with the user.
    public private(set) var gid: UInt32?

    /// Reads the arguments after the role; nil where they are none that the monitor gives.
    public init?(_ arguments: some Collection<String>) {
        var rest = Array(arguments)[...]
        while let option = rest.popFirst() {
            guard let value = rest.popFirst().flatMap({ UInt32($0) }), value != .max else { return nil }
            switch option {
            case "--uid" where uid == nil: uid = value
            case "--gid" where gid == nil: gid = value
            default: return nil
            }
        }
        guard (uid == nil) == (gid == nil) else { return nil }
        // Root would be no drop at all.
        guard uid != 0, gid != 0 else { return nil }
    }
}
