// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import TestSupport

/// A random policy of every statement of the language, as tokens, so that one policy can be laid out in many ways.
struct GeneratedPolicy {
    /// Statements; "\n" stands between the items of a block.
    private(set) var statements: [[String]] = []
    private var random: SeededGenerator

    /// The policy of a seed: the same on every machine, or the golden digests are worth nothing.
    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        if chance(50) { statements.append(["policy", "1"]) }
        statements += settings()
        let sets = sets()
        let sandboxes = (0..<3).map { sandbox("box\($0)") }
        let rules = (0..<Int.random(in: 1...8, using: &random)).map { rule("r\($0)") }
        let rest = (sets + sandboxes + rules).shuffled(using: &random)
        statements += rest
    }

    /// One blank between tokens, one line a statement or an item of a block.
    var plain: String {
        statements.map { $0.joined(separator: " ") + "\n" }.joined()
    }

    /// The same with other blanks, lines, comments, separators and continued lines.
    mutating func dressed() -> String {
        var out = ""
        for statement in statements {
            var depth = 0
            var isFirst = true
            for token in statement {
                switch token {
                case "\n":
                    // A comma would go on with a list of system calls.
                    out += pick(["\n", "\n\n\t", " # why\n", statement.first == "sandbox" ? "\n" : ",\n"])
                    isFirst = true
                    continue
                case "}": depth -= 1
                default: break
                }
                if !isFirst, token != "," {
                    out += pick(depth > 0 ? [" ", "\t "] : [" ", "  ", "\t", " \\\n  ", " \\\r\n"])
                }
                isFirst = false
                if token == ",", depth > 0, statement.first != "service", statement.first != "sandbox" {
                    out += pick([",", " ", ", # é\n", "\n", "\r\n\t"])
                } else {
                    out += token
                }
                if token == "{" {
                    depth += 1
                    out += pick(["", "\n", " # {\n"])
                }
            }
            out += pick(["\n", " # }\n", "\r\n\n", "\n#\n"])
        }
        return out
    }

    // MARK: Choice

    private mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int.random(in: values.indices, using: &random)]
    }

    private mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    /// Some of a few, in their order, at least one.
    private mutating func some(_ values: [String]) -> [String] {
        let chosen = values.filter { _ in chance(40) }
        return chosen.isEmpty ? [pick(values)] : chosen
    }

    /// `a`, or `{ a , b }`.
    private mutating func list(_ values: [String]) -> [String] {
        let chosen = some(values)
        return chosen.count == 1 ? chosen : braced(chosen)
    }

    private func braced(_ values: [String]) -> [String] {
        ["{"] + values.map { [$0] }.joined(separator: [","]) + ["}"]
    }

    // MARK: Statements

    private mutating func settings() -> [[String]] {
        var out: [[String]] = []
        out.append(
            pick([
                ["securetcpip", "off"], ["securetcpip", "on"], ["securetcpip", "on", "except", "rsh", ",", "rhosts"],
            ]))
        out.append(
            block(
                ["service", "rexec"],
                [
                    pick([["enable"], ["disable"]]), ["listen", "127.0.0.1:5512", ",", "[::1]:5512"],
                    pick([
                        ["authenticate", "pam", "\"portcullis-rexec\""], ["authenticate", "file", "\"a \\\"b\\\\\""],
                    ]),
                    ["stderr-channel", pick(["on", "off"])], ["handshake-timeout", pick(["15s", "015s", "1500ms"])],
                    ["authentication-timeout", "2m"], ["command-length", pick(["4096", "131071", "1"])],
                    pick([["sessions", "10"], ["sessions", "200", "per-source", "20"]]),
                ]))
        out.append(
            block(
                ["service", "rsh"],
                [
                    ["enable"], ["listen", "10.0.0.1:514"],
                    pick([["trust", "file", "\"rhosts\""], ["trust", "rule"]]),
                    ["names", pick(["refuse", "hosts-file", "dns"])], ["source-port", pick(["reserved", "any"])],
                    pick([["account", "none"], ["account", "pam", "\"x\""]]),
                ]))
        out.append(block(["refusal"], [["delay", "1s"], ["rexec", "\"No.\""], ["rsh", "\"\""]]))
        out.append(
            block(
                ["audit"],
                [
                    ["kernel", pick(["auto", "require", "off"])], ["durability", pick(["sync", "batch"])],
                    ["on-failure", pick(["refuse", "continue"])], ["checkpoint", pick(["60s", "1h", "1d"])],
                ]))
        out.append(["search-path", pick(["/usr/bin:/bin", "/opt/x/bin"])])
        return out.filter { _ in chance(70) }.shuffled(using: &random)
    }

    private mutating func block(_ head: [String], _ items: [[String]]) -> [String] {
        let chosen = items.filter { _ in chance(60) }
        return head + ["{"] + (chosen.isEmpty ? [] : ["\n"]) + chosen.flatMap { $0 + ["\n"] } + ["}"]
    }

    private static let blocks = [
        "10.1.2.3", "10.1.2.2/31", "10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "::/0", "::1", "2001:DB8::/32",
        "2001:db8:0:0:1:0:0:1", "::ffff:10.1.2.3", "1:2:3:4:5:6:7:8", "fe80::/10",
    ]
    private static let commands = [
        #""/usr/bin/id""#, #""/bin/id -u <word> <int> *""#, #""/usr/bin/ls '*' 'it'\\''s' <path /srv/>""#,
        #""/opt/my\\ app/run a=b \"x \\$y\" ''""#, #""/usr/bin/echo é <path />""#,
    ]
    private static let hours = [
        ["mon-fri", "08:00-18:00"], ["fri", "22:00-04:00"], ["sat-sun", "00:00-24:00"], ["sun", "23:59-00:00"],
    ]

    private mutating func sets() -> [[String]] {
        [
            ["networks", "near", "="] + braced(some(Self.blocks) + ["@far"]),
            ["networks", "far", "="] + braced(some(Self.blocks)),
            ["users", "people", "="] + braced(some(["alice", "bob", "x_1", "a.b-c$@d", "\"any\"", "\"same\""])),
            ["users", "crew", "="] + braced(some(["@people", "%wheel", "\"%a b\"", "\"%\\\"\""])),
            ["commands", "tools", "="] + braced(some(Self.commands)),
            ["hours", "nights", "="] + braced(some(Self.hours.map { $0.joined(separator: " ") })),
        ]
    }

    private mutating func sandbox(_ name: String) -> [String] {
        let extends = chance(60) ? ["extends", pick(["strict", "standard"])] : []
        return block(
            ["sandbox", name] + extends,
            [
                ["read", "/usr", "/etc/", "\"/a b\"", "~/.config"], ["write", "/var/backups", ",", "/tmp"],
                ["execute", "/usr", "/bin"],
                ["syscalls"] + pick([["allow", "@system-service"], ["allow", "read", "write", "deny", "@keyring"]]),
                ["network"] + pick([["off"], ["on"], ["tcp-connect", "443", ",", "8443"]]),
                ["limit", "cpu", "60s", ",", "memory", "512M", ",", "files", "16", ",", "output", "5"],
                ["timeout", pick(["10m", "3h"])], ["umask", pick(["077", "0", "0027"])], ["path", "/usr/bin:/bin"],
                ["environment", "LANG=C.UTF-8", "\"A=b c\"", "E="], ["on-violation", pick(["errno", "kill"])],
                ["require", "landlock", "4"],
            ])
    }

    private mutating func rule(_ name: String) -> [String] {
        let isPermit = chance(60)
        let service = pick(["rexec", "rsh", "any"])
        let users = ["alice", "root", "\"any\"", "@people"]
        var clauses: [[String]] = []
        if isPermit || chance(50) { clauses.append(["from"] + (chance(20) ? ["any"] : list(Self.blocks + ["@near"]))) }
        if service != "rexec", isPermit || chance(30) { clauses.append(["by"] + (chance(30) ? ["any"] : list(users))) }
        if isPermit || chance(50) {
            clauses.append(["as"] + list(users + ["%wheel", "@crew"] + (service == "rexec" ? [] : ["same"])))
        }
        if isPermit || chance(50) { clauses.append(["run"] + list(Self.commands + ["@tools", "any", "shell"])) }
        if chance(30) {
            clauses.append(["during"] + list(Self.hours.map { $0.joined(separator: " ") } + ["@nights"]))
        }
        if isPermit, chance(50) { clauses.append(["sandbox", pick(["strict", "standard", "box0", "box1", "box2"])]) }
        if isPermit, chance(20) { clauses.append(["self-trust"]) }
        return [isPermit ? "permit" : "forbid", name + ":", service] + clauses.shuffled(using: &random).joined()
    }
}
