// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The auditor's disk fails, or the auditor dies, and comes back: nothing runs unrecorded, nothing that was recorded is
/// lost, and the gateway goes on by itself.
@Suite("Drills of the trail", .needsBuild, .needsRoot, .needsCompiler, .serialized)
struct DrillTests {
    /// What a test makes fail: see Faults/faults.c.
    private struct Faults {
        static let write: UInt8 = 1
        static let sync: UInt8 = 2
        static let rename: UInt8 = 4
        static let halfWrite: UInt8 = 8
        static let truncate: UInt8 = 16
        /// With a synchronisation that fails, what it was of is gone.
        static let lose: UInt8 = 32

        let path: String

        private func write(_ bytes: [UInt8], at place: UInt64) throws {
            let file = try #require(FileHandle(forUpdatingAtPath: path))
            defer { try? file.close() }
            try file.seek(toOffset: place)
            try file.write(contentsOf: Data(bytes))
        }

        /// - Parameter times: how many calls fail until none does any more; 0 for as long as nothing else is set.
        func set(_ calls: UInt8, errno code: Int32 = 0, endingAfter steps: UInt8 = 0, times: UInt8 = 0) throws {
            try write([times], at: 4)
            // The errno first, so that no call fails with another.
            try write([UInt8(truncatingIfNeeded: code), steps], at: 1)
            try write([calls], at: 0)
        }

        /// Limits the descriptors of the next auditor.
        func limitNext(descriptors: UInt8) throws {
            try write([descriptors], at: 3)
        }

        /// How many calls are left until the auditor ends.
        var left: UInt8 { Files.read(path).dropFirst(2).first ?? 0 }

        /// Has the auditor stand still at a call to come.
        func hold(at step: UInt8) throws {
            try write([step, 0], at: 5)
        }

        /// Whether it does.
        var isHeld: Bool { Files.read(path).dropFirst(6).first == 1 }

        /// Lets it go on, and stand still no more.
        func release() throws {
            try write([0, 0], at: 5)
        }

        /// Sets the auditor's clock back.
        func setClockBack(seconds: Int) throws {
            try write([0, 8, 16].map { UInt8(truncatingIfNeeded: seconds >> $0) }, at: 8)
        }
    }

