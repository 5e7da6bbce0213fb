// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// A package of its own, so that nobody who builds the gateway needs the benchmark library. `make bench` runs it.

import PackageDescription

/// As in the gateway's own package.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "portcullis-benchmarks",
    dependencies: [
        .package(name: "portcullis", path: ".."),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        // Without its traits: they bring interposers for malloc and ARC, whose counts no target speaks of.
        .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
    ],
    targets: [
        // Policies as text, of any size.
        .target(name: "PolicyShapes", path: "PolicyShapes", swiftSettings: strict),
        // Prints one, for scripts/bench to give to a real gateway.
        .executableTarget(
            name: "policy-text", dependencies: ["PolicyShapes"], path: "policy-text", swiftSettings: strict),
        // What it costs to start a command confined; as root.
        .executableTarget(
            name: "launch-cost", dependencies: [.product(name: "PortcullisConfinement", package: "portcullis")],
            path: "launch-cost", swiftSettings: strict),
        // What the trail costs: text to verify, and records that wait for the disk.
        .executableTarget(
            name: "trail-cost",
            dependencies: [
                .product(name: "PortcullisTrail", package: "portcullis"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            path: "trail-cost", swiftSettings: strict),
        // What a password's hash costs as a session computes it.
        .executableTarget(
            name: "hash-cost", dependencies: [.product(name: "PortcullisConfinement", package: "portcullis")],
            path: "hash-cost", swiftSettings: strict),
        .executableTarget(
            name: "PolicyBenchmarks",
            dependencies: [
                "PolicyShapes",
                .product(name: "Benchmark", package: "benchmark"),
                .product(name: "PortcullisPolicy", package: "portcullis"),
            ],
            path: "PolicyBenchmarks", swiftSettings: strict,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    ]
)
