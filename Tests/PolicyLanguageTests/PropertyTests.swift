// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import TestSupport
import Testing

/// Random policies and requests out of few parts, so that they meet often.
struct Generator {
    var random: SeededGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
    }

    mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int.random(in: values.indices, using: &random)]
    }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    private mutating func list(_ items: [String]) -> String {
        guard chance(30) else { return pick(items) }
        return "{ \((0...Int.random(in: 0...2, using: &random)).map { _ in pick(items) }.joined(separator: ", ")) }"
    }

    private static let blocks = [
        "10.1.2.3", "10.1.2.2/31", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::1", "2001:db8::/32", "@near",
        "@far",
    ]
    private static let commands = [
        "\"/usr/bin/id\"", "\"/usr/bin/id *\"", "\"/usr/bin/id -u <word>\"", "\"/bin/id <int>\"",
        "\"/usr/bin/id <path /home>\"", "\"/usr/bin/who\"", "@tools",
    ]
    private static let hours = ["mon-fri 08:00-18:00", "fri 22:00-04:00", "sat-sun 00:00-24:00", "@nights"]

    static let head = """
        securetcpip off
        service rexec { enable }
        service rsh {
            enable
            trust file "rhosts"
        }
        networks near = { 10.1.2.0/24, @far }
        networks far = { 192.0.2.0/24, ::1 }
        users people = { alice, bob, root }
        users crew = { @people, %wheel }
        commands tools = { "/usr/bin/who", "/usr/bin/id -n" }
        hours nights = { mon-sun 22:00-04:00 }

        """

    /// A rule without its name: `permit`, and what comes after the colon.
    mutating func rule(_ effect: Effect) -> String {
        let service = pick(["rexec", "rsh", "any", "any"])
        var clauses = [service]
        let mayLeaveOut = effect == .forbid
        if !mayLeaveOut || chance(50) { clauses.append("from " + (chance(20) ? "any" : list(Self.blocks))) }
        if service != "rexec", !mayLeaveOut || chance(30) {
            clauses.append("by " + (chance(40) ? "any" : list(["alice", "bob", "@people"])))
        }
        if !mayLeaveOut || chance(50) {
            let names = ["alice", "bob", "root", "%wheel", "@crew", "@people"] + (service == "rexec" ? [] : ["same"])
            clauses.append("as " + (chance(25) ? "any" : list(names)))
        }
        if !mayLeaveOut || chance(50) {
            clauses.append("run " + (chance(35) ? pick(["any", "shell"]) : list(Self.commands)))
        }
        if chance(25) { clauses.append("during " + list(Self.hours)) }
        if effect == .permit, chance(40) { clauses.append("sandbox " + pick(["strict", "standard", "home"])) }
        return clauses.joined(separator: " ")
    }

    /// Rules as whole lines, with names that count on.
    mutating func rules(_ count: Int, from first: Int = 0) -> [String] {
        (0..<count).map { index in
            let effect: Effect = chance(70) ? .permit : .forbid
            return "\(effect.name) r\(first + index): \(rule(effect))"
        }
    }

    mutating func request() throws -> Request {
        let service = pick([Service.rexec, .rsh])
        let target = pick(["alice", "bob", "root", "carol", "toor"])
        let name = try #require(UserName(target))
        let remote: UserName = try #require(UserName(pick(["alice", "bob", "mallory"])))
        let uid: UInt32 = target == "root" || target == "toor" ? 0 : 1_000
        let words = pick([
            "id", "id -u", "id -u x", "id 5", "id /home/a", "id /home/../a", "who", "id -n", "id; id", "./id", "ls",
        ])
        return Request(
            service: service,
            source: try #require(
                IPAddress(
                    pick([
                        "10.1.2.3", "10.1.2.2", "10.1.2.4", "10.2.0.0", "11.0.0.0", "192.0.2.1", "::1", "2001:db8::1",
                        "::ffff:10.1.2.3",
                    ]))),
            sourcePort: 1_023, remoteUser: service == .rsh ? remote : nil,
            target: Account(
                name: name, uid: uid, groups: chance(40) ? ["wheel"] : [], isSystem: chance(20), isGateway: chance(5)),
            command: RequestText.command(Array(words.utf8)),
            time: try #require(
                LocalTime(
                    weekday: Int.random(in: 0...6, using: &random),
                    minute: pick([0, 239, 240, 479, 480, 1_079, 1_080, 1_319, 1_320, 1_439])))
        )
    }
}

/// What holds of every policy, tried on many; a failure prints its seed.
@Suite struct PropertyTests {
    private func policy(_ rules: [String]) throws -> Policy {
        var none = NoPolicyFiles()
        let text = Generator.head + rules.joined(separator: "\n")
        let loaded = PolicyText.load(SourceFile(name: "t", text: text), files: &none, analyses: false)
        return try #require(loaded.policy, "\(loaded.diagnostics.map(\.text).joined())")
    }

