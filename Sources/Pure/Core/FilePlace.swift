// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A line of a policy file, written `FILE:LINE` in decisions and records.
public struct FilePlace: Sendable, Hashable, CustomStringConvertible {
    /// The file's name, as shown.
    public var file: String

    /// The line, from 1.
    public var line: Int

    /// A line of a file.
    public init(file: String, line: Int) {
        self.file = file
        self.line = line
    }

    /// `FILE:LINE`.
    public var description: String { "\(file):\(line)" }
}
