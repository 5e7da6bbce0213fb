// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Testing

@testable import Policy

/// What a sandbox is made of from what was seen (docs/sandboxes.md, Learning).
@Suite struct LearnedSandboxTests {
    private func learned(
        _ paths: [(String, Observations.Use)], home: String = "/home/alice", calls: Set<String> = [],
        namesCalls: Bool = false, _ change: (inout Observations) -> Void = { _ in }
    ) -> LearnedSandbox {
        var seen = Observations()
        seen.home = ByteText(home)
        for (path, use) in paths { seen.add(use, ByteText(path)) }
        seen.systemCalls = calls
        change(&seen)
        return LearnedSandbox(seen, namesCalls: namesCalls)
    }

    /// What an item has beyond those of `strict`.
    private func more(_ item: [Sandbox.Path]?, _ inherited: KeyPath<Sandbox, [Sandbox.Path]>) -> [String] {
        let known = SandboxDefinition.builtIn("strict")?.base[keyPath: inherited] ?? []
        return (item ?? []).filter { !known.contains($0) }.map(\.text)
    }

    @Test func whatStrictOpensIsNotNamed() {
        let sandbox = learned([
            ("/usr/lib/x.so", .read), ("/etc/passwd", .read), ("/proc/self/status", .read), ("/usr/bin/cat", .executed),
            ("/dev/null", .written), ("/usr/share", .listed),
        ])
        #expect(sandbox.read == nil && sandbox.write == nil && sandbox.execute == nil && sandbox.allowed == nil)
        #expect(sandbox.base == "strict" && sandbox.network == nil && sandbox.notes.isEmpty)
    }

    @Test func anItemReplacesTheInheritedOneSoItIsWhole() {
        let sandbox = learned([("/srv/data/a", .read)])
        #expect(sandbox.read?.first == .absolute("/usr") && sandbox.read?.last == .absolute("/srv/data/a"))
    }

    @Test func manyFilesOfADirectoryAreTheDirectory() {
        let few = (1...8).map { ("/srv/data/f\($0)", Observations.Use.read) }
        #expect(more(learned(few).read, \.read).count == 8)
        #expect(more(learned(few + [("/srv/data/f9", .read)]).read, \.read) == ["/srv/data"])
        // The directories of one directory, too.
        let deep = (1...9).flatMap { outer in (1...9).map { ("/srv/d/\(outer)/\($0)", Observations.Use.read) } }
        #expect(more(learned(deep).read, \.read) == ["/srv/d"])
    }

    /// Neither the root, nor one of its directories, nor a home stands for what lies in it.
    @Test func noDirectoryTooLargeIsOpened() {
        for parent in ["", "/srv", "/home/alice", "/home"] {
            let files = (1...20).map { ("\(parent)/f\($0)", Observations.Use.read) }
            #expect(more(learned(files).read, \.read).count == 20, "\(parent)")
        }
        let root = learned([("/", .listed), ("/", .changed)])
        #expect(root.read == nil && root.write == nil && !root.notes.isEmpty)
    }

    @Test func theHomeIsATilde() {
        let sandbox = learned([
            ("/home/alice/.config/x", .read), ("/home/alicette/y", .read), ("/home/alice", .changed),
        ])
        #expect(more(sandbox.write, \.write) == ["~"])
        // What is written can be read.
        #expect(more(sandbox.read, \.read) == ["/home/alicette/y"])
        let nobody = learned([("/x/y", .read)], home: "/")
        #expect(more(nobody.read, \.read) == ["/x/y"])
    }

    // MARK: Names with links

    /// Steps are of a link's path and what was still to come.
    private func named(
        _ uses: [(links: [(String, String)], end: String, use: Observations.Use)], homeLinks: Set<ByteText> = []
    ) -> LearnedSandbox {
        learned(uses.filter { $0.use != .asked }.map { ($0.end, $0.use) }) { seen in
            seen.homeLinks = homeLinks
            for (links, end, use) in uses {
                let steps = links.map { link, rest in
                    Observations.Name.Link(link: ByteText(link), path: ByteText(link + rest))
                }
                seen.names[Observations.Name(links: steps, end: ByteText(end)), default: []].formUnion(use)
                if use == .asked { seen.add(.asked, ByteText(end)) }
            }
        }
    }

