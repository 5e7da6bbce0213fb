// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Linux
import Policy
import Seccomp
import Testing

/// A built-in sandbox, as a policy without words of its own has it.
func builtIn(_ name: String) throws -> Sandbox {
    try #require(SandboxDefinition.builtIn(name)).sandbox(named: name)
}

/// Runs shell text as commands of a built-in sandbox.
enum BuiltInRig {
    /// Runs rows as commands of a sandbox, and returns those that did not go as expected. `$H` is the target's home,
    /// `$P` a process of the target's outside.
    static func check(
        _ rows: [String], in name: String, expecting: Bool, confined: Bool = true
    ) throws -> [String] {
        let uid = CommandRig.target
        let outside = try CommandRig.startOutside(as: uid)
        defer {
            kill(outside, SIGKILL)
            Children.reap(outside)
        }
        var sandbox = try builtIn(name)
        sandbox.requiredLandlock = 1
        // It counts all threads of the account, and as a plain user the test runner's are among them.
        if uid == nil { sandbox.limits.processes = nil }
        let compiled = CompiledSandbox(sandbox: sandbox, filter: try SystemCallFilter.compile(sandbox))
        return try rows.filter { row in
            let place = try SandboxPlace(in: "/var/tmp")
            let owner = geteuidIsRoot() ? nobody : nil
            try place.directory("home", owner: owner)
            try place.file("home/file", "x", owner: owner)
            let home = place.at("home")
            defer { withExtendedLifetime(place) {} }
            guard case .parent(let child) = try Linux.Process.fork() else {
                if confined {
                    let target = try uid.map { Credentials(uid: $0, gid: $0, groups: []) } ?? Credentials.current()
                    let confinement = try CommandConfinement(
                        compiled, credentials: target, home: ByteText(home), hasMounts: false)
                    _ = try confinement.limit()
                    try confinement.drop()
                    try confinement.restrict(nil)
                    try confinement.load()
                } else if let uid {
                    try Credentials(uid: uid, gid: uid, groups: []).drop()
                }
                becomeShell("exec >/dev/null 2>&1; H=\(home); P=\(outside); \(row)")
            }
            return (try ended(child) == .exited(0)) != expecting
        }
    }

    /// Writing anywhere.
    static let writing = [
        "echo x > $H/new", "echo x >> $H/file", "echo x > /tmp/portcullis-test-$$ && rm /tmp/portcullis-test-$$",
        "echo x > /var/tmp/portcullis-test-$$ && rm /var/tmp/portcullis-test-$$",
        "echo x > /dev/shm/portcullis-test-$$ && rm /dev/shm/portcullis-test-$$", "mkdir $H/directory",
        "ln -s x $H/link", "rm $H/file", "mv $H/file $H/moved", "truncate -s 0 $H/file",
    ]
    /// Changing modes, owners, times and attributes.
    static let changing = [
        "chmod 600 $H/file", "chmod 700 $H", "touch -d 2000-01-01 $H/file", "chgrp $(id -g) $H/file",
        "perl -e 'utime(1,1,\"'$H'/file\") or exit 1'",
        "perl -e 'my $p=\"'$H'/file\"; my ($n,$v)=(\"user.x\",\"y\"); syscall(188,$p,$n,$v,1,0)==0||$!==95 or exit 1'",
    ]
    /// Reaching anything outside.
    static let reaching =
        [
            "perl -e 'socket(S,2,1,0) or exit 1'", "perl -e 'socket(S,2,2,0) or exit 1'",
            "perl -e 'socket(S,10,1,0) or exit 1'", "perl -e 'socket(S,1,1,0) or exit 1'",
            "perl -e 'socket(S,1,2,0) or exit 1'", "perl -e 'socket(S,16,3,0) or exit 1'",
            "perl -e 'use Socket; socketpair(A,B,AF_UNIX,SOCK_DGRAM,0) or exit 1'",
        ] + CommandRig.signalling
}

