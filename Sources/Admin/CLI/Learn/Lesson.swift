// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import Policy
import PolicyLanguage

/// What was learned: a sandbox in words, and what is to be said of it.
struct Lesson {
    /// The sandbox's name.
    var name: String
    /// What it was learned from, line by line.
    var origin: [String]
    /// What was left out of it, and why.
    var notes: [String]
    /// What could not be seen.
    var unseen: [String]
    /// Members of the JSON that only this kind of lesson has.
    var json: [(String, JSON)]
    /// The policy that the sandbox it extends is of; empty where that is built in.
    var context = ""
    /// The sandbox's text between comments.
    var text: (_ before: [String], _ behind: [String]) throws -> String

    /// Prints it.
    ///
    /// - Parameter directories: what no sandbox of the gateway may open; one that does is told with the notes.
    func say(directories: GuardedDirectories, isJSON: Bool, to file: String?) throws {
        // ORDER: what the language would not take at all is a defect of ours; what this gateway would not, is told.
        let bare = try text([], [])
        let defects = LearnedText.faults(context + bare)
        guard defects.isEmpty else {
            throw Defect(
                description: "the learned sandbox is no policy: \(defects.map(\.headline).joined(separator: "; "))")
        }
        let faults = LearnedText.faults(context + bare, directories)
        let warnings = notes + faults.map { "this gateway would not take it: \($0.message)" }
        let output: String
        if isJSON {
            let members: [(String, JSON)] = [
                ("name", .string(name)), ("sandbox", .string(bare)),
                ("notes", .array(warnings.map { .string($0) })), ("unseen", .array(unseen.map { .string($0) })),
            ]
            output = JSON.object(members + json).text + "\n"
        } else {
            let behind = Self.list("Notes:", warnings) + Self.list("What this could not see:", unseen)
            output = try text(origin, behind)
        }
        try Self.write(output, to: file)
    }

    /// A heading with points; nothing where there are none.
    private static func list(_ heading: String, _ points: [String]) -> [String] {
        points.isEmpty ? [] : [heading] + points.map { "* " + $0 }
    }

    private static func write(_ text: String, to file: String?) throws {
        guard let file else {
            do throws(SystemError) {
                try StandardStreams.output.writeAll(Array(text.utf8))
            } catch {
                throw ExitCode(1)
            }
            return
        }
        do throws(SystemError) {
            let made = try File.open(file, [.writing, .creating, .truncating], mode: 0o666)
            try made.writeAll(Array(text.utf8))
        } catch {
            throw Failure(description: "cannot write \(file): \(error.text)")
        }
    }
}

/// Something that cannot be, told as what it is.
struct Defect: Error, CustomStringConvertible {
    /// What it is.
    var description: String
}

/// A lesson from a command that runs here.
struct CommandLesson {
    private let words: [ByteText]
    /// What the sandbox is called after.
    private let first: ByteText
    private let shown: String
    private let name: String
    private let namesCalls: Bool
    private let keepsOutput: Bool
    private let account: AccountEntry?

    init(_ command: [String], name: String?, namesCalls: Bool, keepsOutput: Bool) throws {
        let account = try? Accounts.numbered(Linux.Process.userID)
        self.account = account
        if let only = command.first, command.count == 1 {
            switch Core.CommandLine(Array(only.utf8)) {
            case .words(let words):
                self.words = words
                first = words.first ?? "command"
            case .needsShell(let need):
                guard !only.utf8.allSatisfy({ [0x20, 0x09].contains($0) }) else {
                    throw Failure(
                        description: "an empty command would be a login shell's: there is nothing to learn from it")
                }
                words = [account?.shell ?? "/bin/sh", "-c", ByteText(only)]
                first = need.firstWord ?? "command"
            }
        } else {
            words = command.map { ByteText($0) }
            first = words.first ?? "command"
        }
        shown = ByteText(command.joined(separator: " ")).printable
        self.namesCalls = namesCalls
        self.keepsOutput = keepsOutput
        self.name = name ?? Self.name(after: first)
    }

