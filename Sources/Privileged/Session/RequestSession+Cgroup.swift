// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The control group that the command and its init are started in, where the host has cgroup v2.
extension RequestSession {
    /// How long what was killed may take to be gone before the removal is left to the monitor.
    private static let removalPatience: Int64 = 2_000

    /// Makes the group, with the sandbox's limits as far as the host's controllers go; nil where there are no groups.
    ///
    /// Called while the auditor writes: it takes some forty microseconds.
    func makeCgroup(_ limits: Sandbox.Limits) throws(ConfinementError) -> SessionCgroup? {
        guard let groups = input.cgroups else { return nil }
        let made = try groups.make(session: input.number)
        cgroup = made
        try made.bound(memory: limits.memory, processes: limits.processes)
        return made
    }

    /// Whether the kernel has ended a process in the group for memory.
    var hasEndedForMemory: Bool { cgroup?.hasEndedForMemory ?? formerGroupEndedForMemory }

    /// Ends whatever is left in the group, by whatever way it got out of the session's namespaces, and removes it: on return
    /// it is gone, or does not end.
    func endCgroup() {
        guard let group = cgroup else { return }
        formerGroupEndedForMemory = group.hasEndedForMemory
        cgroup = nil
        group.kill()
        if !group.remove(within: Self.removalPatience) {
            log.say("session \(input.session): something in its control group does not end")
        }
    }
}
