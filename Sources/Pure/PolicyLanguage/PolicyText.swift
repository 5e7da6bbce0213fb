// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
public import Policy

/// Where included files come from: the parser names them, and the caller opens and checks them.
public protocol PolicyFiles {
    /// The files that a pattern names, in byte order of their names.
    ///
    /// - Parameters:
    ///   - pattern: what stands in the `include`, a name or a glob.
    ///   - from: the including file's `handle`.
    /// - Returns: the files, and why any could not be used. No file and no refusal: nothing matches.
    mutating func files(matching pattern: String, from: Int) -> IncludedFiles
}

/// What an `include` gave.
public struct IncludedFiles: Sendable {
    /// The files, in order.
    public var files: [SourceFile]
    /// Files that cannot be used: name, and why.
    public var refusals: [(name: String, text: String)]

    /// What an include gave.
    public init(files: [SourceFile] = [], refusals: [(name: String, text: String)] = []) {
        self.files = files
        self.refusals = refusals
    }
}

/// No included files: each `include` of a literal name is an error.
public struct NoPolicyFiles: PolicyFiles {
    /// Nothing to hold.
    public init() {}

    /// None.
    public mutating func files(matching pattern: String, from: Int) -> IncludedFiles { IncludedFiles() }
}

/// The directories that no sandbox may open; nil where one is not known.
public struct GuardedDirectories: Sendable, Hashable {
    /// The gateway's state: neither read nor written.
    public var state: ByteText?
    /// Its run-time directory: neither read nor written.
    public var runtime: ByteText?
    /// The policy's own directory: not written.
    public var policy: ByteText?

    /// Directories, as absolute paths.
    public init(state: ByteText? = nil, runtime: ByteText? = nil, policy: ByteText? = nil) {
        self.state = state.map(AbsolutePath.withoutLastSlash)
        self.runtime = runtime.map(AbsolutePath.withoutLastSlash)
        self.policy = policy.map(AbsolutePath.withoutLastSlash)
    }
}

/// What takes the canonical text of a policy piece by piece, while the policy is read: a hash, or a text.
public protocol CanonicalTextTaker {
    /// Takes the next piece, which is never empty and can end anywhere.
    mutating func take(_ piece: [UInt8])
}

/// What came of reading a policy.
public struct LoadedPolicy: Sendable {
    /// The policy; nil where there is an error.
    public var policy: Policy?
    /// Errors and warnings, in the order of the text; at most 1,000 of each.
    public var diagnostics: [Diagnostic]
    /// How many errors there are.
    public var errorCount: Int
    /// How many warnings there are.
    public var warningCount: Int
    /// The names of the files, in the order of opening.
    public var files: [String]
}

/// Text to policy.
public enum PolicyText {
    /// The most levels of includes below the root.
    public static let includeDepth = 8
    /// The most files.
    public static let fileLimit = 4_096
    /// The most bytes of all files together.
    public static let totalLimit = 2 * SourceFile.sizeLimit

    /// Reads and resolves a policy.
    ///
    /// TRUST: the files' bytes can be anything. On return there is a policy in which everything is resolved and nothing
    /// can fail while a decision is made, or there are errors.
    ///
    /// - Parameters:
    ///   - root: the policy file.
    ///   - files: opens what is included.
    ///   - canonicalText: takes what the revision digests: the text of all files, includes expanded, without comments.
    ///     Where there is an error, what it took is of no use.
    ///   - directories: what no sandbox may open.
    ///   - analyses: whether to look for warnings that compare rules with each other.
    ///   - analysisLimit: with more rules than this they are not compared, which one warning says.
    public static func load(
        _ root: SourceFile, files: inout some PolicyFiles, canonicalText: inout some CanonicalTextTaker,
        directories: GuardedDirectories = GuardedDirectories(), analyses: Bool = true, analysisLimit: Int = .max
    ) -> LoadedPolicy {
        let sink = DiagnosticSink()
        var reader = Reader(
            files: files, canonicalText: canonicalText, resolver: Resolver(directories: directories, sink: sink))
        reader.read(root, ancestors: [], includedAt: nil)
        reader.finish()
        files = reader.files
        canonicalText = reader.canonicalText
        let policy = reader.resolver.resolve(analyses: analyses, limit: analysisLimit)
        return LoadedPolicy(
            policy: sink.errorCount == 0 ? policy : nil,
            diagnostics: sink.sorted,
            errorCount: sink.errorCount,
            warningCount: sink.warningCount,
            files: sink.files.map(\.source.name))
    }

