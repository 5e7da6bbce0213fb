// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// The processes have their roles and uids; one that dies is replaced; and nothing runs unpermitted meanwhile.
@Suite("Helpers and the monitor", .needsBuild)
struct HelpersTests {
    @Test func psShowsEachProcessWithItsRole() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            let titles = gate.members.map(\.arguments)
            #expect(titles.contains { $0.hasPrefix("portcullisd: monitor [priv]") }, "\(titles)")
            #expect(titles.contains { $0.hasPrefix("portcullis-front [net]") }, "\(titles)")
            #expect(titles.contains { $0.hasPrefix("portcullis-engine [policy]") }, "\(titles)")
            #expect(titles.contains { $0.hasPrefix("portcullis-auditor [audit]") }, "\(titles)")
            let session = "portcullisd: session \(Gateway.target) rexec 127.0.0.1 [priv]"
            #expect(titles.contains { $0.hasPrefix(session) }, "\(titles)")
            client.primary.reset()
        }
    }

    @Test(.needsRoot) func eachHelperHasAUidOfItsOwnAndNoCapability() throws {
        try Gateway.with(Rules.words) { gate throws in
            let helpers = ["front", "engine", "auditor"].compactMap { gate.helper($0) }
            #expect(helpers.count == 3)
            #expect(Set(helpers.map(\.uid)).count == 3)
            #expect(!helpers.contains { $0.uid == 0 })
            for helper in helpers {
                let status = Files.text("/proc/\(helper.pid)/status")
                #expect(status.contains("NoNewPrivs:\t1"), "\(helper.arguments)")
                #expect(status.contains("Seccomp:\t2"), "\(helper.arguments)")
                let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") } ?? ""
                let bits = line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? .max
                #expect(bits == 0, "\(helper.arguments) has capabilities \(line)")
            }
        }
    }

    @Test(arguments: ["front", "engine", "auditor"])
    func aHelperThatIsKilledIsReplaced(name: String) throws {
        try Gateway.with(Rules.words) { gate throws in
            let first = try #require(gate.helper(name))
            kill(first.pid, SIGKILL)
            #expect(gate.wait { gate.helper(name).map { $0.pid != first.pid } ?? false }, "not replaced")
            let served = gate.wait {
                (try? Conversation.rexec(gate, as: Gateway.target, "/bin/echo x").answer())?.output == "x\n"
            }
            #expect(served, "the gateway is dead")
            let stop = try gate.record("SERVICE_STOP")
            #expect(stop.text.contains(name))
            gate.stop()
            let verified = try Child.run(
                Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state])
            #expect(verified.outcome == .status(0), "\(verified)")
        }
    }

    /// The monitor's sends never block: a helper that does not read holds up what needs it, and nothing else.
    @Test(arguments: ["front", "engine", "auditor"])
    func aHelperThatStopsDoesNotStopTheMonitor(name: String) throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    authentication-timeout 2s"
        try Gateway.with(setup) { gate throws in
            let helper = try #require(gate.helper(name))
            kill(helper.pid, SIGSTOP)
            defer { kill(helper.pid, SIGCONT) }
            let clients = try (0..<20).map { _ in
                try Conversation.rexec(gate, as: Gateway.target, "/bin/echo ran")
            }
            let arguments = ["status", "--runtime-directory", gate.runtime]
            let status = try Child.run(Host.own("portcullis"), arguments, within: 10_000)
            #expect(status.outcome == .status(0), "the monitor does not answer: \(status)")
            if name != "front" {
                for client in clients {
                    #expect(client.answer().primary == Array("\u{1}Login incorrect.\n".utf8), "it was not refused")
                }
                #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" })
            }
            kill(helper.pid, SIGCONT)
            let served = gate.wait {
                (try? Conversation.rexec(gate, as: Gateway.target, "/bin/echo x").answer())?.output == "x\n"
            }
            #expect(served)
        }
    }

    /// Requests go on while helpers are killed at random moments: each gets its own answer, a refusal or an end, and nothing
    /// that is not permitted ever runs.
    @Test func noMomentOfAHelpersDeathRunsWhatIsNotPermitted() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var setup = Gateway.Setup(
            "permit x: rexec from 127.0.0.0/8 as \(Gateway.target) run \"/usr/bin/echo permitted\"")
        setup.refusalDelay = "50ms"
        try Gateway.with(setup) { gate throws in
            var accepted = 0
            for round in 0..<40 {
                let isPermitted = round % 2 == 0
                let command = isPermitted ? "/bin/echo permitted" : "/bin/echo forbidden"
                let client = try? Conversation.rexec(gate, as: Gateway.target, command)
                Moment.sleep(next(12))
                if round % 3 == 0, let helper = gate.helper(["front", "engine", "auditor"][next(3)]) {
                    kill(helper.pid, SIGKILL)
                }
                guard let answer = client?.answer(within: 15_000) else { continue }
                if answer.isAccepted { accepted += 1 }
                #expect(!answer.output.contains("forbidden"), "an unpermitted command ran")
                #expect(answer.primaryEnd != .stillOpen, "a client was left without an end: \(answer)")
            }
            #expect(
                gate.wait {
                    (try? Conversation.rexec(gate, as: Gateway.target, "/bin/echo permitted").answer())?.isAccepted
                        ?? false
                })
            #expect(gate.trail.allSatisfy { $0.type != "USER_CMD" || !($0.value("cmd") ?? "").contains("forbidden") })
            print("\(accepted) of 20 were accepted meanwhile")
        }
    }

    @Test func theMonitorsDeathEndsEverythingAndTheNextStartRecordsIt() throws {
        try Gateway.with(Rules.words) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            let members = gate.members
            gate.daemon?.send(SIGKILL)
            _ = gate.daemon?.wait(within: 10_000)
            let gone = gate.wait {
                members.allSatisfy { !Files.text("/proc/\($0.pid)/cmdline").hasPrefix("portcullis") }
            }
            #expect(gone, "a process outlived the monitor")
            #expect(client.answer().primaryEnd != .stillOpen)
            try gate.start()
            #expect(try Conversation.rexec(gate, as: Gateway.target, "id").answer().isAccepted)
        }
    }

    // MARK: - Reload and drain

    @Test func hangUpReloadsThePolicy() throws {
        try Gateway.with(Rules.words) { gate throws in
            try gate.writePolicy(rules: "")
            gate.daemon?.send(SIGHUP)
            let refused = gate.wait {
                (try? Conversation.rexec(gate, as: Gateway.target, "id").answer())?.status == 1
            }
            #expect(refused, "the old policy is still in force")
            let loads = gate.trail.filter { $0.type == "USYS_CONFIG" && $0["res"] == "success" }
            #expect(Set(loads.compactMap { $0["revision"] }).count == 2)
        }
    }

    @Test func termLetsSessionsEnd() throws {
        try Gateway.with(Rules.shell()) { gate throws in
            let client = try Conversation.rexec(gate, as: Gateway.target, "sleep 2; echo finished")
            #expect(client.primary.receive(count: 1) == [0])
            gate.daemon?.send(SIGTERM)
            let closed = gate.wait { (try? Socket.connect(to: gate.endpoint(.rexec))) == nil }
            #expect(closed, "it still accepts")
            #expect(client.answer().primary == Array("finished\n".utf8))
            #expect(gate.daemon?.wait(within: 15_000) == .status(0))
            #expect(gate.trail.contains { $0.type == "USER_END" && $0["status"] == "0" })
            #expect(gate.trail.last?.type == "SERVICE_STOP")
        }
    }

    @Test func statusTellsWhatIsServed() throws {
        try Gateway.with(Rules.words) { gate throws in
            let arguments = ["status", "--runtime-directory", gate.runtime]
            let status = try Child.run(Host.own("portcullis"), arguments)
            #expect(status.outcome == .status(0), "\(status)")
            #expect(status.outText.contains("\(gate.endpoint(.rexec))"))
            #expect(status.outText.contains("sha256:"))
            gate.stop()
            #expect(try Child.run(Host.own("portcullis"), arguments).outcome == .status(4))
        }
    }

    @Test func anAddressThatCannotBeBoundIsSaidWithWhatToDo() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\""
        try Gateway.with(setup, start: false) { gate throws in
            let other = try Socket.listen(on: gate.address, port: gate.endpoint(.rexec).port)
            try gate.launch()
            #expect(gate.daemon?.wait(within: 15_000) == .status(1))
            #expect(gate.log.contains("\(gate.endpoint(.rexec))"), "\(gate.log)")
            other.close()
        }
    }
}
