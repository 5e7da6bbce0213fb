// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import TestSupport
import Testing

/// What the tests of several modules fork with.
@Suite struct ForkedChildTests {
    /// There it would hang now and then, in whoever's test was slow to see why.
    @Test func outsideOfAnExitTestNothingForks() {
        #expect(throws: ForkedChild.Refusal.self) { try inChild { "forked" } }
    }

    @Test func whatAChildSaidAndHowItEndedIsTold() async {
        await #expect(processExitsWith: .exitCode(0)) {
            // More than a pipe holds.
            let long = String(repeating: "x", count: 1 << 20)
            #expect(try inChild { long } == long, "the text is another")
            #expect(throws: ForkedChild.Failure.self, "an error in a child") {
                try inChild { throw SystemError(1, "the test's own") }
            }
            let end = try ForkedChild { Linux.Process.exitNow(7) }.end()
            #expect(end.status == .exited(7) && end.text.isEmpty, "\(end)")
            let child = try ForkedChild {
                while true { Clock.sleep(milliseconds: 1_000) }
            }
            child.kill()
            #expect(Children.ids().isEmpty, "a child was left")
        }
    }
}
