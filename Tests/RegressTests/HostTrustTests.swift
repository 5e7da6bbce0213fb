// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// RSH believes an address and a strict file, never a name, a wildcard or a file that others can write.
@Suite("Host trust", .needsBuild, .needsRoot)
struct HostTrustTests {
    private func setup() -> Gateway.Setup {
        var setup = Gateway.Setup("permit all: rsh from 127.0.0.0/8 by any as { alice, root } run any sandbox strict")
        setup.rsh = "trust rhosts\n    account none"
        return setup
    }

    private func isTrusted(_ gate: Gateway, by user: String = "alice", as target: String = "alice") throws -> Bool {
        try Conversation.rsh(gate, by: user, as: target, "id").answer().isAccepted
    }

    @Test func aLineOfRhostsTrustsItsUserAtItsAddress() throws {
        try Gateway.with(setup()) { gate throws in
            #expect(try !isTrusted(gate))
            try gate.writeRhosts(of: "alice", "127.0.0.1\n127.0.0.1 carol\n127.0.0.3 dave")
            #expect(try isTrusted(gate))
            #expect(try isTrusted(gate, by: "carol"))
            #expect(try !isTrusted(gate, by: "dave"))
            let there = try Conversation.rsh(gate, by: "dave", as: "alice", "id", from: IPAddress("127.0.0.3"))
            #expect(there.answer().isAccepted)
            #expect(try gate.lastReason() == "untrusted")
        }
    }

    @Test(
        arguments: [
            "+\n127.0.0.1\n", "+ +\n", "127.0.0.1 +\n", "+@net\n127.0.0.1\n", "-@net\n127.0.0.1\n",
            "127.1\n127.0.0.1\n",
            "0177.0.0.1\n127.0.0.1\n", "0x7f000001\n127.0.0.1\n", "2130706433\n127.0.0.1\n",
            "::ffff:127.0.0.1\n127.0.0.1\n",
            " 127.0.0.1\n127.0.0.1\n", "127.0.0.1 alice x\n", "127.0.0.1 alice\u{0}\n",
            "127.0.0.1 al\u{7}ice\n127.0.0.1\n",
            "localhost\n127.0.0.1\n", "127.0.0.01\n127.0.0.1\n", "FE80::1%lo\n127.0.0.1\n",
        ])
    func aLineThatIsNotStrictRejectsTheWholeFile(text: String) throws {
        try Gateway.with(setup()) { gate throws in
            try gate.writeRhosts(of: "alice", text)
            #expect(try !isTrusted(gate))
            #expect(try gate.lastReason() == "untrusted")
        }
    }

    @Test func aNegativeLineInEitherFileIsFinal() throws {
        try Gateway.with(setup(), start: false) { gate throws in
            try gate.writeEtc("hosts.equiv", "-127.0.0.1 mallory\n127.0.0.1\n")
            try gate.writeRhosts(of: "alice", "127.0.0.1 mallory\n127.0.0.1 -carol\n127.0.0.1 carol\n")
            try gate.start()
            #expect(try isTrusted(gate))
            #expect(try !isTrusted(gate, by: "mallory"), "hosts.equiv denied, .rhosts allowed")
            #expect(try !isTrusted(gate, by: "carol"))
        }
    }

    @Test func theFileMustBeTheOwnersAlone() throws {
        try Gateway.with(setup()) { gate throws in
            let path = gate.home("alice") + "/.rhosts"
            let good = "127.0.0.1\n"
            for mode: mode_t in [0o620, 0o602, 0o666] {
                try gate.writeRhosts(of: "alice", good, mode: mode)
                #expect(try !isTrusted(gate), "mode \(String(mode, radix: 8))")
            }
            try gate.writeRhosts(of: "alice", good)
            Files.set(path, mode: 0o644, owner: Gateway.uid("bob"))
            #expect(try !isTrusted(gate), "another owner")
            Files.remove(path)
            try Files.write(good, to: gate.home("alice") + "/other", mode: 0o600, owner: Gateway.uid("alice"))
            Files.link(path, to: gate.home("alice") + "/other")
            #expect(try !isTrusted(gate), "a symbolic link")
            Files.remove(path)
            try FileManager.default.linkItem(atPath: gate.home("alice") + "/other", toPath: path)
            #expect(try !isTrusted(gate), "a hard link")
            Files.remove(path)
            _ = try Child.run("/usr/bin/mkfifo", [path])
            #expect(try !isTrusted(gate), "a FIFO")
            Files.remove(path)
            try gate.writeRhosts(of: "alice", good + String(repeating: "# much\n", count: 10_000))
            #expect(try !isTrusted(gate), "a large file")
            try gate.writeRhosts(of: "alice", good)
            Files.set(gate.home("alice"), mode: 0o777)
            #expect(try !isTrusted(gate), "an open home")
            Files.set(gate.home("alice"), mode: 0o755)
            #expect(try isTrusted(gate), "the control")
        }
    }

    @Test func rootIsTrustedByNoRhostsUnlessAPermitNamesIt() throws {
        var only = setup()
        only.rules = "permit all: rsh from 127.0.0.0/8 by any as alice run any"
        try Gateway.with(only, start: false) { gate throws in
            try gate.writeEtc("hosts.equiv", "127.0.0.1 alice\n")
            try gate.start()
            #expect(try !isTrusted(gate, as: "root"))
            #expect(try gate.lastReason() == "no-rule")
        }
        try Gateway.with(setup(), start: false) { gate throws in
            try gate.writeEtc("hosts.equiv", "127.0.0.1 alice\n")
            try gate.start()
            #expect(try isTrusted(gate))
            #expect(try !isTrusted(gate, as: "root"), "hosts.equiv let somebody become root")
        }
    }

    /// Whoever can write the hosts file can be any host in it.
    @Test func namesAreThoseOfAHostsFileThatIsRootsAlone() throws {
        var names = setup()
        names.rsh = "trust rhosts\n    names hosts-file\n    account none"
        try Gateway.with(names, start: false) { gate throws in
            try gate.writeEtc("hosts", "127.0.0.1 build\n")
            try gate.start()
            try gate.writeRhosts(of: "alice", "build\n")
            #expect(try isTrusted(gate))
            try gate.writeEtc("hosts", "127.0.0.1 build\n", mode: 0o666)
            #expect(try !isTrusted(gate))
            #expect(try gate.lastReason() == "untrusted")
        }
    }

    @Test func aSandboxThatCanWriteTheHomeNeedsTheWordSelfTrust() throws {
        // A sandbox that can write the home, with trust from the home: what runs there could write its own .rhosts.
        var writing = setup()
        writing.rules = "permit all: rsh from 127.0.0.0/8 by any as alice run any sandbox home"
        try Gateway.with(writing, start: false) { gate throws in
            try gate.launch()
            #expect(gate.daemon?.wait(within: 15_000) == .status(1))
            #expect(gate.log.contains("self-trust"))
        }
    }
}
