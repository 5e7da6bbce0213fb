// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Each process of the gateway is killed at each step of a request (docs/ARCHITECTURE.md, How a request travels): held there
/// by Faults/steps.c, which looks besides at every execve of a command for its durable start record.
@Suite("Kills at each step", .needsBuild, .needsRoot, .needsCompiler)
struct StepKillTests {
    /// The moments of a request that steps.c knows, by the number of their step.
    private static let moments = [
        "1-accepted",
        "2-handshake", "2-connecting-back",
        "3-handing-over", "3-assigning", "3-assigned",
        "4-asking", "4-answering", "4-decided",
        "5-checking",
        "6-refusing", "6-answering",
        "7-recording", "7-received", "7-writing", "7-written", "7-synchronising", "7-synchronised", "7-answering",
        "7-answered",
        "8-init", "8-command", "8-ready", "8-releasing", "8-released", "8-letting-go", "8-let-go", "8-status",
        "8-executing", "8-executed",
        "9-command-ends", "9-reporting", "9-recording", "9-writing", "9-written", "9-synchronised", "9-answered",
        "9-closing", "9-ending",
    ]

    /// A request of one of the two services, with or without a stderr connection.
    private struct Kind {
        let service: Service
        let separately: Bool

        static let all = [Service.rexec, .rsh].flatMap { service in
            [true, false].map { Kind(service: service, separately: $0) }
        }
    }

    /// `PORTCULLIS_STEPS=all` has every moment, each with both services, with and without a secondary; otherwise one moment a
    /// step, and one kind a moment, others for each process.
    private static let hasAll = ProcessInfo.processInfo.environment["PORTCULLIS_STEPS"] == "all"

    private static func plan(_ victim: Victim) -> [(moment: String, kind: Kind)] {
        let shift = Victim.allCases.firstIndex(of: victim) ?? 0
        func kinds(_ moment: String) -> [Kind] {
            Kind.all.filter { moment != "2-connecting-back" || $0.separately }
        }
        if hasAll { return moments.flatMap { moment in kinds(moment).map { (moment, $0) } } }
        return "123456789".enumerated().compactMap { index, step in
            let own = moments.filter { $0.first == step }
            let moment = own[shift * 2 % own.count]
            let kinds = kinds(moment)
            return (moment, kinds[(shift + index) % kinds.count])
        }
    }

    private func compile(into gate: Gateway) throws -> String {
        let program = gate.directory + "/steps"
        let source = Host.package + "/Tests/RegressTests/Faults/steps.c"
        let made = try Child.run(
            try #require(Host.compiler), ["-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source])
        try #require(made.outcome == .status(0), "\(made)")
        return program
    }

    private func ask(_ gate: Gateway, _ kind: Kind, _ command: String, isRefused: Bool) throws -> Conversation {
        switch kind.service {
        case .rexec:
            try .rexec(
                gate, as: Gateway.target, password: isRefused ? "wrong" : Gateway.password, command,
                separately: kind.separately)
        case .rsh:
            try .rsh(
                gate, by: isRefused ? "mallory" : "alice", as: Gateway.target, command, separately: kind.separately)
        }
    }

    @Test(arguments: Victim.allCases) func aProcessIsKilledAtEachStep(victim: Victim) throws {
        // The command writes the home in which the .rhosts is.
        var setup = Gateway.Setup(Evidence.rules + " self-trust")
        setup.rsh = "trust rhosts\n    account none"
        setup.refusalDelay = "20ms"
        try Gateway.with(setup) { gate throws in
            try gate.writeRhosts(of: Gateway.target, "127.0.0.1 alice\n\(gate.address) alice\n")
            let steps = try compile(into: gate)
            let evidence = Evidence(gate: gate)
            var kills = 0
            for (index, (moment, kind)) in Self.plan(victim).enumerated() {
                let place = "\(victim) at \(moment), \(kind)"
                let name = "s\(victim)\(index)x"
                let monitor = try #require(gate.daemon?.pid)
                let tracer = try Child(steps, ["\(monitor)", moment, victim.rawValue, name, gate.trailPath])
                #expect(gate.wait { tracer.outSoFar.contains("ready\n") }, "\(place)")
                let client = try? ask(gate, kind, evidence.command(name), isRefused: moment.hasPrefix("6"))
                let isOver = gate.wait { ["killed\n", "absent\n"].contains { tracer.outSoFar.contains($0) } }
                #expect(isOver, "\(place): \(tracer.outSoFar)")
                // Until the client is let go, whichever way: what runs meanwhile is looked at.
                _ = client?.answer(within: 10_000)
                tracer.send(SIGKILL)
                let said = tracer.finish().outText
                #expect(!said.contains("unrecorded"), "\(place): a command ran without a durable record")
                if said.contains("killed") { kills += 1 }
                if victim == .monitor {
                    #expect(gate.daemon?.wait(within: 10_000) == .signal(SIGKILL), "\(place)")
                    try gate.start()
                }
                let isServed = gate.wait(within: 60_000) {
                    let answer = try? Conversation.rexec(gate, as: Gateway.target, "echo served").answer(within: 5_000)
                    return answer?.output == "served\n"
                }
                #expect(isServed, "\(place)")
                let isSettled = gate.wait { evidence.faults().isEmpty }
                #expect(isSettled, "\(place): \(evidence.faults())")
                if !isOver || !isServed || !isSettled { gate.fail() }
            }
            // Spare, init and command are not there at every step.
            #expect(kills >= (Self.hasAll ? 20 : 1), "\(kills)")
            gate.stop()
            #expect(evidence.faults().isEmpty, "\(evidence.faults())")
            #expect(try evidence.brokenChain().isEmpty)
        }
    }
}
