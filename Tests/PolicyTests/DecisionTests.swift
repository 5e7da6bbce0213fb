// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// Requests as the tests write them.
enum Ask {
    static func request(
        _ service: Service = .rexec, from source: String = "10.1.2.3", by remoteUser: String? = nil,
        as target: String = "alice", uid: UInt32? = nil, groups: [String] = [], isSystem: Bool = false,
        isGateway: Bool = false, run command: String = "id", program: RequestedCommand.Program?? = nil,
        at time: String = "2026-11-20T12:00"
    ) throws -> Request {
        var asked = RequestText.command(Array(command.utf8))
        if case .words(let words, _) = asked, case .some(let program) = program {
            asked = .words(words, program: program)
        }
        let name = try #require(UserName(target))
        return Request(
            service: service, source: try #require(IPAddress(source)), sourcePort: 1_023,
            remoteUser: try remoteUser.map { try #require(UserName($0)) },
            target: Account(
                name: name, uid: uid ?? (name == .root ? 0 : 1_000), groups: groups.map { ByteText($0) },
                isSystem: isSystem, isGateway: isGateway),
            command: asked, time: try #require(RequestText.time(time)))
    }
}

/// A policy of rules alone, both services on.
func policy(_ rules: String, settings: String = "securetcpip off") throws -> Policy {
    let text = """
        \(settings)
        service rexec { enable }
        service rsh {
            enable
            trust file "rhosts"
        }
        \(rules)
        """
    let loaded = PolicyText.load(SourceFile(name: "test.policy", text: text))
    return try #require(loaded.policy, "\(loaded.diagnostics.map(\.text).joined())")
}

/// "The decision" of the language, sentence by sentence.
@Suite struct DecisionTests {
    /// The decision as a policy test would state it.
    private func decide(_ rules: String, _ request: Request, settings: String = "securetcpip off") throws -> String {
        PolicyTest.text(try policy(rules, settings: settings).decide(request))
    }

    // MARK: The order of reasons

    @Test func anEmptyPolicyDenies() throws {
        #expect(try decide("", Ask.request()) == "deny no-rule")
        #expect(PolicyTest.text(Policy().decide(try Ask.request())) == "deny service-disabled")
    }

    @Test func aServiceThatIsOffComesBeforeEveryRule() throws {
        let rules = "permit all: any from any by any as any run shell\nforbid all-of-it: any"
        #expect(
            try decide(rules, Ask.request(.rsh, by: "bob"), settings: "securetcpip on") == "deny service-disabled")
        #expect(try decide(rules, Ask.request(.rexec), settings: "securetcpip on") == "deny forbidden all-of-it")
    }

    @Test(arguments: [
        ("securetcpip on", "rcp -f x", Service.rexec, "deny service-disabled"),
        ("securetcpip on", "/usr/local/bin/rcp -f x", .rexec, "deny service-disabled"),
        ("securetcpip on", "rcp -f *", .rexec, "deny service-disabled"),
        ("securetcpip on", "arcp -f x", .rexec, "permit all"),
        ("securetcpip on except rcp", "rcp -f x", .rexec, "permit all"),
        ("securetcpip on except rsh", "rcp -f x", .rsh, "deny service-disabled"),
        ("securetcpip on except rsh", "id", .rsh, "permit all"),
        ("securetcpip on except rsh, rcp", "rcp -f x", .rsh, "permit all"),
        ("securetcpip off", "rcp -f x", .rsh, "permit all"),
        ("", "id", .rsh, "deny service-disabled"),
    ])
    func securetcpipHasRcpOffOnBothServices(_ settings: String, _ command: String, _ service: Service, _ word: String)
        throws
    {
        let remote: String? = service == .rsh ? "bob" : nil
        let request = try Ask.request(service, by: remote, run: command)
        #expect(try decide("permit all: any from any by any as any run shell", request, settings: settings) == word)
    }

    @Test func aForbidBeatsEveryPermitWhereverItStands() throws {
        let permit = "permit all: rexec from any as any run any"
        let forbid = "forbid net: any from 10.1.0.0/16"
        #expect(try decide("\(permit)\n\(forbid)", Ask.request()) == "deny forbidden net")
        #expect(try decide("\(forbid)\n\(permit)", Ask.request()) == "deny forbidden net")
        #expect(try decide("\(forbid)\n\(permit)", Ask.request(from: "10.2.0.1")) == "permit all")
    }

    @Test func theFirstWrittenForbidIsNamed() throws {
        let rules = "forbid one: any as alice\nforbid two: any"
        #expect(try decide(rules, Ask.request()) == "deny forbidden one")
        #expect(try decide(rules, Ask.request(as: "bob")) == "deny forbidden two")
    }

    @Test func theFirstWrittenPermitSuppliesTheObligations() throws {
        let policy = try policy(
            """
            permit narrow: rexec from 10.1.2.3 as alice run any sandbox standard
            permit wide: rexec from any as any run any
            """)
        guard case .permit(let terms) = policy.decide(try Ask.request()) else {
            Issue.record("no permit")
            return
        }
        #expect(terms.rule == RuleReference(name: "narrow", place: FilePlace(file: "test.policy", line: 7)))
        #expect(policy.sandboxes[terms.sandbox].name == "standard")
        guard case .permit(let other) = policy.decide(try Ask.request(as: "bob")) else {
            Issue.record("no permit")
            return
        }
        #expect(policy.sandboxes[other.sandbox].name == "strict")
    }

    @Test func whatNeedsAShellIsDeniedAsThatUnlessAShellIsPermitted() throws {
        #expect(
            try decide("permit a: rexec from any as any run any", Ask.request(run: "id; id")) == "deny needs-shell")
        #expect(try decide("permit a: rexec from any as any run shell", Ask.request(run: "id; id")) == "permit a")
        #expect(try decide("", Ask.request(run: "id; id")) == "deny needs-shell")
    }

