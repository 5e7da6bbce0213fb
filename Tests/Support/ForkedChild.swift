// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
public import Linux

/// A forked process that runs a test's own Swift code; it is started within an exit test, and nowhere else.
///
/// A fork takes along the one thread that asks for it, and every lock as it is. Of the test runner's other threads one may
/// hold a lock of the Swift runtime's (of its caches of metadata and conformances) or of the allocator's: nobody lets go of
/// it in the child, which waits for ever as soon as it needs it. In an exit test's process (`#expect(processExitsWith:)`)
/// nothing runs beside the test's body. What only starts a program has no need of it: `runProgram`.
public final class ForkedChild {
    /// Why there is none.
    public struct Refusal: Error, CustomStringConvertible {
        /// What to do instead.
        public let description = "a fork outside of an exit test hangs now and then (docs/testing.md): use one"
    }

    /// How it ended, and what it said.
    public struct End: Sendable {
        /// How it ended.
        public var status: ExitStatus
        /// What its work returned; empty where it ended within.
        public var text: String
    }

    /// An end with another status than 0.
    public struct Failure: Error, CustomStringConvertible {
        /// How it ended.
        public let description: String
    }

    /// The status after an error, which stands on standard error.
    public static let thrown: Int32 = 63

    /// Its process id, until its end was taken.
    public let pid: Int32
    private let handle: ProcessHandle
    private let said: Descriptor
    private var hasEnded = false

    /// Forks. The child ends with its work, with status 0 and what that returned as its text.
    ///
    /// - Throws: `Refusal` where this is no exit test's process nor a child of one.
    public init(_ work: () throws -> String) throws {
        guard try Self.isInExitTest() else { throw Refusal() }
        let (read, write) = try Descriptor.pipe()
        switch try Process.fork() {
        case .child:
            Self.run(work, to: write)
        case .parent(let pid):
            self.pid = pid
            said = read
            handle = try ProcessHandle(pid: pid)
        }
    }

    private static func run(_ work: () throws -> String, to said: Descriptor) -> Never {
        do {
            try said.writeAll(Array(try work().utf8))
        } catch {
            StandardError("test").say("a forked child threw \(error)")
            Process.exitNow(thrown)
        }
        Process.exitNow(0)
    }

    deinit { kill() }

    /// Kills it, and waits for its end; nothing where that was taken already.
    public func kill() {
        guard !hasEnded else { return }
        hasEnded = true
        handle.signal(Signals.Number.kill)
        Children.reap(pid)
    }

    /// The runner starts an exit test's process from its own executable, and nobody else starts that from there.
    private static func isInExitTest() throws -> Bool {
        let own = try File.linkTarget("/proc/self/exe")
        return (try? File.linkTarget("/proc/\(Process.parentID)/exe")) == own
    }

    /// Waits for its end; its own children may live on with what they hold of it.
    public func end() throws -> End {
        var text: [UInt8] = []
        var isOpen = true
        while true {
            // ORDER: what it said before what became of it, or the last of its text would be missed.
            var entries = [Poll.Entry(handle.descriptor)] + (isOpen ? [Poll.Entry(said)] : [])
            try Poll.wait(&entries, milliseconds: -1)
            if isOpen, entries[1].isReadable || entries[1].isHangup {
                let bytes = try said.read(65_536)
                text += bytes
                isOpen = !bytes.isEmpty
            } else if entries[0].isReadable, let status = handle.reap() {
                hasEnded = true
                return End(status: status, text: String(decoding: text, as: UTF8.self))
            }
        }
    }

    /// Waits for its end, which has to be a good one, and says what it said.
    public func text() throws -> String {
        let end = try end()
        guard end.status == .exited(0) else { throw Failure(description: "a forked child ended: \(end.status)") }
        return end.text
    }
}

/// Runs work in a forked child to its end, and returns what it returned; within an exit test alone, as `ForkedChild` says.
public func inChild(_ work: () throws -> String) throws -> String {
    try ForkedChild(work).text()
}
