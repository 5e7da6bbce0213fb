// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// The walls between the trust zones, as far as the manifest and the sources show them. `make check` runs it:
//
//     swift package dump-package | swift scripts/walls.swift          holds every wall
//     swift package dump-package | swift scripts/walls.swift --self-test    breaks each in turn, and must be told so
//
// What only the linked programs can show is scripts/check-linkage.

import Foundation

// MARK: - The table

/// What a zone's targets may import besides modules of their own zone. This is the one place that says so.
struct Zone {
    var name: String
    var modules: Set<String>
}

let pureModules: Set<String> = ["Audit", "Core", "Messages", "Policy", "PolicyLanguage", "Trust", "Wire"]
let shims: Set<String> = ["CAudit", "CCrypt", "CLinux", "CPAM", "CSeccomp"]

let zones = [
    Zone(name: "Pure", modules: []),
    Zone(name: "System", modules: ["Core", "Crypto", "Glibc", "Logging", "Trust"]),
    Zone(
        name: "Network",
        modules: [
            "Audit", "Core", "LineLog", "Linux", "Logging", "Messages", "NIOCore", "NIOPosix", "Seccomp", "Wire",
        ]),
    Zone(
        name: "Decision",
        modules: ["Core", "Crypto", "LineLog", "Linux", "Logging", "Messages", "Policy", "PolicyLanguage", "Seccomp"]),
    Zone(
        name: "Privileged",
        modules: [
            "Audit", "Core", "HostTrustFiles", "KernelAudit", "Linux", "Messages", "PAM", "PasswordHash", "Trust",
        ]),
    Zone(
        name: "Record",
        modules: ["Audit", "Core", "Crypto", "LineLog", "Linux", "Logging", "Messages", "Seccomp", "TrailCrypto"]),
    Zone(
        name: "Admin",
        modules: pureModules.union(["ArgumentParser", "Crypto", "Linux", "PasswordHash", "Seccomp", "TrailCrypto"])),
    Zone(name: "Client", modules: ["ArgumentParser", "Core", "HostTrustFiles", "Linux", "Trust", "Wire"]),
]

/// What a program's whole closure must be without, and why.
let absences: [(program: String, without: Set<String>, because: String)] = [
    ("portcullis-front", ["Policy", "PolicyLanguage", "Trust"], "front knows no rules"),
    ("portcullisd", ["Wire"], "monitor and session parse nothing that a stranger wrote"),
    ("portcullisd", ["Policy", "PolicyLanguage"], "monitor and session hold no rules"),
    (
        "portcullisd", ["Foundation", "NIOCore", "NIOPosix", "Logging", "Crypto", "Dispatch"],
        "monitor and session are single-threaded: forking is sound only there"
    ),
]

/// Where tests may fork: what says so there, and the exit tests of the sandboxes.
let forkingTests = ["Tests/Support/", "Tests/LinuxTests/Sandbox"]

/// Names of files and folders that could hold anything, and so say nothing.
let emptyNames: Set<String> = ["Utils", "Utilities", "Helpers", "Common", "Manager", "Misc"]

// MARK: - The manifest

struct Target {
    var name: String
    var type: String
    var path: String
    var dependencies: [String]
    var settings: Set<String>

    /// The folder below Sources that the target lies in, or nil for tests.
    var zone: String? {
        let parts = path.split(separator: "/")
        return parts.count == 3 && parts[0] == "Sources" ? String(parts[1]) : nil
    }
    var isTest: Bool { type == "test" }
    /// A library for tests, which lies beside them and in no zone, so that no target of a zone may depend on it.
    var isTestSupport: Bool { path.hasPrefix("Tests/") }
    var isShim: Bool { shims.contains(name) }
}

/// The settings that every Swift target has, in the words of `swift package dump-package`.
let requiredSettings = [
    "swiftLanguageMode 6", "enableUpcomingFeature ExistentialAny", "enableUpcomingFeature InternalImportsByDefault",
    "enableUpcomingFeature MemberImportVisibility", "strictMemorySafety", "treatAllWarnings error",
]

