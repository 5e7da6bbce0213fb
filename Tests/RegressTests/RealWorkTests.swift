// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// A sandbox that nothing can be done in is left out of policies: real programs work in each as docs/sandboxes.md says.
@Suite("Real programs in each sandbox", .needsBuild)
struct RealWorkTests {
    /// A piece of work that a shell in the sandbox does; it ends in `echo works`.
    struct Work {
        var name: String
        var programs: [String] = []
        var script: String
    }

    private static let temporary = "cd \"${TMPDIR:-/tmp}\" && mkdir work && cd work && "

    /// Files with modes, times and links, made where the shell stands.
    private static let files = """
        mkdir -p a/b && cp -p /etc/passwd a/one && mv a/one a/two && ln -s two a/link && chmod 640 a/two \
        && touch -d '2001-02-03 04:05:06' a/two && ln a/two a/b/hard && : > a/b/empty && rm a/b/empty \
        && test "$(stat -c '%a %h %Y' a/two)" = "640 2 $(date -d '2001-02-03 04:05:06' +%s)"
        """

    static let works = [
        Work(
            name: "sh: pipes, jobs, here documents",
            script: """
                x=$(printf 'a\\nb\\n' | sort -r | head -n 1); (sleep 0.05 & wait) && test "$x" = b \
                && test "$(cat <<END
                here $x
                END
                )" = 'here b' && trap 'echo works' EXIT
                """),
        Work(
            name: "bash: process substitution", programs: ["bash"],
            script: "bash -c 'diff <(seq 3) <(seq 3) && seq 3 | tee /dev/stderr > /dev/null' 2> /dev/null && echo works"
        ),
        Work(
            name: "coreutils: reading",
            script: """
                ls -lR /etc/default > /dev/null && sort /etc/passwd | uniq -c | cut -c 1-4 | wc -l > /dev/null \
                && test "$(seq 1000 | tail -n 1)" = 1000 && id > /dev/null && date > /dev/null && df /usr > /dev/null \
                && sha256sum /etc/passwd > /dev/null && nproc > /dev/null && timeout 5 true && nice true && echo works
                """),
        Work(
            name: "find, xargs, grep, awk",
            script: """
                test "$(find /etc -maxdepth 1 -name passwd -print0 | xargs -0 grep -c '^root:')" = 1 \
                && test "$(seq 10 | awk '{ n += $1 } END { print n }')" = 55 && echo works
                """),
        Work(name: "coreutils: writing in /tmp", script: temporary + files + " && echo works"),
        Work(
            name: "coreutils: writing in the home",
            script: "cd && mkdir work && cd work && " + files + " && cd .. && rm -r work && echo works"),
        Work(
            name: "sort, with files of its own", programs: ["sort"],
            script: "test \"$(seq 60000 -1 1 | sort -n -S 64k | head -n 1)\" = 1 && echo works"),
        Work(
            name: "tar: an archive to and from pipes", programs: ["tar"],
            script: "tar -cf - -C /etc passwd group | tar -tvf - | grep -c passwd > /dev/null && echo works"),
        Work(
            name: "tar: extracting with modes and times", programs: ["tar"],
            script: temporary + files + """
                 && tar -cf ../work.tar . && mkdir out && tar -xpf ../work.tar -C out \
                && test "$(cd a && stat -c '%a %Y %N' two link b)" = "$(cd out/a && stat -c '%a %Y %N' two link b)" \
                && echo works
                """),
        Work(
            name: "python3: threads and subprocesses", programs: ["python3"],
            script: """
                /usr/bin/python3 -c '
                import hashlib, json, os, subprocess, threading
                found = []
                def work(): found.append(hashlib.sha256(b"x").hexdigest())
                threads = [threading.Thread(target=work) for _ in range(8)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                shown = subprocess.run(["/usr/bin/id", "-u"], capture_output=True, check=True).stdout.decode().strip()
                both = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE).communicate(b"y" * 300000)[0]
                assert len(set(found)) == 1 and int(shown) == os.getuid() and len(both) == 300000
                print(json.loads("[\\"works\\"]")[0])'
                """),
        Work(
            name: "python3: tempfile", programs: ["python3"],
            script: """
                /usr/bin/python3 -c '
                import os, shutil, tempfile
                with tempfile.TemporaryDirectory() as directory:
                    with open(os.path.join(directory, "a"), "w") as file: file.write("x")
                    shutil.copy2(os.path.join(directory, "a"), os.path.join(directory, "b"))
                    os.chmod(os.path.join(directory, "b"), 0o600)
                print("works")'
                """),
        Work(
            name: "python3: multiprocessing", programs: ["python3"],
            script: """
                /usr/bin/python3 -c '
                import multiprocessing
                with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
                print("works")'
                """),
        Work(
            name: "perl: forks, pipes, sorting", programs: ["perl"],
            script: """
                /usr/bin/perl -MSocket -e '
                open(my $p, "-|", "seq", "3") or die; my @l = <$p>; close($p) or die;
                socketpair(my $x, my $y, AF_UNIX, SOCK_STREAM, 0) or die;
                if (!fork) { syswrite($y, "works\\n"); exit } wait; sysread($x, my $t, 10);
                print $t if @l == 3 && (sort { $b <=> $a } 1..9)[0] == 9'
                """),
        Work(
            name: "perl: File::Temp", programs: ["perl"],
            script: "/usr/bin/perl -MFile::Temp=tempfile -e 'my ($f, $n) = tempfile(UNLINK => 1, TMPDIR => 1); "
                + "print $f \"x\"; close $f; print \"works\\n\" if -s $n == 1'"),
        Work(
            name: "git: reading a pack from stdin", programs: ["git"],
            script:
                "test \"$(echo x | git hash-object --stdin)\" = 587be6b4c3f93f93c489c0111bba5596147a26cb && echo works"),
        Work(
            name: "git: init, commit, log, clone in /tmp", programs: ["git"],
            script: temporary + """
                git init -q . && echo x > file && git add file \
                && git -c user.name=a -c user.email=a@example.org commit -q -m one \
                && git clone -q . ../clone && test "$(git -C ../clone log --format=%s)" = one && git gc -q && echo works
                """),
        Work(
            name: "git: init and commit in the home", programs: ["git"],
            script: """
                cd && mkdir repository && cd repository && git init -q . && echo x > file && git add file \
                && git -c user.name=a -c user.email=a@example.org commit -q -m one && cd .. && rm -rf repository \
                && echo works
                """),
        Work(
            name: "gcc: compiling in /tmp", programs: ["gcc"],
            script: temporary + """
                printf 'int main(void) { return 7; }\\n' > a.c && gcc -O1 -c a.c -o a.o && gcc a.o -o a && echo works
                """),
        Work(
            name: "gcc: running what was compiled in /tmp", programs: ["gcc"],
            script: temporary + """
                printf 'int main(void) { return 7; }\\n' > a.c && gcc a.c -o a; ./a; test $? = 7 && echo works
                """),
    ]