/// What a command finds in the sandboxes that every policy has.
@Suite struct `In a built-in sandbox` {
    @Test func aStrictCommandWritesNowhereReachesNothingAndChangesNothing() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let wrong = try BuiltInRig.check(
                    BuiltInRig.writing + BuiltInRig.changing + BuiltInRig.reaching, in: "strict", expecting: false)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    /// Without the confinement all of this works: it was refused by filter and ruleset.
    @Test func nothingElseRefusedIt() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let wrong = try BuiltInRig.check(
                    BuiltInRig.writing + BuiltInRig.changing + BuiltInRig.reaching, in: "strict", expecting: true,
                    confined: false)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    @Test func standardReadsTheHomeAndDoesNotWriteIt() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var wrong = try BuiltInRig.check(["cat $H/file", "ls $H"], in: "standard", expecting: true)
                wrong += try BuiltInRig.check(["cat $H/file", "ls $H"], in: "strict", expecting: false)
                wrong += try BuiltInRig.check(
                    ["echo x > $H/new", "rm $H/file", "mv $H/file $H/moved"] + BuiltInRig.reaching, in: "standard",
                    expecting: false)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    @Test func homeWritesTheHome() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var wrong = try BuiltInRig.check(
                    ["echo x > $H/new && rm $H/new", "mkdir $H/d && mv $H/file $H/d/file", "chmod 600 $H/file"],
                    in: "home", expecting: true)
                wrong += try BuiltInRig.check(
                    ["echo x > /var/tmp/portcullis-test-$$"] + BuiltInRig.reaching, in: "home", expecting: false)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    @Test func unconfinedGainsNothingButIsNotHeld() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                var wrong = try BuiltInRig.check(
                    BuiltInRig.writing + BuiltInRig.reaching, in: "unconfined", expecting: true)
                wrong += try BuiltInRig.check(
                    ["perl -e 'syscall(425,0,0); exit($!==38||$!==14||$!==22?0:1)'", "unshare -U true"],
                    in: "unconfined", expecting: false)
                wrong += try BuiltInRig.check(
                    ["grep -q 'NoNewPrivs:.1' /proc/self/status"], in: "unconfined", expecting: true)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    /// What an administrator expects of any sandbox: the system's programs run.
    @Test(arguments: ["strict", "standard", "home", "unconfined"])
    func programsOfTheSystemRun(name: String) async {
        await #expect(processExitsWith: .exitCode(0)) { [name = name as String] in
            alone {
                let wrong = try BuiltInRig.check(
                    [
                        "id", "uname -a", "date", "ls -l /usr/bin | sort | head -3", "cat /etc/passwd | wc -l",
                        "find /usr/share -maxdepth 1 | grep -q doc", "dd if=/dev/zero bs=4096 count=16 | cksum",
                        "tar cf - /etc/passwd | tar tf -", "bash -c 'x=(1 2); echo ${#x[@]} < <(true)'",
                        "perl -e 'print sort map { $_ * 2 } 1..10'", "awk 'BEGIN { print 1 }'",
                        "echo a b | xargs -n 1 echo", "sleep 0.01 & wait", "ulimit -a", "df /", "env | sort",
                        "gzip -c /etc/passwd | gzip -dc | grep -q root", "timeout 5 true", "nice -n 5 true",
                        "ps || test $? = 127",
                    ], in: name, expecting: true)
                if !wrong.isEmpty { CommandRig.finish(wrong) }
            }
        }
    }

    #if arch(x86_64)
    /// docs/sandboxes.md lists what each sandbox allows; with PORTCULLIS_BLESS in the environment it is rewritten.
    @Test func theDocumentListsTheSystemCalls() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/sandboxes.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        let strict = Set(SystemCallFilter.allowedNames(try builtIn("strict")))
        let standard = Set(SystemCallFilter.allowedNames(try builtIn("standard")))
        let home = Set(SystemCallFilter.allowedNames(try builtIn("home")))
        #expect(home == standard)
        #expect(standard.isSuperset(of: strict))
        // clone3 is on front's list for old C libraries and answered ENOSYS, as in every filter.
        let known = { (names: [String]) in
            Set(names.filter { $0 != "clone3" && SystemCallFilter.number(of: $0) != nil }).sorted()
        }
        var wanted = text
        for (mark, names) in [
            ("strict", strict.sorted()), ("standard", standard.subtracting(strict).sorted()),
            ("never", SystemCallFilter.never.sorted()), ("never-confined", SystemCallFilter.neverConfined.sorted()),
            ("service", try Self.lackingOfService()), ("front", known(HelperCalls.front)),
            ("engine", known(HelperCalls.engine)), ("auditor", known(HelperCalls.auditor)),
        ] {
            let start = try #require(wanted.range(of: "<!-- \(mark) -->\n"))
            let end = try #require(wanted.range(of: "<!-- end -->", range: start.upperBound..<wanted.endIndex))
            wanted.replaceSubrange(start.upperBound..<end.lowerBound, with: Self.filled(names) + "\n")
        }
        if ProcessInfo.processInfo.environment["PORTCULLIS_BLESS"] != nil {
            try wanted.write(to: path, atomically: true, encoding: .utf8)
        } else {
            #expect(wanted == text, "docs/sandboxes.md is behind; run this test with PORTCULLIS_BLESS=1")
        }
    }
    #endif

    /// What `syscalls allow @system-service` does not give, whatever else a confined sandbox says.
    private static func lackingOfService() throws -> [String] {
        var sandbox = try builtIn("standard")
        sandbox.systemCalls = try #require(SystemCallGroups.members(of: "@system-service"))
        sandbox.network = .on
        let allowed = Set(SystemCallFilter.allowedNames(sandbox))
        return sandbox.systemCalls.filter { SystemCallFilter.number(of: $0) != nil && !allowed.contains($0) }
    }

    /// Names in code type, filled to lines of at most 118 columns.
    private static func filled(_ names: [String]) -> String {
        var lines: [String] = []
        var line = ""
        for name in names {
            let word = "`\(name)`"
            if !line.isEmpty, line.count + 1 + word.count > 118 {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? word : " " + word
        }
        lines.append(line)
        return lines.joined(separator: "\n")
    }
}
