// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// The forked loader: opens and checks the policy's files for one engine, and hands them over as descriptors.
///
/// It runs as root because a policy may be readable by root alone; it parses nothing but the patterns of includes.
struct Loader {
    /// The most files of one policy.
    static let fileLimit = 4_096

    private let channel: Channel
    private let root: String
    private var directories: [String] = []
    private let rootDirectory: String

    init(channel: Channel, policy: String) {
        self.channel = channel
        root = policy
        rootDirectory = Self.directory(of: policy)
    }

    /// Forks a loader and returns the engine's end of its channel.
    static func start(policy: String) throws -> (pid: Int32, engine: Descriptor) {
        let (ours, engines) = try Channel.pair()
        let high = try ours.descriptor.duplicate(from: 64)
        switch try Process.fork() {
        case .child:
            Signals.reset()
            Signals.ignore(Signals.Number.pipe)
            do {
                try high.place(at: 3)
                Descriptor.closeAll(from: 4)
                try Process.dieWithParent()
            } catch {
                Process.exitNow(1)
            }
            Process.setTitle("portcullisd: loader [priv]")
            var loader = Loader(channel: Channel(Descriptor(owning: 3)), policy: policy)
            loader.serve()
            Process.exitNow(0)
        case .parent(let pid):
            return (pid, engines.descriptor)
        }
    }

    /// Answers until the engine closes its end.
    private mutating func serve() {
        while case .message(let message)? = try? channel.receive(limit: 65_536) {
            guard let ask = try? LoaderAsk(frame: message.bytes) else { return }
            do {
                switch ask {
                case .root:
                    try answer(root)
                case .include(let from, let pattern):
                    try include(from, pattern)
                }
                try channel.send(LoaderAnswer.end.encoded())
            } catch {
                return
            }
        }
    }

    private mutating func include(_ from: Int, _ pattern: ByteText) throws(SystemError) {
        guard directories.indices.contains(from), let text = pattern.text, !text.isEmpty else {
            return try refuse(pattern.printable, "not a file name")
        }
        let start = text.hasPrefix("/") ? "/" : directories[from]
        let parts = text.split(separator: "/").map(String.init)
        guard !parts.contains("..") && !parts.contains(".") else {
            return try refuse(text, "an include names files below the policy's directory; '.' and '..' are not taken")
        }
        let paths = FileNamePattern.expand(parts, below: start) { path in
            (try? Directory.names(path)) ?? []
        } isDirectory: { path in
            (try? File.status(path))?.kind == .directory
        }
        guard let paths else { return try refuse(text, "names more than \(FileNamePattern.limit) files") }
        for path in paths {
            guard rootDirectory == "/" || path.hasPrefix(rootDirectory + "/") else {
                try refuse(path, "not below the policy's directory \(rootDirectory)")
                continue
            }
            try answer(path)
        }
    }

    /// Opens and checks one file, and sends it.
    ///
    /// TRUST: what is sent belongs to root (or, where the gateway is not root, to its user) and nobody else may write
    /// it, nor any directory on the way to it.
    private mutating func answer(_ path: String) throws(SystemError) {
        guard directories.count < Self.fileLimit else { return try refuse(path, "too many files") }
        let file: Descriptor
        do {
            file = try SecureOpen.file(ByteText(path)).descriptor
        } catch {
            return try refuse(path, "\(error)")
        }
        directories.append(Self.directory(of: path))
        try channel.send(LoaderAnswer.file(name: path).encoded(), descriptors: [file])
    }

    private func refuse(_ name: String, _ text: String) throws(SystemError) {
        try channel.send(LoaderAnswer.refusal(name: name, text: text).encoded())
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
