// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// Every type of the table in docs/audit.md is one that a gateway writes, and that ausearch finds; and it writes no other.
@Suite("Types of records", .needsBuild, .needs("perl"), .needs("ausearch"))
struct RecordTypesTests {
    /// The types in the table's second column.
    private static let documented: Set<String> = {
        let page = Files.text(Host.package + "/docs/audit.md")
        let rest = page.components(separatedBy: "| when | type |").dropFirst().first
        let table = rest?.components(separatedBy: "\n\n").first ?? ""
        let cells = table.split(separator: "\n").compactMap { $0.split(separator: "|").dropFirst().first }
        let words = cells.flatMap { $0.split { !$0.isUppercase && $0 != "_" } }
        return Set(words.filter { $0.contains("_") }.map(String.init))
    }()

    @Test func eachTypeOfTheTableIsWrittenAndFound() throws {
        #expect(Self.documented.count == 9, "\(Self.documented)")
        let target = Gateway.target
        let killing = """
            sandbox killing extends strict {
                on-violation kill
            }
            permit perl: any from 127.0.0.0/8 by any as \(target) run "/usr/bin/perl *" sandbox killing
            permit true: any from 127.0.0.0/8 by any as \(target) run "/bin/true" sandbox strict
            """
        try Gateway.with(Gateway.Setup(killing)) { gate throws in
            // USER_AUTH, USER_LOGIN, USER_CMD and USER_END, and a refusal.
            #expect(try Conversation.rexec(gate, as: target, "/bin/true").answer().isAccepted)
            _ = try Conversation.rexec(gate, as: target, password: "wrong", "/bin/true").answer()
            // ANOM_ABEND: mount(2), by its number.
            #if arch(x86_64)
            let mount = 165
            #else
            let mount = 40
            #endif
            _ = try Conversation.rexec(gate, as: target, "/usr/bin/perl -e 'syscall(\(mount),0,0,0,0,0)'").answer()
            _ = try gate.record("ANOM_ABEND")
            // USYS_CONFIG, of a policy that is rejected as well; SERVICE_STOP and SERVICE_START of a helper.
            try gate.writePolicy(rules: "permit nothing that is a rule")
            _ = try Child.run(Host.own("portcullis"), ["reload", "--runtime-directory", gate.runtime])
            _ = try gate.record("USYS_CONFIG") { $0["res"] == "failed" }
            kill(try #require(gate.helper("front")).pid, SIGKILL)
            _ = try gate.record("SERVICE_STOP")
            gate.stop()
            // USER_ERR: a line that a crash has torn.
            let file = try #require(FileHandle(forWritingAtPath: gate.trailPath))
            try file.seekToEnd()
            try file.write(contentsOf: Data("type=USER_CMD msg=audit(".utf8))
            try file.close()
            try gate.writePolicy()
            try gate.start()
            gate.stop()
            let ausearch = try #require(Host.program("ausearch"))
            for type in Self.documented {
                let found = try Child.run(ausearch, ["-if", gate.trailPath, "-m", type, "--raw"])
                #expect(found.outText.contains("type=\(type) "), "\(type): \(found)")
            }
            #expect(Set(gate.trail.map(\.type)) == Self.documented)
        }
    }
}
