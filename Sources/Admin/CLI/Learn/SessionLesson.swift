// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux
import Policy
import PolicyLanguage

/// A lesson from the records of a session: the sandbox that it had, with what was denied there added.
struct SessionLesson {
    private let verb: LearnVerb
    private let digits: String
    private let path: String
    /// The sessions that the digits name.
    private var sessions: Set<SessionID> = []
    private var command: Record.Command?
    private var revision: Revision?
    private var denials: [Record.Denial] = []

    init(_ verb: LearnVerb, session: String) throws {
        self.verb = verb
        digits = TrailFilter.digits(ofSession: session) ?? session
        path = verb.trail ?? verb.state.directory + "/audit/trail.log"
        // A session can begin in one segment and end in the next one.
        let files =
            try verb.trail.map { try TrailDirectory(file: $0) } ?? TrailDirectory(verb.state.directory + "/audit")
        for segment in files.segments {
            var reader = segment.reader
            var cutter = LineCutter()
            while true {
                let piece = try reader.next()
                if piece.isEmpty { break }
                cutter.take(piece) { take($0) }
            }
        }
    }

    private mutating func take(_ bytes: ArraySlice<UInt8>) {
        guard let line = TrailLine(bytes), let id = line.stamp.session, id.description.hasPrefix(digits),
            let entry = Entry(line: line)
        else { return }
        sessions.insert(id)
        take(entry, CommandPart(line: line))
    }

    private mutating func take(_ entry: Entry, _ part: CommandPart?) {
        switch entry {
        case .record(.command(let command)):
            guard part?.number ?? 1 > 1 else { return self.command = command }
            self.command?.commandLine.bytes += command.commandLine.bytes
        case .record(.login(let login)) where login.refusal == nil: revision = login.revision
        case .record(.denial(let denial)): denials.append(denial)
        default: return
        }
    }

    /// Works the lesson out.
    func lesson() throws -> Lesson {
        guard let session = sessions.first else { throw Failure(description: "\(path) has no session \(digits)") }
        guard sessions.count == 1 else {
            throw Failure(
                description: "\(digits) begins the ids of \(Shown.count(sessions.count, "session")): give more of it")
        }
        guard let command else {
            throw Failure(
                description: "session \(session) started no command: there is nothing that a sandbox could have denied")
        }
        let named = denials.compactMap(Self.denial)
        guard !named.isEmpty else {
            let why =
                denials.isEmpty
                ? "the trail has no denials of session \(session): nothing was denied, or the kernel did not tell "
                    + "(docs/audit.md, Denials)"
                : "the trail does not say what was denied in session \(session): the kernel did not tell (docs/audit.md, "
                    + "Denials)"
            throw Failure(description: why)
        }
        let (sandbox, context, notes) = try sandbox(command.sandbox)
        guard sandbox.isConfined else {
            throw Failure(description: "sandbox '\(sandbox.name)' is not confined: what it denies no sandbox gives")
        }
        let home = UserName(bytes: command.account.bytes).flatMap { try? Accounts.named($0) }?.home
        let learned = LearnedSandbox(
            extending: sandbox, denials: named, home: home.flatMap { File.resolved($0.bytes) }.map { ByteText($0) })
        let name = verb.name ?? "learned-" + String(sandbox.name.prefix(48))
        let further = denials.reduce(0) { $1.subject == .further ? $0 + $1.count : $0 }
        var unseen = [
            "what the command would do next, had it not been denied this",
            "writes that a read-only mount refused, of which the kernel does not tell",
        ]
        if further > 0 {
            unseen.append("\(Shown.count(further, "further denial")), which were not recorded one by one")
        }
        let allNotes = notes + (learned.addsNothing ? ["nothing of what was denied can be given"] : []) + learned.notes
        return Lesson(
            name: name,
            origin: [
                "Learned by `portcullis learn` from the denials of session \(session):",
                command.commandLine.printable,
            ],
            notes: allNotes, unseen: unseen,
            json: [
                ("session", .string(session.description)), ("command", .bytes(command.commandLine)),
                ("extends", .string(sandbox.name)),
                (
                    "denials",
                    .array(
                        denials.map { denial in
                            .object([
                                ("denied", .string(TrailEvent.words(for: denial))),
                                ("count", .integer(denial.count)),
                            ])
                        })
                ),
            ], context: context
        ) { before, behind in
            try LearnedText.text(learned, named: name, before: before, behind: behind)
        }
    }

    /// What a sandbox can be extended by; nil for what names nothing.
    private static func denial(_ record: Record.Denial) -> RecordedDenial? {
        switch record.subject {
        case .call(let name): name.map { .call($0) }
        case .access(let access, let path): .access(access, path: path)
        case .further: nil
        }
    }

    /// The sandbox that a record names, as the policy now has it; the policy's text; and what there is to say of that.
    private func sandbox(_ name: String) throws -> (sandbox: Sandbox, context: String, notes: [String]) {
        if let builtIn = SandboxDefinition.builtIn(name) { return (builtIn.sandbox(named: name), "", []) }
        let local = try LocalPolicy(verb.policy.file, keepingText: true)
        guard try local.report(quietly: true), let policy = local.loaded.policy else { throw ExitCode(1) }
        guard let sandbox = policy.sandboxes.first(where: { $0.name == name }) else {
            throw Failure(
                description:
                    "\(verb.policy.file) has no sandbox '\(ByteText(name).printable)', which the session ran in")
        }
        let isOld = revision != nil && revision != local.revision
        let notes = isOld ? ["the policy has changed since: '\(name)' may be another now"] : []
        return (sandbox, String(decoding: local.canonicalText, as: UTF8.self), notes)
    }
}
