// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The control group that the command and its init are started in, where the host has cgroup v2.
extension RequestSession {
    /// How long what was killed may take to be gone before the removal is left to the monitor.
    private static let removalPatience: Int64 = 2_000

    /// Whether a limit of processes is one of the session's process numbers: where the group holds it, the group alone does,
    /// because it counts what it refuses, and numbers that are as few would refuse it first.
    var boundsNumbers: Bool { input.boundsProcesses && !(input.cgroups?.bounds.contains(.processes) ?? false) }

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

    /// Which of its limits the group has come to; asked once, when the command has ended and before the group is removed.
    func hitsOfGroup() -> GroupHits {
        let hits = groupHits ?? cgroup.map { GroupHits($0) } ?? GroupHits()
        groupHits = hits
        return hits
    }

    /// Ends whatever is left in the group, by whatever way it got out of the session's namespaces, and removes it: on return
    /// it is gone, or does not end.
    func endCgroup() {
        guard let group = cgroup else { return }
        _ = hitsOfGroup()
        cgroup = nil
        group.kill()
        if !group.remove(within: Self.removalPatience) {
            log.say("session \(input.session): something in its control group does not end")
        }
    }
}

/// Which limits of a control group its processes have come to.
struct GroupHits: Hashable {
    /// The kernel has ended a process for memory.
    var memory = false
    /// The kernel has refused a process or thread.
    var processes = false

    init() {}

    init(_ group: SessionCgroup) {
        memory = group.hasEndedForMemory
        processes = group.hasBeenRefusedProcesses
    }
}
