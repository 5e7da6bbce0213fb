// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Sessions that were forked ahead: each serves one request, has nothing before it, and goes with what it was made of.
@Suite("Spare sessions", .needsBuild)
struct SpareSessionsTests {
    private static let title = "portcullisd: spare [priv]"

    /// As root, and as a plain user, who gets spares, too.
    private static let kinds = Host.isRoot ? [false, true] : [false]

    private func setup(asNobody: Bool) -> Gateway.Setup {
        let target = target(asNobody: asNobody)
        let rules = "permit own: any from 127.0.0.0/8 by any as \(target) run any sandbox strict"
        var setup = Gateway.Setup(asNobody || !Host.isRoot ? Rules.asPlainUser(rules) : rules)
        setup.asNobody = asNobody
        return setup
    }

    private func target(asNobody: Bool) -> String { asNobody ? "nobody" : Gateway.target }

    private func spares(_ gate: Gateway) -> Set<pid_t> {
        Set(gate.members.filter { $0.arguments.hasPrefix(Self.title) }.map(\.pid))
    }

    /// As many as there can be: those of this machine's processors.
    private let size = min(max(ProcessInfo.processInfo.activeProcessorCount * 2, 4), 8)

    /// The spares, once all are there.
    private func allSpares(_ gate: Gateway) throws -> Set<pid_t> {
        var found: Set<pid_t> = []
        gate.wait {
            found = spares(gate)
            return found.count == size
        }
        try #require(found.count == size, "\(gate.members.map(\.arguments))")
        return found
    }

    private func answer(_ gate: Gateway, as target: String, _ command: String = "/usr/bin/echo x") throws -> String {
        try Conversation.rexec(gate, as: target, command).answer().output
    }

    private func end(_ pids: Set<pid_t>) {
        for pid in pids { kill(pid, SIGKILL) }
    }

    /// Whether each has ended and was waited for.
    private func areGone(_ pids: Set<pid_t>) -> Bool { pids.allSatisfy { kill($0, 0) != 0 } }

    private func commandPIDs(_ gate: Gateway) -> [String] {
        gate.trail.filter { $0.type == "USER_CMD" }.compactMap { $0["pid"] }
    }

    // MARK: - One request each

    /// The session of a request is a process that was there before it, and none is a session twice. Passes without having
    /// looked where a number comes round within the test.
    @Test(arguments: kinds) func aSpareServesOneRequestAndNoOther(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            var before: [Set<pid_t>] = []
            for _ in 0..<6 {
                before.append(try allSpares(gate))
                #expect(try answer(gate, as: target(asNobody: asNobody)) == "x\n")
            }
            let served = commandPIDs(gate).compactMap { pid_t($0) }
            #expect(served.count == 6)
            #expect(Set(served).count == 6, "a process served twice: \(served)")
            for (pid, waiting) in zip(served, before) { #expect(waiting.contains(pid), "\(pid) is none of \(waiting)") }
            // Those that wait now have served nobody.
            #expect(try allSpares(gate).isDisjoint(with: served))
            // Each has a name of its own in the trail.
            #expect(Set(gate.trail.filter { $0.type == "USER_CMD" }.compactMap { $0["session"] }).count == 6)
        }
    }

