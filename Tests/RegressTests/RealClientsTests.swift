// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Clients that were written decades ago run permitted commands unmodified, with stderr apart where they ask for it,
/// and show the refusal text where they are refused.
@Suite("Real clients, unmodified", .needsBuild)
struct RealClientsTests {
    private let both = "echo out; echo err >&2"

    // MARK: - rsh

    @Test(.needsRoot, .needs("netkit-rsh"), .needs("rsh-redone-rsh"), arguments: ["netkit-rsh", "rsh-redone-rsh"])
    func anRshRunsACommandAndKeepsStderrApart(client: String) throws {
        let program = try #require(Host.program(client))
        try Gateway.with(Rules.shell()) { gate throws in
            let result = try Child.run(program, ["-l", "alice", "\(gate.address)", both])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\n")
            // rsh-redone 85 reads the secondary and then writes zero bytes of it, whichever server it talks to.
            if client == "netkit-rsh" { #expect(result.errText == "err\n") }
            let login = try gate.record("USER_LOGIN")
            #expect(login["rule"] == "shell")
            #expect(login.value("ruser") == "root")
        }
    }

    @Test(.needsRoot, .needs("netkit-rsh"))
    func netkitRshPassesStdinAndItsEnd() throws {
        try Gateway.with(Rules.words) { gate throws in
            let file = gate.directory + "/stdin"
            let text = String(repeating: "one line of many\n", count: 40_000)
            try Files.write(text, to: file, mode: 0o600)
            let program = try #require(Host.program("netkit-rsh"))
            let result = try Child.run(program, ["-l", "alice", "\(gate.address)", "/bin/cat"], stdin: file)
            #expect(result.outcome == .status(0))
            #expect(result.outText == text)
        }
    }

    @Test(.needsRoot, .needs("netkit-rsh"))
    func netkitRshShowsTheRefusal() throws {
        try Gateway.with("") { gate throws in
            let program = try #require(Host.program("netkit-rsh"))
            let result = try Child.run(program, ["-n", "-l", "alice", "\(gate.address)", "id"])
            #expect(result.outcome == .status(1))
            #expect(result.errText == "Permission denied.\n")
            #expect(result.outText == "")
            #expect(try gate.lastReason() == "no-rule")
        }
    }

    @Test(.needsRoot, .needs("pdsh"))
    func pdshRunsACommandAndShowsTheRefusal() throws {
        let rules = "permit id: rsh from 127.0.0.0/8 by root as alice run \"/usr/bin/id -un\""
        try Gateway.with(rules) { gate throws in
            let program = try #require(Host.program("pdsh"))
            let host = "\(gate.address)"
            let permitted = try Child.run(program, ["-R", "rsh", "-l", "alice", "-w", host, "id -un"])
            #expect(permitted.outText == "\(host): alice\n", "\(permitted)")
            #expect(permitted.errText == "")
            let refused = try Child.run(program, ["-R", "rsh", "-l", "alice", "-w", host, "id -u"])
            #expect(refused.errText.contains("Permission denied."), "\(refused)")
            #expect(refused.outText == "")
        }
    }

    // MARK: - rcp, rsync, tar

    @Test(.needsRoot, .needs("netkit-rcp"))
    func rcpCopiesInBothDirections() throws {
        let rules = "permit rcp: rsh from 127.0.0.0/8 by root as alice run \"/usr/bin/rcp *\" sandbox home"
        try Gateway.with(rules) { gate throws in
            let program = try #require(Host.program("netkit-rcp"))
            let source = gate.directory + "/source"
            let text = String(repeating: "copied\n", count: 10_000)
            try Files.write(text, to: source, mode: 0o644)
            let there = "alice@\(gate.address):\(gate.home("alice"))/copy"
            let to = try Child.run(program, [source, there])
            #expect(to.outcome == .status(0), "\(to)")
            #expect(Files.text(gate.home("alice") + "/copy") == text)
            let back = try Child.run(program, [there, gate.directory + "/back"])
            #expect(back.outcome == .status(0), "\(back)")
            #expect(Files.text(gate.directory + "/back") == text)
        }
    }

    @Test(.needsRoot, .needs("rsync"), .needs("netkit-rsh"), arguments: ["netkit-rsh", "rsh"])
    func rsyncCopiesATree(by client: String) throws {
        let rules = "permit rsync: rsh from 127.0.0.0/8 by root as alice run \"/usr/bin/rsync --server *\" sandbox home"
        try Gateway.with(rules) { gate throws in
            let program = try #require(Host.program("rsync"))
            let tree = gate.directory + "/tree"
            Files.makeDirectory(tree, mode: 0o755)
            for name in ["a", "b", "c d"] { try Files.write("file \(name)", to: tree + "/" + name, mode: 0o644) }
            let there = "alice@\(gate.address):\(gate.home("alice"))/tree/"
            let rsh = try self.rsh(client)
            let result = try Child.run(program, ["-r", "-e", rsh, tree + "/", there])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(Files.text(gate.home("alice") + "/tree/c d") == "file c d")
        }
    }

    /// A client by its name; `rsh` is our own.
    private func rsh(_ client: String) throws -> String {
        client == "rsh" ? Host.own(client) : try #require(Host.program(client))
    }

    @Test(.needsRoot, .needs("tar"), .needs("rmt-tar"), .needs("netkit-rsh"), arguments: ["netkit-rsh", "rsh"])
    func tarWritesARemoteArchive(by client: String) throws {
        let rules = "permit rmt: rsh from 127.0.0.0/8 by root as alice run \"/usr/sbin/rmt-tar\" sandbox home"
        try Gateway.with(rules) { gate throws in
            let program = try #require(Host.program("tar"))
            let rsh = try self.rsh(client)
            let result = try Child.run(
                program,
                [
                    "--rsh-command=" + rsh, "--rmt-command=/usr/sbin/rmt-tar", "-C", "/etc", "-cf",
                    "alice@\(gate.address):\(gate.home("alice"))/etc.tar", "hostname", "passwd",
                ])
            #expect(result.outcome == .status(0), "\(result)")
            let list = try Child.run(program, ["-tf", gate.home("alice") + "/etc.tar"])
            #expect(list.outText == "hostname\npasswd\n")
        }
    }

    // MARK: - C

    /// Compiles the client of glibc's calls into a test's own directory.
    private func calls(_ gate: Gateway) throws -> String {
        let program = gate.directory + "/calls"
        let source = Host.package + "/Tests/RegressTests/Clients/calls.c"
        let compiler = try #require(Host.compiler)
        let made = try Child.run(compiler, ["-Wno-deprecated-declarations", "-o", program, source])
        try #require(made.outcome == .status(0), "\(made)")
        return program
    }

    @Test(.needsRoot, .needsCompiler, arguments: ["0", "4", "any"], [false, true])
    func programsThatCallRcmd(family: String, apart: Bool) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let program = try calls(gate)
            let words = ["rcmd", family, "\(gate.address)", "514", "root", "alice", both]
            let result = try Child.run(program, words + (apart ? ["apart"] : []))
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == (apart ? "out\n" : "out\nerr\n"))
            #expect(result.errText == (apart ? "err\n" : ""))
        }
    }

    @Test(.needsCompiler, arguments: ["0", "4", "any"], [false, true])
    func programsThatCallRexec(family: String, apart: Bool) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let program = try calls(gate)
            let port = "\(gate.endpoint(.rexec).port)"
            let words = ["rexec", family, "\(gate.address)", port, Gateway.target, Gateway.password, gate.line(both)]
            let result = try Child.run(program, words + (apart ? ["apart"] : []))
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == (apart ? "out\n" : "out\nerr\n"))
            #expect(result.errText == (apart ? "err\n" : ""))
        }
    }

    @Test(.needsCompiler)
    func programsThatCallRexecShowTheRefusal() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let program = try calls(gate)
            let port = "\(gate.endpoint(.rexec).port)"
            let words = ["rexec", "0", "\(gate.address)", port, Gateway.target, "wrong", gate.line(both), "apart"]
            let result = try Child.run(program, words)
            #expect(result.outcome == .status(1))
            #expect(result.errText.contains("Login incorrect."), "\(result)")
        }
    }

    @Test(.needsCompiler) func programsThatCallRexecInTheSixthVersionOfTheInternet() throws {
        try callTheSixthVersion("rexec")
    }

    /// Only root has reserved ports, and rcmd uses no other.
    @Test(.needsRoot, .needsCompiler) func programsThatCallRcmdInTheSixthVersionOfTheInternet() throws {
        try callTheSixthVersion("rcmd")
    }

    private func callTheSixthVersion(_ call: String) throws {
        let rule = Rules.shell().replacingOccurrences(of: "127.0.0.0/8", with: "::1")
        var setup = Gateway.Setup(rule)
        setup.address = IPAddress("::1")
        try Gateway.with(setup) { gate throws in
            let program = try calls(gate)
            let port = "\(gate.endpoint(call == "rexec" ? .rexec : .rsh).port)"
            let names = call == "rexec" ? [Gateway.target, Gateway.password] : ["root", Gateway.target]
            let result = try Child.run(program, [call, "6", "::1", port] + names + [gate.line(both), "apart"])
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == "out\n")
            #expect(result.errText == "err\n")
            #expect(try gate.record("USER_END")["addr"] == "::1")
        }
    }

    // MARK: - Java

    private static let hasJava: ConditionTrait = .enabled(
        if: Host.has("java", "javac") && Host.hasCommonsNet, "a JDK or libcommons-net-java is not installed")

    @Test(hasJava, arguments: ["apart", "together"]) func commonsNetRunsACommandByRexec(streams: String) throws {
        try runByCommonsNet("rexec", streams)
    }

    @Test(hasJava, .needsRoot, arguments: ["apart", "together"])
    func commonsNetRunsACommandByRcmd(streams: String) throws {
        try runByCommonsNet("rsh", streams)
    }

    private func runByCommonsNet(_ call: String, _ streams: String) throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let result = try commonsNet(gate, call, Gateway.password, streams)
            #expect(result.outcome == .status(0), "\(result)")
            #expect(result.outText == (streams == "apart" ? "out\n" : "out\nerr\n"))
            #expect(result.errText == (streams == "apart" ? "err\n" : ""))
        }
    }

    @Test(hasJava)
    func commonsNetShowsTheRefusal() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let result = try commonsNet(gate, "rexec", "wrong", "together")
            #expect(result.outcome == .status(1))
            #expect(result.errText.contains("Login incorrect."), "\(result)")
        }
    }

    private func commonsNet(
        _ gate: Gateway, _ call: String, _ password: String, _ streams: String
    ) throws -> Child.Result {
        let java = try #require(Host.program("java"))
        let source = Host.package + "/Tests/RegressTests/Clients/CommonsNet.java"
        let port = "\(gate.endpoint(call == "rexec" ? .rexec : .rsh).port)"
        let last = call == "rexec" ? password : "root"
        return try Child.run(
            java,
            [
                "-cp", Host.commonsNet, source, call, "\(gate.address)", port, Gateway.target, last, gate.line(both),
                streams,
            ],
            within: 60_000)
    }

    // MARK: - inetutils, from its bytes

    /// GNU inetutils' rexec is not in Debian's rsh packages, so what it sends is replayed: a port field of `0` where it wants no
    /// stderr connection, and where it wants one, an early half-close of it that must cancel nothing.
    @Test func inetutilsRexecWithoutStderr() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let socket = try Socket.connect(to: gate.endpoint(.rexec))
            socket.send("0\0\(Gateway.target)\0\(Gateway.password)\0\(gate.line(both))\0")
            #expect(socket.receive(count: 100) == Array("\0out\nerr\n".utf8))
        }
    }

    @Test func inetutilsRexecWithStderr() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(
                gate, as: Gateway.target, "sleep 0.3; \(both)", separately: true)
            client.secondary?.shutdownWrites()
            let answer = client.answer()
            #expect(answer.isAccepted)
            #expect(answer.output == "out\n")
            #expect(answer.errorOutput == "err\n")
        }
    }

    /// rsh-redone sends port, names and command in one write, and accepts only after the status byte.
    @Test(.needsRoot) func aClientThatSendsAllAtOnceAndAcceptsLate() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let socket = try Socket.connectReserved(to: gate.endpoint(.rsh))
            let listener = try Socket.listen(on: socket.local.address, port: nil)
            socket.send("\(try listener.local.port)\0root\0alice\0cat; echo err >&2\0all at once\n")
            socket.shutdownWrites()
            #expect(socket.receive(count: 1) == [0])
            let secondary = try #require(try listener.accept())
            #expect(socket.receive(count: 100) == Array("all at once\n".utf8))
            #expect(secondary.receive(count: 100) == Array("err\n".utf8))
        }
    }
}
