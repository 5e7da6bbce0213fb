// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// The process numbers of a pid namespace, which are as many as its processes and threads can be.
///
/// RLIMIT_NPROC counts all processes of an account, those of other sessions too, and does not bind uid 0. Since Linux 6.14
/// each pid namespace has a highest number of its own (kernel.pid_max; pid_namespaces(7)): it counts the session's alone
/// and binds everybody.
public enum ProcessNumbers {
    /// The kernel gives out numbers below this only once, when a namespace is new (RESERVED_PIDS, kernel/pid.c).
    private static let reserved: UInt64 = 300
    /// Above every number that there can be (PID_MAX_LIMIT on 64 bits).
    private static let end: UInt64 = 4 << 20
    private static let highest = "/proc/sys/kernel/pid_max"
    private static let last = "/proc/sys/kernel/ns_last_pid"

    /// Whether a session's init can bound its numbers on this kernel.
    ///
    /// Before 6.14 the highest number is the whole host's, so the version is asked and nothing is tried. The last number
    /// given out can be set where the kernel has CONFIG_CHECKPOINT_RESTORE.
    public static func canBeBounded() -> Bool {
        guard Process.isRoot, let release = text(of: "/proc/sys/kernel/osrelease"), text(of: last) != nil else {
            return false
        }
        return isNewEnough(release)
    }

    /// Whether a kernel's release (`6.18.44-fc`) is 6.14 or later.
    static func isNewEnough(_ release: String) -> Bool {
        let numbers = release.split(whereSeparator: { !("0"..."9").contains($0) }).prefix(2).compactMap { Int($0) }
        guard numbers.count == 2, release.first.map({ ("0"..."9").contains($0) }) == true else { return false }
        return (numbers[0], numbers[1]) >= (6, 14)
    }

    /// Bounds the processes and threads that can be in this namespace at a time, its init not counted.
    ///
    /// Called by the namespace's init, with its own /proc mounted and nothing started yet.
    ///
    /// - Parameter count: at least 1; more than there are numbers bounds nothing.
    /// - Throws: step `limits` where it could not be set, or what was there is not a new namespace's.
    static func bound(to count: UInt64) throws(ConfinementError) {
        guard count > 0, count < end - reserved else { return }
        // A namespace that is new has all numbers. Where it has not, this number is not the namespace's alone.
        guard line(of: highest) == digits(end) else { throw ConfinementError(.limits, EPERM) }
        let wanted = digits(reserved + count)
        do {
            // ORDER: the last number first: from here on the kernel gives out `reserved` and above, `count` in all.
            try File.open(last, .writing).writeAll(digits(reserved))
            try File.open(highest, .writing).writeAll(wanted)
        } catch {
            throw ConfinementError(.limits, error.code)
        }
        guard line(of: highest) == wanted else { throw ConfinementError(.limits, EPERM) }
    }

    /// A number in decimal. (In a fork: no text is put together.)
    private static func digits(_ number: UInt64) -> [UInt8] {
        var digits: [UInt8] = []
        var rest = number
        repeat {
            digits.insert(UInt8(ascii: "0") + UInt8(rest % 10), at: 0)
            rest /= 10
        } while rest > 0
        return digits
    }

    /// Whether all numbers of this namespace that `bound(to:)` left are taken, so that nothing more could be started in it.
    ///
    /// A number is taken as long as a process, a thread or a process group has it, one that has ended and was not waited for
    /// too. Asked of the numbers themselves: a fork can fail for want of anything.
    public static func areAllTaken(of count: UInt64) -> Bool {
        guard count > 0, count < end - reserved else { return false }
        return (reserved..<reserved + count).allSatisfy { number in
            [Int32(number), -Int32(number)].contains { kill($0, 0) == 0 || errno == EPERM }
        }
    }

    private static func text(of path: String) -> String? {
        line(of: path).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func line(of path: String) -> [UInt8]? {
        (try? File.open(path, .reading).read(128)).map { Array($0.prefix { $0 != UInt8(ascii: "\n") }) }
    }
}
