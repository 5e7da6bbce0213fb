// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation

/// One run of the escape suite: a gateway with one sandbox, a world outside of it to reach for, and the programs of
/// Tests/RegressTests/Escapes.
struct EscapeGround {
    /// The compiled programs.
    struct Programs {
        var techniques: [UInt8]
        var outside: [UInt8]
        var without: [UInt8]
    }

    let sandbox: String
    let mode: EscapeTable.Mode
    /// The layer that is taken away, as Escapes/without.c names it.
    var layer: String?
    /// A technique that is to be the command itself; nil for all, each in a process of its own.
    var alone: String?

    /// The account that the techniques run as.
    var target: String {
        switch mode {
        case .root: "alice"
        case .uid0: "root"
        case .user: Host.isRoot ? "nobody" : NSUserName()
        }
    }

    /// A uid that nobody else here has: the kernel counts processes by uid, and a fork bomb would take those of other
    /// tests. Who has it is alice, or nobody, in the gateway's own mount namespace.
    private let ownUID = uid_t.random(in: 20_000_000...90_000_000)

    private var uid: uid_t {
        switch mode {
        case .root: ownUID
        case .uid0: 0
        case .user: Host.isRoot ? ownUID : getuid()
        }
    }

    /// What is left out where the tests' own user runs it: what takes that user's processes, and what needs files of
    /// root's.
    static let leftOut: Set<String> =
        Host.isRoot
        ? []
        : [
            "fork-bomb", "setuid-program", "file-capability-program", "preload-setuid-program", "reopen-for-writing",
        ]

    // MARK: - The programs

    static let programs = Result { try compiled() }

    private static func compiled() throws -> Programs {
        guard let compiler = Host.compiler else { throw HarnessError(description: "no C compiler") }
        let folder = FileManager.default.temporaryDirectory.path + "/portcullis-escapes-" + UUID().uuidString
        Files.makeDirectory(folder, mode: 0o700)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let sources = Host.package + "/Tests/RegressTests/Escapes/"
        let files = try FileManager.default.contentsOfDirectory(atPath: sources).filter { $0.hasSuffix(".c") }.sorted()
        func compile(_ names: [String], _ options: [String]) throws -> [UInt8] {
            let out = folder + "/out"
            let words = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
            let made = try Child.run(compiler, words + options + ["-o", out] + names.map { sources + $0 } + ["-lrt"])
            guard made.outcome == .status(0) else { throw HarnessError(description: "\(made)") }
            return Files.read(out)
        }
        return Programs(
            techniques: try compile(files.filter { !["outside.c", "without.c"].contains($0) }, []),
            outside: try compile(["outside.c"], []),
            without: try compile(["without.c"], ["-shared", "-fPIC"]))
    }

    /// Runs the techniques from the client's own bytes, as somebody who attacks would: no file of it is in the sandbox.
    private static let loader = """
        my $l = shift; my $n = "escape"; my $f = syscall(319, $n, 1); open(my $o, ">&=", $f) or die $!;
        while ($l > 0) { my $c = sysread(STDIN, my $b, $l) or die "stdin ended"; syswrite($o, $b); $l -= $c }
        exec { "/proc/self/fd/$f" } "escape", @ARGV; die $!;
        """

    // MARK: - The gateway

    /// Whose line in the gateway's own passwd has that uid.
    private var account: String { mode == .user ? "nobody" : "alice" }

    /// Where the test puts programs with more rights, in a mount namespace of the gateway's own.
    private static let privileged = "/usr/local/games"

