// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import TestSupport
import Testing

/// A shell that runs a script with the clients of this build first in its PATH, in a directory of its own, with stdin from
/// /dev/null and its output in files; or on a terminal of its own. Killed and reaped with this value.
final class RunningShell {
    /// How it ended and what it wrote.
    struct Result: CustomStringConvertible {
        var status: Linux.ExitStatus?
        var out: String
        var err: String
        var description: String { "\(String(describing: status)), stdout \(out), stderr \(err)" }
    }

    struct Hung: Error {}

    /// Where the clients were built: beside this program.
    static let directory: String? = {
        guard let own = File.resolved(Array("/proc/self/exe".utf8)), let path = ByteText(own).text,
            let slash = path.lastIndex(of: "/")
        else { return nil }
        let directory = String(path[..<slash])
        return File.isExecutable(Array("\(directory)/rexec".utf8)) ? directory : nil
    }()

    static let hasLoopDevices =
        Process.isRoot && File.isExecutable(Array("/sbin/losetup".utf8))
        && (try? File.open("/dev/loop-control", [.reading])) != nil

    static let hasNetworkNamespaces: Bool = {
        guard Process.isRoot else { return false }
        return (try? RunningShell("unshare --net true").finish().status) == .exited(0)
    }()

    let pid: Int32
    /// What came from the terminal so far.
    private(set) var shown = ""
    private let handle: ProcessHandle
    private let files: TestDirectory
    private let terminal: Descriptor?
    private var status: Linux.ExitStatus?

    /// Starts one.
    init(_ script: String, atTerminal: Bool = false) throws {
        files = try TestDirectory()
        let directory = try #require(Self.directory)
        var slave = ""
        if atTerminal {
            let terminal = try File.open("/dev/ptmx", File.Options(rawValue: O_RDWR | O_NOCTTY | O_NONBLOCK))
            var lock: Int32 = 0
            var number: Int32 = -1
            // SAFETY: each call reads or writes one int. The numbers are TIOCSPTLCK and TIOCGPTN, which are macros.
            let codes = unsafe (
                ioctl(terminal.number, 0x4004_5431, &lock), ioctl(terminal.number, 0x8004_5430, &number)
            )
            try #require(codes == (0, 0))
            slave = "/dev/pts/\(number)"
            self.terminal = terminal
        } else {
            terminal = nil
        }
        let flags = O_WRONLY | O_CREAT
        pid = try spawnProgram(
            "/bin/sh", named: "sh", ["-c", "cd \(files.path); \(script)"],
            environment: ["PATH=\(directory):/usr/bin:/bin:/usr/sbin:/sbin", "HOME=\(files.path)", "TERM=dumb"],
            // A session's leader that opens a terminal has it.
            files: [
                SpawnedFile(0, atTerminal ? slave : "/dev/null", O_RDWR),
                SpawnedFile(1, atTerminal ? slave : files.path + "/out", flags),
                SpawnedFile(2, atTerminal ? slave : files.path + "/err", flags),
            ], inSession: true)
        handle = try ProcessHandle(pid: pid)
    }

    deinit {
        guard status == nil else { return }
        // Its session: a stopped client too. It was not reaped, so that the number is nobody else's.
        Process.signalGroup(pid, SIGKILL)
        Children.reap(pid)
    }

    func signal(_ number: Int32) { handle.signal(number) }

    /// Presses keys.
    func type(_ keys: String) throws {
        try #require(terminal).writeAll(Array(keys.utf8))
    }

    /// Whether the terminal shows what is typed.
    func echoes() throws -> Bool {
        var settings = termios()
        // SAFETY: the call writes one structure; a master's settings are its terminal's.
        try #require(unsafe tcgetattr(try #require(terminal).number, &settings) == 0)
        return settings.c_lflag & tcflag_t(ECHO) != 0
    }

    /// Waits until a text was written; on a terminal what is before it counts no more.
    func wait(for text: String) throws {
        for _ in 0..<2_000 {
            if terminal == nil {
                if read("out").contains(text) { return }
            } else {
                takeShown()
                if let range = shown.firstRange(of: text) {
                    shown.removeSubrange(..<range.upperBound)
                    return
                }
            }
            Clock.sleep(milliseconds: 10)
        }
        Issue.record("\(text) did not come: \(shown) \(read("out")) \(read("err"))")
        throw Hung()
    }

    private func takeShown() {
        while let bytes = try? terminal?.read(4_096), !bytes.isEmpty {
            shown += String(decoding: bytes, as: UTF8.self)
        }
    }

    private func read(_ name: String) -> String {
        guard let file = try? File.open("\(files.path)/\(name)", [.reading]),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Waits for its end.
    func finish() throws -> Result {
        for _ in 0..<2_000 where status == nil {
            takeShown()
            var entries = [Poll.Entry(handle.descriptor)]
            try Poll.wait(&entries, milliseconds: 10)
            if entries[0].isReadable { status = handle.reap() }
        }
        takeShown()
        return Result(status: status, out: read("out"), err: read("err"))
    }
}
