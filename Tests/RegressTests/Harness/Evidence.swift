// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
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

    /// A record of all segments: of a long line no more than its beginning, so that many are read in little time.
    struct Record {
        let type: String
        private let fields: [Substring]

        fileprivate init?(_ line: ArraySlice<UInt8>) {
            guard line.starts(with: "type=".utf8) else { return nil }
            fields = String(decoding: line.prefix(700), as: UTF8.self).split { $0 == " " || $0 == "'" }
            type = String(fields[0].dropFirst(5))
        }

        subscript(name: String) -> String? {
            fields.first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
        }

        /// The second word of a command, which stands in hexadecimal.
        fileprivate var name: String? {
            guard let value = self["cmd"] else { return nil }
            let bytes = Hexadecimal.bytes(value.utf8.prefix(value.utf8.count & ~1))
            let text = bytes.map { String(decoding: $0, as: UTF8.self) }
            return (text ?? value).split(separator: " ").dropFirst().first.map(String.init)
        }
    }

    /// The records of all segments, in their order.
    var records: [Record] {
        let folder = gate.state + "/audit"
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { $0.hasPrefix("trail.log.0") }.sorted()
        return (names + ["trail.log"]).flatMap { name in
            Files.read(folder + "/" + name).split(separator: UInt8(ascii: "\n")).compactMap { Record($0) }
        }
    }

    /// How many starts have an end that says that nobody saw it.
    var losses: Int { records.count { $0.type == "USER_END" && $0["reason"] == "lost" } }

    /// What is wrong with starts and ends; empty where each start has one end, no end is without a start, and no command ran
    /// without a start.
    ///
    /// - Parameter running: how many commands still run.
    func faults(running: Int = 0) -> [String] {
        var faults: [String] = []
        let records = records
        let starts = records.filter { $0.type == "USER_CMD" && ($0["part"] ?? "1/").hasPrefix("1/") }
        var count: [String: Int] = [:]
        for end in records where end.type == "USER_END" { count[end["session"] ?? "?", default: 0] += 1 }
        var open: [String] = []
        for start in starts {
            let session = start["session"] ?? "?"
            let ends = count.removeValue(forKey: session) ?? 0
            if ends == 0 { open.append(session) }
            if ends > 1 { faults.append("\(session) has \(ends) ends") }
        }
        if open.count > running { faults += open.map { "\($0) has no end" } }
        faults += count.keys.map { "\($0) has an end and no start" }
        let recorded = Set(starts.compactMap(\.name))
        let ran = ran
        for name in ran where !recorded.contains(name) { faults.append("\(name) ran without a start record") }
        let twice = Dictionary(grouping: ran) { $0 }.filter { $0.value.count > 1 }.keys
        return faults + twice.map { "\($0) ran twice" }
    }

    /// Whether chain and checkpoints are whole, as `portcullis audit verify` and the script of docs/audit.md see it: empty, or
    /// what they say.
    ///
    /// - Parameter scripted: whether the script checks it too, some hundred records a second.
    func brokenChain(scripted: Bool = true) throws -> [String] {
        let verified = try Child.run(
            Host.own("portcullis"), ["audit", "verify", "--state-directory", gate.state], within: 120_000)
        var faults = verified.outcome == .status(0) ? [] : ["\(verified)"]
        guard scripted, Host.has("openssl", "sha256sum") else { return faults }
        let page = Files.text(Host.package + "/docs/audit.md")
        let body = page.components(separatedBy: "```sh\n").first { $0.hasPrefix("#!/bin/sh\n") }
        let script = gate.directory + "/verify-trail"
        try Files.write(body?.components(separatedBy: "```").first ?? "exit 3", to: script, mode: 0o700)
        let checked = try Child.run("/bin/sh", [script, gate.state + "/audit"], within: 3_600_000)
        if checked.outcome != .status(0) { faults.append("\(checked)") }
        return faults
    }
}