    private func setup(_ folder: String) -> Gateway.Setup {
        let rules =
            "permit escape: any from 127.0.0.0/8 by any as \(target) run \"/usr/bin/perl *\" sandbox \(sandbox)"
        let isPlain = mode == .user && sandbox != "unconfined"
        var setup = Gateway.Setup(isPlain ? Rules.asPlainUser(rules, sandbox) : rules)
        setup.rexec = "authenticate file \"credentials\"\n    command-length 131071"
        setup.asNobody = mode == .user && Host.isRoot
        setup.nobody = ownUID
        // Nobody has a home here, and root's is none of the host's.
        setup.mounts = """
            mount -t tmpfs -o mode=755 escape \(Self.privileged) \
            && cp \(folder)/escape \(Self.privileged)/setuid && chmod 4755 \(Self.privileged)/setuid \
            && cp \(folder)/escape \(Self.privileged)/filecap && chmod 755 \(Self.privileged)/filecap \
            && /usr/bin/perl -e \
            'my ($p, $n, $v) = (@ARGV, "security.capability", pack("V5", 0x02000001, 1 << 7, 0, 0, 0)); \
            syscall(188, $p, $n, $v, 20, 0) == 0 or die $!' \(Self.privileged)/filecap \
            && echo open > \(Self.privileged)/file && chmod 666 \(Self.privileged)/file \
            && mount -t tmpfs -o mode=700 escape /root && echo own > /root/own \
            && mkdir -p $DIR/home/nobody $DIR/home/alice && chown \(ownUID) $DIR/home/nobody $DIR/home/alice \
            && sed "s|^\(account):[^:]*:.*|\(account):x:\(ownUID):\(ownUID)::$DIR/home/\(account):/bin/sh|" /etc/passwd \
            > $DIR/passwd && mount --bind $DIR/passwd /etc/passwd
            """
        if let layer {
            setup.environment = ["LD_PRELOAD": folder + "/without.so", "PORTCULLIS_WITHOUT": layer]
        }
        return setup
    }

    /// What a run came to.
    struct Findings {
        /// Outcomes by technique.
        var outcomes: [String: String] = [:]
        /// Processes of the run that were still there when the client had heard of the end.
        var left: [String] = []
        /// Everything that was said.
        var text = ""
        /// The end record.
        var end: TrailLine?
    }

