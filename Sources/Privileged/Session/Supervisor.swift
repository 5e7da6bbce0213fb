// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The session's init: the first process of the command's namespace, or, without namespaces, its subreaper.
///
/// A command that is pid 1 itself would ignore HUP, INT, QUIT and TERM (pid_namespaces(7)); so this is, and the command
/// is its child. It forwards signals only while the command was not waited for, reports how it ended, and ends; the
/// kernel then ends what is left in the namespace.
struct Supervisor {
    /// What it tells the session: how the command ended, how many processes it left, and whether those were all that its
    /// limit allows. The session sends one byte, a signal for the command's process group.
    enum Report {
        static let size = 7

        static func encode(_ status: ExitStatus, leftovers: Int, hasNoProcessLeft: Bool) -> [UInt8] {
            let count = UInt32(clamping: leftovers)
            let tail = (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * UInt32($0))) } + [hasNoProcessLeft ? 1 : 0]
            switch status {
            case .exited(let value): return [1, value] + tail
            case .signalled(let value): return [2, value] + tail
            }
        }

        static func decode(_ bytes: [UInt8]) -> (status: ExitStatus, leftovers: Int, hasNoProcessLeft: Bool)? {
            guard bytes.count == size, bytes[6] <= 1 else { return nil }
            let leftovers = bytes[2..<6].reversed().reduce(0) { $0 << 8 | Int($1) }
            switch bytes[0] {
            case 1: return (.exited(bytes[1]), leftovers, bytes[6] == 1)
            case 2: return (.signalled(bytes[1]), leftovers, bytes[6] == 1)
            default: return nil
            }
        }
    }

    let session: Channel
    let command: Int32
    let hasNamespace: Bool
    /// The limit of processes, where it is one of this namespace's numbers.
    let processNumbers: UInt64?
    let signals: Signals

    /// Waits for the command's end, and ends.
    func run() -> Never {
        while true {
            var entries = [Poll.Entry(session.descriptor), Poll.Entry(signals.descriptor)]
            try? Poll.wait(&entries, milliseconds: -1)
            if entries[0].isReadable || entries[0].isHangup { forward() }
            if entries[1].isReadable { while signals.next() != nil {} }
            // ORDER: look without waiting for it, end what is left, report; the number stays the command's until then.
            while let ended = Children.wait(leaving: true) {
                guard ended.pid == command else {
                    _ = Children.reapNow(ended.pid)
                    continue
                }
                let leftovers = endLeftovers()
                let isFull = leftovers > 0 && processNumbers.map(ProcessNumbers.areAllTaken) ?? false
                try? session.send(Report.encode(ended.status, leftovers: leftovers, hasNoProcessLeft: isFull))
                Process.exitNow(0)
            }
        }
    }

    private func forward() {
        switch try? session.receive(limit: 8, waiting: false) {
        case .message(let message):
            // INVARIANT: the command was not waited for, so its group cannot be another's.
            if let number = message.bytes.first { Process.signalGroup(command, Int32(number)) }
        case .nothing:
            return
        case .closed, nil:
            // The session is gone: so is everything here.
            _ = endLeftovers()
            Process.exitNow(1)
        }
    }

    /// Ends what the command left running, and says how many processes there were.
    private func endLeftovers() -> Int {
        guard !hasNamespace else {
            // The kernel ends them with this process; here they are only counted, in this namespace's own /proc.
            let all = (try? Directory.names("/proc"))?.filter { $0.bytes.allSatisfy { (48...57).contains($0) } } ?? []
            let others = all.filter { $0.text != "1" && $0.text != String(command) }
            return others.count
        }
        Process.signalGroup(command, Signals.Number.kill)
        return Children.endAll(but: command)
    }
}
