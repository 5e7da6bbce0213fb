// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation
import Testing

/// What this host has and may, for tests that need it and are skipped aloud where it is missing.
enum Host {
    static let isRoot = geteuid() == 0

    /// The package's own directory: this file is three folders below it.
    static let package: String = {
        var parts = #filePath.split(separator: "/").dropLast(4).map(String.init)
        parts.insert("", at: 0)
        return parts.joined(separator: "/")
    }()

    static let release = package + "/.build/release"

    /// Whether the account that commands run as has a shell that runs commands: nobody's does not.
    static let hasShell: Bool = {
        guard !isRoot else { return true }
        let own = Files.text("/etc/passwd").split(separator: "\n").first { $0.hasPrefix(NSUserName() + ":") }
        return own?.hasSuffix("sh") ?? false
    }()

    /// A program of the release build.
    static func own(_ name: String) -> String { release + "/" + name }

    static let isBuilt = FileManager.default.isExecutableFile(atPath: own("portcullisd"))

    /// The path of a program of the host, or of a package that scripts/dependencies unpacked; nil where there is none.
    static func program(_ name: String) -> String? {
        let tools = package + "/.build/tools"
        let places =
            ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
            + ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { tools + $0 }
        return places.map { $0 + "/" + name }.first(where: FileManager.default.isExecutableFile)
    }

    static func has(_ programs: String...) -> Bool { programs.allSatisfy { program($0) != nil } }

    /// A C compiler: the host's, or the one that comes with Swift.
    static let compiler = program("gcc") ?? program("cc") ?? program("clang") ?? inPath("clang")

    private static func inPath(_ name: String) -> String? {
        let places = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return places.map { $0 + "/" + name }.first(where: FileManager.default.isExecutableFile)
    }

    /// The ABI of the kernel's Landlock; 0 where there is none.
    static let landlock: Int = {
        // landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)
        let asked = try? Child.run("/usr/bin/perl", ["-e", "print syscall(444, 0, 0, 1)"])
        return asked.flatMap { Int($0.outText) } ?? 0
    }()

    /// Where the control groups of whatever this process starts are, if it may make some: cgroup v2 with cgroup.kill; else nil.
    static let cgroups: String? = {
        let mounts = Files.text("/proc/self/mountinfo").split(separator: "\n").filter { $0.contains(" - cgroup2 ") }
        guard let point = mounts.last?.split(separator: " ").dropFirst(4).first,
            let own = Files.text("/proc/self/cgroup").split(separator: "\n").first(where: { $0.hasPrefix("0::/") })
        else { return nil }
        let base = String(point) + (own == "0::/" ? "" : own.dropFirst(3))
        let trial = base + "/portcullis-trial-" + UUID().uuidString
        // SAFETY: the strings live for the calls.
        guard unsafe mkdir(trial, 0o755) == 0 else { return nil }
        defer { unsafe rmdir(trial) }
        return Files.exists(trial + "/cgroup.kill") ? base : nil
    }()

    /// Whether those have the controllers that bound memory and processes.
    static let hasControllers: Bool = {
        guard let cgroups else { return false }
        let has = Files.text(cgroups + "/cgroup.controllers").split { $0 == " " || $0 == "\n" }
        return has.contains("memory") && has.contains("pids")
    }()

    static let commonsNet = "/usr/share/java/commons-net.jar"
    static let hasCommonsNet = FileManager.default.fileExists(atPath: commonsNet)
}

extension Trait where Self == ConditionTrait {
    static var needsBuild: Self { .enabled(if: Host.isBuilt, "the release build is missing: make build") }

    static var needsCgroups: Self {
        .enabled(if: Host.cgroups != nil, "needs a cgroup v2 that can be written, with cgroup.kill (Linux 5.14)")
    }

    static var needsControllers: Self {
        .enabled(if: Host.hasControllers, "needs cgroup v2's controllers of memory and pids: scripts/kernel-drill")
    }

    static var needsRoot: Self { .enabled(if: Host.isRoot, "needs root") }

    static func needs(_ program: String) -> Self {
        .enabled(if: Host.has(program), "\(program) is not installed")
    }

    static var needsCompiler: Self { .enabled(if: Host.compiler != nil, "no C compiler is installed") }
}