func targets(ofManifest json: Any) -> [Target] {
    let rows = (json as? [String: Any])?["targets"] as? [[String: Any]] ?? []
    return rows.map { row in
        let dependencies = (row["dependencies"] as? [[String: Any]] ?? []).compactMap { dependency -> String? in
            guard let parts = dependency.values.first as? [Any] else { return nil }
            return parts.first as? String
        }
        let settings = (row["settings"] as? [[String: Any]] ?? []).compactMap { setting -> String? in
            guard let kind = setting["kind"] as? [String: Any], let (word, value) = kind.first else { return nil }
            let values = (value as? [String: Any] ?? [:]).values
            let detail = values.compactMap { value in
                value as? String ?? (value as? [String: Any])?.keys.first
            }
            return ([word] + detail.sorted()).joined(separator: " ")
        }
        return Target(
            name: row["name"] as? String ?? "?", type: row["type"] as? String ?? "?",
            path: row["path"] as? String ?? "", dependencies: dependencies, settings: Set(settings))
    }
}

/// Every module that a target is linked with, itself included.
func closure(of name: String, in targets: [Target]) -> Set<String> {
    var found: Set<String> = []
    var open = [name]
    while let next = open.popLast() {
        guard found.insert(next).inserted else { continue }
        open += targets.first { $0.name == next }?.dependencies ?? []
    }
    return found
}

func faults(ofTargets targets: [Target]) -> [String] {
    var faults: [String] = []
    for target in targets {
        if !target.isShim {
            for setting in requiredSettings where !target.settings.contains(setting) {
                faults.append("Package.swift: target \(target.name) lacks the setting `\(setting)`")
            }
        }
        for setting in target.settings where setting.hasPrefix("unsafeFlags") {
            faults.append("Package.swift: target \(target.name) has unsafeFlags; the Makefile owns flags")
        }
        guard !target.isTest, !target.isTestSupport else { continue }
        guard let zone = zones.first(where: { $0.name == target.zone }) else {
            faults.append("Package.swift: target \(target.name) lies in no zone: \(target.path)")
            continue
        }
        for dependency in target.dependencies where !permits(zone, dependency, targets) {
            faults.append("Package.swift: \(target.name) in zone \(zone.name) may not depend on \(dependency)")
        }
    }
    for absence in absences {
        let linked = closure(of: absence.program, in: targets).intersection(absence.without)
        for module in linked.sorted() {
            faults.append("Package.swift: \(absence.program) is linked with \(module), but \(absence.because)")
        }
    }
    return faults
}

/// Whether targets of a zone may import a module: one of their own zone, or one that the table names.
func permits(_ zone: Zone, _ module: String, _ targets: [Target]) -> Bool {
    zone.modules.contains(module) || targets.contains { $0.name == module && $0.zone == zone.name }
}

// MARK: - The sources

/// One line of a Swift file, split into what the compiler reads and what people read.
struct Line {
    var number: Int
    var code: String
    var comment: String
    /// How deep in ( and [ the line starts; a line at depth 0 may start a statement.
    var depth: Int
    /// How deep in brackets of every kind it starts.
    var nesting: Int
}

/// Takes comments and the contents of string literals out of Swift source; enough of a lexer for the walls.
func lines(of source: String) -> [Line] {
    enum State: Equatable { case code, block(Int), string(hashes: Int, multiline: Bool) }
    var state = State.code
    var depth = 0
    var nesting = 0
    var out: [Line] = []
    let newline = UInt8(ascii: "\n")
    for (index, text) in source.utf8.split(separator: newline, omittingEmptySubsequences: false).enumerated() {
        let bytes = Array(text)
        var line = Line(number: index + 1, code: "", comment: "", depth: depth, nesting: nesting)
        var at = 0
        func starts(_ word: String) -> Bool { bytes[at...].starts(with: word.utf8) }
        while at < bytes.count {
            switch state {
            case .block(let level):
                if starts("*/") {
                    state = level == 1 ? .code : .block(level - 1)
                    at += 2
                } else if starts("/*") {
                    state = .block(level + 1)
                    at += 2
                } else {
                    line.comment.unicodeScalars.append(Unicode.Scalar(bytes[at]))
                    at += 1
                }
            case .string(let hashes, let multiline):
                let end = (multiline ? "\"\"\"" : "\"") + String(repeating: "#", count: hashes)
                let escape = "\\" + String(repeating: "#", count: hashes)
                if starts(end) {
                    line.code += "\""
                    state = .code
                    at += end.utf8.count
                } else if starts(escape) {
                    at += escape.utf8.count + 1
                } else {
                    at += 1
                }
            case .code:
                let hashes = bytes[at...].prefix { $0 == UInt8(ascii: "#") }.count
                let quote = at + hashes < bytes.count && bytes[at + hashes] == UInt8(ascii: "\"")
                if starts("//") {
                    line.comment += String(decoding: bytes[at...], as: UTF8.self)
                    at = bytes.count
                } else if starts("/*") {
                    state = .block(1)
                    at += 2
                } else if quote {
                    at += hashes
                    let multiline = starts("\"\"\"")
                    line.code += "\""
                    at += multiline ? 3 : 1
                    state = .string(hashes: hashes, multiline: multiline)
                } else {
                    let scalar = Unicode.Scalar(bytes[at])
                    if scalar == "(" || scalar == "[" { depth += 1 }
                    if scalar == ")" || scalar == "]" { depth -= 1 }
                    if "([{".unicodeScalars.contains(scalar) { nesting += 1 }
                    if ")]}".unicodeScalars.contains(scalar) { nesting -= 1 }
                    line.code.unicodeScalars.append(scalar)
                    at += 1
                }
            }
        }
        if case .string(_, multiline: false) = state { state = .code }
        out.append(line)
    }
    return out
}