    /// Runs a gateway whose auditor can be made to fail.
    ///
    /// - Parameters:
    ///   - audit: what the policy says of the trail, besides `kernel off`; empty for what the gateway says itself.
    ///   - timeout: the policy's authentication-timeout of rexec; nil for what the gateway says itself.
    ///   - disk: the bytes of a tmpfs that its trail has for itself; nil for none.
    ///   - body: given the gateway, what fails, and the first key of its checkpoints.
    private func with(
        audit: [String] = [], timeout: String? = nil, disk: Int? = nil,
        _ body: (Gateway, Faults, String) throws -> Void
    ) throws {
        var setup = Gateway.Setup(Rules.words)
        if !audit.isEmpty { setup.audit = (["kernel off"] + audit).joined(separator: "\n    ") }
        if let timeout {
            setup.rexec = "authenticate file \"credentials\"\n    authentication-timeout \(timeout)"
        }
        try Gateway.with(setup, start: false) { gate throws in
            let folder = gate.state + "/audit"
            if let disk {
                Files.makeDirectory(folder, mode: 0o700)
                let options = "size=\(disk),mode=0700"
                try #require(
                    try Child.run("/bin/mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder]).outcome == .status(0))
            }
            defer {
                if disk != nil {
                    gate.stop()
                    _ = try? Child.run("/bin/umount", ["-l", folder])
                }
            }
            let control = gate.directory + "/faults"
            try Files.write(String(repeating: "\0", count: 4_096), to: control, mode: 0o600)
            let compiler = try #require(Host.compiler)
            let library = gate.directory + "/faults.so"
            let made = try Child.run(
                compiler,
                [
                    "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DCONTROL=\"\(control)\"", "-o", library,
                    Host.package + "/Tests/RegressTests/Faults/faults.c",
                ])
            try #require(made.outcome == .status(0), "\(made)")
            try gate.writeEtc("ld.so.preload", library + "\n")
            try gate.start()
            let key = Files.text(gate.state + "/audit/checkpoints.vkey")
            try body(gate, Faults(path: control), key.trimmingCharacters(in: .whitespacesAndNewlines))
        }
    }

    private func serves(_ gate: Gateway) -> Bool {
        gate.wait(within: 30_000) {
            (try? Conversation.rexec(gate, as: Gateway.target, "/bin/echo served").answer())?.isAccepted ?? false
        }
    }

    /// Whether a command ran.
    private func runs(_ gate: Gateway) throws -> Bool {
        try Conversation.rexec(gate, as: Gateway.target, "/bin/echo ran").answer().isAccepted
    }

    /// All lines of all segments.
    private func wholeTrail(_ gate: Gateway) throws -> [TrailLine] {
        let folder = gate.state + "/audit"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter {
            $0 == "trail.log" || $0.hasPrefix("trail.log.0")
        }
        let order = names.filter { $0 != "trail.log" }.sorted() + ["trail.log"]
        return order.flatMap { Files.text(folder + "/" + $0).split(separator: "\n").map { TrailLine(String($0)) } }
    }

    /// Stops the gateway, and holds the trail against what was served; the key is the one from its beginning.
    private func expectWhole(_ gate: Gateway, ran: Int, key: String) throws {
        gate.stop()
        let verified = try Child.run(
            Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state, "--key", key])
        #expect(verified.outcome == .status(0), "\(verified)")
        #expect(!verified.outText.contains("not covered"), "the last checkpoint is of the end: \(verified)")
        let lines = try wholeTrail(gate)
        let starts = lines.filter { $0.type == "USER_CMD" }.compactMap { $0["session"] }
        let ends = lines.filter { $0.type == "USER_END" }.compactMap { $0["session"] }
        // A command may have been recorded and not run; none has run and is not recorded.
        #expect(Set(starts).count >= ran, "\(ran) commands ran, and \(starts.count) are recorded")
        #expect(Set(starts).subtracting(ends).isEmpty, "a command has no end")
        #expect(ends.count == Set(ends).count, "a command has two ends")
    }

    /// An I/O error (5), a full disk (28), a read-only file system (30), at write(2) and at fdatasync(2).
    @Test(
        arguments: [
            (Faults.write, 5), (Faults.write, 28), (Faults.write, 30), (Faults.sync, 5), (Faults.halfWrite, 28),
            (Faults.write | Faults.sync | Faults.rename, 5), (Faults.sync | Faults.truncate, 5),
            (Faults.sync | Faults.lose | Faults.truncate, 5),
        ] as [(UInt8, Int32)])
    func aDiskThatFailsRefusesAndIsWrittenAgainWhenItIsBack(calls: UInt8, code: Int32) throws {
        try with(audit: ["checkpoint 300ms"]) { gate, faults, key throws in
            var ran = 0
            let running = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat")
            #expect(running.primary.receive(count: 1) == [0])
            ran += 1
            try faults.set(calls, errno: code)
            for _ in 0..<5 {
                let hasRun = try runs(gate)
                #expect(!hasRun, "a command ran that could not be recorded")
                if hasRun { ran += 1 }
            }
            #expect(gate.wait { gate.log.contains("the trail cannot be written") })
            // A command that runs meanwhile goes on, and its end is recorded when the disk is back.
            running.primary.shutdownWrites()
            #expect(running.answer().primaryEnd == .endOfFile)
            Moment.sleep(700)
            try faults.set(0)
            #expect(serves(gate), "it does not recover")
            ran += 1
            #expect(try wholeTrail(gate).contains { $0.text.contains("op=trail-writable") })
            try expectWhole(gate, ran: ran, key: key)
            expectNothingAside(gate)
        }
    }