    /// Reads and resolves a policy of which nobody wants the canonical text.
    public static func load(
        _ root: SourceFile, files: inout some PolicyFiles, directories: GuardedDirectories = GuardedDirectories(),
        analyses: Bool = true
    ) -> LoadedPolicy {
        var nobody = NoTaker()
        return load(root, files: &files, canonicalText: &nobody, directories: directories, analyses: analyses)
    }

    /// Reads a policy of one file that includes none.
    public static func load(
        _ root: SourceFile, directories: GuardedDirectories = GuardedDirectories()
    ) -> LoadedPolicy {
        var none = NoPolicyFiles()
        return load(root, files: &none, directories: directories)
    }

    private struct NoTaker: CanonicalTextTaker {
        mutating func take(_ piece: [UInt8]) {}
    }

    /// What came of formatting a file.
    public struct Formatted: Sendable {
        /// The text; nil where the file has a syntax error.
        public var text: String?
        /// The errors.
        public var diagnostics: [Diagnostic]
    }

    /// The canonical form of one file, its comments kept and its includes left as they are.
    public static func format(_ file: SourceFile) -> Formatted {
        let sink = DiagnosticSink()
        guard var parser = Parser.checked(file, sink) else { return Formatted(text: nil, diagnostics: sink.sorted) }
        let text = Formatter.text(&parser, file)
        guard sink.errorCount == 0 else { return Formatted(text: nil, diagnostics: sink.sorted) }
        return Formatted(text: text, diagnostics: [])
    }
}

/// Reads files and what they include, in the order of their text; each statement is resolved and written as it is read.
struct Reader<Files: PolicyFiles, Taker: CanonicalTextTaker> {
    var files: Files
    var canonicalText: Taker
    var resolver: Resolver
    private let sink: DiagnosticSink
    private var formatter = Formatter()
    private var total = 0
    /// Where each file was included, by its identity.
    private var included: [String: Span] = [:]

    /// The canonical text is given on in pieces of this size, and what the last statement brings.
    private static var pieceSize: Int { 65_536 }

    init(files: Files, canonicalText: Taker, resolver: Resolver) {
        self.files = files
        self.canonicalText = canonicalText
        self.resolver = resolver
        sink = resolver.sink
    }

    /// Reads a file and, in place, what it includes; at most `PolicyText.includeDepth` deep.
    mutating func read(_ file: SourceFile, ancestors: [String], includedAt: Span?) {
        total += file.bytes.count
        guard total <= PolicyText.totalLimit, sink.files.count < PolicyText.fileLimit else {
            let text = "the policy is too large: at most 128 MiB in 4,096 files"
            if let includedAt { sink.error(includedAt, text) } else { sink.fileError(file.name, text) }
            return
        }
        guard var parser = Parser.checked(file, sink) else { return }
        resolver.expect(bytes: file.bytes.count)
        var rule = RuleSyntax()
        while let statement = parser.nextStatement(&rule) {
            if case .include(let pattern) = statement.payload {
                include(pattern, statement.span, handle: file.handle, ancestors: ancestors + [file.identity])
                continue
            }
            // The text of all files together says its version once.
            if statement.kind != .version || includedAt == nil { formatter.write(statement, rule) }
            formatter.give(to: &canonicalText, atLeast: Self.pieceSize)
            if case .rule = statement.payload {
                resolver.take(rule)
            } else {
                resolver.take(statement.payload, at: statement.span)
            }
        }
    }

