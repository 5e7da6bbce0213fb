// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// What commands say of themselves outside the gateway, to be held against the trail: each writes its own name to a file of
/// its account's home before it does anything else.
///
/// That proves a command without a record. A command that was killed before it had written is no evidence, and none is needed:
/// a start that is recorded and did not come to anything is no fault.
struct Evidence {
    let gate: Gateway
    private var path: String { gate.home(Gateway.target) + "/ran" }

    /// For a gateway whose rule gives commands to a shell that can write its home.
    static var rules: String { Rules.shell("home") }

    /// A command that leaves its name, and then does something.
    func command(_ name: String, then rest: String = "exit 0") -> String { "echo \(name) >>ran; \(rest)" }

    /// The names of the commands that ran, in the order in which they did.
    var ran: [String] { Files.text(path).split(separator: "\n").map(String.init) }

    /// All lines of all segments, in their order.
    var trail: [TrailLine] {
        let folder = gate.state + "/audit"
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { $0.hasPrefix("trail.log.0") }.sorted()
        return (names + ["trail.log"]).flatMap { name in
            Files.text(folder + "/" + name).split(separator: "\n").map { TrailLine(String($0)) }
        }
    }

    /// What is wrong with starts and ends; empty where each start has one end, no end is without a start, and no command ran
    /// without a start.
    ///
    /// - Parameter running: how many commands still run.
    func faults(running: Int = 0) -> [String] {
        var faults: [String] = []
        let lines = trail
        let starts = lines.filter { $0.type == "USER_CMD" && ($0["part"] ?? "1/").hasPrefix("1/") }
        let ends = lines.filter { $0.type == "USER_END" }
        var count: [String: Int] = [:]
        for end in ends { count[end["session"] ?? "?", default: 0] += 1 }
        var open = 0
        for start in starts {
            let session = start["session"] ?? "?"
            switch count.removeValue(forKey: session) ?? 0 {
            case 0: open += 1
            case 1: break
            case let many: faults.append("\(session) has \(many) ends")
            }
            if open > running { faults.append("\(session) has no end: \(start.value("cmd") ?? "?")") }
        }
        faults += count.keys.map { "\($0) has an end and no start" }
        let recorded = Set(starts.compactMap { $0.value("cmd") }.compactMap { $0.split(separator: " ").dropFirst().first })
        for name in ran where !recorded.contains(Substring(name)) { faults.append("\(name) ran without a start record") }
        let twice = Dictionary(grouping: ran) { $0 }.filter { $0.value.count > 1 }.keys
        faults += twice.map { "\($0) ran twice" }
        return faults
    }

    /// Whether chain and checkpoints are whole, as `portcullis audit verify` and the script of docs/audit.md see it: empty, or
    /// what they say.
    func brokenChain() throws -> [String] {
        let verified = try Child.run(
            Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state], within: 120_000)
        var faults = verified.outcome == .status(0) ? [] : ["\(verified)"]
        guard Host.has("openssl", "sha256sum") else { return faults }
        let page = Files.text(Host.package + "/docs/audit.md")
        let body = page.components(separatedBy: "```sh\n").first { $0.hasPrefix("#!/bin/sh\n") }
        let script = gate.directory + "/verify-trail"
        try Files.write(body?.components(separatedBy: "```").first ?? "exit 3", to: script, mode: 0o700)
        // Some hundred records a second.
        let checked = try Child.run("/bin/sh", [script, gate.state + "/audit"], within: 3_600_000)
        if checked.outcome != .status(0) { faults.append("\(checked)") }
        return faults
    }
}
