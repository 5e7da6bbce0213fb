// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Core

extension Portcullis {
    /// Runs the verb that was typed, and ends.
    ///
    /// A complaint about an argument quotes it; no byte of it that a terminal could obey is printed.
    public static func start() -> Never {
        do {
            var command = try parseAsRoot()
            try command.run()
            exit()
        } catch {
            let text = message(for: error)
            let isHarmless = text.unicodeScalars.allSatisfy { $0 == "\n" || $0 == "\t" || (" "..."~").contains($0) }
            guard exitCode(for: error) == .validationFailure, !isHarmless else { exit(withError: error) }
            exit(withError: ValidationError(ByteText(text).printable))
        }
    }
}
