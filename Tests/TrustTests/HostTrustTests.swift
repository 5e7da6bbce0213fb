// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import TestSupport
import Testing
import Trust

/// What two files decide for alice at 10.0.0.1, who wants to be alice.
struct TrustCase: Sendable, CustomTestStringConvertible {
    var name: String
    var equiv: String?
    var rhosts: String?
    var by = "alice"
    var local = "alice"
    var address = "10.0.0.1"
    var trusted: Bool

    var testDescription: String { name }
}

@Suite struct HostTrustTests {
    @Test(arguments: [
        TrustCase(name: "no file at all", trusted: false),
        TrustCase(name: "an empty file", rhosts: "", trusted: false),
        TrustCase(name: "a host alone trusts the same name", rhosts: "10.0.0.1\n", trusted: true),
        TrustCase(name: "a host alone does not trust another name", rhosts: "10.0.0.1\n", by: "bob", trusted: false),
        TrustCase(name: "another host", rhosts: "10.0.0.2\n", trusted: false),
        TrustCase(name: "a named user", rhosts: "10.0.0.1 bob\n", by: "bob", trusted: true),
        TrustCase(name: "a named user is not another", rhosts: "10.0.0.1 bob\n", trusted: false),
        TrustCase(name: "users compare byte for byte", rhosts: "10.0.0.1 Alice\n", trusted: false),
        TrustCase(name: "hosts.equiv trusts too", equiv: "10.0.0.1\n", trusted: true),
        TrustCase(
            name: "a named user of hosts.equiv may be anybody", equiv: "10.0.0.1 bob\n", by: "bob", trusted: true),
        TrustCase(name: "CRLF", rhosts: "10.0.0.1 alice\r\n", trusted: true),
        TrustCase(name: "a last line without newline counts", rhosts: "10.0.0.9\n10.0.0.1", trusted: true),
        TrustCase(name: "a comment after the host is a comment", rhosts: "10.0.0.1 #bob\n", trusted: true),
        TrustCase(name: "a comment after the user", rhosts: "10.0.0.1 alice # hers\n", trusted: true),
        TrustCase(name: "a commented line says nothing", rhosts: "#10.0.0.1\n", trusted: false),
        TrustCase(name: "a leading blank rejects", rhosts: " 10.0.0.9\n10.0.0.1\n", trusted: false),
        TrustCase(name: "a NUL rejects", rhosts: "10.0.0.1\n10.0.0.9\u{0}\n", trusted: false),
        TrustCase(name: "a wildcard after the match rejects", rhosts: "10.0.0.1\n+\n", trusted: false),
        TrustCase(name: "a wildcard never trusts", rhosts: "+ +\n", trusted: false),
        TrustCase(name: "a wildcard user never trusts", rhosts: "10.0.0.1 +\n", trusted: false),
        TrustCase(name: "a bare minus rejects, and no later wildcard trusts", rhosts: "-\n+ +\n", trusted: false),
        TrustCase(name: "octal is no address", rhosts: "012.0.0.1\n", address: "10.0.0.1", trusted: false),
        TrustCase(name: "short is no address", rhosts: "10.1\n", trusted: false),
        TrustCase(name: "hexadecimal is no address", rhosts: "0x0a000001\n", trusted: false),
        TrustCase(name: "a number is no address", rhosts: "167772161\n", trusted: false),
        TrustCase(
            name: "a v4-mapped peer is its IPv4 address", rhosts: "10.0.0.1\n", address: "::ffff:10.0.0.1",
            trusted: true),
        TrustCase(name: "a v4-mapped entry rejects", rhosts: "::ffff:10.0.0.1\n", trusted: false),
        TrustCase(name: "an IPv6 peer", rhosts: "2001:db8::1\n", address: "2001:db8::1", trusted: true),
        TrustCase(
            name: "a minus host denies everybody", rhosts: "-10.0.0.1\n10.0.0.1 bob\n", by: "bob", trusted: false),
        TrustCase(
            name: "a minus host with a user denies that user", rhosts: "-10.0.0.1 alice\n10.0.0.1\n", trusted: false),
        TrustCase(
            name: "a minus host with a user leaves others alone", rhosts: "-10.0.0.1 bob\n10.0.0.1\n", trusted: true),
        TrustCase(name: "a minus user denies", rhosts: "10.0.0.1 -alice\n10.0.0.1\n", trusted: false),
        TrustCase(name: "a minus user leaves others alone", rhosts: "10.0.0.1 -bob\n10.0.0.1\n", trusted: true),
        TrustCase(name: "two minuses deny", rhosts: "-10.0.0.1 -alice\n10.0.0.1\n", trusted: false),
        TrustCase(name: "the first match decides", rhosts: "10.0.0.1\n-10.0.0.1\n", trusted: true),
        TrustCase(
            name: "hosts.equiv denies, .rhosts trusts", equiv: "-10.0.0.1\n", rhosts: "10.0.0.1\n", trusted: false),
        TrustCase(
            name: "hosts.equiv denies a user, .rhosts trusts", equiv: "10.0.0.1 -alice\n", rhosts: "10.0.0.1\n",
            trusted: false),
        TrustCase(
            name: "hosts.equiv trusts, .rhosts denies", equiv: "10.0.0.1\n", rhosts: "-10.0.0.1\n", trusted: false),
        TrustCase(
            name: "a rejected file vetoes nothing", equiv: "-10.0.0.1\n+\n", rhosts: "10.0.0.1\n", trusted: true),
        TrustCase(name: "a rejected file grants nothing", equiv: "10.0.0.1\n+\n", rhosts: "10.0.0.2\n", trusted: false),
        // FreeBSD keeps what a line found for the next one (facts of 2.3's "state bug").
        TrustCase(
            name: "no line lends its user to the next", rhosts: "10.0.0.9 alice\n10.0.0.1 -bob\n", by: "mallory",
            trusted: false),
        TrustCase(
            name: "no line lends its host to the next", rhosts: "10.0.0.1 alice\n-10.0.0.9 mallory\n", by: "mallory",
            trusted: false),
    ])
    func twoFilesDecide(_ row: TrustCase) throws {
        let verdict = HostTrust.decide(
            try claim(from: row.address, by: row.by, as: row.local), hostsEquiv: source(row.equiv),
            rhosts: source(row.rhosts), lookup: .none)
        #expect(verdict.isTrusted == row.trusted, "\(verdict.detail)")
    }