    /// Nothing of the trail was torn, broken or moved away.
    private func expectNothingAside(_ gate: Gateway) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: gate.state + "/audit")) ?? []
        #expect(names.allSatisfy { !$0.contains("torn") && !$0.contains("broken") }, "\(names)")
    }

    /// In batches a command runs before its record is on disk. One synchronisation fails, and what was not synchronised is
    /// gone with it: the auditor still has it, writes it again, and says so.
    @Test(arguments: ["refuse", "continue"])
    func aBatchThatIsLostOnceIsWrittenAgain(onFailure: String) throws {
        try with(audit: ["durability batch", "on-failure \(onFailure)", "checkpoint 1h"]) { gate, faults, key throws in
            var ran = 0
            for _ in 0..<3 {
                let before = try wholeTrail(gate).count
                try faults.set(Faults.sync | Faults.lose, errno: 5, times: 1)
                for _ in 0..<4 {
                    if try runs(gate) { ran += 1 }
                }
                #expect(gate.wait { try! wholeTrail(gate).dropFirst(before).contains { $0["op"] == "trail-writable" } })
                #expect(serves(gate))
                ran += 1
            }
            #expect(ran > 3, "no command ran before its record was on disk")
            #expect(gate.log.contains("the trail cannot be written"))
            #expect(gate.log.contains("the trail can be written again"))
            #expect(try !wholeTrail(gate).contains { ["trail-lost", "trail-broken"].contains($0["op"]) })
            try expectWhole(gate, ran: ran, key: key)
            expectNothingAside(gate)
        }
    }

    /// A disk that goes on failing while batches are not synchronised: what `on-failure` says holds from then on.
    @Test(arguments: ["refuse", "continue"])
    func batchesOnADiskThatFailsAreRefusedOrGoOn(onFailure: String) throws {
        try with(audit: ["durability batch", "on-failure \(onFailure)", "checkpoint 300ms"]) {
            gate, faults, key throws in
            #expect(serves(gate))
            var ran = 1
            try faults.set(Faults.sync | Faults.lose | Faults.truncate, errno: 5)
            if try runs(gate) { ran += 1 }
            #expect(gate.wait { gate.log.contains("the trail cannot be written") })
            for _ in 0..<4 {
                let hasRun = try runs(gate)
                #expect(hasRun == (onFailure == "continue"))
                if hasRun { ran += 1 }
            }
            if onFailure == "continue" { #expect(gate.log.contains("requests go on unrecorded")) }
            Moment.sleep(400)
            try faults.set(0)
            #expect(gate.wait { gate.log.contains("the trail can be written again") })
            #expect(serves(gate))
            try expectWhole(gate, ran: ran + 1, key: key)
            expectNothingAside(gate)
        }
    }

    /// A small disk that is really full: what cannot be recorded is refused, and goes on by itself when there is room.
    @Test func aFullDiskRefusesAndGoesOnWhenThereIsRoom() throws {
        try with(audit: ["checkpoint 200ms"], disk: 192 << 10) { gate, _, key throws in
            var ran = 0
            for round in 0..<3 {
                let running = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat")
                #expect(running.primary.receive(count: 1) == [0])
                ran += 1
                let ballast = gate.state + "/audit/ballast"
                let dd = try Child.run("/bin/dd", ["if=/dev/zero", "of=\(ballast)", "bs=4096", "status=none"])
                #expect(dd.outcome == .status(1), "the disk is not full: \(dd)")
                // The last page of the file may have room for some.
                var refused = 0
                for _ in 0..<40 where refused < 3 {
                    if try runs(gate) { ran += 1 } else { refused += 1 }
                }
                #expect(refused == 3)
                running.primary.shutdownWrites()
                #expect(running.answer().primaryEnd == .endOfFile)
                Moment.sleep(600)
                let names = try FileManager.default.contentsOfDirectory(atPath: gate.state + "/audit")
                #expect(names.count <= 6, "something grows: \(names)")
                // The auditor ends meanwhile, and starts on a full disk.
                if round == 1, let auditor = gate.helper("auditor") { kill(auditor.pid, SIGKILL) }
                Files.remove(ballast)
                #expect(serves(gate), "it does not recover")
                ran += 1
            }
            try expectWhole(gate, ran: ran, key: key)
        }
    }

    /// The trail's file system is remounted read-only and writable again. Linux does the first of them only while nobody has a
    /// file open for writing there, or by itself after an error (which other drills have): so the auditor is killed, and the
    /// monitor, which would start another, stands still meanwhile.
    @Test func aReadOnlyFileSystemRefusesAndGoesOnWhenItIsWritable() throws {
        try with(audit: ["checkpoint 200ms"], disk: 4 << 20) { gate, _, key throws in
            let running = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat")
            #expect(running.primary.receive(count: 1) == [0])
            var ran = 1
            let monitor = try #require(gate.daemon).pid
            let auditor = try #require(gate.helper("auditor"))
            kill(monitor, SIGSTOP)
            defer { kill(monitor, SIGCONT) }
            kill(auditor.pid, SIGKILL)
            let remount = { (how: String) in
                try Child.run("/bin/mount", ["-o", "remount,\(how)", gate.state + "/audit"]).outcome == .status(0)
            }
            #expect(gate.wait { (try? remount("ro")) ?? false }, "it is not made read-only")
            kill(monitor, SIGCONT)
            for _ in 0..<4 {
                #expect(try !runs(gate))
            }
            #expect(gate.wait { gate.log.contains("Read-only file system") }, "it is not said why")
            running.primary.shutdownWrites()
            #expect(running.answer().primaryEnd == .endOfFile)
            #expect(try remount("rw"))
            #expect(serves(gate), "it does not recover")
            ran += 1
            try expectWhole(gate, ran: ran, key: key)
            expectNothingAside(gate)
        }
    }

    /// The clock is set back by a day, again while the auditor is started anew, and forward again: order is the numbers', and
    /// nothing waits for a time that was before.
    @Test func aClockThatIsSetBackLosesNothing() throws {
        try with(audit: ["checkpoint 200ms"]) { gate, faults, key throws in
            var ran = 0
            for (round, seconds) in [0, 86_400, 7_200, 172_800, 0].enumerated() {
                try faults.setClockBack(seconds: seconds)
                #expect(serves(gate))
                ran += 1
                let before = Files.text(gate.state + "/audit/checkpoints").utf8.count
                #expect(serves(gate))
                ran += 1
                #expect(
                    gate.wait { Files.text(gate.state + "/audit/checkpoints").utf8.count > before }, "no checkpoint")
                let rotate = ["audit", "rotate", "--runtime-directory", gate.runtime]
                #expect(try Child.run(Host.own("portcullis"), rotate).outcome == .status(0))
                guard round == 3, let auditor = gate.helper("auditor") else { continue }
                kill(auditor.pid, SIGKILL)
            }
            let times = try wholeTrail(gate).compactMap { line -> Double? in
                guard let range = line.text.range(of: "msg=audit(") else { return nil }
                return Double(line.text[range.upperBound...].prefix { $0 != ":" })
            }
            #expect(zip(times, times.dropFirst()).contains { $1 < $0 - 80_000 }, "the clock was not set back")
            try expectWhole(gate, ran: ran, key: key)
            let last = try Child.run(
                Host.own("portcullis"), ["audit", "last", "--state-directory", gate.state, "-n", "0"])
            #expect(last.outcome == .status(0))
            #expect(last.outText.components(separatedBy: "exit 0").count - 1 == ran, "\(last.outText)")
        }
    }

    /// The auditor ends, as killed, at one call after the other of those that reach the disk: within a batch, a checkpoint and
    /// the closing of a segment.
    @Test func anAuditorThatIsKilledAtAnyStepLosesNothing() throws {
        try with(audit: ["checkpoint 100ms"]) { gate, faults, key throws in
            var ran = 0
            for step in UInt8(1)...24 {
                try faults.set(0, endingAfter: step)
                var rounds = 0
                while faults.left > 0, rounds < 40 {
                    rounds += 1
                    if try runs(gate) { ran += 1 }
                    if step % 2 == 0 {
                        _ = try Child.run(
                            Host.own("portcullis"), ["audit", "rotate", "--runtime-directory", gate.runtime])
                    }
                    Moment.sleep(60)
                }
                #expect(faults.left == 0, "it did not come to step \(step)")
                #expect(serves(gate), "it does not recover from step \(step)")
                ran += 1
            }
            let rotate = ["audit", "rotate", "--runtime-directory", gate.runtime]
            #expect(try Child.run(Host.own("portcullis"), rotate).outcome == .status(0))
            try expectWhole(gate, ran: ran, key: key)
            let folder = try FileManager.default.contentsOfDirectory(atPath: gate.state + "/audit")
            #expect(!folder.contains("checkpoints.key.next"))
            #expect(folder.filter { $0.hasPrefix("trail.log.0") }.count > 0, "\(folder)")
        }
    }

    /// The auditor may open no more files: a session's channel cannot be taken, so it ends and another one does.
    @Test func anAuditorWithoutDescriptorsIsReplaced() throws {
        try with { gate, faults, key throws in
            let first = try #require(gate.helper("auditor"))
            try faults.limitNext(descriptors: 13)
            kill(first.pid, SIGKILL)
            #expect(gate.wait { gate.helper("auditor").map { $0.pid != first.pid } ?? false })
            let limited = try #require(gate.helper("auditor"))
            let clients = try (0..<12).map { _ in try Conversation.rexec(gate, as: Gateway.target, "/bin/cat") }
            #expect(gate.wait { gate.helper("auditor").map { $0.pid != limited.pid } ?? false }, "it was not felt")
            for client in clients { client.primary.shutdownWrites() }
            let ran = clients.map { $0.answer() }.count { $0.isAccepted }
            #expect(serves(gate))
            try expectWhole(gate, ran: ran + 1, key: key)
        }
    }

    /// An auditor that is stopped holds up what needs a record, and nothing is lost when it goes on.
    @Test func anAuditorThatIsStoppedAndGoesOnLosesNothing() throws {
        try with(timeout: "2s") { gate, _, key throws in
            let auditor = try #require(gate.helper("auditor"))
            kill(auditor.pid, SIGSTOP)
            let clients = try (0..<5).map { _ in try Conversation.rexec(gate, as: Gateway.target, "/bin/echo ran") }
            for client in clients { #expect(!client.answer().isAccepted, "it ran without a record") }
            kill(auditor.pid, SIGCONT)
            #expect(serves(gate))
            try expectWhole(gate, ran: 1, key: key)
        }
    }

    /// The auditor stands still at any of the calls that reach the disk: what needs a record does not run meanwhile, and all
    /// goes on with it.
    @Test func anAuditorThatIsStoppedAtAnyStepHoldsUpWhatNeedsARecord() throws {
        try with(audit: ["checkpoint 100ms"], timeout: "1s") { gate, faults, key throws in
            var ran = 0
            for step in UInt8(1)...16 {
                try faults.hold(at: step)
                var clients: [Conversation] = []
                #expect(
                    gate.wait {
                        if clients.count < 4 || clients.count % 20 == 0,
                            let client = try? Conversation.rexec(gate, as: Gateway.target, "/bin/echo ran")
                        {
                            clients.append(client)
                        }
                        Moment.sleep(20)
                        return faults.isHeld
                    }, "it did not come to step \(step)")
                let auditor = try #require(gate.helper("auditor"))
                kill(auditor.pid, SIGSTOP)
                try faults.release()
                let late = try Conversation.rexec(gate, as: Gateway.target, "/bin/echo ran")
                #expect(!late.answer().isAccepted, "it ran without a record, at step \(step)")
                kill(auditor.pid, SIGCONT)
                ran += clients.map { $0.answer() }.count { $0.isAccepted }
                #expect(serves(gate), "it does not recover from step \(step)")
                ran += 1
            }
            try expectWhole(gate, ran: ran, key: key)
            expectNothingAside(gate)
        }
    }

    /// A second gateway on one state directory does not start, and the first one's trail is as it was.
    @Test func twoGatewaysDoNotShareATrail() throws {
        try with { gate, _, key throws in
            let second = try Child.run(
                Host.own("portcullisd"),
                [
                    "--policy", gate.policyPath, "--state-directory", gate.state, "--runtime-directory",
                    gate.directory + "/second",
                ])
            #expect(second.outcome != .status(0))
            #expect(second.errText.contains("another portcullisd uses"), "\(second)")
            #expect(serves(gate))
            try expectWhole(gate, ran: 1, key: key)
        }
    }
}

