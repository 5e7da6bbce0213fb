// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What the monitor sends to an engine.
public enum EngineOrder: Frame, Hashable {
    /// The engine's end of a session's channel comes with the frame.
    case session(number: UInt64)
    /// Another engine has taken over: answer the sessions that are open, then end.
    case drain

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .session(number: try reader.integer())
        case 2:
            self = .drain
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .session(let number):
            writer = FrameWriter(kind: 1)
            writer.integer(number)
        case .drain:
            writer = FrameWriter(kind: 2)
        }
        return writer.bytes
    }
}

/// What an engine sends to the monitor while it loads; nothing after `loaded` or `failed`.
public enum EngineReport: Frame, Hashable {
    /// The policy has errors, and the engine ends.
    case failed(diagnostics: String, errors: Int)
    /// The settings.
    case settings(settings: Settings)
    /// A compiled sandbox at its place in the table; they come in order.
    case sandbox(index: Int, sandbox: CompiledSandbox)
    /// The load is complete.
    case loaded(revision: Revision, rules: Int, sandboxes: Int, warnings: String)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .failed(
                diagnostics: try reader.text(limit: FrameFormat.textLimit),
                errors: try reader.count(0...Int(Int32.max)))
        case 2:
            self = .settings(settings: try reader.field())
        case 3:
            self = .sandbox(index: try reader.count(0...FrameFormat.listLimit), sandbox: try reader.field())
        case 4:
            self = .loaded(
                revision: try reader.field(),
                rules: try reader.count(0...Int(Int32.max)),
                sandboxes: try reader.count(0...FrameFormat.listLimit),
                warnings: try reader.text(limit: FrameFormat.textLimit))
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .failed(let diagnostics, let errors):
            writer = FrameWriter(kind: 1)
            writer.text(diagnostics)
            writer.integer(Int64(errors))
        case .settings(let settings):
            writer = FrameWriter(kind: 2)
            writer.field(settings)
        case .sandbox(let index, let sandbox):
            writer = FrameWriter(kind: 3)
            writer.integer(Int64(index))
            writer.field(sandbox)
        case .loaded(let revision, let rules, let sandboxes, let warnings):
            writer = FrameWriter(kind: 4)
            writer.field(revision)
            writer.integer(Int64(rules))
            writer.integer(Int64(sandboxes))
            writer.text(warnings)
        }
        return writer.bytes
    }
}

/// What an engine asks of the loader.
public enum LoaderAsk: Frame, Hashable {
    /// The policy file itself.
    case root
    /// The files that a pattern names, relative to a file that was opened before (0 is the root).
    case include(from: Int, pattern: ByteText)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .root
        case 2:
            self = .include(
                from: try reader.count(0...Int(Int32.max)),
                pattern: try reader.bytes(limit: FieldLimit.path))
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .root:
            writer = FrameWriter(kind: 1)
        case .include(let from, let pattern):
            writer = FrameWriter(kind: 2)
            writer.integer(Int64(from))
            writer.bytes(pattern)
        }
        return writer.bytes
    }
}

/// What the loader answers.
public enum LoaderAnswer: Frame, Hashable {
    /// A file; its descriptor, checked, comes with the frame. Files are numbered from 0 in the order of these answers.
    case file(name: String)
    /// No more files match.
    case end
    /// A file cannot be used, and why.
    case refusal(name: String, text: String)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .file(name: try reader.text(limit: FrameFormat.textLimit))
        case 2:
            self = .end
        case 3:
            self = .refusal(
                name: try reader.text(limit: FrameFormat.textLimit),
                text: try reader.text(limit: FrameFormat.textLimit))
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .file(let name):
            writer = FrameWriter(kind: 1)
            writer.text(name)
        case .end:
            writer = FrameWriter(kind: 2)
        case .refusal(let name, let text):
            writer = FrameWriter(kind: 3)
            writer.text(name)
            writer.text(text)
        }
        return writer.bytes
    }
}

/// What a session asks of the engine: once; a guest's session once for each account that it may be given.
public enum DecisionAsk: Frame, Hashable {
    /// Decide a request.
    case decide(number: UInt64, request: Request)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .decide(number: try reader.integer(), request: try reader.field())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .decide(let number, let request):
            writer = FrameWriter(kind: 1)
            writer.integer(number)
            writer.field(request)
        }
        return writer.bytes
    }
}

/// What the engine answers.
public enum DecisionAnswer: Frame, Hashable {
    /// The decision, with the number of the session and the revision that decided.
    case decision(number: UInt64, revision: Revision, decision: Decision)

    /// Reads a whole frame.
    public init(frame: [UInt8]) throws(FrameError) {
        var reader = try FrameReader(frame)
        switch reader.kind {
        case 1:
            self = .decision(number: try reader.integer(), revision: try reader.field(), decision: try reader.field())
        default:
            throw .kind(reader.kind)
        }
        try reader.finish()
    }

    /// Writes the frame.
    public func encoded() -> [UInt8] {
        var writer: FrameWriter
        switch self {
        case .decision(let number, let revision, let decision):
            writer = FrameWriter(kind: 1)
            writer.integer(number)
            writer.field(revision)
            writer.field(decision)
        }
        return writer.bytes
    }
}