    /// A session of root's gateway sees no link but those on the way to what is listed.
    @Test func aNameWithALinkThatWouldNotBeThereIsListedBesideItsEnd() {
        let sandbox = named([
            ([("/var/run", "/x/f")], "/run/x/f", .read), ([("/var/run", "/y")], "/run/y", .changed),
            ([("/opt/l", ""), ("/opt/m", "/p")], "/opt/n/p", .executed),
        ])
        #expect(more(sandbox.read, \.read) == ["/run/x/f", "/var/run/x/f"])
        #expect(more(sandbox.write, \.write) == ["/run/y", "/var/run/y"])
        #expect(more(sandbox.execute, \.execute) == ["/opt/l", "/opt/n/p"])
        #expect(sandbox.notes.isEmpty)
    }

    @Test func aLinkThatIsThereAnywayIsNotNamed() {
        let sandbox = named(
            [
                ([("/bin", "/cat")], "/usr/bin/cat", .executed), ([("/etc/l", "/x")], "/srv/x", .read),
                ([("/srv/d/l", "")], "/srv/e", .read), ([], "/srv/d", .listed),
                ([("/home/alice/l", "")], "/srv/f", .read), ([("/u", "/alice/f")], "/home/alice/f", .read),
                ([("/dev/fd", "/3")], "/proc/1/fd/3", .read),
            ], homeLinks: ["/u"])
        #expect(more(sandbox.read, \.read) == ["~/f", "/srv/d", "/srv/e", "/srv/f", "/srv/x"])
        #expect(more(sandbox.execute, \.execute).isEmpty)
    }

    @Test func manyNamesOfADirectoryAreTheDirectoryWhereItsFilesAre() {
        let files = { (link: String, end: String) in
            (1...9).map {
                (links: [(link, "/f\($0)")], end: "\(end)/f\($0)", use: Observations.Use.read)
            }
        }
        #expect(more(named(files("/opt/l", "/srv/data")).read, \.read) == ["/opt/l", "/srv/data"])
        // `/var/run` is `/run`, which no files of it become.
        #expect(more(named(files("/var/run", "/run")).read, \.read).count == 18)
        // Where each file is a link, its directory is another.
        let each = (1...9).map {
            (
                links: [("/opt/l", "/f\($0)"), ("/opt/m/f\($0)", "")], end: "/srv/data/f\($0)",
                use: Observations.Use.read
            )
        }
        #expect(more(named(each).read, \.read) == (1...9).map { "/opt/l/f\($0)" } + ["/srv/data"])
    }

    /// What was only asked for gives no right that nothing else gave.
    @Test func aNameThatWasAskedForIsThereWithWhatIsListed() {
        let opened = (links: [(String, String)](), end: "/run/x/f", use: Observations.Use.written)
        let below = named([opened, ([("/var/run", "/x")], "/run/x", .asked)])
        #expect(more(below.write, \.write) == ["/run/x/f", "/var/run/x/f"] && below.read == nil)
        #expect(below.notes.isEmpty)
        let same = named([opened, ([("/var/run", "/x/f")], "/run/x/f", .asked)])
        #expect(more(same.read, \.read) == ["/var/run/x/f"])
        let absent = named([opened, ([("/var/run", "/y")], "/run/y", .asked)])
        #expect(absent.read == nil && absent.notes.count == 1)
        #expect(absent.notes.first?.contains("/run/y, /var/run/y") == true)
    }

    /// It would open the host's /tmp, or everything.
    @Test func aNameOfWhatIsNotGivenIsNotListed() {
        let sandbox = named([
            ([("/var/t", "/x")], "/tmp/x", .changed), ([("/host", "")], "/", .listed),
            ([("/opt/tty", "")], "/dev/tty", .read),
        ])
        #expect(more(sandbox.write, \.write) == ["/tmp"] && sandbox.read == nil)
        #expect(sandbox.notes.contains { $0.contains("/host, /opt/tty, /var/t/x") })
    }

    @Test func temporaryFilesAreThePrivateDirectory() {
        let sandbox = learned([
            ("/tmp/a/b", .changed), ("/tmp/c", .read), ("/tmp/prog", .executed), ("/var/tmp", .changed),
        ])
        #expect(more(sandbox.write, \.write) == ["/tmp", "/var/tmp"])
        #expect(more(sandbox.execute, \.execute) == ["/tmp"])
        #expect(sandbox.read == nil)
    }

