// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import RemoteCommand
import Testing

/// rexec and rsh as they were built beside the tests, started by a shell as people start them.
@Suite(.enabled(if: RunningShell.directory != nil, "rexec and rsh are not built beside the tests"))
struct ClientProgramTests {
    /// Reads a request's fields and calls back where it is asked to; accepts.
    private static func accept(_ side: ServerSide) throws -> Descriptor? {
        let port = try side.field()
        let secondary = port.isEmpty ? nil : try side.callBack(port)
        for _ in 0..<3 { _ = try side.field() }
        try side.write([0])
        return secondary
    }

    /// A command that says `output` once its stdin has ended.
    private static func answerAtTheEnd(_ side: ServerSide) throws {
        let secondary = try accept(side)
        while try !side.read(4_096).isEmpty {}
        try side.write(Array("output".utf8))
        withExtendedLifetime(secondary) {}
    }

    private func rexec(_ server: FakeServer, _ words: String = "-l alice -p canary") -> String {
        "rexec -n -P \(server.endpoint.port) \(words) 127.0.0.1 date"
    }

    /// GNU nohup opens /dev/null for writing alone in the place of a terminal's stdin, so that a read is an error.
    @Test func nohupsStdinIsAnEmptyOne() throws {
        let server = try FakeServer(Self.answerAtTheEnd)
        let result = try RunningShell("exec \(rexec(server)) 0>/dev/null").finish()
        #expect(result.status == .exited(0))
        #expect(result.out == "output")
        #expect(result.err == "")
        #expect(try server.finish())
    }

    /// Of any other stdin that cannot be read people are told, and the command's output comes all the same.
    @Test func aDirectoryForStdinIsAnEmptyOneAndSaysSo() throws {
        let server = try FakeServer(Self.answerAtTheEnd)
        let result = try RunningShell("exec \(rexec(server)) </").finish()
        #expect(result.status == .exited(0))
        #expect(result.out == "output")
        #expect(result.err == "rexec: stdin: Is a directory\n")
    }

    /// nohup and a shell's `trap ''` have the client ignore a signal: the command never hears of it.
    @Test func anIgnoredSignalIsNotPassedOn() throws {
        let server = try FakeServer { side in
            let secondary = try #require(try Self.accept(side))
            try side.write(Array("ready".utf8))
            // Of two that wait, a signalfd gives the lower one first: SIGHUP is 1.
            guard try side.read(1, from: secondary) == [15] else { throw ServerSide.Unexpected() }
        }
        let shell = try RunningShell("trap '' HUP; exec \(rexec(server))")
        try shell.wait(for: "ready")
        shell.signal(SIGHUP)
        shell.signal(SIGTERM)
        #expect(try server.finish())
        #expect(try shell.finish().status == .exited(0))
    }

    @Test func outputThatGoesNowhereIsAnError() throws {
        let server = try FakeServer(Self.answerAtTheEnd)
        let result = try RunningShell("exec \(rexec(server)) >&-").finish()
        #expect(result.status == .exited(1))
        #expect(result.err == "rexec: write: Bad file descriptor\n")
    }

    /// A block device that was opened anew would be written from its start.
    @Test(.enabled(if: RunningShell.hasLoopDevices, "needs root and a loop device"))
    func aBlockDeviceIsWrittenWhereTheStreamStands() throws {
        let server = try FakeServer(Self.answerAtTheEnd)
        let script = """
            truncate -s 64K disk && device=$(losetup --find --show disk) || exit 99
            trap 'losetup --detach "$device"' EXIT
            { printf head; \(rexec(server)) </dev/null; } 1<>"$device"
            dd if="$device" bs=10 count=1 2>/dev/null
            """
        let result = try RunningShell(script).finish()
        #expect(result.out == "headoutput", "\(result)")
    }

    @Test func everyPasswordOfTheArgumentsIsHidden() throws {
        let server = try FakeServer { side in
            _ = try Self.accept(side)
            try side.write(Array("ready".utf8))
            while try !side.read(1).isEmpty {}
        }
        // Its stdin stays open: it holds the other end itself.
        let shell = try RunningShell(
            "mkfifo fifo; exec \(rexec(server, "-l alice -p canary1 -pcanary2")) 3<>fifo <fifo")
        try shell.wait(for: "ready")
        let line = try File.open("/proc/\(shell.pid)/cmdline", [.reading]).readAll(limit: 4_096) ?? []
        let text = String(decoding: line, as: UTF8.self)
        #expect(text.contains("alice"))
        #expect(!text.contains("canary"))
    }

    @Test func aPasswordThatIsTooLongIsCalledSo() throws {
        let password = String(repeating: "x", count: 129)
        let text = "rexec: the password is longer than 128 bytes\n"
        #expect(try RunningShell("exec rexec -n -l x -p \(password) -P 1 127.0.0.1 x").finish().err == text)
        #expect(try RunningShell("echo \(password) | rexec -n -l x -p - -P 1 127.0.0.1 x").finish().err == text)
    }

