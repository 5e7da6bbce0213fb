// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// A capability that a process of ours may keep (capabilities(7)).
public enum Capability: UInt32, Sendable, Hashable {
    /// Signal other accounts' processes.
    case kill = 5
    /// Write records to the kernel's audit subsystem.
    case auditWrite = 29

    var bit: UInt64 { 1 << UInt64(rawValue) }
}

/// The capability sets of the calling thread.
public struct CapabilitySets: Sendable, Hashable {
    /// What the kernel checks.
    public var effective: UInt64
    /// What can be made effective.
    public var permitted: UInt64
    /// What execve can hand on.
    public var inheritable: UInt64

    /// Sets.
    public init(effective: UInt64, permitted: UInt64, inheritable: UInt64) {
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
    }

    /// The sets of the calling thread.
    public static func current() throws(ConfinementError) -> CapabilitySets {
        var effective: UInt64 = 0
        var permitted: UInt64 = 0
        var inheritable: UInt64 = 0
        // SAFETY: the three live for the call.
        let code = unsafe portcullis_capabilities_read(&effective, &permitted, &inheritable)
        guard code == 0 else { throw ConfinementError(.capabilities, code) }
        return CapabilitySets(effective: effective, permitted: permitted, inheritable: inheritable)
    }
}

extension CapabilitySets {
    /// Puts into effect what is permitted: what the tests of a drop that can be undone need.
    package func makeEffective() throws(ConfinementError) {
        let code = portcullis_capabilities_write(permitted, permitted, inheritable)
        guard code == 0 else { throw ConfinementError(.capabilities, code) }
    }
}

/// Giving up capabilities.
public enum Capabilities {
    private static let readBound: Int32 = 23  // PR_CAPBSET_READ
    private static let dropBound: Int32 = 24  // PR_CAPBSET_DROP
    private static let setSecurityBits: Int32 = 28  // PR_SET_SECUREBITS
    private static let ambient: Int32 = 47  // PR_CAP_AMBIENT
    private static let ambientIsSet: UInt = 1  // PR_CAP_AMBIENT_IS_SET
    private static let ambientClearAll: UInt = 4  // PR_CAP_AMBIENT_CLEAR_ALL
    private static let setPermitted: UInt64 = 1 << 8  // CAP_SETPCAP
    /// SECBIT_NOROOT and SECBIT_NO_CAP_AMBIENT_RAISE with their locks, and SECBIT_KEEP_CAPS_LOCKED.
    private static let rootIsNobody: UInt = 0b1110_0011

    /// Takes capabilities out of the bounding set, so that no execve brings them back, uid 0 or not.
    ///
    /// Without CAP_SETPCAP nothing can be taken out, and nothing needs to be where the permitted set is empty and
    /// no_new_privs follows. With it, uid 0 is also made to mean nothing at execve (securebits).
    ///
    /// - Parameter kept: what stays.
    public static func dropBounding(keeping kept: Set<Capability> = []) throws(ConfinementError) {
        guard try CapabilitySets.current().effective & setPermitted != 0 else { return }
        let stays = bits(kept)
        for capability in 0..<64 as Range<UInt> where stays & (1 << UInt64(capability)) == 0 {
            do {
                // To ask takes a tenth of the time: a service unit leaves few.
                guard try ProcessControl.get(readBound, capability, step: .capabilities) == 1 else { continue }
                try ProcessControl.set(dropBound, capability, step: .capabilities)
            } catch  where error.code == EINVAL {
                // Above the last one that the kernel knows.
                break
            }
        }
        if kept.isEmpty { try ProcessControl.set(setSecurityBits, rootIsNobody, step: .capabilities) }
    }

    /// Empties all sets of the calling thread but for what is kept, and verifies it.
    ///
    /// On return effective and permitted hold what is kept (and was there) and no more; inheritable and ambient hold
    /// nothing; and an attempt to take one back has failed.
    public static func drop(keeping kept: Set<Capability> = []) throws(ConfinementError) {
        // Linux 4.3; where ambient sets do not exist there is nothing to clear.
        do { try ProcessControl.set(ambient, ambientClearAll, step: .capabilities) } catch  where error.code == EINVAL {
        }
        let before = try CapabilitySets.current()
        let stays = bits(kept) & before.permitted
        let code = portcullis_capabilities_write(stays, stays, 0)
        guard code == 0 else { throw ConfinementError(.capabilities, code) }
        let after = try CapabilitySets.current()
        guard after == CapabilitySets(effective: stays, permitted: stays, inheritable: 0) else {
            throw ConfinementError(.verification, EPERM)
        }
        // Verified by trying to undo it.
        if before.permitted != stays, portcullis_capabilities_write(before.effective, before.permitted, 0) == 0 {
            throw ConfinementError(.verification, EPERM)
        }
    }

    /// Whether the bounding set still holds anything but what is kept.
    public static func boundingHolds(moreThan kept: Set<Capability> = []) throws(ConfinementError) -> Bool {
        let stays = bits(kept)
        for capability in 0..<64 as Range<UInt> where stays & (1 << UInt64(capability)) == 0 {
            if try isBound(capability) { return true }
        }
        return false
    }

    static func bits(_ capabilities: Set<Capability>) -> UInt64 {
        capabilities.reduce(0) { $0 | $1.bit }
    }

    /// Whether the bounding set holds a capability; false for numbers that the kernel does not know.
    private static func isBound(_ capability: UInt) throws(ConfinementError) -> Bool {
        do {
            return try ProcessControl.get(readBound, capability, step: .capabilities) == 1
        } catch  where error.code == EINVAL {
            return false
        }
    }
}
