// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Linux

/// Copies of checkpoints to syslog, from where they leave the host.
///
/// The auditor can open no socket: the monitor connects one and hands it over, and another one when syslog was started
/// again. No syslog is no failure, but it is said.
final class SystemLog {
    /// authpriv.info: what logs keep from other users (syslog(3)).
    private static let priority = 10 << 3 | 6

    private var socket: Descriptor?
    /// The last checkpoint, until syslog has it.
    private var waiting: SignedCheckpoint?
    private var isMissing = false
    /// Says something in the auditor's own log.
    private let say: (String) -> Void
    private let wall: () -> UInt64

    /// Whether the monitor is to be asked for another socket; once for each checkpoint.
    private(set) var wantsSocket = false

    init(wall: @escaping () -> UInt64, say: @escaping (String) -> Void) {
        self.wall = wall
        self.say = say
    }

    /// Sends a checkpoint now, or when there is a socket; of several that wait, the last.
    func send(_ signed: SignedCheckpoint) {
        waiting = signed
        if !deliver() { wantsSocket = true }
    }

    /// Says that the monitor was asked.
    func hasAsked() {
        wantsSocket = false
    }

    /// Takes the monitor's answer: a connected socket, or nil where there is no syslog.
    func take(_ socket: Descriptor?) {
        self.socket = socket
        if socket == nil {
            if !isMissing { say("no syslog at /dev/log: copies of checkpoints do not leave this host") }
            isMissing = true
        } else if isMissing {
            isMissing = false
            say("syslog is back: it gets copies of checkpoints again")
        }
        _ = deliver()
    }

    /// Whether nothing waits any more.
    private func deliver() -> Bool {
        guard let signed = waiting else { return true }
        guard let socket else { return false }
        do throws(SystemError) {
            // A log that is full for the moment gets the next one.
            guard try Socket.send(socket, text(of: signed)[...]) > 0 else { return true }
            waiting = nil
            return true
        } catch {
            self.socket = nil
            return false
        }
    }

    private func text(of signed: SignedCheckpoint) -> [UInt8] {
        let time = Clock.localText(seconds: Int64(clamping: wall() / 1_000), format: "%b %e %H:%M:%S")
        let head = "<\(Self.priority)>\(time) portcullis-auditor[\(Process.id)]: checkpoint\n"
        return Array(head.utf8) + signed.note.dropLast()
    }
}
