// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Linux

/// What the kernel tells of denials.
extension Auditor {
    /// Reads what the kernel tells of denials. Nothing of it is trusted but that the kernel says it.
    func drainKernel() {
        guard let kernel else { return }
        for _ in 0..<Self.reportsPerTurn {
            do throws(SystemError) {
                guard let message = try Socket.receiveFromKernel(kernel, limit: KernelReport.messageLimit),
                    let report = KernelReport(message: message)
                else { continue }
                for found in denials.take(report) { add(found) }
            } catch {
                guard !error.wouldBlock else { return }
                // ENOBUFS: there were more than there was room for. It says so once, and goes on.
                return noteLostDenials()
            }
        }
    }

    func noteLostDenials() {
        let now = time.monotonic()
        if let last = lostDenialsAt, now - last < Self.lostInterval { return }
        lostDenialsAt = now
        note(.lostDenials, "the kernel told of more denials than could be read", session: nil, sender: gateway)
    }

    func add(_ found: DenialWatch.Found) {
        add(.record(.denial(found.denial)), session: found.session, sender: found.sender, asker: nil)
    }
}
