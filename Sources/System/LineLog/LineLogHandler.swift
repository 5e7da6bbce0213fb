// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import Linux
public import Logging

/// The helpers' log on standard error: one line an event, as portcullisd writes them, of printable bytes alone,
/// whatever they quote.
///
/// swift-log's own handler asks for the time zone's file at each line, which a confined helper cannot open.
public struct LineLogHandler: LogHandler {
    /// Kept, and not written: our lines say what there is to say.
    public var metadata: Logger.Metadata = [:]
    /// What is written, and everything above it.
    public var logLevel = Logger.Level.info
    private let out: StandardError

    /// A log whose lines start with a program's name.
    public init(label: String) {
        out = StandardError(label)
    }

    /// One of the metadata.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes a line.
    public func log(event: LogEvent) {
        out.say("\(event.level): \(event.message)")
    }
}