/// The words of a line of code: identifiers and keywords.
func words(of code: String) -> [String] {
    code.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
}

/// The module that a line imports, if it is an import.
func importedModule(_ code: String) -> String? {
    let parts = words(of: code)
    guard let at = parts.firstIndex(of: "import"), code.contains("import ") else { return nil }
    let modifiers: Set<String> = [
        "public", "package", "internal", "fileprivate", "private", "testable", "preconcurrency", "_exported",
        "_implementationOnly",
    ]
    guard parts[..<at].allSatisfy(modifiers.contains) else { return nil }
    let kinds: Set<String> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"]
    return parts[(at + 1)...].first { !kinds.contains($0) }
}

let header = ["// SPDX-License-Identifier: Apache-2.0", "// Copyright the Portcullis authors"]

func faults(ofFile path: String, source: String, target: Target?, targets: [Target]) -> [String] {
    var faults: [String] = []
    let text = source.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let start = text.first.map { $0.hasPrefix("// swift-tools-version") } == true ? 1 : 0
    if start == 0, Array(text.prefix(2)) != header { faults.append("\(path):1: the two header lines are missing") }
    let name = path.split(separator: "/").last.map { String($0.prefix { $0 != "." && $0 != "+" }) } ?? ""
    if emptyNames.contains(where: { name.hasSuffix($0) }) {
        faults.append("\(path): the name could hold anything; name the file after the type it holds")
    }
    guard path.hasSuffix(".swift") else { return faults }
    let lines = lines(of: source)
    if path.hasPrefix("Tests/"), !forkingTests.contains(where: path.hasPrefix) {
        for line in lines where line.code.contains("fork()") {
            faults.append("\(path):\(line.number): tests fork by ForkedChild alone, in an exit test (docs/testing.md)")
        }
    }
    let zone = target.flatMap { target in zones.first { $0.name == target.zone } }
    for line in lines {
        guard let module = importedModule(line.code) else { continue }
        if module == "XCTest" { faults.append("\(path):\(line.number): tests are Swift Testing's alone") }
        guard let zone, let target else { continue }
        if !permits(zone, module, targets) {
            faults.append("\(path):\(line.number): zone \(zone.name) may not import \(module)")
        } else if module != "Glibc", !target.dependencies.contains(module) {
            faults.append("\(path):\(line.number): \(module) is not a dependency of target \(target.name)")
        }
    }
    guard let zone else { return faults }
    var spent: Set<Int> = []
    // The nesting of the explained expression that the lines below belong to, until one is no deeper.
    var explained: Int?
    for (index, line) in lines.enumerated() {
        if let outer = explained, line.nesting <= outer, !line.code.allSatisfy(\.isWhitespace) { explained = nil }
        guard words(of: line.code).contains("unsafe"), explained == nil else { continue }
        if zone.name != "System" {
            faults.append("\(path):\(line.number): `unsafe` outside Sources/System")
        } else if !isExplained(index, in: lines, spent: &spent) {
            faults.append("\(path):\(line.number): `unsafe` without a `// SAFETY:` line of its own")
        } else {
            explained = line.nesting
        }
    }
    return faults
}

