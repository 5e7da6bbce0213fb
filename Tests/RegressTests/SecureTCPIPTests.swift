// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

/// securetcpip models AIX's command: rsh, rcp, .rhosts and .netrc are off, REXEC stays, and one thing at a time is given back.
@Suite("securetcpip", .needsBuild)
struct SecureTCPIPTests {
    private func setup(_ top: String) -> Gateway.Setup {
        var setup = Gateway.Setup(Rules.words)
        setup.top = top
        return setup
    }

    /// It is on where the policy does not say so.
    @Test(arguments: ["", "securetcpip on"])
    func rshIsOffAndRexecStays(top: String) throws {
        try Gateway.with(setup(top)) { gate throws in
            #expect(throws: HarnessError.self) { try Socket.connect(to: gate.endpoint(.rsh)) }
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
        }
    }

    @Test(.needsRoot) func exceptGivesBackWhatItNames() throws {
        try Gateway.with(setup("securetcpip on except rsh")) { gate throws in
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().isAccepted)
            #expect(try Conversation.rsh(gate, as: "alice", "rcp -t /tmp/x").answer().status == 1)
            #expect(try gate.lastReason() == "service-disabled")
        }
    }

    @Test(arguments: ["rcp -f x", "/usr/bin/rcp -t x", "/bin/rcp -f /etc/passwd"])
    func rcpIsRefusedOnRexecToo(command: String) throws {
        try Gateway.with(setup("securetcpip on")) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, command).answer().status == 1)
            #expect(try gate.lastReason() == "service-disabled")
        }
    }

    @Test(.needsRoot) func rhostsIsNotReadUnlessGivenBack() throws {
        var off = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as alice run any")
        off.rsh = "trust rhosts\n    account none"
        off.top = "securetcpip on except rsh"
        try Gateway.with(off) { gate throws in
            try gate.writeRhosts(of: "alice", "127.0.0.1\n")
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().status == 1)
            #expect(try gate.lastReason() == "untrusted")
        }
        var on = off
        on.top = "securetcpip on except rsh, rhosts"
        try Gateway.with(on) { gate throws in
            try gate.writeRhosts(of: "alice", "127.0.0.1\n")
            #expect(try Conversation.rsh(gate, as: "alice", "id").answer().isAccepted)
        }
    }
}