/// Segments, checkpoints and their copies, with the real programs.
@Suite("Checkpoints and segments", .needsBuild)
struct CheckpointTests {
    @Test func aSegmentIsClosedWhileCommandsRun() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.audit = "kernel off\n    checkpoint 1h"
        try Gateway.with(setup) { gate throws in
            let running = try Conversation.rexec(gate, as: Gateway.target, "/bin/cat")
            #expect(running.primary.receive(count: 1) == [0])
            _ = try gate.record("USER_CMD")
            let rotate = {
                try Child.run(Host.own("portcullis"), ["audit", "rotate", "--runtime-directory", gate.runtime])
            }
            let first = try rotate()
            #expect(first.outcome == .status(0) && first.outText.isEmpty && first.errText.isEmpty, "\(first)")
            running.primary.shutdownWrites()
            #expect(running.answer().primaryEnd == .endOfFile)
            #expect(try gate.record("USER_END")["status"] == "0")
            #expect(try rotate().outcome == .status(0))
            let status = try Child.run(Host.own("portcullis"), ["status", "--runtime-directory", gate.runtime])
            #expect(status.outText.contains(", last checkpoint "), "\(status)")
            gate.stop()
            let folder = gate.state + "/audit/"
            let closed = try FileManager.default.contentsOfDirectory(atPath: folder)
                .filter { $0.hasPrefix("trail.log.0") }.sorted()
            #expect(closed.count == 2 && closed.first == "trail.log.000000000001")
            let verified = try Child.run(Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state])
            #expect(verified.outcome == .status(0) && verified.outText.contains(" in 3 segments, 3 checkpoints: whole"))
            if let ausearch = Host.program("ausearch") {
                for name in closed + ["trail.log"] {
                    let found = try Child.run(ausearch, ["-if", folder + name])
                    let lines = found.outText.split(separator: "\n").filter { $0.hasPrefix("type=") }
                    #expect(lines.count == Files.text(folder + name).split(separator: "\n").count, "\(name)")
                }
            }
            #expect(gate.log.contains("keep it on another host"))
            let key = Files.text(folder + "checkpoints.vkey").trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(gate.log.contains(key))
        }
        let none = try Child.run(Host.own("portcullis"), ["audit", "rotate", "--runtime-directory", "/nonexistent"])
        #expect(none.outcome == .status(4))
    }

    /// The key is lost between two runs of the gateway: commands run, the log has the new key, and `verify` says what is the
    /// matter until it is given that key, too.
    @Test func aLostKeyIsNamedAndCanBeVouchedFor() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.audit = "kernel off\n    checkpoint 100ms"
        try Gateway.with(setup) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
            gate.stop()
            let folder = gate.state + "/audit/"
            let first = Files.text(folder + "checkpoints.vkey").trimmingCharacters(in: .whitespacesAndNewlines)
            Files.remove(folder + "checkpoints.key")
            try gate.start()
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
            gate.stop()
            let told = "signed from this key on: "
            let keys = gate.log.components(separatedBy: told).dropFirst().map { $0.prefix { $0 != ":" && $0 != " " } }
            #expect(keys.count == 2 && keys.first.map(String.init) == first, "\(keys)")
            let new = String(try #require(keys.last))
            let verify = ["audit", "verify", "--state-directory", gate.state]
            let run = try Child.run(Host.own("portcullis"), verify)
            #expect(run.outcome == .status(1) && run.outText.contains("a new run of keys begins"), "\(run)")
            #expect(run.outText.contains("run 2 of keys:") && run.outText.contains("from key \(new)"), "\(run)")
            let vouched = try Child.run(Host.own("portcullis"), verify + ["--key", first, "--key", new])
            #expect(vouched.outcome == .status(0) && vouched.outText.contains(": whole\n"), "\(vouched)")
            let noted = Files.text(gate.trailPath).split(separator: "\n").filter {
                $0.contains("op=checkpoints-broken")
            }
            #expect(noted.count == 1)
        }
    }

    /// A syslog of the test's own: every checkpoint comes as a message, and `verify` takes it as it came.
    @Test(.needsRoot) func aCheckpointLeavesThroughSyslog() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.audit = "kernel off\n    checkpoint 200ms"
        // The gateway's own /dev, with the test's socket in syslog's place.
        setup.mounts = """
            mkdir $DIR/dev && mount -t tmpfs -o mode=755 dev $DIR/dev \
            && cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty $DIR/dev && mkdir $DIR/dev/pts $DIR/dev/shm \
            && ln -s /proc/self/fd $DIR/dev/fd && ln -s $DIR/syslog $DIR/dev/log && mount --bind $DIR/dev /dev
            """
        try Gateway.with(setup, start: false) { gate throws in
            // perl writes each message to a file, with newlines as rsyslog writes them.
            let script = """
                use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die;
                chmod 0666, $ARGV[0]; open(my $o, ">>", $ARGV[1]) or die; $o->autoflush(1);
                use IO::Handle; while (defined recv($s, my $m, 8192, 0)) { $m =~ s/\\n/#012/g; print $o "$m\n" }
                """
            let messages = gate.directory + "/messages"
            let start = {
                Files.remove(gate.directory + "/syslog")
                let child = try Child("/usr/bin/perl", ["-e", script, gate.directory + "/syslog", messages])
                gate.wait { FileManager.default.fileExists(atPath: gate.directory + "/syslog") }
                return child
            }
            let log = try start()
            try gate.start()
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            #expect(gate.wait { Files.text(messages).contains("portcullis-auditor[") })
            // It is started again: the next ones come to the new one.
            log.send(SIGKILL)
            _ = log.wait(within: 5_000)
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            Moment.sleep(500)
            let before = Files.text(messages).split(separator: "\n").count
            let other = try start()
            _ = try Conversation.rexec(gate, as: Gateway.target, "id").answer()
            #expect(gate.wait { Files.text(messages).split(separator: "\n").count > before })
            gate.stop()
            other.send(SIGKILL)
            _ = other.wait(within: 5_000)
            let arguments = ["audit", "verify", "--state-directory", gate.state, "--checkpoint", messages]
            let verified = try Child.run(Host.own("portcullis"), arguments)
            #expect(verified.outcome == .status(0), "\(verified)")
            // The trail is cut behind what left the host.
            let lines = Files.text(gate.trailPath).split(separator: "\n").dropLast(8)
            try Files.write(lines.joined(separator: "\n") + "\n", to: gate.trailPath, mode: 0o600)
            Files.remove(gate.state + "/audit/checkpoints")
            #expect(try Child.run(Host.own("portcullis"), arguments).outcome == .status(1))
        }
    }

    /// Without a syslog nothing is refused, and the log says so.
    @Test(.enabled(if: !FileManager.default.fileExists(atPath: "/dev/log"), "this host has a syslog"))
    func withoutASyslogItIsSaid() throws {
        try Gateway.with(Rules.words) { gate throws in
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
            #expect(gate.wait { gate.log.contains("no syslog at /dev/log") })
        }
    }
}
