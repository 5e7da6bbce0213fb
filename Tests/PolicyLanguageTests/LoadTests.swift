// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyLanguage
import Testing

/// The language's own example, every statement of it.
let wholeLanguage = #"""
    policy 1
    securetcpip on except rsh, netrc    # give back one thing at a time

    service rexec {
        enable                          # default: disable
        listen 127.0.0.1:512, [::1]:512
        authenticate pam "portcullis-rexec"         # or: authenticate file "credentials"
        stderr-channel on               # off refuses a request that asks for one
        handshake-timeout 15s
        authentication-timeout 30s      # from the request to the launch: name service, PAM, audit
        command-length 4096             # bytes; at most 131071
        sessions 200 per-source 20
    }
    service rsh {
        enable
        listen 127.0.0.1:514
        trust rhosts                    # or: trust file "rhosts"    or: trust rule
        names refuse                    # host names in trust files: refuse | hosts-file | dns
        source-port reserved            # or: any, which check warns about
        account pam "portcullis-rsh"    # or: account none
        password-field off              # or: on, for the user/password of z/OS and z/VM clients
    }
    refusal { delay 1s  rexec "Login incorrect."  rsh "Permission denied." }
    audit   { kernel auto  durability sync  on-failure refuse  checkpoint 60s }

    search-path /usr/bin:/bin           # where a first word without / is looked up; this is the default

    networks mainframes = { 10.20.0.0/16, 2001:db8:20::/48, 192.0.2.7 }
    users    operators  = { alice, bob, %wheel }         # %group; groups are for targets
    commands dumps      = { "/usr/sbin/dump 0uf - <path /home>", "/usr/bin/id" }
    hours    nights     = { mon-fri 22:00-04:00, sat 00:00-24:00 }

    sandbox backup extends standard {
        read    /usr /lib /lib64 /bin /etc /srv/data
        write   /var/backups
        execute /usr /bin
        syscalls allow @system-service deny @keyring, @setuid
        network off                     # or: tcp-connect 443, 8443   or: on
        limit   cpu 60s, memory 512M, processes 64, files 256, file-size 1G, output 100M
        timeout 10m
        umask   077
        path    /usr/bin:/bin
        environment LANG=C.UTF-8
        on-violation errno              # or: kill
        require landlock 4              # refuse to serve where the kernel has less
    }

    permit nightly-dump: rexec from @mainframes as backup run @dumps during @nights sandbox backup
    permit uptime:       rsh from 10.1.2.3 by alice as same run "/usr/bin/uptime" sandbox strict
    permit alice-shell:  rexec from 10.1.0.0/16 as alice run shell sandbox standard
    forbid contractors:  any from 10.66.0.0/16
    forbid no-root:      any as root
    """#

/// What came of a load, with the canonical text.
@dynamicMemberLookup
struct Loaded: Sendable {
    var loaded: LoadedPolicy
    var canonicalText: String

    subscript<Value>(dynamicMember member: KeyPath<LoadedPolicy, Value>) -> Value { loaded[keyPath: member] }
}

/// Keeps the canonical text.
struct TextTaker: CanonicalTextTaker {
    var bytes: [UInt8] = []
    var text: String { String(decoding: bytes, as: UTF8.self) }

    mutating func take(_ piece: [UInt8]) { bytes += piece }
}

/// What a policy text loads as, and what it is told.
func load(_ text: String, directories: GuardedDirectories = GuardedDirectories()) -> Loaded {
    var none = NoPolicyFiles()
    return load(SourceFile(name: "t", text: text), files: &none, directories: directories)
}

/// What a policy of files loads as.
func load(
    _ root: SourceFile, files: inout some PolicyFiles, directories: GuardedDirectories = GuardedDirectories(),
    analyses: Bool = true
) -> Loaded {
    var taker = TextTaker()
    let loaded = PolicyText.load(
        root, files: &files, canonicalText: &taker, directories: directories, analyses: analyses)
    return Loaded(loaded: loaded, canonicalText: taker.text)
}

/// Files by name, each naming the next.
struct TextFiles: PolicyFiles {
    var texts: [(name: String, text: String)]

    mutating func files(matching pattern: String, from: Int) -> IncludedFiles {
        let found = texts.enumerated().filter { FileNamePattern.matches(Array(pattern.utf8), Array($1.name.utf8)) }
        return IncludedFiles(
            files: found.map { SourceFile(name: $1.name, handle: $0, bytes: Array($1.text.utf8)) })
    }
}

@Suite struct LoadTests {
    @Test func theWholeLanguageLoads() throws {
        let loaded = load(wholeLanguage)
        let policy = try #require(loaded.policy, "\(loaded.diagnostics.map(\.text).joined())")
        #expect(policy.rules.map(\.name) == ["nightly-dump", "uptime", "alice-shell", "contractors", "no-root"])
        #expect(policy.settings.secureTCPIP.exceptions == [.rsh, .netrc])
        #expect(policy.sandboxes.map(\.name) == ["backup", "strict", "standard"])
        #expect(policy.sandboxPlaces.map { $0?.line } == [33, nil, nil])
    }

    @Test func theExamplesValuesAreTheDefaults() throws {
        let policy = try #require(load(wholeLanguage).policy)
        var defaults = Settings()
        defaults.secureTCPIP.exceptions = [.rsh, .netrc]
        defaults.rexec.isEnabled = true
        defaults.rsh.isEnabled = true
        #expect(policy.settings == defaults)
    }

    @Test func aCustomSandboxReplacesItsItemsAndInheritsTheRest() throws {
        let policy = try #require(load(wholeLanguage).policy)
        let backup = try #require(policy.sandboxes.first)
        #expect(backup.read.map(\.text) == ["/usr", "/lib", "/lib64", "/bin", "/etc", "/srv/data"])
        #expect(backup.write == [.absolute("/var/backups")])
        #expect(backup.limits.cpu == 60)
        #expect(backup.limits.memory == 512 << 20)
        #expect(backup.limits.processes == 64)
        #expect(backup.limits.files == 256)
        #expect(backup.limits.fileSize == 1 << 30)
        #expect(backup.limits.output == 100 << 20)
        #expect(backup.timeout == 600_000)
        #expect(backup.umask == 0o77)
        #expect(backup.environment == [.init(name: "LANG", value: "C.UTF-8")])
        #expect(backup.requiredLandlock == 4)
        #expect(!backup.systemCalls.contains("keyctl"))
        #expect(!backup.systemCalls.contains("setresuid"))
        #expect(backup.systemCalls.contains("openat"))
        #expect(!backup.systemCalls.contains("socket"))
        #expect(backup.systemCalls.contains("socketpair"))
    }

    @Test func aSandboxWithoutExtendsStartsFromStrict() throws {
        let policy = try #require(load("sandbox own { timeout 5s }").policy)
        let own = try #require(policy.sandboxes.first)
        var strict = try #require(SandboxDefinition.builtIn("strict")).sandbox(named: "own")
        strict.timeout = 5_000
        #expect(own == strict)
    }

    @Test func sandboxesExtendEachOtherInAnyOrder() throws {
        let policy = try #require(
            load("sandbox c extends b { umask 027 }\nsandbox b extends a { timeout 5s }\nsandbox a extends standard {}")
                .policy)
        #expect(policy.sandboxes.map(\.name) == ["c", "b", "a"])
        #expect(policy.sandboxes.map(\.timeout) == [5_000, 5_000, nil])
        #expect(policy.sandboxes.map(\.umask) == [0o27, 0o77, 0o77])
    }

    @Test func wordsSeparatedByBlanksCommasOrNewlinesAreTheSame() throws {
        let texts = [
            "networks n = { 10.0.0.0/8, 192.0.2.1 }", "networks n = { 10.0.0.0/8 192.0.2.1 }",
            "networks n = {\n  10.0.0.0/8\n  192.0.2.1\n}", "networks n = {\n  10.0.0.0/8,\n  192.0.2.1, # last\n}",
            "networks \\\n  n = { 10.0.0.0/8,192.0.2.1 }\r\n",
        ]
        let canonical = Set(texts.map { load($0).canonicalText })
        #expect(canonical == ["networks n = { 10.0.0.0/8, 192.0.2.1 }\n"])
    }

    @Test func clausesComeInAnyOrder() throws {
        let one = load("permit a: rsh sandbox strict run any as bob by any from any")
        let two = load("permit a: rsh from any by any as bob run any sandbox strict")
        #expect(one.policy != nil)
        #expect(one.canonicalText == two.canonicalText)
    }

    // MARK: Include

    @Test func includesAreReadInPlaceAndInOrder() throws {
        var files = TextFiles(texts: [
            ("b.policy", "forbid b: any\n"), ("c.policy", "include \"d.conf\"\nforbid c: any"),
            ("d.conf", "forbid d: any"),
        ])
        let root = SourceFile(name: "root", text: "forbid a: any\ninclude \"*.policy\"\nforbid e: any")
        let loaded = load(root, files: &files)
        #expect(loaded.policy?.rules.map(\.name) == ["a", "b", "d", "c", "e"])
        #expect(
            loaded.policy?.rules.map(\.place.description) == [
                "root:1", "b.policy:1", "d.conf:1", "c.policy:2", "root:3",
            ])
        #expect(loaded.files == ["root", "b.policy", "c.policy", "d.conf"])
        #expect(loaded.canonicalText.hasPrefix("forbid a: any\nforbid b: any\nforbid d: any\n"))
    }

    @Test func aCycleAndADepthOverEightAreErrors() throws {
        var ring = TextFiles(texts: [("a", "include \"b\""), ("b", "include \"a\"")])
        let cycle = PolicyText.load(SourceFile(name: "root", text: "include \"a\""), files: &ring)
        #expect(cycle.diagnostics.map(\.headline) == ["b:1:1: error: a is included from within itself"])
        var itself = TextFiles(texts: [("root", "include \"root\"")])
        #expect(PolicyText.load(SourceFile(name: "root", text: "include \"root\""), files: &itself).errorCount == 1)
        func chain(_ depth: Int) -> LoadedPolicy {
            var files = TextFiles(
                texts: (1...depth).map { ("f\($0).", $0 == depth ? "forbid last: any" : "include \"f\($0 + 1).\"") })
            return PolicyText.load(SourceFile(name: "root", text: "include \"f1.\""), files: &files)
        }
        #expect(chain(8).policy?.rules.count == 1)
        #expect(chain(9).policy == nil)
    }

    @Test func aFileThatIsIncludedTwiceIsOneError() {
        var files = TextFiles(texts: [("a.policy", "forbid a: any\nforbid b: any"), ("b.policy", "forbid c: any")])
        let twice = load(
            SourceFile(name: "t", text: "include \"a.policy\"\n\ninclude \"*.policy\""), files: &files)
        #expect(
            twice.diagnostics.map(\.headline) == ["t:3:1: error: a.policy is included twice; the first time is at t:1"])
    }

    @Test func aLiteralNameThatDoesNotExistIsAnErrorAndAGlobThatMatchesNothingAWarning() {
        var none = NoPolicyFiles()
        let literal = PolicyText.load(SourceFile(name: "t", text: "include \"x\""), files: &none)
        #expect(literal.errorCount == 1)
        let glob = PolicyText.load(SourceFile(name: "t", text: "include \"*.x\""), files: &none)
        #expect(glob.policy != nil)
        #expect(glob.diagnostics.map(\.severity) == [.warning])
    }

    // MARK: Directories

    @Test(arguments: [
        ("read /var", true), ("read /var/lib/portcullis/audit", true), ("write /", true), ("execute /run", true),
        ("read /etc/portcullis", false), ("write /etc", true), ("write /var/backups", false),
        ("write /etc/portcullis/x", true), ("read /var/lib/portcullis2", false), ("write /tmp", false),
        ("read ~", false),
    ])
    func aSandboxThatOpensTheGatewaysDirectoriesIsAnError(_ item: String, _ isError: Bool) {
        let directories = GuardedDirectories(
            state: "/var/lib/portcullis", runtime: "/run/portcullis/", policy: "/etc/portcullis")
        #expect((load("sandbox s { \(item) }", directories: directories).errorCount > 0) == isError)
    }

    @Test func aBuiltInSandboxThatOpensTheStateDirectoryIsAnErrorWhereItIsUsed() {
        let text = "permit p: rexec from any as a run any"
        let directories = GuardedDirectories(state: "/etc/portcullis/state")
        #expect(load(text, directories: directories).errorCount == 1)
        let unconfined = "permit p: rexec from any as a run any sandbox unconfined"
        #expect(load(unconfined, directories: directories).errorCount == 0)
    }

    // MARK: Self-trust

    @Test(arguments: [
        ("home", "", "rhosts", true), ("home", "self-trust", "rhosts", false), ("unconfined", "", "rhosts", true),
        ("own", "", "rhosts", true), ("standard", "", "rhosts", false), ("strict", "", "rhosts", false),
        ("home", "", "file \"rhosts\"", false), ("home", "", "rule", false),
    ])
    func aSandboxThatCanWriteTheHomeNeedsTheWordWhereRhostsIsTrusted(
        _ sandbox: String, _ word: String, _ trust: String, _ isError: Bool
    ) {
        let text = """
            securetcpip off
            service rsh {
                enable
                trust \(trust)
            }
            sandbox own extends standard { write ~/data /tmp }
            permit p: rexec from any as bob run any sandbox \(sandbox) \(word)
            """
        #expect((load(text).errorCount > 0) == isError)
    }
}
