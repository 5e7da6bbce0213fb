// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import Monitor

switch Options.parse(Array(CommandLine.arguments.dropFirst())) {
case .show(let text):
    try? StandardStreams.output.writeAll(Array((text + "\n").utf8))
    Process.exitNow(0)
case .wrong(let text):
    StandardError("portcullisd").say(text)
    Process.exitNow(64)
case .serve(let options):
    do {
        // A global: what it holds stays open in a forked session until that has put its descriptors in place.
        let gateway = try Gateway(options)
        Process.exitNow(gateway.run())
    } catch {
        StandardError("portcullisd").say("\(error)")
        Process.exitNow(1)
    }
}
