// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// What is wrong, or doubtful, in a policy, and where.
public struct Diagnostic: Sendable, Hashable {
    /// How bad it is.
    public enum Severity: Sendable, Hashable {
        /// The policy is not loaded.
        case error
        /// It is loaded, and somebody should look.
        case warning

        /// The word for it.
        public var name: String {
            switch self {
            case .error: "error"
            case .warning: "warning"
            }
        }
    }

    /// How bad it is.
    public var severity: Severity
    /// The file.
    public var file: String
    /// The line, from 1; 0 where the whole file is meant.
    public var line: Int
    /// The column, from 1, in characters.
    public var column: Int
    /// What is wrong, with every control character made harmless.
    public var message: String
    /// What to write instead, if that can be guessed.
    public var hint: String?
    /// The line's text, with every control character made harmless.
    public var sourceLine: String
    /// How many characters the caret underlines, at least 1.
    public var width: Int

    /// `FILE:LINE:COLUMN: error: TEXT`, without the line and the caret; safe for a terminal, as a file's name may hold
    /// anything.
    public var headline: String {
        let place = ByteText(file).printable + (line > 0 ? ":\(line):\(column)" : "")
        return "\(place): \(severity.name): \(message)"
    }

    /// The line and the caret below it, with the hint; empty where the whole file is meant.
    public var excerpt: String {
        guard line > 0 else { return "" }
        var pointer = ""
        for character in sourceLine.unicodeScalars.prefix(column - 1) {
            pointer.unicodeScalars.append(character == "\t" ? "\t" : " ")
        }
        pointer += "^" + String(repeating: "~", count: max(width, 1) - 1)
        if let hint { pointer += " " + hint }
        return sourceLine + "\n" + pointer + "\n"
    }

    /// The headline, the line and the caret, each on a line of its own.
    public var text: String {
        headline + "\n" + (line > 0 ? excerpt : hint.map { "    \($0)\n" } ?? "")
    }
}

/// Gathers the diagnostics of one load, from every part of it; the files are known here, so that each becomes whole at
/// once.
final class DiagnosticSink {
    /// The most diagnostics of a kind that are kept.
    static let limit = 1_000
    /// The most characters of a line that are shown.
    private static let lineLimit = 400
    /// The most characters of a message or a hint: a word that they quote can be as long as its file.
    private static let messageLimit = 400
    /// How many errors get a hint: people mend the first few, and a hint looks at every name that there is.
    private static let hintLimit = 20

    private(set) var errors: [Diagnostic] = []
    private(set) var warnings: [Diagnostic] = []
    private(set) var errorCount = 0
    private(set) var warningCount = 0
    private(set) var files: [NumberedFile] = []

    /// Takes a file in, and gives it its number.
    func add(_ file: SourceFile) -> Int {
        files.append(NumberedFile(file))
        return files.count - 1
    }

    /// An error; the text is made only where it is kept, and the hint only for the first few.
    func error(_ span: Span, _ message: @autoclosure () -> String, hint: @autoclosure () -> String? = nil) {
        errorCount += 1
        guard errors.count < Self.limit else { return }
        errors.append(make(.error, span, message(), errors.count < Self.hintLimit ? hint() : nil))
    }

    /// A warning, as `error`.
    func warning(_ span: Span, _ message: @autoclosure () -> String, hint: @autoclosure () -> String? = nil) {
        warningCount += 1
        guard warnings.count < Self.limit else { return }
        warnings.append(make(.warning, span, message(), warnings.count < Self.hintLimit ? hint() : nil))
    }

    /// An error of a whole file, which may never have been opened.
    func fileError(_ name: String, _ message: String) {
        errorCount += 1
        guard errors.count < Self.limit else { return }
        errors.append(
            Diagnostic(
                severity: .error, file: name, line: 0, column: 0, message: Self.shortened(message), hint: nil,
                sourceLine: "", width: 1)
        )
    }

    func line(of span: Span) -> Int {
        let index = Int(span.file)
        guard files.indices.contains(index) else { return 0 }
        return files[index].line(at: Int(span.start))
    }

    func name(of span: Span) -> String {
        let index = Int(span.file)
        guard files.indices.contains(index) else { return "?" }
        return files[index].source.name
    }

    /// All of them in the order of the text: files in the order of opening, lines, columns.
    var sorted: [Diagnostic] {
        let order = Dictionary(files.enumerated().map { ($1.source.name, $0) }, uniquingKeysWith: { first, _ in first })
        return (errors + warnings).enumerated().sorted { left, right in
            let leftKey = (order[left.element.file] ?? .max, left.element.line, left.element.column, left.offset)
            let rightKey = (order[right.element.file] ?? .max, right.element.line, right.element.column, right.offset)
            return leftKey < rightKey
        }.map(\.element)
    }