    static let sandboxes = EscapeTable.sandboxes

    /// Whether a sandbox has a program, which looks in /usr/bin.
    static func isHere(_ program: String) -> Bool {
        FileManager.default.isExecutableFile(atPath: "/usr/bin/" + program)
    }
    private static let missing = Set(works.flatMap(\.programs)).filter { !isHere($0) }.sorted()

    /// The table of docs/sandboxes.md: which sandboxes each piece of work is done in.
    private static let page: [String: [Bool]] = {
        let text = Files.text(Host.package + "/docs/sandboxes.md")
        let part = text.components(separatedBy: "<!-- work -->").dropFirst().first?
            .components(separatedBy: "<!-- end -->").first
        var rows: [String: [Bool]] = [:]
        for line in (part ?? "").split(separator: "\n").dropFirst(2) {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count >= 5 else { continue }
            rows[cells[0]] = cells[1...4].map { $0 == "works" }
        }
        return rows
    }()

    private static func expectation(_ name: String, in sandbox: String) throws -> Bool {
        guard let column = sandboxes.firstIndex(of: sandbox), let row = page[name] else {
            throw HarnessError(description: "docs/sandboxes.md has no row for \(name)")
        }
        return row[column]
    }

    @Test func thePageHasARowForEachPieceOfWork() {
        let copies = ["from /etc", "to /tmp", "to the home"].flatMap { ["rsync: " + $0, "rcp: " + $0] }
        #expect(Set(Self.page.keys) == Set(Self.works.map(\.name) + copies))
    }

    @Test(arguments: sandboxes) func programsWorkAsThePageSays(sandbox: String) throws {
        try Gateway.with(Rules.shell(sandbox)) { gate throws in
            for work in Self.works {
                guard work.programs.allSatisfy(Self.isHere) else { continue }
                let expected = try Self.expectation(work.name, in: sandbox)
                let answer = try Conversation.rexec(gate, as: Gateway.target, work.script, separately: true).answer()
                let didWork = answer.output.hasSuffix("works\n")
                #expect(answer.isAccepted && answer.primaryEnd == .endOfFile, "\(work.name): \(answer)")
                #expect(didWork == expected, "\(work.name) in \(sandbox): \(answer)")
            }
        }
    }

    /// So that the summary of a run says what was left out.
    @Test(
        .enabled(if: missing.isEmpty, "not installed, and not tried in sandboxes: \(missing.joined(separator: ", "))"))
    func everyProgramIsInstalled() {
        #expect(Self.missing == [])
    }

    /// The server side of rsync and rcp: their protocols on stdin and stdout, as a client far away asks for them.
    @Test(.needsRoot, .needs("rsync"), .needs("netkit-rcp"), .needs("netkit-rsh"), arguments: sandboxes)
    func copiesWorkAsThePageSays(sandbox: String) throws {
        let rsync = try #require(Host.program("rsync"))
        let rcp = try #require(Host.program("netkit-rcp"))
        let rsh = try #require(Host.program("netkit-rsh"))
        try Gateway.with(Rules.shell(sandbox)) { gate throws in
            let there = "alice@\(gate.address):"
            let mine = gate.directory + "/mine"
            try Files.write(String(repeating: "copied\n", count: 20_000), to: mine, mode: 0o640)
            for (program, options) in [("rsync", ["-p", "-t", "-e", rsh]), ("rcp", ["-p"])] {
                for (name, words) in [
                    ("from /etc", [there + "/etc/passwd", gate.directory + "/got"]),
                    ("to /tmp", [mine, there + "/tmp/copy"]),
                    ("to the home", [mine, there + gate.home("alice") + "/copy"]),
                ] {
                    let expected = try Self.expectation(program + ": " + name, in: sandbox)
                    let result = try Child.run(program == "rsync" ? rsync : rcp, options + words)
                    // rsh brings no status back: what went wrong is said on stderr.
                    let didWork = result.outcome == .status(0) && result.err.isEmpty
                    #expect(didWork == expected, "\(program) \(name) in \(sandbox): \(result)")
                }
            }
            #expect(Files.text(gate.directory + "/got") == Files.text(gate.etc + "/passwd"))
        }
    }
}
