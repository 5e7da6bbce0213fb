// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// Errors and warnings: each with its place, and what helps.
@Suite struct DiagnosticTests {
    /// A line, and `LINE:COLUMN` with a part of what is said there; all of the policy's errors, in order.
    @Test(arguments: [
        // Text
        ("permit a: rexec from any as b run any \u{E9}", ["1:39 only ASCII"]),
        ("forbid a: any;", ["1:14 ';' stands only in strings"]),
        ("include \"abc\nforbid b: any", ["1:9 does not end on its line"]),
        ("search-path /bin\nservice rexec { authenticate file \"a\\b\" }", ["2:37 '\\' stands only before"]),
        ("forbid a: rexec \\ from any", ["1:17 only at the end of a line"]),
        ("policy 2", ["1:8 version"]),
        ("forbid a: any\npolicy 1", ["2:1 first statement"]),
        ("servce rexec {\n  enable\n}\nforbid x any", ["1:1 no statement", "4:8 ends in ':'"]),
        ("\"x\"", ["1:1 starts with a word"]),
        ("networks n = { 10.0.0.0/8", ["1:14 not closed"]),
        ("service rexec {", ["1:15 not closed"]),
        ("}", ["1:1 starts with a word"]),
        // securetcpip
        ("securetcpip maybe", ["1:13 should be on or off"]),
        ("securetcpip on except rhosts", ["1:23 without 'rsh'"]),
        ("securetcpip on except rsh, rsh", ["1:28 twice"]),
        ("securetcpip on except rlogin", ["1:23 should be rsh, rcp, rhosts or netrc"]),
        ("securetcpip off except rsh", ["1:17 nothing is off"]),
        ("securetcpip on\nsecuretcpip on", ["2:1 twice"]),
        // service
        ("service ftp { enable }", ["1:9 rexec or rsh"]),
        ("service rexec { enable enable }", ["1:24 twice"]),
        ("service rexec { enable disable }", ["1:24 twice"]),
        ("service rexec { enabel }", ["1:17 no item"]),
        ("service rexec { trust rhosts }", ["1:17 no item"]),
        ("service rexec { password-field on }", ["1:17 no item"]),
        ("service rexec { listen 127.0.0.1 }", ["1:24 no address and port"]),
        ("service rexec { listen ::1:512 }", ["1:24 no address and port"]),
        ("service rexec { listen 127.0.0.1:0 }", ["1:24 no address and port"]),
        ("service rexec { listen 127.0.0.1:512, 127.0.0.1:512 }", ["1:39 twice"]),
        ("service rexec { handshake-timeout 0s }", ["1:35 time of 0"]),
        ("service rexec { handshake-timeout 15 }", ["1:35 no duration"]),
        ("service rexec { handshake-timeout 99999999999999999999d }", ["1:35 too long"]),
        ("service rexec { command-length 131072 }", ["1:32 from 1 to 131071"]),
        ("service rexec { sessions 0 }", ["1:26 from 1"]),
        ("service rexec { authenticate pam \"../x\" }", ["1:34 /etc/pam.d"]),
        ("service rexec { enable }\nservice rexec { enable }", ["2:1 twice"]),
        (
            "securetcpip off\nservice rexec {\nenable\nlisten 127.0.0.1:514\n}\nservice rsh { enable }",
            ["6:9 both services"]
        ),
        // refusal, audit, search-path
        ("refusal { delay 0s }", ["1:17 time of 0"]),
        ("refusal { rexec \"a\u{E9}b\" }", ["1:17 printable ASCII"]),
        ("audit { kernel always }", ["1:16 should be auto, require or off"]),
        ("audit { checkpoint 0s }", ["1:20 time of 0"]),
        ("audit { segment-size 63K }", ["1:22 64K to 1024G"]),
        ("audit { segment-size 1025G }", ["1:22 64K to 1024G"]),
        ("search-path bin:/usr/bin", ["1:13 'bin'"]),
        ("search-path /usr/bin/../bin", ["1:13 '..'"]),
        // sets
        ("networks Big = { 10.0.0.0/8 }", ["1:10 no name"]),
        ("networks n { 10.0.0.0/8 }", ["1:12 '=' is missing"]),
        ("networks n = 10.0.0.0/8", ["1:14 in braces"]),
        ("networks n = { }", ["1:14 hold nothing"]),
        ("networks n = { 10.20.0.1/16 }", ["1:16 host bits"]),
        ("networks n = { ::ffff:10.0.0.0/104 }", ["1:16 length of a block"]),
        ("networks n = { ::ffff:10.0.0.0/8 }", ["1:16 v4-mapped"]),
        ("networks n = { 10.0.0.0/33 }", ["1:16 0 to 32"]),
        ("networks n = { 10.0.0.0/08 }", ["1:16 0 to 32"]),
        ("networks n = { 010.0.0.1 }", ["1:16 no address"]),
        ("networks n = { host.example.com, 10.0.0.0/8 }", ["1:16 never matched"]),
        ("networks n = { any }", ["1:16 stands in rules alone"]),
        ("networks n = { @n }", ["1:16 holds itself"]),
        ("networks a = { @b }\nnetworks b = { @a }", ["2:16 holds itself"]),
        ("networks a = { @mainframe }\nnetworks mainframes = { 10.0.0.1 }", ["1:16 no set 'mainframe'"]),
        ("networks n = { 10.0.0.1 }\nnetworks n = { 10.0.0.2 }", ["2:10 defined twice"]),
        ("users u = { any }", ["1:13 rules alone"]),
        ("users u = { -x }", ["1:13 no user name"]),
        ("users u = { %% }", []),
        ("commands c = { id }", ["1:16 double quotes"]),
        ("hours h = { mon }", ["1:17 hours such as"]),
        ("hours h = { mun 08:00-09:00 }", ["1:13 no day"]),
        ("hours h = { mon 08:00-08:00 }", ["1:17 are empty"]),
        ("hours h = { mon 24:00-08:00 }", ["1:17 no hours"]),
        ("hours h = { mon 8:00-9:00 }", ["1:17 no hours"]),
        ("hours h = { mon 08:00-24:01 }", ["1:17 no hours"]),
        // rules
        ("permit a: rexec from any as b", ["1:8 does not say 'run'"]),
        ("permit a: rsh from any as b run any", ["1:8 does not say 'by'"]),
        ("permit a: any from any as b run any", ["1:8 does not say 'by'"]),
        ("permit a: rexec as b run any", ["1:8 does not say 'from'"]),
        ("permit a: rexec from any run any", ["1:8 does not say 'as'"]),
        ("permit a: rexec from any by c as b run any", ["1:26 no remote user"]),
        ("forbid a: rexec by any", ["1:17 no remote user"]),
        ("permit a: rexec from any as same run any", ["1:29 REXEC does not carry"]),
        ("permit a: rexec from any from any as b run any", ["1:26 twice"]),
        ("permit a: telnet from any as b run any", ["1:11 rexec, rsh or any"]),
        ("permit a:rexec from any as b run any", ["1:8 a blank follows"]),
        ("permit 1a: rexec from any as b run any", ["1:8 no name"]),
        ("permit a: rexec from any as b run id", ["1:35 double quotes"]),
        ("permit a: rexec from any as b run any sandbx strict", ["1:39 no clause"]),
        ("permit a: rexec from any as b run any sandbox strct", ["1:47 no sandbox 'strct'"]),
        ("permit a: rexec from any as b run any\npermit a: rexec from any as c run any", ["2:8 defined twice"]),
        ("permit a: rexec from @n as b run any", ["1:22 no set 'n'"]),
        ("permit a: rexec from 10.0.0.1, 10.0.0.2 as b run any", ["1:30 in braces"]),
        ("permit a: rsh from any by %g as b run any", ["1:27 %group is for targets"]),
        ("users u = { %g }\npermit a: rsh from any by @u as b run any", ["2:27 says nothing of a remote user"]),
        ("permit a: rsh from any by same as b run any", ["1:27 'as' clauses"]),
        ("forbid a: any sandbox strict", ["1:15 no sandbox"]),
        ("forbid a: any self-trust", ["1:15 no self-trust"]),
        ("service rsh { trust rule }\npermit a: rsh from any by any as any run any", ["2:34 trust rule"]),
        // patterns
        ("permit a: rexec from any as b run \"id\"", ["1:36 absolute path"]),
        ("permit a: rexec from any as b run \"\"", ["1:36 empty command"]),
        ("permit a: rexec from any as b run \"/usr/bin/../id\"", ["1:36 no '.', '..'"]),
        ("permit a: rexec from any as b run \"/usr/bin/\"", ["1:36 no '.', '..'"]),
        ("permit a: rexec from any as b run \"/usr/bin/id * x\"", ["1:50 nothing follows"]),
        ("permit a: rexec from any as b run \"/usr/bin/id x*\"", ["1:49 inside an argument"]),
        ("permit a: rexec from any as b run \"/usr/bin/id -n<int>\"", ["1:50 inside an argument"]),
        ("permit a: rexec from any as b run \"/usr/bin/id <int>x\"", ["1:48 a blank follows"]),
        ("permit a: rexec from any as b run \"/usr/bin/id <num>\"", ["1:48 none of"]),
        ("permit a: rexec from any as b run \"/usr/bin/id <path x>\"", ["1:48 absolute directory"]),
        ("permit a: rexec from any as b run \"/usr/bin/id <int\"", ["1:48 has no '>'"]),
        ("permit a: rexec from any as b run \"/usr/bin/id a;b\"", ["1:49 needs a shell"]),
        ("permit a: rexec from any as b run \"/usr/bin/id 'a\"", ["1:48 does not end"]),
        ("permit a: rexec from any as b run \"/usr/bin/id \\\"$x\\\"\"", ["1:50 in double quotes"]),
        // sandboxes
        ("sandbox strict { }", ["1:9 built in"]),
        ("sandbox s extends t { }", ["1:19 no sandbox 't'"]),
        ("sandbox s extends s { }", ["1:19 extends itself"]),
        ("sandbox s { read usr }", ["1:18 absolute"]),
        ("sandbox s { read /usr/../etc }", ["1:18 absolute"]),
        ("sandbox s { read ~root/x }", ["1:18 absolute"]),
        ("sandbox s { read /usr read /etc }", ["1:23 twice"]),
        ("sandbox s { umask 088 }", ["1:19 no umask"]),
        ("sandbox s { umask 1777 }", ["1:19 no umask"]),
        ("sandbox s { limit cpu 1500ms }", ["1:23 whole seconds"]),
        ("sandbox s { limit memory 1X }", ["1:26 no size"]),
        ("sandbox s { limit memory 99999999999999999999G }", ["1:26 too large"]),
        ("sandbox s { limit cpu 1s, cpu 2s }", ["1:27 twice"]),
        ("sandbox s { network tcp-connect 0 }", ["1:33 a port"]),
        ("sandbox s { network tcp-connect }", ["1:33 a port is missing"]),
        ("sandbox s { environment PATH=/x }", ["1:25 never taken"]),
        ("sandbox s { environment LD_PRELOAD=/x }", ["1:25 never taken"]),
        ("sandbox s { environment IFS=x }", ["1:25 never taken"]),
        ("sandbox s { environment 1A=x }", ["1:25 NAME=VALUE"]),
        ("sandbox s { syscalls allow @system-servce }", ["1:28 no group"]),
        ("sandbox s { syscalls allow raed }", ["1:28 no system call"]),
        ("sandbox s { syscalls allow ptrace }", ["1:28 no sandbox allows"]),
        ("sandbox s { syscalls allow @keyring }", ["1:28 no sandbox allows anything"]),
        ("sandbox s { syscalls allow @default deny execve }", ["1:42 cannot be denied"]),
        ("sandbox s { syscalls read }", ["1:22 'allow' or 'deny'"]),
        ("sandbox s { require landlock 0 }", ["1:30 from 1"]),
        ("sandbox s { on-violation log }", ["1:26 errno or kill"]),
        ("sandbox s extends unconfined { read /usr }", ["1:32 extends 'unconfined'"]),
    ])
    func anErrorHasItsPlace(_ text: String, _ expected: [String]) {
        expectErrors(text, expected)
    }