/// Whether an `unsafe` has a SAFETY comment that no other has taken: on its line, directly above it, or directly
/// above the statement that it is in.
func isExplained(_ index: Int, in lines: [Line], spent: inout Set<Int>) -> Bool {
    var statement = index
    while statement > 0, lines[statement].depth > 0 { statement -= 1 }
    var places = [index]
    for start in Set([index, statement]).sorted(by: >) {
        var above = start - 1
        while above >= 0, lines[above].code.allSatisfy(\.isWhitespace), !lines[above].comment.isEmpty {
            places.append(above)
            above -= 1
        }
    }
    for place in places where lines[place].comment.contains("SAFETY:") {
        return spent.insert(place).inserted
    }
    return false
}

/// Relative links of a Markdown page that lead nowhere.
func faults(ofPage path: String, text: String, exists: (String) -> Bool) -> [String] {
    var faults: [String] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        for part in line.components(separatedBy: "](").dropFirst() {
            let link = String(part.prefix { $0 != ")" && $0 != "#" && $0 != " " })
            guard !link.isEmpty, !link.contains("://"), !link.hasPrefix("mailto:") else { continue }
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            if !exists(folder.isEmpty ? link : folder + "/" + link) {
                faults.append("\(path):\(index + 1): the link leads nowhere: \(link)")
            }
        }
    }
    return faults
}

// MARK: - The run

func files(below folders: [String]) -> [String] {
    folders.flatMap { folder -> [String] in
        let walk = FileManager.default.enumerator(atPath: folder)
        return (walk?.allObjects as? [String] ?? []).map { folder + "/" + $0 }
    }.sorted()
}

func holdWalls(_ targets: [Target]) -> [String] {
    var out = faults(ofTargets: targets)
    for path in files(below: ["Sources", "Tests", "scripts"]) {
        guard [".swift", ".c", ".h"].contains(where: path.hasSuffix) else { continue }
        guard let source = try? String(contentsOfFile: path, encoding: .utf8) else {
            out.append("\(path): cannot be read as UTF-8")
            continue
        }
        let target = targets.first { !$0.isTest && path.hasPrefix($0.path + "/") }
        if target == nil, path.hasPrefix("Sources/") { out.append("\(path): belongs to no target") }
        out += faults(ofFile: path, source: source, target: target, targets: targets)
    }
    let pages = (try? FileManager.default.contentsOfDirectory(atPath: "."))?.filter { $0.hasSuffix(".md") } ?? []
    for page in pages + files(below: ["docs", "policy", "packaging"]).filter({ $0.hasSuffix(".md") }) {
        let text = (try? String(contentsOfFile: page, encoding: .utf8)) ?? ""
        out += faults(ofPage: page, text: text, exists: FileManager.default.fileExists)
    }
    return out
}

