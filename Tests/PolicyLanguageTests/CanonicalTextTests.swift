// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// The canonical text, which the revision digests, and what `fmt` prints.
@Suite struct CanonicalTextTests {
    @Test func theCanonicalTextOfTheWholeLanguageIsItsOwn() throws {
        let once = load(wholeLanguage)
        let twice = load(once.canonicalText)
        #expect(twice.canonicalText == once.canonicalText)
        #expect(Self.withoutPlaces(twice.policy) == Self.withoutPlaces(once.policy))
    }

    @Test func fmtOfAFileWithoutCommentsIsTheCanonicalText() throws {
        let canonical = load(wholeLanguage).canonicalText
        #expect(PolicyText.format(SourceFile(name: "t", text: canonical)).text == canonical)
    }

    @Test func commentsAndLayoutChangeNothingOfTheCanonicalText() {
        let plain = "forbid a: any from { 10.0.0.1, 10.0.0.2 }\nforbid b: any"
        let dressed =
            "# why\n\n\tforbid   a: any from {10.0.0.1 # one\n 10.0.0.2\n}   # two\n\n\n\nforbid b: \\\n any # three"
        #expect(load(plain).canonicalText == load(dressed).canonicalText)
    }

    @Test func fmtKeepsEveryCommentAndIsStable() throws {
        let text = """
            # head

            # of the rules
            forbid a:   any from { 10.0.0.1,  # one
              10.0.0.2 } # two
            networks   n = { # three
              10.0.0.1 # four
              # five
              10.0.0.2
              # six
            } # seven
            service rexec { # eight
              enable # nine
              # ten
              sessions 10 # eleven
            }
            # last
            """
        let once = try #require(PolicyText.format(SourceFile(name: "t", text: text)).text)
        for word in [
            "head", "of the rules", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
            "eleven",
            "last",
        ] {
            #expect(once.contains("# \(word)\n"), "\(word) in\n\(once)")
        }
        #expect(PolicyText.format(SourceFile(name: "t", text: once)).text == once)
        #expect(load(once).canonicalText == load(text).canonicalText)
    }

    @Test func aLongRuleIsBrokenBeforeItsClausesAndReadsTheSame() throws {
        let names = (1...40).map { "user\($0)" }.joined(separator: ", ")
        let text =
            "permit a: rexec from { 10.0.0.0/8, 192.0.2.0/24 } as { \(names) } run \"/usr/bin/id\" sandbox strict"
        let once = load(text)
        #expect(once.policy != nil)
        #expect(once.canonicalText.contains(" \\\n    "))
        #expect(load(once.canonicalText).canonicalText == once.canonicalText)
    }

    @Test(arguments: [
        "/usr/bin/id", "/usr/bin/id -u 'a b' <int> <word> <path /home/x> *", "/usr/bin/echo '' 'it'\\''s' '*' '$HOME'",
        "/usr/bin/echo '\u{E9}\u{4E2D}' '\\' '<int>' A=b", "'/opt/my app/run' x",
    ])
    func aPatternReadsBackAsItIsWritten(_ pattern: String) throws {
        let text = "permit a: rexec from any as b run \"\(pattern.replacing("\\", with: "\\\\"))\"\n"
        let loaded = load(text)
        let policy = try #require(loaded.policy, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(policy.rules.first?.commands?.literal.first?.description == pattern)
        #expect(loaded.canonicalText == text)
    }

    @Test(arguments: ["any", "same"])
    func anAccountWhoseNameIsAWordIsQuoted(_ name: String) throws {
        let loaded = load("permit a: rexec from any as \"\(name)\" run any\n")
        #expect(loaded.policy?.rules.first?.targets?.literal.names.map(\.description) == [name])
        #expect(loaded.policy?.rules.first?.targets?.isAny == false)
        #expect(load(loaded.canonicalText).policy == loaded.policy)
    }

    // MARK: What a revision digests never changes

    /// FNV-1a of the canonical text of random policies, as the first release wrote it: a revision in a trail stays that
    /// of its policy.
    @Test(
        arguments: [
            (0, 0xf5dc90861265ce23), (1, 0x467be3fec9c53d79), (2, 0xfe62440c328735cd), (3, 0x2f35cdecc7bc15fb),
            (4, 0x7daff48d1acf3c18), (5, 0x5ce5364aa67b2ae), (6, 0xbb738bec09dd496e), (7, 0xe221a7c10bb74e5),
            (8, 0xa559b8609d57b03a), (9, 0x498fa852738bea60), (10, 0x427359c136139ee6), (11, 0xe2ce76aa73a90b2c),
            (12, 0xa78fdd1b7ab4ac80), (13, 0xac74058a8ded1a53), (14, 0x7b957aac09a507c4), (15, 0xd9d1fde17b8f356),
        ] as [(UInt64, UInt64)])
    func theCanonicalTextIsThatOfTheFirstRelease(_ seed: UInt64, _ digest: UInt64) {
        let text = load(GeneratedPolicy(seed: seed).plain).canonicalText
        let found = text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        #expect(found == digest, "\(text)")
    }

