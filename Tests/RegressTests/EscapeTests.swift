// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// Nothing gets out of a sandbox but what docs/escapes.md says, with its reason.
///
/// Each technique runs in each built-in sandbox through the real gateway. What is expected is read from that page; the
/// programs are in Tests/RegressTests/Escapes.
@Suite("Escapes", .needsBuild, .needsCompiler)
struct EscapeTests {
    private let table = EscapeTable()

    /// Whose gateways can be had here.
    private static let modes: [EscapeTable.Mode] = Host.isRoot ? EscapeTable.Mode.allCases : [.user]

    private static let runs = modes.flatMap { mode in EscapeTable.sandboxes.map { (mode, $0) } }

    /// What a run found that the table does not say, as lines of the table, and the techniques that it is about.
    private func differences(
        _ findings: EscapeGround.Findings, _ mode: EscapeTable.Mode, _ sandbox: String
    ) -> (lines: [String], names: Set<String>) {
        var lines: [String] = []
        var names: Set<String> = []
        for (name, outcome) in findings.outcomes.sorted(by: { $0.key < $1.key }) where name != "done" {
            guard let cell = table.row(name, mode)?.cell(sandbox, mode) else {
                lines.append("\(name): \(outcome), and the page has no row for it")
                continue
            }
            if cell.holds(outcome, in: sandbox) { continue }
            lines.append("\(name): \(outcome), where the page says \(cell.outcomes.joined(separator: " or "))")
            names.insert(name)
        }
        return (lines, names)
    }

