// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Crypto
import Linux
import PolicyLanguage

/// A policy's files on this host, opened as whoever runs `portcullis` may.
struct LocalPolicyFiles: PolicyFiles {
    /// The directory of each file, by handle.
    private var directories: [String]
    /// The directory that includes stay below.
    private let top: String

    /// The files of a policy whose file has this absolute path.
    init(policy path: String) {
        top = Self.directory(of: path)
        directories = [top]
    }

    mutating func files(matching pattern: String, from: Int) -> IncludedFiles {
        guard directories.indices.contains(from) else { return IncludedFiles() }
        let start = pattern.hasPrefix("/") ? "/" : directories[from]
        let parts = pattern.split(separator: "/").map { String($0) }
        guard !parts.contains(".."), !parts.contains(".") else {
            return IncludedFiles(
                refusals: [
                    (name: pattern, text: "includes lie below the policy's directory; '.' and '..' are not taken")
                ])
        }
        var found = IncludedFiles()
        let paths = FileNamePattern.expand(parts, below: start) { path in
            (try? Directory.names(path)) ?? []
        } isDirectory: { path in
            (try? File.status(path))?.kind == .directory
        }
        guard let paths else {
            return IncludedFiles(refusals: [(name: pattern, text: "names more than \(FileNamePattern.limit) files")])
        }
        for path in paths {
            guard top == "/" || path.hasPrefix(top + "/") else {
                found.refusals.append((name: path, text: "not below the policy's directory \(top)"))
                continue
            }
            do {
                // The gateway takes no other either; a FIFO would be read as empty.
                guard try File.status(path).kind == .regular else {
                    found.refusals.append((name: path, text: "not a regular file"))
                    continue
                }
                found.files.append(try LocalFile.read(path, handle: directories.count))
                directories.append(Self.directory(of: path))
            } catch {
                found.refusals.append((name: path, text: error.text))
            }
        }
        return found
    }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// Files that a person names.
enum LocalFile {
    /// Reads a whole file of at most a policy's size.
    ///
    /// - Parameter shown: the name in diagnostics; the path where none is given.
    static func read(_ path: String, shown: String? = nil, handle: Int = 0) throws(SystemError) -> SourceFile {
        let descriptor = try File.open(path, [.reading, .nonBlocking])
        let status = try File.status(descriptor)
        guard status.kind != .directory else { throw SystemError(21 /* EISDIR */, "read") }
        guard let bytes = try descriptor.readAll(limit: SourceFile.sizeLimit) else {
            throw SystemError(27 /* EFBIG */, "read")
        }
        return SourceFile(
            name: shown ?? path, identity: "\(status.device):\(status.inode)", handle: handle, bytes: bytes)
    }
}

/// The canonical text and its digest, taken in while a policy is read.
private struct CanonicalText: CanonicalTextTaker {
    var hash = SHA256()
    /// The text, where somebody wants it.
    var bytes: [UInt8]?

    mutating func take(_ piece: [UInt8]) {
        hash.update(data: piece)
        bytes? += piece
    }
}

/// A policy as `check`, `explain` and `test` load it.
struct LocalPolicy {
    /// What came of loading it.
    var loaded: LoadedPolicy
    /// SHA-256 of its canonical text.
    var revision: Revision
    /// The canonical text; empty where it was not asked for.
    var canonicalText: [UInt8]

    /// Loads a policy file.
    ///
    /// - Parameters:
    ///   - analyses: whether its rules are compared with each other, for warnings.
    ///   - keepingText: whether the canonical text is wanted.
    /// - Throws: `Failure` where the file cannot be read.
    init(
        _ path: String, directories: GuardedDirectories = GuardedDirectories(), analyses: Bool = false,
        keepingText: Bool = false
    ) throws {
        let absolute = File.absolute(path)
        let root: SourceFile
        do throws(SystemError) {
            root = try LocalFile.read(path)
        } catch {
            throw Failure(description: "cannot read the policy \(path): \(error.text)")
        }
        var files = LocalPolicyFiles(policy: absolute)
        var text = CanonicalText(bytes: keepingText ? [] : nil)
        loaded = PolicyText.load(
            root, files: &files, canonicalText: &text, directories: directories, analyses: analyses)
        revision = Revision(bytes: Array(text.hash.finalize())) ?? .none
        canonicalText = text.bytes ?? []
    }

    /// The diagnostics on standard error, with the line that counts them.
    ///
    /// - Returns: whether the policy has no error.
    @discardableResult
    func report(quietly: Bool = false) throws -> Bool {
        let isTerminal = Output.hasColour(on: StandardStreams.error)
        var text = ""
        for diagnostic in loaded.diagnostics where !quietly || diagnostic.severity == .error {
            text += DiagnosticText.text(diagnostic, coloured: isTerminal)
        }
        let errors = loaded.errorCount
        let warnings = quietly ? 0 : loaded.warningCount
        if errors + warnings > 0 {
            let counts = [
                errors > 0 ? Shown.count(errors, "error") : nil, warnings > 0 ? Shown.count(warnings, "warning") : nil,
            ]
            text += counts.compactMap(\.self).joined(separator: ", ") + (errors > 0 ? "; not loaded" : "") + "\n"
        }
        if !text.isEmpty { try? StandardStreams.error.writeAll(Array(text.utf8)) }
        return errors == 0
    }
}

/// Diagnostics for people.
enum DiagnosticText {
    /// As `Diagnostic.text` has it, with colours where a terminal takes them.
    static func text(_ diagnostic: Diagnostic, coloured: Bool) -> String {
        guard coloured else { return diagnostic.text }
        let red = diagnostic.severity == .error ? "31" : "33"
        let word = "\(diagnostic.severity.name): "
        let head = diagnostic.headline.replacingFirst(word, with: "\u{1B}[1;\(red)m\(word)\u{1B}[0m")
        guard diagnostic.line > 0 else { return head + "\n" }
        let lines = diagnostic.excerpt.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 2, let caret = lines[1].firstIndex(of: "^") else {
            return head + "\n" + diagnostic.excerpt
        }
        return head + "\n" + lines[0] + "\n" + lines[1][..<caret] + "\u{1B}[32m" + lines[1][caret...] + "\u{1B}[0m\n"
    }
}

extension String {
    /// The text with the first occurrence of a part replaced.
    fileprivate func replacingFirst(_ part: String, with other: String) -> String {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(part) {
                return self[..<index] + other + self[self.index(index, offsetBy: part.count)...]
            }
            index = self.index(after: index)
        }
        return self
    }
}