    @Test func theCanonicalTextOfEveryStatementIsThis() {
        #expect(
            load(wholeLanguage).canonicalText == #"""
                policy 1

                securetcpip on except rsh, netrc

                service rexec {
                    enable
                    listen 127.0.0.1:512, [::1]:512
                    authenticate pam "portcullis-rexec"
                    stderr-channel on
                    handshake-timeout 15s
                    authentication-timeout 30s
                    command-length 4096
                    sessions 200 per-source 20
                }

                service rsh {
                    enable
                    listen 127.0.0.1:514
                    trust rhosts
                    names refuse
                    source-port reserved
                    account pam "portcullis-rsh"
                    password-field off
                }

                refusal {
                    delay 1s
                    rexec "Login incorrect."
                    rsh "Permission denied."
                }

                audit {
                    kernel auto
                    durability sync
                    on-failure refuse
                    checkpoint 60s
                }

                search-path /usr/bin:/bin

                networks mainframes = { 10.20.0.0/16, 2001:db8:20::/48, 192.0.2.7 }
                users operators = { alice, bob, %wheel }
                commands dumps = { "/usr/sbin/dump 0uf - <path /home>", "/usr/bin/id" }
                hours nights = { mon-fri 22:00-04:00, sat 00:00-24:00 }

                sandbox backup extends standard {
                    read /usr /lib /lib64 /bin /etc /srv/data
                    write /var/backups
                    execute /usr /bin
                    syscalls allow @system-service deny @keyring, @setuid
                    network off
                    limit cpu 60s, memory 512M, processes 64, files 256, file-size 1G, output 100M
                    timeout 10m
                    umask 077
                    path /usr/bin:/bin
                    environment LANG=C.UTF-8
                    on-violation errno
                    require landlock 4
                }

                permit nightly-dump: rexec from @mainframes as backup run @dumps during @nights sandbox backup
                permit uptime: rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime" sandbox strict
                permit alice-shell: rexec from 10.1.0.0/16 as alice run shell sandbox standard
                forbid contractors: any from 10.66.0.0/16
                forbid no-root: any as root

                """#)
    }

    /// Every statement: settings, sets, sandboxes and rules.
    @Test(arguments: 1_000..<1_200 as Range<UInt64>) func canonicalTextIsItsOwnCanonicalText(_ seed: UInt64) {
        var generated = GeneratedPolicy(seed: seed)
        let once = load(generated.plain)
        #expect(once.errorCount == 0, "seed \(seed): \(once.diagnostics.map(\.text).joined())")
        let twice = load(once.canonicalText)
        #expect(twice.canonicalText == once.canonicalText, "seed \(seed)")
        #expect(Self.withoutPlaces(twice.policy) == Self.withoutPlaces(once.policy), "seed \(seed)")
        let formatted = PolicyText.format(SourceFile(name: "t", text: once.canonicalText)).text
        #expect(formatted == once.canonicalText, "seed \(seed)")
        // However it is laid out, and with its rules in a file of their own, the text is the same.
        let dressed = generated.dressed()
        #expect(load(dressed).canonicalText == once.canonicalText, "seed \(seed): \(dressed)")
        var files = TextFiles(texts: [("all.policy", dressed)])
        #expect(
            load(SourceFile(name: "root", text: "include \"all.*\""), files: &files).canonicalText
                == once.canonicalText.replacing("policy 1\n\n", with: ""), "seed \(seed)")
    }

    /// Pieces of any size: what is digested is the text.
    @Test func aTextOfManyPiecesIsTheTextOfOne() throws {
        let rules = (0..<4_000).map { "forbid r\($0): any from 10.0.\($0 / 256).\($0 % 256)\n" }
        let sets = "networks n = { 10.0.0.0/8 }\n"
        let text = rules.prefix(2_000).joined() + "\n" + sets + "\n" + rules.dropFirst(2_000).joined()
        var none = NoPolicyFiles()
        var taker = PieceCounter()
        _ = PolicyText.load(
            SourceFile(name: "t", text: text), files: &none, canonicalText: &taker, analyses: false)
        #expect(taker.pieces > 1)
        #expect(taker.hasEmptyPiece == false)
        #expect(String(decoding: taker.bytes, as: UTF8.self) == text)
        #expect(PolicyText.format(SourceFile(name: "t", text: text)).text == text)
    }

    private struct PieceCounter: CanonicalTextTaker {
        var bytes: [UInt8] = []
        var pieces = 0
        var hasEmptyPiece = false

        mutating func take(_ piece: [UInt8]) {
            bytes += piece
            pieces += 1
            hasEmptyPiece = hasEmptyPiece || piece.isEmpty
        }
    }

    static func withoutPlaces(_ policy: Policy?) -> Policy? {
        guard var policy else { return nil }
        let nowhere = FilePlace(file: "", line: 0)
        for index in policy.rules.indices { policy.rules[index].place = nowhere }
        policy.sandboxPlaces = policy.sandboxPlaces.map { $0.map { _ in nowhere } }
        return policy
    }
}