    @Test func theSuperuserIsTrustedOnlyByRootsOwnFileUnderAPermitThatNamesRoot() throws {
        let trusting = source("10.0.0.1 root\n")
        let named = try claim(by: "root", as: "root", superuser: true, namesRoot: true)
        let unnamed = try claim(by: "root", as: "root", superuser: true)
        #expect(!HostTrust.decide(named, hostsEquiv: trusting, rhosts: .absent, lookup: .none).isTrusted)
        #expect(HostTrust.decide(named, hostsEquiv: .absent, rhosts: trusting, lookup: .none).isTrusted)
        #expect(!HostTrust.decide(unnamed, hostsEquiv: trusting, rhosts: trusting, lookup: .none).isTrusted)
        // hosts.equiv is skipped whole, its vetoes too.
        let veto = source("-10.0.0.1\n")
        #expect(HostTrust.decide(named, hostsEquiv: veto, rhosts: trusting, lookup: .none).isTrusted)
    }

    @Test func theDetailSaysWhichLineDecidedOrWhyNoneDid() throws {
        let claim = try claim()
        let detail = { (equiv: String?, rhosts: String?) in
            HostTrust.decide(claim, hostsEquiv: source(equiv), rhosts: source(rhosts), lookup: .none).detail
        }
        #expect(detail("10.0.0.2\n10.0.0.1\n", nil) == "hosts.equiv:2")
        #expect(detail("10.0.0.1\n", "# no\n-10.0.0.1\n") == "denied by .rhosts:2")
        #expect(detail(nil, "10.0.0.1\n+\n") == "no hosts.equiv; .rhosts rejected: line 2: '+' is never honoured")
        #expect(detail(nil, "10.0.0.9\n") == "no hosts.equiv; no line of .rhosts matches")
    }

