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

/// What came of reading a policy.
public struct LoadedPolicy: Sendable {
    /// The policy; nil where there is an error.
    public var policy: Policy?
    /// The canonical text of all files, includes expanded: what the revision digests.
    public var canonicalText: String
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
    ///   - directories: what no sandbox may open.
    ///   - analyses: whether to look for warnings that compare rules with each other.
    public static func load(
        _ root: SourceFile, files: inout some PolicyFiles, directories: GuardedDirectories = GuardedDirectories(),
        analyses: Bool = true
    ) -> LoadedPolicy {
        var reader = Reader(files: files)
        reader.read(root, ancestors: [], includedAt: nil)
        files = reader.files
        var sink = reader.sink
        let statements = reader.statements
        var resolver = Resolver(statements: statements, directories: directories, sink: sink)
        let policy = resolver.resolve(analyses: analyses)
        sink = resolver.sink
        return LoadedPolicy(
            policy: sink.errorCount == 0 ? policy : nil,
            canonicalText: Formatter.canonicalText(statements),
            diagnostics: sink.sorted,
            errorCount: sink.errorCount,
            warningCount: sink.warningCount,
            files: sink.files.map(\.source.name))
    }

    /// Reads a policy of one file that includes none.
    public static func load(
        _ root: SourceFile, directories: GuardedDirectories = GuardedDirectories()
    ) -> LoadedPolicy {
        var none = NoPolicyFiles()
        return load(root, files: &none, directories: directories)
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
        var sink = DiagnosticSink()
        guard let parsed = Reader<NoPolicyFiles>.parse(file, &sink) else {
            return Formatted(text: nil, diagnostics: sink.sorted)
        }
        guard sink.errorCount == 0 else { return Formatted(text: nil, diagnostics: sink.sorted) }
        return Formatted(text: Formatter.text(parsed, file), diagnostics: [])
    }
}

/// Reads files and what they include, in the order of their text.
struct Reader<Files: PolicyFiles> {
    var files: Files
    var sink = DiagnosticSink()
    /// The statements of all files; an include is followed by what it brought.
    var statements: [Statement] = []
    private var total = 0
    private var version: Span?

    init(files: Files) {
        self.files = files
    }

    /// Checks and parses one file; nil where its bytes are no text.
    static func parse(_ file: SourceFile, _ sink: inout DiagnosticSink) -> ParsedFile? {
        guard file.bytes.count <= SourceFile.sizeLimit else {
            sink.fileError(file.name, "the file is over 64 MiB")
            return nil
        }
        let number = sink.add(file)
        if let offset = file.bytes.firstIndex(of: 0) {
            sink.error(Span(file: number, start: offset, end: offset + 1), "a NUL stands in the file")
            return nil
        }
        if let offset = UTF8Check.firstInvalid(file.bytes) {
            sink.error(Span(file: number, start: offset, end: offset + 1), "these bytes are not UTF-8")
            return nil
        }
        var parser = Parser(file, file: number, sink: sink)
        let parsed = parser.parse()
        sink = parser.sink
        return parsed
    }

    /// Reads a file and, in place, what it includes; at most `PolicyText.includeDepth` deep.
    mutating func read(_ file: SourceFile, ancestors: [String], includedAt: Span?) {
        total += file.bytes.count
        guard total <= PolicyText.totalLimit, sink.files.count < PolicyText.fileLimit else {
            let text = "the policy is too large: at most 128 MiB in 4,096 files"
            if let includedAt { sink.error(includedAt, text) } else { sink.fileError(file.name, text) }
            return
        }
        guard let parsed = Self.parse(file, &sink) else { return }
        for statement in parsed.statements {
            statements.append(statement)
            guard case .include(let pattern) = statement.payload else { continue }
            include(pattern, statement.span, handle: file.handle, ancestors: ancestors + [file.identity])
        }
    }

    private mutating func include(_ pattern: String, _ span: Span, handle: Int, ancestors: [String]) {
        guard ancestors.count <= PolicyText.includeDepth else {
            sink.error(span, "includes are at most \(PolicyText.includeDepth) deep")
            return
        }
        let found = files.files(matching: pattern, from: handle)
        for refusal in found.refusals { sink.error(span, "\(refusal.name): \(refusal.text)") }
        if found.files.isEmpty, found.refusals.isEmpty {
            let isGlob = FileNamePattern.isGlob(pattern)
            if isGlob {
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
            read(file, ancestors: ancestors, includedAt: span)
        }
    }
}

/// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
enum UTF8Check {
    /// Where the first byte stands that is not part of UTF-8.
    static func firstInvalid(_ bytes: [UInt8]) -> Int? {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x80 {
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
            for follower in bytes[(index + 2)..<max(index + length, index + 2)] where !(0x80...0xBF).contains(follower)
            {
                return index
            }
            index += length
        }
        return nil
    }
}

/// File name patterns of includes: `*` and `?` within a component, and nothing else.
public enum FileNamePattern {
    /// Whether a pattern can name other files than itself.
    public static func isGlob(_ pattern: String) -> Bool {
        pattern.utf8.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") }
    }

    /// Whether a name matches one component of a pattern, in time proportional to the product of the lengths.
    public static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var pattern = pattern[...]
        var name = name[...]
        var retry: (pattern: ArraySlice<UInt8>, name: ArraySlice<UInt8>)?
        while !name.isEmpty || !pattern.isEmpty {
            if pattern.first == UInt8(ascii: "*") {
                pattern = pattern.dropFirst()
                retry = name.isEmpty ? nil : (pattern, name.dropFirst())
            } else if let wanted = pattern.first, let have = name.first,
                wanted == UInt8(ascii: "?") || wanted == have
            {
                pattern = pattern.dropFirst()
                name = name.dropFirst()
            } else {
                guard let again = retry else { return false }
                pattern = again.pattern
                name = again.name
                retry = name.isEmpty ? nil : (pattern, name.dropFirst())
            }
        }
        return true
    }
}
