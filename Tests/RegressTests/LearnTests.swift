// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// What `portcullis learn` prints is enough for the command that it was learned from, and not for much else.
@Suite("Learning", .needsBuild)
struct LearnTests {
    /// A command, and the programs that it needs.
    struct Work: CustomTestStringConvertible, Sendable {
        var name: String
        var programs: [String]
        /// `DATA` is a directory with files that anybody can read, `HOME` the target's home.
        var command: String
        /// What it prints.
        var output: String

        var testDescription: String { name }
    }

    static let works = [
        Work(
            name: "a pipeline", programs: ["sort", "uniq", "tr"],
            command: "printf 'b\\na\\nb\\n' | sort | uniq -c | tr -d ' '", output: "1a\n2b\n"),
        Work(
            name: "tar reads", programs: ["tar", "sort"], command: "tar cf - -C DATA one two | tar tf - | sort",
            output: "one\ntwo\n"),
        Work(
            name: "tar writes the home", programs: ["tar"],
            command: "tar cf HOME/kept.tar -C DATA one && tar tf HOME/kept.tar && chmod 640 HOME/kept.tar",
            output: "one\n"),
        Work(
            name: "python3 with a child", programs: ["python3"],
            command: "/usr/bin/python3 -c 'import json,os,subprocess as s;"
                + "print(json.dumps([len(os.listdir(\"DATA\")),s.check_output([\"echo\",\"x\"]).decode()]))'",
            output: "[3, \"x\\n\"]\n"),
        Work(
            name: "names through a link", programs: ["cat", "readlink"],
            command: "cat DATA-link/one DATA-link/two && cd DATA-link && readlink -e DATA-link/one >/dev/null && echo",
            output: "data/onedata/two\n"),
        Work(
            name: "gcc and what it made", programs: ["gcc"],
            command: "cd /tmp && printf 'int main(){return 7;}' > learned.c && gcc learned.c -o learned && "
                + "{ ./learned; echo $?; rm learned learned.c; }", output: "7\n"),
    ]

    /// A signal's handler that does not restart calls, as dash's for a child's end, has one that waits to be looked at fail:
    /// what a shell does between its children's ends is not looked at.
    @Test(.enabled(if: Host.has("dash"), "dash is not installed"))
    func aShellWhoseChildrenEndAllTheTimeEndsAsItWould() throws {
        let script =
            "n=0; while [ $n -lt 40 ]; do for i in 1 2 3 4 5 6 7 8; do (exit 0) & done; "
            + "[ \"$(echo $n)\" = $n ] || exit 9; wait; n=$((n+1)); done; exit 3"
        let learned = try Child.run(
            Host.own("portcullis"), ["learn", "--json", "--", Host.program("dash") ?? "", "-c", script],
            within: 120_000)
        #expect(learned.outText.contains("\"status\":3"), "\(learned)")
    }

    /// Learns a command as the target would run it, and returns the sandbox's text.
    private func learn(_ gate: Gateway, _ command: String, named name: String) throws -> String {
        let home = Host.isRoot ? gate.home("alice") : NSHomeDirectory()
        let file = gate.directory + "/learned-" + name
        try Files.write("", to: file, mode: 0o666)
        Files.set(file, mode: 0o666)
        var words = ["-C", home, "HOME=" + home, "PATH=/usr/bin:/bin"]
        if Host.isRoot { words += ["/usr/bin/setpriv", "--reuid=4100", "--regid=4100", "--clear-groups", "--"] }
        words += [Host.own("portcullis"), "learn", "--name", name, "--output", file, "--", command]
        // A signal can have an observed call fail (docs/sandboxes.md): people run it again, too.
        for _ in 0..<5 {
            let result = try Child.run("/usr/bin/env", words)
            #expect(result.outcome == .status(0), "\(result)")
            if Files.text(file).contains("It ended with exit status 0") { break }
        }
        let text = Files.text(file)
        #expect(text.contains("processes 64,"), "\(text)")
        // The kernel counts all processes of the account, and other tests have it at the same time.
        return text.replacingOccurrences(of: "processes 64,", with: "processes 4096,")
    }

    private func prepare(_ gate: Gateway) throws {
        Files.makeDirectory(gate.directory + "/data", mode: 0o755)
        Files.makeDirectory(gate.directory + "/other", mode: 0o755)
        for file in ["data/one", "data/two", "data/three", "other/file"] {
            try Files.write(file, to: gate.directory + "/" + file, mode: 0o644)
        }
        try FileManager.default.createSymbolicLink(
            atPath: gate.directory + "/data-link", withDestinationPath: gate.directory + "/data")
    }

    /// Learns a command, has the gateway run it in what was learned, and then something else there.
    @Test(arguments: works)
    func theSandboxIsEnough(for work: Work) throws {
        guard work.programs.allSatisfy({ Host.has($0) }), Host.hasShell else { return }
        try Gateway.with(Gateway.Setup(Rules.shell("strict")), start: false) { gate throws in
            try prepare(gate)
            let home = Host.isRoot ? gate.home("alice") : NSHomeDirectory()
            let command = work.command.replacingOccurrences(of: "DATA", with: gate.directory + "/data")
                .replacingOccurrences(of: "HOME", with: home)
            let text = try learn(gate, command, named: "learned-work")
            #expect(text.contains("sandbox learned-work extends strict {"), "\(text)")
            try gate.writePolicy(rules: text + "\n" + Rules.shell("learned-work"))
            try gate.start()
            let answer = try Conversation.rexec(gate, as: Gateway.target, command).answer()
            #expect(answer.output == work.output, "\(answer)\n\(text)")
            // Nothing of it has to do with this file.
            let other = try Conversation.rexec(
                gate, as: Gateway.target, "/usr/bin/cat \(gate.directory)/other/file 2>&1"
            ).answer()
            let absent = Host.isRoot ? "No such file or directory" : "Permission denied"
            #expect(other.output.contains(absent), "\(other)\n\(text)")
        }
    }

    @Test func aConnectionIsLearnedAsItsPort() throws {
        guard Host.has("bash"), Host.hasShell else { return }
        try Gateway.with(Gateway.Setup(Rules.shell("strict")), start: false) { gate throws in
            let end = gate.endpoint(.rexec)
            let script = "exec 3<>/dev/tcp/\(end.address)/\(end.port) && echo connected"
            // Nobody listens yet: that it tried is enough.
            let text = try learn(gate, "/usr/bin/bash -c '\(script)'", named: "learned-work")
            #expect(text.contains("network tcp-connect \(end.port)\n"), "\(text)")
            try gate.writePolicy(rules: text + "\n" + Rules.shell("learned-work"))
            try gate.start()
            let answer = try Conversation.rexec(gate, as: Gateway.target, "/usr/bin/bash -c '\(script)'").answer()
            // Ports are Landlock's from ABI 4 on.
            guard Host.landlock >= 4 else {
                #expect(!answer.isAccepted, "\(answer)")
                #expect(try gate.lastReason() == "sandbox-unavailable")
                return
            }
            #expect(answer.output.contains("connected"), "\(answer)\n\(text)")
            // Another port is not learned.
            let other = "exec 3<>/dev/tcp/\(end.address)/1 && echo connected"
            let refused = try Conversation.rexec(
                gate, as: Gateway.target, "/usr/bin/bash -c '\(other)' 2>&1"
            ).answer()
            #expect(refused.output.contains("Permission denied"), "\(refused)")
        }
    }
}