    @Test func aProgramThatWasNotFoundIsItsOwnReason() throws {
        let missing = try Ask.request(run: "nothing-here", program: .some(nil))
        #expect(try decide("permit a: rexec from any as any run any", missing) == "deny command-not-found")
        #expect(try decide("", missing) == "deny command-not-found")
        #expect(try decide("permit a: rexec from any as any run shell", missing) == "permit a")
    }

    @Test(arguments: ["id", "./id", "usr/bin/id", "/usr//bin/id", "/usr/bin/../bin/id", "/usr/bin/./id", "/usr/bin/"])
    func aFirstWordWithASlashIsAbsoluteAndPlainOrNotFound(_ word: String) throws {
        let isGood = word == "id"
        let rules = "permit a: rexec from any as any run any"
        #expect(try decide(rules, Ask.request(run: word)) == (isGood ? "permit a" : "deny command-not-found"))
    }

    @Test func ofAProgramThatWasNotFoundOnlyForbidsThatDoNotLookAtItSpeak() throws {
        let missing = try Ask.request(run: "nothing-here", program: .some(nil))
        #expect(try decide("forbid f: any as alice", missing) == "deny forbidden f")
        #expect(try decide("forbid f: any run any", missing) == "deny forbidden f")
        #expect(try decide("forbid f: any run shell", missing) == "deny command-not-found")
        #expect(try decide("forbid f: any run \"/usr/bin/nothing-here\"", missing) == "deny command-not-found")
    }

    // MARK: run

    @Test func aForbiddenPatternHoldsWhatAShellWouldRunIfItsWordsMatch() throws {
        let rules = "permit s: rexec from any as any run shell\nforbid f: any run \"/usr/bin/id *\""
        #expect(try decide(rules, Ask.request(run: "id -u")) == "deny forbidden f")
        #expect(try decide(rules, Ask.request(run: "who")) == "permit s")
        // Interpreters, and strings that need a shell, get round a pattern: check warns of it.
        #expect(try decide(rules, Ask.request(run: "id -u; true")) == "permit s")
    }