    @Test func whatNoSandboxIsGivenIsANote() {
        let sandbox = learned([
            ("/proc/sys/kernel/core_pattern", .written), ("/sys/x", .written), ("/dev/tty", .written),
            ("/srv/a\nb", .read),
        ])
        #expect(sandbox.read == nil && sandbox.write == nil)
        #expect(sandbox.notes.count == 4)
        #expect(sandbox.notes.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 } })
    }

    @Test func callsAreTheUsualGroupsAndWhatIsBesides() {
        #expect(learned([], calls: ["read", "openat", "socket", "execve"]).allowed == nil)
        let changing = learned([], calls: ["openat", "chmod"])
        #expect(changing.allowed == ["@system-service", "@sandbox", "@pkey"] && changing.denied.isEmpty)
        let further = learned([], calls: ["openat", "mincore"])
        #expect(further.allowed == ["@system-service", "@sandbox", "@pkey", "mincore"])
        #expect(further.denied.contains("chmod"))
        #expect(learned([], calls: ["read", "mincore", "openat"], namesCalls: true).allowed == ["mincore", "openat"])
    }

    @Test func theNetworkIsWhatWasUsed() {
        #expect(learned([]).network == nil)
        #expect(learned([]) { $0.network.ports = [443, 80] }.network == .tcpConnect([80, 443]))
        let udp = learned([]) {
            $0.network.ports = [53]
            $0.network.further = ["opens a UDP socket"]
        }
        #expect(udp.network == .on && udp.notes == ["network on, because it opens a UDP socket"])
    }

    @Test func limitsHaveHeadroomAndAFloor() throws {
        let small = try #require(learned([]).limits)
        #expect(small.cpu == 10 && small.memory == 256 << 20 && small.processes == 64 && small.files == 64)
        let large = learned([]) {
            $0.resources.processorMilliseconds = 100_000
            $0.resources.addressSpace = 3 << 30
            $0.resources.tasks = 100
            $0.resources.descriptors = 1_024
            $0.resources.fileSize = .max
            $0.resources.milliseconds = 600_000
        }
        let limits = try #require(large.limits)
        #expect(limits.cpu == 512 && limits.memory == 16 << 30 && limits.processes == 512 && limits.files == 2_048)
        #expect(limits.fileSize == 1 << 60)
        #expect(large.timeout == 101 * 60_000)
    }

    // MARK: From denials

    private func extended(_ name: String, _ denials: [RecordedDenial]) throws -> LearnedSandbox {
        let sandbox = try #require(SandboxDefinition.builtIn(name)).sandbox(named: name)
        return LearnedSandbox(extending: sandbox, denials: denials, home: "/home/alice")
    }

    @Test func whatWasDeniedIsAdded() throws {
        let sandbox = try extended(
            "standard",
            [
                .access("fs.read_file", path: "/srv/in"), .access("fs.make_reg", path: "/srv/out"),
                .access("fs.execute", path: "/opt/x"), .access("net.connect_tcp:443", path: nil),
                .access("scope.signal", path: nil), .call("mincore"), .call("mount"), .call("socket"),
            ])
        #expect(sandbox.base == "standard")
        #expect(sandbox.read?.last == .absolute("/srv/in") && sandbox.write?.last == .absolute("/srv/out"))
        #expect(sandbox.execute?.last == .absolute("/opt/x"))
        #expect(sandbox.network == .tcpConnect([443]))
        #expect(sandbox.allowed?.first == "@system-service" && sandbox.allowed?.contains("mincore") == true)
        #expect(sandbox.notes.count == 3)
    }

    /// The list that is written means the calls that were in force and the ones that were denied, and no others.
    @Test(arguments: ["strict", "standard", "home"])
    func theListMeansWhatItIsToMean(name: String) throws {
        let before = try #require(SandboxDefinition.builtIn(name)).sandbox(named: name)
        let learned = try extended(name, [.call("mincore")])
        let base = try #require(SandboxDefinition.builtIn(name)).base
        let after = SandboxDefinition(base: base, allowed: try #require(learned.allowed), denied: learned.denied)
            .sandbox(named: name)
        #expect(Set(after.systemCalls) == Set(before.systemCalls).union(["mincore"]))
    }

    @Test func whatCannotBeGivenAddsNothing() throws {
        let sandbox = try extended("strict", [.call("ptrace"), .access("scope.signal", path: nil), .call("470")])
        #expect(sandbox.addsNothing && sandbox.notes.count == 3)
    }
}
