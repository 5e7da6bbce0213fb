// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import TestSupport
import Testing

/// A small world: rules out of few parts, and one request of every kind that these parts can tell apart.
///
/// What an analysis says is compared with a look at every request here.
struct AnalysisUniverse {
    // MARK: Requests

    /// Who asks, by which service.
    struct Asker {
        var service: Service
        var remoteUser: UserName?
        var target: Account
    }

    let sources: [IPAddress]
    let askers: [Asker]
    let commands: [RequestedCommand]
    let times: [LocalTime]

    init() throws {
        sources = try [
            "10.1.1.255", "10.1.2.0", "10.1.2.1", "10.1.2.2", "10.1.2.3", "10.1.2.4", "2001:db8::", "2001:db8::1",
            "2001:db8::2", "::1",
        ].map { try #require(IPAddress($0)) }
        let names = try ["alice", "bob", "root", "carol", "dave"].map { try #require(UserName($0)) }
        var accounts: [Account] = []
        for name in names {
            for groups in [[], ["wheel"], ["ops"], ["wheel", "ops"]] as [[ByteText]] {
                if name == .root {
                    accounts.append(Account(name: name, uid: 0, groups: groups, isSystem: true))
                } else {
                    accounts.append(Account(name: name, uid: 1_000, groups: groups, isSystem: false))
                    accounts.append(Account(name: name, uid: 100, groups: groups, isSystem: true))
                    accounts.append(Account(name: name, uid: 0, groups: groups, isSystem: true))
                }
            }
        }
        var guests: [Account] = []
        for (name, pool) in [("bob", "guests"), ("dave", "guests"), ("erin", "others")] {
            for groups in [[], ["wheel"], ["ops"], ["wheel", "ops"]] as [[ByteText]] {
                let name = try #require(UserName(name))
                guests.append(Account(name: name, uid: 1_000, groups: groups, isSystem: false, pool: pool))
            }
        }
        askers =
            (accounts + guests).map { Asker(service: .rexec, remoteUser: nil, target: $0) }
            + names.flatMap { name in accounts.map { Asker(service: .rsh, remoteUser: name, target: $0) } }
        let words =
            ["-n", "5", "7", "x", "y", "/home", "/home/z", "/home/a", "/home/a/z", "--z"]
            // What an analysis would say where no rule does, and beside it something else of the same kind.
            + ["1", "word", "--other", "/home/file", "/home/file/z"]
        var lists: [[String]] = [[]]
        for length in 0..<2 {
            lists += lists.filter { $0.count == length }.flatMap { list in words.map { list + [$0] } }
        }
        lists += [["5", "x", "--z"], ["-n", "--z", "--z"], ["/home/a/z", "x", "--z"], ["7", "7", "--z"]]
        lists += words.map { [$0, "--z", "--z"] } + [["--z", "--z", "--z", "--z"]]
        let programs = ["/usr/bin/id", "/usr/bin/who", "/usr/bin/rcp", "/usr/bin/other"]
        commands =
            programs.flatMap { program in
                lists.map { list in
                    let path = ByteText(program)
                    return .words(
                        [path] + list.map { ByteText($0) }, program: .init(path: path, resolvedPath: path))
                }
            } + [.needsShell(firstWord: "id"), .needsShell(firstWord: "rcp"), .words(["./x"], program: nil)]
        times = try [0, 479, 480, 719, 720, 1_079, 1_080, 1_439].flatMap { minute in
            try [0, 1, 2, 6].map { try #require(LocalTime(weekday: $0, minute: minute)) }
        }
    }

    // MARK: Looking at every request

    /// Which of some rules match each value of a clause, a bit each; every combination that there is, once.
    struct Masks {
        var sources: Set<UInt64>
        var askers: Set<UInt64>
        var commands: Set<UInt64>
        var times: Set<UInt64>

        /// Whether some request is matched by exactly such rules as are wanted.
        func contains(_ isWanted: (UInt64) -> Bool) -> Bool {
            let places = Set(sources.flatMap { source in commands.map { source & $0 } })
            let circumstances = Set(places.flatMap { place in times.map { place & $0 } })
            return circumstances.contains { what in askers.contains { isWanted(what & $0) } }
        }
    }

    func masks(_ rules: [Rule], _ scope: RequestScope) throws -> Masks {
        precondition(rules.count <= 64)
        let first = try #require(askers.first)
        var request = Request(
            service: first.service, source: try #require(sources.first), sourcePort: 1_023,
            remoteUser: first.remoteUser, target: first.target, command: try #require(commands.first),
            time: try #require(times.first))
        func mask(_ clauses: [Clause]) -> UInt64 {
            rules.indices.reduce(0) { mask, index in
                mask | (clauses.allSatisfy { rules[index].matches(request, $0) } ? 1 << UInt64(index) : 0)
            }
        }
        var masks = Masks(sources: [], askers: [], commands: [], times: [])
        for source in sources {
            request.source = source
            masks.sources.insert(mask([.from]))
        }
        for command in commands where scope.includesRemoteCopy || !command.isRemoteCopy {
            request.command = command
            masks.commands.insert(mask([.run]))
        }
        for time in times {
            request.time = time
            masks.times.insert(mask([.during]))
        }
        let pools = [nil] + scope.pools.map(\.name)
        for asker in askers where scope.services.contains(asker.service) && pools.contains(asker.target.pool) {
            request.service = asker.service
            request.remoteUser = asker.remoteUser
            request.target = asker.target
            masks.askers.insert(mask([.service, .by, .as]))
        }
        return masks
    }

    /// One request of each kind that some rules match, or run, in another way than the rest.
    func requests(_ rules: [Rule]) throws -> [Request] {
        let first = try #require(askers.first)
        let blank = Request(
            service: first.service, source: try #require(sources.first), sourcePort: 1_023, remoteUser: nil,
            target: first.target, command: try #require(commands.first), time: try #require(times.first))
        func mask(_ request: Request, _ clauses: [Clause]) -> UInt64 {
            rules.indices.reduce(0) { mask, index in
                mask | (clauses.allSatisfy { rules[index].matches(request, $0) } ? 1 << UInt64(index) : 0)
            }
        }
        func kinds<Value>(_ values: [Value], _ key: (Value) -> [UInt64]) -> [Value] {
            var seen = Set<[UInt64]>()
            return values.filter { seen.insert(key($0)).inserted }
        }
        let sources = kinds(self.sources) { source in
            var request = blank
            request.source = source
            return [mask(request, [.from])]
        }
        let times = kinds(self.times) { time in
            var request = blank
            request.time = time
            return [mask(request, [.during])]
        }
        let commands = kinds(self.commands) { command in
            var request = blank
            request.command = command
            let shell = rules.indices.filter { rules[$0].commands?.execution(of: command) == .shell }
            return [
                mask(request, [.run]), shell.reduce(0) { $0 | 1 << UInt64($1) }, command.isRemoteCopy ? 1 : 0,
            ]
        }
        let askers = kinds(self.askers) { asker in
            var request = blank
            request.service = asker.service
            request.remoteUser = asker.remoteUser
            request.target = asker.target
            return [mask(request, [.service, .by, .as]), asker.service == .rsh ? 1 : 0]
        }
        var out: [Request] = []
        for asker in askers {
            for source in sources {
                for command in commands {
                    out += times.map {
                        Request(
                            service: asker.service, source: source, sourcePort: 1_023, remoteUser: asker.remoteUser,
                            target: asker.target, command: command, time: $0)
                    }
                }
            }
        }
        return out
    }

    /// What a policy makes of a request, as far as it matters: nil for a deny, else the obligations.
    static func effect(_ policy: Policy, _ request: Request) -> Effective? {
        guard case .permit(let terms) = policy.decide(request) else { return nil }
        return Effective(
            sandbox: policy.sandboxes[terms.sandbox], usesShell: terms.usesShell, selfTrust: terms.selfTrust)
    }

    /// A permit's obligations.
    struct Effective: Equatable {
        var sandbox: Sandbox
        var usesShell: Bool
        var selfTrust: Bool
    }

    // MARK: Rules

    static let head = """
        networks near = { 10.1.2.0/31, @far }
        networks far = { 10.1.2.3, 2001:db8::1 }
        users people = { alice, bob, root }
        users crew = { bob, %wheel }
        pool guests = { bob, dave }
        pool others = { erin }
        commands tools = { "/usr/bin/who", "/usr/bin/id -n", "/usr/bin/id <path /home/a> *" }
        hours mornings = { mon-fri 08:00-12:00 }

        """

    private static let blocks = [
        "10.1.2.1", "10.1.2.2", "10.1.2.0/31", "10.1.2.2/31", "10.1.2.0/30", "0.0.0.0/0", "::/0", "2001:db8::/127",
        "2001:db8::1", "@near", "@far",
    ]
    private static let patterns = [
        "\"/usr/bin/id\"", "\"/usr/bin/id *\"", "\"/usr/bin/id -n <word>\"", "\"/usr/bin/id <int>\"",
        "\"/usr/bin/id <word>\"", "\"/usr/bin/id <word> *\"", "\"/usr/bin/id <path /home>\"",
        "\"/usr/bin/id <path /home/a>\"", "\"/usr/bin/id <int> x\"", "\"/usr/bin/id 5 <word>\"", "\"/usr/bin/who\"",
        "\"/usr/bin/rcp *\"", "@tools", "\"/usr/bin/id <path /home/file>\"", "\"/usr/bin/id /home/file\"",
        "\"/usr/bin/id 1\"", "\"/usr/bin/id word\"", "\"/usr/bin/id <word> --other\"",
    ]
    /// Patterns of one program that an analysis tells apart by words of its own.
    private static let close = [
        "\"/usr/bin/id <path /home>\"", "\"/usr/bin/id <path /home/file>\"", "\"/usr/bin/id /home/file\"",
    ]
    private static let hours = ["mon-fri 08:00-18:00", "sat-sun 00:00-24:00", "mon 18:00-24:00", "@mornings"]

    /// A rule without its name: what comes after the colon.
    static func rule(_ effect: Effect, _ random: inout SeededGenerator) -> String {
        let service = random.pick(["rexec", "rsh", "any", "any"])
        var clauses = [service]
        let mayLeaveOut = effect == .forbid
        if !mayLeaveOut || random.chance(50) {
            clauses.append("from " + (random.chance(20) ? "any" : random.list(blocks)))
        }
        if service != "rexec", !mayLeaveOut || random.chance(30) {
            clauses.append("by " + (random.chance(50) ? "any" : random.list(["alice", "bob", "root", "@people"])))
        }
        if !mayLeaveOut || random.chance(50) {
            let names = ["alice", "bob", "root", "%wheel", "%ops", "@crew", "@people"]
            clauses.append(
                "as "
                    + (random.chance(25)
                        ? "any"
                        : random.list(
                            names
                                + (service == "rexec"
                                    ? (mayLeaveOut ? [] : ["pool guests", "pool others"]) : ["same", "same"]))))
        }
        if !mayLeaveOut || random.chance(60) {
            clauses.append(
                "run "
                    + (random.chance(25)
                        ? random.pick(["any", "shell", "{ any, shell }"])
                        : random.list(random.chance(20) ? close : patterns)))
        }
        if random.chance(25) { clauses.append("during " + random.list(hours)) }
        if effect == .permit, random.chance(50) {
            clauses.append("sandbox " + random.pick(["strict", "standard", "home"]))
        }
        return clauses.joined(separator: " ")
    }

    /// Rules as whole lines, with names that count on.
    static func rules(_ count: Int, _ random: inout SeededGenerator) -> [String] {
        (0..<count).map { index in
            let effect: Effect = random.chance(60) ? .permit : .forbid
            return "\(effect.name) r\(index): \(rule(effect, &random))"
        }
    }

    /// A policy of such rules, both services on.
    static func policy(_ rules: [String], settings: String = "securetcpip off") throws -> Policy {
        try PolicyTests.policy(head + rules.joined(separator: "\n"), settings: settings)
    }
}

extension SeededGenerator {
    /// One item, or a list of a few.
    mutating func list(_ items: [String]) -> String {
        guard chance(30) else { return pick(items) }
        return "{ \((0...below(3)).map { _ in pick(items) }.joined(separator: ", ")) }"
    }
}
