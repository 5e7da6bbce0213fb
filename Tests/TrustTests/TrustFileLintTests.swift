// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing
import Trust

/// What people are told of each line, and that it is what the decision does.
@Suite struct TrustFileLintTests {
    @Test(arguments: [
        ("10.0.0.1", TrustFilePlace.hostsEquiv, "trusts each account's namesake at 10.0.0.1" as String?),
        ("10.0.0.1", .rhosts(of: "bob"), "trusts bob at 10.0.0.1 as bob"),
        ("10.0.0.1 alice", .hostsEquiv, "trusts alice at 10.0.0.1 as any account but uid 0"),
        ("10.0.0.1 alice", .rhosts(of: "bob"), "trusts alice at 10.0.0.1 as bob"),
        ("-10.0.0.1", .hostsEquiv, "denies everybody at 10.0.0.1"),
        ("-10.0.0.1 alice", .rhosts(of: "bob"), "denies alice at 10.0.0.1"),
        ("10.0.0.1 -alice", .rhosts(of: "bob"), "denies alice at 10.0.0.1"),
        ("fe80::1%eth0 a\u{1B}[2J", .central, nil),
        ("10.0.0.1 alice bob", .central, "trusts alice at 10.0.0.1 as bob"),
        ("10.0.0.1 -alice bob", .central, "denies alice at 10.0.0.1 as bob"),
        ("10.0.0.1 \u{E9}", .rhosts(of: "bob"), "trusts \\xc3\\xa9 at 10.0.0.1 as bob"),
    ])
    func aLineSaysWhomItTrustsFromWhereAndAsWhom(text: String, place: TrustFilePlace, meaning: String?) {
        let grammar = place == .central ? TrustFile.Grammar.central : .hostsEquiv
        let lint = TrustFileLint(Array(text.utf8), grammar: grammar, names: .refuse)
        guard case .entry(let entry)? = lint.lines.first?.finding else {
            #expect(meaning == nil)
            return
        }
        #expect(entry.meaning(in: place) == meaning)
    }

    @Test func everyLineIsJudgedAfterOneThatRejectsTheFile() {
        let text = "# ours\n10.0.0.1 alice\n\n+\n10.0.0.2\n+@ng x\n"
        let lint = TrustFileLint(Array(text.utf8), names: .refuse)
        #expect(lint.lines.map(\.number) == [2, 4, 5, 6])
        #expect(lint.rejection?.line == 4)
        #expect(lint.rejection?.problem == .wildcard)
        guard lint.lines.count == 4, case .rejects(let last) = lint.lines[3].finding,
            case .entry = lint.lines[2].finding
        else {
            Issue.record("\(lint.lines)")
            return
        }
        #expect(last.problem == .netgroup)
    }

    @Test(arguments: [
        ("10.0.0.1 alice\n10.0.0.1 alice\n", ServiceSettings.Names.refuse, [1]),
        ("10.0.0.1 alice\n10.0.0.1 -alice\n", .refuse, [1]),
        ("-10.0.0.1\n10.0.0.1 alice\n10.0.0.1\n", .refuse, [1, 1]),
        ("10.0.0.1\n-10.0.0.1\n", .refuse, []),
        ("10.0.0.1 alice\n-10.0.0.1\n10.0.0.1 bob\n", .refuse, [2]),
        ("10.0.0.1 alice\n10.0.0.2 alice\n10.0.0.1 bob\n", .refuse, []),
        ("build alice\nBUILD alice\n", .dns, [1]),
        // A name that cannot be resolved trusts nobody and denies: the second line then decides.
        ("build alice\nbuild -alice\n", .dns, []),
        ("build -alice\nbuild alice\n", .dns, [1]),
    ])
    func aLineThatAnEarlierOneAlwaysDecidesBeforeIsShadowed(
        text: String, names: ServiceSettings.Names, by: [Int]
    ) {
        let lint = TrustFileLint(Array(text.utf8), names: names)
        let found = lint.lines.compactMap { if case .shadowed(_, let line) = $0.finding { line } else { nil } }
        #expect(found == by)
    }

    /// Taking the shadowed lines away changes no decision, and the lint rejects what the decision's parser rejects.
    @Test func theLintAgreesWithTheDecision() throws {
        let seed: UInt64 = .random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let hosts = [
            "10.0.0.1", "-10.0.0.1", "10.0.0.2", "build", "-build", "gone", "-gone", "fe80::1%eth0", "-fe80::1%eth9",
            "+", "10.1",
        ]
        let users = ["", " alice", " -alice", " bob", " -bob", " +", "  # comment"]
        let lookup = lookup(["build": .addresses([IPAddress(v4: 0x0A00_0001)])])
        for _ in 0..<2_000 {
            let lines = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                let isOdd = Int.random(in: 0..<12, using: &random) == 0
                let host = (isOdd ? hosts[...] : hosts.dropLast(2)).randomElement(using: &random) ?? ""
                return host + (users.randomElement(using: &random) ?? "")
            }
            let bytes = Array(lines.joined(separator: "\n").utf8)
            let lint = TrustFileLint(bytes, names: .dns)
            let parsed = Result { try TrustFile(bytes, names: .dns) }
            guard case .success(let file) = parsed else {
                guard case .failure(let error) = parsed else { return }
                #expect(lint.rejection == error as? TrustFileError, "seed \(seed)")
                continue
            }
            #expect(lint.rejection == nil, "seed \(seed)")
            let kept = lint.lines.filter { if case .entry = $0.finding { true } else { false } }
            let text = kept.map { $0.text.bytes }.joined(separator: [UInt8(ascii: "\n")])
            let shorter = try TrustFile(Array(text), names: .dns)
            for remote in ["alice", "bob"] {
                for (address, scope) in [("10.0.0.1", UInt32(0)), ("10.0.0.2", 0), ("10.0.0.3", 0), ("fe80::1", 2)] {
                    let claim = try claim(from: address, scope: scope, by: remote, as: "alice")
                    let long = HostTrust.decide(claim, hostsEquiv: .absent, rhosts: .file(file), lookup: lookup)
                    let short = HostTrust.decide(claim, hostsEquiv: .absent, rhosts: .file(shorter), lookup: lookup)
                    #expect(long.isTrusted == short.isTrusted, "seed \(seed): \(lines)")
                }
            }
        }
    }

    @Test func aFileOverTheLimitHasNoLines() {
        let lint = TrustFileLint([UInt8](repeating: 10, count: TrustFile.sizeLimit + 1), names: .refuse)
        #expect(lint.lines.isEmpty)
        #expect(lint.rejection?.problem == .fileTooLong)
    }
}