    @Test func forbidShellMeansTheStringsThatNeedOne() throws {
        let rules = "permit s: rexec from any as any run shell\nforbid f: any run shell"
        #expect(try decide(rules, Ask.request(run: "id | cat")) == "deny forbidden f")
        #expect(try decide(rules, Ask.request(run: "id")) == "permit s")
    }

    @Test func aForbiddenPatternIsAlsoHeldAgainstThePathWithItsLinksResolved() throws {
        let rules = "permit a: rexec from any as any run any\nforbid f: any run \"/usr/bin/mawk *\""
        let linked = RequestedCommand.Program(path: "/usr/bin/awk", resolvedPath: "/usr/bin/mawk")
        let plain = RequestedCommand.Program(path: "/usr/bin/awk", resolvedPath: "/usr/bin/awk")
        #expect(try decide(rules, Ask.request(run: "awk 1", program: linked)) == "deny forbidden f")
        #expect(try decide(rules, Ask.request(run: "awk 1", program: plain)) == "permit a")
        // A permit is held against the path that runs, and no other.
        let permit = "permit a: rexec from any as any run \"/usr/bin/mawk *\""
        #expect(try decide(permit, Ask.request(run: "awk 1", program: linked)) == "deny no-rule")
    }

    @Test(arguments: [
        ("/bin/id", "/usr/bin/id"), ("/usr/bin/id", "/bin/id"), ("/sbin/ip", "/usr/sbin/ip"),
        ("/usr/sbin/ip", "/sbin/ip"), ("/bin/id", "/bin/id"),
    ])
    func binAndSbinAreThoseUnderUsr(_ pattern: String, _ command: String) throws {
        let path = ByteText(command)
        let program = RequestedCommand.Program(path: path, resolvedPath: path)
        let request = try Ask.request(run: command, program: program)
        #expect(try decide("permit a: rexec from any as any run \"\(pattern)\"", request) == "permit a")
        #expect(try decide("forbid f: any run \"\(pattern)\"", request) == "deny forbidden f")
    }

    @Test func wordsAreExecutedAsTheyAreAndOnlyAShellPermitUsesAShell() throws {
        func usesShell(_ run: String, _ command: String) throws -> Bool? {
            let decision = try policy("permit a: rexec from any as any run \(run)").decide(Ask.request(run: command))
            guard case .permit(let terms) = decision else { return nil }
            return terms.usesShell
        }
        #expect(try usesShell("any", "id") == false)
        #expect(try usesShell("\"/usr/bin/id\"", "id") == false)
        #expect(try usesShell("shell", "id") == true)
        #expect(try usesShell("{ \"/usr/bin/id\", shell }", "id") == false)
        #expect(try usesShell("{ \"/usr/bin/id\", shell }", "id; id") == true)
        #expect(try usesShell("\"/usr/bin/id\"", "id; id") == nil)
    }

    // MARK: by