    func run() throws -> Findings {
        let programs = try Self.programs.get()
        let base = Host.isRoot ? "/run" : FileManager.default.temporaryDirectory.path
        let folder = base + "/portcullis-escape-" + UUID().uuidString
        Files.makeDirectory(folder, mode: 0o755)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, bytes) in [
            ("escape", programs.techniques), ("outside", programs.outside), ("without.so", programs.without),
        ] {
            try Data(bytes).write(to: URL(fileURLWithPath: folder + "/" + name))
            Files.set(folder + "/" + name, mode: 0o755)
        }
        try passLowNumbers()
        var findings = Findings()
        try Gateway.with(setup(folder)) { gate throws in
            findings = try run(in: gate, folder, programs)
        }
        return findings
    }

    /// Has the host give out process numbers above any that a session's own processes have: a number of the gateway's or of
    /// the victim's that is one of theirs, too, would be signalled in their place. And not so high that other tests bring the
    /// numbers round before these two have theirs.
    private func passLowNumbers() throws {
        let loop = """
            open(my $f, "<", "/proc/sys/kernel/pid_max") or die; my $end = <$f> - 8192;
            while (1) { my $p = fork // die; exit 0 unless $p; waitpid $p, 0; exit 0 if $p > 2047 && $p < $end }
            """
        let passing = try Child("/usr/bin/perl", ["-e", loop])
        guard passing.wait(within: 60_000) == .status(0) else {
            throw HarnessError(description: "no higher process number can be had: \(passing.errSoFar)")
        }
    }

    private func run(in gate: Gateway, _ folder: String, _ programs: Programs) throws -> Findings {
        let mark = "esc" + String(UInt32.random(in: 0...UInt32.max), radix: 36)
        let key = Int32.random(in: 1...Int32.max - 1)
        let open = folder + "/open"
        Files.makeDirectory(open, mode: 0o777)
        for name in ["file", "removable", "movable"] {
            try Files.write("open to all\n", to: open + "/" + name, mode: 0o666, owner: Host.isRoot ? uid : nil)
        }
        let home = try makeHome(gate)
        defer { if !Host.isRoot { try? FileManager.default.removeItem(atPath: home) } }
        let other = Host.isRoot ? gate.home("bob") : "/root"
        if Host.isRoot {
            try Files.write("bob's", to: other + "/secret", mode: 0o600, owner: Gateway.uid("bob"))
        }

        var command = [folder + "/outside", "\(gate.address)", open, mark, "\(key)"]
        if Host.isRoot {
            command = ["/usr/bin/setpriv", "--reuid=\(uid)", "--regid=\(uid)", "--clear-groups", "--"] + command
        }
        var outside = try Child(command[0], Array(command.dropFirst()))
        // What this process has just written another thread's child can hold open for a moment: execve(2), ETXTBSY.
        while outside.wait(within: 100) != .stillRunning, outside.errSoFar.hasSuffix("Text file busy\n") {
            outside = try Child(command[0], Array(command.dropFirst()))
        }
        defer {
            outside.send(SIGTERM)
            _ = outside.wait(within: 5_000)
        }
        guard gate.wait(until: { outside.outSoFar.hasSuffix("\n") || outside.wait(within: 0) != .stillRunning }),
            outside.outSoFar.hasPrefix("ready ")
        else { throw HarnessError(description: "nothing is outside: \(outside.errSoFar)") }
        let port = outside.outSoFar.dropFirst(6).dropLast()

        let words = [
            "open=\(open)", "home=\(home)", "other=\(other)", "readable=\(Self.privileged)",
            "setuid=\(Self.privileged)/setuid", "filecap=\(Self.privileged)/filecap", "state=\(gate.state)",
            "runtime=\(gate.runtime)", "policy=\(gate.policyPath)", "address=\(gate.address)", "tcp=\(port)",
            "unix=\(open)/listener", "datagram=\(open)/datagram", "mark=\(mark)", "key=\(key)",
            "victim=\(outside.pid)", "gateway=\(gate.daemon?.pid ?? 0)",
            "leave-out=\(Self.leftOut.sorted().joined(separator: ","))",
        ]
        let script = "'" + Self.loader.replacingOccurrences(of: "'", with: "'\\''") + "'"
        let line =
            (["/usr/bin/perl", "-e", script, "\(programs.techniques.count)"] + (alone.map { ["only", $0] } ?? words))
            .joined(separator: " ")
        let client: Conversation
        if mode == .uid0 {
            client = try Conversation.rsh(gate, by: "root", as: target, line, separately: true)
        } else {
            client = try Conversation.rexec(gate, as: target, line, separately: true)
        }
        guard client.primary.receive(count: 1) == [0] else {
            gate.fail()
            throw HarnessError(description: "refused: \(try gate.lastReason() ?? "?")")
        }
        client.primary.send(programs.techniques)
        let answer = client.answer(within: 60_000)
        var findings = Findings()
        findings.text = answer.errorOutput + answer.output
        // What is there when the client hears of the end; what is ended here too must not stay.
        let left = Self.processes(named: mark)
        findings.left = left.map(\.name)
        defer { for process in left { kill(process.pid, SIGKILL) } }
        for line in answer.errorOutput.split(separator: "\n") {
            guard let blank = line.firstIndex(of: " ") else { continue }
            findings.outcomes[String(line[..<blank])] = String(line[line.index(after: blank)...])
        }
        for (name, letter) in [
            ("survivor-setsid", "a"), ("survivor-double-fork", "b"), ("survivor-holding", "c"),
            ("survivor-subreaper", "d"), ("survivor-stopped", "e"),
        ] where findings.outcomes[name] == "started" {
            findings.outcomes[name] = findings.left.contains("\(mark)-\(letter)") ? "worked" : "ended"
        }
        findings.end = try gate.record("USER_END")
        return findings
    }

    /// The target's home, or a directory in it where it is a person's.
    private func makeHome(_ gate: Gateway) throws -> String {
        let home: String =
            switch (mode, Host.isRoot) {
            case (.root, _): gate.home("alice")
            case (.uid0, _): "/root"
            case (.user, true): gate.directory + "/home/nobody"
            case (.user, false): NSHomeDirectory() + "/portcullis-escape-" + UUID().uuidString
            }
        // Root's is the gateway's own, behind its mounts: what is in it is made by a technique.
        guard mode != .uid0 else { return home }
        if !Host.isRoot { Files.makeDirectory(home, mode: 0o755) }
        try Files.write("own\n", to: home + "/own", mode: 0o644, owner: Host.isRoot ? uid : nil)
        return home
    }

    /// Processes whose name begins with a mark and that have not ended.
    private static func processes(named mark: String) -> [(pid: pid_t, name: String)] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { pid_t($0) } ?? []
        return all.compactMap { pid in
            let stat = Files.text("/proc/\(pid)/stat")
            guard let open = stat.firstIndex(of: "("), let close = stat.lastIndex(of: ")") else { return nil }
            let name = String(stat[stat.index(after: open)..<close])
            return name.hasPrefix(mark) && !stat[close...].hasPrefix(") Z") ? (pid, name) : nil
        }
    }
}
