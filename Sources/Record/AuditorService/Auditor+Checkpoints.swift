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
}

/// Checkpoints, and closing the trail's segment.
extension Auditor {
    /// When a checkpoint is due; nil while there is nothing new.
    var checkpointDue: Int64? {
        guard trail.hasOpened, trail.failure == nil, trail.sequence > trail.checkpoints.last?.position.sequence ?? 0
        else { return nil }
        let interval = Int64(trail.settings.checkpoint)
        let isFailing = checkpointing.failure != nil
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
        if let due = checkpointDue, due <= now {
            checkpointing.made = now
            _ = trail.makeCheckpoint(now: now)
        }
        tellOfCheckpoints()
        if let failure = trail.takeRotationFailure() {
            log.error("the trail's segment could not be closed, and grows on: \(failure)")
        }
        if systemLog.wantsSocket {
            systemLog.hasAsked()
            tell(.needsSystemLog)
        }
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