    /// More clients at once than there are spares: the others' sessions are forked as they come, and nobody is refused.
    @Test(arguments: kinds) func aFloodIsServedAndMakesNoMoreSpares(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let target = target(asNobody: asNobody)
            let count = size * 2 + 4
            let waiting = try allSpares(gate)
            let clients = try (0..<count).map { _ in
                try Conversation.rexec(gate, as: target, "/bin/sleep 60", trailing: "")
            }
            let running = gate.wait(within: 60_000) { commandPIDs(gate).count == count }
            #expect(running, "\(commandPIDs(gate).count) of \(count) run")
            let served = Set(commandPIDs(gate).compactMap { pid_t($0) })
            #expect(served.count == count)
            #expect(waiting.isSubset(of: served), "spares were left while sessions were forked")
            #expect(spares(gate).count <= size)
            // They are no sessions: not in the table, and not against its limit.
            let table = try Child.run(Host.own("portcullis"), ["sessions", "--runtime-directory", gate.runtime])
            #expect(table.outText.split(separator: "\n").filter { $0.contains("sleep 60") }.count == count, "\(table)")
            let status = try Child.run(
                Host.own("portcullis"), ["status", "--json", "--runtime-directory", gate.runtime])
            #expect(
                status.outText.contains("\"running\":\(count)"),
                "\(status.outText)")
            for client in clients { client.primary.reset() }
            _ = try allSpares(gate)
        }
    }

    // MARK: - What it has

    /// Standard input, output and error, and its channel, whose end nobody else holds: nothing of a listener, a helper, the
    /// control socket, another spare or a request. Forked while sessions and helpers run, each of which has pairs with the
    /// monitor.
    @Test(arguments: kinds) func aSpareHasItsChannelAndNothingElse(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let first = try allSpares(gate)
            let clients = try (0..<3).map { _ in
                try Conversation.rexec(gate, as: target(asNobody: asNobody), "/bin/sleep 60")
            }
            for client in clients { #expect(client.primary.receive(count: 1) == [0]) }
            let later = try allSpares(gate).subtracting(first)
            #expect(!later.isEmpty, "none was forked while sessions ran")
            var holders: [String: Set<pid_t>] = [:]
            for member in gate.members {
                for (number, target) in descriptors(of: member.pid) where number > 2 && target.hasPrefix("socket:") {
                    holders[target, default: []].insert(member.pid)
                }
            }
            for pid in spares(gate) {
                let open = descriptors(of: pid)
                #expect(Set(open.keys) == [0, 1, 2, 3], "\(open)")
                let channel = open[3] ?? ""
                #expect(channel.hasPrefix("socket:"), "\(open)")
                #expect(holders[channel] == [pid], "its end is held by \(holders[channel] ?? [])")
            }
            for client in clients { client.primary.reset() }
        }
    }

    private func descriptors(of pid: pid_t) -> [Int: String] {
        let folder = "/proc/\(pid)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        var found: [Int: String] = [:]
        for name in names {
            guard let number = Int(name),
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)")
            else { continue }
            found[number] = target
        }
        return found
    }

    /// Nobody of the same uid reads its memory or traces it, as a session's.
    @Test(.needsRoot) func aSpareOfAPlainUserIsNotThatUsersToRead() throws {
        try Gateway.with(setup(asNobody: true)) { gate throws in
            for pid in try allSpares(gate) {
                let read = try Child.run(
                    "/usr/bin/setpriv",
                    ["--reuid=\(gate.setup.nobody)", "--clear-groups", "--", "/bin/cat", "/proc/\(pid)/maps"])
                #expect(read.outcome != .status(0))
            }
        }
    }

    // MARK: - What it was made of

    /// A spare has the policy of its fork: with a new one none of the old is left, and the next request is the new one's.
    @Test(arguments: kinds) func aReloadDismissesThoseOfTheFormerPolicy(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let target = target(asNobody: asNobody)
            let former = try allSpares(gate)
            let rules =
                "permit own: any from 127.0.0.0/8 by any as \(target) run \"/usr/bin/echo new\" sandbox strict"
            try gate.writePolicy(rules: gate.isRoot ? rules : Rules.asPlainUser(rules))
            let reload = try Child.run(Host.own("portcullis"), ["reload", "--runtime-directory", gate.runtime])
            #expect(reload.outcome == .status(0), "\(reload)")
            // At once, while the new ones are being made.
            #expect(try answer(gate, as: target, "/usr/bin/echo new") == "new\n")
            #expect(try Conversation.rexec(gate, as: target, "/usr/bin/echo x").answer().status == 1)
            let fresh = try allSpares(gate)
            #expect(fresh.isDisjoint(with: former))
            #expect(try answer(gate, as: target, "/usr/bin/echo new") == "new\n")
            let revisions = gate.trail.filter { $0.type == "USER_LOGIN" }.compactMap { $0["revision"] }
            #expect(Set(revisions).count == 1 && revisions.count == 3, "\(revisions)")
            #expect(!gate.log.contains("spare session died"), "what was dismissed was taken for a death")
        }
    }

    /// It has nothing of the helpers: what was forked before one died serves with the next.
    @Test(arguments: ["front", "auditor"]) func aSpareServesWithTheHelpersThatAreThere(name: String) throws {
        try Gateway.with(setup(asNobody: false)) { gate throws in
            let former = try allSpares(gate)
            let helper = try #require(gate.helper(name))
            kill(helper.pid, SIGKILL)
            #expect(gate.wait { gate.helper(name).map { $0.pid != helper.pid } ?? false }, "not replaced")
            let isServed = gate.wait { (try? answer(gate, as: Gateway.target)) == "x\n" }
            #expect(isServed)
            let served = try #require(commandPIDs(gate).last.flatMap { pid_t($0) })
            #expect(former.contains(served), "\(served) is none of \(former)")
        }
    }

    /// The engine that died takes its policy along: the next one's tables are another fork's.
    @Test func anEngineThatDiesIsFollowedByFreshSpares() throws {
        try Gateway.with(setup(asNobody: false)) { gate throws in
            let former = try allSpares(gate)
            let engine = try #require(gate.helper("engine"))
            kill(engine.pid, SIGKILL)
            #expect(gate.wait { gate.helper("engine").map { $0.pid != engine.pid } ?? false }, "not replaced")
            #expect(gate.wait { (try? answer(gate, as: Gateway.target)) == "x\n" })
            #expect(try allSpares(gate).isDisjoint(with: former))
        }
    }

    // MARK: - Its end

    /// One that dies is replaced, is no lost session, and is said; requests meanwhile are served all the same.
    @Test(arguments: kinds) func aSpareThatDiesIsReplaced(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let former = try allSpares(gate)
            end(former)
            let areReaped = gate.wait { areGone(former) }
            #expect(areReaped)
            #expect(gate.log.contains("a spare session died (signal 9)"), "\(gate.log)")
            #expect(try answer(gate, as: target(asNobody: asNobody)) == "x\n", "no session without a spare")
            // The pause after so many deaths at once grows with each.
            let isReplaced = gate.wait(within: 120_000) { !spares(gate).subtracting(former).isEmpty }
            #expect(isReplaced)
            let status = try Child.run(
                Host.own("portcullis"), ["status", "--json", "--runtime-directory", gate.runtime])
            #expect(status.outText.contains("\"lost\":0"), "\(status)")
        }
    }

    /// A spare that is stopped does not stop the monitor, and its request has the session's own timer.
    @Test func aSpareThatStopsCostsItsOwnRequestAlone() throws {
        var setup = setup(asNobody: false)
        setup.rexec = "authenticate file \"credentials\"\n    authentication-timeout 2s"
        try Gateway.with(setup) { gate throws in
            for pid in try allSpares(gate) { kill(pid, SIGSTOP) }
            let clients = try (0..<size).map { _ in try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/echo x")
            }
            #expect(try answer(gate, as: Gateway.target) == "x\n", "the one after them is forked for")
            for client in clients {
                #expect(client.answer().primary == Array("\u{1}Login incorrect.\n".utf8), "it was not refused")
            }
            #expect(gate.wait { gate.trail.filter { $0["reason"] == "timeout" }.count == size })
        }
    }

    @Test(arguments: kinds) func noSpareOutlivesTheMonitor(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let waiting = try allSpares(gate)
            gate.daemon?.send(SIGKILL)
            _ = gate.daemon?.wait(within: 10_000)
            let gone = gate.wait {
                waiting.allSatisfy { !Files.text("/proc/\($0)/cmdline").hasPrefix("portcullis") }
            }
            #expect(gone, "a spare outlived the monitor")
            try gate.start()
        }
    }

    /// None serves after TERM, and none is left; nor is its end taken for a death.
    @Test(arguments: kinds) func termEndsTheSparesAtOnce(asNobody: Bool) throws {
        try Gateway.with(setup(asNobody: asNobody)) { gate throws in
            let waiting = try allSpares(gate)
            let client = try Conversation.rexec(gate, as: target(asNobody: asNobody), "/bin/sleep 60")
            #expect(client.primary.receive(count: 1) == [0])
            gate.daemon?.send(SIGTERM)
            #expect(gate.wait { gate.log.contains("stopping:") })
            // The session has ten seconds, and the monitor as long.
            #expect(gate.wait(within: 8_000) { spares(gate).isEmpty }, "they wait for requests that cannot come")
            #expect(gate.daemon?.wait(within: 0) == .stillRunning)
            client.primary.reset()
            #expect(gate.daemon?.wait(within: 20_000) == .status(0))
            #expect(waiting.allSatisfy { !Files.text("/proc/\($0)/cmdline").hasPrefix("portcullis") })
            #expect(!gate.log.contains("spare session died"), "\(gate.log)")
        }
    }
}