    @Test func inAnAnyRuleAByOtherThanAnyMatchesRshAlone() throws {
        let permit = "permit a: any from any by bob as any run any"
        #expect(try decide(permit, Ask.request(.rsh, by: "bob")) == "permit a")
        #expect(try decide(permit, Ask.request(.rexec)) == "deny no-rule")
        let forbid = "permit a: any from any by any as any run any\nforbid f: any by bob"
        #expect(try decide(forbid, Ask.request(.rsh, by: "bob")) == "deny forbidden f")
        #expect(try decide(forbid, Ask.request(.rsh, by: "Bob")) == "permit a")
        #expect(try decide(forbid, Ask.request(.rexec)) == "permit a")
        #expect(
            try decide("permit a: any from any by any as any run any", Ask.request(.rexec)) == "permit a")
    }

    @Test func sameInAnAnyRuleMatchesRshAlone() throws {
        let rules = "permit a: any from any by any as same run any"
        #expect(try decide(rules, Ask.request(.rsh, by: "alice")) == "permit a")
        #expect(try decide(rules, Ask.request(.rsh, by: "bob")) == "deny no-rule")
        #expect(try decide(rules, Ask.request(.rexec)) == "deny no-rule")
    }

    // MARK: as

    /// What the clause says, whether it is a system account, whether the gateway's, and whether a permit matches.
    @Test(arguments: [
        ("any", false, false, true), ("any", true, false, false), ("any", false, true, false),
        ("%staff", false, false, true), ("%staff", true, false, false), ("%staff", false, true, false),
        ("same", false, false, true), ("same", true, false, false), ("same", false, true, false),
        ("alice", false, false, true), ("alice", true, false, true), ("alice", true, true, true),
        ("@people", true, false, true), ("bob", false, false, false), ("%other", false, false, false),
    ])
    func wideWordsMatchNoSystemAccountAndNeverTheGatewaysOwn(
        _ word: String, _ isSystem: Bool, _ isGateway: Bool, _ isPermitted: Bool
    ) throws {
        let request = try Ask.request(
            .rsh, by: "alice", groups: ["staff"], isSystem: isSystem, isGateway: isGateway)
        let rules = "users people = { alice }\npermit a: rsh from any by any as \(word) run any"
        #expect(try decide(rules, request) == (isPermitted ? "permit a" : "deny no-rule"))
        // A forbid is read as widely as its words can be.
        let forbid = "users people = { alice }\nforbid f: rsh as \(word)"
        let isMeant = word != "bob" && word != "%other"
        #expect(try decide(forbid, request) == (isMeant ? "deny forbidden f" : "deny no-rule"))
    }

    @Test(arguments: [
        ("root", "root", UInt32(0), true), ("any", "root", 0, false), ("%root", "root", 0, false),
        ("same", "root", 0, false), ("@roots", "root", 0, false), ("toor", "toor", 0, false),
        ("root", "toor", 0, false),
        ("{ bob, root }", "root", 0, true),
    ])
    func uid0IsPermittedOnlyByTheLiteralNameRoot(
        _ word: String, _ name: String, _ uid: UInt32, _ isPermitted: Bool
    ) throws {
        let request = try Ask.request(.rsh, by: name, as: name, uid: uid, groups: ["root"])
        let rules = "users roots = { root }\npermit a: rsh from any by any as \(word) run any"
        #expect(try decide(rules, request) == (isPermitted ? "permit a" : "deny no-rule"))
    }

    @Test(arguments: ["root", "@roots"])
    func forbidAsRootMeansUid0(_ word: String) throws {
        let rules =
            "users roots = { root }\nforbid f: any as \(word)\npermit a: rexec from any as { toor, root } run any"
        #expect(try decide(rules, Ask.request(as: "toor", uid: 0)) == "deny forbidden f")
        #expect(try decide(rules, Ask.request(as: "root", uid: 0)) == "deny forbidden f")
        #expect(try decide(rules, Ask.request(as: "toor", uid: 1_001)) == "permit a")
    }

    @Test func namesCompareAsBytes() throws {
        let rules = "permit a: rexec from any as alice run any"
        #expect(try decide(rules, Ask.request(as: "Alice")) == "deny no-rule")
        #expect(try decide(rules, Ask.request(as: "alice.")) == "deny no-rule")
        #expect(try decide(rules, Ask.request(as: "alic")) == "deny no-rule")
    }

    // MARK: from

    @Test(arguments: [
        ("10.20.0.0/16", "10.20.255.255", true), ("10.20.0.0/16", "10.21.0.0", false),
        ("10.20.0.0/16", "10.19.255.255", false), ("0.0.0.0/0", "255.255.255.255", true),
        ("::/0", "10.1.2.3", false), ("::/0", "::ffff:10.1.2.3", false), ("10.1.2.3", "::ffff:10.1.2.3", true),
        ("2001:db8:20::/48", "2001:db8:20:ffff::1", true), ("2001:db8:20::/48", "2001:db8:21::1", false),
        ("any", "10.1.2.3", true), ("any", "2001:db8::1", true),
    ])
    func blocksHoldTheirOwnFamilyAndNoMore(_ block: String, _ source: String, _ isPermitted: Bool) throws {
        let rules = "permit a: rexec from \(block) as any run any"
        #expect(try decide(rules, Ask.request(from: source)) == (isPermitted ? "permit a" : "deny no-rule"))
    }

    // MARK: Guests

    /// `as pool` is for who came through that pool, everything else in a permit for who came by the account's name;
    /// a forbid matches the account, however it was asked for.
    @Test(
        arguments: [
            ("permit p: rexec from any as pool g run any", "g", "permit p"),
            ("permit p: rexec from any as pool g run any", nil, "deny no-rule"),
            ("permit p: rexec from any as pool h run any", "g", "deny no-rule"),
            ("permit p: rexec from any as { pool h, pool g } run any", "g", "permit p"),
            ("permit p: rexec from any as any run any", "g", "deny no-rule"),
            ("permit p: rexec from any as visitor run any", "g", "deny no-rule"),
            ("permit p: rexec from any as %wheel run any", "g", "deny no-rule"),
            ("permit p: rexec from any as { pool g, visitor } run any", nil, "permit p"),
            ("permit p: rexec from any as pool g run any\nforbid f: any as visitor", "g", "deny forbidden f"),
            ("permit p: rexec from any as pool g run any\nforbid f: any as %wheel", "g", "deny forbidden f"),
            ("permit p: rexec from any as pool g run any\nforbid f: any as any", "g", "deny forbidden f"),
            ("permit p: rexec from any as pool g run any\nforbid f: any as guest", "g", "permit p"),
        ] as [(String, String?, String)])
    func aPoolsPermitIsForItsGuestsAlone(_ rules: String, _ pool: String?, _ word: String) throws {
        var request = try Ask.request(as: "visitor", groups: ["wheel"])
        request.target.pool = pool
        let text = "pool g = { visitor }\npool h = { other }\n" + rules
        #expect(try decide(text, request) == word)
        #expect(PolicyTest.text(PolicyIndex(try policy(text)).decide(request)) == word)
        guard pool != nil, word.hasPrefix("permit") else { return }
        // A login shell is nothing that a guest's account needs.
        request.target.isSystem = true
        #expect(try decide(text, request) == word)
        for change in [{ $0.uid = 999 }, { $0.uid = 0 }, { $0.isGateway = true }] as [(inout Account) -> Void] {
            var other = request
            change(&other.target)
            #expect(try decide(text, other) == "deny no-rule")
            #expect(PolicyTest.text(PolicyIndex(try policy(text)).decide(other)) == "deny no-rule")
        }
    }

    @Test func setsOfSetsHoldWhatTheirMembersHold() throws {
        let rules = """
            networks outer = { @inner, 192.0.2.1 }
            networks inner = { 10.1.0.0/16 }
            permit a: rexec from { @outer, 198.51.100.7 } as any run any
            """
        for source in ["10.1.2.3", "192.0.2.1", "198.51.100.7"] {
            #expect(try decide(rules, Ask.request(from: source)) == "permit a")
        }
        #expect(try decide(rules, Ask.request(from: "192.0.2.2")) == "deny no-rule")
    }

    // MARK: during

    /// 2026-11-20 is a Friday.
    @Test(arguments: [
        ("fri 22:00-04:00", "2026-11-20T22:00", true), ("fri 22:00-04:00", "2026-11-20T21:59", false),
        ("fri 22:00-04:00", "2026-11-21T03:59", true), ("fri 22:00-04:00", "2026-11-21T04:00", false),
        ("fri 22:00-04:00", "2026-11-20T03:00", false), ("mon-fri 22:00-04:00", "2026-11-21T00:00", true),
        ("mon-fri 22:00-04:00", "2026-11-22T00:00", false), ("sat 00:00-24:00", "2026-11-21T23:59", true),
        ("sat 00:00-24:00", "2026-11-22T00:00", false), ("sat-mon 08:00-09:00", "2026-11-22T08:30", true),
        ("sat-mon 08:00-09:00", "2026-11-24T08:30", false), ("sun 23:00-01:00", "2026-11-23T00:30", true),
        ("fri 22:00-00:00", "2026-11-20T23:59", true), ("fri 22:00-00:00", "2026-11-21T00:00", false),
    ])
    func aRangePastMidnightBelongsToTheDayItStartsOn(_ hours: String, _ time: String, _ isPermitted: Bool) throws {
        let rules = "permit a: rexec from any as any run any during \(hours)"
        #expect(try decide(rules, Ask.request(at: time)) == (isPermitted ? "permit a" : "deny no-rule"))
        let forbid = "permit a: rexec from any as any run any\nforbid f: any during \(hours)"
        #expect(try decide(forbid, Ask.request(at: time)) == (isPermitted ? "deny forbidden f" : "permit a"))
    }

    // MARK: Patterns

    @Test(arguments: [
        ("/usr/bin/id", "id", true), ("/usr/bin/id", "id -u", false), ("/usr/bin/id -u", "id", false),
        ("/usr/bin/id *", "id", true), ("/usr/bin/id *", "id -u -n", true), ("/usr/bin/id -u *", "id -u", true),
        ("/usr/bin/id -u *", "id -n", false), ("/usr/bin/id <int>", "id 42", true),
        ("/usr/bin/id <int>", "id -42", false),
        ("/usr/bin/id <int>", "id ''", false), ("/usr/bin/id <int>", "id 4x", false),
        ("/usr/bin/id <int>", "id ٤", false),
        ("/usr/bin/id <word>", "id a-b_c.9", true), ("/usr/bin/id <word>", "id -a", false),
        ("/usr/bin/id <word>", "id a/b", false), ("/usr/bin/id <word>", "id ''", false),
        ("/usr/bin/id <word>", "id 'a b'", false), ("/usr/bin/id <word>", "id é", false),
        ("/usr/bin/id <path /home>", "id /home", true), ("/usr/bin/id <path /home>", "id /home/x/y", true),
        ("/usr/bin/id <path /home>", "id /homes", false), ("/usr/bin/id <path /home>", "id /home/../etc", false),
        ("/usr/bin/id <path /home>", "id /home/./x", false), ("/usr/bin/id <path /home>", "id /home//x", false),
        ("/usr/bin/id <path /home>", "id //home", false), ("/usr/bin/id <path /home>", "id home/x", false),
        ("/usr/bin/id <path /home>", "id /home/..", false), ("/usr/bin/id <path /home>", "id /home/..x", true),
        ("/usr/bin/id <path />", "id /etc/shadow", true), ("/usr/bin/id <path />", "id etc", false),
        ("/usr/bin/id 'a b'", "id 'a b'", true), ("/usr/bin/id 'a b'", "id a b", false),
        ("/usr/bin/id '*'", "id '*'", true), ("/usr/bin/id '*'", "id x", false),
        ("/usr/bin/id '<int>'", "id '<int>'", true), ("/usr/bin/id '<int>'", "id 5", false),
        ("/usr/bin/id ''", "id ''", true), ("/usr/bin/id ''", "id", false),
    ])
    func aTokenIsHeldAgainstOneArgumentWhole(_ pattern: String, _ command: String, _ isPermitted: Bool) throws {
        let rules = "permit a: rexec from any as any run \"\(pattern)\""
        #expect(try decide(rules, Ask.request(run: command)) == (isPermitted ? "permit a" : "deny no-rule"))
    }
}