    private func isPermit(_ decision: Decision) -> Bool {
        if case .permit = decision { true } else { false }
    }

    @Test(arguments: 0..<60 as Range<UInt64>) func addingAForbidNeverTurnsADenyIntoAPermit(_ seed: UInt64) throws {
        var generator = Generator(seed: seed)
        var rules = generator.rules(8)
        let before = try policy(rules)
        rules.insert(
            "forbid added: \(generator.rule(.forbid))", at: Int.random(in: 0...rules.count, using: &generator.random))
        let after = try policy(rules)
        for _ in 0..<80 {
            let request = try generator.request()
            if !isPermit(before.decide(request)) {
                #expect(!isPermit(after.decide(request)), "seed \(seed): \(rules) \(request)")
            }
        }
    }

    @Test(arguments: 100..<160 as Range<UInt64>) func theOrderOfRulesNeverChangesAnEffect(_ seed: UInt64) throws {
        var generator = Generator(seed: seed)
        let rules = generator.rules(8)
        let one = try policy(rules)
        let other = try policy(rules.shuffled(using: &generator.random))
        for _ in 0..<80 {
            let request = try generator.request()
            #expect(
                isPermit(one.decide(request)) == isPermit(other.decide(request)), "seed \(seed): \(rules) \(request)")
        }
    }

    @Test(arguments: 200..<300 as Range<UInt64>) func textToPolicyToTextIsTheIdentity(_ seed: UInt64) throws {
        var generator = Generator(seed: seed)
        let text = Generator.head + generator.rules(12).joined(separator: "\n")
        let once = load(text)
        let twice = load(once.canonicalText)
        #expect(twice.canonicalText == once.canonicalText, "seed \(seed)")
        #expect(
            CanonicalTextTests.withoutPlaces(twice.policy) == CanonicalTextTests.withoutPlaces(once.policy),
            "seed \(seed)")
        #expect(
            PolicyText.format(SourceFile(name: "t", text: once.canonicalText)).text == once.canonicalText,
            "seed \(seed)")
    }

    /// What would have to be otherwise: a near miss fails at exactly the clause that it names.
    @Test(arguments: 500..<530 as Range<UInt64>) func aNearMissFailsAtItsClauseAlone(_ seed: UInt64) throws {
        var generator = Generator(seed: seed)
        let policy = try policy(generator.rules(10))
        for _ in 0..<40 {
            let request = try generator.request()
            let explanation = policy.explain(request)
            #expect(explanation.decision == policy.decide(request))
            if case .deny(let denial) = explanation.decision, denial.reason == .forbidden {
                let others = policy.rules.filter { $0.effect == .forbid && $0.matches(request) }.dropFirst()
                #expect(explanation.nextForbid == others.first?.reference, "seed \(seed)")
            }
            for miss in explanation.nearMisses {
                let rule = try #require(policy.rules.first { $0.name == miss.rule.name })
                #expect(Clause.allCases.filter { !rule.matches(request, $0) } == [miss.clause], "seed \(seed)")
                #expect(!miss.wanted.isEmpty)
            }
        }
    }

    /// A pattern of literals is split as the command that it permits, so that what is written is what runs.
    @Test func aPatternIsSplitAsItsCommandIs() throws {
        var random = SeededGenerator(seed: 700)
        let alphabet = Array("ab /'\"\\=-.,:~$*?<>;|&(){}[]!#`\t".unicodeScalars)
        var compared = 0
        for _ in 0..<4_000 {
            let tail = (0..<Int.random(in: 0...8, using: &random)).compactMap { _ in
                alphabet.randomElement(using: &random)
            }
            let text = "/x " + String(String.UnicodeScalarView(tail))
            let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            let loaded = load("permit a: rexec from any as b run \"\(escaped)\"")
            guard let pattern = loaded.policy?.rules.first?.commands?.literal.first, !pattern.takesMore else {
                continue
            }
            let literals = pattern.arguments.compactMap { argument -> ByteText? in
                if case .literal(let literal) = argument { literal } else { nil }
            }
            guard literals.count == pattern.arguments.count else { continue }
            #expect(CommandLine(Array(text.utf8)) == .words(["/x"] + literals), "\(text)")
            compared += 1
        }
        #expect(compared > 200)
    }

    // MARK: No input traps

    @Test func randomBytesAreReadToTheirEnd() {
        var random = SeededGenerator(seed: 1_000)
        let alphabet = Array("{}\",\\\n #@%<>*/:.=-~[]0123456789abcdefrstuxy \r\t".utf8)
        for _ in 0..<400 {
            let isWild = Int.random(in: 0..<4, using: &random) == 0
            let bytes = (0..<Int.random(in: 0...400, using: &random)).map { _ in
                isWild
                    ? UInt8.random(in: .min ... .max, using: &random)
                    : alphabet[Int.random(in: alphabet.indices, using: &random)]
            }
            read(bytes)
        }
    }

    @Test func damagedPoliciesAreReadToTheirEnd() {
        var random = SeededGenerator(seed: 2_000)
        for _ in 0..<300 { read(damaged(Array(wholeLanguage.utf8), &random)) }
        for seed in 3_000..<3_300 as Range<UInt64> {
            var generated = GeneratedPolicy(seed: seed)
            read(damaged(Array(generated.dressed().utf8), &random))
        }
    }

    private func damaged(_ text: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = text
        for _ in 0...Int.random(in: 0...6, using: &random) {
            guard !bytes.isEmpty else { break }
            let place = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<9, using: &random) {
            case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
            case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes.remove(at: place)
            case 3: bytes.removeSubrange(place...)
            case 4:
                bytes.insert(
                    contentsOf: bytes[place...].prefix(40), at: Int.random(in: 0...bytes.count, using: &random))
            case 5:
                // Words in another order.
                let words = bytes.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
                bytes = Array(words.shuffled(using: &random).joined(separator: [UInt8(ascii: " ")]))
            case 6:
                // Lines in another order, some twice and some not at all.
                let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                let others = lines.indices.compactMap { _ in lines.randomElement(using: &random) }
                bytes = Array(others.joined(separator: [UInt8(ascii: "\n")]))
            case 7:
                // A number that fits nowhere.
                guard let digit = bytes.firstIndex(where: { (48...57).contains($0) }) else { break }
                let run = bytes[digit...].prefix { (48...57).contains($0) }
                let numbers = ["0", "00", "99999999999999999999", "-1", "4294967296", "9223372036854775808"]
                bytes.replaceSubrange(run.indices, with: Array((numbers.randomElement(using: &random) ?? "").utf8))
                // The next time another is the first.
                bytes.append(contentsOf: bytes[..<min(digit, 200)])
            default: bytes.insert(Array("{}\"\\#,@<*\n\r\0".utf8).randomElement(using: &random) ?? 0, at: place)
            }
        }
        return bytes
    }

    /// Reads bytes as a policy, as a file to format, and as tests; what is formatted reads the same.
    private func read(_ bytes: [UInt8]) {
        let file = SourceFile(name: "t", bytes: bytes)
        var none = NoPolicyFiles()
        let loaded = load(file, files: &none)
        #expect((loaded.policy == nil) == (loaded.errorCount > 0))
        for diagnostic in loaded.diagnostics { #expect(!diagnostic.text.isEmpty) }
        if let text = PolicyText.format(file).text {
            #expect(PolicyText.format(SourceFile(name: "t", text: text)).text == text)
            #expect(load(text).canonicalText == loaded.canonicalText)
        }
        if let now = LocalTime(weekday: 0, minute: 0) { _ = PolicyTestFile(file, now: now) }
    }

    // MARK: Size

    @Test func deepAndWideInputIsReadWithoutRecursion() {
        let deep = String(repeating: "{ ", count: 200_000)
        for head in ["", "networks n = ", "service rexec ", "sandbox s ", "forbid a: any from ", "refusal "] {
            #expect(load(head + deep).policy == nil)
            #expect(load(head + deep + String(repeating: "}", count: 200_000)).policy == nil)
        }
        for part in ["\"", "\\", "<", "'", "@", "\\\n", "#", ",", "= ", "permit a: "] {
            _ = load("permit a: rexec from any as b run " + String(repeating: part, count: 50_000))
        }
        let chain = (0..<3_000).map { "networks n\($0) = { \($0 == 2_999 ? "10.0.0.1" : "@n\($0 + 1)") }" }
        #expect(load(chain.joined(separator: "\n")).policy != nil)
        let extends = (0..<1_000).map { "sandbox s\($0) extends \($0 == 999 ? "strict" : "s\($0 + 1)") { }" }
        #expect(load(extends.joined(separator: "\n")).policy?.sandboxes.count == 1_000)
    }

    @Test func setsThatWouldGrowWithoutEndAreAnError() {
        // Each holds the one before it twice: thirty such sets would hold 2^30 items.
        let sets = (0..<30).map { "networks n\($0) = { \($0 == 0 ? "10.0.0.1" : "@n\($0 - 1), @n\($0 - 1)") }" }
        let loaded = load(sets.joined(separator: "\n"))
        #expect(loaded.policy == nil)
        #expect(loaded.diagnostics.contains { $0.message.contains("hold too much") })
    }
}
