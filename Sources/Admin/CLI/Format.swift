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
            """)

    @Flag(help: "Print nothing; exit 1 where the file is not in canonical form.") var check = false
    @Flag(help: "Print what the revision digests.") var canonical = false
    @Argument(help: "The policy file.") var file: String

    func validate() throws {
        if check, canonical { throw ValidationError("--check and --canonical do not go together.") }
    }

    func run() throws {
        try reporting {
            if canonical {
                let local = try LocalPolicy(file, keepingText: true)
                guard try local.report(quietly: true) else { throw ExitCode(1) }
                try Self.write(local.canonicalText)
                return
            }
            let source: SourceFile
            do throws(SystemError) {
                source = try LocalFile.read(file)
            } catch {
                throw Failure(description: "cannot read \(file): \(error.text)")
            }
            let formatted = PolicyText.format(source)
            guard let text = formatted.text else {
                let isTerminal = Output.hasColour(on: StandardStreams.error)
                let told = formatted.diagnostics.map { DiagnosticText.text($0, coloured: isTerminal) }.joined()
                try StandardStreams.error.writeAll(Array(told.utf8))
                throw ExitCode(1)
            }
            let wanted = Array(text.utf8)
            guard check else { return try Self.write(wanted) }
            guard wanted != source.bytes else { return }
            let line = zip(Self.lines(wanted), Self.lines(source.bytes)).enumerated().first { $1.0 != $1.1 }?.offset
            let fallback = min(Self.lines(wanted).count, Self.lines(source.bytes).count)
            throw Failure(
                description: "\(file):\((line ?? fallback) + 1): not in canonical form; portcullis fmt prints it")
        }
    }

    private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    }

    private static func write(_ text: [UInt8]) throws {
        do throws(SystemError) {
            try StandardStreams.output.writeAll(text)
        } catch {
            throw ExitCode(1)
        }
    }
}
