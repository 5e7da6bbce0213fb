// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// The tables of docs/escapes.md: what comes of each technique in each sandbox, and which layer holds it.
///
/// The page is the data: what is tested is what a reader sees.
struct EscapeTable {
    /// Whose gateway, and whose command.
    enum Mode: String, CaseIterable, CustomStringConvertible {
        /// Root's gateway, an ordinary target.
        case root
        /// A plain user's gateway.
        case user
        /// Root's gateway, and root as the target.
        case uid0

        var description: String { rawValue }
    }

    /// The columns.
    static let sandboxes = ["strict", "standard", "home", "unconfined"]

    /// What can be taken away.
    static let layers = [
        "namespaces", "view", "capabilities", "no_new_privs", "Landlock", "filter", "limits", "descriptors",
    ]

    /// What a cell says.
    struct Cell {
        /// The outcomes that are as good as each other.
        var outcomes: [String]

        /// Reads a cell: an errno alone is `blocked` with it; ` or ` separates outcomes.
        init(_ text: String) {
            outcomes = text.components(separatedBy: " or ").map { word in
                let word = word.trimmingCharacters(in: .whitespaces)
                let isErrno = word.count > 2 && word.first == "E" && word.allSatisfy { $0.isUppercase || $0.isNumber }
                return isErrno ? "blocked " + word : word
            }
        }

        /// Whether the technique gets somewhere, and a layer that is missing so would not show.
        var isOpen: Bool { !isClosed }
        private var isClosed: Bool {
            outcomes.allSatisfy { !["worked", "contained", "host"].contains($0) }
        }
        /// Whether it gets out.
        var isEscape: Bool { outcomes.contains("worked") }

        func holds(_ outcome: String, in sandbox: String) -> Bool {
            if outcomes.contains(outcome) || outcomes == ["host"] { return true }
            // A kernel that is built without something offers less than the table says.
            return outcome.hasPrefix("absent") && (sandbox == "unconfined" || outcomes.contains("absent"))
        }
    }

    /// A row of the first tables, or of the one for uid 0.
    struct Row {
        var name: String
        var cells: [[Cell]]
        var layers: [Set<String>]
        var reason: String
        var line: Int

        /// The cell of a sandbox; as root before the ` / `, as a plain user behind it.
        func cell(_ sandbox: String, _ mode: Mode) -> Cell? {
            guard let column = EscapeTable.sandboxes.firstIndex(of: sandbox) else { return nil }
            let both = cells[column]
            return mode == .user ? both.last : both.first
        }

        func layers(_ mode: Mode) -> Set<String> { (mode == .user ? layers.last : layers.first) ?? [] }
    }

    private(set) var rows: [Row] = []
    private(set) var uid0: [String: Row] = [:]
    /// What works with an older kernel's Landlock besides, by whose gateway it is.
    private var older: [(name: String, modes: Set<String>)] = []
    private(set) var faults: [String] = []

    static let path = Host.package + "/docs/escapes.md"

    init(_ text: String = Files.text(EscapeTable.path)) {
        var isUID0 = false
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.hasPrefix("## ") { isUID0 = line.contains("uid 0") }
            guard line.hasPrefix("| `") else { continue }
            let parts = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
            if parts.count == 3 {
                let name = parts[0].replacingOccurrences(of: "`", with: "")
                older.append((name, Set(parts[1].components(separatedBy: ", "))))
            }
            guard parts.count == 7 else { continue }
            func halves(_ text: String) -> [String] { text.components(separatedBy: " / ") }
            let row = Row(
                name: parts[0].replacingOccurrences(of: "`", with: ""),
                cells: parts[1...4].map { halves($0).map(Cell.init) },
                layers: halves(parts[5]).map { half in
                    Set(half.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
                },
                reason: parts[6], line: number + 1)
            if isUID0 { uid0[row.name] = row } else { rows.append(row) }
        }
    }

    /// The row that holds for a mode.
    func row(_ name: String, _ mode: Mode) -> Row? {
        if mode == .uid0, let row = uid0[name] { return row }
        return rows.first { $0.name == name }
    }

    /// What works in a confined sandbox where Landlock is older than the tables.
    func older(_ mode: Mode) -> Set<String> {
        Set(older.filter { $0.modes.contains(mode.rawValue) }.map(\.name))
    }

    /// The techniques that a layer alone holds.
    func alone(_ layer: String, _ mode: Mode, in sandbox: String) -> Set<String> {
        let names = rows.map(\.name) + uid0.keys
        return Set(
            names.filter { name in
                guard let row = row(name, mode), row.layers(mode) == [layer] else { return false }
                return row.cell(sandbox, mode).map { !$0.isOpen } ?? false
            })
    }

    /// The layers that are missing where these techniques came out otherwise than the table says: those of which
    /// everything that they alone hold did.
    func missing(_ failed: Set<String>, _ mode: Mode, in sandbox: String) -> [String] {
        Self.layers.filter { layer in
            let alone = alone(layer, mode, in: sandbox).subtracting(EscapeGround.leftOut)
            return !alone.isEmpty && alone.isSubset(of: failed)
        }
    }
}
