// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import TestSupport
import Testing

/// Any process of the gateway is killed at any moment: no command runs without its durable start record, each start has one
/// end, the chain is unbroken, and the gateway serves again by itself, the monitor's after a start.
@Suite("Kills", .needsBuild, .needsRoot)
struct KillTests {
    private static func number(_ name: String, _ otherwise: Int) -> Int {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? otherwise
    }

    /// Clients that are under way, and those that are heard to their end later.
    private final class Load {
        private let gate: Gateway
        private let evidence: Evidence
        private var children: [Child] = []
        private var conversations: [Conversation] = []
        private var count = 0

        init(_ gate: Gateway) {
            self.gate = gate
            evidence = Evidence(gate: gate)
        }

        /// Starts a client: netkit's rsh, our own, or bytes on a socket; both services, with and without a secondary; some are
        /// refused.
        func start(_ random: inout SeededGenerator) throws {
            count += 1
            let rest =
                ["exit 0", "exit 0", "echo x; echo y >&2", "cat", "sleep 0.03", "sleep 0.5"]
                .randomElement(using: &random) ?? ""
            let command = evidence.command("k\(count)", then: rest)
            let address = "\(gate.address)"
            let password = UInt8.random(in: 0..<10, using: &random) == 0 ? "wrong" : Gateway.password
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                let rsh = Host.program("netkit-rsh") ?? Host.own("rsh")
                children.append(try Child(rsh, ["-n", "-l", Gateway.target, address, command]))
            case 1: children.append(try Child(Host.own("rsh"), ["-n", "-l", Gateway.target, address, command]))
            case 2, 3:
                let apart = Bool.random(using: &random) ? [] : ["-a"]
                let words = ["-n", "-l", Gateway.target, "-p", password] + apart + [address, command]
                children.append(try Child(Host.own("rexec"), words))
            // The gateway may be away at this moment.
            case 4:
                let client = try? Conversation.rsh(gate, as: Gateway.target, command)
                if let client { conversations.append(client) }
            default:
                let client = try? Conversation.rexec(gate, as: Gateway.target, password: password, command)
                if let client { conversations.append(client) }
            }
        }

        /// Whether a request is served; it is under way elsewhere while it is not.
        func isServed() -> Bool {
            count += 1
            let command = evidence.command("k\(count)", then: "echo served")
            let answer = try? Conversation.rexec(gate, as: Gateway.target, command).answer(within: 5_000)
            return answer?.output == "served\n"
        }

