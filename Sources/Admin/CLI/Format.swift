// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core
import Linux
import PolicyLanguage

/// `portcullis fmt`: a policy in its canonical form.
struct FormatVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fmt",
        abstract: "Print a policy in its canonical form.",
        discussion: """
            Comments stay, and so do includes. With --canonical the text is printed that the revision digests: \
            includes expanded, comments aside.

            EXAMPLE
              portcullis fmt --check /etc/portcullis/portcullis.policy

            EXIT STATUS
              0 good, 1 an error in the file, or with --check not in canonical form.
            """)

    @Flag(help: "Print nothing; exit 1 where the file is not in canonical form.") var check = false
    @Flag(help: "Print what the revision digests.") var canonical = false
    @OptionGroup var format: FormatOptions
    @Argument(help: "The policy file.") var file: String

    func validate() throws {
        if check, canonical { throw ValidationError("--check and --canonical do not go together.") }
    }

    func run() throws {
        try reporting {
            let source: SourceFile
            do throws(SystemError) {
                source = try LocalFile.read(file)
            } catch {
                throw Failure(description: "cannot read \(file): \(error.text)")
            }
            let (text, diagnostics) = try formatted(source)
            let change = text.flatMap { canonical ? nil : Self.firstChange(from: source.bytes, to: Array($0.utf8)) }
            if format.isJSON {
                try Output.say(json(text, change, diagnostics).text)
                guard text != nil, change == nil || !check else { throw ExitCode(1) }
                return
            }
            guard let text else {
                let isTerminal = Output.hasColour(on: StandardStreams.error)
                let told = diagnostics.map { DiagnosticText.text($0, coloured: isTerminal) }.joined()
                let count = "\(Shown.count(diagnostics.count, "error")); not formatted\n"
                try StandardStreams.error.writeAll(Array((told + count).utf8))
                throw ExitCode(1)
            }
            guard check else { return try Self.write(text) }
            if let change {
                throw Failure(description: "\(file):\(change): not in canonical form; portcullis fmt prints it")
            }
        }
    }

    /// The text that is asked for; nil with errors.
    private func formatted(_ source: SourceFile) throws -> (text: String?, diagnostics: [Diagnostic]) {
        guard canonical else {
            let formatted = PolicyText.format(source)
            return (formatted.text, formatted.diagnostics)
        }
        let loaded = try LocalPolicy(file).loaded
        let errors = loaded.diagnostics.filter { $0.severity == .error }
        return (loaded.errorCount > 0 ? nil : loaded.canonicalText, errors)
    }

    private func json(_ text: String?, _ change: Int?, _ diagnostics: [Diagnostic]) -> JSON {
        .object([
            ("file", .string(file)), ("good", .bool(text != nil)),
            ("canonical", text == nil || canonical ? .null : .bool(change == nil)),
            ("line", change.map { .integer($0) } ?? .null), ("text", check ? .null : .optional(text)),
            ("diagnostics", .array(diagnostics.map(\.json))),
        ])
    }

    /// The first line, from 1, that is not as it should be; nil where all are.
    private static func firstChange(from bytes: [UInt8], to wanted: [UInt8]) -> Int? {
        guard wanted != bytes else { return nil }
        let (old, new) = (lines(bytes), lines(wanted))
        let line = zip(new, old).enumerated().first { $1.0 != $1.1 }?.offset
        return (line ?? min(new.count, old.count)) + 1
    }

    private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    }

    private static func write(_ text: String) throws {
        do throws(SystemError) {
            try StandardStreams.output.writeAll(Array(text.utf8))
        } catch {
            throw ExitCode(1)
        }
    }
}
