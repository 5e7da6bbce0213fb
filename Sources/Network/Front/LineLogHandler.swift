// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Logging

/// A log on standard error whose lines hold printable bytes alone, whatever they quote.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info
    private let out: StandardError

    init(label: String) {
        out = StandardError(label)
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        out.say("\(event.level): \(event.message)")
    }
}