    private func expectErrors(_ text: String, _ expected: [String]) {
        let loaded = load(text)
        let errors = loaded.diagnostics.filter { $0.severity == .error }
        #expect(errors.count == expected.count, "\(errors.map(\.text).joined())")
        for (error, part) in zip(errors, expected) {
            let place = part.prefix { $0 != " " }
            #expect("\(error.line):\(error.column)" == place, "\(error.text)")
            #expect(error.message.contains(part.dropFirst(place.count + 1)), "\(error.text)")
        }
        #expect((loaded.policy == nil) == !expected.isEmpty)
        #expect(loaded.errorCount == expected.count)
    }

    /// One mistake, and what is right after it: as many errors as mistakes, and what follows is read.
    @Test(arguments: [
        ("networks n = { 10.0.0.1\n", ["1:14 not closed"]),
        ("users u = {\n alice, bob\n", ["1:11 not closed"]),
        ("commands c = {\n \"/usr/bin/id\",\n", ["1:14 not closed"]),
        ("hours h = {\n mon 08:00-09:00\n", ["1:11 not closed"]),
        ("service rexec {\n enable\n", ["1:15 not closed"]),
        ("sandbox s {\n read /usr,\n", ["1:11 not closed"]),
        ("sandbox s {\n read usr\n", ["1:11 not closed", "2:7 absolute"]),
        ("forbid b: any from { 10.0.0.1\n", ["1:20 not closed"]),
        ("servce rexec {\n enable\n", ["1:1 no statement"]),
        ("networks n { 10.0.0.1\n", ["1:12 '=' is missing"]),
        ("forbid b: any form 10.0.0.1/8\n", ["1:15 no clause", "1:20 host bits"]),
        ("permit b: rexec form 10.0.0.1 as c run any\n", ["1:17 no clause"]),
        ("permit b: rexec from any as c rnu any\n", ["1:31 no clause"]),
        ("permit b: rexec xyzzy from any\n", ["1:17 no clause"]),
        ("permit b: rexec from any form any\n", ["1:26 no clause"]),
        ("permit b: rexec from any as c run /bin/ls -l\n", ["1:35 double quotes"]),
        ("permit b: rexec from any run /bin/ls -l as c\n", ["1:30 double quotes"]),
        ("permit b: rexec \\ # why\n from any \\ \n as c run any\n", ["1:17 only at the end", "2:11 only at the end"]),
        ("permit b: rexec from { 10.0.0.1 { 10.0.0.2 } } as c run any\n", ["1:33 missing", "1:46 belongs here"]),
        ("forbid b: any from \"10.0.0.1\" as c\n", ["1:20 missing"]),
        ("networks b= { 10.0.0.1 }\n", ["1:10 blank on either side"]),
        (
            "sandbox s { read usr umask 9 timeout never on-violation die }\n",
            ["1:18 absolute", "1:28 no umask", "1:38 no duration", "1:57 errno or kill"]
        ),
        ("forbid b: any run \"/usr/bin/id\n", ["1:19 does not end on its line"]),
        ("forbid b: any run { \"/usr/bin/id\n }\n", ["1:21 does not end on its line"]),
        ("forbid b: any as { -x }\n", ["1:20 no user name"]),
        ("}\n", ["1:1 starts with a word"]),
        ("service rexec { sessions 10 per-sorce 5\n listn x\n}\n", ["1:29 'per-source'", "2:2 no item"]),
    ])
    func aMistakeHidesNothingBehindItAndCausesNoOther(_ text: String, _ expected: [String]) {
        let after = "permit after: rexec from 10.0.0.1/8 as c run any\nnetworks last = { 10.0.0.1/9 }\n"
        let line = text.utf8.count { $0 == UInt8(ascii: "\n") } + 1
        expectErrors(text + after, expected + ["\(line):26 host bits", "\(line + 1):19 host bits"])
    }

