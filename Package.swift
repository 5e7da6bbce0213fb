// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
//
// One folder a trust zone; arrows run one way: Pure <- System <- the process zones, which never import each
// other. `make check` holds this manifest to docs/ARCHITECTURE.md.

import PackageDescription

/// The settings of every target, so that none can miss one.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .strictMemorySafety(),  // SE-0458
    .treatAllWarnings(as: .error),  // SE-0480
]

/// A folder below Sources that holds the targets of one trust.
enum Zone: String {
    case pure = "Pure"
    case system = "System"
    case network = "Network"
    case decision = "Decision"
    case privileged = "Privileged"
    case record = "Record"
    case admin = "Admin"
    case client = "Client"
}

func library(_ zone: Zone, _ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(zone.rawValue)/\(name)", swiftSettings: strict)
}

func program(_ zone: Zone, _ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Sources/\(zone.rawValue)/\(name)", swiftSettings: strict)
}

/// A C shim: small, and each function says why it is in C.
func shim(_ name: String, linking libraries: [String] = []) -> Target {
    .target(
        name: name, path: "Sources/System/\(name)",
        cSettings: [.define("_GNU_SOURCE")],
        linkerSettings: libraries.map { .linkedLibrary($0) })
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)Tests",
        exclude: exclude, swiftSettings: strict)
}

/// What tests of several modules share; no program may be linked with it.
func testSupport(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Tests/Support", swiftSettings: strict)
}

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "portcullis",
    products: [
        // With the modules whose types its calls speak of.
        .library(name: "RemoteCommand", targets: ["Core", "Linux", "RemoteCommand", "Trust"]),
        // The language and its decisions, for the packages of this repository; no promise of stability.
        .library(name: "PortcullisPolicy", targets: ["Audit", "Core", "Policy", "PolicyLanguage"]),
        // The trail and what is said to its auditor, for the benchmark of it; no promise of stability.
        .library(name: "PortcullisTrail", targets: ["Audit", "Core", "Linux", "Messages"]),
        // What a session checks a password and starts a command with, for benchmarks of it; no promise of stability.
        .library(name: "PortcullisConfinement", targets: ["Core", "Linux", "PasswordHash", "Policy", "Seccomp"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // Pure: no I/O, no clock, no Glibc, no unsafe; imports only Pure.
        library(.pure, "Core"),
        library(.pure, "Policy", ["Core"]),
        library(.pure, "PolicyLanguage", ["Core", "Policy"]),
        library(.pure, "Trust", ["Core"]),
        library(.pure, "Wire", ["Core"]),
        library(.pure, "Audit", ["Core"]),
        library(.pure, "Messages", ["Audit", "Core"]),

        // System: the only zone that imports Glibc or says `unsafe`.
        shim("CLinux"),
        shim("CPAM", linking: ["pam"]),
        shim("CAudit", linking: ["audit"]),
        shim("CSeccomp", linking: ["seccomp"]),
        shim("CCrypt", linking: ["crypt"]),
        library(.system, "Linux", ["CLinux", "Core"]),
        library(.system, "LineLog", ["Linux", logging]),
        library(.system, "PAM", ["CPAM", "Core", "Linux"]),
        library(.system, "HostTrustFiles", ["Core", "Linux", "Trust"]),
        library(.system, "KernelAudit", ["CAudit", "Core", "Linux"]),
        library(.system, "Seccomp", ["CSeccomp", "Core", "Linux"]),
        library(.system, "PasswordHash", ["CCrypt", "Core", "Linux"]),
        library(.system, "TrailCrypto", [crypto]),

        // Network: reads strangers' bytes; knows no rules.
        library(
            .network, "Front",
            ["Audit", "Core", "LineLog", "Linux", "Messages", "Seccomp", "Wire", logging] + nio),
        program(.network, "portcullis-front", ["Front"]),

        // Decision: holds the compiled policy; touches nothing.
        library(
            .decision, "EngineService",
            ["Core", "LineLog", "Linux", "Messages", "Policy", "PolicyLanguage", "Seccomp", crypto, logging]),
        program(.decision, "portcullis-engine", ["EngineService", "Linux"]),

        // Privileged: root, single-threaded, no Swift concurrency, no Foundation, NIO or Dispatch, no Wire.
        library(.privileged, "Monitor", ["Audit", "Core", "KernelAudit", "Linux", "Messages", "Session"]),
        library(
            .privileged, "Session",
            [
                "Audit", "Core", "HostTrustFiles", "KernelAudit", "Linux", "Messages", "PAM", "PasswordHash", "Trust",
            ]),
        program(.privileged, "portcullisd", ["Linux", "Monitor"]),

        // Record: the one writer of the trail.
        library(
            .record, "AuditorService",
            ["Audit", "Core", "LineLog", "Linux", "Messages", "Seccomp", "TrailCrypto", crypto, logging]),
        program(.record, "portcullis-auditor", ["AuditorService", "Linux"]),

        // Admin: what an administrator types.
        library(
            .admin, "CLI",
            [
                "Audit", "Core", "Linux", "Messages", "PasswordHash", "Policy", "PolicyLanguage", "Seccomp", "Trust",
                "TrailCrypto", argumentParser, crypto,
            ]),
        program(.admin, "portcullis", ["CLI", argumentParser]),

        // Client: the rcmd family.
        library(.client, "RemoteCommand", ["Core", "HostTrustFiles", "Linux", "Trust", "Wire"]),
        program(.client, "rexec", ["Core", "Linux", "RemoteCommand", argumentParser]),
        program(.client, "rsh", ["Core", "Linux", "RemoteCommand", argumentParser]),

        testSupport("TestSupport", ["Core", "Linux"]),
        tests("Core", ["Core"]),
        tests("Policy", ["Core", "Policy", "PolicyLanguage"]),
        tests("PolicyLanguage", ["Core", "Policy", "PolicyLanguage"]),
        tests("Trust", ["Core", "Trust"]),
        tests("Wire", ["Core", "Wire"]),
        tests("Audit", ["Audit", "Core"]),
        tests("Messages", ["Audit", "Core", "Messages"]),
        tests("Linux", ["Core", "Linux", "Policy", "Seccomp"]),
        tests("PAM", ["Core", "Linux", "PAM"]),
        tests("HostTrustFiles", ["Core", "HostTrustFiles", "Linux", "Trust"]),
        tests("KernelAudit", ["Core", "KernelAudit", "Linux"]),
        tests("PasswordHash", ["Core", "Linux", "PasswordHash"]),
        tests("Front", ["Audit", "Core", "Front", "Linux", "Messages", "Wire", logging] + nio),
        tests("EngineService", ["Core", "EngineService", "Linux", "Messages", "Policy", "PolicyLanguage", logging]),
        tests("Monitor", ["Core", "Linux", "Messages", "Monitor"]),
        tests("Session", ["Audit", "Core", "Linux", "Messages", "PasswordHash", "Session"]),
        tests("AuditorService", ["Audit", "AuditorService", "Core", "Linux", "Messages", "TrailCrypto", logging]),
        tests(
            "CLI",
            [
                "Audit", "CLI", "Core", "Linux", "Messages", "PasswordHash", "PolicyLanguage",
                "TrailCrypto", "portcullis", crypto,
            ]),
        tests(
            "RemoteCommand",
            [
                "Core", "HostTrustFiles", "Linux", "Policy", "PolicyLanguage", "RemoteCommand", "Trust",
                "Wire",
            ]),
        tests("Regress", ["Core"], exclude: ["Clients", "Escapes", "Faults"]),
    ]
)
