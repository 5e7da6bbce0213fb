// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Not root? Everything still runs, as the invoking user, on high ports, for that user alone. As root this is tested with nobody's gateway.
@Suite("As a plain user", .needsBuild)
struct PlainUserTests {
    private let user = Host.isRoot ? "nobody" : NSUserName()

    private func setup(_ rules: String) -> Gateway.Setup {
        var setup = Gateway.Setup(rules)
        setup.asNobody = Host.isRoot
        return setup
    }

    private var all: String { "permit all: any from 127.0.0.0/8 by any as any run any sandbox strict" }
    private var own: String {
        Rules.asPlainUser("permit own: any from 127.0.0.0/8 by any as \(user) run any sandbox strict")
    }

    @Test func bothServicesWorkForThatUser() throws {
        try Gateway.with(setup(own)) { gate throws in
            let rexec = try Conversation.rexec(gate, as: user, "/usr/bin/id -un", separately: true).answer()
            #expect(rexec.output == "\(user)\n", "\(rexec)")
            let rsh = try Conversation.rsh(gate, as: user, "/usr/bin/id -un").answer()
            #expect(rsh.output == "\(user)\n", "\(rsh)")
        }
    }

    @Test func noOtherAccountIsATarget() throws {
        let other = Host.isRoot ? "alice" : "games"
        try Gateway.with(setup("permit all: any from 127.0.0.0/8 by any as \(other) run any")) { gate throws in
            #expect(try Conversation.rexec(gate, as: other, "id").answer().status == 1)
            #expect(try gate.lastReason().map { ["account-refused", "unknown-user"].contains($0) } ?? false)
            #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" })
        }
    }

    @Test func strictHoldsWithoutRoot() throws {
        try Gateway.with(setup(own)) { gate throws in
            let command =
                "/usr/bin/perl -e 'open(F,\">\",\"\(gate.directory)/x\") and print \"wrote\";"
                + " use Socket; socket(S,2,1,0) and print \"socket\"; print \"done\"'"
            #expect(try Conversation.rexec(gate, as: user, command).answer().output == "done")
        }
    }

    @Test func itSaysAtStartWhatIsMissing() throws {
        try Gateway.with(setup(own)) { gate throws in
            #expect(
                gate.log.contains("trail"), "the log does not say that the trail is the user's to edit: \(gate.log)")
        }
    }

    @Test func nothingOfACommandOutlivesIt() throws {
        try Gateway.with(setup(own)) { gate throws in
            let seconds = "\(Int.random(in: 100_000...999_999))"
            let command = "/usr/bin/perl -e 'fork or do { fork or exec \"sleep\", \(seconds); exit }; print \"x\"'"
            #expect(try Conversation.rexec(gate, as: user, command).answer().output == "x")
            #expect(gate.wait { !gate.members.contains { $0.arguments.contains(seconds) } })
            let found = try Child.run("/usr/bin/pgrep", ["-f", "sleep \(seconds)"])
            #expect(found.outText == "", "a process was left over")
        }
    }
}