    @Test func wordsOfStatementsAreNamesOfAccountsToo() {
        let names = "permit, forbid\n service audit\n policy\n networks users commands hours\n sandbox"
        let loaded = load("users u = {\n \(names)\n}\nforbid a: any as @u")
        #expect(loaded.errorCount == 0, "\(loaded.diagnostics.map(\.text).joined())")
    }

    @Test func tenDifferentErrorsAreTenDiagnosticsEachWithItsPlaceAndCaret() {
        let text = """
            policy 1
            securetcpip of
            service rexec {
                enabel
                listen 127.0.0.1:512
                sessions 200 per-source lots
            }
            networks plant = { 10.20.0.1/16, 192.0.2.7 }
            hours nights = { mon-fry 22:00-04:00 }
            sandbox own extends standart { umask 789 }
            permit dump: rexec from @plnt as backup run "/usr/sbin/dump <pth /home>"
            permit dump: rexec from any as backup run "/usr/bin/id; id"
            forbid all: rexec from any by mallory
            """
        let expected = [
            "2:13 ^~ did you mean off?", "4:5 ^~~~~~ did you mean enable?", "6:29 ^~~~",
            "8:20 ^~~~~~~~~~~~ did you mean 10.20.0.0/16?", "9:18 ^~~~~~~ did you mean fri?",
            "10:21 ^~~~~~~~ did you mean standard?", "10:38 ^~~", "11:25 ^~~~~ did you mean @plant?",
            "11:61 ^~~~~~~~~~~ did you mean path?", "12:8 ^~~~", "12:55 ^", "13:28 ^~",
        ]
        let diagnostics = load(text).diagnostics
        let lines = text.split(separator: "\n").map { String($0) }
        let shown = diagnostics.map { diagnostic in
            let caret = diagnostic.excerpt.split(separator: "\n")[1]
            #expect(caret.prefix { $0 == " " }.count == diagnostic.column - 1)
            #expect(diagnostic.sourceLine == lines[diagnostic.line - 1])
            return "\(diagnostic.line):\(diagnostic.column) " + caret.drop { $0 == " " }
        }
        #expect(shown == expected, "\(diagnostics.map(\.text).joined())")
    }

