// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// Sessions' control groups, as far as they are not the sessions' own affair.
extension Gateway {
    /// The gateway's own directory among the control groups; nil as a plain user, and where there is none to be had.
    static func makeCgroup(_ log: StandardError) -> GatewayCgroup? {
        guard Process.isRoot else { return nil }
        do {
            return try GatewayCgroup.make()
        } catch {
            log.say("sessions have no control groups: \(error)")
            return nil
        }
    }

    /// How long after it was killed what is in a group is asked for again, in milliseconds.
    static let clearingInterval: Int64 = 50

    /// Ends what is left in the group of a session that has ended, and removes it. One that ended well has done so.
    func clearCgroup(of session: UInt64) {
        guard cgroup != nil else { return }
        unclearedGroups.insert(session)
        clearCgroups()
    }

    /// Goes on with those in which something took its time to end.
    func clearCgroups() {
        guard !unclearedGroups.isEmpty, let groups = cgroup?.sessions else { return }
        unclearedGroups = unclearedGroups.filter { !groups.clear(session: $0) }
    }
}