        /// Takes away clients that have ended; at the end, all of them.
        func reap(all: Bool = false) {
            for client in conversations { client.primary.shutdownWrites() }
            if all {
                for client in conversations { _ = client.answer(within: 10_000) }
                for child in children { _ = child.finish(within: 10_000) }
            }
            if all || conversations.count > 64 { conversations = [] }
            children.removeAll { $0.wait(within: 0) != .stillRunning }
        }
    }

    /// `PORTCULLIS_KILLS` kills (docs/testing.md), with `PORTCULLIS_SEED`, under the load of clients.
    @Test func anyProcessIsKilledAtAnyMoment() throws {
        let (kills, seed) = (Self.number("PORTCULLIS_KILLS", 40), Self.number("PORTCULLIS_SEED", 1))
        var random = SeededGenerator(seed: UInt64(seed))
        var setup = Gateway.Setup(Evidence.rules)
        setup.rexec = "authenticate file \"credentials\"\n    sessions 500 per-source 500"
        setup.rsh = "trust rule\n    account none\n    sessions 500 per-source 500"
        setup.refusalDelay = "20ms"
        // Small segments, so that starts and ends lie in several.
        setup.audit = "kernel off\n    checkpoint 1s\n    segment-size 64K"
        try Gateway.with(setup) { gate throws in
            let load = Load(gate)
            var killed: [Victim: Int] = [:]
            for round in 1...kills {
                let victim = Victim.allCases.randomElement(using: &random) ?? .session
                guard try kill(victim, of: gate, load, &random) else {
                    Issue.record("seed \(seed), round \(round): there was no \(victim)")
                    continue
                }
                killed[victim, default: 0] += 1
                if victim == .monitor {
                    #expect(gate.daemon?.wait(within: 10_000) == .signal(SIGKILL))
                    try gate.start()
                }
                #expect(gate.wait(within: 60_000) { load.isServed() }, "seed \(seed), round \(round): \(victim)")
                load.reap()
            }
            load.reap(all: true)
            let isQuiet = gate.wait(within: 60_000) { Victim.session.processes(of: gate).isEmpty }
            #expect(isQuiet)
            #expect(gate.stop() == .status(0))
            let evidence = Evidence(gate: gate)
            #expect(evidence.faults().isEmpty, "seed \(seed): \(evidence.faults())")
            #expect(try evidence.brokenChain().isEmpty)
            let ran = evidence.ran.count
            #expect(ran > kills / 2, "\(ran) commands ran")
            guard kills > 40 else { return }
            let counts = killed.sorted { $0.value > $1.value }.map { "\($0.key) \($0.value)" }
            print("\(kills) kills, seed \(seed): \(counts.joined(separator: ", "))")
            print("\(ran) commands ran, \(evidence.losses) starts had a lost end, \(evidence.records.count) records")
        }
    }

    /// Kills a process of a kind while requests are under way; false where none could be found.
    private func kill(
        _ victim: Victim, of gate: Gateway, _ load: Load, _ random: inout SeededGenerator
    ) throws -> Bool {
        for _ in 0..<50 {
            for _ in 0..<Int.random(in: 1...3, using: &random) { try load.start(&random) }
            if victim == .loader { gate.daemon?.send(SIGHUP) }
            let last = Moment.now + 200
            usleep(UInt32.random(in: 0..<25_000, using: &random))
            repeat {
                guard let pid = victim.processes(of: gate).randomElement(using: &random) else { continue }
                if Glibc.kill(pid, SIGKILL) == 0 { return true }
            } while Moment.now < last
        }
        return false
    }

    /// A start right after a kill can find the address still held by the former gateway's front.
    @Test func anAddressThatIsLetGoOfAtTheStartIsTaken() throws {
        try Gateway.with(Gateway.Setup(Rules.words), start: false) { gate throws in
            let former = try Socket.listen(on: gate.address, port: gate.endpoint(.rexec).port)
            try gate.launch()
            Moment.sleep(500)
            #expect(gate.daemon?.wait(within: 0) == .stillRunning, "\(gate.log)")
            former.close()
            #expect(gate.wait { gate.log.contains("ready:") }, "\(gate.log)")
        }
    }

    // MARK: Far back

    /// A command that began in a closed segment, and more than 8 MiB before the end: it goes on over an auditor's death, and has
    /// its lost end after the gateway's.
    @Test func aStartFarBackHasItsEnd() throws {
        var setup = Gateway.Setup(Rules.words)
        setup.rexec = "authenticate file \"credentials\"\n    command-length 65536"
        try Gateway.with(setup) { gate throws in
            let clients = try (0..<3).map { _ in try Conversation.rexec(gate, as: Gateway.target, "/bin/cat") }
            for client in clients { #expect(client.primary.receive(count: 1) == [0]) }
            let rotate = ["audit", "rotate", "--runtime-directory", gate.runtime]
            #expect(try Child.run(Host.own("portcullis"), rotate).outcome == .status(0))
            // Blanks stand in hexadecimal.
            let long = "/bin/true " + String(repeating: " ", count: 60_000)
            for _ in 0..<100 {
                #expect(try Conversation.rexec(gate, as: Gateway.target, long).answer().isAccepted)
            }
            let size = try FileManager.default.attributesOfItem(atPath: gate.trailPath)[.size] as? Int ?? 0
            #expect(size > 10 << 20, "\(size)")
            #expect(Files.exists(gate.state + "/audit/trail.sessions"))
            let evidence = Evidence(gate: gate)
            // The auditor alone: nothing that runs is lost.
            let auditor = try #require(gate.helper("auditor"))
            Glibc.kill(auditor.pid, SIGKILL)
            #expect(gate.wait { gate.helper("auditor").map { $0.pid != auditor.pid } ?? false })
            let isServed = gate.wait {
                (try? Conversation.rexec(gate, as: Gateway.target, "/bin/true").answer())?.isAccepted ?? false
            }
            #expect(isServed)
            clients[0].primary.shutdownWrites()
            #expect(clients[0].answer().primaryEnd == .endOfFile)
            // A session that dies has its end at once.
            #expect(gate.wait { Victim.session.processes(of: gate).count == 2 })
            let session = try #require(Victim.session.processes(of: gate).first)
            Glibc.kill(session, SIGKILL)
            let isSettled = gate.wait { evidence.faults(running: 1).isEmpty }
            #expect(isSettled, "\(evidence.faults(running: 1))")
            #expect(evidence.faults().count == 1, "one still runs")
            if !isSettled { gate.fail() }
            // The gateway: all that ran.
            gate.daemon?.send(SIGKILL)
            _ = gate.daemon?.wait(within: 10_000)
            try gate.start()
            let isRecovered = gate.wait { evidence.faults().isEmpty }
            #expect(isRecovered, "\(evidence.faults())")
            #expect(evidence.losses == 2)
            gate.stop()
            #expect(evidence.faults().isEmpty)
            #expect(try evidence.brokenChain(scripted: false).isEmpty)
        }
    }
}
