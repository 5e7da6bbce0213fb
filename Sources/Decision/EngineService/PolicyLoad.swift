// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Crypto
import Messages
import Policy
import PolicyLanguage

/// A policy that is loaded and whose filters are compiled, ready to be sent and then asked.
///
/// The index keeps what a decision needs. Of the policy's text nothing is left.
struct PreparedPolicy: Sendable {
    /// What the revision digests, digested.
    var revision: Revision
    /// Everything that is not a rule, a set or a sandbox.
    var settings: Settings
    /// What was loaded. Nobody looks at it any more: to give back all that a hundred thousand rules are made of would take
    /// a tenth of the load, and the memory would stay the process's.
    var policy: Policy
    /// What decides.
    var index: PolicyIndex
    /// Its sandboxes, each at its place, with its filter.
    var sandboxes: [CompiledSandbox]
    /// Warnings as `check` prints them, cut to what a frame holds.
    var warnings: String
}

/// What came of a load.
enum LoadOutcome: Sendable {
    /// A policy.
    case prepared(PreparedPolicy)
    /// Diagnostics as `check` prints them, cut to what a frame holds, and the number of errors.
    case failed(diagnostics: String, errors: Int)
}

/// SHA-256 of the canonical text, taken in while the policy is read.
struct RevisionDigest: CanonicalTextTaker {
    private var hash = SHA256()

    mutating func take(_ piece: [UInt8]) {
        hash.update(data: piece)
    }

    /// The revision of what was taken in; nil where the digest is not of a revision's size.
    var revision: Revision? { Revision(bytes: Array(hash.finalize())) }
}

/// Turns a policy's files into what the monitor freezes.
struct PolicyLoad {
    /// With more rules than this they are not compared with each other: requests wait for the load, and `portcullis
    /// check` compares any number.
    private static let analysisLimit = 1_000

    /// Compiles a sandbox's system-call filter.
    var compile: (Sandbox) throws -> [UInt8]
    /// What no sandbox may open.
    var directories: GuardedDirectories

    /// Reads, resolves and compiles.
    func run(_ files: inout LoaderFiles) -> LoadOutcome {
        let root: SourceFile
        do {
            root = try files.root()
        } catch {
            return .failed(diagnostics: "\(error)", errors: 1)
        }
        var guarded = directories
        guarded.policy = guarded.policy ?? Self.directory(of: root.name)
        var digest = RevisionDigest()
        let loaded = PolicyText.load(
            root, files: &files, canonicalText: &digest, directories: guarded, analysisLimit: Self.analysisLimit)
        if let failure = files.failure { return .failed(diagnostics: "\(root.name): \(failure)", errors: 1) }
        guard let policy = loaded.policy else {
            return .failed(diagnostics: Self.text(loaded, [.error, .warning]), errors: max(loaded.errorCount, 1))
        }
        guard let revision = digest.revision else {
            return .failed(diagnostics: "\(root.name): the digest is not SHA-256's", errors: 1)
        }
        var sandboxes: [CompiledSandbox] = []
        for (index, sandbox) in policy.sandboxes.enumerated() {
            do {
                let compiled = CompiledSandbox(sandbox: sandbox, filter: try compile(sandbox))
                let frame = EngineReport.sandbox(index: index, sandbox: compiled).encoded()
                guard frame.count <= FrameFormat.limit else {
                    return .failed(diagnostics: "\(root.name): sandbox '\(sandbox.name)' holds too much", errors: 1)
                }
                sandboxes.append(compiled)
            } catch {
                return .failed(
                    diagnostics: "\(root.name): the filter of sandbox '\(sandbox.name)' cannot be compiled: \(error)",
                    errors: 1)
            }
        }
        return .prepared(
            PreparedPolicy(
                revision: revision, settings: policy.settings, policy: policy, index: PolicyIndex(policy),
                sandboxes: sandboxes, warnings: Self.text(loaded, [.warning])))
    }

    /// The directory of an absolute path; nil for another.
    static func directory(of path: String) -> ByteText? {
        guard path.hasPrefix("/"), let slash = path.lastIndex(of: "/") else { return nil }
        return slash == path.startIndex ? "/" : ByteText(String(path[..<slash]))
    }

    /// Diagnostics one below the other, as many as a frame's text holds, and how many more there are.
    private static func text(_ loaded: LoadedPolicy, _ severities: Set<Diagnostic.Severity>) -> String {
        var out = ""
        var told = 0
        let chosen = loaded.diagnostics.filter { severities.contains($0.severity) }
        for diagnostic in chosen {
            let text = diagnostic.text
            // Room is left for the last line, and for the one that the monitor puts below it.
            guard out.utf8.count + text.utf8.count <= FrameFormat.textLimit - 512 else { break }
            out += text
            told += 1
        }
        let total = severities.contains(.error) ? loaded.errorCount + loaded.warningCount : loaded.warningCount
        if told < total { out += "and \(total - told) more\n" }
        return out
    }
}
