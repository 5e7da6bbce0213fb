// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Core
internal import Glibc

/// The processes of an account, as /proc shows them to root; a process that ended meanwhile is none.
public enum AccountProcesses {
    /// The most bytes of a process's status that are looked at: its ids stand near the beginning.
    private static let statusLimit = 4_096
    /// Rounds of ending, so that what forks while it is ended is ended, too.
    private static let rounds = 50
    /// How long one process may take to go, in milliseconds.
    private static let patience: Int32 = 100

    /// Processes of which the real, effective, saved or file-system uid is the account's.
    ///
    /// By what the kernel says in `status`: the owner of /proc/PID is root's where a process is not dumpable.
    ///
    /// - Parameter others: accounts of which processes run for certain, none of them dumpable. Where none of those is
    ///   seen, this host hides processes (hidepid) from who may not trace them, and nothing is known.
    /// - Throws: where /proc, or an entry of it that is there, cannot be read; `EACCES` where processes are hidden.
    public static func ids(of uid: UInt32, besides others: Set<UInt32> = []) throws(SystemError) -> [Int32] {
        var found: [Int32] = []
        var seesOthers = others.isEmpty
        for name in try Directory.names("/proc") {
            guard let text = name.text, let pid = Int32(text), pid > 0 else { continue }
            let owners = try uids(of: pid)
            if owners.contains(uid) { found.append(pid) }
            if !seesOthers { seesOthers = !others.isDisjoint(with: owners) }
        }
        guard seesOthers else { throw SystemError(EACCES, "/proc") }
        return found
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
                guard let process = try? ProcessHandle(pid: pid), try uids(of: pid).contains(uid) else { continue }
                process.signal(Signals.Number.kill)
                var entries = [Poll.Entry(process.descriptor)]
                try Poll.wait(&entries, milliseconds: patience)
            }
        }
        return try ids(of: uid).isEmpty
    }

    /// The four uids of a process; none where it is gone, or has ended and was not waited for yet.
    private static func uids(of pid: Int32) throws(SystemError) -> [UInt32] {
        let status: [UInt8]
        do throws(SystemError) {
            status = try File.open("/proc/\(pid)/status", [.reading]).read(statusLimit)
        } catch {
            guard error.isNotFound || error.code == ESRCH else { throw error }
            return []
        }
        var fields: [String: [Substring]] = [:]
        for line in String(decoding: status, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let key = parts.first, let value = parts.last else { continue }
            fields[String(key)] = value.split { $0 == "\t" || $0 == " " }
        }
        // One whose first thread has ended can have others that run.
        let threads = fields["Threads"]?.first.flatMap { Int($0) } ?? .max
        if threads <= 1, let state = fields["State"]?.first, state == "Z" || state == "X" { return [] }
        return (fields["Uid"] ?? []).compactMap { UInt32($0) }
    }
}
