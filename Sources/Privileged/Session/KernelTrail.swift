// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import KernelAudit
import Linux

/// The kernel's audit subsystem, to which a session's records go from the session itself, so that pid, auid and ses
/// are its own.
struct KernelTrail {
    private let mode: AuditSettings.Kernel
    private var connection: KernelAudit?
    private var isOpen = false

    init(_ mode: AuditSettings.Kernel) {
        self.mode = mode
    }

    /// Sends a record.
    ///
    /// - Returns: false where the policy requires the kernel's trail and it does not take the record.
    mutating func send(_ record: Record, session: SessionID) -> Bool {
        guard mode != .off else { return true }
        if !isOpen {
            isOpen = true
            connection = try? KernelAudit()
        }
        guard let connection else { return mode != .require }
        let stamp = Stamp(
            milliseconds: UInt64(clamping: Clock.wallMilliseconds()), session: session,
            sender: Sender(
                pid: Process.id, uid: Process.userID, auid: .max, ses: .max,
                executable: ByteText(File.resolved(Array("/proc/self/exe".utf8)) ?? [])))
        for message in KernelMessage.messages(record, stamp: stamp) {
            do {
                try connection.send(type: message.type, message.text)
            } catch {
                // Where it does not answer, `auto` asks it no more in this session.
                self.connection = nil
                return mode != .require
            }
        }
        return true
    }
}