    /// Whoever gets a veto rejected by a bad line besides does not get that past who reads the record.
    @Test func theDetailSaysWhichFileWasRejectedHoweverTheOtherOneDecides() throws {
        let claim = try claim()
        let decide = { (equiv: String?, rhosts: String?) in
            HostTrust.decide(claim, hostsEquiv: source(equiv), rhosts: source(rhosts), lookup: .none)
        }
        let reason = "rejected: line 2: '+' is never honoured"
        let trusted = decide("-10.0.0.1\n+\n", "10.0.0.1\n")
        #expect(trusted.isTrusted)
        #expect(trusted.detail == ".rhosts:1; hosts.equiv \(reason)")
        #expect(decide("10.0.0.1\n", "-10.0.0.1\n+\n").detail == "hosts.equiv:1; .rhosts \(reason)")
        #expect(decide("-10.0.0.1\n+\n", "-10.0.0.1\n").detail == "denied by .rhosts:1; hosts.equiv \(reason)")
    }

    // MARK: Link-local

    @Test(arguments: [
        ("fe80::1%eth0\n", UInt32(2), true), ("fe80::1%eth0\n", 3, false), ("fe80::1%eth0\n", 0, false),
        ("fe80::1%eth9\n", 2, false), ("fe80::2%eth0\n", 2, false),
        ("-fe80::1%eth0\nfe80::1%eth0\n", 2, false), ("-fe80::1%eth9\nfe80::1%eth0\n", 2, false),
        ("-fe80::2%eth9\nfe80::1%eth0\n", 2, true),
    ])
    func aLinkLocalAddressIsMeantOnItsInterface(text: String, scope: UInt32, trusted: Bool) throws {
        let verdict = HostTrust.decide(
            try claim(from: "fe80::1", scope: scope), hostsEquiv: .absent, rhosts: source(text), lookup: lookup())
        #expect(verdict.isTrusted == trusted)
    }

    // MARK: Names

    @Test(arguments: [
        ("build\n", true), ("BUILD\n", true), ("other\n", false), ("nosuch\n", false), ("build bob\n", false),
        ("-build\n10.0.0.1\n", false), ("-other\n10.0.0.1\n", true), ("-nosuch\n10.0.0.1\n", false),
        ("-failing\n10.0.0.1\n", false), ("failing\n10.0.0.1\n", true), ("failing -alice\n10.0.0.1\n", false),
        ("nosuch -alice\n10.0.0.1\n", false), ("nosuch -bob\n10.0.0.1\n", true), ("-empty\n10.0.0.1\n", false),
        ("short\n", true), ("short.elsewhere\n", false), ("-short\n10.0.0.1\n", false), ("-half\n10.0.0.1\n", false),
    ])
    func namesAreResolvedForward(text: String, trusted: Bool) throws {
        let here = HostTrust.NameAnswer.addresses([IPAddress(v4: 0x0A00_0001)])
        let there = HostTrust.NameAnswer.addresses([IPAddress(v4: 0x0A00_0002)])
        let names = [
            "build": here, "other": there, "failing": .failed, "empty": .addresses([]),
            "short.example.org": here, "half": there, "half.example.org": .failed,
        ]
        let verdict = HostTrust.decide(
            try claim(), hostsEquiv: .absent, rhosts: source(text, names: .dns),
            lookup: lookup(names, domain: "example.org"))
        #expect(verdict.isTrusted == trusted, "\(verdict.detail)")
    }

    @Test func noNameIsLookedUpForAUserWhomTheLineDoesNotMean() throws {
        var asked: [ByteText] = []
        let lookup = HostTrust.Lookup(
            addresses: { name in
                asked.append(name)
                return .unknown
            }, interfaceIndex: { _ in nil }, localDomain: nil)
        _ = HostTrust.decide(
            try claim(), hostsEquiv: source("a bob\nb\n", names: .dns), rhosts: .absent, lookup: lookup)
        #expect(asked == ["b"])
    }

    @Test func withNamesRefusedANameRejectsTheFile() throws {
        let here = HostTrust.NameAnswer.addresses([IPAddress(v4: 0x0A00_0001)])
        let verdict = HostTrust.decide(
            try claim(), hostsEquiv: .absent, rhosts: source("build\n10.0.0.1\n"), lookup: lookup(["build": here]))
        #expect(!verdict.isTrusted)
    }