/// Breaks each wall in turn, on copies in memory; a wall that stays silent is a fault.
func selfTest(_ targets: [Target]) -> [String] {
    var silent: [String] = []
    func expect(_ wall: String, _ faults: [String], _ words: String) {
        if !faults.contains(where: { $0.contains(words) }) { silent.append("silent when broken: \(wall)") }
    }
    func expectNone(_ wall: String, _ faults: [String]) {
        for fault in faults { silent.append("speaks without cause: \(wall): \(fault)") }
    }
    func changed(_ name: String, _ change: (inout Target) -> Void) -> [Target] {
        targets.map { target in
            var target = target
            if target.name == name { change(&target) }
            return target
        }
    }
    func file(_ module: String, _ body: String) -> [String] {
        let target = targets.first { $0.name == module }
        let source = header.joined(separator: "\n") + "\n" + body + "\n"
        return faults(ofFile: "Sources/x/\(module)/Broken.swift", source: source, target: target, targets: targets)
    }
    for setting in requiredSettings {
        for target in targets where !target.isShim {
            let broken = changed(target.name) { $0.settings.remove(setting) }
            expect("\(setting) of \(target.name)", faults(ofTargets: broken), "\(target.name) lacks the setting")
        }
    }
    let arrows = [
        ("Core", "Linux"), ("Linux", "Messages"), ("Front", "Policy"), ("EngineService", "Wire"),
        ("Monitor", "Wire"), ("Session", "Crypto"), ("AuditorService", "Session"), ("CLI", "Monitor"),
        ("RemoteCommand", "Messages"), ("CLI", "TestSupport"),
    ]
    for (from, to) in arrows {
        let broken = changed(from) { $0.dependencies.append(to) }
        expect("arrow \(from) to \(to)", faults(ofTargets: broken), "\(from) in zone")
        expect("import of \(to) in \(from)", file(from, "import \(to)"), "may not import \(to)")
    }
    for absence in absences {
        for module in absence.without {
            // Through a target in between, so that only the closure can see it.
            let broken = changed("Linux") { $0.dependencies.append(module) }
            expect("\(absence.program) without \(module)", faults(ofTargets: broken), "is linked with \(module)")
        }
    }
    expect("Glibc in Session", file("Session", "internal import Glibc"), "may not import Glibc")
    expect("Foundation in Trust", file("Trust", "public import struct Foundation.Date"), "may not import Foundation")
    expect("undeclared import", file("Wire", "import Messages"), "is not a dependency")
    expect("unsafe outside System", file("Front", "let x = unsafe y"), "outside Sources/System")
    expect("nonisolated(unsafe)", file("Monitor", "nonisolated(unsafe) var x = 0"), "outside Sources/System")
    expect("unsafe without SAFETY", file("Linux", "let x = unsafe y"), "without a `// SAFETY:`")
    expect("SAFETY too far", file("Linux", "// SAFETY: s\nlet z = 1\nlet x = unsafe y"), "without a `// SAFETY:`")
    expect("SAFETY for two", file("Linux", "// SAFETY: s\nunsafe f()\nunsafe g()"), "without a `// SAFETY:`")
    expect(
        "SAFETY of another", file("Linux", "// SAFETY: s\nunsafe f {\n  g()\n}\nunsafe h()"), "without a `// SAFETY:`")
    expectNone("SAFETY of a whole expression", file("Linux", "// SAFETY: s\nunsafe f {\n  unsafe g()\n}"))
    expectNone("SAFETY above", file("Linux", "// SAFETY: s\nlet x = unsafe y"))
    expectNone("SAFETY above the statement", file("Linux", "// SAFETY: s\nlet x = f(\n    unsafe y)"))
    expectNone("SAFETY behind", file("Linux", "let x = unsafe y  // SAFETY: s"))
    expectNone("unsafe in text", file("Front", "let x = \"unsafe\"  // unsafe\nlet y = #\"\"unsafe\"#"))
    func test(_ folder: String, _ body: String) -> [String] {
        let source = header.joined(separator: "\n") + "\n" + body + "\n"
        return faults(ofFile: "Tests/\(folder)/Broken.swift", source: source, target: nil, targets: targets)
    }
    expect("a test that forks", test("CLITests", "switch try Process.fork() {"), "fork by ForkedChild alone")
    expectNone("fork in Tests/Support", test("Support", "switch try Process.fork() {"))
    expectNone("fork in a test's text", test("PAMTests", "let c = \"if (fork() == 0)\""))
    expect("XCTest", file("Core", "import XCTest"), "Swift Testing's alone")
    expect("header", faults(ofFile: "a.c", source: "int x;\n", target: nil, targets: targets), "header")
    let named = faults(
        ofFile: "Sources/PathUtils.swift", source: header.joined(separator: "\n"), target: nil, targets: targets)
    expect("empty name", named, "could hold anything")
    expect("link", faults(ofPage: "docs/a.md", text: "[x](y.md)", exists: { _ in false }), "leads nowhere")
    return silent
}

let input = FileHandle.standardInput.readDataToEndOfFile()
let manifest = targets(ofManifest: (try? JSONSerialization.jsonObject(with: input)) ?? [:])
guard manifest.count > 10 else {
    print("walls: no manifest on standard input; try: swift package dump-package | swift scripts/walls.swift")
    exit(2)
}
let isSelfTest = CommandLine.arguments.contains("--self-test")
let complaints = isSelfTest ? selfTest(manifest) : holdWalls(manifest)
for fault in complaints { print(fault) }
let subject = isSelfTest ? "walls, each broken in turn" : "walls of \(manifest.count) targets"
print(complaints.isEmpty ? "\(subject): hold" : "\(subject): \(complaints.count) faults")
exit(complaints.isEmpty ? 0 : 1)
