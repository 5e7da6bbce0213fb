// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What a command was seen to do, from which the smallest sandbox for it is worked out.
///
/// Paths are absolute, with their links resolved, as the host has them; `names` has those by which links were followed.
public struct Observations: Sendable, Hashable {
    /// What was done with a path.
    public struct Use: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt8

        /// Wraps bits.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// A file was opened for reading.
        public static let read = Use(rawValue: 1)
        /// A directory was opened: to be listed, or to go on from.
        public static let listed = Use(rawValue: 2)
        /// A file that was there was opened for writing, or its mode, owner or times were changed.
        public static let written = Use(rawValue: 4)
        /// Names were made, removed or renamed in a directory.
        public static let changed = Use(rawValue: 8)
        /// A file was executed, or interprets what was.
        public static let executed = Use(rawValue: 16)
        /// It was asked for, by its name, or made the working directory: it has to be in the session's view.
        public static let asked = Use(rawValue: 32)
    }

    /// The links that were followed on the way of a path: a session has to have them, too.
    public struct Name: Sendable, Hashable {
        /// One of them.
        public struct Link: Sendable, Hashable {
            /// Where the link itself is; nothing before its last component is a link.
            public var link: ByteText
            /// Its path with what was still to come: a name of the end.
            public var path: ByteText

            /// A link and the name that it begins.
            public init(link: ByteText, path: ByteText) {
                self.link = link
                self.path = path
            }
        }

        /// In the order in which they were followed.
        public var links: [Link]
        /// What they lead to, links resolved.
        public var end: ByteText

        /// Links and their end.
        public init(links: [Link], end: ByteText) {
            self.links = links
            self.end = end
        }
    }

    /// The network, as far as a sandbox tells parts of it apart.
    public struct Network: Sendable, Hashable {
        /// Ports that it connected to over TCP.
        public var ports: Set<UInt16> = []
        /// What needs more than TCP connections, in words; empty where nothing does.
        public var further: Set<String> = []

        /// No network.
        public init() {}
    }

    /// What it took of resources.
    public struct Resources: Sendable, Hashable {
        /// CPU time of all its processes together, in milliseconds.
        public var processorMilliseconds: UInt64 = 0
        /// The largest address space of one process, in bytes.
        public var addressSpace: UInt64 = 0
        /// The most tasks at once, threads among them.
        public var tasks: UInt64 = 1
        /// Room of the largest descriptor table.
        public var descriptors: UInt64 = 0
        /// The largest file that it wrote, in bytes.
        public var fileSize: UInt64 = 0
        /// From its start to its end, in milliseconds.
        public var milliseconds: UInt64 = 0

        /// Nothing yet.
        public init() {}
    }

    /// Names of the system calls that it made.
    public var systemCalls: Set<String> = []
    /// Calls that no sandbox allows; each was answered as a sandbox answers it.
    public var forbidden: Set<String> = []
    /// What it did with paths.
    public var paths: [ByteText: Use] = [:]
    /// What of that it did by names with links.
    public var names: [Name: Use] = [:]
    /// The network.
    public var network = Network()
    /// Resources.
    public var resources = Resources()
    /// Directories of its PATH in which it found programs, in the order of PATH; nil where it looked in none but the
    /// sandboxes' own.
    public var searchPath: [ByteText]?
    /// The home of who it ran as, links resolved; nil where that is not known.
    public var home: ByteText?
    /// The links on the way of the account's home: a session has them.
    public var homeLinks: Set<ByteText> = []

    /// Nothing yet.
    public init() {}

    /// Adds a use of a path.
    public mutating func add(_ use: Use, _ path: ByteText) {
        paths[path, default: []].formUnion(use)
    }
}