    // MARK: The central file

    @Test(arguments: [
        ("10.0.0.1 alice bob\n", true), ("10.0.0.1 alice alice\n", false), ("10.0.0.1 bob bob\n", false),
        ("10.0.0.2 alice bob\n", false), ("-10.0.0.1 alice bob\n10.0.0.1 alice bob\n", false),
        ("10.0.0.1 -alice bob\n10.0.0.1 alice bob\n", false), ("10.0.0.1 -alice carol\n10.0.0.1 alice bob\n", true),
        ("10.0.0.1 alice bob\n10.0.0.1\n", false),
    ])
    func theCentralFileNamesTheLocalUserToo(text: String, trusted: Bool) throws {
        let verdict = HostTrust.decide(
            try claim(by: "alice", as: "bob"), central: source(text, grammar: .central), lookup: .none)
        #expect(verdict.isTrusted == trusted, "\(verdict.detail)")
    }

    // MARK: Properties

    private static let lines = [
        "10.0.0.1", "10.0.0.1 alice", "10.0.0.1 bob", "10.0.0.1 -alice", "-10.0.0.1", "-10.0.0.1 bob", "10.0.0.2",
        "# a comment", "", "10.0.0.1 -bob", "-10.0.0.2",
    ]

    private static func randomText(_ random: inout SeededGenerator) -> String? {
        guard Int.random(in: 0...5, using: &random) > 0 else { return nil }
        return (0..<Int.random(in: 0...5, using: &random))
            .map { _ in (lines.randomElement(using: &random) ?? "") + "\n" }.joined()
    }

    /// The naive reading of the rules, written apart from the code: first match of each file, negatives final.
    private static func naive(_ texts: [String?], by remote: String, as local: String) -> Bool {
        var trusted = false
        for text in texts {
            for line in (text ?? "").split(separator: "\n") where !line.hasPrefix("#") {
                let fields = line.split(separator: " ")
                guard let host = fields.first else { continue }
                let user = fields.count > 1 ? String(fields[1]) : nil
                let denies = host.hasPrefix("-") || user?.hasPrefix("-") == true
                guard host.drop(while: { $0 == "-" }) == "10.0.0.1" else { continue }
                let named = user.map { String($0.drop { $0 == "-" }) }
                guard denies && named == nil || remote == named ?? local else { continue }
                if denies { return false }
                trusted = true
                break
            }
        }
        return trusted
    }

    @Test func randomFilesAreDecidedAsTheNaiveReadingDoes() throws {
        let seed: UInt64 = .random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<3_000 {
            let texts = [Self.randomText(&random), Self.randomText(&random)]
            for by in ["alice", "bob"] {
                let verdict = HostTrust.decide(
                    try claim(by: by), hostsEquiv: source(texts[0]), rhosts: source(texts[1]), lookup: .none)
                #expect(
                    verdict.isTrusted == Self.naive(texts, by: by, as: "alice"),
                    "seed \(seed), \(texts), \(verdict.detail)")
            }
        }
    }

    @Test func aDenyingLineMoreNeverTrusts() throws {
        let seed: UInt64 = .random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<1_000 {
            let equiv = Self.randomText(&random)
            let rhosts = Self.randomText(&random) ?? ""
            let claim = try claim()
            let before = HostTrust.decide(claim, hostsEquiv: source(equiv), rhosts: source(rhosts), lookup: .none)
            for denial in ["-10.0.0.1\n", "10.0.0.1 -alice\n", "+\n"] {
                let after = HostTrust.decide(
                    claim, hostsEquiv: source(equiv), rhosts: source(denial + rhosts), lookup: .none)
                // A rejected file vetoes nothing, so a wildcard may undo a veto of the same file, which is documented.
                if denial != "+\n" { #expect(before.isTrusted || !after.isTrusted, "seed \(seed)") }
                if denial == "+\n" {
                    let without = HostTrust.decide(
                        claim, hostsEquiv: source(equiv), rhosts: .absent, lookup: .none)
                    #expect(after.isTrusted == without.isTrusted, "seed \(seed)")
                }
            }
        }
    }
}