    @Test func theLineAndACaretStandBelowWithWhatWasMeant() throws {
        let loaded = load("# site\n\tpermit dump: rexec from 10.20.0.1/16 as backup run any")
        let diagnostic = try #require(loaded.diagnostics.first)
        #expect(
            diagnostic.text == """
                t:2:26: error: 10.20.0.1/16 has host bits set
                \tpermit dump: rexec from 10.20.0.1/16 as backup run any
                \t                        ^~~~~~~~~~~~ did you mean 10.20.0.0/16?

                """)
    }

    @Test(arguments: [
        ("permt a: any", "permit"), ("service rexec { lissten x }", "listen"), ("securetcpip no", "on"),
        ("permit a: rxec from any as b run any", "rexec"), ("permit a: rexec form any as b run any", "from"),
        ("networks nets = { 10.0.0.1 }\npermit a: rexec from @net as b run any", "@nets"),
        ("permit a: rexec from any as b run any sandbox standart", "standard"),
        ("sandbox s { syscalls allow @sytem-service }", "@system-service"),
        ("hours h = { teu 08:00-09:00 }", "tue"), ("audit { kernel requier }", "require"),
        ("securetcpip on exept rsh", "except"), ("service rexec { sessions 9 per-sorce 3 }", "per-source"),
        ("sandbox s { syscalls alow read }", "allow"), ("sandbox s extend strict { }", "extends"),
        ("sandbox s { reed /usr }", "read"), ("sandbox s { network of }", "off"),
        ("sandbox s { limit cpus 1s }", "cpu"),
        ("sandbox s { require landlok 4 }", "landlock"), ("sandbox s { on-violation kil }", "kill"),
        ("sandbox s { syscalls allow opnat }", "openat"), ("sandbox s extends stict { }", "strict"),
        ("service rhs { enable }", "rsh"), ("service rsh { trust rhost }", "rhosts"),
        ("service rsh { names refused }", "refuse"), ("service rsh { source-port reservd }", "reserved"),
        ("service rsh { account pan \"x\" }", "pam"), ("service rexec { stderr-channel onn }", "on"),
        ("refusal { dely 1s }", "delay"), ("audit { durabilty sync }", "durability"), ("polcy 1", "policy"),
        ("network n = { 10.0.0.1 }", "networks"), ("permit a: rexec from anny as b run any", "any"),
        ("permit a: rexec from any as b run shel", "shell"), ("permit a: rexec from any as b rum any", "run"),
        ("forbid a: any self-trst", "self-trust"), ("permit a: rexec from any as b run \"/x <wrd>\"", "word"),
        ("users ops = { a }\nusers all = { @op }", "@ops"),
        ("hours nights = { mon 01:00-02:00 }\nforbid a: any during @night", "@nights"),
    ])
    func misspeltWordsGetASuggestion(_ text: String, _ meant: String) {
        let hints = load(text).diagnostics.compactMap(\.hint)
        #expect(hints.contains("did you mean \(meant)?"), "\(hints)")
    }

    @Test func manyErrorsAreFoundInOnePass() {
        let text = (1...50).map { "permit r\($0): rexec from 10.0.0.\($0)/8 as b run any" }.joined(separator: "\n")
        let loaded = load(text)
        #expect(loaded.errorCount == 50)
        #expect(loaded.diagnostics.map(\.line) == Array(1...50))
    }

    @Test func atMostAThousandErrorsAreKeptAndAllAreCounted() {
        let loaded = load(String(repeating: "x\n", count: 3_000))
        #expect(loaded.errorCount == 3_000)
        #expect(loaded.diagnostics.count == 1_000)
    }

    @Test(arguments: [
        ([0x61, 0x00], "1:2", "NUL"), ([0x0A, 0xFF], "2:1", "UTF-8"), ([0xC0, 0xAF], "1:1", "UTF-8"),
        ([0xED, 0xA0, 0x80], "1:1", "UTF-8"), ([0xE2, 0x82], "1:1", "UTF-8"),
        ([0xF4, 0x90, 0x80, 0x80], "1:1", "UTF-8"),
    ])
    func bytesThatAreNoTextAreAnError(_ bytes: [UInt8], _ place: String, _ part: String) throws {
        let loaded = PolicyText.load(SourceFile(name: "t", bytes: bytes))
        let error = try #require(loaded.diagnostics.first)
        #expect(loaded.errorCount == 1)
        #expect("\(error.line):\(error.column)" == place)
        #expect(error.message.contains(part))
    }

    @Test func noControlCharacterOfAFileReachesATerminal() {
        let text = "permit \u{1B}[2J a: # \u{1B}]0;x\u{7}\u{202E}\n"
        for diagnostic in load(text).diagnostics {
            let bad = diagnostic.text.unicodeScalars.filter {
                $0 != "\n" && $0 != "\t"
                    && ($0.properties.generalCategory == .control || $0.properties.generalCategory == .format)
            }
            #expect(bad.isEmpty)
        }
    }

    @Test func noControlCharacterOfAFilesNameReachesATerminal() {
        let name = "\u{1B}]0;x\u{7}.policy"
        var files = TextFiles(texts: [(name, "permit late: rexec from 10.1.1.1 as alice run any\n")])
        let root = SourceFile(
            name: "t",
            text: "service rexec { enable }\ninclude \"*.policy\"\npermit all: rexec from any as alice run any\nx y\n")
        var texts = load(root, files: &files).diagnostics.map(\.text)
        files.texts[0].text = "permit\n"
        texts += load(root, files: &files).diagnostics.map(\.text)
        #expect(texts.contains { $0.hasPrefix("\\x1b]0;x\\x07.policy:1") })
        #expect(texts.joined().utf8.allSatisfy { $0 == 0x0A || $0 >= 0x20 })
    }

    @Test func onlyTheFirstErrorsHaveAHint() {
        let names = (0..<30).map { "net\($0)s" }
        let sets = names.map { "networks \($0) = { 10.0.0.1 }\n" }
        let rules = names.map { "forbid f-\($0): any from @\($0.dropLast())\n" }
        let hints = load((sets + rules).joined()).diagnostics.filter { $0.severity == .error }.map(\.hint)
        #expect(hints.count == 30)
        #expect(hints.prefix(20).allSatisfy { $0 != nil })
        #expect(hints.dropFirst(20).allSatisfy { $0 == nil })
    }

    @Test func aWordAsLongAsItsFileMakesNoLongMessage() {
        let word = String(repeating: "a", count: 100_000)
        for text in [
            word, "permit \(word): any", "networks \(word) = { \(word) }", "permit a: rexec from @\(word) as b run any",
        ] {
            for diagnostic in load(text).diagnostics { #expect(diagnostic.text.utf8.count < 4_096) }
        }
    }

    // MARK: Warnings

    /// Rules, and a part of each warning.
    @Test(arguments: [
        ("permit a: rsh from any by any as b run any", ["service rsh is off"]),
        ("forbid a: any from 10.0.0.0/8\npermit p: rexec from 10.1.0.0/16 as b run any", ["'p' can never match"]),
        (
            "permit p: rexec from 10.1.0.0/16 as b run any\npermit q: rexec from 10.1.2.3 as b run \"/usr/bin/id\"",
            ["'q' never decides"]
        ),
        (
            "permit p: rexec from 10.1.2.3 as b run any\npermit q: rexec from 10.1.0.0/16 as b run any",
            ["'p' is redundant"]
        ),
        ("forbid p: any as c\nforbid q: any as { c, d }", ["'p' is redundant"]),
        ("networks n = { 10.0.0.1 }", ["no rule uses set 'n'"]),
        ("networks n = { 10.0.0.1 }\nnetworks m = { @n }\npermit p: rexec from @m as b run any", []),
        ("permit p: rexec from any as b run any sandbox unconfined", ["without Landlock"]),
        ("permit p: rexec from any as b run any\nforbid q: any run \"/usr/bin/dump *\"", ["interpreters"]),
        ("permit p: rexec from 10.0.0.1 as b run shell\nforbid q: any from 10.0.0.2 run \"/usr/bin/dump *\"", []),
        ("forbid p: any as %wheel", ["who is in %wheel"]),
        ("users u = { root }\npermit p: rexec from any as @u run any", ["'p' can never match", "root in @u"]),
        (
            "permit p: rexec from 10.0.0.0/8 as b run \"/usr/bin/id *\" sandbox standard\n"
                + "permit q: rexec from 10.1.0.0/16 as b run \"/usr/bin/id <int> -u\"",
            ["rexec from 10.1.0.0 as b run \"/usr/bin/id 1 -u\""]
        ),
        ("permit p: rexec from 10.0.0.1 as b run any sandbox standard\npermit q: rexec from 10.0.0.2 as b run any", []),
        (
            "permit p: rexec from any as b run any during mon 08:00-09:00 sandbox standard\n"
                + "permit q: rexec from any as b run any during tue 08:00-09:00", []
        ),
    ])
    func whatIsDoubtfulIsWarnedOf(_ rules: String, _ expected: [String]) {
        let loaded = load("service rexec {\n enable\n listen 127.0.0.1:512, [::1]:512\n}\n\(rules)")
        let warnings = loaded.diagnostics.filter { $0.severity == .warning }
        #expect(loaded.errorCount == 0, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(warnings.count == expected.count, "\(warnings.map(\.text).joined())")
        for (warning, part) in zip(warnings, expected) { #expect(warning.message.contains(part), "\(warning.text)") }
    }

    private static let served = "service rexec {\n enable\n listen 127.0.0.1:512, [::1]:512\n}\n"

    /// Rules, and a part of the warning of the last one; they begin on line 5.
    private static let comparisons: [(rules: String, part: String)] = [
        (
            """
            forbid a: any from 10.1.0.0/17
            forbid b: any from 10.1.128.0/17
            forbid c: any from 10.2.0.0/16
            permit p: rexec from 10.1.0.0/16 as b run any
            """, "everything it permits is forbidden by 'a' (line 5) and 'b' (line 6) together"
        ),
        (
            """
            forbid a: any from 10.1.0.0/18
            forbid b: any from 10.1.64.0/18
            forbid c: any from 10.1.128.0/18
            forbid d: any from 10.1.192.0/19
            forbid e: any from 10.1.224.0/19
            permit p: rexec from 10.1.0.0/16 as b run any
            """, "forbidden by 'a' (line 5), 'b' (line 6), 'c' (line 7) and 2 more together"
        ),
        (
            """
            permit p: rexec from 10.1.0.0/17 as b run any
            permit q: rexec from 10.1.128.0/17 as b run any
            permit r: rexec from 10.1.0.0/16 as b run "/usr/bin/id <int>"
            """, "'r' never decides: 'p' (line 5) and 'q' (line 6) match first"
        ),
        (
            """
            forbid p: any from 10.1.0.0/17
            permit q: rexec from 10.1.128.0/17 as b run any
            permit r: rexec from 10.1.0.0/16 as b run "/usr/bin/id"
            """, "'r' never decides: 'p' (line 5) forbids a part, and 'q' (line 6) matches first"
        ),
        (
            "permit p: rexec from any as b run \"/usr/bin/rcp *\"", "'p' can never match: securetcpip has rcp off"
        ),
        (
            """
            permit p: rexec from any as b run any during mon 10:00-12:00 sandbox standard
            permit q: rexec from any as b run any
            """, "rexec from 192.0.2.1 as b run \"/usr/bin/program\" at 2026-11-23T10:00"
        ),
    ]

    @Test("rules are compared exactly, and what they do together is told", arguments: comparisons)
    func rulesAreComparedExactly(_ comparison: (rules: String, part: String)) {
        let loaded = load(Self.served + comparison.rules)
        #expect(loaded.errorCount == 0)
        #expect(loaded.diagnostics.count == 1, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(loaded.diagnostics.last?.message.contains(comparison.part) == true)
    }

    @Test("of many permits that overlap only those are told that another one decides before")
    func ofManyOverlapsThoseWithTheDecidingPermitAreTold() {
        var rules: [String] = []
        for index in 0..<30 {
            let sandbox = index % 2 == 0 ? "strict" : "standard"
            rules.append("permit r\(index): rexec from 10.0.0.0/8 as { b, u\(index) } run any sandbox \(sandbox)")
        }
        let loaded = load(Self.served + rules.joined(separator: "\n"))
        #expect(loaded.errorCount == 0)
        // The first of all decides for b: each of the other sandbox is told beside it alone.
        #expect(loaded.warningCount == 15)
        #expect(loaded.diagnostics.allSatisfy { $0.message.contains("but 'r0' (line 5) with strict decides") })
    }

    @Test("without comparisons the rules are still held against the settings")
    func withoutComparisonsOnlyTheSettingsAreHeldAgainstTheRules() {
        var none = NoPolicyFiles()
        let text = "permit a: rsh from any by any as b run any\npermit c: rsh from any by any as b run any"
        let loaded = PolicyText.load(SourceFile(name: "t", text: text), files: &none, analyses: false)
        #expect(loaded.diagnostics.map(\.message) == ["a", "c"].map { "'\($0)' can never match: service rsh is off" })
    }

    @Test func settingsThatBelieveTooEasilyAreWarnedOf() {
        let loaded = load(
            "securetcpip off\nservice rsh {\nenable\nsource-port any\nnames dns\n}\nservice rexec { enable }")
        #expect(loaded.diagnostics.map { "\($0.line) \($0.severity.name)" } == ["4 warning", "5 warning"])
    }

    @Test(arguments: [
        ("securetcpip on except rsh", "enable\ntrust rhosts", ["4 warning"]),
        ("securetcpip on except rsh", "enable\ntrust rule", []),
        ("securetcpip on except rsh", "disable\ntrust rhosts", []),
        ("securetcpip on except rsh, rhosts", "enable\ntrust rhosts", []),
        ("securetcpip off", "enable\ntrust rhosts", []),
    ])
    func trustFilesThatSecureTCPIPKeepsFromBeingReadAreWarnedOf(statement: String, items: String, places: [String]) {
        let loaded = load("\(statement)\nservice rsh {\n\(items)\n}\nservice rexec { enable }")
        #expect(loaded.diagnostics.map { "\($0.line) \($0.severity.name)" } == places)
        for diagnostic in loaded.diagnostics { #expect(diagnostic.message.contains("without 'except rhosts'")) }
    }

    /// RSH's default authenticator would be REXEC's: whoever takes passwords by rsh says who checks them.
    @Test(arguments: [
        ("password-field on", ["3:1 error"]), ("authenticate file \"c\"", ["3:1 warning"]),
        ("authenticate file \"c\"\npassword-field off", ["3:1 warning"]), ("password-field off", []),
        ("password-field on\nauthenticate pam \"p\"", []), ("authenticate file \"c\"\npassword-field on", []),
        ("password-field yes", ["3:16 error"]),
        ("password-field on\npassword-field on\nauthenticate pam \"p\"", ["4:1 error"]),
    ])
    func aPasswordFieldNeedsItsAuthenticator(_ items: String, _ expected: [String]) {
        let loaded = load("securetcpip off\nservice rsh { enable\n\(items)\n}")
        #expect(loaded.diagnostics.map { "\($0.line):\($0.column) \($0.severity.name)" } == expected)
        let rexec = load("service rexec {\n\(items)\n}")
        #expect(
            rexec.diagnostics.contains { $0.message == "'password-field' is no item of service rexec" }
                == items.contains("password-field"))
    }

    @Test(arguments: [
        ("pool g = { root }", ["1:12 error"]), ("pool g = { %wheel }", ["1:12 error"]),
        ("pool g = { guest }", ["1:12 error"]), ("pool g = { a, a }", ["1:15 error"]),
        ("pool g = { a }\npool h = { b, a }", ["2:15 error"]), ("pool g = { a }\npool g = { b }", ["2:6 error"]),
        ("pool g = { @x }", ["1:12 error"]), ("pool g = { any }", ["1:12 error"]), ("pool g = { }", ["1:10 error"]),
        ("pool g = { a }", ["1:6 warning"]),
        ("users u = { pool }\nforbid f: any as @u", ["1:13 error"]),
        ("pool g = { a }\nforbid f: rexec as pool g", ["2:20 error"]),
        ("pool g = { a }\npermit p: any from any by any as pool g run any", ["2:34 error"]),
        ("pool g = { a }\npermit p: rexec from any as pool h run any", ["2:29 error"]),
        ("pool g = { a }\npermit p: rexec from any as pool g run any sandbox unconfined", ["2:52 error"]),
    ])
    func aPoolHoldsAccountsOfItsOwn(_ text: String, _ expected: [String]) {
        let found = load(text + "\nservice rexec { enable }").diagnostics.filter {
            $0.severity == .error || expected.first?.hasSuffix("warning") == true
        }
        #expect(found.prefix(1).map { "\($0.line):\($0.column) \($0.severity.name)" } == expected)
    }

    @Test(arguments: [
        ("pool g = { a }\npermit p: rexec from any as pool g run any\npermit q: rexec from any as a run any", 3),
        (
            "pool g = { a }\nusers u = { b, a }\npermit p: rexec from any as pool g run any\n"
                + "permit q: rexec from any as @u run any", 4
        ),
        ("pool g = { a }\npermit p: rexec from any as pool g run any\npermit q: rexec from any as guest run any", 3),
        ("pool g = { a }\npermit p: rexec from any as pool g run any\nforbid f: any as guest", 3),
    ])
    func aRuleThatDoesNotGoWithAPoolIsWarnedOf(_ text: String, _ line: Int) {
        let found = load(text + "\nservice rexec { enable }").diagnostics
        #expect(found.map { "\($0.line):\($0.column) \($0.severity.name)" } == ["\(line):8 warning"])
        #expect(found.first.map { $0.message.contains("'a'") || $0.message.contains("'guest'") } == true)
    }

    /// One warning for a permit, and only where rsh reaches an account of a pool: it asks for no password.
    @Test(arguments: [
        ("permit q: rsh from any by any as any run any", true), ("permit q: any from any by any as any run any", true),
        ("permit q: rexec from any as any run any", false), ("permit q: rsh from any by any as same run any", true),
        ("permit q: rsh from any by { c, b } as same run any", true),
        ("permit q: rsh from any by { c, d } as same run any", false),
        ("users u = { d, b }\npermit q: rsh from any by @u as same run any", true),
        ("permit q: rsh from any by { c, d } as any run any", true),
        ("permit q: rsh from any by any as any run any\nforbid f: rsh as { a, b }", false),
        ("users p = { a, b }\npermit q: rsh from any by any as any run any\nforbid f: any as @p", false),
        ("permit q: rsh from any by any as any run any\nforbid f: rsh as a", true),
        ("permit q: rsh from any by any as any run any\nforbid f: rexec as { a, b }", true),
        ("permit q: rsh from any by any as any run any\nforbid f: rsh by x as { a, b }", true),
        ("permit q: rsh from any by any as any run any\nforbid f: rsh from 10.0.0.0/8 as { a, b }", true),
        ("permit q: rsh from any by any as { any, a } run any", false),
    ])
    func aPermitThatReachesAPoolByRSHIsWarnedOf(_ text: String, _ isWarned: Bool) {
        let start = "securetcpip off\nservice rexec { enable }\nservice rsh { enable }\npool g = { a, b }\n"
        let loaded = load(start + "permit p: rexec from any as pool g run any\n" + text)
        #expect(loaded.errorCount == 0, "\(loaded.diagnostics)")
        let found = loaded.diagnostics.filter { $0.message.contains("'q' reaches accounts of pool 'g' by rsh") }
        #expect(found.count == (isWarned ? 1 : 0), "\(loaded.diagnostics)")
        // By name it is warned of once, and not a second time.
        #expect(loaded.diagnostics.count { $0.message.contains("no guest is given") } <= 1)
    }

    /// What a guest writes into its home is gone before anybody could trust it.
    @Test func aGuestsHomeNeedsNoSelfTrust() {
        let settings = "\nsecuretcpip off\nservice rexec { enable }\nservice rsh { enable }\npool g = { a }\n"
        let guests = load(settings + "permit p: rexec from any as pool g run any sandbox home")
        #expect(guests.errorCount == 0)
        let both = load(settings + "permit p: rexec from any as { pool g, b } run any sandbox home")
        #expect(both.errorCount == 1)
        #expect(load(settings + "permit p: rexec from any as b run any sandbox home").errorCount == 1)
    }

    @Test func aPoolIsASettingThatDiffTells() throws {
        let one = try #require(load("service rexec { enable }").policy)
        let other = load(
            "service rexec { enable }\npool g = { a, \"same\" }\npermit p: rexec from any as { pool g, \"pool\" } run any"
        )
        #expect(other.diagnostics.isEmpty)
        let policy = try #require(other.policy)
        #expect(policy.rules.first?.targets?.pools == ["g"])
        #expect(policy.rules.first?.targets?.literal.names.map(\.description) == ["pool"])
        let rows = SettingDifference.differences(old: one.settings, new: policy.settings)
        #expect(rows.map { "\($0.name) \($0.old) \($0.new)" } == ["pool g none { a, same }"])
        #expect(other.canonicalText.contains("pool g = { a, \"same\" }"))
        #expect(other.canonicalText.contains("as { pool g, \"pool\" } run any"))
    }

    @Test func aPasswordFieldIsASettingThatDiffTells() throws {
        let one = try #require(load("securetcpip off\nservice rsh { enable }").policy)
        let other = load("securetcpip off\nservice rsh { enable, password-field on, authenticate file \"c\" }")
        let changed = try #require(other.policy).settings
        #expect(changed.rsh.takesPasswordField)
        #expect(changed.rsh.authentication == .file("c"))
        #expect(other.canonicalText.contains("password-field on\n    authenticate file \"c\"\n"))
        let rows = SettingDifference.differences(old: one.settings, new: changed).map {
            "\($0.name) \($0.old) \($0.new)"
        }
        #expect(rows == ["service rsh: password-field off on", "service rsh: authenticate none file \"c\""])
    }

    @Test func aNetworkOfAFamilyThatNoListenerHasIsWarnedOf() {
        let rules = "networks n = { ::1, 127.0.0.1 }\npermit p: rexec from { @n, 2001:db8::/32 } as b run any"
        let loaded = load("service rexec {\nenable\nlisten 127.0.0.1:512\n}\n\(rules)")
        #expect(loaded.diagnostics.map { "\($0.line):\($0.column)" } == ["5:16", "6:28"])
    }
}
