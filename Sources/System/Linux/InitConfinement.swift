// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What the init of a session gives up.
public enum InitConfinement {
    /// Leaves the calling process, root's, with the right to signal other accounts' processes and no other capability.
    ///
    /// For a session's init, in its namespaces, when it has forked the command's process: it is the one process of ours
    /// among the command's. It stays uid 0, and what a file's mode gives to root it can still open.
    public static func enter() throws(ConfinementError) {
        try Capabilities.dropBounding(keeping: [.kill])
        try Capabilities.drop(keeping: [.kill])
        try NoNewPrivileges.promise()
    }
}
