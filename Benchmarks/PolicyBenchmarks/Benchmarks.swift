// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Benchmark
import Core
import Policy
import PolicyLanguage
import PolicyShapes

/// The numbers of rules that everything is measured at.
private let sizes = [100, 10_000, 100_000]

/// What a benchmark works on. It is made in the benchmark's setup, as each runs in a process of its own.
private final class Scene {
    let shape: Shape
    let size: Int
    private(set) var file = SourceFile(name: "none", bytes: [])
    private(set) var policy = Policy()
    private(set) var index: PolicyIndex?
    var requests: [Request] = []

    init(_ shape: Shape, _ size: Int) {
        self.shape = shape
        self.size = size
    }

    func writeText() {
        file = SourceFile(name: "benchmark.policy", text: shape.text(rules: size))
    }

    func load() {
        writeText()
        var none = NoPolicyFiles()
        let loaded = PolicyText.load(file, files: &none, analyses: false)
        guard let policy = loaded.policy else {
            fatalError("\(shape.rawValue): \(loaded.diagnostics.first.map(\.text) ?? "?")")
        }
        self.policy = policy
        index = PolicyIndex(policy)
    }

    func loadWithRequests(_ choose: (Requests) -> [Request]) {
        load()
        guard let index else { return }
        requests = choose(Requests(aimedAt: policy, deciding: index.decide))
        precondition(requests.count >= 1_024, "\(shape.rawValue): only \(requests.count) requests were found")
        // What is measured is what is right: the scan is the meaning of a policy.
        for request in requests.prefix(64) { precondition(index.decide(request) == policy.decide(request)) }
    }
}

private func configuration(
    _ metrics: [BenchmarkMetric] = [.wallClock], warmup: Int = 1, seconds: Int = 1
) -> Benchmark.Configuration {
    .init(
        metrics: metrics, timeUnits: .nanoseconds, warmupIterations: warmup, maxDuration: .seconds(seconds),
        maxIterations: 1_000_000)
}

/// One decision is one measurement, so that its percentiles are those of single requests; the clock's own share is
/// in every one of them, and has a row of its own.
private func decisions() {
    Benchmark("clock", configuration: configuration(warmup: 1_000)) { benchmark in
        blackHole(benchmark.currentIteration)
    }
    let choices: [(name: String, choose: (Requests) -> [Request])] = [
        ("permitted", \.permitted), ("refused", \.refused),
    ]
    for size in sizes {
        for shape in Shape.allCases {
            decision("decide/\(shape.rawValue)", Scene(shape, size)) { $0.mixed }
        }
        for choice in choices { decision("decide/site \(choice.name)", Scene(.site, size), choice.choose) }
        let scene = Scene(.site, size)
        Benchmark("scan/site/\(size)", configuration: configuration()) { benchmark in
            blackHole(scene.policy.decide(scene.requests[benchmark.currentIteration % scene.requests.count]))
        } setup: {
            scene.loadWithRequests { $0.mixed }
        }
    }
}

private func decision(_ name: String, _ scene: Scene, _ choose: @escaping (Requests) -> [Request]) {
    Benchmark("\(name)/\(scene.size)", configuration: configuration(warmup: 4 * Requests.count)) { benchmark in
        guard let index = scene.index else { return }
        blackHole(index.decide(scene.requests[benchmark.currentIteration % scene.requests.count]))
    } setup: {
        scene.loadWithRequests(choose)
    }
}

/// From text to an index that is ready to be asked.
private func loads() {
    for size in sizes {
        for shape in [Shape.site, .oneSource, .longArguments, .sharedSets] {
            let scene = Scene(shape, size)
            let name = "load/\(shape.rawValue)/\(size)"
            Benchmark(name, configuration: configuration([.wallClock, .peakMemoryResident], seconds: 5)) { benchmark in
                var none = NoPolicyFiles()
                let loaded = PolicyText.load(scene.file, files: &none, analyses: false)
                blackHole(loaded.policy.map(PolicyIndex.init))
            } setup: {
                scene.writeText()
            }
        }
    }
}

/// A denial with what would have changed it.
private func explanations() {
    for size in sizes {
        let scene = Scene(.site, size)
        Benchmark("explain/site/\(size)", configuration: configuration()) { benchmark in
            blackHole(scene.policy.explain(scene.requests[benchmark.currentIteration % scene.requests.count]))
        } setup: {
            scene.loadWithRequests(\.refused)
        }
    }
}

/// The questions that look at all rules: what `check`, `diff` and `who-can` are made of.
private func analyses() {
    for size in sizes {
        let scene = Scene(.site, size)
        Benchmark("check/site/\(size)", configuration: configuration(seconds: 5)) { _ in
            var none = NoPolicyFiles()
            blackHole(PolicyText.load(scene.file, files: &none, analyses: true))
        } setup: {
            scene.writeText()
        }
    }
}

let benchmarks: @Sendable () -> Void = {
    decisions()
    loads()
    explanations()
    analyses()
}
