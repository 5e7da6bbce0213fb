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
        for path in FileNamePattern.expand(parts, below: start) {
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

/// File name patterns of includes: `*` and `?` within a component, nothing else.
enum FileNamePattern {
    /// The most names that one pattern may give.
    static let limit = 4_096

    /// The paths that a pattern's components name below a directory, in byte order; a component without wildcards
    /// names itself whether it exists or not, so that the caller can say that it does not.
    static func expand(_ parts: [String], below start: String) -> [String] {
        var paths = [start]
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            var next: [String] = []
            for path in paths {
                let prefix = path == "/" ? "/" : path + "/"
                guard part.contains("*") || part.contains("?") else {
                    next.append(prefix + part)
                    continue
                }
                for name in (try? Directory.names(path)) ?? [] where matches(Array(part.utf8), name.bytes) {
                    // A hidden file is only named by a pattern that says its dot.
                    guard name.bytes.first != UInt8(ascii: ".") || part.hasPrefix("."), let text = name.text else {
                        continue
                    }
                    guard isLast || (try? File.status(prefix + text))?.kind == .directory else { continue }
                    next.append(prefix + text)
                    if next.count >= limit { break }
                }
            }
            paths = next
        }
        return paths
    }

    /// Whether a name matches, in time proportional to the product of the lengths.
    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var pattern = pattern[...]
        var name = name[...]
        var retry: (pattern: ArraySlice<UInt8>, name: ArraySlice<UInt8>)?
        while !name.isEmpty || !pattern.isEmpty {
            if pattern.first == UInt8(ascii: "*") {
                pattern = pattern.dropFirst()
                retry = (pattern, name.dropFirst())
                if name.isEmpty { retry = nil }
                continue
            }
            if let wanted = pattern.first, let have = name.first, wanted == UInt8(ascii: "?") || wanted == have {
                pattern = pattern.dropFirst()
                name = name.dropFirst()
                continue
            }
            guard let again = retry else { return false }
            pattern = again.pattern
            name = again.name
            retry = again.name.isEmpty ? nil : (again.pattern, again.name.dropFirst())
        }
        return true
    }
}
