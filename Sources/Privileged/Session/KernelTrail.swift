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
    /// Records that wait for the next one, or for a moment at which nobody waits.
    private var waiting: [(record: Record, milliseconds: UInt64)] = []

    /// - Parameter executable: this program's file, as its records name it.
    init(_ mode: AuditSettings.Kernel, session: SessionID, executable: ByteText) {
        self.mode = mode
        self.session = session
        self.executable = executable
    }

    /// Keeps a record of this moment until the next one is sent, or `flush`: nothing depends on whether it is taken.
    mutating func queue(_ record: Record) {
        guard mode != .off else { return }
        waiting.append((record, UInt64(clamping: Clock.wallMilliseconds())))
    }

    /// Sends what waits.
    mutating func flush() {
        let records = waiting
        waiting = []
        for (record, milliseconds) in records { _ = transmit(record, at: milliseconds) }
    }

    /// Sends a record, and first what waits.
    ///
    /// - Returns: false where the policy requires the kernel's trail and it does not take the record.
    mutating func send(_ record: Record) -> Bool {
        flush()
        return transmit(record, at: UInt64(clamping: Clock.wallMilliseconds()))
    }

    private mutating func transmit(_ record: Record, at milliseconds: UInt64) -> Bool {
        guard mode != .off else { return true }
        if !isOpen {
            isOpen = true
            connection = try? KernelAudit()
        }
        guard let connection else { return mode != .require }
        let stamp = Stamp(
            milliseconds: milliseconds, session: session,
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
