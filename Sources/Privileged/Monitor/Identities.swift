// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// Under whose ids the helpers run.
struct Identities {
    /// A user and group id.
    struct Identity: Hashable {
        var uid: UInt32
        var gid: UInt32
    }

    /// The accounts that packaging makes; at most 31 bytes, and short enough for ps.
    static let names: [HelperKind: String] = [.front: "portc-front", .engine: "portc-eng", .auditor: "portc-aud"]

    /// Free uids for accounts that are missing: systemd's range for dynamic users.
    static let range: ClosedRange<UInt32> = 61_184...65_519

    /// nil where the gateway does not run as root: helpers keep its ids.
    private(set) var identities: [HelperKind: Identity] = [:]

    /// Finds the ids.
    ///
    /// - Parameter auditDirectory: its owner stays the auditor's uid, so that a trail that was begun under a free uid
    ///   is gone on with under the same one.
    init(auditDirectory: String, log: StandardError) {
        guard Process.isRoot else { return }
        var taken: Set<UInt32> = []
        if let owner = try? File.linkStatus(auditDirectory), Self.range.contains(owner.uid) { taken.insert(owner.uid) }
        for (kind, name) in Self.names.sorted(by: { $0.value < $1.value }) {
            if let user = UserName(name), let entry = try? Accounts.named(user) {
                identities[kind] = Identity(uid: entry.uid, gid: entry.gid)
                taken.insert(entry.uid)
                continue
            }
            var found: UInt32?
            if kind == .auditor, let owner = try? File.linkStatus(auditDirectory), Self.range.contains(owner.uid),
                Self.isFree(owner.uid)
            {
                found = owner.uid
            }
            let chosen = found ?? Self.range.first { !taken.contains($0) && Self.isFree($0) }
            guard let uid = chosen else { continue }
            taken.insert(uid)
            identities[kind] = Identity(uid: uid, gid: uid)
            log.say(
                "warning: no account \(name); using the free uid \(uid) "
                    + "(install packaging/sysusers.d/portcullis.conf)")
        }
    }

    private static func isFree(_ uid: UInt32) -> Bool {
        guard let entry = try? Accounts.numbered(uid) else { return true }
        return entry.uid != uid
    }

    /// The uids that no request may run as, but by its literal name.
    var uids: Set<UInt32> { Set(identities.values.map(\.uid)) }
}
