// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Messages

/// `portcullis audit rotate`: closes the trail's segment.
struct AuditRotate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Close the trail's segment, and begin another one.",
        discussion: """
            Numbers and chain run on. The closed segment is named after its first record, as in \
            trail.log.000000000001, and is written no more. Without records there is nothing to close. The gateway does \
            the same by itself when a segment is as long as the policy says (segment-size), and deletes none.

            EXAMPLE
              portcullis audit rotate
            """)

    @OptionGroup var runtime: RuntimeOptions

    func run() throws {
        try reporting {
            _ = try ControlClient(runtime.directory).ask(.rotate)
        }
    }
}
