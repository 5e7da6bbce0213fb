// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Messages

/// What the auditor cannot reach itself: an administrator who wants the trail's segment closed, and syslog.
extension Gateway {
    /// Has the trail's segment closed, and another one begun.
    ///
    /// - Parameter asker: the administrator who is told what came of it.
    func rotateTrail(asker: UInt64) {
        guard isAuditorReady, auditor != nil else {
            return answer([.failure(text: "the auditor is not ready: try again")], to: asker)
        }
        nextRecord += 1
        rotations[nextRecord] = asker
        if auditor?.outbox.send(AuditorOrder.rotate(number: nextRecord)) != true { rotationsFailed() }
    }

    func trailRotated(_ number: UInt64, failure: String) {
        guard let asker = rotations.removeValue(forKey: number) else { return }
        answer([failure.isEmpty ? .end : .failure(text: "the segment was not closed: \(failure)")], to: asker)
    }

    /// The auditor is gone: nobody knows how far it was.
    func rotationsFailed() {
        let waiting = rotations.values
        rotations = [:]
        for asker in waiting {
            answer([.failure(text: "the auditor ended meanwhile: look at the trail, and try again")], to: asker)
        }
    }

    /// Where syslog listens.
    private static let systemLogPath = "/dev/log"

    /// Connects to syslog for the auditor, which may make no socket; without syslog it is told so.
    func connectSystemLog() {
        let socket = try? LocalSocket.connectDatagram(Self.systemLogPath)
        _ = auditor?.outbox.send(AuditorOrder.systemLog, socket.map { [$0] } ?? [])
    }
}
