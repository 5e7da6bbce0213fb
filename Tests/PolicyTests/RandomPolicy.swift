// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import TestSupport

extension SeededGenerator {
    /// A number below a bound. That it is not quite even does not matter here.
    mutating func below(_ bound: Int) -> Int {
        Int(truncatingIfNeeded: next() >> 33) % bound
    }

    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    /// Some of the values, at most a few, perhaps one of them twice.
    mutating func some<Value>(_ values: [Value], atMost limit: Int) -> [Value] {
        (0..<below(limit + 1)).map { _ in pick(values) }
    }
}

/// A policy of few parts, so that rules and requests meet often, and requests that lie at the edges of its rules.
struct RandomPolicy {
    let policy: Policy
    /// What is asked of it: any of each.
    private var sources: [IPAddress] = []
    private var users: [UserName?] = []
    private var accounts: [Account] = []
    private var commands: [RequestedCommand] = []
    private var times: [LocalTime] = []
    private var random: SeededGenerator

    /// A policy and its requests; the same for the same seed.
    ///
    /// Three of four are made of rules directly, in every form that a rule can have, also in such as no text gives it;
    /// the others are read from a text.
    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        // Now and then so many rules that their sets take every form that the index has.
        let count = random.chance(2) ? 200 + random.below(1_200) : 1 + random.below(random.chance(30) ? 40 : 10)
        var policy = random.chance(75) ? Self.made(count, &random) : Self.read(count, &random)
        if random.chance(10) { policy.settings.rexec.isEnabled = false }
        if random.chance(10) { policy.settings.rsh.isEnabled = false }
        policy.settings.secureTCPIP.isOn = random.chance(20)
        policy.settings.secureTCPIP.exceptions = Set(random.some([.rsh, .rcp, .rhosts, .netrc], atMost: 3))
        self.policy = policy
        self.random = random
        aim()
    }

    // MARK: Parts

    private static let names = ["alice", "bob", "root", "toor", "portc-eng", "Alice", "alic", "wheel"].compactMap {
        UserName($0)
    }
    private static let pools = ["guests", "others"]
    private static let groups: [ByteText] = ["wheel", "staff", "root", "alice", ""]
    private static let programs: [ByteText] = ["/usr/bin/id", "/bin/id", "/usr/sbin/dump", "/opt/rcp", "/usr/bin/i"]
    /// Arguments of requests and of literals alike.
    static let words: [ByteText] = [
        "", "5", "05", "-5", "٤", "a", "a.b-c_9", "-a", "a b", "<int>", "*", "/", "//", "/home", "/home/", "/homes",
        "/home/x", "/home/x/y", "/home//x", "/home/./x", "/home/..", "/home/..x", "home/x", "/homex/",
        "1", "word", "--other", "/home/file", "/home/file/x",
    ]
    private static let directories: [ByteText] = [
        "/home", "/", "/home/x", "/home/x/y", "/homes", "/home/", "", "home", "/home/..", "//", "/home//x",
        "/home/file",
    ]
    private static let addresses: [IPAddress] = [
        IPAddress(v4: 0x0A01_0203), IPAddress(v4: 0), IPAddress(v4: .max), IPAddress(v4: 0x7F00_0001),
        IPAddress(v4: 0xC000_0201), IPAddress(v6: 0), IPAddress(v6: 1), IPAddress(v6: .max),
        IPAddress(v6: 0x2001_0DB8 << 96 | 0x0A01_0203), IPAddress(v6: 0xFFFE_0A01_0203),
        IPAddress(v6: 0x1_0000_0000_0000), IPAddress(v6: 0x0A01_0203),
    ]

    private static func block(_ random: inout SeededGenerator) -> AddressBlock? {
        let address = random.pick(addresses)
        let length = random.chance(20) ? random.pick([0, 1, 8, 31, 32]) : random.below(address.family.width + 1)
        return AddressBlock(containing: address, prefixLength: length)
    }

    private static func range(_ random: inout SeededGenerator) -> WeeklyRange? {
        let bounds = [0, 1, 240, 480, 720, 1_080, 1_439, 1_440]
        return WeeklyRange(
            firstDay: random.below(7), lastDay: random.below(7), start: random.pick(bounds), end: random.pick(bounds))
    }

    /// A pattern; so many of a hundred are long.
    static func pattern(_ long: Int, _ random: inout SeededGenerator) -> CommandPattern {
        if random.chance(long) { return longPattern(&random) }
        let arguments = (0..<random.below(random.chance(10) ? 6 : 3)).map { _ -> CommandPattern.Argument in
            switch random.below(6) {
            case 0: return .integer
            case 1: return .word
            case 2: return .path(random.pick(directories))
            default: return .literal(random.pick(words))
            }
        }
        return CommandPattern(program: random.pick(programs), arguments: arguments, takesMore: random.chance(30))
    }

    /// A pattern of many arguments, of which others have most: one tells it apart, or several do, or none.
    private static func longPattern(_ random: inout SeededGenerator) -> CommandPattern {
        // On both sides of the number from which on a pattern is long; the same literals stand in several places.
        let count = random.pick([7, 8, 8, 8, 9, 12])
        var arguments = (0..<count).map { CommandPattern.Argument.literal(words[$0 % 3]) }
        for _ in 0..<random.below(3) {
            arguments[random.below(count)] = random.pick([
                .integer, .word, .word, .path("/home"), .path("/"), .path(""), .path("home"),
            ])
        }
        for place in [0, count / 2, count - 1, random.below(count)] where random.chance(35) {
            let word = random.chance(50) ? random.pick(words) : ByteText("an item of its own \(random.below(40))")
            arguments[place] = .literal(word)
        }
        return CommandPattern(
            program: random.pick(["/usr/bin/id", "/usr/bin/id", "/bin/id", "/opt/rcp"]), arguments: arguments,
            takesMore: random.chance(25))
    }

    // MARK: Policies of rules

    /// Sets that rules share.
    private struct Sets {
        var networks: [NamedSet<[AddressBlock]>] = []
        var users: [NamedSet<AccountSet>] = []
        var commands: [NamedSet<[CommandPattern]>] = []
        var hours: [NamedSet<[WeeklyRange]>] = []

        init(_ rules: Int, long: Int, _ random: inout SeededGenerator) {
            // Of many rules so many that a value is in more of them than a list of sets holds.
            for number in 0..<(rules > 100 || random.chance(10) ? 30 : 1 + random.below(3)) {
                let size = random.below(5)
                networks.append(
                    NamedSet(name: "n\(number)", items: (0..<size).compactMap { _ in block(&random) }))
                users.append(
                    NamedSet(
                        name: "u\(number)",
                        items: AccountSet(
                            names: random.some(names, atMost: 4), groups: random.some(RandomPolicy.groups, atMost: 2))))
                commands.append(NamedSet(name: "c\(number)", items: (0..<size).map { _ in pattern(long, &random) }))
                hours.append(NamedSet(name: "h\(number)", items: (0..<size).compactMap { _ in range(&random) }))
            }
        }
    }

    private static func made(_ count: Int, _ random: inout SeededGenerator) -> Policy {
        let long = random.pick([0, 0, 20, 90])
        let sets = Sets(count, long: long, &random)
        var policy = Policy()
        policy.settings.rexec.isEnabled = true
        policy.settings.rsh.isEnabled = true
        // Clauses that seldom match leave rules for the end; ones that often match hide them.
        let wide = random.pick([10, 40, 70])
        for number in 0..<count { policy.rules.append(rule(number, wide, long, sets, &random)) }
        return policy
    }

    private static func rule(
        _ number: Int, _ wide: Int, _ long: Int, _ sets: Sets, _ random: inout SeededGenerator
    ) -> Rule {
        var rule = Rule(
            name: "r\(number)", place: FilePlace(file: random.pick(["a.policy", "b.policy"]), line: number + 1),
            effect: random.chance(70) ? .permit : .forbid,
            services: random.pick([.any, .any, .only(.rexec), .only(.rsh)]))
        let size = random.chance(10) ? 12 : 2
        if !random.chance(wide / 2) {
            rule.sources = Sources(
                isAny: random.chance(wide), literal: (0..<random.below(size + 1)).compactMap { _ in block(&random) },
                sets: random.some(sets.networks, atMost: 2))
        }
        if !random.chance(wide) {
            rule.remoteUsers = RemoteUsers(
                isAny: random.chance(wide), literal: random.some(names, atMost: size),
                sets: random.some(sets.users, atMost: 2))
        }
        if !random.chance(wide / 4) {
            rule.targets = Targets(
                isAny: random.chance(wide), isSame: random.chance(20),
                literal: AccountSet(names: random.some(names, atMost: size), groups: random.some(groups, atMost: 2)),
                sets: random.some(sets.users, atMost: 2),
                pools: random.chance(20) ? random.some(pools, atMost: 2) : [])
        }
        if !random.chance(wide / 4) {
            rule.commands = Commands(
                isAny: random.chance(wide / 2), isShell: random.chance(20),
                literal: (0..<random.below(size + 1)).map { _ in pattern(long, &random) },
                sets: random.some(sets.commands, atMost: 2))
        }
        if !random.chance(wide) {
            rule.hours = Hours(
                (0..<random.below(size + 1)).compactMap { _ in range(&random) },
                sets: random.some(sets.hours, atMost: 2))
        }
        rule.sandbox = random.below(4)
        rule.selfTrust = random.chance(20)
        return rule
    }

    // MARK: Policies of text

    private static func list(_ items: [String], _ random: inout SeededGenerator) -> String {
        guard random.chance(40) else { return random.pick(items) }
        return "{ \((0...random.below(4)).map { _ in random.pick(items) }.joined(separator: ", ")) }"
    }

    /// The text of a policy of so many rules.
    static func text(_ count: Int, _ random: inout SeededGenerator) -> String {
        var text = """
            networks near = { 10.1.2.0/24, @far, 2001:db8::/33 }
            networks far = { 192.0.2.0/24, ::1, ::/0 }
            users people = { alice, bob, root }
            users crew = { @people, %wheel }
            pool guests = { bob, alic }
            pool others = { toor }
            commands tools = { "/usr/bin/id a", "/usr/bin/id <int> *" }
            commands most = { @tools, "/usr/sbin/dump '' 'a b'" }
            hours nights = { mon-sun 18:00-04:00, sat 08:00-12:00 }

            """
        let blocks = ["10.1.2.3", "10.1.2.2/31", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::1", "2001:db8::/32", "@near"]
        let patterns = [
            "\"/usr/bin/id\"", "\"/bin/id *\"", "\"/usr/bin/id <word>\"", "\"/bin/id <path /home>\"",
            "\"/usr/sbin/dump '' <path /home/x>\"", "\"/opt/rcp <int> a\"", "\"/usr/bin/id '*'\"", "@tools", "@most",
        ]
        for number in 0..<count {
            let isForbid = random.chance(30)
            let service = random.pick(["rexec", "rsh", "any"])
            text += "\(isForbid ? "forbid" : "permit") r\(number): \(service)"
            let isStated = { (random: inout SeededGenerator) in !isForbid || random.chance(40) }
            if isStated(&random) { text += " from " + (random.chance(30) ? "any" : list(blocks, &random)) }
            if service != "rexec", isStated(&random) {
                text += " by " + (random.chance(40) ? "any" : list(["alice", "root", "@people"], &random))
            }
            if isStated(&random) {
                let words =
                    ["alice", "root", "%wheel", "@crew", "@people"] + (service == "rexec" ? [] : ["same"])
                    + (service == "rexec" && !isForbid ? ["pool guests", "pool others"] : [])
                text += " as " + (random.chance(40) ? "any" : list(words, &random))
            }
            if isStated(&random) {
                text += " run " + (random.chance(40) ? random.pick(["any", "shell"]) : list(patterns, &random))
            }
            if random.chance(25) { text += " during " + list(["@nights", "fri 18:00-08:00"], &random) }
            text += "\n"
        }
        return text
    }

    private static func read(_ count: Int, _ random: inout SeededGenerator) -> Policy {
        // Reading is slow beside asking.
        let text = """
            securetcpip off
            service rexec { enable }
            service rsh {
                enable
                trust file "rhosts"
            }
            \(text(min(count, 30), &random))
            """
        var none = NoPolicyFiles()
        let loaded = PolicyText.load(SourceFile(name: "t", text: text), files: &none, analyses: false)
        guard let policy = loaded.policy else {
            preconditionFailure(loaded.diagnostics.map(\.text).joined() + text)
        }
        return policy
    }

    // MARK: Requests

    /// Chooses what is asked: the edges of what some rules say, and what none says.
    private mutating func aim() {
        sources = Self.addresses
        for _ in 0..<40 {
            guard let blocks = random.pick(policy.rules).sources?.blocks.map(\.self), !blocks.isEmpty else { continue }
            aim(at: random.pick(blocks))
        }
        users = [nil, nil] + Self.names
        for name in Self.names {
            for _ in 0..<3 {
                let uid: UInt32 = name == .root || random.chance(15) ? 0 : 1_000
                accounts.append(
                    Account(
                        name: name, uid: random.chance(90) ? uid : 1_000, groups: random.some(Self.groups, atMost: 3),
                        isSystem: random.chance(20), isGateway: random.chance(10),
                        pool: random.chance(20) ? random.pick(Self.pools + ["none"]) : nil))
            }
        }
        times = Self.times
        commands = [.needsShell(firstWord: nil), .needsShell(firstWord: "id"), .needsShell(firstWord: "/x/rcp")]
        commands += [.words([], program: nil), .words(["rcp"], program: nil), .words(["id", "5"], program: nil)]
        commands.append(.words([], program: .init(path: "/usr/bin/id", resolvedPath: "/usr/bin/id")))
        for _ in 0..<24 {
            let arguments = random.some(Self.words, atMost: 3)
            aim(random.pick(Self.programs), arguments)
            guard let patterns = random.pick(policy.rules).commands?.patterns.map(\.self), !patterns.isEmpty else {
                continue
            }
            let pattern = random.pick(patterns)
            var words = Self.words(meeting: pattern, &random)
            if random.chance(20), !words.isEmpty { words[random.below(words.count)] = random.pick(Self.words) }
            if random.chance(20) { words.append(random.pick(Self.words)) }
            if random.chance(10) { _ = words.popLast() }
            aim(pattern.program, words)
        }
        commands += ["id 5 a", "id 'a b'", "\"/usr/bin/id\" ''", "id *", "./id", "dump \\*"].map {
            RequestText.command(Array($0.utf8))
        }
    }

    /// Arguments that a pattern matches, or nearly.
    static func words(meeting pattern: CommandPattern, _ random: inout SeededGenerator) -> [ByteText] {
        pattern.arguments.map { argument in
            switch argument {
            case .literal(let literal): return literal
            case .integer: return random.pick(["5", "05"])
            case .word: return random.pick(["5", "a", "a.b-c_9"])
            case .path(let directory):
                // The last is beneath a directory that is not absolute only for who looks past its first byte.
                let absolute = ByteText(Array("/".utf8) + directory.bytes.dropFirst())
                return random.pick([directory, ByteText(directory.bytes + Array("/x".utf8)), absolute])
            }
        }
    }

    private mutating func aim(_ program: ByteText, _ arguments: [ByteText]) {
        let resolved = random.chance(60) ? program : random.pick(Self.programs)
        let first = random.chance(90) ? program : "rcp"
        commands.append(.words([first] + arguments, program: .init(path: program, resolvedPath: resolved)))
    }

    /// The first and the last address, those beside them, one with a bit flipped, and the same bits of the other family.
    private mutating func aim(at block: AddressBlock) {
        let width = block.base.family.width
        let hosts = width == block.prefixLength ? 0 : UInt128.max >> UInt128(128 - (width - block.prefixLength))
        let first = block.base.value
        let last = first | hosts
        for value in [first, last, first &- 1, last &+ 1, first ^ 1 << UInt128(random.below(width))] {
            let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: value))
            let v6 = IPAddress(v6: value)
            sources.append(block.base.family == .v4 ? v4 : v6)
            if random.chance(10) { sources.append(block.base.family == .v4 ? v6 : v4) }
            // As an IPv6 listener sees an IPv4 peer.
            if random.chance(10) { sources.append(IPAddress(v6: 0xFFFF << 32 | value & 0xFFFF_FFFF)) }
        }
    }

    private static let times: [LocalTime] = (0...6).flatMap { day in
        [0, 1, 239, 240, 479, 480, 719, 720, 1_079, 1_080, 1_438, 1_439].compactMap {
            LocalTime(weekday: day, minute: $0)
        }
    }

    /// The next request.
    mutating func request() -> Request {
        // An REXEC request with a remote user is none that the session makes; nothing may come of the name.
        let service: Service = random.chance(50) ? .rexec : .rsh
        var request = Request(
            service: service, source: random.pick(sources), sourcePort: 1_023, remoteUser: random.pick(users),
            target: random.pick(accounts), command: random.pick(commands), time: random.pick(times))
        if random.chance(20) { request.remoteUser = request.target.name }
        return request
    }
}

