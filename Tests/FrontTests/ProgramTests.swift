// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Front
import Glibc
import Linux
import Messages
import Testing

/// The program itself, confined as in service, with the test as its monitor.
///
/// The other suites run front without its filter: a system call that NIO or the runtime needs and the filter lacks
/// ends the program, and shows here.
@Suite struct ProgramTests {
    private static let program: String? = {
        guard let own = File.resolved(Array("/proc/self/exe".utf8)), let path = ByteText(own).text,
            let slash = path.lastIndex(of: "/")
        else { return nil }
        let program = path[..<slash] + "/portcullis-front"
        // SAFETY: the string is NUL-terminated for the call.
        return unsafe access(String(program), X_OK) == 0 ? String(program) : nil
    }()

    @Test(.enabled(if: program != nil, "portcullis-front is not built beside the tests"), arguments: [nil, 61_190])
    func itServesConfined(_ identity: UInt32?) throws {
        guard identity == nil || Process.isRoot else { return }
        let (monitor, fronts) = try Linux.Channel.pair()
        let (auditor, records) = try Linux.Channel.pair()
        let pid = try start(identity, fronts, records)
        defer {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
        let client = try ready(monitor, auditor, pid)
        try client.serves(pid)
        let status = try String(decoding: Data.read("/proc/\(pid)/status"), as: UTF8.self)
        #expect(status.contains("\nSeccomp:\t2\n"))
        #expect(status.contains("\nNoNewPrivs:\t1\n"))
        #expect(status.contains("\nCapEff:\t0000000000000000\n"))
        #expect(status.contains("\nCapBnd:\t0000000000000000\n") || !Process.isRoot)
        if let identity { #expect(status.contains("\nUid:\t\(identity)\t\(identity)\t\(identity)\t\(identity)\n")) }
        // Its end follows the monitor's.
        Socket.shutdownBoth(monitor.descriptor)
        var code: Int32 = -1
        // SAFETY: waitpid writes one int.
        #expect(unsafe waitpid(pid, &code, 0) == pid)
        #expect(code == 0)
    }

    private enum Data {
        static func read(_ path: String) throws -> [UInt8] {
            // SAFETY: the string is NUL-terminated for the call.
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FrontHarness.HarnessError.nothingCame }
            return try Descriptor(owning: descriptor).readAll(limit: 65_536) ?? []
        }
    }

    private func start(_ identity: UInt32?, _ monitor: Linux.Channel, _ auditor: Linux.Channel) throws -> pid_t {
        // High copies first, so that placing one does not close another.
        let first = try monitor.descriptor.duplicate(from: 64)
        let second = try auditor.descriptor.duplicate(from: 64)
        // SAFETY: the actions are initialised before use and destroyed after; the strings live for the call.
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, first.number, 3)
        unsafe posix_spawn_file_actions_adddup2(&actions, second.number, 4)
        var words = ["portcullis-front", "[net]"]
        if let identity { words += ["--uid", "\(identity)", "--gid", "\(identity)"] }
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
        // SAFETY: strdup's copies, each freed once.
        defer { unsafe arguments.forEach { unsafe free($0) } }
        var pid: pid_t = 0
        let path = try #require(Self.program)
        let code = unsafe posix_spawn(&pid, path, &actions, nil, &arguments, environ)
        try #require(code == 0)
        return pid
    }

    private func ready(_ monitor: Linux.Channel, _ auditor: Linux.Channel, _ pid: pid_t) throws -> Conversation {
        let message = try #require(try FrontHarness.next(monitor, descriptors: 0))
        #expect(try FrontAsk(frame: message.bytes) == .ready)
        var settings = Settings()
        settings.refusal.delay = 20
        settings.rexec.handshakeTimeout = 300
        let listener = try Socket.listen(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0))
        let endpoint = try Socket.local(listener)
        let fronts = FrontSettings(
            settings, listeners: [FrontSettings.Listener(service: .rexec, endpoint: endpoint)])
        try monitor.send(FrontOrder.configure(settings: fronts).encoded(), descriptors: [listener])
        return Conversation(monitor: monitor, auditor: auditor, endpoint: endpoint)
    }

    /// What is said to the program: each of front's ways once.
    private struct Conversation {
        var monitor: Linux.Channel
        var auditor: Linux.Channel
        var endpoint: Endpoint

        func serves(_ pid: pid_t) throws {
            try refuses()
            try isLate()
            try handsOver()
            try forgetsPasswords(pid)
        }

        /// traps.md: a canary password is searched for in the memory of every process.
        private func forgetsPasswords(_ pid: pid_t) throws {
            let canary = "canary-\(UInt64.random(in: UInt64.min...UInt64.max))"
            let client = try Client(endpoint)
            try client.write("\0alice\0")
            // In two pieces, of which NIO reads a byte each; a delayed acknowledgement holds the next one up to 40 ms.
            try client.write(String(canary.prefix(9)))
            Clock.sleep(milliseconds: 200)
            let isThere = try !Process.isRoot || memory(of: pid, contains: Array(canary.prefix(9).utf8))
            #expect(isThere, "or the search finds nothing that is there")
            try client.write(canary.dropFirst(9) + "\0cat\0stdin")
            let message = try #require(try FrontHarness.next(monitor, descriptors: 3))
            guard case .handover(let connection, .rexec, false) = try FrontAsk(frame: message.bytes) else {
                Issue.record("no handover")
                return
            }
            let handover = Handover(
                connection: connection, service: .rexec, channel: Linux.Channel(message.descriptors[0]),
                primary: message.descriptors[1], secondary: nil)
            if Process.isRoot { #expect(try !memory(of: pid, contains: Array(canary.prefix(9).utf8))) }
            _ = try handover.request()
            #expect(try handover.password() == Array(canary.utf8))
        }

        private func refuses() throws {
            let client = try Client(endpoint)
            try client.write("\0-bad\0pw\0id\0and more")
            #expect(try client.readToEnd() == Array("\u{1}Login incorrect.\n".utf8))
            let message = try #require(try FrontHarness.next(auditor, descriptors: 0))
            guard case .record(1, .login(let login)) = try RecordFrame(frame: message.bytes) else {
                Issue.record("no record")
                return
            }
            #expect(login.refusal == .protocolError)
        }

        private func isLate() throws {
            let client = try Client(endpoint)
            #expect(try client.readToEnd() == Array("\u{1}Login incorrect.\n".utf8))
        }

        private func handsOver() throws {
            let client = try Client(endpoint)
            try client.write("40001\0alice\0pw\0id\0stdin")
            let asked = try #require(try FrontHarness.next(monitor, descriptors: 1))
            guard case .connectBack(let connection, .rexec, 40_001) = try FrontAsk(frame: asked.bytes) else {
                Issue.record("no ask")
                return
            }
            let other = try Client(endpoint)
            try monitor.send(
                FrontOrder.connectedBack(connection: connection).encoded(), descriptors: [other.socket])
            let message = try #require(try FrontHarness.next(monitor, descriptors: 3))
            guard case .handover(connection, .rexec, true) = try FrontAsk(frame: message.bytes) else {
                Issue.record("no handover")
                return
            }
            let handover = Handover(
                connection: connection, service: .rexec, channel: Linux.Channel(message.descriptors[0]),
                primary: message.descriptors[1], secondary: message.descriptors[2])
            #expect(try handover.release())
            Socket.shutdownSending(client.socket)
            #expect(try handover.rest() == Array("stdin".utf8))
            // A log line needs no system call that the filter lacks.
            try handover.channel.send([0, 0])
        }
    }
}
