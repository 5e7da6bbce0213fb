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

    /// A group that was not yet empty when it was to be removed.
    struct GroupClearing {
        /// When it is asked for again, on the monotonic clock.
        var due: Int64
        /// How long after that, in milliseconds.
        var wait: Int64 = 50

        /// The longest wait: what is stuck in the kernel may take hours.
        private static let longestWait: Int64 = 60_000

        /// Waits twice as long as the last time.
        mutating func putOff(now: Int64) {
            due = now + wait
            wait = min(2 * wait, Self.longestWait)
        }
    }

    /// Ends what is left in the group of a session that has ended, and removes it. One that ended well has done so.
    func clearCgroup(of session: UInt64) {
        guard cgroup != nil else { return }
        unclearedGroups[session] = GroupClearing(due: Clock.monotonicMilliseconds())
        clearCgroups()
    }

    /// Goes on with those in which something took its time to end.
    func clearCgroups() {
        guard !unclearedGroups.isEmpty, let groups = cgroup?.sessions else { return }
        let now = Clock.monotonicMilliseconds()
        for (session, clearing) in unclearedGroups where clearing.due <= now {
            do throws(SystemError) {
                if try groups.clear(session: session) {
                    unclearedGroups[session] = nil
                } else {
                    unclearedGroups[session]?.putOff(now: now)
                }
            } catch {
                log.say("the control group of session \(session) cannot be removed: \(error)")
                unclearedGroups[session] = nil
            }
        }
    }
}
