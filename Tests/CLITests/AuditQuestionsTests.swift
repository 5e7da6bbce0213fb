// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Crypto
import Foundation
import Linux
import TestSupport
import Testing
import TrailCrypto

@testable import CLI

/// docs/audit-questions.md answers each question by a command: they are run as they stand there, and what the page says is in
/// their answers is there.
@Suite struct AuditQuestionsTests {
    /// A command, and what its answer holds.
    struct Answer: CustomTestStringConvertible, Sendable {
        var question: String
        var command: String
        /// `Fields` of JSON objects, `Headings` of tables, or what the output `Holds`.
        var kind: String
        var words: [String]

        var testDescription: String { command }
    }

    private static let page: String = {
        let here = URL(fileURLWithPath: #filePath)
        let package = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return (try? String(contentsOf: package.appendingPathComponent("docs/audit-questions.md"), encoding: .utf8))
            ?? ""
    }()

    static let answers: [Answer] = {
        var answers: [Answer] = []
        var question = ""
        var command: String?
        for line in page.split(separator: "\n") {
            if line.hasPrefix("### ") {
                question = String(line.dropFirst(4))
                command = nil
            } else if line.hasPrefix("    ") {
                command = line.trimmingCharacters(in: .whitespaces)
            } else if let kind = ["Fields", "Headings", "Holds"].first(where: { line.hasPrefix($0 + ": ") }),
                let own = command
            {
                let words = line.components(separatedBy: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
                answers.append(Answer(question: question, command: own, kind: kind, words: words))
                command = nil
            }
        }
        return answers
    }()

    /// Up to this moment, so that `--since 7d` finds something whenever this runs.
    private static let trail = GeneratedTrail(
        sessions: 1_000, start: UInt64(max(0, Clock.wallMilliseconds())) - 20 * 86_400_000)

    /// Every command of the page says what is in its answer, and every question has one.
    @Test func everyQuestionHasACommandWithWhatItsAnswerHolds() {
        let lines = Self.page.split(separator: "\n")
        #expect(lines.filter { $0.hasPrefix("    ") }.count == Self.answers.count)
        let questions = Set(lines.filter { $0.hasPrefix("### ") }.map { String($0.dropFirst(4)) })
        #expect(questions == Set(Self.answers.map(\.question)))
        #expect(questions.count >= 12)
        #expect(Self.answers.allSatisfy { !$0.words.isEmpty })
    }

    @Test(arguments: answers) func theAnswerHoldsWhatThePageSays(_ answer: Answer) throws {
        let place = try TemporaryDirectory()
        try place.write(Self.trail.text, to: "audit/trail.log")
        try Self.sign(Self.trail.text, in: place)
        try place.write(Array(GeneratedTrail.policy.utf8), to: "site.policy")
        let words = answer.command.split(separator: " ").map(String.init)
        let output: String
        if words.first == "portcullis" {
            let arguments = words.dropFirst().map { word in
                switch word {
                case "report.html": place.path + "/report.html"
                case "gate.vkey": place.path + "/gate.vkey"
                case "/var/log/loghost/gate": place.path + "/loghost"
                case "/etc/portcullis/portcullis.policy": place.path + "/site.policy"
                default: word
                }
            }
            let run = try CommandRun(arguments + ["--state-directory", place.path]).result()
            #expect(run.status == 0, "\(run.error)")
            output = run.output
        } else {
            guard AuditTool.arePresent else { return }
            output = try AuditTool.run(
                words.first ?? "",
                words.dropFirst().map {
                    $0 == "/var/lib/portcullis/audit/trail.log" ? place.path + "/audit/trail.log" : $0
                })
        }
        guard answer.kind == "Fields" else {
            for word in answer.words { #expect(output.contains(word), "\(word) is not in the answer") }
            return
        }
        let objects = try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(!objects.isEmpty)
        for word in answer.words {
            #expect(objects.contains { $0[word] != nil && !($0[word] is NSNull) }, "no object has \(word)")
        }
    }

    /// Makes a checkpoint of a trail, and what another host keeps of it.
    private static func sign(_ text: [UInt8], in place: TemporaryDirectory) throws {
        let origin = "gate.example/portcullis"
        let key = { (secret: Curve25519.Signing.PrivateKey) in
            try #require(
                CheckpointKey(name: origin, bytes: Array(secret.publicKey.rawRepresentation), digest: sha256))
        }
        let secret = Curve25519.Signing.PrivateKey()
        let line = try #require(text.split(separator: UInt8(ascii: "\n")).last)
        let checkpoint = Checkpoint(
            position: try #require(ChainPosition(saidBy: line)), next: try key(Curve25519.Signing.PrivateKey()))
        let signature = Array(try secret.signature(for: checkpoint.text))
        let signed = SignedCheckpoint(checkpoint, signedBy: try key(secret), signature: signature)
        try place.write(CheckpointFile.text(of: signed), to: "audit/checkpoints")
        for name in ["audit/checkpoints.vkey", "gate.vkey"] {
            try place.write(Array("\(try key(secret))\n".utf8), to: name)
        }
        try place.write(signed.note, to: "loghost")
    }
}
