// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Logging
import Messages

/// When checkpoints are made.
struct Checkpointing {
    /// Milliseconds until a checkpoint that could not be made is tried again.
    static let retryInterval: Int64 = 1_000

    /// When the last one was made or tried, on the monotonic clock.
    var made: Int64 = 0
    /// Why it could not be, as it was said last.
    var failure: String?
    /// Whether the keys were looked after since the trail was opened.
    var isReady = false
    /// When the file was looked at last.
    var inspected: Int64 = 0
}

/// Checkpoints, and closing the trail's segment.
extension Auditor {
    /// When a checkpoint is due, or to be tried again; nil while there is nothing new.
    var checkpointDue: Int64? {
        let isFailing = checkpointing.failure != nil
        let isNew = trail.sequence > trail.checkpoints.last?.position.sequence ?? 0
        guard trail.hasOpened, trail.failure == nil, isNew || isFailing else { return nil }
        let interval = Int64(trail.settings.checkpoint)
        return checkpointing.made + (isFailing ? min(interval, Checkpointing.retryInterval) : interval)
    }

    /// Makes the checkpoint that is due, and says what there is to say.
    func tendCheckpoints(now: Int64) {
        guard trail.hasOpened else { return }
        if !checkpointing.isReady {
            // At the first start, so that the first key is there before the first checkpoint.
            checkpointing.isReady = true
            trail.checkpoints.makeReady()
            tellOfCheckpoints()
        }
        if now - checkpointing.inspected >= Trail.inspectionInterval, trail.checkpoints.failure == nil {
            checkpointing.inspected = now
            trail.checkpoints.makeReady()
        }
        if let due = checkpointDue, due <= now { makeCheckpoint(now: now) }
        tellOfCheckpoints()
        if let failure = trail.takeRotationFailure() {
            log.error("the trail's segment could not be closed, and grows on: \(failure)")
        }
        if systemLog.wantsSocket {
            systemLog.hasAsked()
            tell(.needsSystemLog)
        }
    }

    /// Makes a checkpoint of all that is on the trail.
    func makeCheckpoint(now: Int64) {
        checkpointing.made = now
        // ORDER: that keys were lost is on the trail before the first checkpoint of new ones, which covers it.
        trail.checkpoints.makeReady()
        tellOfCheckpoints()
        commit()
        _ = trail.makeCheckpoint(now: now)
    }

    private func tellOfCheckpoints() {
        let checkpoints = trail.checkpoints
        if let key = checkpoints.takeFirstKey() {
            log.notice("checkpoints of the trail are signed from this key on: \(key): keep it on another host")
        }
        for said in checkpoints.takeNotes() {
            log.critical("checkpoints: \(said.detail.printable)")
            add(.note(said), session: nil, sender: gateway, asker: nil)
        }
        guard checkpoints.failure != checkpointing.failure else { return }
        checkpointing.failure = checkpoints.failure
        if let failure = checkpoints.failure {
            log.error("no checkpoint can be made: \(failure)")
        } else {
            log.notice("checkpoints can be made again")
        }
    }

    /// A checkpoint is on disk.
    func announce(_ signed: SignedCheckpoint) {
        checkpointing.made = time.monotonic()
        systemLog.send(signed)
        tell(.checkpoint(sequence: signed.checkpoint.position.sequence))
    }

    /// Closes the segment, as an administrator wants it.
    func rotate(_ number: UInt64) {
        // ORDER: what came before is in the segment that is closed.
        commit()
        let failure = trail.rotate(now: time.monotonic())
        if let failure { log.error("the trail's segment could not be closed: \(failure)") }
        tell(.rotated(number: number, failure: failure ?? ""))
    }
}