    @Test(.needsScopes, arguments: runs)
    func nothingGetsOutButWhatThePageSays(mode: EscapeTable.Mode, sandbox: String) throws {
        let findings = try EscapeGround(sandbox: sandbox, mode: mode).run()
        #expect(findings.outcomes["done"] != nil, "the techniques did not come to their end: \(findings.text)")
        let different = differences(findings, mode, sandbox)
        let missing = table.missing(different.names, mode, in: sandbox)
        let diagnosis = missing.isEmpty ? "" : "missing: the layer \(missing.joined(separator: ", "))\n"
        #expect(
            different.lines.isEmpty,
            "\(diagnosis)\(sandbox), \(mode):\n\(different.lines.joined(separator: "\n"))")
        let untried = Set(table.rows.map(\.name)).subtracting(findings.outcomes.keys).subtracting(EscapeGround.leftOut)
        #expect(untried == [], "the page has rows that no technique has")
        // A survivor that nothing ended is in `outcomes` too; this is about everything else.
        #expect(findings.left == [], "processes were left: \(findings.left)")
    }

    /// With less of Landlock other layers hold, and errors differ; what works is what the page says of such a kernel.
    @Test(
        .enabled(if: Host.landlock < 6, "the kernel's Landlock has ABI \(Host.landlock)"),
        arguments: runs.filter { $0.1 != "unconfined" })
    func onAnOlderKernelNothingMoreWorks(mode: EscapeTable.Mode, sandbox: String) throws {
        let findings = try EscapeGround(sandbox: sandbox, mode: mode).run()
        #expect(findings.outcomes["done"] != nil, "the techniques did not come to their end: \(findings.text)")
        let worked = Set(findings.outcomes.filter { $0.value == "worked" }.keys)
        let known = worked.filter { table.row($0, mode)?.cell(sandbox, mode)?.isEscape ?? false }
        #expect(worked.subtracting(known).subtracting(table.older(mode)) == [], "\(findings.text)")
        #expect(findings.left == [], "processes were left: \(findings.left)")
    }

    /// A page that says nothing about a hole would pass everything else.
    @Test func whatWorksStandsThereWithItsReason() {
        #expect(table.rows.count >= 180)
        #expect(Set(table.rows.map(\.name)).count == table.rows.count, "a technique has two rows")
        let known = Set(EscapeTable.layers + ["cgroup", "the kernel", "the subreaper", "–"])
        for row in table.rows + Array(table.uid0.values) {
            let unknown = row.layers.reduce(Set<String>()) { $0.union($1) }.subtracting(known)
            #expect(unknown == [], "docs/escapes.md:\(row.line): no layer has that name")
        }
        for row in table.rows + Array(table.uid0.values) {
            for sandbox in EscapeTable.sandboxes where sandbox != "unconfined" {
                for mode in EscapeTable.Mode.allCases {
                    guard let cell = row.cell(sandbox, mode), cell.isEscape else { continue }
                    #expect(row.reason.contains("Works "), "docs/escapes.md:\(row.line): \(row.name) has no reason")
                }
            }
        }
    }

    /// Where each layer can be taken away so that what it alone holds shows; as a plain user there are no namespaces, and
    /// without no_new_privs its kernel takes neither ruleset nor filter.
    private static let layers: [(String, EscapeTable.Mode, String)] =
        (Host.isRoot
            ? EscapeTable.layers.map { layer in
                switch layer {
                case "capabilities": (layer, .uid0, "standard")
                // Without them /tmp is the host's: what is written goes into a home, which the test takes away.
                case "namespaces": (layer, .root, "home")
                default: (layer, .root, "standard")
                }
            } : [])
        + ["Landlock", "filter", "limits", "descriptors"].map { ($0, .user, "strict") }

    @Test(.needsScopes, arguments: layers)
    func aMissingLayerIsFoundAndNamed(layer: String, mode: EscapeTable.Mode, sandbox: String) throws {
        let alone = table.alone(layer, mode, in: sandbox).subtracting(EscapeGround.leftOut)
        try #require(!alone.isEmpty, "the page names nothing that \(layer) alone holds")
        let findings = try EscapeGround(sandbox: sandbox, mode: mode, layer: layer).run()
        try #require(findings.outcomes["done"] != nil, "the techniques did not come to their end: \(findings.text)")
        let failed = differences(findings, mode, sandbox).names
        #expect(alone.subtracting(failed) == [], "held without \(layer) too")
        // The view is made of mounts of the session's own.
        let gone = layer == "namespaces" ? [layer, "view"] : [layer]
        #expect(table.missing(failed, mode, in: sandbox) == gone)
    }

    /// What got out of its session's namespaces is still in its control group; without that too, it is left.
    @Test(
        .needsRoot, .needsCgroups, arguments: [("namespaces", "ended"), ("namespaces and cgroup", "worked")])
    func whatNoNamespaceHoldsEndsWithItsCgroup(without: String, outcome: String) throws {
        let findings = try EscapeGround(sandbox: "home", mode: .root, layer: without).run()
        try #require(findings.outcomes["done"] != nil, "the techniques did not come to their end: \(findings.text)")
        let survivors = findings.outcomes.filter { $0.key.hasPrefix("survivor-") }
        #expect(survivors.count == 5 && Set(survivors.values) == [outcome], "\(survivors)")
    }

    /// So that the summary of a run says what was left out.
    @Test(.enabled(if: EscapeGround.leftOut.isEmpty, "some techniques of the escape suite need root"))
    func noTechniqueIsLeftOut() {
        #expect(EscapeGround.leftOut == [])
    }

    /// The control of a missing layer: the library itself changes nothing.
    @Test(.needsScopes) func aLayerThatIsNoneTakesNothingAway() throws {
        let mode = Host.isRoot ? EscapeTable.Mode.root : .user
        let findings = try EscapeGround(sandbox: "strict", mode: mode, layer: "none").run()
        #expect(findings.outcomes["done"] != nil)
        #expect(differences(findings, mode, "strict").lines == [])
    }

    /// The client asked for a limit's name, and a limit ends a command by a signal that says no more than its number.
    @Test func aFileThatIsTooLongEndsTheCommandByName() throws {
        let mode = Host.isRoot ? EscapeTable.Mode.root : .user
        let findings = try EscapeGround(sandbox: "strict", mode: mode, alone: "long-file").run()
        #expect(findings.end?["signal"] == "25", "\(findings.end?.text ?? "no record")")
        #expect(findings.end?["limit"] == "file-size", "\(findings.end?.text ?? "no record")")
    }
}

extension Trait where Self == ConditionTrait {
    /// The tables are of a kernel that scopes signals and abstract sockets (Linux 6.12).
    static var needsScopes: Self {
        .enabled(if: Host.landlock >= 6, "the kernel's Landlock has ABI \(Host.landlock), and docs/escapes.md is of 6")
    }
}