// MARK: - As text

extension Rule {
    /// The rule nearly as a policy has it, with its sets written out, for a person who looks into a failure.
    var shown: String {
        var text = "\(effect.name) \(name): \(services.name)"
        func clause(_ word: String, _ items: [String]?, _ sets: [String]) {
            if let items { text += " \(word) { \((items + sets).joined(separator: ", ")) }" }
        }
        clause(
            "from", sources.map { ($0.isAny ? ["any"] : []) + $0.literal.map(\.description) },
            sources?.sets.map { "@\($0.name) = \($0.items)" } ?? [])
        clause(
            "by", remoteUsers.map { ($0.isAny ? ["any"] : []) + $0.literal.map(\.description) },
            remoteUsers?.sets.map { "@\($0.name) = \($0.items.names)" } ?? [])
        clause(
            "as",
            targets.map {
                ($0.isAny ? ["any"] : []) + ($0.isSame ? ["same"] : []) + $0.literal.names.map(\.description)
                    + $0.literal.groups.map { "%\($0)" } + $0.pools.map { "pool \($0)" }
            }, targets?.sets.map { "@\($0.name) = \($0.items.names) %\($0.items.groups)" } ?? [])
        clause(
            "run",
            commands.map {
                ($0.isAny ? ["any"] : []) + ($0.isShell ? ["shell"] : []) + $0.literal.map { "\"\($0)\"" }
            }, commands?.sets.map { "@\($0.name) = \($0.items)" } ?? [])
        clause(
            "during", hours.map { $0.literal.map(\.description) }, hours?.sets.map { "@\($0.name) = \($0.items)" } ?? []
        )
        return text
    }
}
