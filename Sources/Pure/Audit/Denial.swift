// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

extension Record {
    /// Something that a command's sandbox refused.
    ///
    /// A session knows only that its command was ended by SIGSYS; which call it was, and what was refused without
    /// ending anything, the auditor hears from the kernel's audit subsystem, where the kernel tells.
    public struct Denial: Sendable, Hashable {
        /// SIGSYS, by which a filter ends a process (signal(7); the same number on all architectures of ours).
        public static let systemCallSignal: UInt8 = 31
        /// The word in `op=`.
        public static let operation = "denied"
        /// The most denials that one record stands for.
        public static let countLimit = 1_000_000_000
        /// The most bytes of a path or a program's name: the kernel's own limit (PATH_MAX).
        public static let pathLimit = 4_096
        /// The most bytes of a system call's name, and of Landlock's words for what it refused.
        public static let wordLimit = 200

        /// What was refused.
        public enum Subject: Sendable, Hashable {
            /// A system call: its name, or its number where no name is known; nil where the kernel does not tell.
            case call(String?)
            /// An access that Landlock governs, in its words (`fs.read_file`, `net.connect_tcp`, `scope.signal`; several
            /// joined by `+`), and the path, where it is one of a file.
            case access(String, path: ByteText?)
            /// Denials beyond those that are recorded one by one.
            case further
        }

        /// Where the request came from.
        public var origin: Origin
        /// The account that the command runs as.
        public var account: ByteText
        /// What was refused.
        public var subject: Subject
        /// The signal that it ended the process with; nil where the call failed.
        public var signal: UInt8?
        /// The program that tried, where the kernel tells.
        public var program: ByteText?
        /// How many this record stands for, from 1.
        public var count: Int

        /// A denial.
        public init(
            origin: Origin, account: ByteText, subject: Subject, signal: UInt8? = nil, program: ByteText? = nil,
            count: Int = 1
        ) {
            self.origin = origin
            self.account = account
            self.subject = subject
            self.signal = signal
            self.program = program
            self.count = count
        }
    }
}
