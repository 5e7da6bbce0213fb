// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core

/// What a confined command may open, as Landlock's rules.
///
/// INVARIANT: a rule for a place of the host's is about the very object that was opened, and whose links were looked at, when
/// the session's view was made: no name is looked up again. What is the session's own does not exist yet then, and is opened
/// by its name in the view.
public struct PlaceRules: Sendable {
    let ruleset: LandlockRuleset
    /// Where the session has something of its own, with what the sandbox gives there.
    private(set) var own: [(path: ByteText, rights: LandlockRights)] = []

    init(ruleset: LandlockRuleset) {
        self.ruleset = ruleset
    }

    /// What the ruleset is open at.
    public var descriptor: Descriptor { ruleset.descriptor }

    /// The same, with the ruleset open at another number.
    public func moved(to descriptor: Descriptor) -> PlaceRules {
        var moved = PlaceRules(ruleset: ruleset.moved(to: descriptor))
        moved.own = own
        return moved
    }

    /// Allows what a sandbox gives at one of its places.
    mutating func allow(_ entry: SandboxPlaces.Entry, in view: SessionView) throws(ConfinementError) {
        if let place = entry.place, !view.isOwn(place.path) {
            try ruleset.allow(entry.rights, below: place.place)
        } else {
            own.append((entry.place.map { ByteText($0.path) } ?? entry.name, entry.rights))
        }
    }
}
