// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What a policy's rules have in common: each shape is one that would make some index slow.
package enum Shape: String, CaseIterable {
    /// What a large site has: hosts, networks, sets, commands with arguments, hours, and a forbid in twenty.
    case site
    /// Every rule from one block; users differ.
    case oneSource = "one source"
    /// Every rule by one user; addresses differ.
    case oneUser = "one user"
    /// Every rule of one program; its arguments differ, and half of the rules have a typed token before them.
    case oneProgram = "one program"
    /// Blocks of every length around the same addresses, of both families.
    case nestedPrefixes = "nested prefixes"
    /// Patterns of 32 arguments that are alike but for the last, each with `<word>` at a place of its own.
    case longArguments = "long arguments"
    /// Every clause is a set of up to thousands, which many rules share.
    case sharedSets = "shared sets"
    /// One half of the rules matches every request's address, the other half its user, and no rule both.
    case crossedHalves = "crossed halves"

    /// A policy's text, with both services on, as no index may count on one being off.
    package func text(rules count: Int) -> String {
        Self.settings + rules(count)
    }

    /// A policy's sets and rules; of one seed, the same on every run.
    package func rules(_ count: Int) -> String {
        var generator = SeededGenerator(seed: 0x5EED + UInt64(count))
        var text = ""
        switch self {
        case .site: Self.site(count, &generator, &text)
        case .sharedSets: Self.sharedSets(count, &generator, &text)
        case .nestedPrefixes: Self.nestedPrefixes(count, &generator, &text)
        default:
            for number in 0..<count { text += "permit r\(number): \(clauses(number, of: count))\n" }
        }
        return text
    }

    private static let settings = """
        securetcpip off
        service rexec {
            enable
            listen 127.0.0.1:512, [::1]:512
            authenticate file "credentials"
        }
        service rsh {
            enable
            listen 127.0.0.1:514, [::1]:514
            trust rhosts
            account none
        }

        """

    /// The clauses of a rule in the shapes in which only its number tells it from the others.
    private func clauses(_ number: Int, of count: Int) -> String {
        switch self {
        case .oneSource:
            return "rsh from 10.0.0.0/8 by user\(number) as account\(number % 97) run \"/usr/bin/id\""
        case .oneUser:
            return "rsh from \(Self.host(number)) by operator as operator run \"/usr/bin/id\""
        case .oneProgram:
            let first = ["first", "<word>", "second", "<int>"][number % 4]
            return "rexec from 10.0.0.0/8 as batch run \"/usr/bin/transfer \(first) item\(number)\""
        case .longArguments:
            var words = (0..<31).map { "argument\($0)" }
            words[number % 31] = "<word>"
            let arguments = words.joined(separator: " ")
            return "rexec from 10.0.0.0/8 as batch run \"/usr/bin/load \(arguments) item\(number)\""
        case .crossedHalves:
            return number % 2 == 0
                ? "rsh from 10.0.0.0/8 by { bob, user\(number) } as any run any"
                : "rsh from \(Self.host(number, in: 11)) by { alice, user\(number) } as any run any"
        case .site, .sharedSets, .nestedPrefixes:
            return ""
        }
    }

    /// An address of its own for each number below 2²⁴.
    private static func host(_ number: Int, in network: Int = 10) -> String {
        "\(network).\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)"
    }

    // MARK: - Shapes with sets

    private static func set(_ kind: String, _ name: String, _ items: some Sequence<String>) -> String {
        "\(kind) \(name) = {\n    \(items.joined(separator: "\n    "))\n}\n"
    }

    private static func site(_ count: Int, _ generator: inout SeededGenerator, _ text: inout String) {
        let sets = count / 50 + 1
        for number in 0..<sets {
            text += set("networks", "net\(number)", (0..<8).map { "10.\(number % 256).\(number / 256 * 8 + $0).0/24" })
            text += set("users", "team\(number)", (0..<10).map { "member\(number * 10 + $0)" })
            text += set("commands", "jobs\(number)", (0..<5).map { "\"/usr/bin/job\(number * 5 + $0) <word> *\"" })
        }
        text += "hours nights = { mon-fri 22:00-04:00, sat 00:00-24:00 }\n"
        for number in 0..<count {
            let isForbid = generator.chance(5)
            let service = ["rexec", "rsh", "rsh", "any"][generator.below(4)]
            let sources =
                switch generator.below(10) {
                case 0..<5: host(number, in: 172)
                case 5..<7: "\(host(number << 8, in: 192))/24"
                default: "@net\(generator.below(sets))"
                }
            let users =
                switch generator.below(10) {
                case 0..<6: "user\(number)"
                case 6..<9: "@team\(generator.below(sets))"
                default: "any"
                }
            let targets =
                switch generator.below(10) {
                case 0..<7: "account\(generator.below(count))"
                case 7: service == "rsh" ? "same" : "any"
                default: "@team\(generator.below(sets))"
                }
            let commands =
                switch generator.below(20) {
                case 0..<10: "\"/usr/sbin/task\(generator.below(count / 4)) <path /srv/data\(number)> <int>\""
                case 10..<16: "@jobs\(generator.below(sets))"
                case 16..<19: "any"
                default: "shell"
                }
            guard !isForbid else {
                text += "forbid r\(number): \(service) from \(sources) as \(targets)\n"
                continue
            }
            let by = service == "rexec" ? "" : " by \(users)"
            let during = generator.chance(5) ? " during @nights" : ""
            text += "permit r\(number): \(service) from \(sources)\(by) as \(targets) run \(commands)\(during)\n"
        }
    }

    private static func sharedSets(_ count: Int, _ generator: inout SeededGenerator, _ text: inout String) {
        let size = min(count, 2_000)
        for number in 0..<20 {
            text += set("networks", "net\(number)", (0..<size).map { host(number * size + $0 + 1) })
            text += set("users", "team\(number)", (0..<size).map { "member\((number * size / 2 + $0))" })
            let jobs = (0..<size / 4).map { "\"/usr/bin/job\(number * size / 8 + $0) *\"" }
            text += set("commands", "jobs\(number)", jobs)
        }
        for number in 0..<count {
            text +=
                "permit r\(number): rsh from @net\(generator.below(20)) by @team\(generator.below(20)) "
                + "as account\(number % 1_000) run @jobs\(generator.below(20))\n"
        }
    }

    private static func nestedPrefixes(_ count: Int, _ generator: inout SeededGenerator, _ text: inout String) {
        var number = 0
        while number < count {
            // A random address and every block that holds it.
            let isV4 = generator.chance(50)
            let width = isV4 ? 32 : 128
            let value = UInt128(generator.next()) << 64 | UInt128(generator.next())
            let spine = isV4 ? value >> 96 : value | 1 << 125
            for length in 0...width where number < count {
                let free = UInt128(width - length)
                let block = (spine >> free) << free
                text +=
                    "permit r\(number): rsh from \(address(block, isV4: isV4))/\(length) by user\(number % 251) "
                    + "as account\(number) run any\n"
                number += 1
            }
        }
    }

    private static func address(_ value: UInt128, isV4: Bool) -> String {
        guard !isV4 else { return (0..<4).map { String(value >> UInt128(24 - 8 * $0) & 255) }.joined(separator: ".") }
        return (0..<8).map { String(value >> UInt128(112 - 16 * $0) & 0xFFFF, radix: 16) }.joined(separator: ":")
    }
}