    /// A kernel without IPv6 says EADDRNOTAVAIL or EAFNOSUPPORT of ::1, whatever the port: no lack of ports.
    @Test(.enabled(if: RunningShell.hasNetworkNamespaces, "needs root and unshare"))
    func anAddressThatCannotBeReachedFromHereMakesWayForTheNext() throws {
        let script = """
            exec unshare --net --mount sh -c '
                echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
                printf "::1 both\\n127.0.0.1 both\\n" >hosts
                mount --bind hosts /etc/hosts
                exec rsh -P 1 both date'
            """
        let result = try RunningShell(script).finish()
        #expect(result.status == .exited(1))
        // No network is up there, and the second address has an error of its own: it was tried.
        let addresses = ["[::1]:1: Cannot assign requested address", "127.0.0.1:1: Network is unreachable"]
        #expect(result.err == "rsh: connect to \(addresses[0]); connect to \(addresses[1])\n", "\(result)")
    }

    // MARK: At a terminal

    @Test func aLineThatWasHandedOverInPartCanBeInterrupted() throws {
        let shell = try RunningShell("exec rexec -n -l x -P 1 127.0.0.1 id", atTerminal: true)
        try shell.wait(for: "Password (127.0.0.1:x): ")
        #expect(try !shell.echoes())
        // ^D hands over what was typed so far: who waits for the line's end now hears nothing else.
        try shell.type("abc\u{4}")
        Clock.sleep(milliseconds: 50)
        try shell.type("\u{3}")
        #expect(try shell.finish().status == .exited(130))
        #expect(try shell.echoes())
    }

    @Test(arguments: [SIGALRM, SIGUSR1, SIGUSR2, SIGTERM, SIGHUP])
    func whateverEndsTheQuestionRestoresTheEcho(signal: Int32) throws {
        let shell = try RunningShell("exec rexec -n -l x -P 1 127.0.0.1 id", atTerminal: true)
        try shell.wait(for: "Password (127.0.0.1:x): ")
        #expect(try !shell.echoes())
        shell.signal(signal)
        #expect(try shell.finish().status == .exited(UInt8(128 + signal)))
        #expect(try shell.echoes())
    }

    @Test func aQuestionThatIsStoppedGivesTheEchoBackMeanwhileAndIsAskedAgain() throws {
        let script = "set -m; rexec -n -l x -P 1 127.0.0.1 id; echo halted; read line; fg; echo status $?"
        let shell = try RunningShell(script, atTerminal: true)
        try shell.wait(for: "Password (127.0.0.1:x): ")
        #expect(try !shell.echoes())
        try shell.type("\u{1A}")
        try shell.wait(for: "halted")
        #expect(try shell.echoes())
        try shell.type("\n")
        try shell.wait(for: "Password (127.0.0.1:x): ")
        #expect(try !shell.echoes())
        try shell.type("\u{3}")
        try shell.wait(for: "status 130")
        #expect(try shell.echoes())
    }

    /// The signals of the question are not those of the command: what was ignored before it is ignored after it.
    @Test func aQuestionLeavesIgnoredSignalsIgnored() throws {
        let server = try FakeServer { side in
            let secondary = try #require(try Self.accept(side))
            try side.write(Array("ready".utf8))
            guard try side.read(1, from: secondary) == [15] else { throw ServerSide.Unexpected() }
        }
        let shell = try RunningShell("trap '' HUP; exec \(rexec(server, "-l x"))", atTerminal: true)
        try shell.wait(for: "Password (127.0.0.1:x): ")
        try shell.type("canary\n")
        try shell.wait(for: "ready")
        shell.signal(SIGHUP)
        shell.signal(SIGTERM)
        #expect(try server.finish())
        #expect(try shell.finish().status == .exited(0))
    }

    @Test func aPasswordFromAStdinThatIsATerminalIsAskedFor() throws {
        let server = try FakeServer { side in
            for text in ["", "x", "canary"] as [ByteText] { try side.expect(text) }
            _ = try side.field()
            try side.write([0] + Array("output".utf8))
        }
        let shell = try RunningShell("exec \(rexec(server, "-a -l x -p -"))", atTerminal: true)
        try shell.wait(for: "Password (127.0.0.1:x): ")
        #expect(try !shell.echoes())
        try shell.type("canary\n")
        try shell.wait(for: "output")
        #expect(try shell.finish().status == .exited(0))
        #expect(!shell.shown.contains("canary"))
    }

    /// A terminal that is nearly full takes a byte or two, so poll(2) calls it writable, and a write of more waits.
    @Test func aTerminalThatIsFullHoldsUpNoSignal() throws {
        let (gate, open) = try Descriptor.pipe()
        let server = try FakeServer { side in
            let secondary = try #require(try Self.accept(side))
            try side.write(Array("ready".utf8))
            _ = try gate.read(1)
            // Lines of many lengths, so that the buffers between do not end where a write does.
            let lines = (1..<1_000).map { String(repeating: "x", count: $0 % 401) }
            try side.write(Array(lines.joined(separator: "\n").utf8))
            guard try side.read(1, from: secondary) == [2] else { throw ServerSide.Unexpected() }
        }
        let shell = try RunningShell("exec \(rexec(server))", atTerminal: true)
        try shell.wait(for: "ready")
        // From here on nobody reads the terminal.
        try open.writeAll([1])
        Clock.sleep(milliseconds: 100)
        shell.signal(SIGINT)
        #expect(try server.finish())
    }
}