    /// Gives on the end of the canonical text.
    mutating func finish() {
        formatter.give(to: &canonicalText, atLeast: 1)
    }

    private mutating func include(_ pattern: String, _ span: Span, handle: Int, ancestors: [String]) {
        guard ancestors.count <= PolicyText.includeDepth else {
            sink.error(span, "includes are at most \(PolicyText.includeDepth) deep")
            return
        }
        let found = files.files(matching: pattern, from: handle)
        for refusal in found.refusals { sink.error(span, "\(refusal.name): \(refusal.text)") }
        if found.files.isEmpty, found.refusals.isEmpty {
            if FileNamePattern.isGlob(pattern) {
                sink.warning(span, "nothing matches \"\(pattern)\"")
            } else {
                sink.error(span, "\"\(pattern)\" does not exist")
            }
        }
        for file in found.files {
            guard !ancestors.contains(file.identity) else {
                sink.error(span, "\(file.name) is included from within itself")
                continue
            }
            // Everything that a file can say stands once, so one error says it for all.
            if let first = included.updateValue(span, forKey: file.identity) {
                let place = FilePlace(file: sink.name(of: first), line: sink.line(of: first))
                sink.error(span, "\(file.name) is included twice; the first time is at \(place)")
                continue
            }
            read(file, ancestors: ancestors, includedAt: span)
        }
    }
}

extension Parser {
    /// A parser of a file, which the sink takes in; nil where its bytes are no text, which is reported.
    static func checked(_ file: SourceFile, _ sink: DiagnosticSink) -> Parser? {
        guard file.bytes.count <= SourceFile.sizeLimit else {
            sink.fileError(file.name, "the file is over 64 MiB")
            return nil
        }
        let number = sink.add(file)
        if let offset = TextCheck.firstForeign(file.bytes) {
            sink.error(
                Span(file: number, start: offset, end: offset + 1),
                file.bytes[offset] == 0 ? "a NUL stands in the file" : "these bytes are not UTF-8")
            return nil
        }
        return Parser(file, file: number, sink: sink)
    }
}

/// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF; and no NUL.
enum TextCheck {
    /// The bytes that are looked at together where they are plain ASCII.
    private static let stride = 32

    /// Where the first byte stands that is not part of UTF-8, or is NUL.
    static func firstForeign(_ file: [UInt8]) -> Int? {
        let bytes = file.span
        var index = 0
        while index < bytes.count {
            // Almost all of a policy is ASCII: a stretch of it is passed at once.
            if index + stride <= bytes.count {
                let stretch = bytes.extracting(index..<(index + stride))
                // The highest bit is set in what is not ASCII, and once 1 is taken away, in 0.
                var marks: UInt8 = 0
                for place in stretch.indices { marks |= stretch[place] | (stretch[place] &- 1) }
                if marks < 0x80 {
                    index += stride
                    continue
                }
            }
            let byte = bytes[index]
            if byte < 0x80 {
                guard byte != 0 else { return index }
                index += 1
                continue
            }
            let length: Int
            var second: ClosedRange<UInt8> = 0x80...0xBF
            switch byte {
            case 0xC2...0xDF: length = 2
            case 0xE0:
                length = 3
                second = 0xA0...0xBF
            case 0xED:
                length = 3
                second = 0x80...0x9F
            case 0xE1...0xEF: length = 3
            case 0xF0:
                length = 4
                second = 0x90...0xBF
            case 0xF4:
                length = 4
                second = 0x80...0x8F
            case 0xF1...0xF3: length = 4
            default: return index
            }
            guard index + length <= bytes.count, second.contains(bytes[index + 1]) else { return index }
            for place in (index + 2)..<max(index + length, index + 2) where !(0x80...0xBF).contains(bytes[place]) {
                return index
            }
            index += length
        }
        return nil
    }
}
