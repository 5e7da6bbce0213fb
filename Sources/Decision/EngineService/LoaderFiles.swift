// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages
import PolicyLanguage

/// The policy's files, as the loader opens and checks them.
///
/// TRUST: the loader is a fork of the monitor and says which file it opened; what the file holds can be anything. Only
/// descriptors of regular files are read, and of each no more than a policy file may have.
struct LoaderFiles: PolicyFiles {
    /// Why nothing more can be loaded: a channel failed or ended.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private let loader: Channel
    private let monitor: Channel
    /// How many files the loader has given: each one's number is its handle.
    private var count = 0
    /// What went wrong with a channel; the load cannot go on.
    private(set) var failure: Failure?

    /// The most answers to one ask.
    private static let answerLimit = 8_192

    init(loader: Channel, monitor: Channel) {
        self.loader = loader
        self.monitor = monitor
    }

    /// The policy file itself.
    mutating func root() throws(Failure) -> SourceFile {
        let found = try ask(.root)
        if let refusal = found.refusals.first { throw Failure(description: "\(refusal.name): \(refusal.text)") }
        guard let file = found.files.first, found.files.count == 1 else {
            throw Failure(description: "the loader gave no policy file")
        }
        return file
    }

    mutating func files(matching pattern: String, from: Int) -> IncludedFiles {
        guard failure == nil else { return IncludedFiles() }
        do {
            return try ask(.include(from: from, pattern: ByteText(pattern)))
        } catch {
            failure = error
            return IncludedFiles(refusals: [(name: pattern, text: error.description)])
        }
    }

    private mutating func ask(_ ask: LoaderAsk) throws(Failure) -> IncludedFiles {
        do {
            try loader.send(ask.encoded())
        } catch {
            throw Failure(description: "the loader cannot be asked: \(error)")
        }
        var found = IncludedFiles()
        for _ in 0..<Self.answerLimit {
            let message = try receive()
            let answer: LoaderAnswer
            do {
                answer = try LoaderAnswer(frame: message.bytes)
            } catch {
                throw Failure(description: "the loader broke its protocol: \(error)")
            }
            switch answer {
            case .end:
                return found
            case .refusal(let name, let text):
                found.refusals.append((name: name, text: text))
            case .file(let name):
                guard let descriptor = message.descriptors.first, message.descriptors.count == 1 else {
                    throw Failure(description: "the loader gave \(message.descriptors.count) descriptors for a file")
                }
                let handle = count
                count += 1
                switch read(name, handle, descriptor) {
                case .success(let file): found.files.append(file)
                case .failure(let why): found.refusals.append((name: name, text: why.description))
                }
            }
        }
        throw Failure(description: "the loader has no end")
    }

    /// Waits for the loader, but not longer than the monitor lives.
    private func receive() throws(Failure) -> Channel.Message {
        do {
            while true {
                var entries = [Poll.Entry(monitor.descriptor, reading: false), Poll.Entry(loader.descriptor)]
                try Poll.wait(&entries, milliseconds: -1)
                if entries[0].isHangup { throw Failure(description: "the monitor is gone") }
                guard entries[1].isReadable || entries[1].isHangup else { continue }
                switch try loader.receive(limit: 2 * FrameFormat.textLimit + 64, descriptorLimit: 1) {
                case .message(let message): return message
                case .nothing: continue
                case .closed: throw Failure(description: "the loader is gone")
                }
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(description: "the loader cannot be heard: \(error)")
        }
    }

    private func read(_ name: String, _ handle: Int, _ descriptor: Descriptor) -> Result<SourceFile, Failure> {
        guard name.utf8.count <= RuleReference.fileLimit else {
            return .failure(Failure(description: "the name is over \(RuleReference.fileLimit) bytes"))
        }
        do {
            let status = try File.status(descriptor)
            guard status.kind == .regular else { return .failure(Failure(description: "not a regular file")) }
            guard let bytes = try descriptor.readAll(limit: SourceFile.sizeLimit) else {
                return .failure(Failure(description: "the file is over 64 MiB"))
            }
            // With the name, because a file that is gone leaves its number to the next.
            let identity = "\(status.device):\(status.inode):\(name)"
            return .success(SourceFile(name: name, identity: identity, handle: handle, bytes: bytes))
        } catch {
            return .failure(Failure(description: "\(error)"))
        }
    }
}
