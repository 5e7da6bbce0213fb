// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core
internal import Glibc

/// The processes of an account, as /proc shows them to root; a process that ended meanwhile is none.
public enum AccountProcesses {
    /// The most bytes of a process's status that are looked at: its ids stand near the beginning.
    private static let statusLimit = 4_096
    /// Looks at /proc within one answer: each takes less than a millisecond more than the processes that are new in it.
    private static let looks = 200
    /// Rounds of ending, so that what forks while it is ended is ended, too.
    private static let rounds = 50
    /// How long one process may take to go, in milliseconds.
    private static let patience: Int32 = 100

    /// Processes of which the real or the saved uid is the account's: those that kill(2) lets it end, and none of root's that
    /// has borrowed its rights for a moment.
    ///
    /// A process that forks and ends in turn is gone whenever it is looked at, and its child is in no list yet. So what was
    /// gone is looked for again, until every process that is there was seen.
    ///
    /// By what the kernel says in `status`: the owner of /proc/PID is root's where a process is not dumpable.
    ///
    /// - Parameter others: accounts of which processes run for certain, none of them dumpable. Where none of those is
    ///   seen, this host hides processes (hidepid) from who may not trace them, and nothing is known.
    /// - Throws: where /proc, or an entry of it that is there, cannot be read; `EACCES` where processes are hidden; `EAGAIN`
    ///   where processes came and went for as long as was looked; `E2BIG` where there are too many.
    public static func ids(of uid: UInt32, besides others: Set<UInt32> = []) throws(SystemError) -> [Int32] {
        var found: [Int32] = []
        var known: Set<Int32> = []
        var seesOthers = others.isEmpty
        for _ in 0..<looks {
            var hasMissed = false
            let names = try Directory.names("/proc")
            guard names.count < Directory.nameLimit else { throw SystemError(E2BIG, "/proc") }
            for name in names {
                guard let text = name.text, let pid = Int32(text), pid > 0, !known.contains(pid) else { continue }
                guard let process = try process(pid) else {
                    hasMissed = true
                    continue
                }
                known.insert(pid)
                if !seesOthers { seesOthers = !others.isDisjoint(with: process.uids) }
                guard process.uids.contains(uid) else { continue }
                // One that has ended may have forked since the list was made.
                if process.hasEnded { hasMissed = true } else { found.append(pid) }
            }
            // One of the account's is enough for an answer.
            guard hasMissed, found.isEmpty else {
                guard seesOthers else { throw SystemError(EACCES, "/proc") }
                return found
            }
        }
        throw SystemError(EAGAIN, "/proc")
    }

    /// Ends every process of an account, and waits until they are gone.
    ///
    /// - Parameter uid: an account of people: nothing of the system's is ended.
    /// - Returns: false where some are still there.
    @discardableResult
    public static func end(of uid: UInt32) throws(SystemError) -> Bool {
        guard uid >= Accounts.firstPersonalUID else { return false }
        for _ in 0..<rounds {
            let running = try ids(of: uid)
            if running.isEmpty { return true }
            for pid in running {
                // TRUST: the number may be another's by now; that of an open handle cannot become it any more.
                guard let handle = try? ProcessHandle(pid: pid), let process = try process(pid),
                    process.uids.contains(uid), !process.hasEnded
                else { continue }
                handle.signal(Signals.Number.kill)
                var entries = [Poll.Entry(handle.descriptor)]
                try Poll.wait(&entries, milliseconds: patience)
            }
        }
        return try ids(of: uid).isEmpty
    }

    /// The real and the saved uid of a process, and whether it has ended and was not waited for yet; nil where it is gone.
    private static func process(_ pid: Int32) throws(SystemError) -> (uids: [UInt32], hasEnded: Bool)? {
        let status: [UInt8]
        do throws(SystemError) {
            status = try File.open("/proc/\(pid)/status", [.reading]).read(statusLimit)
        } catch {
            guard error.isNotFound || error.code == ESRCH else { throw error }
            return nil
        }
        var fields: [String: [Substring]] = [:]
        for line in String(decoding: status, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let key = parts.first, let value = parts.last else { continue }
            fields[String(key)] = value.split { $0 == "\t" || $0 == " " }
        }
        // One whose first thread has ended can have others that run.
        let threads = fields["Threads"]?.first.flatMap { Int($0) } ?? .max
        let state = fields["State"]?.first
        let hasEnded = threads <= 1 && (state == "Z" || state == "X")
        // Real, effective, saved and file-system (proc_pid_status(5)).
        let ids = (fields["Uid"] ?? []).compactMap { UInt32($0) }
        guard ids.count == 4 else { throw SystemError(EIO, "/proc/\(pid)/status") }
        return ([ids[0], ids[2]], hasEnded)
    }
}