    /// `learned-` and what a name takes of the program's.
    private static func name(after program: ByteText) -> String {
        let base = program.bytes.split(separator: UInt8(ascii: "/")).last ?? []
        let letters = base.prefix(48).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): byte
            default: UInt8(ascii: "-")
            }
        }
        return "learned-" + String(decoding: letters, as: UTF8.self)
    }

    private var searchPath: [ByteText] {
        let path = Linux.Process.environmentVariable("PATH") ?? "/usr/bin:/bin"
        return path.split(separator: ":").map { AbsolutePath.withoutLastSlash(ByteText(String($0))) }
            .filter { AbsolutePath.isPlain($0) && $0.text?.contains(where: { " \t\"#,{}\\".contains($0) }) == false }
    }

    /// The program's path, as execvp(3) would find it.
    private func program() throws -> ByteText {
        guard let first = words.first, !first.isEmpty else { throw Failure(description: "the command has no program") }
        let here = { (path: ByteText) -> Bool in
            guard let status = try? File.status(path.bytes, followingLast: true) else { return false }
            return status.kind == .regular && File.isExecutable(path.bytes)
        }
        if first.bytes.contains(UInt8(ascii: "/")) {
            let path = first.text.map { ByteText(File.absolute($0)) } ?? first
            guard here(path) else {
                throw Failure(description: "\(first.printable): not a program that can be executed")
            }
            return path
        }
        for directory in searchPath {
            let path = ByteText(directory.bytes + [UInt8(ascii: "/")] + first.bytes)
            if here(path) { return path }
        }
        throw Failure(description: "\(first.printable): not found in PATH")
    }

    /// Runs the command.
    func lesson() throws -> Lesson {
        let program = try program()
        let environment = (try? File.open("/proc/self/environ", [.reading]).readAll(limit: 1 << 22)) ?? []
        let variables = environment.split(separator: 0).map { ByteText(Array($0)) }
        // Keys that end the command end it, and what it did until then is told.
        for signal in [Signals.Number.interrupt, Signals.Number.quit] { Signals.ignore(signal) }
        let observer: CommandObserver
        do {
            observer = try CommandObserver(
                path: program, arguments: words, environment: variables,
                output: keepsOutput ? nil : StandardStreams.error, passed: namesCalls ? [] : CommandLearner.passed)
        } catch {
            throw Failure(description: Self.text(error, program))
        }
        let said = account?.home ?? Linux.Process.environmentVariable("HOME").map { ByteText($0) }
        let home = said.flatMap { File.resolved($0.bytes) }.map { ByteText($0) }
        var learner = CommandLearner(home: home, searchPath: searchPath)
        learner.seesHome(by: said)
        let status = try learner.watch(observer)
        return lesson(learner, status)
    }

    private static func text(_ failure: CommandObserver.Failure, _ program: ByteText) -> String {
        switch failure {
        case .start(let error): "cannot start \(program.printable): \(error)"
        case .filter(let error):
            "cannot observe a command here: \(error.text) (this takes Linux 5.5, and no other observer above it)"
        case .execute(let error): "cannot execute \(program.printable): \(error.text)"
        }
    }

    private func lesson(_ learner: CommandLearner, _ status: ExitStatus) -> Lesson {
        let sandbox = LearnedSandbox(learner.seen, namesCalls: namesCalls)
        let took = learner.seen.resources
        let ended: String
        switch status {
        case .exited(let code): ended = "exit status \(code)"
        case .signalled(let signal): ended = "signal \(signal)"
        }
        let origin = [
            "Learned by `portcullis learn` from: \(shown)",
            "It ended with \(ended) after \(Shown.duration(milliseconds: took.milliseconds)): "
                + "\(Shown.duration(milliseconds: took.processorMilliseconds)) of CPU, "
                + "\(Shown.size(took.addressSpace)) of address space, \(Shown.count(took.tasks, "task")) at once, "
                + "largest file \(Shown.size(took.fileSize)).",
            "The limits are about four times that, the timeout ten times.",
        ]
        var notes: [String] = []
        if status != .exited(0) { notes.append("the command failed (\(ended)): it may need more when it succeeds") }
        notes += learner.notes + sandbox.notes
        if let write = sandbox.write, write.contains(.home("")) {
            notes.append("writes the home itself, and with it .rhosts: a permit may have to end in self-trust")
        }
        if learner.leftovers > 0 {
            notes.append("left processes running, which were ended, as a session ends them: \(learner.leftovers)")
        }
        if Linux.Process.isRoot {
            notes.append("ran as root: in a sandbox root has no capability, and reads what modes let it")
        }
        let mask = Linux.Process.umask
        if mask != 0o077 {
            notes.append("ran with umask \(Self.octal(mask)): in the sandbox it is 077, unless `umask` says otherwise")
        }
        var unseen = [
            "what other input, another time, another account or another environment would make it do",
            "which of its calls failed: what it tried counts as needed, where the file was there",
        ]
        if !learner.seen.network.further.isEmpty || !learner.seen.network.ports.isEmpty {
            unseen.append("what others did for it behind a socket")
        }
        if learner.unreadable > 0 {
            unseen.append("the paths of \(Shown.count(learner.unreadable, "call")), whose memory could not be read")
        }
        return Lesson(
            name: name, origin: origin, notes: notes, unseen: unseen, json: json(learner, status)
        ) { [name] before, behind in
            try LearnedText.text(sandbox, named: name, before: before, behind: behind)
        }
    }

    private static func octal(_ mask: UInt32) -> String {
        let digits = String(mask, radix: 8)
        return String(repeating: "0", count: max(0, 3 - digits.utf8.count)) + digits
    }

    private func json(_ learner: CommandLearner, _ status: ExitStatus) -> [(String, JSON)] {
        let took = learner.seen.resources
        var ended: [(String, JSON)] = [("status", .null), ("signal", .null)]
        switch status {
        case .exited(let code): ended[0].1 = .integer(code)
        case .signalled(let signal): ended[1].1 = .integer(signal)
        }
        return [
            ("command", .array(words.map { .bytes($0) })), ("ended", .object(ended)),
            ("systemCalls", .array(learner.seen.systemCalls.sorted().map { .string($0) })),
            ("forbiddenCalls", .array(learner.seen.forbidden.sorted().map { .string($0) })),
            ("leftovers", .integer(learner.leftovers)),
            (
                "resources",
                .object([
                    ("cpuMs", .integer(took.processorMilliseconds)), ("addressSpace", .integer(took.addressSpace)),
                    ("tasks", .integer(took.tasks)), ("descriptors", .integer(took.descriptors)),
                    ("fileSize", .integer(took.fileSize)), ("ms", .integer(took.milliseconds)),
                ])
            ),
        ]
    }
}
