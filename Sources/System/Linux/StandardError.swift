// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
internal import Glibc

/// The log of the processes that use no logging library: lines on standard error.
public struct StandardError: Sendable {
    private let name: String

    /// A log whose lines start with a name.
    public init(_ name: String) {
        self.name = name
    }

    /// Writes one line; bytes that are not printable come escaped.
    public func say(_ text: String) {
        let line = "\(name): \(ByteText(text).printable)\n"
        var rest = Array(line.utf8)[...]
        while !rest.isEmpty {
            guard let count = try? StandardStreams.error.write(rest), count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// The three descriptors that every process is started with; they are never closed.
public enum StandardStreams {
    /// Standard input.
    public static let input = Descriptor(owning: 0)
    /// Standard output.
    public static let output = Descriptor(owning: 1)
    /// Standard error.
    public static let error = Descriptor(owning: 2)

    /// Opens /dev/null where one of the three is closed, so that no socket of ours gets its number; a program does this
    /// before anything else.
    ///
    /// What is read from a closed input is its end, and what is written to a closed stderr is gone. A closed stdout can
    /// only be read then: output that is lost is an error of its first write (EBADF), as it was without this call.
    public static func fill() throws(SystemError) {
        for fixed in Int32(0)...2 where fcntl(fixed, F_GETFD) < 0 {
            let null = try File.open("/dev/null", fixed == 2 ? [.writing] : [.reading]).duplicate()
            try null.place(at: fixed)
        }
    }
}