    private func make(
        _ severity: Diagnostic.Severity, _ span: Span, _ message: String, _ hint: String?
    ) -> Diagnostic {
        let index = Int(span.file)
        guard files.indices.contains(index) else {
            return Diagnostic(
                severity: severity, file: "?", line: 0, column: 0, message: Self.shortened(message),
                hint: hint.map(Self.shortened), sourceLine: "", width: 1)
        }
        let file = files[index]
        let line = file.line(at: Int(span.start))
        let (start, bytes) = file.lineBytes(line)
        let before = bytes.prefix(max(Int(span.start) - start, 0))
        let marked = bytes.dropFirst(before.count).prefix(max(Int(span.end - span.start), 0))
        // Of a line without end only the start is shown; a character has at most four bytes.
        let shown = Self.harmless(String(decoding: bytes.prefix(4 * Self.lineLimit), as: UTF8.self).unicodeScalars)
        return Diagnostic(
            severity: severity, file: file.source.name, line: line, column: Self.characters(before) + 1,
            message: Self.shortened(message), hint: hint.map(Self.shortened),
            sourceLine: String(String.UnicodeScalarView(shown.prefix(Self.lineLimit))),
            width: min(max(Self.characters(marked), 1), Self.lineLimit))
    }

    /// What is not too long of a text, harmless.
    private static func shortened(_ text: String) -> String {
        let scalars = harmless(text.unicodeScalars.prefix(messageLimit + 1))
        guard scalars.count > messageLimit else { return String(String.UnicodeScalarView(scalars)) }
        return String(String.UnicodeScalarView(scalars.dropLast())) + "…"
    }

    /// How many characters UTF-8 holds: its bytes but those that continue a character.
    private static func characters(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
    }

    /// Control characters, which a terminal might obey, become a replacement character; the count stays.
    private static func harmless(_ text: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar] {
        text.map { scalar in
            if (0x20...0x7E).contains(scalar.value) { return scalar }
            return switch scalar.properties.generalCategory {
            case .control where scalar != "\t", .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
            default: scalar
            }
        }
    }
}

/// "Did you mean".
enum Suggestion {
    /// The most candidates that are looked at, and the longest word.
    private static let candidateLimit = 10_000
    private static let wordLimit = 64

    /// The nearest candidate, if one is near enough to be what was meant.
    static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let bytes = Array(word.utf8)
        guard !bytes.isEmpty, bytes.count <= wordLimit else { return nil }
        var best: String?
        var bestPrefix = 0
        var bestDistance = bytes.count <= 3 ? 2 : 3
        let letters = letters(bytes)
        var edits = EditDistance(longest: wordLimit)
        for candidate in candidates.prefix(candidateLimit) {
            let length = candidate.utf8.count
            guard length <= wordLimit, abs(length - bytes.count) <= bestDistance else { continue }
            let other = Array(candidate.utf8)
            // Each change adds at most one letter and takes at most one away.
            guard (letters ^ Self.letters(other)).nonzeroBitCount <= 2 * bestDistance else { continue }
            let distance = edits.between(bytes, other, atMost: bestDistance)
            guard distance <= bestDistance else { continue }
            // Of two that are as near, the one that starts alike: 'of' is meant to be 'off' rather than 'on'.
            let prefix = zip(bytes, other).prefix { $0 == $1 }.count
            guard distance < bestDistance || (best != nil && distance == bestDistance && prefix > bestPrefix) else {
                continue
            }
            guard distance > 0, distance < max(bytes.count, other.count) else { continue }
            (best, bestDistance, bestPrefix) = (candidate, distance, prefix)
        }
        return best
    }

    /// `did you mean X?`, if something is near enough.
    static func hint(_ word: String, among candidates: some Sequence<String>) -> String? {
        nearest(to: word, among: candidates).map { "did you mean \($0)?" }
    }

    /// Which letters a word has, a bit each; letters that share a bit make words look more alike.
    private static func letters(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0) { $0 | 1 << UInt64($1 & 63) }
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into another.
private struct EditDistance {
    /// Three rows of the table, used again and again.
    private var beforeLast: [Int]
    private var last: [Int]
    private var current: [Int]

    init(longest: Int) {
        last = Array(repeating: 0, count: longest + 1)
        beforeLast = last
        current = last
    }

    /// How many there are, and what is above `limit` where there are more: only cells so near to the diagonal are
    /// looked at.
    ///
    /// INVARIANT: no word is longer than `longest`.
    mutating func between(_ left: [UInt8], _ right: [UInt8], atMost limit: Int) -> Int {
        let more = limit + 1
        for column in 0...right.count { last[column] = column }
        for (row, byte) in zip(1..., left) {
            let low = max(1, row - limit)
            let high = min(right.count, row + limit)
            guard low <= high else { return more }
            current[low - 1] = low == 1 ? row : more
            for column in low...high {
                let other = right[column - 1]
                // The row above ends a cell earlier.
                let above = column == row + limit ? more : last[column]
                var cost = min(above + 1, current[column - 1] + 1, last[column - 1] + (byte == other ? 0 : 1))
                if row > 1, column > 1, byte == right[column - 2], left[row - 2] == other {
                    cost = min(cost, beforeLast[column - 2] + 1)
                }
                current[column] = cost
            }
            (beforeLast, last, current) = (last, current, beforeLast)
        }
        return abs(left.count - right.count) <= limit ? last[right.count] : more
    }
}
