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
    private let session: SessionID
    private let executable: ByteText
    private var connection: KernelAudit?
    private var isOpen = false

    /// - Parameter executable: this program's file, as its records name it.
    init(_ mode: AuditSettings.Kernel, session: SessionID, executable: ByteText) {
        self.mode = mode
        self.session = session
        self.executable = executable
    }

    /// Sends a record. The kernel stamps it with its own time, and with the login identity that the session has then.
    ///
    /// - Returns: false where the policy requires the kernel's trail and it does not take the record.
    mutating func send(_ record: Record) -> Bool {
        guard mode != .off else { return true }
        if !isOpen {
            isOpen = true
            connection = try? KernelAudit()
        }
        guard let connection else { return mode != .require }
        let stamp = Stamp(
            milliseconds: UInt64(clamping: Clock.wallMilliseconds()), session: session,
            sender: Sender(
                pid: Process.id, uid: Process.userID, auid: .max, ses: .max, executable: executable))
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
