// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core

/// What a confined command may open in its session's view, as a Landlock ruleset.
///
/// INVARIANT: what it allows of the host's is the very object that was opened, and whose links were looked at, when the view
/// was made: no name is looked up again. What is the session's own does not exist yet then, and is opened by its name in the
/// view.
public struct ViewRuleset: Sendable {
    private(set) var landlock: LandlockRuleset
    /// Where the session has something of its own, with what the sandbox gives there.
    private(set) var own: [(path: ByteText, rights: LandlockRights)] = []

    init(_ landlock: LandlockRuleset) {
        self.landlock = landlock
    }

    /// What it is open at.
    public var descriptor: Descriptor { landlock.descriptor }

    /// The same, open at another descriptor of the same open file.
    public func moved(to descriptor: Descriptor) -> ViewRuleset {
        var moved = self
        moved.landlock.descriptor = descriptor
        return moved
    }

    /// Allows what a sandbox gives at one of its places.
    mutating func allow(_ entry: SandboxPlaces.Entry, in view: SessionView) throws(ConfinementError) {
        if let place = entry.place, !view.isOwn(place.path) {
            try landlock.allow(entry.rights, below: place)
        } else {
            own.append((entry.place.map { ByteText($0.path) } ?? entry.name, entry.rights))
        }
    }
}
